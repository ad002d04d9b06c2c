"""Fields: columns and virtual values, each compiled to how it is read, shown and filtered, and who may set it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column

from engine.aggregates import functions_of
from engine.entity import OWN, Entity, Virtual
from engine.filters import operators_of
from engine.registration import bounds_of
from engine.scalars import Finish, Scalar, scalar_of
from engine.types import Bounds

ENGINE_SET = frozenset(
    {"created_at", "updated_at", "created_by", "updated_by", "is_active", "version", "status", "tenant_id"}
)


@dataclass(frozen=True)
class Field:
    """One field of an entity: its column (None = virtual), how it is read, and who may set and see it."""

    name: str
    column: Column[Any] | None
    type: Any
    scalar: Scalar
    bounds: Bounds
    annotation: Any
    finish: Finish | None
    nullable: bool
    default: Callable[[], Any] | None
    required: bool
    creatable: bool
    updatable: bool
    once: bool = False
    hidden: bool = False
    masked: bool = False
    encrypted: bool = False
    virtual: Virtual | None = None
    references: str | None = None
    target: str = "id"
    generated: bool = False
    # of a view: the caller's roles do not see it; they may not write it
    unseen: bool = False
    barred: bool = False

    @property
    def concealed(self) -> bool:
        """Whether it does not exist for the caller."""
        return self.hidden or self.unseen

    @property
    def shown(self) -> bool:
        """Whether reads show it."""
        return not self.concealed and not (self.virtual and not self.virtual.compute)

    @property
    def sortable(self) -> bool:
        """Whether lists can be sorted by it."""
        ordered = "order" in self.scalar.families or self.scalar.name == "boolean"
        return self.column is not None and not self.masked and not self.encrypted and ordered

    @property
    def functions(self) -> tuple[str, ...]:
        """Aggregate functions the field takes; a masked one only of those who read its domain's masked columns."""
        if self.column is None or self.concealed or self.encrypted:
            return ()
        return functions_of(self.scalar)

    @property
    def groupable(self) -> bool:
        """Whether rows can be grouped by it, on the same terms."""
        return bool(self.functions) and "equal" in self.scalar.families

    @cached_property
    def item(self) -> Field | None:
        """Of an array that filters look into: one item as a field."""
        kind = self.type.item_type if isinstance(self.type, sa.ARRAY) else getattr(self.type, "item", None)
        found = scalar_of(kind) if kind is not None else None
        if found is None or "equal" not in found.families:
            return None
        annotation, finish = found.annotate(kind, self.bounds), found.finish(kind, self.bounds)
        return replace(self, type=kind, scalar=found, annotation=annotation, finish=finish)

    @cached_property
    def operators(self) -> tuple[str, ...]:
        """Filter operators the field takes."""
        if self.column is None or self.concealed or self.masked or self.encrypted:
            return ()
        families = self.scalar.families if self.item or self.scalar.name != "array" else frozenset[str]()
        return operators_of(families, tree=bool(self.column.table.info.get("tree")) and self.name == "id")


def engine_set(entity: Entity, column: Column[Any]) -> bool:
    """Whether the engine alone gives the column its values."""
    if column.key == "tenant_id":
        return bool(column.info.get("tenant"))
    if entity.marks is not OWN:
        return column.key in entity.marks.columns
    if column.key == "status":
        return entity.machine is not None
    return column.key in ENGINE_SET


def stored_field(entity: Entity, column: Column[Any]) -> Field:
    said = column.info.get("said_type", column.type)
    name, scalar, bounds = str(column.key), scalar_of(said), bounds_of(column)
    made = entity.marks is OWN and name == "id" and bool(column.primary_key) and isinstance(column.type, sa.Uuid)
    own = engine_set(entity, column) or made
    read_only = own or name in entity.read_only
    once = name in entity.once or (bool(column.primary_key) and not own)
    generated = bool(
        column.primary_key and isinstance(column.type, sa.Integer) and column.table.autoincrement_column is column
    )
    default = _default(column)
    annotation = scalar.annotate(said, bounds)
    # tenant_id is part of each composite key, and names no row by itself
    target = None if column.info.get("tenant") else _target(column)
    return Field(
        name=name,
        column=column,
        type=said,
        scalar=scalar,
        bounds=bounds,
        annotation=annotation | None if column.nullable else annotation,
        finish=scalar.finish(said, bounds),
        nullable=bool(column.nullable),
        default=None if own else default,
        required=not (
            column.nullable or default or column.server_default or read_only or name in entity.auto or generated
        ),
        creatable=not read_only and not generated,
        updatable=not read_only and not once and not generated,
        once=once,
        hidden=name in entity.hidden,
        masked=name in entity.masked,
        encrypted=name in entity.encrypted,
        references=target.table.fullname if target is not None else None,
        target=target.key if target is not None else "id",
        generated=generated,
    )


def _target(column: Column[Any]) -> Column[Any] | None:
    """The column that this one alone refers to."""
    for key in column.foreign_keys:
        others = key.constraint.columns if key.constraint is not None else ()
        if sum(not other.info.get("tenant") for other in others) <= 1:
            return key.column
    return None


def _default(column: Column[Any]) -> Callable[[], Any] | None:
    default: Any = column.default
    if default is None or not (default.is_scalar or default.is_callable):
        return None
    if default.is_callable:
        return lambda: default.arg(None)
    value = default.arg
    if isinstance(value, (dict, list)):
        return lambda: type(value)(value)
    return lambda: value


def virtual_field(virtual: Virtual) -> Field:
    scalar, bounds = scalar_of(virtual.type), Bounds()
    annotation = scalar.annotate(virtual.type, bounds)
    return Field(
        name=virtual.name,
        column=None,
        type=virtual.type,
        scalar=scalar,
        bounds=bounds,
        annotation=annotation | None,
        finish=scalar.finish(virtual.type, bounds),
        nullable=True,
        default=None,
        required=False,
        creatable=virtual.input,
        updatable=virtual.input,
        virtual=virtual,
    )
