"""A small market of one kind of everything that queries meet: a tree, to-one and to-many relations, nested rows, every column
type, hidden and masked columns in two domains, rows that belong to callers. Rows of it are also kept in plain Python."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Literal
from uuid import UUID

from sqlalchemy import Float, String, Time
from sqlalchemy.orm import Mapped

from engine.entity import Entity, Nested, Owner
from engine.types import BigInt, Model, Money, Scope, Strings, Text, column, outside, reference


class MarketModel(Model, abstract=True):
    """Base of the market's models."""


scopes = [Scope("market", MarketModel.metadata, tenant_bound=True)]


class Region(MarketModel, table="shop.regions"):
    """A node of a tree."""

    parent_id: Mapped[UUID | None] = reference("shop.regions")
    name: Mapped[Text | None]
    rank: Mapped[int | None]


regions = Entity(Region, tree="parent_id", search=["name"])


class Buyer(MarketModel, table="shop.buyers"):
    """Somebody with a value of each type, or none."""

    region_id: Mapped[UUID | None] = reference("shop.regions")
    name: Mapped[Text | None]
    nick: Mapped[str | None] = column(String(40))
    kind: Mapped[Literal["firm", "person", "state"] | None]
    credit: Mapped[Money | None]
    big: Mapped[BigInt | None]
    weight: Mapped[float | None] = column(Float())
    since: Mapped[date | None]
    seen: Mapped[datetime | None]
    wakes: Mapped[time | None] = column(Time())
    vip: Mapped[bool | None]
    tags: Mapped[Strings | None]
    phone: Mapped[str | None] = column(String(40))
    secret: Mapped[Text | None]


buyers = Entity(Buyer, search=["name", "nick"], masked=["phone"], hidden=["secret"])


class Order(MarketModel, table="shop.orders"):
    """What somebody bought; it belongs to the user who sold it."""

    buyer_id: Mapped[UUID | None] = reference("shop.buyers")
    seller_id: Mapped[UUID | None] = outside("manager/idam.users")
    total: Mapped[Money | None]
    placed: Mapped[date | None]
    note: Mapped[Text | None]


orders = Entity(
    Order,
    search=["note"],
    nested=[Nested("items", "shop.items")],
    owner=Owner("seller_id", unless="shop.orders.manage"),
    permissions=["shop.orders.manage"],
)


class Item(MarketModel, table="shop.items"):
    """A line of an order."""

    order_id: Mapped[UUID] = reference("shop.orders", "cascade")
    position: Mapped[int | None]
    sku: Mapped[Text | None]
    price: Mapped[Money | None]
    margin: Mapped[Money | None]


items = Entity(Item, parent=("shop.orders", "order_id"), hidden=["margin"], search=["sku"])


class Card(MarketModel, table="vault.cards"):
    """What another domain keeps of a buyer."""

    buyer_id: Mapped[UUID] = reference("shop.buyers")
    label: Mapped[Text | None]
    number: Mapped[str | None] = column(String(40))


cards = Entity(Card, masked=["number"])
