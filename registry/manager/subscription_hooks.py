"""Behaviour of plans and subscriptions: the first period, coupons, changes of plan and seats, and what an end means for
the tenant."""

from __future__ import annotations

from typing import Any

from engine.errors import ConflictError
from engine.hooks import Change, Moment, Point, Row, Rules, refuse
from registry.locks import lock_by_id
from registry.manager.bill import Coupon
from registry.manager.pricing import first_period, period_price, redeemable
from registry.manager.seats import seats_taken
from registry.manager.subscription_bills import change_lines, coupons_of, open_invoices, open_period_invoices, plans_of
from registry.manager.tenant_billing import restore_tenants, suspend_tenants
from registry.manager.tnnt import Tenant

rules = Rules("manager/bill")

# how many periods a coupon counts in; a repeating one says so itself
DISCOUNT_PERIODS = {"once": 1, "forever": None}
ENDING = "trialing>canceled active>canceled past_due>canceled suspended>canceled"


@rules.on("BILL-S1", "subscriptions", Point.BEFORE_CREATE, raises="409:plan_not_available")
async def start_subscriptions(moment: Moment, changes: list[Change]) -> None:
    """A plan in use gives a trial, or a first period that is paid in advance (its end: BILL-S2)."""
    plans = await plans_of(moment, {change["plan_id"] for change in changes})
    for change in changes:
        if plan := plans.get(change["plan_id"]):  # an unknown plan is refused by the reference itself
            _require_available(plan)
            change.values.update(first_period(plan, moment.today))


def _require_available(plan: Row) -> None:
    if plan["status"] != "active":
        raise ConflictError("plan_not_available", f"The plan {plan['code']} is not on offer")


@rules.on("BILL-S6", "subscriptions", Point.BEFORE_CREATE, raises="409:coupon_not_valid")
async def redeem_coupons(moment: Moment, changes: list[Change]) -> None:
    """A coupon that is valid on this day and for this plan is redeemed once more."""
    coupons = await lock_by_id(moment, Coupon, {change["coupon_id"] for change in changes})
    plans = await plans_of(moment, {change["plan_id"] for change in changes})
    redeemed: dict[Any, int] = {}
    for change in changes:
        coupon, plan = coupons.get(change["coupon_id"]), plans.get(change["plan_id"])
        if coupon is None or plan is None:  # none given, or refused by the reference itself
            continue
        so_far: int = coupon["times_redeemed"]
        count = redeemed.get(coupon["id"], so_far) + 1
        if not redeemable(coupon, plan, moment.today, count):
            raise ConflictError("coupon_not_valid", f"The coupon {coupon['code']} cannot be redeemed for this plan now")
        redeemed[coupon["id"]] = count
        change.values["discount_periods_left"] = DISCOUNT_PERIODS.get(coupon["duration"], coupon["duration_months"])
    if redeemed:
        rows = [{"id": key, "times_redeemed": count} for key, count in redeemed.items()]
        await moment.update("bill.coupons", rows)


@rules.on("BILL-S1", "subscriptions", Point.AFTER_CREATE)
async def bill_first_period(moment: Moment, changes: list[Change]) -> None:
    """Without a trial the first invoice is opened at once."""
    await open_period_invoices(moment, [change.values for change in changes if change["status"] == "active"])


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
    plans = await plans_of(moment, {row["plan_id"] for pair in asked for row in pair})
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
    plans = await plans_of(moment, {row["plan_id"] for pair in pairs for row in pair})
    coupons = await coupons_of(moment, [old for old, _ in pairs])
    bills = [(new, change_lines(old, new, plans, coupons.get(old["id"]), moment.today)) for old, new in pairs]
    await open_invoices(moment, plans, bills)


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
