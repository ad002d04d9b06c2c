"""Behaviour of customer relations and of a tenant's number sequences, over HTTP."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from engine.testing.harness import Live
from engine.types import Principal, TenantRef
from tests.calls import Body, Caller

CUSTOMERS, CONTACTS, LEADS = "tenants/crm/customers", "tenants/crm/contacts", "tenants/crm/leads"
OPPORTUNITIES, ACTIVITIES = "tenants/crm/opportunities", "tenants/crm/activities"
SEQUENCES = "tenants/sys/number-sequences"


@pytest.fixture
def owner(live: Live) -> Caller:
    """The owner of the first tenant, who may do everything in it."""
    return Caller(live.client("tenants"))


@pytest.fixture
def clerk(live: Live) -> Caller:
    """Somebody who may do all but what rules give to few."""
    codes = live.catalog.permissions[True] - {"crm.customers.credit", "crm.opportunities.force-win"}
    place = TenantRef(live.tenant(live.client("tenants")), "first")
    return Caller(live.lend(Principal(uuid4(), tenant=place, permissions=codes)))


def make_lead(caller: Caller, **values: Any) -> Body:
    """A lead that has an address and nothing else."""
    return caller.make(LEADS, **{"full_name": "Mia Lead", "email": f"{uuid4()}@lead.example", **values})


def primaries(caller: Caller, customer: Body) -> list[str]:
    """Names of a customer's primary contacts."""
    rows = caller.list(CONTACTS, f"filter[customer_id]={customer['id']}")
    return [row["full_name"] for row in rows if row["is_primary"]]


def test_a_new_customer_pays_in_the_base_currency(owner: Caller) -> None:
    """G21: an auto currency is the base currency, unless said otherwise."""
    assert owner.make(CUSTOMERS, name="Plain")["currency"] == "USD"
    assert owner.make(CUSTOMERS, name="Euro", currency="EUR")["currency"] == "EUR"


def test_the_credit_limit_needs_its_permission(owner: Caller, clerk: Caller) -> None:
    """CRM-C1: changing credit_limit needs perm:crm.customers.credit."""
    customer = owner.make(CUSTOMERS, name="Credit")
    path = f"{CUSTOMERS}/{customer['id']}"
    clerk.expect_refusal("403:permission_denied", "PATCH", path, {"credit_limit": "100"})
    assert clerk.change(CUSTOMERS, customer["id"], name="Renamed", credit_limit=None)["name"] == "Renamed"
    assert owner.change(CUSTOMERS, customer["id"], credit_limit="100")["credit_limit"] == "100.0000"


def test_a_customer_has_one_primary_contact(owner: Caller) -> None:
    """CRM-K1: the first contact becomes primary, a new primary clears the old, deleting it passes it to the oldest."""
    customer = owner.make(CUSTOMERS, name="Contacts")
    ann = owner.make(CONTACTS, customer_id=customer["id"], full_name="Ann")
    assert ann["is_primary"]
    bob = owner.make(CONTACTS, customer_id=customer["id"], full_name="Bob")
    assert not bob["is_primary"]
    owner.make(CONTACTS, customer_id=customer["id"], full_name="Cid", is_primary=True)
    assert primaries(owner, customer) == ["Cid"]
    owner.change(CONTACTS, bob["id"], is_primary=True)
    assert primaries(owner, customer) == ["Bob"]
    owner.drop(CONTACTS, bob["id"])
    assert primaries(owner, customer) == ["Ann"]


def test_the_only_primary_contact_stays_primary(owner: Caller) -> None:
    """CRM-K1: while a customer has contacts, one is primary; of several in one request the last."""
    customer = owner.make(CUSTOMERS, name="Only")
    both = [{"customer_id": customer["id"], "full_name": name, "is_primary": True} for name in ("Ann", "Bob")]
    rows = owner.send(201, "POST", CONTACTS, both)
    assert [row["is_primary"] for row in rows] == [False, True]
    assert owner.change(CONTACTS, rows[1]["id"], is_primary=False)["is_primary"]
    owner.move(CONTACTS, rows[1]["id"], "inactive")
    assert primaries(owner, customer) == ["Ann"]
    owner.move(CONTACTS, rows[1]["id"], "active")
    assert primaries(owner, customer) == ["Ann"]


def test_consent_is_dated(owner: Caller) -> None:
    """CRM-K1: consent to marketing keeps its moment, and loses it with the consent."""
    customer = owner.make(CUSTOMERS, name="Consent")
    contact = owner.make(CONTACTS, customer_id=customer["id"], full_name="Ann", marketing_consent=True)
    assert contact["consent_at"] is not None
    assert owner.change(CONTACTS, contact["id"], marketing_consent=False)["consent_at"] is None


@pytest.mark.parametrize(
    ("given", "score"),
    [
        ({"email": None, "phone": "+4930123456"}, 10),
        ({}, 20),
        ({"company_name": "Acme", "source": "partner"}, 60),
        ({"company_name": "Acme", "source": "referral", "phone": "+4930123456", "estimated_value": "10000"}, 100),
        ({"estimated_value": "9999.99"}, 20),
    ],
)
def test_a_lead_is_scored_by_what_is_known(owner: Caller, given: Body, score: int) -> None:
    """CRM-L1: 20 e-mail + 10 phone + 20 company + 20 warm source + 30 for 10000 and more."""
    assert make_lead(owner, **given)["score"] == score


def test_the_score_follows_changes(owner: Caller) -> None:
    """CRM-L1: the score is computed anew at each change."""
    lead = make_lead(owner)
    assert owner.change(LEADS, lead["id"], company_name="Acme", phone="+4930123456")["score"] == 50


def test_a_lead_becomes_a_prospect_without_company(owner: Caller) -> None:
    """CRM-L2: conversion makes customer, contact and opportunity; a lead without company is a person."""
    lead = make_lead(owner, estimated_value="500")
    done = owner.move(LEADS, lead["id"], "qualified", "converted")
    customer = owner.get(CUSTOMERS, done["customer_id"])
    assert (customer["name"], customer["kind"], customer["status"]) == ("Mia Lead", "person", "prospect")
    contact = owner.get(CONTACTS, done["contact_id"])
    assert (contact["customer_id"], contact["email"], contact["is_primary"]) == (customer["id"], lead["email"], True)
    deal = owner.get(OPPORTUNITIES, done["opportunity_id"])
    assert (deal["title"], deal["amount"], deal["status"]) == ("Mia Lead", "500.0000", "discovery")
    assert done["converted_at"] is not None


def test_conversion_finds_the_customer(owner: Caller) -> None:
    """CRM-L2: a linked customer is kept, else the oldest with the same e-mail address is taken."""
    email = f"{uuid4()}@known.example"
    known = owner.make(CUSTOMERS, name="Known", email=email)
    other = owner.make(CUSTOMERS, name="Linked")
    found = owner.move(LEADS, make_lead(owner, email=email)["id"], "qualified", "converted")
    linked = owner.move(LEADS, make_lead(owner, email=email, customer_id=other["id"])["id"], "qualified", "converted")
    assert (found["customer_id"], linked["customer_id"]) == (known["id"], other["id"])


def test_a_converted_lead_is_frozen(owner: Caller) -> None:
    """CRM-L2: afterwards nothing of the lead changes, but the engine clears references to what is deleted."""
    lead = owner.move(LEADS, make_lead(owner)["id"], "qualified", "converted")
    owner.expect_refusal("409:document_locked", "PATCH", f"{LEADS}/{lead['id']}", {"notes": "late"})
    owner.expect_refusal("409:document_locked", "PATCH", f"{LEADS}/{lead['id']}", {"customer_id": None})
    owner.expect_refusal("409:document_locked", "DELETE", f"{LEADS}/{lead['id']}")
    owner.drop(OPPORTUNITIES, lead["opportunity_id"])
    owner.drop(CONTACTS, lead["contact_id"])
    left = owner.get(LEADS, lead["id"])
    assert (left["opportunity_id"], left["contact_id"], left["customer_id"]) == (None, None, lead["customer_id"])


@pytest.mark.parametrize("path", [(), ("contacted",), ("qualified",)])
def test_a_lead_is_disqualified_for_a_reason(owner: Caller, path: tuple[str, ...]) -> None:
    """CRM-L3: disqualify_reason is required, from each state."""
    lead = make_lead(owner)
    owner.move(LEADS, lead["id"], *path)
    owner.stays("422:reason_required", LEADS, lead["id"], "disqualified")
    owner.change(LEADS, lead["id"], disqualify_reason="no budget")
    assert owner.move(LEADS, lead["id"], "disqualified")["status"] == "disqualified"


def make_deal(caller: Caller, customer: Body | None = None, **values: Any) -> Body:
    """An opportunity of 1000."""
    home = customer or caller.make(CUSTOMERS, name="Deal", currency="EUR")
    return caller.make(OPPORTUNITIES, **{"title": "Deal", "customer_id": home["id"], "amount": "1000", **values})


def test_an_opportunity_starts_with_the_odds_of_its_stage(owner: Caller) -> None:
    """CRM-O1: the currency is the customer's; probability 10 weighs 1000 as 100; a given one counts."""
    deal = make_deal(owner)
    assert (deal["currency"], deal["probability"], deal["weighted_amount"]) == ("EUR", "10.0000", "100.0000")
    assert make_deal(owner, probability="33.335")["weighted_amount"] == "333.3500"


def test_each_stage_has_its_odds(owner: Caller) -> None:
    """CRM-O1: entering a stage sets the probability; in between it can be edited."""
    deal = make_deal(owner)
    assert owner.move(OPPORTUNITIES, deal["id"], "proposal")["weighted_amount"] == "400.0000"
    assert owner.change(OPPORTUNITIES, deal["id"], probability="55")["weighted_amount"] == "550.0000"
    assert owner.move(OPPORTUNITIES, deal["id"], "negotiation")["probability"] == "70.0000"
    assert owner.change(OPPORTUNITIES, deal["id"], amount="2000")["weighted_amount"] == "1400.0000"
    won = owner.move(OPPORTUNITIES, deal["id"], "won")
    assert (won["probability"], won["weighted_amount"]) == ("100.0000", "2000.0000")
    assert won["won_at"] is not None and won["closed_at"] == won["won_at"]


def test_yen_have_no_places(owner: Caller) -> None:
    """CRM-O1: the weighted amount is rounded half up to the places of its currency."""
    customer = owner.make(CUSTOMERS, name="Yen", currency="JPY")
    assert make_deal(owner, customer, amount="105")["weighted_amount"] == "11.0000"


def test_the_contact_belongs_to_the_customer(owner: Caller) -> None:
    """CRM-O1: a contact of somebody else is refused, at create and later."""
    other = owner.make(CUSTOMERS, name="Other")
    stranger = owner.make(CONTACTS, customer_id=other["id"], full_name="Stranger")
    deal = make_deal(owner)
    body = {"title": "Deal", "customer_id": deal["customer_id"], "contact_id": stranger["id"]}
    owner.expect_refusal("422:contact_mismatch", "POST", OPPORTUNITIES, body)
    path = f"{OPPORTUNITIES}/{deal['id']}"
    owner.expect_refusal("422:contact_mismatch", "PATCH", path, {"contact_id": stranger["id"]})


@pytest.mark.parametrize("stages", [("proposal",), ("proposal", "negotiation")])
def test_winning_by_hand_needs_its_permission(owner: Caller, clerk: Caller, stages: tuple[str, ...]) -> None:
    """CRM-O2: without an accepted quotation only perm:crm.opportunities.force-win wins."""
    deal = make_deal(owner)
    owner.move(OPPORTUNITIES, deal["id"], *stages)
    clerk.stays("409:no_accepted_quotation", OPPORTUNITIES, deal["id"], "won")
    assert owner.move(OPPORTUNITIES, deal["id"], "won")["status"] == "won"


@pytest.mark.parametrize("stages", [(), ("proposal",), ("proposal", "negotiation")])
def test_an_opportunity_is_lost_for_a_reason(owner: Caller, stages: tuple[str, ...]) -> None:
    """CRM-O3: lost_reason is required; a lost row is frozen until it is opened again."""
    deal = make_deal(owner)
    owner.move(OPPORTUNITIES, deal["id"], *stages)
    owner.stays("422:reason_required", OPPORTUNITIES, deal["id"], "lost")
    owner.change(OPPORTUNITIES, deal["id"], lost_reason="price")
    lost = owner.move(OPPORTUNITIES, deal["id"], "lost")
    assert (lost["probability"], lost["weighted_amount"], lost["won_at"]) == ("0.0000", "0.0000", None)
    owner.expect_refusal("409:document_locked", "PATCH", f"{OPPORTUNITIES}/{deal['id']}", {"amount": "1"})
    owner.expect_refusal("409:document_locked", "DELETE", f"{OPPORTUNITIES}/{deal['id']}")
    again = owner.move(OPPORTUNITIES, deal["id"], "discovery")
    assert (again["probability"], again["closed_at"]) == ("10.0000", None)


def test_a_done_activity_is_dated(owner: Caller) -> None:
    """CRM-ACTIVITY: done_at is set by done, and cleared by planning again."""
    call = owner.make(ACTIVITIES, kind="call", subject="Call", lead_id=make_lead(owner)["id"])
    assert call["done_at"] is None
    assert owner.move(ACTIVITIES, call["id"], "done")["done_at"] is not None
    assert owner.move(ACTIVITIES, call["id"], "planned")["done_at"] is None


def test_a_number_sequence_only_counts_up(owner: Caller) -> None:
    """SYS-N1: a counter never goes back, and its prefix stays while the year lasts."""
    owner.make(CUSTOMERS, name="Numbered")
    [sequence] = owner.list(SEQUENCES, "filter[code]=CUS")
    path = f"{SEQUENCES}/{sequence['id']}"
    for change in ({"next_value": "1"}, {"prefix": "KUN"}):
        owner.expect_refusal("409:sequence_in_use", "PATCH", path, change)
    assert owner.change(SEQUENCES, sequence["id"], padding=6)["padding"] == 6
    owner.change(SEQUENCES, sequence["id"], padding=5)
