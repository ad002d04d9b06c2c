"""Behaviour of plans and subscriptions: the first period, coupons, changes of plan and seats, and what an end means for
the tenant."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import select

from engine.errors import ConflictError
from engine.hooks import Change, Moment, Point, Row, Rules, refuse
from registry.locks import lock_by_id
from registry.manager.bill import Coupon, Plan
from registry.manager.pricing import counts, days_left, discount, part, period_end, period_price, seats_price
from registry.manager.seats import seats_taken
from registry.manager.tenant_billing import restore_tenants, suspend_tenants
from registry.manager.tnnt import Tenant

rules = Rules("manager/bill")

# how many periods a coupon counts in; a repeating one says so itself
DISCOUNT_PERIODS = {"once": 1, "forever": None}
ENDING = "trialing>canceled active>canceled past_due>canceled suspended>canceled"


# a subscription as it is billed, and the lines of its invoice
Bill = tuple[Row, list[dict[str, Any]]]


async def _plans(moment: Moment, keys: set[Any]) -> dict[Any, Row]:
    """The plans by id, deleted ones included: a subscription outlives its plan."""
    plans = Plan.__table__
    return {row["id"]: row for row in await moment.fetch(select(plans).where(plans.c.id.in_(keys - {None})))}


async def _coupons(moment: Moment, subscriptions: list[Row]) -> dict[Any, Row]:
    """The coupons that count in the subscriptions' running periods, by id of the subscription."""
    counting = {row["id"]: row["coupon_id"] for row in subscriptions if counts(row)}
    if not counting:
        return {}
    coupons = Coupon.__table__
    rows = await moment.fetch(select(coupons).where(coupons.c.id.in_(counting.values())))
    by_id = {row["id"]: row for row in rows}
    return {key: by_id[coupon] for key, coupon in counting.items()}


@rules.on("BILL-S1", "subscriptions", Point.BEFORE_CREATE, raises="409:plan_not_available")
async def start_subscriptions(moment: Moment, changes: list[Change]) -> None:
    """A plan in use gives a trial, or a first period that is paid in advance (its end: BILL-S2)."""
    plans = await _plans(moment, {change["plan_id"] for change in changes})
    for change in changes:
        if plan := plans.get(change["plan_id"]):  # an unknown plan is refused by the reference itself
            _require_available(plan)
            change.values.update(_first_period(plan, moment.today))


def _require_available(plan: Row) -> None:
    if plan["status"] != "active":
        raise ConflictError("plan_not_available", f"The plan {plan['code']} is not on offer")


def _first_period(plan: Row, today: date) -> dict[str, Any]:
    """The columns of a new subscription. Paid periods begin on the anchor day; after a trial that is its last day."""
    if plan["trial_days"]:
        end = today + timedelta(days=plan["trial_days"])
        own = {"status": "trialing", "trial_end": end, "period_end": end, "anchor_day": end.day}
    else:
        end = period_end(today, plan["interval"], today.day)
        own = {"status": "active", "trial_end": None, "period_end": end, "anchor_day": today.day}
    return {"started_on": today, "period_start": today, **own}


@rules.on("BILL-S6", "subscriptions", Point.BEFORE_CREATE, raises="409:coupon_not_valid")
async def redeem_coupons(moment: Moment, changes: list[Change]) -> None:
    """A coupon that is valid on this day and for this plan is redeemed once more."""
    coupons = await lock_by_id(moment, Coupon, {change["coupon_id"] for change in changes})
    plans = await _plans(moment, {change["plan_id"] for change in changes})
    redeemed: dict[Any, int] = {}
    for change in changes:
        coupon, plan = coupons.get(change["coupon_id"]), plans.get(change["plan_id"])
        if coupon is None or plan is None:  # none given, or refused by the reference itself
            continue
        so_far: int = coupon["times_redeemed"]
        count = redeemed.get(coupon["id"], so_far) + 1
        if not _redeemable(coupon, plan, moment.today, count):
            raise ConflictError("coupon_not_valid", f"The coupon {coupon['code']} cannot be redeemed for this plan now")
        redeemed[coupon["id"]] = count
        change.values["discount_periods_left"] = DISCOUNT_PERIODS.get(coupon["duration"], coupon["duration_months"])
    if redeemed:
        rows = [{"id": key, "times_redeemed": count} for key, count in redeemed.items()]
        await moment.update("bill.coupons", rows)


def _redeemable(coupon: Row, plan: Row, today: date, count: int) -> bool:
    """Whether the coupon may be redeemed for the `count`th time."""
    over = coupon["valid_until"] is not None and coupon["valid_until"] < today
    used_up = coupon["max_redemptions"] is not None and coupon["max_redemptions"] < count
    return coupon["valid_from"] <= today and not over and not used_up and coupon["currency"] in (None, plan["currency"])


@rules.on("BILL-S1", "subscriptions", Point.AFTER_CREATE)
async def bill_first_period(moment: Moment, changes: list[Change]) -> None:
    """Without a trial the first invoice is opened at once."""
    await open_period_invoices(moment, [change.values for change in changes if change["status"] == "active"])


async def open_period_invoices(moment: Moment, subscriptions: list[Row]) -> None:
    """Bill each subscription's present period: lines plan, further seats, discount."""
    plans = await _plans(moment, {row["plan_id"] for row in subscriptions})
    coupons = await _coupons(moment, subscriptions)
    bills = [(row, period_lines(row, plans[row["plan_id"]], coupons.get(row["id"]))) for row in subscriptions]
    await _open_invoices(moment, plans, bills)


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


async def _open_invoices(moment: Moment, plans: dict[Any, Row], bills: Sequence[Bill]) -> None:
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


def _asked(changes: list[Change], name: str) -> list[tuple[Change, Row]]:
    """The changes by which a caller asks for a plan or for seats, with the rows before. A renewal, which moves the
    period, brings them as they are."""
    return [
        (change, change.old)
        for change in changes
        if change.old is not None and name in change.given and "period_start" not in change.given
    ]


@rules.on("BILL-S8", "subscriptions", Point.BEFORE_UPDATE, raises="409:conflict")
async def keep_canceled(moment: Moment, changes: list[Change]) -> None:
    """What has ended is neither raised nor lowered."""
    for change in changes:
        if change["status"] == "canceled" and (change.changes("plan_id") or change.changes("seats")):
            raise ConflictError("conflict", "The subscription is canceled; make a new one")


@rules.on("BILL-S5", "subscriptions", Point.BEFORE_UPDATE, raises="409:seats_in_use")
async def keep_taken_seats(moment: Moment, changes: list[Change]) -> None:
    """Seats do not go below members and pending invitations."""
    fewer = [change for change, old in _asked(changes, "seats") if change["seats"] < old["seats"]]
    tenants = set(await lock_by_id(moment, Tenant, {change["tenant_id"] for change in fewer}))
    taken = await seats_taken(moment, tenants) if tenants else {}
    for change in fewer:
        if change["seats"] < taken.get(change["tenant_id"], 0):
            raise ConflictError("seats_in_use", "Members and invitations take more seats than that")


@rules.on("BILL-S4", "subscriptions", Point.BEFORE_UPDATE)
async def choose_seats(moment: Moment, changes: list[Change]) -> None:
    """Fewer seats wait for the renewal; more come now; the present number takes back what was waiting."""
    for change, old in _asked(changes, "seats"):
        wanted, present = change["seats"], old["seats"]
        if change["status"] != "trialing":
            change.values.update(seats=max(wanted, present), pending_seats=wanted if wanted < present else None)


@rules.on("BILL-S3", "subscriptions", Point.BEFORE_UPDATE, raises="422:plan_incompatible 409:plan_not_available")
async def choose_plans(moment: Moment, changes: list[Change]) -> None:
    """A dearer plan comes now, another one at the renewal (BILL-S4); the present one takes back what was waiting. On
    trial plans are just swapped."""
    asked = _asked(changes, "plan_id")
    plans = await _plans(moment, {row["plan_id"] for pair in asked for row in pair})
    for change, before in asked:
        old, new = plans[before["plan_id"]], plans.get(change["plan_id"])
        if new is None:  # refused by the reference itself
            continue
        waits = None
        if new["id"] != old["id"]:
            _require_compatible(change, old, new)
            dearer = period_price(new, change["seats"]) > period_price(old, change["seats"])
            waits = None if dearer or change["status"] == "trialing" else new["id"]
        change.values.update(plan_id=old["id"] if waits else new["id"], pending_plan_id=waits)


def _require_compatible(change: Change, old: Row, new: Row) -> None:
    _require_available(new)
    if any(new[name] != old[name] for name in ("interval", "currency")):
        raise refuse(change, "plan_id", "plan_incompatible", "The new plan has another interval or currency")


@rules.on("BILL-S3", "subscriptions", Point.AFTER_UPDATE)
async def charge_changes(moment: Moment, changes: list[Change]) -> None:
    """What came now is charged for the days left of the period."""
    asked = {change.key: (old, change.values) for name in ("plan_id", "seats") for change, old in _asked(changes, name)}
    pairs = [(old, new) for old, new in asked.values() if new["status"] != "trialing"]
    plans = await _plans(moment, {row["plan_id"] for pair in pairs for row in pair})
    coupons = await _coupons(moment, [old for old, _ in pairs])
    bills: list[Bill] = []
    for old, new in pairs:
        shares = _shares(old, new, plans, coupons.get(old["id"]))
        bills.append((new, _proration(shares, days_left(old, moment.today), plans[new["plan_id"]]["currency"])))
    await _open_invoices(moment, plans, bills)


def _shares(old: Row, new: Row, plans: dict[Any, Row], coupon: Row | None) -> dict[str, Decimal]:
    """What is charged, for whole periods: another plan is credited and charged anew, further seats are added."""
    left, entered = plans[old["plan_id"]], plans[new["plan_id"]]
    was, price = period_price(left, old["seats"]), period_price(entered, new["seats"])
    if left["id"] == entered["id"]:
        return {f"{new['seats'] - old['seats']} more seats": price - was}
    credit = was - discount(coupon, was, left["currency"])
    return {f"Unused days of {left['name']}": -credit, f"Days left on {entered['name']}": price}


def _proration(shares: dict[str, Decimal], days: tuple[int, int], currency: str) -> list[dict[str, Any]]:
    parts = {text: part(price, days, currency) for text, price in shares.items()}
    kind = {"kind": "proration"}
    return [{**kind, "description": text, "unit_amount": amount} for text, amount in parts.items() if amount]


@rules.on("BILL-S8", "subscriptions", Point.BEFORE_STATUS, edges=ENDING)
async def end_subscriptions(moment: Moment, changes: list[Change]) -> None:
    """A canceled subscription ends at once, without refund; one canceled for the end of its period has ended then."""
    for change in changes:
        end = change["period_end"] if change["cancel_at_period_end"] else moment.today
        change.values["ended_on"] = min(end, moment.today)


@rules.on("BILL-S8", "subscriptions", Point.AFTER_STATUS, edges=f"{ENDING} past_due>suspended")
async def suspend_unpaid(moment: Moment, changes: list[Change]) -> None:
    """A suspended or canceled subscription suspends its tenant."""
    await suspend_tenants(moment, {change["tenant_id"] for change in changes})


@rules.on("BILL-S8", "subscriptions", Point.AFTER_STATUS, edges="past_due>active suspended>active")
async def restore_paid(moment: Moment, changes: list[Change]) -> None:
    """An active subscription brings back the tenant that was suspended for billing."""
    await restore_tenants(moment, {change["tenant_id"] for change in changes})
