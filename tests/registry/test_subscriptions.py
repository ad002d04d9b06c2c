"""Behaviour of plans, coupons and subscriptions, over HTTP."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from tests.billing import (
    COUPONS,
    INVOICES,
    PLANS,
    SUBSCRIPTIONS,
    YEAR,
    Freeze,
    bills,
    make_coupon,
    make_plan,
    make_pro,
    noon,
    pay,
    subscribe,
)
from tests.calls import Body, World

TENANTS, INVITATIONS = "manager/tnnt/tenants", "manager/tnnt/invitations"


@pytest.mark.parametrize("name", ["amount", "per_seat_amount", "seats_included", "trial_days"])
def test_the_price_of_a_published_plan_stays(world: World, name: str) -> None:
    """BILL-P1: once not draft the four are frozen; the rest changes."""
    draft, plan = make_plan(world, "draft"), make_plan(world)
    value = 7 if name in ("seats_included", "trial_days") else "7"
    world.admin.change(PLANS, draft["id"], **{name: value})
    world.admin.expect_refusal("409:plan_locked", "PATCH", f"{PLANS}/{plan['id']}", {name: value})
    same = world.admin.change(PLANS, plan["id"], **{name: plan[name], "name": "Renamed"})
    assert same["name"] == "Renamed"
    world.admin.move(PLANS, plan["id"], "archived")
    world.admin.expect_refusal("409:plan_locked", "PATCH", f"{PLANS}/{plan['id']}", {name: value})


@pytest.mark.parametrize("status", ["draft", "archived"])
def test_only_a_plan_in_use_is_on_offer(world: World, status: str) -> None:
    """BILL-S1: a draft and an archived plan give no subscription."""
    plan = make_plan(world, "draft") if status == "draft" else make_plan(world)
    if status == "archived":
        world.admin.move(PLANS, plan["id"], "archived")
    body = {"tenant_id": world.tenant()["id"], "plan_id": plan["id"]}
    world.admin.expect_refusal("409:plan_not_available", "POST", SUBSCRIPTIONS, body)


def test_a_trial_costs_nothing(world: World, freeze: Freeze) -> None:
    """BILL-S1: with trial_days the subscription is trialing for so long, without an invoice."""
    plan = make_plan(world, trial_days=14)
    freeze(noon(3, 18))
    row = subscribe(world, plan, seats=5)
    start, end = f"{YEAR}-03-18", f"{YEAR}-04-01"
    assert (row["status"], row["anchor_day"]) == ("trialing", 1)
    assert (row["started_on"], row["period_start"]) == (start, start)
    assert (row["period_end"], row["trial_end"]) == (end, end)
    assert bills(world, row) == []


def test_the_first_period_is_billed_at_once(world: World, freeze: Freeze) -> None:
    """BILL-S1, BILL-P2: without trial it is active, and plan, further seats and coupon are on the first invoice."""
    plan, coupon = make_plan(world), make_coupon(world)
    freeze(noon(4, 1))
    row = subscribe(world, plan, seats=5, coupon_id=coupon["id"])
    assert (row["status"], row["anchor_day"], row["period_end"]) == ("active", 1, f"{YEAR}-05-01")
    [(invoice, lines)] = bills(world, row)
    assert lines == [("plan", Decimal(30)), ("seats", Decimal(10)), ("discount", Decimal(-8))]
    assert (invoice["status"], invoice["total"], invoice["due_date"]) == ("open", "35.2000", f"{YEAR}-04-15")
    assert (invoice["period_start"], invoice["period_end"]) == (row["period_start"], row["period_end"])
    only_plan = subscribe(world, plan, seats=3)
    assert [lines for _, lines in bills(world, only_plan)] == [[("plan", Decimal(30))]]


@pytest.mark.parametrize(
    ("interval", "start", "end"),
    [
        ("month", (YEAR, 1, 31), (YEAR, 2, 29 if YEAR % 4 == 0 else 28)),
        ("month", (YEAR, 3, 31), (YEAR, 4, 30)),
        ("month", (YEAR, 12, 15), (YEAR + 1, 1, 15)),
        ("year", (YEAR, 2, 28), (YEAR + 1, 2, 28)),
    ],
)
def test_a_period_ends_on_its_anchor(
    world: World, freeze: Freeze, interval: str, start: tuple[int, int, int], end: tuple[int, int, int]
) -> None:
    """BILL-S2: one interval on, on the anchor day, or the last day of a shorter month."""
    plan = make_plan(world, interval=interval)
    freeze(datetime(*start, 12, tzinfo=UTC))
    row = subscribe(world, plan)
    assert (row["anchor_day"], row["period_end"]) == (start[2], date(*end).isoformat())


def test_a_tenant_has_one_subscription(world: World) -> None:
    """BILL-S1: a second one is a duplicate until the first is canceled."""
    tenant, plan = world.tenant(), make_plan(world)
    first = subscribe(world, plan, tenant=tenant)
    world.admin.expect_refusal(
        "409:duplicate", "POST", SUBSCRIPTIONS, {"tenant_id": tenant["id"], "plan_id": plan["id"]}
    )
    world.admin.move(SUBSCRIPTIONS, first["id"], "canceled")
    subscribe(world, plan, tenant=tenant)


@pytest.mark.parametrize(
    ("values", "left"),
    [
        ({"duration": "once"}, 1),
        ({"duration": "repeating", "duration_months": 3}, 3),
        ({"duration": "forever"}, None),
        ({"percent_off": None, "amount_off": "5", "currency": "USD"}, 1),
    ],
)
def test_a_coupon_is_redeemed(world: World, values: Body, left: int | None) -> None:
    """BILL-S6: times_redeemed + 1; once, so many months, or for ever."""
    coupon = make_coupon(world, **values)
    row = subscribe(world, make_plan(world), coupon_id=coupon["id"])
    assert row["discount_periods_left"] == left
    assert world.admin.get(COUPONS, coupon["id"])["times_redeemed"] == 1


def test_an_amount_off_takes_no_more_than_the_price(world: World) -> None:
    """BILL-S6: a coupon over more than the price makes the period free, not negative."""
    coupon = make_coupon(world, percent_off=None, amount_off="500", currency="USD")
    [(invoice, lines)] = bills(world, subscribe(world, make_plan(world), coupon_id=coupon["id"]))
    assert lines == [("plan", Decimal(30)), ("discount", Decimal(-30))] and invoice["status"] == "paid"


@pytest.mark.parametrize(
    "values",
    [
        {"valid_from": f"{YEAR + 1}-01-01"},
        {"valid_until": f"{YEAR}-01-02"},
        {"percent_off": None, "amount_off": "5", "currency": "EUR"},
    ],
)
def test_a_coupon_that_does_not_fit_is_refused(world: World, freeze: Freeze, values: Body) -> None:
    """BILL-S6: outside its dates, or in another currency than the plan."""
    body = {"tenant_id": world.tenant()["id"], "plan_id": make_plan(world)["id"]}
    body["coupon_id"] = make_coupon(world, **values)["id"]
    freeze(noon(6, 1))
    world.admin.expect_refusal("409:coupon_not_valid", "POST", SUBSCRIPTIONS, body)


def test_a_coupon_is_used_up(world: World) -> None:
    """BILL-S6: max_redemptions counts within one request too, and a refused one gives its redemption back."""
    coupon, plan = make_coupon(world, max_redemptions=2), make_plan(world)
    three = [{"tenant_id": world.tenant()["id"], "plan_id": plan["id"], "coupon_id": coupon["id"]} for _ in range(3)]
    world.admin.expect_refusal("409:coupon_not_valid", "POST", SUBSCRIPTIONS, three)
    world.admin.send(201, "POST", SUBSCRIPTIONS, three[:2])
    world.admin.expect_refusal("409:coupon_not_valid", "POST", SUBSCRIPTIONS, three[2])
    assert world.admin.get(COUPONS, coupon["id"])["times_redeemed"] == 2


def test_a_coupon_in_use_is_not_deleted(world: World) -> None:
    """BILL-C1: while it counts on a subscription; its last day ends it for new ones."""
    coupon, plan = make_coupon(world, duration="forever"), make_plan(world)
    subscribe(world, plan, coupon_id=coupon["id"])
    world.admin.expect_refusal("409:in_use", "DELETE", f"{COUPONS}/{coupon['id']}")
    world.admin.stays("409:in_use", COUPONS, coupon["id"], "inactive")
    yesterday = (date.today() - timedelta(days=1)).isoformat()
    world.admin.change(COUPONS, coupon["id"], valid_from=yesterday, valid_until=yesterday)
    body = {"tenant_id": world.tenant()["id"], "plan_id": plan["id"], "coupon_id": coupon["id"]}
    world.admin.expect_refusal("409:coupon_not_valid", "POST", SUBSCRIPTIONS, body)
    world.admin.drop(COUPONS, make_coupon(world)["id"])


def test_an_upgrade_takes_effect_now(world: World, freeze: Freeze) -> None:
    """BILL-S3: unused days of the discounted old price are credited, days left of the new one charged."""
    team, pro, coupon = make_plan(world), make_pro(world), make_coupon(world)
    freeze(noon(4, 1))
    row = subscribe(world, team, seats=5, coupon_id=coupon["id"])
    freeze(noon(4, 11))
    changed = world.admin.change(SUBSCRIPTIONS, row["id"], plan_id=pro["id"])
    assert (changed["plan_id"], changed["pending_plan_id"]) == (pro["id"], None)
    assert changed["period_end"] == row["period_end"]
    _, (invoice, lines) = bills(world, row)
    assert lines == [("proration", Decimal("-21.33")), ("proration", Decimal(60))]
    sums = [invoice[name] for name in ("subtotal", "tax_total", "total", "due_date", "status")]
    assert sums == ["38.6700", "3.8700", "42.5400", f"{YEAR}-04-25", "open"]


@pytest.mark.parametrize("values", [{"interval": "year", "amount": "900"}, {"currency": "EUR"}])
def test_an_upgrade_keeps_interval_and_currency(world: World, values: Body) -> None:
    """BILL-S3: another interval or currency is refused; so is a plan that is not on offer."""
    row = subscribe(world, make_plan(world))
    path, pro = f"{SUBSCRIPTIONS}/{row['id']}", make_pro(world, **values)
    world.admin.expect_refusal("422:plan_incompatible", "PATCH", path, {"plan_id": pro["id"]})
    draft = make_plan(world, "draft", amount="99")
    world.admin.expect_refusal("409:plan_not_available", "PATCH", path, {"plan_id": draft["id"]})
    assert len(bills(world, row)) == 1


def test_on_trial_plans_are_swapped(world: World) -> None:
    """BILL-S3: up and down, seats too, without an invoice and without waiting."""
    row = subscribe(world, make_plan(world, trial_days=14), seats=5)
    pro, small = make_pro(world), make_plan(world, amount="1")
    for plan, seats in ((pro, 9), (small, 2)):
        changed = world.admin.change(SUBSCRIPTIONS, row["id"], plan_id=plan["id"], seats=seats)
        assert (changed["plan_id"], changed["seats"], changed["pending_plan_id"]) == (plan["id"], seats, None)
    assert bills(world, row) == []


def test_a_downgrade_waits_for_the_renewal(world: World) -> None:
    """BILL-S4: it is pending until the present plan is sent again, or a dearer one."""
    pro, team, big = make_pro(world), make_plan(world), make_pro(world, amount="200")
    row = subscribe(world, pro, seats=2)
    waiting = world.admin.change(SUBSCRIPTIONS, row["id"], plan_id=team["id"])
    assert (waiting["plan_id"], waiting["pending_plan_id"]) == (pro["id"], team["id"])
    assert world.admin.change(SUBSCRIPTIONS, row["id"], plan_id=pro["id"])["pending_plan_id"] is None
    world.admin.change(SUBSCRIPTIONS, row["id"], plan_id=team["id"])
    assert len(bills(world, row)) == 1
    upgraded = world.admin.change(SUBSCRIPTIONS, row["id"], plan_id=big["id"])
    assert (upgraded["plan_id"], upgraded["pending_plan_id"]) == (big["id"], None)


def test_seats_come_now_and_go_later(world: World, freeze: Freeze) -> None:
    """BILL-S4: more seats are charged for the days left; fewer wait; the present number takes that back."""
    plan = make_plan(world)
    freeze(noon(4, 1))
    row = subscribe(world, plan, seats=2)
    freeze(noon(4, 11))
    assert world.admin.change(SUBSCRIPTIONS, row["id"], seats=3)["seats"] == 3
    assert len(bills(world, row)) == 1
    assert world.admin.change(SUBSCRIPTIONS, row["id"], seats=6)["seats"] == 6
    assert bills(world, row)[1][1] == [("proration", Decimal(10))]
    fewer = world.admin.change(SUBSCRIPTIONS, row["id"], seats=4)
    assert (fewer["seats"], fewer["pending_seats"]) == (6, 4)
    assert world.admin.change(SUBSCRIPTIONS, row["id"], seats=6)["pending_seats"] is None
    assert len(bills(world, row)) == 2


def test_taken_seats_stay(world: World) -> None:
    """BILL-S5: seats do not go below members and pending invitations."""
    tenant = world.tenant()
    row = subscribe(world, make_plan(world), seats=5, tenant=tenant)
    world.member(tenant, world.user(), status="suspended")
    guest = world.admin.make(INVITATIONS, tenant_id=tenant["id"], email=f"{world.name('g')}@a.example")
    path = f"{SUBSCRIPTIONS}/{row['id']}"
    world.admin.expect_refusal("409:seats_in_use", "PATCH", path, {"seats": 2})
    assert world.admin.change(SUBSCRIPTIONS, row["id"], seats=3)["pending_seats"] == 3
    world.admin.move(INVITATIONS, guest["id"], "revoked")
    assert world.admin.change(SUBSCRIPTIONS, row["id"], seats=2)["pending_seats"] == 2


def test_a_canceled_subscription_is_over(world: World) -> None:
    """BILL-S8: it ends at once without refund, and its tenant is suspended for billing."""
    tenant, pro = world.tenant(), make_pro(world)
    row = subscribe(world, make_plan(world), tenant=tenant, seats=5)
    world.admin.change(SUBSCRIPTIONS, row["id"], seats=4)
    ended = world.admin.move(SUBSCRIPTIONS, row["id"], "canceled")
    assert ended["canceled_at"] is not None and ended["ended_on"] == datetime.now(UTC).date().isoformat()
    assert ended["pending_seats"] is None and len(bills(world, row)) == 1
    shut = world.admin.get(TENANTS, tenant["id"])
    assert (shut["status"], shut["suspended_reason"]) == ("suspended", "billing")
    world.admin.expect_refusal("409:conflict", "PATCH", f"{SUBSCRIPTIONS}/{row['id']}", {"plan_id": pro["id"]})


def test_a_failed_payment_falls_behind(world: World, freeze: Freeze) -> None:
    """BILL-T4: past its due date it makes the subscription past_due; before it, nothing."""
    plan = make_plan(world)
    freeze(noon(4, 1))
    row = subscribe(world, plan)
    [(invoice, _)] = bills(world, row)
    freeze(noon(4, 15))
    pay(world, invoice, "failed")
    assert world.admin.get(SUBSCRIPTIONS, row["id"])["status"] == "active"
    freeze(noon(4, 16))
    pay(world, invoice, "failed")
    assert world.admin.get(SUBSCRIPTIONS, row["id"])["status"] == "past_due"


def test_paying_what_is_past_due_brings_it_back(world: World, freeze: Freeze) -> None:
    """BILL-T3: past_due~>active once nothing else is past due; an invoice that is not due yet may stay open."""
    team, pro = make_plan(world), make_pro(world)
    freeze(noon(4, 1))
    row = subscribe(world, team)
    freeze(noon(4, 11))
    world.admin.change(SUBSCRIPTIONS, row["id"], plan_id=pro["id"])
    first, second = (invoice for invoice, _ in bills(world, row))
    freeze(noon(4, 16))
    pay(world, first, "failed")
    freeze(noon(4, 26))
    pay(world, first)
    assert world.admin.get(SUBSCRIPTIONS, row["id"])["status"] == "past_due"
    freeze(noon(4, 25))
    other = world.admin.move(INVOICES, _later(world, row)["id"], "open")
    freeze(noon(4, 26))
    pay(world, second)
    assert world.admin.get(SUBSCRIPTIONS, row["id"])["status"] == "active"
    assert world.admin.get(INVOICES, other["id"])["status"] == "open"


def _later(world: World, contract: Body) -> Body:
    """Another invoice of the subscription, not opened yet."""
    given = {"tenant_id": contract["tenant_id"], "subscription_id": contract["id"], "currency": "USD"}
    lines = [{"kind": "usage", "description": "Calls", "unit_amount": "3"}]
    return world.admin.make(INVOICES, **given, lines=lines)


def test_paying_reopens_what_dunning_closed(world: World) -> None:
    """BILL-S8, BILL-T3: suspended~>active restores the tenant. Dunning is a job's work: put into the database."""
    tenant = world.tenant()
    row = subscribe(world, make_plan(world), tenant=tenant)
    world.live.run_sql("manager", "update bill.subscriptions set status = 'suspended' where id = $1::uuid", row["id"])
    sql = "update tnnt.tenants set status = 'suspended', suspended_reason = 'billing' where id = $1::uuid"
    world.live.run_sql("manager", sql, tenant["id"])
    pay(world, bills(world, row)[0][0])
    assert world.admin.get(SUBSCRIPTIONS, row["id"])["status"] == "active"
    back = world.admin.get(TENANTS, tenant["id"])
    assert (back["status"], back["suspended_reason"], back["suspended_at"]) == ("active", None, None)


def test_paying_a_new_subscription_opens_the_tenant(world: World) -> None:
    """BILL-T3, BILL-S8: the tenant that the canceled one closed comes back with the first payment of the next."""
    tenant, plan = world.tenant(), make_plan(world)
    world.admin.move(SUBSCRIPTIONS, subscribe(world, plan, tenant=tenant)["id"], "canceled")
    row = subscribe(world, plan, tenant=tenant)
    assert world.admin.get(TENANTS, tenant["id"])["status"] == "suspended"
    pay(world, bills(world, row)[0][0])
    back = world.admin.get(TENANTS, tenant["id"])
    assert (back["status"], back["suspended_reason"]) == ("active", None)


def test_another_suspension_is_not_lifted_by_payment(world: World) -> None:
    """BILL-S8: canceling does not touch a tenant suspended for abuse, nor does paying open it."""
    tenant, plan = world.tenant(), make_plan(world)
    row = subscribe(world, plan, tenant=tenant)
    world.admin.move(TENANTS, tenant["id"], "suspended", reason="abuse")
    pay(world, bills(world, row)[0][0])
    assert world.admin.get(TENANTS, tenant["id"])["suspended_reason"] == "abuse"
    world.admin.move(SUBSCRIPTIONS, row["id"], "canceled")
    assert world.admin.get(TENANTS, tenant["id"])["suspended_reason"] == "abuse"
