"""Books with a column of every type that a filter can look at, lists of each type included; chapters below them."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from engine.entity import Entity, Nested
from engine.types import (
    BigInt,
    Code,
    Email,
    Json,
    Model,
    Money,
    Name,
    Scope,
    SmallInt,
    Strings,
    Text,
    column,
    reference,
)


class ShelfModel(Model, abstract=True):
    """Base of the test models."""


scopes = [Scope("shelf", ShelfModel.metadata, tenant_bound=True, database="tenants")]


def listed(type_: Any) -> Any:
    """A column that is an array."""
    return mapped_column(sa.ARRAY(type_))


class Book(ShelfModel, table="shelf.books"):
    """Something to read."""

    parent_id: Mapped[UUID | None] = reference("shelf.books")
    place: Mapped[int] = column(default=0)
    title: Mapped[Name | None]
    note: Mapped[Text | None]
    code: Mapped[Code | None]
    email: Mapped[Email | None]
    kind: Mapped[Literal["atlas", "novel", "poems"] | None]
    amount: Mapped[int | None]
    small: Mapped[SmallInt | None]
    big: Mapped[BigInt | None]
    price: Mapped[Money | None]
    ratio: Mapped[float | None]
    ready: Mapped[bool | None]
    born: Mapped[date | None]
    at: Mapped[datetime | None]
    hour: Mapped[time | None]
    key: Mapped[UUID | None]
    raw: Mapped[bytes | None]
    data: Mapped[Json | None]
    tags: Mapped[Strings | None]
    words: Mapped[Annotated[list[str], listed(sa.String(20))] | None]
    texts: Mapped[Annotated[list[str], listed(sa.Text())] | None]
    kinds: Mapped[Annotated[list[str], listed(sa.Enum("atlas", "novel", "poems", native_enum=False))] | None]
    amounts: Mapped[Annotated[list[int], listed(sa.Integer())] | None]
    smalls: Mapped[Annotated[list[int], listed(sa.SmallInteger())] | None]
    bigs: Mapped[Annotated[list[int], listed(sa.BigInteger())] | None]
    prices: Mapped[Annotated[list[Decimal], listed(sa.Numeric(12, 4))] | None]
    ratios: Mapped[Annotated[list[float], listed(sa.REAL())] | None]
    flags: Mapped[Annotated[list[bool], listed(sa.Boolean())] | None]
    days: Mapped[Annotated[list[date], listed(sa.Date())] | None]
    moments: Mapped[Annotated[list[datetime], listed(sa.DateTime(timezone=True))] | None]
    hours: Mapped[Annotated[list[time], listed(sa.Time())] | None]
    keys: Mapped[Annotated[list[UUID], listed(sa.Uuid())] | None]


class Chapter(ShelfModel, table="shelf.chapters"):
    """A part of a book."""

    book_id: Mapped[UUID] = reference("shelf.books", "cascade")
    name: Mapped[Name]
    pages: Mapped[int | None]


books = Entity(Book, label="title", tree="parent_id", nested=[Nested("chapters", "shelf.chapters")])
chapters = Entity(Chapter, label="name", parent=("shelf.books", "book_id"))
