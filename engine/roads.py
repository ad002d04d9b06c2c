"""Which road a write takes: one statement in autocommit, or a transaction of several."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.sql import ColumnElement

from engine.catalog import Catalog, Reference, Resource
from engine.hooks import Change, Point, Row
from engine.records import Action
from engine.shapes import Incoming


def create_needs_transaction(resource: Resource, rows: Sequence[Incoming]) -> bool:
    """Whether a create is more than one statement."""
    number = resource.entity.number
    if resource.triggered:
        return True
    if resource.foreign and not rows[0].values.keys() >= set(resource.keys):
        return True  # the database makes the key
    if len(rows) > 1 or rows[0].nested or resource.numbered or (number is not None and number.at == "create"):
        return True
    points = (Point.BEFORE_CREATE, Point.AFTER_CREATE, Point.DONE)
    return resource.hooked(*points, names=rows[0].values.keys() | rows[0].inputs.keys())


def change_needs_transaction(catalog: Catalog, resource: Resource, action: Action, row: Incoming) -> bool:
    """Whether a change of one row is more than one statement."""
    marks = resource.marks
    if resource.triggered:
        return True
    # a restored row must refer to active rows again, which is looked up under its lock
    if row.nested or row.patches or (resource.reference_columns and marks.restoring(row.values)):
        return True
    if (action == "delete" or marks.removing(row.values)) and following(catalog, resource):
        return True
    if action == "update":
        points = (Point.BEFORE_UPDATE, Point.AFTER_UPDATE, Point.DONE)
        return resource.hooked(*points, names=row.values.keys() | row.inputs.keys())
    if action == "delete":
        return resource.hooked(Point.BEFORE_DELETE, Point.AFTER_DELETE, Point.DONE)
    return _status_needs_transaction(resource, row)


def _status_needs_transaction(resource: Resource, row: Incoming) -> bool:
    if not resource.stateful:
        return resource.hooked(Point.BEFORE_STATUS, Point.AFTER_STATUS, Point.DONE)
    target, number = row.values["status"], resource.entity.number
    numbered = number is not None and number.at == target
    return numbered or not resource.ruleless_sources.get(target)


def followed(catalog: Catalog, resource: Resource, after: Point, changes: Sequence[Change]) -> bool:
    """Whether anything but the answer comes after the statement of these changes."""
    rules = (*resource.hooks.get(after, ()), *resource.hooks.get(Point.DONE, ()))
    if resource.triggered and after is not Point.AFTER_DELETE:
        return True  # what triggers made of the row is read again
    return bool(following(catalog, resource)) or any(
        rule.concerns(change, after) for rule in rules for change in changes
    )


def following(catalog: Catalog, resource: Resource) -> list[Reference]:
    """The references through which soft delete reaches other rows, such as can come back too; the database follows what is
    really deleted."""
    if not resource.soft:
        return []
    reaching = (r for r in catalog.incoming.get(resource.path, ()) if r.on_delete in ("CASCADE", "SET NULL"))
    return [r for r in reaching if catalog.resources[r.child].soft]


def referring(child: Resource, reference: Reference, gone: Sequence[Row]) -> ColumnElement[bool]:
    """The rows of a child that refer to one of these."""
    columns = child.table.c
    if not reference.more:
        return columns[reference.column].in_([row[reference.target] for row in gone])
    return sa.or_(*(sa.and_(*(columns[name] == row[to] for name, to in reference.pairs)) for row in gone))
