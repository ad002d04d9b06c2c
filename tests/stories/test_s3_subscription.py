"""S3: a tenant signs up, subscribes, upgrades, does not pay, and comes back; every number is the catalogue's. The story has
a server of its own: it counts invoices from 1."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from engine.testing.harness import PASSWORD, Live, serving, settings_for_tests
from tests.billing import COUPONS, INVOICES, PAYMENTS, PLANS, SUBSCRIPTIONS, bills
from tests.calls import Body, Caller, World

TENANTS, MEMBERS, INVITATIONS = "manager/tnnt/tenants", "manager/tnnt/tenant-members", "manager/tnnt/invitations"
NOTICES, USERS = "manager/bill/dunning-notices", "manager/idam/users"
JOBS = ("renew_subscriptions", "run_dunning")
TEAM = {"code": "TEAM", "name": "Team", "amount": "30.00", "per_seat_amount": "5.00", "seats_included": 3}
PRO = {"code": "PRO", "name": "Pro", "amount": "90.00", "per_seat_amount": "8.00", "seats_included": 10}
WELCOME = {"code": "WELCOME20", "name": "Welcome", "percent_off": "20", "duration": "once"}
Freeze = Callable[[datetime | None], None]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The bundled registry, served for this story alone."""
    with serving(settings_for_tests(tmp_path_factory.mktemp("s3"))) as running:
        yield running


@pytest.fixture(scope="module")
def world(live: Live) -> World:
    """The server of this story with its people."""
    return World(live)


class Story:
    """The world, its clock, and what the story is about."""

    def __init__(self, world: World, freeze: Freeze) -> None:
        self.world, self.admin, self.freeze = world, world.admin, freeze
        self.tenant: Body = {}
        self.subscription: Body = {}

    def day(self, month: int, number: int) -> list[Body]:
        """The clock goes to a morning of 2026; both jobs run, and once more, which changes nothing. Their outputs."""
        now = datetime(2026, month, number, 6, tzinfo=UTC)
        self.freeze(now)
        outputs = [self.world.live.run_job(name, now=now) for name in JOBS]
        written = self._trail()
        for name in JOBS:
            again = self.world.live.run_job(name, now=now)
            assert not any(count for key, count in again.items() if key != "steps"), again
        assert self._trail() == written
        assert not any(output.get("failed") for output in outputs)
        return outputs

    def _trail(self) -> int:
        """How many writes there were so far."""
        return int(self.world.live.run_sql("manager", "select count(*) from audt.audit_logs")[0]["count"])

    @property
    def own(self) -> Body:
        """What names the tenant in a body."""
        return {"tenant_id": self.tenant["id"]}

    def contract(self) -> Body:
        """The subscription as it stands."""
        return self.admin.get(SUBSCRIPTIONS, self.subscription["id"])

    def states(self) -> tuple[str, str]:
        """Of subscription and tenant."""
        return self.contract()["status"], self.admin.get(TENANTS, self.tenant["id"])["status"]

    def invoices(self) -> list[Body]:
        """The invoices of the subscription, in their order."""
        return [invoice for invoice, _ in bills(self.world, self.subscription)]

    def pay(self, invoice: Body, amount: str, **values: Any) -> Body:
        """A payment that succeeds."""
        body = {**self.own, "invoice_id": invoice["id"], "currency": "USD", "method": "card", "amount": amount}
        row = self.admin.make(PAYMENTS, **body, **values)
        return self.admin.move(PAYMENTS, row["id"], "succeeded")


def shown(invoice: Body) -> list[str]:
    """Number, subtotal, tax, total, due date, state."""
    money = [str(Decimal(invoice[name]).quantize(Decimal("0.01"))) for name in ("subtotal", "tax_total", "total")]
    return [invoice["number"], *money, invoice["due_date"], invoice["status"]]


def test_sign_up_subscription_upgrade_dunning(world: World, freeze: Freeze) -> None:
    """The whole journey, a chapter a function."""
    story = Story(world, freeze)
    sign_up(story)
    first_invoice(story)
    fill_seats(story)
    upgrade_and_back(story)
    fall_behind(story)
    shut(story)
    come_back(story)
    assert story.states() == ("active", "active") and len(story.invoices()) == 4


def sign_up(story: Story) -> None:
    """03-18: the tenant acme in use with its owner; TEAM with 5 seats on trial until 04-01, without an invoice."""
    story.freeze(datetime(2026, 3, 18, 9, tzinfo=UTC))
    usual = {"interval": "month", "currency": "USD"}
    team, pro = (story.admin.make(PLANS, **usual, **plan) for plan in ({**TEAM, "trial_days": 14}, PRO))
    for plan in (team, pro):
        story.admin.move(PLANS, plan["id"], "active")
    coupon = story.admin.make(COUPONS, **WELCOME, valid_from="2026-01-01")
    owner = story.world.user(email="owner@acme.example")
    body = {"name": "Acme", "billing_email": "bill@acme.example", "country": "US", "tax_pct": "10"}
    body["owner_id"] = owner["id"]
    story.admin.expect_refusal("422:reserved_slug", "POST", TENANTS, {**body, "slug": "admin"})
    story.tenant = story.admin.make(TENANTS, **body, slug="acme")
    assert story.tenant["status"] == "pending"
    assert story.admin.move(TENANTS, story.tenant["id"], "provisioning")["status"] == "active"
    [member] = story.admin.list(MEMBERS, f"filter[tenant_id]={story.tenant['id']}")
    assert (member["user_id"], member["role"], member["status"]) == (owner["id"], "owner", "active")
    chosen = {"plan_id": team["id"], "seats": 5, "coupon_id": coupon["id"]}
    story.subscription = story.admin.make(SUBSCRIPTIONS, **story.own, **chosen)
    assert (story.subscription["status"], story.subscription["period_end"]) == ("trialing", "2026-04-01")
    assert story.admin.get(COUPONS, coupon["id"])["times_redeemed"] == 1
    story.day(3, 31)
    assert story.invoices() == [] and story.contract()["status"] == "trialing"


def first_invoice(story: Story) -> None:
    """04-01: 30.00 + 10.00 - 8.00 = 32.00, tax 3.20, total 35.20, due 04-15; paid once, however often it is sent."""
    story.day(4, 1)
    row = story.contract()
    assert [row[name] for name in ("status", "period_start", "period_end")] == ["active", "2026-04-01", "2026-05-01"]
    [(invoice, lines)] = bills(story.world, row)
    assert lines == [("plan", Decimal("30.00")), ("seats", Decimal("10.00")), ("discount", Decimal("-8.00"))]
    assert shown(invoice) == ["INV-2026-00001", "32.00", "3.20", "35.20", "2026-04-15", "open"]
    body = {**story.own, "invoice_id": invoice["id"], "currency": "USD", "method": "card", "amount": "40.00"}
    story.admin.expect_refusal("409:overpayment", "POST", PAYMENTS, body)
    body |= {"amount": "35.20", "idempotency_key": "april"}
    payment = story.admin.send(201, "POST", PAYMENTS, body)
    assert story.admin.send(200, "POST", PAYMENTS, body)["id"] == payment["id"]
    story.admin.move(PAYMENTS, payment["id"], "succeeded")
    assert story.admin.send(200, "POST", PAYMENTS, body)["id"] == payment["id"]
    assert len(story.admin.list(PAYMENTS, f"filter[invoice_id]={invoice['id']}")) == 1
    assert story.admin.get(INVOICES, invoice["id"])["status"] == "paid"


def fill_seats(story: Story) -> None:
    """Owner and four invitations take the five seats; whoever accepts one keeps its seat."""
    rows = [story.admin.make(INVITATIONS, **story.own, email=f"guest{n}@acme.example") for n in range(4)]
    fifth = {**story.own, "email": "fifth@acme.example"}
    story.admin.expect_refusal("409:seat_limit", "POST", INVITATIONS, fifth)
    path = f"{SUBSCRIPTIONS}/{story.subscription['id']}"
    story.admin.expect_refusal("409:seats_in_use", "PATCH", path, {"seats": 4})
    guest = Caller(httpx.Client(base_url=story.world.live.url))
    answer = {"token": rows[0]["token"], "full_name": "Guest Zero", "password": PASSWORD}
    assert guest.send(200, "POST", "auth/accept-invitation", answer)["tenant"]["slug"] == "acme"
    guest.expect_refusal("409:invitation_not_valid", "POST", "auth/accept-invitation", answer)
    story.admin.expect_refusal("409:seat_limit", "POST", INVITATIONS, fifth)
    story.admin.expect_refusal("409:seats_in_use", "PATCH", path, {"seats": 4})


def upgrade_and_back(story: Story) -> None:
    """04-11: 20 of 30 days left -> -21.33 + 60.00 = 38.67, tax 3.87, total 42.54, due 04-25. 04-20: a downgrade waits, and
    is taken back."""
    [pro], [team] = (story.admin.list(PLANS, f"filter[code]={code}") for code in ("PRO", "TEAM"))
    story.day(4, 11)
    changed = story.admin.change(SUBSCRIPTIONS, story.subscription["id"], plan_id=pro["id"])
    assert (changed["plan_id"], changed["period_end"]) == (pro["id"], "2026-05-01")
    invoice, lines = bills(story.world, story.subscription)[1]
    assert lines == [("proration", Decimal("-21.33")), ("proration", Decimal("60.00"))]
    assert shown(invoice) == ["INV-2026-00002", "38.67", "3.87", "42.54", "2026-04-25", "open"]
    story.pay(invoice, "42.54")
    story.day(4, 20)
    waiting = story.admin.change(SUBSCRIPTIONS, story.subscription["id"], plan_id=team["id"])
    assert (waiting["plan_id"], waiting["pending_plan_id"]) == (pro["id"], team["id"])
    back = story.admin.change(SUBSCRIPTIONS, story.subscription["id"], plan_id=pro["id"])
    assert (back["plan_id"], back["pending_plan_id"], len(story.invoices())) == (pro["id"], None, 2)


def fall_behind(story: Story) -> None:
    """05-01: 90.00 + 9.00 = 99.00, due 05-15 and unpaid: notices on 05-18, 05-22 and 05-29; 06-01 opens the next."""
    story.day(5, 1)
    invoice, lines = bills(story.world, story.subscription)[2]
    assert lines == [("plan", Decimal("90.00"))]
    assert shown(invoice) == ["INV-2026-00003", "90.00", "9.00", "99.00", "2026-05-15", "open"]
    told = []
    for month, number, status, steps in (
        (5, 15, "active", 0),
        (5, 17, "active", 0),
        (5, 18, "past_due", 1),
        (5, 21, "past_due", 1),
        (5, 22, "past_due", 2),
        (5, 28, "past_due", 2),
        (5, 29, "past_due", 3),
        (6, 1, "past_due", 3),
        (6, 4, "past_due", 3),
    ):
        story.day(month, number)
        assert story.states() == (status, "active")
        told = story.admin.list(NOTICES, f"filter[invoice_id]={invoice['id']}&sort=step")
        assert len(told) == steps
    assert [(row["step"], row["sent_at"][:10]) for row in told] == [
        (1, "2026-05-18"),
        (2, "2026-05-22"),
        (3, "2026-05-29"),
    ]
    assert shown(story.invoices()[3]) == ["INV-2026-00004", "90.00", "9.00", "99.00", "2026-06-15", "open"]


def shut(story: Story) -> None:
    """06-05: subscription and tenant are suspended, its people are refused, and nobody opens it by hand."""
    story.freeze(datetime(2026, 6, 5, 6, tzinfo=UTC))
    owner = Caller(story.world.live.signed_in("owner@acme.example", tenant="acme"))
    customers = "tenants/crm/customers"
    assert owner.list(customers) == []
    story.day(6, 5)
    assert story.states() == ("suspended", "suspended")
    owner.expect_refusal("403:tenant_suspended", "GET", customers)
    story.admin.stays("409:suspended_for_billing", TENANTS, story.tenant["id"], "active")


def come_back(story: Story) -> None:
    """06-08: the May invoice is paid; subscription and tenant are active, and the June invoice is still open."""
    story.day(6, 8)
    may, june = story.invoices()[2:]
    story.pay(may, "99.00")
    assert story.admin.get(INVOICES, may["id"])["status"] == "paid"
    assert story.states() == ("active", "active")
    assert story.admin.get(INVOICES, june["id"])["status"] == "open"
    owner = Caller(story.world.live.signed_in("owner@acme.example", tenant="acme"))
    assert owner.list("tenants/crm/customers") == []
