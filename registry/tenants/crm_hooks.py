"""Behaviour of customer relations: primary contacts, lead scores and conversion, stages of opportunities."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import select

from engine.errors import ConflictError
from engine.hooks import Change, Moment, Point, Row, Rules, refuse
from registry.money import share
from registry.tenants.crm import Contact, Customer, Opportunity

rules = Rules("tenants/crm")

STAGES = {"discovery": 10, "proposal": 40, "negotiation": 70, "won": 100, "lost": 0}
WARM_SOURCES = ("referral", "partner")
LARGE_VALUE = 10_000
# references that are cleared when the row behind them goes
PARTNERS: dict[str, Any] = {"customer_id": Customer, "contact_id": Contact, "opportunity_id": Opportunity}
# name -> points for a lead that has it
SCORES = {"email": 20, "phone": 10, "company_name": 20}


@rules.on("CRM-C1", "customers", Point.BEFORE_UPDATE, watches="credit_limit", raises="403:permission_denied")
async def guard_credit_limit(moment: Moment, changes: list[Change]) -> None:
    """Changing credit_limit needs its own permission."""
    if any(change.changes("credit_limit") for change in changes):
        moment.require("crm.customers.credit")


@rules.on("G21", "customers", Point.BEFORE_CREATE)
async def default_currency(moment: Moment, changes: list[Change]) -> None:
    """A customer pays in the base currency unless said otherwise."""
    for change in changes:
        if change["currency"] is None:
            change.values["currency"] = await moment.setting("base_currency")


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


@rules.on("CRM-L2", "leads", Point.BEFORE_UPDATE, Point.BEFORE_DELETE, raises="409:document_locked")
async def freeze_converted(moment: Moment, changes: list[Change]) -> None:
    """A converted lead is frozen."""
    await _refuse_frozen(moment, [change for change in changes if change["status"] == "converted"])


async def _refuse_frozen(moment: Moment, frozen: list[Change]) -> None:
    """409 unless the writes are the engine's own: they clear references to rows that were deleted."""
    gone = {name: await _gone(moment, name, frozen) for name in PARTNERS}
    for change in frozen:
        changed = {name: (change.old or {})[name] for name in change.values if change.changes(name)}
        if not changed or any(change[name] or old not in gone.get(name, ()) for name, old in changed.items()):
            raise ConflictError("document_locked", f"The row is {change['status']} and no longer changes")


async def _gone(moment: Moment, name: str, changes: list[Change]) -> set[UUID]:
    """Those of the rows to which the changes clear the reference `name` that were deleted."""
    cleared = {change.old[name] for change in changes if change.old and change.changes(name) and change[name] is None}
    table = PARTNERS[name].__table__.c
    present = await moment.fetch(select(table.id).where(table.id.in_(cleared), table.is_active)) if cleared else []
    return cleared - {row["id"] for row in present}


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
            converted_at=moment.now,
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


DISQUALIFYING = "new>disqualified contacted>disqualified qualified>disqualified"


@rules.on("CRM-L3", "leads", Point.BEFORE_STATUS, edges=DISQUALIFYING, raises="422:reason_required")
async def say_why_disqualified(moment: Moment, changes: list[Change]) -> None:
    """A lead is disqualified for a reason."""
    for change in changes:
        if not change["disqualify_reason"]:
            raise refuse(change, "disqualify_reason", "reason_required", "Set disqualify_reason first")


@rules.on("CRM-O1", "opportunities", Point.BEFORE_CREATE)
async def start_opportunities(moment: Moment, changes: list[Change]) -> None:
    """The currency is the customer's; the probability that of the stage, unless said otherwise."""
    customers = Customer.__table__.c
    keys = {change["customer_id"] for change in changes if change["currency"] is None}
    rows = await moment.fetch(select(customers.id, customers.currency).where(customers.id.in_(keys))) if keys else []
    currencies = {row["id"]: row["currency"] for row in rows}
    for change in changes:
        if change["currency"] is None:
            change.values["currency"] = currencies.get(change["customer_id"]) or await moment.setting("base_currency")
        if change["probability"] is None:
            change.values["probability"] = Decimal(STAGES[change["status"] or "discovery"])


@rules.on("CRM-O3", "opportunities", Point.BEFORE_UPDATE, Point.BEFORE_DELETE, raises="409:document_locked")
async def freeze_closed(moment: Moment, changes: list[Change]) -> None:
    """Won and lost opportunities are frozen."""
    await _refuse_frozen(moment, [change for change in changes if change["status"] in ("won", "lost")])


@rules.on("CRM-O1", "opportunities", Point.BEFORE_CREATE, Point.BEFORE_UPDATE, raises="422:contact_mismatch")
async def weigh_opportunities(moment: Moment, changes: list[Change]) -> None:
    """weighted_amount = round(amount x probability / 100); the contact belongs to the customer."""
    contacts = Contact.__table__.c
    keys = {change["contact_id"] for change in changes if change["contact_id"] and change.changes("contact_id")}
    rows = await moment.list("crm.contacts", contacts.id.in_(keys), limit=len(keys)) if keys else []
    homes = {row["id"]: row["customer_id"] for row in rows}
    for change in changes:
        customer = change["customer_id"]
        if homes.get(change["contact_id"], customer) != customer:
            raise refuse(change, "contact_id", "contact_mismatch", "The contact belongs to another customer")
        _weigh(change)


def _weigh(change: Change) -> None:
    amount = change["amount"] if change["amount"] is not None else Decimal(0)
    change.values["weighted_amount"] = share(amount, change["probability"], change["currency"])


@rules.on("CRM-O1", "opportunities", Point.BEFORE_STATUS)
async def enter_stage(moment: Moment, changes: list[Change]) -> None:
    """Entering a stage sets its probability; closing is dated, reopening clears the date."""
    for change in changes:
        _, stage = change.edge()
        if stage not in STAGES:
            continue
        change.values["probability"] = Decimal(STAGES[stage])
        change.values["won_at"] = moment.now if stage == "won" else None
        change.values["closed_at"] = moment.now if stage in ("won", "lost") else None
        _weigh(change)


@rules.on(
    "CRM-O2",
    "opportunities",
    Point.BEFORE_STATUS,
    edges="proposal>won negotiation>won",
    raises="409:no_accepted_quotation",
)
async def win_by_quotation(moment: Moment, changes: list[Change]) -> None:
    """Winning needs an accepted quotation (there are none before domain srm) or its own permission."""
    if not moment.principal.may("crm.opportunities.force-win"):
        raise ConflictError("no_accepted_quotation", "There is no accepted quotation or confirmed order")


LOSING = "discovery>lost proposal>lost negotiation>lost"


@rules.on("CRM-O3", "opportunities", Point.BEFORE_STATUS, edges=LOSING, raises="422:reason_required")
async def say_why_lost(moment: Moment, changes: list[Change]) -> None:
    """An opportunity is lost for a reason."""
    for change in changes:
        if not change["lost_reason"]:
            raise refuse(change, "lost_reason", "reason_required", "Set lost_reason first")


@rules.on("CRM-ACTIVITY", "activities", Point.BEFORE_STATUS, edges="planned>done done>planned")
async def stamp_done(moment: Moment, changes: list[Change]) -> None:
    """An activity that is done says since when."""
    for change in changes:
        change.values["done_at"] = moment.now if change["status"] == "done" else None
