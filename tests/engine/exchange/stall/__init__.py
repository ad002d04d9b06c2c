"""Goods of every column type, which tenants bring in and take out as files."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from engine.entity import Entity, Nested, Owner, Virtual
from engine.hooks import Change, Moment, Point, Rules, refuse
from engine.types import (
    BigInt,
    Code,
    Email,
    Json,
    Model,
    Money,
    Name,
    Percent,
    Phone,
    PostalAddress,
    Scope,
    SmallInt,
    Strings,
    Text,
    column,
    reference,
)


class StallModel(Model, abstract=True):
    """Base of the test models."""


scopes = [Scope("stall", StallModel.metadata, tenant_bound=True, database="tenants")]
rules = Rules("stall/stall")


def shout(table: Any) -> Any:
    """The title in capitals."""
    return sa.func.upper(table.c.title)


class Ware(StallModel, table="stall.wares"):
    """Something for sale."""

    title: Mapped[Name]
    code: Mapped[Code | None]
    kind: Mapped[Literal["new", "used"]] = column(default="new")
    amount: Mapped[int] = column(default=0)
    small: Mapped[SmallInt | None] = column(minimum=0, maximum=100)
    big: Mapped[BigInt | None]
    price: Mapped[Money | None]
    share: Mapped[Percent | None]
    exact: Mapped[Annotated[Decimal, mapped_column(sa.Numeric)] | None]
    ratio: Mapped[float | None]
    ready: Mapped[bool] = column(default=False)
    born: Mapped[date | None]
    at: Mapped[datetime | None]
    hour: Mapped[time | None]
    note: Mapped[Text | None]
    email: Mapped[Email | None]
    phone: Mapped[Phone | None]
    tags: Mapped[Strings] = column(default=list)
    data: Mapped[Json | None]
    address: Mapped[PostalAddress | None]
    raw: Mapped[bytes | None]
    words: Mapped[Annotated[list[str], mapped_column(sa.ARRAY(sa.String(20)))] | None]
    key: Mapped[UUID | None]
    parent_id: Mapped[UUID | None] = reference("stall.wares")
    secret: Mapped[str | None] = column(sa.String(40))
    pin: Mapped[str | None] = column(sa.String(8))
    made_by: Mapped[str | None] = column(sa.String(40))


wares = Entity(
    Ware,
    label="title",
    unique=["code"],
    search=["title", "note"],
    once=["kind"],
    read_only=["made_by"],
    hidden=["secret"],
    masked=["pin"],
    nested=[Nested("parts", "stall.parts")],
    virtual=[Virtual("shout", sa.Text(), compute=shout)],
)


class Part(StallModel, table="stall.parts"):
    """A part of a ware."""

    ware_id: Mapped[UUID] = reference("stall.wares", "cascade")
    sku: Mapped[Name]
    pin: Mapped[str | None] = column(sa.String(8))


parts = Entity(Part, label="sku", masked=["pin"], parent=("stall.wares", "ware_id"))


class Letter(StallModel, table="stall.letters"):
    """Somebody's own letter; its text lies enciphered in the database."""

    user_id: Mapped[UUID]
    text: Mapped[Text]


letters = Entity(
    Letter,
    label="id",
    encrypted=["text"],
    masked=["text"],
    owner=Owner("user_id", unless="stall.letters.manage"),
    permissions=["stall.letters.manage"],
)


@rules.on("STALL-1", "wares", Point.BEFORE_CREATE, watches="note", raises="422:forbidden_word")
async def no_curses(_moment: Moment, changes: list[Change]) -> None:
    """Nobody writes a curse."""
    for change in changes:
        if change["note"] and "curse" in change["note"]:
            raise refuse(change, "note", "forbidden_word", "is not said here")
