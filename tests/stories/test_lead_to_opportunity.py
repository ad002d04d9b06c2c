"""Story S1, first bullet: a lead of 2026-03-02 becomes customer, contact and opportunity."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from tests.calls import World

LEADS, OPPORTUNITIES = "tenants/crm/leads", "tenants/crm/opportunities"


def test_lead_to_opportunity(world: World, freeze: Callable[[datetime | None], None]) -> None:
    """Score 60; OPP-2026-00001 in discovery, probability 10, weighted 200.00; the lead is frozen."""
    freeze(datetime(2026, 3, 2, 9, tzinfo=UTC))
    tenant = world.tenant(name="Acme")
    seller = world.sign_in(world.owner(tenant), tenant)
    contacted = {"full_name": "Nora North", "company_name": "North Ltd", "email": "nora@north.example"}
    lead = seller.make(LEADS, **contacted, source="referral", estimated_value="2000.00")
    assert lead["score"] == 60
    seller.stays("409:invalid_transition", LEADS, lead["id"], "converted")
    lead = seller.move(LEADS, lead["id"], "contacted", "qualified", "converted")

    customer = seller.get("tenants/crm/customers", lead["customer_id"])
    shown = [customer[name] for name in ("number", "name", "kind", "status", "currency", "email")]
    assert shown == ["CUS-2026-00001", "North Ltd", "company", "prospect", "USD", "nora@north.example"]
    contact = seller.get("tenants/crm/contacts", lead["contact_id"])
    assert (contact["full_name"], contact["customer_id"], contact["is_primary"]) == ("Nora North", customer["id"], True)
    deal = seller.get(OPPORTUNITIES, lead["opportunity_id"])
    shown = [deal[name] for name in ("number", "title", "status", "probability", "amount", "weighted_amount")]
    assert shown == ["OPP-2026-00001", "North Ltd", "discovery", "10.0000", "2000.0000", "200.0000"]
    assert (deal["customer_id"], deal["contact_id"]) == (customer["id"], contact["id"])

    seller.expect_refusal("409:document_locked", "PATCH", f"{LEADS}/{lead['id']}", {"notes": "late"})
    seller.expect_refusal("409:document_locked", "DELETE", f"{LEADS}/{lead['id']}")
    history = seller.send(200, "GET", f"{LEADS}/{lead['id']}/history")["items"]
    assert [record["action"] for record in history].count("status") == 3
