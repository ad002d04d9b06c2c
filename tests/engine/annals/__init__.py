"""Things whose past is asked for: a value of every type, secrets of each kind, a tree, lines, owners, a machine, a computed value
that looks into another table, and a key of two columns."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Annotated, Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from engine.entity import Entity, Nested, Owner, Virtual
from engine.types import BigInt, Json, Model, Money, Name, Scope, Shaped, Strings, column, reference


class AnnalModel(Model, abstract=True):
    """Base of what belongs to tenants."""


scopes = [Scope("annals", AnnalModel.metadata, tenant_bound=True)]


def weight(things: Any) -> Any:
    """What the parts weigh together."""
    parts = Part.__table__
    own = sa.and_(parts.c.tenant_id == things.c.tenant_id, parts.c.thing_id == things.c.id, parts.c.is_active)
    return sa.select(sa.func.sum(parts.c.grams)).where(own).correlate_except(parts).scalar_subquery()


def ripe(things: Any) -> Any:
    """Whether its day has come."""
    return things.c.born <= sa.bindparam("today", type_=sa.Date())


class Thing(AnnalModel, table="ann.things"):
    """A value of each type."""

    name: Mapped[Name]
    group_id: Mapped[UUID | None] = reference("ann.groups")
    seller_id: Mapped[UUID | None]
    price: Mapped[Money | None]
    big: Mapped[BigInt | None]
    many: Mapped[int | None]
    ratio: Mapped[float | None] = column(sa.Float())
    ready: Mapped[bool | None]
    born: Mapped[date | None]
    seen: Mapped[datetime | None]
    wakes: Mapped[time | None] = column(sa.Time())
    ref: Mapped[UUID | None]
    tags: Mapped[Strings | None]
    data: Mapped[Json | None]
    facts: Mapped[Json] = column(default=dict)
    raw: Mapped[bytes | None]
    words: Mapped[Annotated[list[str], mapped_column(sa.ARRAY(sa.String(20)))] | None]
    phone: Mapped[str | None] = column(sa.String(40))
    pin: Mapped[str | None] = column(sa.String(12))
    papers: Mapped[dict[str, Any] | None] = column(Shaped(dict[str, str]))
    oath: Mapped[str | None] = column(sa.String(40))
    mark: Mapped[UUID | None]


things = Entity(
    Thing,
    label="name",
    search=["name"],
    machine="new* sold void : new>sold,void; sold>void; void>new",
    masked=["phone", "pin", "papers"],
    hidden=["oath", "mark"],
    encrypted=["pin", "papers"],
    owner=Owner("seller_id", unless="ann.things.manage"),
    permissions=["ann.things.manage"],
    nested=[Nested("parts", "ann.parts")],
    virtual=[Virtual("weight", sa.Integer(), compute=weight), Virtual("ripe", sa.Boolean(), compute=ripe)],
)


class Part(AnnalModel, table="ann.parts"):
    """A line of a thing, and as much its owner's."""

    thing_id: Mapped[UUID] = reference("ann.things", "cascade")
    position: Mapped[int | None]
    sku: Mapped[Name]
    grams: Mapped[int] = column(default=1)


parts = Entity(
    Part,
    parent=("ann.things", "thing_id"),
    search=["sku"],
    owner=Owner("thing.seller_id", unless="ann.things.manage"),  # the lines follow their header
)


class Group(AnnalModel, table="ann.groups"):
    """A node of a tree."""

    parent_id: Mapped[UUID | None] = reference("ann.groups")
    name: Mapped[Name]


groups = Entity(Group, label="name", tree="parent_id", search=["name"])


class Quote(AnnalModel, table="ann.quotes"):
    """Known by two columns."""

    code: Mapped[str] = column(sa.String(8), primary_key=True)
    day: Mapped[date] = column(primary_key=True)
    rate: Mapped[Money | None]


quotes = Entity(Quote, label="code")
