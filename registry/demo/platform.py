"""Demo people, plans, an invoice, and the customers of the demo tenant."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from engine.hooks import Moment, Row

BERLIN = {"line1": "Hauptstrasse 1", "city": "Berlin", "postal_code": "10115", "country": "DE"}
PLANS: list[dict[str, Any]] = [
    {
        "code": "TEAM",
        "name": "Team",
        "interval": "month",
        "currency": "USD",
        "amount": 30,
        "per_seat_amount": 5,
        "seats_included": 3,
    },
    {
        "code": "PRO",
        "name": "Pro",
        "interval": "month",
        "currency": "USD",
        "amount": 90,
        "per_seat_amount": 8,
        "seats_included": 10,
    },
]
CUSTOMERS: list[dict[str, Any]] = [
    {
        "name": "Nordwind GmbH",
        "email": "office@nordwind.example",
        "billing_address": BERLIN,
        "tags": ["vip"],
        "industry": "Energy",
    },
    {"name": "Sol y Mar SL", "email": "hola@solymar.example", "currency": "EUR", "payment_terms_days": 14},
    {"name": "Ines Costa", "kind": "person", "phone": "+351912345678"},
]
LEADS: list[dict[str, Any]] = [
    {
        "full_name": "Mika Laine",
        "company_name": "Laine Oy",
        "email": "mika@laine.example",
        "source": "referral",
        "estimated_value": 12000,
    },
    {"full_name": "Ada Obi", "phone": "+2348012345678", "source": "event"},
]


async def demo_people(moment: Moment, home: Row) -> None:
    [clerk] = await moment.create(
        "idam.users", [{"email": "clerk@demo.example", "full_name": "Kim Clerk", "user_type": "tenant"}]
    )
    joined = {"tenant_id": home["id"], "user_id": clerk["id"], "role": "member", "joined_at": moment.now}
    await moment.create("tnnt.tenant-members", [joined])
    [role] = await moment.create(
        "idam.roles", [{"code": "CLERK", "name": "Clerk", "permissions": ["crm.customers.read"]}]
    )
    await moment.create("idam.user-roles", [{"user_id": clerk["id"], "role_id": role["id"], "tenant_id": home["id"]}])
    await moment.create("idam.api-keys", [{"name": "Nightly export", "user_id": clerk["id"], "scopes": []}])
    await moment.create("idam.sessions", [_session(moment, clerk["id"])])
    await moment.create("tnnt.invitations", [{"tenant_id": home["id"], "email": "new@demo.example"}])
    await moment.create("tnnt.domains", [{"tenant_id": home["id"], "hostname": "shop.demo.example"}])


def _session(moment: Moment, user_id: UUID) -> dict[str, Any]:
    """A session that has ended; its digest belongs to no token."""
    times = {
        "issued_at": moment.now - timedelta(days=31),
        "expires_at": moment.now - timedelta(days=1),
        "status": "expired",
    }
    return {"user_id": user_id, "refresh_hash": "0" * 64, "family_id": user_id, "user_agent": "demo", **times}


async def demo_billing(moment: Moment, home: Row) -> None:
    plans = await moment.create("bill.plans", PLANS)
    await moment.status("bill.plans", [plan["id"] for plan in plans], "active")
    coupon = {"code": "WELCOME20", "name": "Welcome", "percent_off": 20, "duration": "once", "valid_from": moment.today}
    await moment.create("bill.coupons", [coupon])
    [contract] = await moment.create(
        "bill.subscriptions", [{"tenant_id": home["id"], "plan_id": plans[0]["id"], "seats": 5}]
    )
    [invoice] = await moment.create(
        "bill.invoices", [{"tenant_id": home["id"], "subscription_id": contract["id"], "currency": "USD"}]
    )
    lines: list[dict[str, Any]] = [
        {"kind": "one_off", "description": "Set-up", "unit_amount": Decimal(120)},
        {"kind": "usage", "description": "API calls", "quantity": 4, "unit_amount": Decimal("2.5")},
    ]
    await moment.create("bill.invoice-lines", [{"invoice_id": invoice["id"], **line} for line in lines])
    await moment.status("bill.invoices", [invoice["id"]], "open")
    paid = {"tenant_id": home["id"], "invoice_id": invoice["id"], "method": "card", "currency": "USD", "amount": 50}
    await moment.create("bill.transactions", [paid])
    notice = {
        "invoice_id": invoice["id"],
        "step": 1,
        "due_since": moment.today,
        "amount_due": 130,
        "sent_at": moment.now,
    }
    await moment.create("bill.dunning-notices", [notice])


async def demo_customers(moment: Moment) -> None:
    customers = await moment.create("crm.customers", CUSTOMERS)
    first = customers[0]["id"]
    people = [{"customer_id": first, "full_name": "Jana Wind", "email": "jana@nordwind.example", "position": "Buyer"}]
    await moment.create("crm.contacts", people)
    await moment.create("crm.leads", LEADS)
    deal = {
        "title": "Turbine service 2027",
        "customer_id": first,
        "amount": 48000,
        "expected_close": moment.today + timedelta(days=60),
    }
    [opportunity] = await moment.create("crm.opportunities", [deal])
    call = {
        "kind": "call",
        "subject": "First call",
        "opportunity_id": opportunity["id"],
        "due_at": moment.now + timedelta(days=2),
    }
    await moment.create("crm.activities", [call])
