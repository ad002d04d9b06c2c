"""All declarations at once, as the start-up rules see them, and the list that a rule enters itself into."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import NamedTuple

import sqlalchemy as sa

from engine.entity import Entity, Machine
from engine.hooks import Rules
from engine.jobs import Jobs
from engine.registration import common_columns
from engine.types import Scope

COMMON = {column.name: column for column in common_columns(sa.Table("-", sa.MetaData()))}


class Declared(NamedTuple):
    """Everything that the packages say."""

    scopes: Sequence[Scope]
    entities: Sequence[Entity]
    rules: Sequence[Rules]
    jobs: Sequence[Jobs] = ()

    def scope_of(self, entity: Entity) -> Scope | None:
        """The scope whose MetaData holds the entity's table."""
        return next((scope for scope in self.scopes if scope.metadata is entity.table.metadata), None)

    def place_of(self, entity: Entity) -> tuple[str, bool]:
        """Which database, and which half of it, holds the rows."""
        scope = self.scope_of(entity)
        return (scope.stored_in, scope.tenant_bound) if scope else ("", False)

    def path_of(self, entity: Entity) -> str:
        """`scope/domain/entity`."""
        scope = self.scope_of(entity)
        return f"{scope.name if scope else '?'}/{entity.domain}/{entity.name}"

    def find(self, beside: Entity, key: str) -> Entity | None:
        """The entity `domain.entity` of the same scope."""
        return next((e for e in self.entities if e.key == key and e.table.metadata is beside.table.metadata), None)


Check = Callable[[Declared], Iterator[str]]
EntityCheck = Callable[[Declared, Entity], Iterator[str]]
CHECKS: dict[str, Check] = {}


def overall(number: str) -> Callable[[Check], Check]:
    """A rule over all declarations."""

    def add(check: Check) -> Check:
        CHECKS[number] = check
        return check

    return add


def each(number: str) -> Callable[[EntityCheck], EntityCheck]:
    """A rule over one entity; its faults are told with the entity's name."""

    def add(check: EntityCheck) -> EntityCheck:
        def run(declared: Declared) -> Iterator[str]:
            return (f"{entity.key}: {fault}" for entity in declared.entities for fault in check(declared, entity))

        CHECKS[number] = run
        return check

    return add


def columns_of(entity: Entity) -> set[str]:
    """Names of the columns that the table has, or will have once it is registered."""
    key = set() if entity.table.primary_key.columns else {"id"}
    return {*entity.table.c.keys(), *COMMON} | key | ({"status"} if entity.machine else set())


def machine_of(entity: Entity) -> Machine | None:
    """The entity's machine; None when it has none or its text is wrong (another rule says so)."""
    try:
        return Machine.parse(entity.machine) if entity.machine else None
    except ValueError:
        return None


def near(name: str, known: Iterable[str]) -> str:
    """`; perhaps 'x'`, or nothing."""
    close = get_close_matches(name, sorted(known), n=1)
    return f"; perhaps {close[0]!r}" if close else ""


def unknown_columns(entity: Entity, pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    """A fault for each (option, name) whose name is no column of the entity."""
    known = columns_of(entity)
    for option, name in pairs:
        if name not in known:
            yield f"{option} names {name!r}, which is no column{near(name, known)}"
