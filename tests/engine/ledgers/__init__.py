"""A registry for tests of keys: natural, composite and numbered by the database, some with hooks and some without."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from sqlalchemy import ForeignKey, Identity, Numeric, String
from sqlalchemy.orm import Mapped

from engine.entity import Entity
from engine.hooks import Change, Moment, Point, Rules
from engine.types import Model, Name, Scope, column


class LedgerModel(Model, abstract=True):
    """Base of the test models."""


class Currency(LedgerModel, table="led.currencies"):
    """A currency, known by its code."""

    code: Mapped[str] = column(String(8), primary_key=True)
    name: Mapped[Name]


class Rate(LedgerModel, table="led.rates"):
    """What a currency was worth on a day."""

    currency: Mapped[str] = column(ForeignKey("led.currencies.code", ondelete="CASCADE"), primary_key=True)
    day: Mapped[date] = column(primary_key=True)
    rate: Mapped[Decimal] = column(Numeric(18, 8), above=0)


class Quote(LedgerModel, table="led.quotes"):
    """The same with rules, so that each write is a transaction."""

    currency: Mapped[str] = column(ForeignKey("led.currencies.code"), primary_key=True)
    day: Mapped[date] = column(primary_key=True)
    rate: Mapped[Decimal] = column(Numeric(18, 8), above=0)
    writes: Mapped[int] = column(default=0)


class Entry(LedgerModel, table="led.entries"):
    """Numbered by the database."""

    id: Mapped[int] = column(primary_key=True)  # type: ignore[misc]  # the base says ClassVar
    memo: Mapped[Name]
    currency: Mapped[str | None] = column(ForeignKey("led.currencies.code", ondelete="SET NULL"))
    previous_id: Mapped[int | None] = column(ForeignKey("led.entries.id"))


class Stamp(LedgerModel, table="led.stamps"):
    """Numbered by an identity column."""

    id: Mapped[int] = column(Identity(), primary_key=True)  # type: ignore[misc]  # the base says ClassVar
    memo: Mapped[Name]


scopes = [Scope("led", LedgerModel.metadata)]
currencies = Entity(Currency, label="code", search=["code", "name"])
rates = Entity(Rate, label="currency")
quotes = Entity(Quote, label="currency", read_only=["writes"])
entries = Entity(Entry, label="memo", search=["memo"])
stamps = Entity(Stamp, label="memo")
rules = Rules("led/led")


@rules.on("LED-1", "quotes", Point.BEFORE_CREATE, Point.BEFORE_UPDATE, Point.BEFORE_DELETE, Point.BEFORE_STATUS)
async def count_writes(_moment: Moment, changes: list[Change]) -> None:
    """Each write counts itself."""
    for change in changes:
        change.values["writes"] = (change["writes"] or 0) + 1


@rules.on("LED-2", "entries", Point.BEFORE_UPDATE)
async def note_rates(moment: Moment, changes: list[Change]) -> None:
    """Rules reach composite keys too: an entry whose memo is `rate` moves the rate of its currency."""
    for change in changes:
        if change["memo"] == "rate":
            key = (change["currency"], date(2026, 1, 31))
            found = await moment.get("led.rates", key)
            if found is not None:
                await moment.update("led.rates", [{"currency": key[0], "day": key[1], "rate": found["rate"] + 1}])
        if change["memo"] == "drop":
            await moment.delete("led.rates", [(change["currency"], date(2026, 1, 31))])
