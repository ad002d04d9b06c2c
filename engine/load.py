"""Find what registry packages declare: scopes, entities, rules, jobs, events, an identity, setting defaults."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from engine.catalog import Catalog
from engine.entity import Entity
from engine.errors import StartupFault
from engine.events import Events
from engine.hooks import Identity, Moment, Rules
from engine.jobs import Jobs
from engine.packages import find_package
from engine.trail import logs_for
from engine.types import Scope


@dataclass
class Registry:
    """Everything that the packages declare, in the order of their modules."""

    scopes: list[Scope] = field(default_factory=list)
    entities: list[Entity] = field(default_factory=list)
    rules: list[Rules] = field(default_factory=list)
    jobs: list[Jobs] = field(default_factory=list)
    events: list[Events] = field(default_factory=list)
    identity: Identity | None = None
    demo: Callable[[Moment, Moment], Awaitable[None]] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    # by the id of a scope or an entity: the package that declares it
    origin: dict[int, ModuleType] = field(default_factory=dict)

    def add(self, module: ModuleType, root: ModuleType | None = None) -> None:
        """Take the declarations of one module of the package `root`. What it only imported from another is met there."""
        for value in vars(module).values():
            found: tuple[tuple[type, list[Any]], ...] = (
                (Scope, self.scopes),
                (Entity, self.entities),
                (Rules, self.rules),
                (Jobs, self.jobs),
                (Events, self.events),
            )
            for wanted, into in found:
                for item in value if isinstance(value, list) else (value,):
                    if isinstance(item, wanted) and not any(item is known for known in into):
                        into.append(item)
                        self.origin[id(item)] = root or module
        self.identity = self.identity or getattr(module, "identity_provider", None)
        self.demo = self.demo or getattr(module, "demo_rows", None)
        self.settings |= getattr(module, "SETTINGS", {})

    def add_logs(self) -> None:
        """Add the change logs of databases that declare none, each to the package of its scope."""
        for scope, log in logs_for(self.scopes, self.entities):
            self.entities.append(log)
            self.origin[id(log)] = self.origin[id(scope)]


def load_registries(packages: Sequence[str]) -> Registry:
    """Import each package with all its modules. StartupFault names a package that cannot be found."""
    if not packages:
        raise StartupFault("nothing is served: name a registry (--registry), or a database as it is (--database)")
    registry = Registry()
    for package in packages:
        root = find_package(package)
        for module in (root, *_modules(root)):
            registry.add(module, root)
    if not registry.scopes:
        raise StartupFault(f"no Scope in {', '.join(packages)}; a package says `scopes = [Scope(name, Base.metadata)]`")
    return registry


def _modules(root: ModuleType) -> Iterator[ModuleType]:
    """Every module but `recipes`, which is for tests and imports their kit."""
    for found in pkgutil.walk_packages(getattr(root, "__path__", ()), f"{root.__name__}."):
        if found.name != f"{root.__name__}.recipes":
            yield importlib.import_module(found.name)


def refuse_strangers(registry: Registry, catalog: Catalog) -> None:
    """A package's revisions hold its own tables: those that another package adds to its scope have no place in them."""
    for resource in catalog.resources.values():
        own, other = (registry.origin.get(id(thing)) for thing in (resource.scope, resource.entity))
        if own is not other and own is not None and other is not None:
            raise StartupFault(
                f"{resource.path}: {other.__name__} adds it to the scope of {own.__name__}, whose migrations are not its"
                f" own; give {other.__name__} a Scope of its own (with database={resource.scope.stored_in!r})"
            )
