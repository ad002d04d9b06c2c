"""A small sales desk that says everything in declarations: what the tests of `engine/behaviours` ask is asked of it."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from sqlalchemy import Numeric, String
from sqlalchemy.orm import Mapped

from engine.entity import Computed, Entity, Frozen, Needed, Nested, Owner, Period, RollUp, Unique
from engine.hooks import Change, Moment, Point, Rules
from engine.types import (
    Code,
    Currency,
    Model,
    Money,
    Name,
    Percent,
    Price,
    Quantity,
    Rate,
    Scope,
    column,
    outside,
    reference,
)

ZERO = Decimal(0)


class DeskModel(Model, abstract=True):
    """Base of the desk's models."""


scopes = [Scope("desk", DeskModel.metadata)]
rules = Rules("desk/desk")


class Deal(DeskModel, table="desk.deals"):
    """Something to sell, with its lines."""

    title: Mapped[Name]
    currency: Mapped[Currency] = column(default="USD")
    exchange_rate: Mapped[Rate] = column(default=Decimal(1))
    ceiling: Mapped[Money | None]
    subtotal: Mapped[Money] = column(default=ZERO)
    tax_total: Mapped[Money] = column(default=ZERO)
    total: Mapped[Money] = column(default=ZERO)
    base_total: Mapped[Money] = column(default=ZERO)
    line_count: Mapped[int] = column(default=0)
    extras: Mapped[Money] = column(default=ZERO)
    lost_reason: Mapped[str | None] = column(String(80))
    closed_at: Mapped[datetime | None]
    closed_on: Mapped[date | None]
    closed_by: Mapped[UUID | None]
    why: Mapped[str | None] = column(String(80))
    watcher_id: Mapped[UUID | None] = outside("manager/idam.users")


deals = Entity(
    Deal,
    label="title",
    read_only=[
        *("subtotal", "tax_total", "total", "base_total", "line_count", "extras"),
        *("closed_at", "closed_on", "closed_by", "why"),
    ],
    nested=[Nested("lines", "desk.deal-lines")],
    machine="open* won lost closed : open>won,lost; won>closed,open; lost>open; closed~>open",
    currency="currency",
    base_money=["base_total"],
    computed=[
        Computed("total", "subtotal tax_total", lambda subtotal, tax: subtotal + tax),
        Computed("base_total", "total exchange_rate", lambda total, rate: total * rate),
    ],
    rollups=[
        RollUp("subtotal", "desk.deal-lines", sum="net"),
        RollUp("tax_total", "desk.deal-lines", sum="tax"),
        RollUp("line_count", "desk.deal-lines"),
        RollUp("extras", "desk.deal-lines", sum="net", where="kind = 'extra'"),
    ],
    frozen=[
        Frozen("won", fields=("title", "currency"), code="deal_won"),
        Frozen("lost"),
        Frozen("closed", but=("ceiling",)),
    ],
    needed=[Needed("lost_reason", "open>lost"), Needed("reason", "won>open", code="why_needed")],
    stamps={
        "closed": {"closed_at": "now", "closed_on": "today", "closed_by": "actor"},
        "open": {"closed_at": "null", "why": "reason"},
    },
    guards={"ceiling": "desk.deals.ceiling", "won>closed": "desk.deals.close"},
    four_eyes={"open>won": "created_by"},
)


class DealLine(DeskModel, table="desk.deal_lines"):
    """A line of a deal."""

    deal_id: Mapped[UUID] = reference("desk.deals", "cascade")
    position: Mapped[int] = column(default=0)
    kind: Mapped[Literal["normal", "extra"]] = column(default="normal")
    quantity: Mapped[Quantity] = column(default=Decimal(1), above=0)
    unit_price: Mapped[Price]
    rebate_pct: Mapped[Percent] = column(default=ZERO)
    tax_pct: Mapped[Percent] = column(default=ZERO)
    net: Mapped[Money]
    tax: Mapped[Money]
    note: Mapped[str | None] = column(String(80))


deal_lines = Entity(
    DealLine,
    kind="line",
    parent=("desk.deals", "deal_id"),
    once=["deal_id"],
    read_only=["net", "tax", "tax_pct"],
    # declared against the order in which they are needed: `tax` reads `net`
    computed=[
        Computed("tax", "net tax_pct", lambda net, pct: net * pct / 100),
        Computed("net", "quantity unit_price rebate_pct", lambda n, price, pct: n * price * (1 - pct / 100)),
    ],
)


@rules.on("DESK-1", "deal-lines", Point.BEFORE_CREATE, writes="tax_pct")
@rules.on("DESK-1", "deal-lines", Point.BEFORE_UPDATE, watches="kind", writes="tax_pct")
async def tax_normal_lines(moment: Moment, changes: list[Change]) -> None:
    """Ten per cent, and nothing on extras."""
    for change in changes:
        change.values["tax_pct"] = Decimal(0 if change["kind"] == "extra" else 10)


class Price_(DeskModel, table="desk.prices"):
    """A price of a code for some days."""

    code: Mapped[Code]
    region: Mapped[str | None] = column(String(8))
    amount: Mapped[Decimal] = column(Numeric(12, 2))
    valid_from: Mapped[date]
    valid_until: Mapped[date | None]


prices = Entity(Price_, periods=[Period(("code", "region"), "valid_from", "valid_until")])


class Note(DeskModel, table="desk.notes"):
    """What somebody noted down for himself."""

    user_id: Mapped[UUID | None] = outside("manager/idam.users")
    text: Mapped[Name]
    tag: Mapped[str | None] = column(String(8))


notes = Entity(
    Note,
    owner=Owner("user_id", unless="desk.notes.manage"),
    unique=[Unique(("user_id", "tag"), nulls_equal=True)],
    permissions=["desk.notes.manage"],
)
