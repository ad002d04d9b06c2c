"""What a subscription costs, for how long, and how much of it a coupon takes: arithmetic without any row of its own."""

from __future__ import annotations

from calendar import monthrange
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from engine.hooks import Row
from registry.money import round_money, share

MONTHS = {"month": 1, "year": 12}


def period_end(start: date, interval: str, anchor_day: int) -> date:
    """BILL-S2: first day after the period: one interval on, on the anchor day or the last day of a shorter month."""
    months = start.year * 12 + start.month - 1 + MONTHS[interval]
    year, month = months // 12, months % 12 + 1
    return date(year, month, min(anchor_day, monthrange(year, month)[1]))


def seats_price(plan: Row, seats: int) -> Decimal:
    """What the seats beyond those that the plan includes cost in a period."""
    further: Decimal = plan["per_seat_amount"] * max(0, seats - plan["seats_included"])
    return further


def period_price(plan: Row, seats: int) -> Decimal:
    """BILL-P2: what a period costs before discount and tax."""
    price: Decimal = plan["amount"] + seats_price(plan, seats)
    return price


def discount(coupon: Row | None, price: Decimal, currency: str) -> Decimal:
    """What a coupon takes off a period's price; never more than the price."""
    if coupon is None:
        return Decimal(0)
    if coupon["percent_off"] is not None:
        return share(price, coupon["percent_off"], currency)
    off: Decimal = coupon["amount_off"]
    return min(off, price)


def counts(subscription: Row) -> bool:
    """Whether a coupon takes something off the running period. `discount_periods_left` counts the periods that are not
    over yet, the running one included; null is for ever."""
    left = subscription["discount_periods_left"]
    return subscription["coupon_id"] is not None and (left is None or left > 0)


def part(price: Decimal, days: tuple[int, int], currency: str) -> Decimal:
    """The share of a period's price for `days` = (days left, days in the period)."""
    return round_money(price * days[0] / days[1], currency)


def days_left(subscription: Row, today: date) -> tuple[int, int]:
    """(days left, days in the period) on the day."""
    start, end = subscription["period_start"], subscription["period_end"]
    return max(0, (end - today).days), (end - start).days


def first_period(plan: Row, today: date) -> dict[str, Any]:
    """BILL-S1: the columns of a new subscription. Paid periods begin on the anchor day; after a trial that is its last day."""
    if plan["trial_days"]:
        end = today + timedelta(days=plan["trial_days"])
        own = {"status": "trialing", "trial_end": end, "period_end": end, "anchor_day": end.day}
    else:
        end = period_end(today, plan["interval"], today.day)
        own = {"status": "active", "trial_end": None, "period_end": end, "anchor_day": today.day}
    return {"started_on": today, "period_start": today, **own}


def redeemable(coupon: Row, plan: Row, today: date, count: int) -> bool:
    """BILL-S6: whether the coupon may be redeemed for the `count`th time."""
    over = coupon["valid_until"] is not None and coupon["valid_until"] < today
    used_up = coupon["max_redemptions"] is not None and coupon["max_redemptions"] < count
    return coupon["valid_from"] <= today and not over and not used_up and coupon["currency"] in (None, plan["currency"])
