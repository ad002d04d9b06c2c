"""The contract as a plugin of pytest: `pytest --cxg-registry shop` asks every entity of a package what the contract asks.

Installed, the plugin is there by itself; without autoload it is `-p engine.testing.plugin`. It starts an embedded server when
the first check runs, and stops it at the end. What rules ask of a valid row is said in the package's module `recipes`, which
no server loads: `RECIPES = {"shop/sales/orders": Recipe(values={...})}`.
"""

from __future__ import annotations

import importlib
import inspect
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    # a run without the option pays nothing for the plugin
    from engine.catalog import Resource
    from engine.testing.harness import Live
    from engine.testing.rows import Recipe


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the contract."""
    group = parser.getgroup("cxg", "contract of registered entities")
    group.addoption(
        "--cxg-registry",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="ask the entities of this package what the contract asks; may be given several times",
    )
    group.addoption(
        "--cxg-beside",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="serve this package beside and ask it nothing, such as `registry` for its users and tenants",
    )


class Contract:
    """What a run asks, and the server that it asks."""

    def __init__(self, packages: Sequence[str], beside: Sequence[str]) -> None:
        from engine.main import load

        self.packages, self.served = packages, [*beside, *packages]
        self.stack = ExitStack()
        registry, self.catalog = load(list(self.served))
        found = {id(scope) for scope in registry.scopes} | {id(entity) for entity in registry.entities}
        self.origin = {key: registry.origin[key] for key in found}

    @cached_property
    def resources(self) -> dict[str, Resource]:
        """The entities that are asked: those that the packages themselves declare."""
        from engine.packages import find_package

        roots = [find_package(name) for name in self.packages]
        return {path: r for path, r in self.catalog.resources.items() if self.origin[id(r.entity)] in roots}

    @cached_property
    def recipes(self) -> Mapping[str, Recipe]:
        """What the packages say of valid rows. An entity that is not there is a mistake."""
        from engine.packages import find_package

        found: dict[str, Recipe] = {}
        for root in map(find_package, self.served):
            name = f"{root.__name__}.recipes"
            try:
                found |= importlib.import_module(name).RECIPES
            except ModuleNotFoundError as missing:
                if missing.name != name:
                    raise
        if unknown := sorted(set(found) - set(self.catalog.resources)):
            raise pytest.UsageError(f"RECIPES has {unknown[0]!r}, which is no entity")
        return found

    @cached_property
    def live(self) -> Live:
        """The server, started now."""
        from engine.testing.harness import serving, settings_for_tests

        folder = tempfile.mkdtemp(prefix="cxg-contract-")
        self.stack.callback(shutil.rmtree, folder, ignore_errors=True)
        return self.stack.enter_context(serving(settings_for_tests(Path(folder)), self.served))


KEY = pytest.StashKey[Contract]()


class EntityNode(pytest.Collector):
    """One entity, and its checks as tests."""

    contract: Contract
    path_of_entity: str

    def collect(self) -> Iterator[pytest.Item]:
        """A test a check."""
        from engine.testing.contract import contract_cases

        for path, name in contract_cases(self.contract.catalog):
            if path == self.path_of_entity:
                yield CheckItem.from_parent(self, name=name)


class CheckItem(pytest.Item):
    """One question to one entity."""

    @property
    def entity(self) -> EntityNode:
        """Whom it is put to."""
        assert isinstance(self.parent, EntityNode), "only entities have checks"
        return self.parent

    def runtest(self) -> None:
        """Ask."""
        from engine.testing.contract import NotApplicable, run_check

        contract, path = self.entity.contract, self.entity.path_of_entity
        try:
            run_check(contract.live, contract.live.resource(path), self.name, contract.recipes)
        except NotApplicable as reason:
            pytest.skip(str(reason))

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        """What is broken, in words; anything else with its traceback."""
        from engine.testing.contract import ContractFault

        if isinstance(excinfo.value, ContractFault):
            about = inspect.getdoc(_check(self.name)) or ""
            return f"{excinfo.value}\n\nThe contract: {' '.join(about.split())}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """The file that declares the entity."""
        model = self.entity.contract.catalog.resources[self.entity.path_of_entity].entity.model
        try:
            file = Path(inspect.getfile(model))
        except TypeError:
            file = self.path
        return file, None, f"{self.entity.path_of_entity} {self.name}"


def _check(name: str) -> Any:
    from engine.testing.contract import CHECKS

    return CHECKS[name].run


def _require_kit() -> None:
    """UsageError where what the contract is asked with is not installed: whoever serves alone needs none of it."""
    try:
        for name in ("contract", "harness"):
            importlib.import_module(f"engine.testing.{name}")
    except ModuleNotFoundError as missing:
        if (missing.name or "engine").startswith("engine"):
            raise
        raise pytest.UsageError(
            f"--cxg-registry needs {missing.name}, which comes with the tests' extra: pip install 'cxg-backend[test]'"
            " (in a clone: pip install '.[test]')"
        ) from None


def _contract(config: pytest.Config) -> Contract | None:
    packages = config.getoption("--cxg-registry")
    if packages and KEY not in config.stash:
        from engine.errors import StartupFault

        _require_kit()
        try:
            config.stash[KEY] = Contract(packages, config.getoption("--cxg-beside"))
        except StartupFault as fault:
            raise pytest.UsageError(str(fault)) from fault
    return config.stash.get(KEY, None)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the checks behind the tests that were found; -k and the like see them too."""
    contract = _contract(config)
    if contract is None:
        return
    for path in contract.resources:
        node = EntityNode.from_parent(session, name=path, nodeid=f"cxg::{path}")
        node.contract, node.path_of_entity = contract, path
        node.extra_keyword_matches.add("cxg")
        items.extend(item for item in node.collect() if isinstance(item, pytest.Item))


def pytest_report_collectionfinish(config: pytest.Config) -> str:
    """What is asked of how many."""
    contract = _contract(config)
    return (
        f"cxg: the contract, asked of {len(contract.resources)} entities of {', '.join(contract.packages)}"
        if contract
        else ""
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop the server."""
    if KEY in session.config.stash:
        session.config.stash[KEY].stack.close()
