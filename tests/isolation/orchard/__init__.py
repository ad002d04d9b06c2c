"""An orchard's trade, without any registry beside it: its callers come with tokens of an outside issuer."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import String
from sqlalchemy.orm import Mapped

from engine.entity import Entity, Nested
from engine.errors import Fault, invalid
from engine.hooks import Change, Moment, Point, Rules
from engine.types import Code, Json, Model, Name, Scope, column, reference


class OrchardModel(Model, abstract=True):
    """Base of the test models."""


scopes = [Scope("orchard", OrchardModel.metadata)]
rules = Rules("orchard/trade")


class Buyer(OrchardModel, table="trade.buyers"):
    """Whom apples are sold to."""

    name: Mapped[Name]
    region: Mapped[str] = column(String(8), default="north")
    rating: Mapped[str] = column(String(80), default="none")


buyers = Entity(Buyer, label="name", search=["name", "rating"], unique=["rating"])


class Order(OrchardModel, table="trade.orders"):
    """Apples to be sold."""

    code: Mapped[Code]
    region: Mapped[str] = column(String(8), default="north")
    note: Mapped[str | None] = column(String(80))
    margin: Mapped[str | None] = column(String(80))
    cost: Mapped[str | None] = column(String(80))
    owner_id: Mapped[UUID | None]
    buyer_id: Mapped[UUID | None] = reference("trade.buyers")
    broker_id: Mapped[UUID | None] = reference("trade.buyers")


orders = Entity(
    Order,
    label="margin",
    unique=["code", "margin"],
    search=["code", "margin"],
    machine="draft* sent : draft>sent",
    needed=[],
    guards={"margin": "trade.margins.manage"},
    nested=[Nested("crates", "trade.crates")],
    permissions=["trade.margins.manage"],
)


class Crate(OrchardModel, table="trade.crates"):
    """What an order holds."""

    order_id: Mapped[UUID] = reference("trade.orders", "cascade")
    fruit: Mapped[Name]
    price: Mapped[str | None] = column(String(80))


crates = Entity(Crate, kind="line", label="fruit", parent=("trade.orders", "order_id"))


class Log(OrchardModel, table="trade.log"):
    """Every change."""

    occurred_at: Mapped[datetime]
    actor_id: Mapped[UUID | None]
    action: Mapped[str] = column(String(16))
    domain: Mapped[str] = column(String(16))
    entity: Mapped[str] = column(String(64))
    entity_id: Mapped[UUID | None]
    changes: Mapped[Json] = column(default=dict)


log = Entity(Log, kind="log", operations="gl", role="change_log")


@rules.on("ORCH-1", "orders", Point.BEFORE_UPDATE, watches="note", raises="422:validation_error")
async def no_losses(_moment: Moment, changes: list[Change]) -> None:
    """A rule that speaks of a field whoever the caller is."""
    told: dict[str, Any] = {"least": "0"}
    if any(change["note"] == "loss" for change in changes):
        raise invalid([Fault("margin", "out_of_range", "must not be negative", told)])
