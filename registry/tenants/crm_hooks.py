"""Behaviour of customer relations: primary contacts, lead scores and conversion, stages of opportunities."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import select

from engine.errors import ConflictError
from engine.hooks import Change, Moment, Point, Row, Rules, refuse
from registry.money import WIDE, to_places
from registry.tenants.crm import Contact, Customer, Opportunity
from registry.tenants.rates import base_currency

rules = Rules("tenants/crm")

STAGES = {"discovery": 10, "proposal": 40, "negotiation": 70, "won": 100, "lost": 0}
WARM_SOURCES = ("referral", "partner")
LARGE_VALUE = 10_000
# documents that win an opportunity, and in which states
BACKING = {"srm.quotations": ("accepted", "converted"), "srm.sales_orders": ("confirmed", "on_hold", "completed")}
# name -> points for a lead that has it
SCORES = {"email": 20, "phone": 10, "company_name": 20}


@rules.on("G21", "customers", Point.BEFORE_CREATE)
async def default_currency(moment: Moment, changes: list[Change]) -> None:
    """A customer pays in the base currency unless said otherwise."""
    silent = [change for change in changes if change["currency"] is None]
    base = await base_currency(moment) if silent else ""
    for change in silent:
        change.values["currency"] = base


@rules.on("CRM-K1", "contacts", Point.BEFORE_CREATE, Point.BEFORE_UPDATE)
async def choose_primary(moment: Moment, changes: list[Change]) -> None:
    """The first contact of a customer is primary; of several new primaries the last one is; the only one stays."""
    contacts = Contact.__table__.c
    customers = {change["customer_id"] for change in changes}
    written = [change.key for change in changes if change.old is not None]
    others = select(contacts.customer_id).where(
        contacts.customer_id.in_(customers), contacts.is_active, contacts.is_primary, contacts.id.not_in(written)
    )
    settled = {row["customer_id"] for row in await moment.fetch(others)}
    for customer in customers:
        own = [change for change in changes if change["customer_id"] == customer]
        wanted = [change for change in own if change["is_primary"]]
        for change in wanted[:-1]:
            change.values["is_primary"] = False
        if not wanted and customer not in settled:
            was = [change for change in own if change.old is None or change.old["is_primary"]]
            (was or own)[0].values["is_primary"] = True


@rules.on("CRM-K1", "contacts", Point.BEFORE_CREATE, Point.BEFORE_UPDATE, watches="marketing_consent")
async def stamp_consent(moment: Moment, changes: list[Change]) -> None:
    """Consent to marketing is kept with its moment."""
    for change in changes:
        if change.changes("marketing_consent"):
            change.values["consent_at"] = moment.now if change["marketing_consent"] else None


@rules.on("CRM-K1", "contacts", Point.AFTER_CREATE, Point.AFTER_UPDATE)
async def clear_old_primary(moment: Moment, changes: list[Change]) -> None:
    """A new primary clears the old one."""
    fresh = [change for change in changes if change["is_primary"] and change.changes("is_primary")]
    if fresh:
        await _settle(moment, {change["customer_id"] for change in fresh}, {change.key for change in fresh})


@rules.on("CRM-K1", "contacts", Point.AFTER_DELETE, Point.AFTER_STATUS)
async def pass_primary_on(moment: Moment, changes: list[Change]) -> None:
    """When the primary goes, the oldest contact takes its place; one that comes back brings no second primary."""
    await _settle(moment, {change["customer_id"] for change in changes}, ())


async def _settle(moment: Moment, customers: Collection[UUID], preferred: Collection[UUID]) -> None:
    """Leave each customer exactly one primary: a preferred one, else a present one, else the oldest."""
    contacts = Contact.__table__.c
    statement = (
        select(contacts.id, contacts.customer_id, contacts.is_primary)
        .where(contacts.customer_id.in_(customers), contacts.is_active)
        .order_by(contacts.created_at, contacts.id)
    )
    rows = await moment.fetch(statement)
    best: dict[UUID, Row] = {}
    for row in sorted(rows, key=lambda row: (row["id"] not in preferred, not row["is_primary"])):
        best.setdefault(row["customer_id"], row)
    keep = {row["id"] for row in best.values()}
    wrong = [
        {"id": row["id"], "is_primary": row["id"] in keep} for row in rows if row["is_primary"] != (row["id"] in keep)
    ]
    if wrong:
        await moment.update("crm.contacts", wrong)


@rules.on("CRM-L1", "leads", Point.BEFORE_CREATE, Point.BEFORE_UPDATE)
async def score_leads(moment: Moment, changes: list[Change]) -> None:
    """Score = what is known of the lead, how warm its source is, and whether it is large."""
    for change in changes:
        known = sum(points for name, points in SCORES.items() if change[name])
        warm = 20 if change["source"] in WARM_SOURCES else 0
        large = 30 if (change["estimated_value"] or 0) >= LARGE_VALUE else 0
        change.values["score"] = known + warm + large


@rules.on("CRM-L2", "leads", Point.BEFORE_STATUS, edges="qualified>converted")
async def convert_leads(moment: Moment, changes: list[Change]) -> None:
    """A converted lead becomes contact and opportunity of its customer, who is linked, else found by e-mail, else made.
    Before the write, so that one statement moves the lead and notes what came of it."""
    customers = await _customers_of(moment, changes)
    contacts = await moment.create("crm.contacts", [_contact(change, customers[change.index]) for change in changes])
    deals = [
        _opportunity(change, customers[change.index], contact["id"])
        for change, contact in zip(changes, contacts, strict=True)
    ]
    opportunities = await moment.create("crm.opportunities", deals)
    for change, contact, opportunity in zip(changes, contacts, opportunities, strict=True):
        change.values.update(
            customer_id=customers[change.index],
            contact_id=contact["id"],
            opportunity_id=opportunity["id"],
        )


async def _customers_of(moment: Moment, changes: list[Change]) -> dict[int, UUID]:
    """Index of the change -> its customer. Leads of one set with the same e-mail address share the one made for it."""
    emails = {change["email"] for change in changes if change["email"]}
    stored = await moment.list("crm.customers", Customer.__table__.c.email.in_(emails)) if emails else []
    found: dict[str | UUID, UUID] = {row["email"]: row["id"] for row in reversed(stored)}  # of equal ones the oldest
    made: dict[str | UUID, dict[str, Any]] = {}
    for change in changes:
        if change["customer_id"] is None and _customer_key(change) not in found:
            made.setdefault(_customer_key(change), _customer(change))
    created = await moment.create("crm.customers", list(made.values())) if made else []
    found.update((key, row["id"]) for key, row in zip(made, created, strict=True))
    return {change.index: change["customer_id"] or found[_customer_key(change)] for change in changes}


def _customer_key(change: Change) -> str | UUID:
    key: str | UUID = change["email"] or change.key
    return key


def _customer(change: Change) -> dict[str, Any]:
    kind = "company" if change["company_name"] else "person"
    name = change["company_name"] or change["full_name"]
    return {"name": name, "kind": kind, **{name: change[name] for name in ("email", "phone", "owner_id")}}


def _contact(change: Change, customer: UUID) -> dict[str, Any]:
    return {"customer_id": customer, **{name: change[name] for name in ("full_name", "email", "phone")}}


def _opportunity(change: Change, customer: UUID, contact: UUID) -> dict[str, Any]:
    title = change["company_name"] or change["full_name"]
    amount = change["estimated_value"] or Decimal(0)
    owner = change["owner_id"]
    return {"title": title, "customer_id": customer, "contact_id": contact, "amount": amount, "owner_id": owner}


@rules.on("CRM-O1", "opportunities", Point.BEFORE_CREATE, writes="currency probability")
async def start_opportunities(moment: Moment, changes: list[Change]) -> None:
    """The currency is the customer's; the probability that of the stage, unless said otherwise."""
    customers = Customer.__table__.c
    keys = {change["customer_id"] for change in changes if change["currency"] is None}
    rows = await moment.fetch(select(customers.id, customers.currency).where(customers.id.in_(keys))) if keys else []
    currencies = {row["id"]: row["currency"] for row in rows}
    base = await base_currency(moment) if keys - currencies.keys() else ""
    for change in changes:
        if change["currency"] is None:
            change.values["currency"] = currencies.get(change["customer_id"], base)
        if change["probability"] is None:
            change.values["probability"] = Decimal(STAGES[change["status"] or "discovery"])


@rules.on(
    *("CRM-O1", "opportunities", Point.BEFORE_CREATE, Point.BEFORE_UPDATE),
    watches="contact_id",
    raises="422:contact_mismatch",
)
async def check_contact(moment: Moment, changes: list[Change]) -> None:
    """The contact belongs to the customer."""
    contacts = Contact.__table__.c
    keys = {change["contact_id"] for change in changes if change["contact_id"] and change.changes("contact_id")}
    rows = await moment.list("crm.contacts", contacts.id.in_(keys), limit=len(keys)) if keys else []
    homes = {row["id"]: row["customer_id"] for row in rows}
    for change in changes:
        customer = change["customer_id"]
        if homes.get(change["contact_id"], customer) != customer:
            raise refuse(change, "contact_id", "contact_mismatch", "The contact belongs to another customer")


@rules.on("CRM-O1", "opportunities", Point.BEFORE_STATUS)
async def enter_stage(moment: Moment, changes: list[Change]) -> None:
    """Entering a stage sets its probability, and with it the weighted amount."""
    for change in changes:
        change.values["probability"] = Decimal(STAGES[change["status"]])
        weighted = WIDE.multiply(change["amount"], change["probability"]) / 100
        change.values["weighted_amount"] = to_places(weighted, await moment.places(change["currency"]))


@rules.on(
    "CRM-O2",
    "opportunities",
    Point.BEFORE_STATUS,
    edges="proposal>won negotiation>won",
    raises="409:no_accepted_quotation",
)
async def win_by_quotation(moment: Moment, changes: list[Change]) -> None:
    """Winning needs an accepted or converted quotation, a confirmed order, or its own permission."""
    if moment.principal.may("crm.opportunities.force-win"):
        return
    backed = await _backed(moment, [change.key for change in changes])
    for change in changes:
        if change.key not in backed and not change.by_engine:
            raise ConflictError("no_accepted_quotation", "There is no accepted quotation or confirmed order")


async def _backed(moment: Moment, opportunities: Collection[UUID]) -> set[UUID]:
    """Those of the opportunities with a quotation or order that counts; none before the domain srm is registered."""
    found: set[UUID] = set()
    for name, states in BACKING.items():
        table = Opportunity.metadata.tables.get(name)
        if table is not None:
            mine = (table.c.opportunity_id.in_(opportunities), table.c.status.in_(states), table.c.is_active)
            found |= {row["opportunity_id"] for row in await moment.fetch(select(table.c.opportunity_id).where(*mine))}
    return found
