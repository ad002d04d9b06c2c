"""A registry for tests of single stages: one entity with a column of every type and flag, and lines below it."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from engine import registration
from engine.catalog import Catalog, Resource, compile_catalog
from engine.entity import Entity, Nested, Virtual
from engine.types import (
    BigInt,
    Code,
    Email,
    Json,
    Model,
    Money,
    Name,
    Percent,
    PostalAddress,
    Scope,
    SmallInt,
    Strings,
    Text,
    column,
    reference,
)


class WareModel(Model, abstract=True):
    """Base of the test models."""


def shout(table: Any) -> Any:
    """The title in capitals."""
    return sa.func.upper(table.c.title)


class Ware(WareModel, table="shop.wares"):
    """Something for sale."""

    title: Mapped[Name]
    code: Mapped[Code | None]
    kind: Mapped[Literal["new", "used"]] = column(default="new")
    amount: Mapped[int] = column(default=0)
    small: Mapped[SmallInt | None] = column(minimum=0, maximum=100)
    big: Mapped[BigInt | None]
    price: Mapped[Money | None]
    share: Mapped[Percent | None]
    ratio: Mapped[float | None]
    ready: Mapped[bool] = column(default=False)
    born: Mapped[date | None]
    at: Mapped[datetime | None]
    hour: Mapped[time | None]
    note: Mapped[Text | None]
    email: Mapped[Email | None]
    tags: Mapped[Strings] = column(default=list)
    data: Mapped[Json | None]
    address: Mapped[PostalAddress | None]
    raw: Mapped[bytes | None]
    words: Mapped[Annotated[list[str], mapped_column(sa.ARRAY(sa.String(20)))] | None]
    parent_id: Mapped[UUID | None] = reference("shop.wares")
    secret: Mapped[str | None] = column(sa.String(40))
    pin: Mapped[str | None] = column(sa.String(8))
    made_by: Mapped[str | None] = column(sa.String(40))


class Part(WareModel, table="shop.parts"):
    """A part of a ware."""

    ware_id: Mapped[UUID] = reference("shop.wares", "cascade")
    sku: Mapped[Name]
    weight: Mapped[Decimal] = column(sa.Numeric(6, 2), minimum=0)


SCOPE = Scope("shop", WareModel.metadata)
wares = Entity(
    Ware,
    label="title",
    unique=["code"],
    search=["title", "note"],
    once=["code"],
    read_only=["made_by"],
    hidden=["secret"],
    masked=["pin"],
    nested=[Nested("parts", "shop.parts")],
    virtual=[Virtual("password", sa.String(72), input=True), Virtual("shout", sa.Text(), compute=shout)],
    tree="parent_id",
)
parts = Entity(Part, label="sku", parent=("shop.wares", "ware_id"), once=["ware_id"])


def catalog() -> Catalog:
    """The compiled declarations."""
    registration.complete([wares, parts])
    return compile_catalog([SCOPE], [wares, parts], [])


CATALOG = catalog()
WARES: Resource = CATALOG.find("shop", "shop.wares")
PARTS: Resource = CATALOG.find("shop", "shop.parts")
