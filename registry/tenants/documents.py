"""What the heads and the lines of commercial documents have in common, as columns and as what follows from them (G11)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from uuid import UUID

from sqlalchemy import String
from sqlalchemy.orm import Mapped

from engine.entity import Computed, RollUp
from engine.types import Currency, Money, Percent, Price, Quantity, Rate, column, reference

ZERO = Decimal(0)


class DocumentHead:
    """Currency, rate and totals of a document."""

    currency: Mapped[Currency]
    exchange_rate: Mapped[Rate] = column(default=Decimal(1))
    subtotal: Mapped[Money] = column(default=ZERO)
    tax_total: Mapped[Money] = column(default=ZERO)
    total: Mapped[Money] = column(default=ZERO)
    base_total: Mapped[Money] = column(default=ZERO)


class DocumentLine:
    """What a line is about, and what it comes to."""

    position: Mapped[int] = column(default=0)
    description: Mapped[str | None] = column(String(255))
    qty: Mapped[Quantity] = column(above=0)
    unit_price: Mapped[Price] = column(minimum=0)
    discount_pct: Mapped[Percent] = column(default=ZERO)
    tax_code_id: Mapped[UUID | None] = reference("fim.tax_codes")
    tax_pct: Mapped[Percent] = column(default=ZERO)
    net_amount: Mapped[Money] = column(default=ZERO)
    tax_amount: Mapped[Money] = column(default=ZERO)


HEAD_READ_ONLY = ("exchange_rate", "subtotal", "tax_total", "total", "base_total")
LINE_READ_ONLY = ("tax_pct", "net_amount", "tax_amount")
TOTAL = Computed("total", "subtotal tax_total", lambda subtotal, tax: subtotal + tax)
BASE_TOTAL = Computed("base_total", "total exchange_rate", lambda total, rate: total * rate)
LINE_AMOUNTS = [
    Computed("net_amount", "qty unit_price discount_pct", lambda qty, price, off: qty * price * (1 - off / 100)),
    Computed("tax_amount", "net_amount tax_pct", lambda net, pct: net * pct / 100),
]


def totals(lines: str) -> list[RollUp]:
    """Of the lines `domain.entity`: subtotal and tax_total."""
    return [RollUp("subtotal", lines, sum="net_amount"), RollUp("tax_total", lines, sum="tax_amount")]


def days_after(day: date, days: int) -> date:
    """A later day, the last of the calendar at most."""
    return date.fromordinal(min(day.toordinal() + days, date.max.toordinal()))
