"""Rounding of money: half up, to the decimal places of its currency."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal

WHOLE = frozenset({"JPY", "KRW", "VND"})
# the product of a quantity and a price has more digits than the default context keeps
WIDE = Context(prec=60)


def round_money(amount: Decimal, currency: str) -> Decimal:
    """`amount` to 2 decimal places, or to none for currencies without a minor unit."""
    step = Decimal(1) if currency in WHOLE else Decimal("0.01")
    return amount.quantize(step, rounding=ROUND_HALF_UP, context=WIDE)


def to_places(amount: Decimal, places: int) -> Decimal:
    """`amount` half up to so many decimal places."""
    return amount.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP, context=WIDE)


def times(left: Decimal, right: Decimal, currency: str) -> Decimal:
    """The rounded product."""
    return round_money(WIDE.multiply(left, right), currency)


def share(amount: Decimal, percent: Decimal, currency: str) -> Decimal:
    """`percent` hundredths of `amount`, rounded."""
    return times(amount, percent / 100, currency)
