"""What subscriptions are billed: the lines of a period and of a change within it, and the invoices that carry them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import select

from engine.hooks import Moment, Row
from registry.manager.bill import Coupon, Plan
from registry.manager.pricing import counts, days_left, discount, part, period_price, seats_price

# a subscription as it is billed, and the lines of its invoice
Bill = tuple[Row, list[dict[str, Any]]]


async def plans_of(moment: Moment, keys: set[Any]) -> dict[Any, Row]:
    """The plans by id, deleted ones included: a subscription outlives its plan."""
    plans = Plan.__table__
    return {row["id"]: row for row in await moment.fetch(select(plans).where(plans.c.id.in_(keys - {None})))}


async def coupons_of(moment: Moment, subscriptions: list[Row]) -> dict[Any, Row]:
    """The coupons that count in the subscriptions' running periods, by id of the subscription."""
    counting = {row["id"]: row["coupon_id"] for row in subscriptions if counts(row)}
    if not counting:
        return {}
    coupons = Coupon.__table__
    rows = await moment.fetch(select(coupons).where(coupons.c.id.in_(counting.values())))
    by_id = {row["id"]: row for row in rows}
    return {key: by_id[coupon] for key, coupon in counting.items()}


async def open_period_invoices(moment: Moment, subscriptions: list[Row]) -> None:
    """Bill each subscription's present period: lines plan, further seats, discount."""
    plans = await plans_of(moment, {row["plan_id"] for row in subscriptions})
    coupons = await coupons_of(moment, subscriptions)
    bills = [(row, period_lines(row, plans[row["plan_id"]], coupons.get(row["id"]))) for row in subscriptions]
    await open_invoices(moment, plans, bills)


def period_lines(subscription: Row, plan: Row, coupon: Row | None) -> list[dict[str, Any]]:
    """The invoice lines of a whole period."""
    seats, included, currency = subscription["seats"], plan["seats_included"], plan["currency"]
    lines: list[dict[str, Any]] = [{"kind": "plan", "description": plan["name"], "unit_amount": plan["amount"]}]
    if seats_price(plan, seats):
        further = {"quantity": seats - included, "unit_amount": plan["per_seat_amount"]}
        lines.append({"kind": "seats", "description": f"Seats beyond {included}", **further})
    if off := discount(coupon, period_price(plan, seats), currency):
        lines.append({"kind": "discount", "description": f"Coupon {coupon and coupon['code']}", "unit_amount": -off})
    return lines


def change_lines(old: Row, new: Row, plans: dict[Any, Row], coupon: Row | None, today: date) -> list[dict[str, Any]]:
    """The invoice lines of another plan or more seats, for the days left of the period; `coupon` as it counted before."""
    days, currency = days_left(old, today), plans[new["plan_id"]]["currency"]
    parts = {text: part(price, days, currency) for text, price in _shares(old, new, plans, coupon).items()}
    kind = {"kind": "proration"}
    return [{**kind, "description": text, "unit_amount": amount} for text, amount in parts.items() if amount]


def _shares(old: Row, new: Row, plans: dict[Any, Row], coupon: Row | None) -> dict[str, Decimal]:
    """What is charged, for whole periods: another plan is credited and charged anew, further seats are added."""
    left, entered = plans[old["plan_id"]], plans[new["plan_id"]]
    was, price = period_price(left, old["seats"]), period_price(entered, new["seats"])
    if left["id"] == entered["id"]:
        return {f"{new['seats'] - old['seats']} more seats": price - was}
    credit = was - discount(coupon, was, left["currency"])
    return {f"Unused days of {left['name']}": -credit, f"Days left on {entered['name']}": price}


async def open_invoices(moment: Moment, plans: dict[Any, Row], bills: Sequence[Bill]) -> None:
    """Make and open one invoice for each subscription that has lines."""
    due = [(subscription, lines) for subscription, lines in bills if lines]
    if not due:
        return
    heads = await moment.create("bill.invoices", [_head(row, plans[row["plan_id"]]) for row, _ in due])
    lines = [
        {"invoice_id": head["id"], "position": position, **_period(head), **line}
        for head, (_, own) in zip(heads, due, strict=True)
        for position, line in enumerate(own, start=1)
    ]
    await moment.create("bill.invoice-lines", lines)
    await moment.status("bill.invoices", [head["id"] for head in heads], "open")


def _head(subscription: Row, plan: Row) -> dict[str, Any]:
    owner = {"tenant_id": subscription["tenant_id"], "subscription_id": subscription["id"]}
    return {**owner, "currency": plan["currency"], **_period(subscription)}


def _period(row: Row) -> dict[str, Any]:
    return {"period_start": row["period_start"], "period_end": row["period_end"]}
