"""Whether computed columns still hold what follows from their rows, and how to mend them: `cxg rollups check|rebuild`.

The engine keeps them in each writing transaction. Drift comes from outside: SQL by hand, a restored table, a changed formula.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import sqlalchemy as sa

from engine.behaviours.computed import right_values
from engine.behaviours.known import Known
from engine.catalog import Catalog, Resource
from engine.moment import UnitOfWork

PAGE = 500


class Drift(NamedTuple):
    """A stored value that is not the right one."""

    path: str
    id: Any
    column: str
    stored: Any
    right: Any


def computing(catalog: Catalog, scope: str) -> list[Resource]:
    """The entities of a scope with computed columns."""
    resources = (r for r in catalog.resources.values() if r.scope.name == scope)
    return [r for r in resources if r.entity.computed or r.entity.rollups]


async def drifts(unit: UnitOfWork, resource: Resource) -> AsyncIterator[Drift]:
    """What has drifted in the active rows of one entity, by id. Runs inside a transaction of `unit`."""
    known: Known = {path: other.entity for path, other in unit.shop.catalog.resources.items()}
    table = resource.table
    after: list[Any] = []
    while True:
        page = await unit.list(resource.key, *after, limit=PAGE)
        if not page:
            return
        for row, right in zip(page, await right_values(unit, known, resource.path, page), strict=True):
            for column, value in right.items():
                if row[column] != value:
                    yield Drift(resource.path, row["id"], column, row[column], value)
        after = [table.c.id > page[-1]["id"]]


async def mend(unit: UnitOfWork, resource: Resource, found: Sequence[Drift]) -> int:
    """Write the right values, audited like any change of the engine. Returns the number of rows.

    The rows are locked and looked at once more, for what was found may have moved since.
    """
    known: Known = {path: other.entity for path, other in unit.shop.catalog.resources.items()}
    keys = [key for key, _ in groupby(drift.id for drift in found)]
    table = resource.table
    await unit.fetch(sa.select(table.c.id).where(table.c.id.in_(keys)).order_by(table.c.id).with_for_update())
    rows = await unit.list(resource.key, table.c.id.in_(keys), limit=len(keys))
    wrong = [
        {"id": row["id"], **{name: value for name, value in right.items() if row[name] != value}}
        for row, right in zip(rows, await right_values(unit, known, resource.path, rows), strict=True)
    ]
    wrong = [row for row in wrong if len(row) > 1]
    await unit.update(resource.key, wrong)
    return len(wrong)
