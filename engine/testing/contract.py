"""The contract that every entity must pass, as cases for pytest.

@pytest.mark.parametrize(("path", "name"), contract_cases(catalog))
def test_contract(live, path, name):
    run_check(live, live.resource(path), name, RECIPES)
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.catalog import Catalog, Resource
from engine.testing import declared, guarding, lifecycle, trail, transitions
from engine.testing.bench import CHECKS, Bench, ContractFault, NotApplicable
from engine.testing.harness import Live
from engine.testing.rows import Recipe, Recipes, RowMaker

__all__ = ["CHECKS", "ContractFault", "NotApplicable", "Recipe", "RowMaker", "broken", "contract_cases", "run_check"]

# each part enters its checks when it is imported
PARTS = (lifecycle, transitions, trail, guarding, declared)


def contract_cases(catalog: Catalog, scopes: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """(`scope/domain/entity`, check) of every check that concerns the entity; `scopes` narrows it."""
    return [
        (path, name)
        for path, resource in catalog.resources.items()
        for name, check in CHECKS.items()
        if check.applies(resource) and (not scopes or resource.scope.name in scopes)
    ]


def run_check(live: Live, resource: Resource, check: str, recipes: Recipes | None = None) -> None:
    """Ask one entity one question. ContractFault says what is broken; NotApplicable why it cannot be asked."""
    maker = RowMaker(live, recipes)
    reason = maker.recipe(resource).skip.get(check)
    if reason:
        raise NotApplicable(reason)
    try:
        CHECKS[check].run(Bench(maker, resource))
    except AssertionError as fault:
        raise ContractFault(f"{resource.path} {check}: {fault}") from fault


def broken(live: Live, cases: list[tuple[str, str]], recipes: Recipes | None = None) -> Iterator[str]:
    """The messages of the cases that fail."""
    for path, name in cases:
        try:
            run_check(live, live.resource(path), name, recipes)
        except ContractFault as fault:
            yield str(fault)
        except NotApplicable:
            continue
