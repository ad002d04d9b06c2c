"""Renewals and dunning, by the jobs that do them. Each test looks at rows of its own: the jobs see those of all tests."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal

import pytest

from tests.billing import INVOICES, SUBSCRIPTIONS, YEAR, bills, make_coupon, make_plan, make_pro, noon, pay, subscribe
from tests.calls import Body, World

TENANTS, INVITATIONS = "manager/tnnt/tenants", "manager/tnnt/invitations"
NOTICES, TEMPLATES = "manager/bill/dunning-notices", "manager/noti/templates"
RENEW, DUN = "renew_subscriptions", "run_dunning"
Freeze = Callable[[datetime | None], None]
LEAP_DAY = monthrange(YEAR, 2)[1]


def run(world: World, freeze: Freeze, name: str, at: datetime) -> Body:
    """The output of a job, the clock put to its time."""
    freeze(at)
    return world.live.run_job(name, now=at)


def run_twice(world: World, freeze: Freeze, name: str, at: datetime) -> Body:
    """The output of a job; run once more for the same time it writes nothing."""
    output = run(world, freeze, name, at)
    written = _trail(world)
    again = world.live.run_job(name, now=at)
    assert all(count == 0 for key, count in again.items() if key not in ("steps", "failed", "failures")), again
    assert _trail(world) == written
    return output


def _trail(world: World) -> int:
    """How many writes there were so far."""
    return int(world.live.run_sql("manager", "select count(*) from audt.audit_logs")[0]["count"])


def span(row: Body) -> tuple[str, str]:
    """The days of a period."""
    return row["period_start"], row["period_end"]


def day(month: int, number: int) -> str:
    return date(YEAR, month, number).isoformat()


def test_a_trial_ends_in_a_first_invoice(world: World, freeze: Freeze) -> None:
    """BILL-S7: trialing~>active on its last day, the coupon counts from then on, and the invoice falls due in 14 days."""
    plan, coupon = make_plan(world, trial_days=14), make_coupon(world)
    freeze(noon(3, 18))
    row = subscribe(world, plan, seats=5, coupon_id=coupon["id"])
    run(world, freeze, RENEW, noon(3, 31))
    assert world.admin.get(SUBSCRIPTIONS, row["id"])["status"] == "trialing" and bills(world, row) == []
    run_twice(world, freeze, RENEW, noon(4, 1))
    row = world.admin.get(SUBSCRIPTIONS, row["id"])
    assert (row["status"], *span(row)) == ("active", day(4, 1), day(5, 1))
    [(invoice, lines)] = bills(world, row)
    assert lines == [("plan", Decimal(30)), ("seats", Decimal(10)), ("discount", Decimal(-8))]
    assert [invoice[name] for name in ("subtotal", "tax_total", "total")] == ["32.0000", "3.2000", "35.2000"]
    assert (invoice["status"], invoice["due_date"], *span(invoice)) == ("open", day(4, 15), day(4, 1), day(5, 1))


def test_a_coupon_counts_as_long_as_it_says(world: World, freeze: Freeze) -> None:
    """BILL-S7: each renewal takes one period off a repeating coupon; one for ever stays."""
    plan = make_plan(world)
    freeze(noon(1, 10))
    twice = subscribe(world, plan, coupon_id=make_coupon(world, duration="repeating", duration_months=2)["id"], seats=3)
    always = subscribe(world, plan, coupon_id=make_coupon(world, duration="forever")["id"], seats=3)
    for month in (2, 3, 4):
        run(world, freeze, RENEW, noon(month, 10))
    assert [len(lines) for _, lines in bills(world, twice)] == [2, 2, 1, 1]
    assert [len(lines) for _, lines in bills(world, always)] == [2, 2, 2, 2]
    left = [world.admin.get(SUBSCRIPTIONS, row["id"])["discount_periods_left"] for row in (twice, always)]
    assert left == [0, None]


def test_missed_periods_have_one_invoice_each(world: World, freeze: Freeze) -> None:
    """BILL-S7, BILL-S2: caught up in one run, on the anchor day or the last day of a shorter month."""
    plan = make_plan(world)
    freeze(noon(1, 31))
    row = subscribe(world, plan)
    output = run_twice(world, freeze, RENEW, noon(4, 30))
    assert output["renewed"] >= 3
    starts = [day(1, 31), day(2, LEAP_DAY), day(3, 31), day(4, 30)]
    ends = [*starts[1:], day(5, 31)]
    found = [invoice for invoice, _ in bills(world, row)]
    assert [span(invoice) for invoice in found] == list(zip(starts, ends, strict=True))
    assert [invoice["issue_date"] for invoice in found] == [day(1, 31), *[day(4, 30)] * 3]
    assert {invoice["due_date"] for invoice in found[1:]} == {day(5, 14)}
    assert world.admin.get(SUBSCRIPTIONS, row["id"])["period_end"] == day(5, 31)


def test_a_year_is_renewed_by_years(world: World, freeze: Freeze) -> None:
    """BILL-S7: nothing happens before the period is over; then a year comes."""
    freeze(noon(2, 3))
    row = subscribe(world, make_plan(world, interval="year", trial_days=7))
    run(world, freeze, RENEW, noon(2, 10))
    assert span(world.admin.get(SUBSCRIPTIONS, row["id"])) == (day(2, 10), date(YEAR + 1, 2, 10).isoformat())
    run(world, freeze, RENEW, noon(12, 20))
    assert len(bills(world, row)) == 1


def test_what_waits_comes_with_the_renewal(world: World, freeze: Freeze) -> None:
    """BILL-S7, BILL-S4: the cheaper plan and the fewer seats count from the new period on, and nothing waits any more."""
    pro, team = make_pro(world), make_plan(world)
    freeze(noon(4, 1))
    row = subscribe(world, pro, seats=6)
    world.admin.change(SUBSCRIPTIONS, row["id"], plan_id=team["id"], seats=4)
    assert len(bills(world, row)) == 1
    run(world, freeze, RENEW, noon(5, 1))
    row = world.admin.get(SUBSCRIPTIONS, row["id"])
    assert (row["plan_id"], row["seats"], row["pending_plan_id"], row["pending_seats"]) == (team["id"], 4, None, None)
    assert bills(world, row)[1][1] == [("plan", Decimal(30)), ("seats", Decimal(5))]


def test_who_joined_meanwhile_keeps_his_seat(world: World, freeze: Freeze) -> None:
    """BILL-S7, BILL-S5: fewer seats that waited do not go below members and pending invitations."""
    freeze(noon(4, 1))
    tenant = world.tenant()
    row = subscribe(world, make_plan(world), seats=5, tenant=tenant)
    world.admin.change(SUBSCRIPTIONS, row["id"], seats=1)
    for _ in range(2):
        world.admin.make(INVITATIONS, tenant_id=tenant["id"], email=f"{world.name('g')}@a.example")
    run(world, freeze, RENEW, noon(5, 1))
    row = world.admin.get(SUBSCRIPTIONS, row["id"])
    assert (row["seats"], row["pending_seats"]) == (3, None)


def test_a_cancellation_waits_for_the_end(world: World, freeze: Freeze) -> None:
    """BILL-S7, BILL-S8: cancel_at_period_end ends it with its period, without another invoice, and shuts the tenant."""
    freeze(noon(4, 1))
    tenant = world.tenant()
    row = subscribe(world, make_plan(world), tenant=tenant)
    world.admin.change(SUBSCRIPTIONS, row["id"], cancel_at_period_end=True)
    run(world, freeze, RENEW, noon(4, 30))
    assert world.admin.get(SUBSCRIPTIONS, row["id"])["status"] == "active"
    run_twice(world, freeze, RENEW, noon(5, 3))
    row = world.admin.get(SUBSCRIPTIONS, row["id"])
    assert (row["status"], row["ended_on"], len(bills(world, row))) == ("canceled", day(5, 1), 1)
    assert datetime.fromisoformat(row["canceled_at"]) == noon(5, 3)
    shut = world.admin.get(TENANTS, tenant["id"])
    assert (shut["status"], shut["suspended_reason"]) == ("suspended", "billing")


def test_a_trial_may_end_unpaid(world: World, freeze: Freeze) -> None:
    """BILL-S7: a trial that is cancelled for its end never costs anything."""
    freeze(noon(4, 1))
    row = subscribe(world, make_plan(world, trial_days=14), cancel_at_period_end=True)
    run(world, freeze, RENEW, noon(4, 15))
    assert world.admin.get(SUBSCRIPTIONS, row["id"])["status"] == "canceled" and bills(world, row) == []


@pytest.mark.parametrize(("status", "invoices"), [("active", 2), ("past_due", 2), ("suspended", 1), ("canceled", 1)])
def test_who_is_renewed(world: World, freeze: Freeze, status: str, invoices: int) -> None:
    """BILL-S7: active and past_due renew, suspended does not."""
    freeze(noon(4, 1))
    row = subscribe(world, make_plan(world))
    world.live.run_sql("manager", "update bill.subscriptions set status = $2 where id = $1::uuid", row["id"], status)
    run(world, freeze, RENEW, noon(5, 1))
    assert len(bills(world, row)) == invoices
    assert world.admin.get(SUBSCRIPTIONS, row["id"])["status"] == status


def test_one_that_fails_does_not_stop_the_others(world: World, freeze: Freeze) -> None:
    """BILL-S7: its step is noted and rolled back as a whole; the next run tries it again."""
    freeze(noon(4, 1))
    tenant, plan = world.tenant(), make_plan(world)
    broken, sound = subscribe(world, plan, tenant=tenant), subscribe(world, plan)
    sql = (
        "update tnnt.tenants set is_active = $2 where id = $1::uuid"  # no route leaves a subscription behind like that
    )
    world.live.run_sql("manager", sql, tenant["id"], False)
    failed = run(world, freeze, RENEW, noon(5, 1))["failures"]
    assert [failure["step"] for failure in failed] == [f"subscription {broken['id']}"]
    assert (len(bills(world, broken)), len(bills(world, sound))) == (1, 2)
    assert world.admin.get(SUBSCRIPTIONS, broken["id"])["period_end"] == day(5, 1)
    world.live.run_sql("manager", sql, tenant["id"], True)
    run(world, freeze, RENEW, noon(5, 2))
    assert (len(bills(world, broken)), len(bills(world, sound))) == (2, 2)


def test_paying_after_a_renewal_brings_it_back(world: World, freeze: Freeze) -> None:
    """BILL-T3, BILL-T4: the invoice of the new period, not due yet, does not keep a paid subscription past due."""
    freeze(noon(4, 1))
    row = subscribe(world, make_plan(world))
    freeze(noon(4, 20))
    pay(world, bills(world, row)[0][0], "failed")
    assert world.admin.get(SUBSCRIPTIONS, row["id"])["status"] == "past_due"
    run(world, freeze, RENEW, noon(5, 1))
    (first, _), (second, _) = bills(world, row)
    assert world.admin.get(SUBSCRIPTIONS, row["id"])["status"] == "past_due"
    pay(world, first)
    assert world.admin.get(SUBSCRIPTIONS, row["id"])["status"] == "active"
    assert world.admin.get(INVOICES, second["id"])["status"] == "open"


def notices(world: World, invoice: Body) -> list[tuple[int, str]]:
    """(step, day) of the notices of an invoice."""
    rows = world.admin.list(NOTICES, f"filter[invoice_id]={invoice['id']}&sort=step")
    return [(row["step"], row["sent_at"][:10]) for row in rows]


def test_an_unpaid_invoice_is_dunned(world: World, freeze: Freeze) -> None:
    """BILL-D1, BILL-S8: notices 3, 7 and 14 days past due, past_due with the first, suspended after 21, with the tenant."""
    tenant = world.tenant()
    freeze(noon(5, 1))
    row = subscribe(world, make_plan(world), tenant=tenant)
    [(invoice, _)] = bills(world, row)  # due on the 15th
    states = {(5, 17): "active", (5, 18): "past_due", (5, 21): "past_due", (5, 22): "past_due", (5, 29): "past_due"}
    for (month, number), status in states.items():
        run_twice(world, freeze, DUN, noon(month, number))
        assert world.admin.get(SUBSCRIPTIONS, row["id"])["status"] == status
    assert notices(world, invoice) == [(1, day(5, 18)), (2, day(5, 22)), (3, day(5, 29))]
    [first, *_] = world.admin.list(NOTICES, f"filter[invoice_id]={invoice['id']}&sort=step")
    assert (first["due_since"], first["amount_due"]) == (day(5, 15), invoice["amount_due"])
    assert first["subscription_id"] == row["id"]
    run(world, freeze, DUN, noon(6, 4))
    assert world.admin.get(TENANTS, tenant["id"])["status"] == "active"
    run_twice(world, freeze, DUN, noon(6, 5))
    assert world.admin.get(SUBSCRIPTIONS, row["id"])["status"] == "suspended"
    shut = world.admin.get(TENANTS, tenant["id"])
    assert (shut["status"], shut["suspended_reason"]) == ("suspended", "billing")


def test_dunning_catches_up(world: World, freeze: Freeze) -> None:
    """BILL-D1: a job that did not run for weeks makes each notice once, and goes the whole way."""
    freeze(noon(5, 1))
    row = subscribe(world, make_plan(world))
    [(invoice, _)] = bills(world, row)
    run_twice(world, freeze, DUN, noon(5, 25))
    assert notices(world, invoice) == [(1, day(5, 25)), (2, day(5, 25))]
    run_twice(world, freeze, DUN, noon(7, 1))
    assert notices(world, invoice)[2:] == [(3, day(7, 1))]
    assert world.admin.get(SUBSCRIPTIONS, row["id"])["status"] == "suspended"


def test_a_paid_invoice_is_left_in_peace(world: World, freeze: Freeze) -> None:
    """BILL-D1: it gets no more steps, nor does a void one or one given up."""
    freeze(noon(5, 1))
    row = subscribe(world, make_plan(world))
    void, lost = subscribe(world, make_plan(world)), subscribe(world, make_plan(world))
    [(paid, _)], [(voided, _)], [(given_up, _)] = (bills(world, one) for one in (row, void, lost))
    world.admin.move(INVOICES, voided["id"], "void")
    world.admin.move(INVOICES, given_up["id"], "uncollectible")
    run(world, freeze, DUN, noon(5, 18))
    pay(world, paid)
    run(world, freeze, DUN, noon(6, 30))
    assert [len(notices(world, invoice)) for invoice in (paid, voided, given_up)] == [1, 0, 0]
    assert world.admin.get(SUBSCRIPTIONS, row["id"])["status"] == "active"


def test_a_credit_note_is_not_dunned(world: World, freeze: Freeze) -> None:
    """BILL-D1: the platform owes it; neither does it keep a subscription past due (BILL-T3)."""
    freeze(noon(5, 1))
    tenant = world.tenant()
    row = subscribe(world, make_plan(world), tenant=tenant)
    [(invoice, _)] = bills(world, row)
    own = {"tenant_id": tenant["id"], "subscription_id": row["id"], "currency": "USD", "kind": "credit_note"}
    lines = [{"kind": "one_off", "description": "Back", "unit_amount": "5"}]
    note = world.admin.make(INVOICES, **own, original_invoice_id=invoice["id"], lines=lines)
    world.admin.move(INVOICES, note["id"], "open")
    run(world, freeze, DUN, noon(5, 18))
    assert notices(world, note) == [] and len(notices(world, invoice)) == 1
    pay(world, world.admin.get(INVOICES, invoice["id"]))
    assert world.admin.get(SUBSCRIPTIONS, row["id"])["status"] == "active"


def test_an_invoice_by_hand_is_reminded_of(world: World, freeze: Freeze) -> None:
    """BILL-D1: without subscription there are notices, and nobody to suspend."""
    freeze(noon(5, 1))
    tenant = world.tenant()
    lines = [{"kind": "one_off", "description": "Set-up", "unit_amount": "100"}]
    draft = world.admin.make(INVOICES, tenant_id=tenant["id"], currency="USD", lines=lines)
    invoice = world.admin.move(INVOICES, draft["id"], "open")
    run_twice(world, freeze, DUN, noon(6, 30))
    assert [step for step, _ in notices(world, invoice)] == [1, 2, 3]
    assert world.admin.get(TENANTS, tenant["id"])["status"] == "active"


def dunning_template(world: World, step: int, body: str, *names: str) -> Body:
    """A published e-mail of a step."""
    given = {"code": f"DUNNING_{step}", "channel_kind": "email", "subject": "Invoice {{ number }}", "body": body}
    variables = [{"name": name} for name in ("number", *names)]
    row = world.admin.make(TEMPLATES, **given, variables=variables, category="billing")
    return world.admin.move(TEMPLATES, row["id"], "published")


def test_a_notice_goes_out_where_a_template_is(world: World, freeze: Freeze) -> None:
    """BILL-D1: the tenant's billing address is written to, of several steps at once about the last; a message that cannot
    be made is noted, and the notice stands."""
    freeze(noon(5, 1))
    tenant = world.tenant(billing_email=f"{world.name('bill')}@acme.example")
    row = subscribe(world, make_plan(world), tenant=tenant)
    [(invoice, _)] = bills(world, row)
    body = "{{ tenant }} owes {{ amount_due }} {{ currency }} since {{ due_date }}"
    good = dunning_template(world, 2, body, "tenant", "amount_due", "currency", "due_date")
    bad = dunning_template(world, 3, "Something {{ else }}", "else")
    run_twice(world, freeze, DUN, noon(5, 22))
    failed = run(world, freeze, DUN, noon(5, 29)).get("failures", [])
    assert (f"message about invoice {invoice['number']}", "missing_variable") in {
        (failure["step"], failure["code"]) for failure in failed
    }
    rows = world.admin.list(NOTICES, f"filter[invoice_id]={invoice['id']}&sort=step")
    assert [row["notification_id"] is not None for row in rows] == [False, True, False]
    message = world.admin.get("manager/noti/notifications", rows[1]["notification_id"])
    assert (message["template_id"], message["address"]) == (good["id"], tenant["billing_email"])
    assert message["variables"]["number"] == invoice["number"] and message["variables"]["due_date"] == day(5, 15)
    for template in (good, bad):
        world.admin.move(TEMPLATES, template["id"], "archived")
