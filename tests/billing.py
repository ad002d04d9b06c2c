"""Plans, coupons, subscriptions and payments as tests make them, with the numbers of the catalogue."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from tests.calls import Body, World

PLANS, COUPONS, SUBSCRIPTIONS = "manager/bill/plans", "manager/bill/coupons", "manager/bill/subscriptions"
INVOICES, LINES, PAYMENTS = "manager/bill/invoices", "manager/bill/invoice-lines", "manager/bill/transactions"
YEAR = date.today().year  # the sequences of all tests are those of one year
Freeze = Callable[[datetime | None], None]


def noon(month: int, day: int) -> datetime:
    """Noon of a day of this year."""
    return datetime(YEAR, month, day, 12, tzinfo=UTC)


def make_plan(world: World, status: str = "active", **values: Any) -> Body:
    """TEAM of the catalogue without its trial: 30.00 a month, 3 seats in, 5.00 a further seat."""
    team = {"interval": "month", "currency": "USD", "amount": "30", "per_seat_amount": "5", "seats_included": 3}
    plan = world.admin.make(PLANS, **{"code": world.name("P").upper(), "name": "Team", **team, **values})
    return plan if status == "draft" else world.admin.move(PLANS, plan["id"], status)


def make_pro(world: World, **values: Any) -> Body:
    """PRO of the catalogue: 90.00 a month, 10 seats in, 8.00 a further seat."""
    return make_plan(world, **{"name": "Pro", "amount": "90", "per_seat_amount": "8", "seats_included": 10, **values})


def make_coupon(world: World, **values: Any) -> Body:
    """WELCOME20 of the catalogue: 20 %, once."""
    usual = {"percent_off": "20", "duration": "once", "valid_from": f"{YEAR}-01-01"}
    return world.admin.make(COUPONS, **{"code": world.name("C").upper(), "name": "Welcome", **usual, **values})


def subscribe(world: World, plan: Body, **values: Any) -> Body:
    """A subscription of a tenant of its own."""
    tenant = values.pop("tenant", None) or world.tenant(tax_pct="10")
    return world.admin.make(SUBSCRIPTIONS, tenant_id=tenant["id"], plan_id=plan["id"], **values)


def bills(world: World, contract: Body) -> list[tuple[Body, list[tuple[str, Decimal]]]]:
    """The invoices of a subscription, each with (kind, amount) of its lines."""
    found = []
    for invoice in world.admin.list(INVOICES, f"filter[subscription_id]={contract['id']}&sort=created_at,number"):
        rows = world.admin.list(LINES, f"filter[invoice_id]={invoice['id']}&sort=position")
        found.append((invoice, [(row["kind"], Decimal(row["amount"])) for row in rows]))
    return found


def pay(world: World, invoice: Body, outcome: str = "succeeded") -> None:
    """A payment of all that is due."""
    given = {name: invoice[name] for name in ("tenant_id", "currency")}
    body = {**given, "invoice_id": invoice["id"], "method": "card", "amount": invoice["amount_due"]}
    world.admin.move(PAYMENTS, world.admin.make(PAYMENTS, **body)["id"], outcome)
