"""Child rows in the body of their header: made with it, and replaced as a set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from engine.catalog import Resource
from engine.errors import ApiError
from engine.hooks import Change
from engine.moment import UnitOfWork
from engine.records import fault_below, row_key
from engine.shapes import Incoming

if TYPE_CHECKING:
    from engine.operations import Operations

# more rows than any header has
MANY = 1_000_000
Below = Sequence[tuple[Change, Sequence[Incoming]]]


async def nest(
    operations: Operations, unit: UnitOfWork, resource: Resource, changes: Sequence[Change], rows: Sequence[Incoming]
) -> None:
    """Make the child rows of new headers. `rows` by the changes' index."""
    for key in dict.fromkeys(key for change in changes for key in rows[change.index].nested):
        below = [(change, rows[change.index].nested.get(key, ())) for change in changes]
        await _make(operations, unit, resource, key, below)


async def replace_nested(
    operations: Operations, unit: UnitOfWork, resource: Resource, changes: Sequence[Change], rows: Sequence[Incoming]
) -> None:
    """Delete the child rows that the bodies name anew, and make the new ones. `rows` by the changes' index."""
    for key in dict.fromkeys(key for change in changes for key in rows[change.index].nested):
        below = [(change, rows[change.index].nested[key]) for change in changes if key in rows[change.index].nested]
        await _remove(operations, unit, resource, key, below)
        await _make(operations, unit, resource, key, below)


async def _remove(operations: Operations, unit: UnitOfWork, resource: Resource, key: str, below: Below) -> None:
    child = operations.shop.catalog.find(resource.scope.name, resource.nested[key].entity)
    link = resource.nested[key].link(child.entity)
    mine = child.table.c[link].in_([header.key for header, _ in below])
    present = await operations.refusals.removable(unit, child, await unit.list(child.key, mine, limit=MANY))
    refilled = {header.key for header, children in below if children}
    wanted: list[Any] = [(row_key(child, row), {}, {}) for row in present]
    gone = await operations.load(unit, child, wanted, lock="delete", by_engine=True)
    for change in gone:
        change.replaced = change[link] in refilled
    await operations.change_all(unit, child, "delete", gone)


async def _make(operations: Operations, unit: UnitOfWork, resource: Resource, key: str, below: Below) -> None:
    """Child rows of one kind, of all their headers at once."""
    child = operations.shop.catalog.find(resource.scope.name, resource.nested[key].entity)
    link = resource.nested[key].link(child.entity)
    rows, paths = [], []
    for header, children in below:
        for place, row in enumerate(children):
            numbered = {"position": place + 1} if "position" in child.fields else {}
            rows.append(Incoming({**row.values, link: header.key, **numbered}, row.inputs, row.nested))
            paths.append(f"{header.path}.{key}[{place}]".lstrip("."))
    try:
        await operations.create_all(unit, child, rows, paths=paths)
    except ApiError as error:
        raise fault_below(error, paths) from error
