"""What rules of the bundled registry ask of a valid row beside its metadata."""

from __future__ import annotations

from typing import Any

from engine.testing.rows import Body, Recipe, RowMaker


def active_plan(maker: RowMaker) -> str:
    """A plan that tenants may subscribe to."""
    plans = maker.live.resource("manager/bill/plans")
    plan = maker.make(plans)
    answer = maker.live.client("manager").patch(f"/{plans.path}/{plan['id']}/status", json={"status": "active"})
    assert answer.status_code == 200, answer.text
    return str(plan["id"])


def new_user(maker: RowMaker) -> str:
    """A user whom no other row names."""
    return str(maker.make(maker.live.resource("manager/idam/users"))["id"])


def plain_line(body: Body) -> None:
    """A line whose amount fits its column and the discounts of its invoice."""
    body.update(kind="one_off", quantity="1", unit_amount="10.5")


def one_line(_maker: RowMaker) -> list[Any]:
    """The lines that an invoice needs to be opened."""
    return [{"kind": "one_off", "description": "Setup", "unit_amount": "100"}]


RECIPES = {
    "manager/bill/subscriptions": Recipe(values={"plan_id": active_plan}),
    "manager/bill/invoices": Recipe(values={"lines": one_line}),
    "manager/bill/invoice-lines": Recipe(fix=plain_line),
    "manager/idam/roles": Recipe(values={"permissions": ["bill.plans.read"]}),
    "manager/idam/api-keys": Recipe(values={"scopes": [], "allowed_ips": [], "expires_at": None, "user_id": new_user}),
    "manager/tnnt/invitations": Recipe(plant="the rules that make an invitation's token are not there yet"),
    "manager/tnnt/domains": Recipe(plant="the rules that make a domain's verification token are not there yet"),
    "tenants/crm/contacts": Recipe(decided=frozenset({"is_primary"})),
    "tenants/crm/leads": Recipe(values={"disqualify_reason": "no need"}),
    "tenants/crm/opportunities": Recipe(values={"lost_reason": "price"}),
}
