"""Customer relationship management: customer master, contacts, leads, opportunities, activities."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from sqlalchemy import Integer, Numeric, String, Table, case, cast, func, literal_column, select
from sqlalchemy.orm import Mapped
from sqlalchemy.sql import ColumnElement

from engine.entity import Computed, Entity, Frozen, Needed, Number, Virtual
from engine.types import (
    Currency,
    DocumentNumber,
    Email,
    Money,
    Name,
    Percent,
    Phone,
    PostalAddress,
    SmallInt,
    Strings,
    Text,
    Url,
    check,
    column,
    reference,
)
from registry.tenants import TenantModel


def open_balance(customers: Table) -> ColumnElement[Decimal]:
    """What a customer owes in base currency: amount_due of posted sales invoices less credit notes."""
    invoices, currencies = Customer.metadata.tables["apm.sales_invoices"], Customer.metadata.tables["fim.currencies"]
    note = invoices.c.kind == literal_column("'credit_note'")
    own = currencies.c.is_base & currencies.c.is_active & (currencies.c.tenant_id == customers.c.tenant_id)
    base = select(currencies.c.decimal_places).where(own).correlate(customers).scalar_subquery()
    places = func.coalesce(base, literal_column("2"))
    due = func.round(invoices.c.amount_due * invoices.c.exchange_rate, cast(places, Integer))
    owed = select(func.coalesce(func.sum(case((note, -due), else_=due)), literal_column("0"))).where(
        invoices.c.tenant_id == customers.c.tenant_id,
        invoices.c.customer_id == customers.c.id,
        invoices.c.status == literal_column("'posted'"),
        invoices.c.is_active,
    )
    return cast(owed.correlate_except(invoices, currencies).scalar_subquery(), Numeric(19, 4))


class Customer(TenantModel, table="crm.customers"):
    """Company or person we sell to."""

    number: Mapped[DocumentNumber | None]
    name: Mapped[Name]
    legal_name: Mapped[Name | None]
    kind: Mapped[Literal["company", "person"]] = column(default="company")
    tax_id: Mapped[str | None] = column(String(32))
    email: Mapped[Email | None]
    phone: Mapped[Phone | None]
    website: Mapped[Url | None]
    billing_address: Mapped[PostalAddress | None]
    shipping_address: Mapped[PostalAddress | None]
    currency: Mapped[Currency]
    price_list_id: Mapped[UUID | None] = reference("pim.price_lists", "setnull")
    payment_terms_days: Mapped[SmallInt] = column(default=30, minimum=0, maximum=365)
    credit_limit: Mapped[Money | None] = column(minimum=0)  # base currency, null = no limit
    owner_id: Mapped[UUID | None] = reference("sys.users", "setnull")
    parent_id: Mapped[UUID | None] = reference("crm.customers")
    industry: Mapped[str | None] = column(String(64))
    tags: Mapped[Strings] = column(default=list)
    tax_exempt: Mapped[bool] = column(default=False)


customers = Entity(
    Customer,
    label="name",
    number=Number("CUS"),
    tree="parent_id",
    unique=["number", "tax_id"],
    search=["number", "name", "legal_name", "tax_id", "email"],
    read_only=["number"],
    once=["kind"],
    auto=["currency"],
    virtual=[Virtual("open_balance", Numeric(19, 4), compute=open_balance)],
    machine="prospect* active on_hold blocked : prospect>active,blocked; prospect~>active; active>on_hold,blocked; "
    "on_hold>active,blocked; blocked>active",
    currency="base",
    guards={"credit_limit": "crm.customers.credit"},
    permissions=["crm.customers.credit"],
)


class Contact(TenantModel, table="crm.contacts"):
    """Person at a customer."""

    customer_id: Mapped[UUID] = reference("crm.customers", "cascade")
    full_name: Mapped[Name]
    email: Mapped[Email | None]
    phone: Mapped[Phone | None]
    position: Mapped[str | None] = column(String(120))
    is_primary: Mapped[bool] = column(default=False)
    marketing_consent: Mapped[bool] = column(default=False)
    consent_at: Mapped[datetime | None]
    notes: Mapped[Text | None]


contacts = Entity(
    Contact, label="full_name", search=["full_name", "email"], once=["customer_id"], read_only=["consent_at"]
)


class Lead(TenantModel, table="crm.leads"):
    """Unqualified interest."""

    full_name: Mapped[Name]
    company_name: Mapped[Name | None]
    email: Mapped[Email | None]
    phone: Mapped[Phone | None]
    source: Mapped[Literal["web", "referral", "event", "cold_call", "partner", "import"]] = column(default="web")
    estimated_value: Mapped[Money | None] = column(minimum=0)
    owner_id: Mapped[UUID | None] = reference("sys.users", "setnull")
    score: Mapped[SmallInt] = column(default=0)
    notes: Mapped[Text | None]
    disqualify_reason: Mapped[str | None] = column(String(255))
    customer_id: Mapped[UUID | None] = reference("crm.customers", "setnull")  # set beforehand to link an existing one
    contact_id: Mapped[UUID | None] = reference("crm.contacts", "setnull")
    opportunity_id: Mapped[UUID | None] = reference("crm.opportunities", "setnull")
    converted_at: Mapped[datetime | None]
    __table_args__ = (check("email is not null or phone is not null"),)


leads = Entity(
    Lead,
    label="full_name",
    search=["full_name", "company_name", "email"],
    read_only=["score", "contact_id", "opportunity_id", "converted_at"],
    machine="new* contacted qualified converted disqualified : new>contacted,qualified,disqualified; "
    "contacted>qualified,disqualified; qualified>converted,disqualified; disqualified>new",
    currency="base",
    frozen=[Frozen("converted")],
    needed=[Needed("disqualify_reason", "new>disqualified contacted>disqualified qualified>disqualified")],
    stamps={"converted": {"converted_at": "now"}},
    info={"example": {"email": "ann@example.com"}},
)


class Opportunity(TenantModel, table="crm.opportunities"):
    """Possible deal with stage and value."""

    number: Mapped[DocumentNumber | None]
    title: Mapped[str] = column(String(200))
    customer_id: Mapped[UUID] = reference("crm.customers")
    contact_id: Mapped[UUID | None] = reference("crm.contacts", "setnull")
    currency: Mapped[Currency]
    amount: Mapped[Money] = column(default=Decimal(0), minimum=0)
    probability: Mapped[Percent]
    weighted_amount: Mapped[Money]
    expected_close: Mapped[date | None]
    owner_id: Mapped[UUID | None] = reference("sys.users", "setnull")
    lost_reason: Mapped[str | None] = column(String(255))
    competitor: Mapped[str | None] = column(String(120))
    won_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]


opportunities = Entity(
    Opportunity,
    label="title",
    number=Number("OPP"),
    unique=["number"],
    search=["number", "title"],
    once=["customer_id", "currency"],
    read_only=["number", "weighted_amount", "won_at", "closed_at"],
    auto=["currency", "probability"],
    machine="discovery* proposal negotiation won lost : discovery>proposal,lost; discovery~>proposal,won; "
    "proposal>negotiation,won,lost; proposal~>won; negotiation>proposal,won,lost; negotiation~>won; lost>discovery",
    currency="currency",
    computed=[
        Computed("weighted_amount", "amount probability", lambda amount, probability: amount * probability / 100)
    ],
    frozen=[Frozen("won lost")],
    needed=[Needed("lost_reason", "discovery>lost proposal>lost negotiation>lost")],
    stamps={
        "discovery": {"won_at": "null", "closed_at": "null"},
        "won": {"won_at": "now", "closed_at": "now"},
        "lost": {"won_at": "null", "closed_at": "now"},
    },
    permissions=["crm.opportunities.force-win"],
)


class Activity(TenantModel, table="crm.activities"):
    """Call, mail, meeting or task."""

    kind: Mapped[Literal["call", "email", "meeting", "task", "note"]]
    subject: Mapped[str] = column(String(200))
    body: Mapped[Text | None]
    customer_id: Mapped[UUID | None] = reference("crm.customers", "cascade")
    contact_id: Mapped[UUID | None] = reference("crm.contacts", "setnull")
    lead_id: Mapped[UUID | None] = reference("crm.leads", "cascade")
    opportunity_id: Mapped[UUID | None] = reference("crm.opportunities", "cascade")
    owner_id: Mapped[UUID | None] = reference("sys.users", "setnull")
    starts_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    due_at: Mapped[datetime | None]
    done_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = column(String(255))
    __table_args__ = (
        check("customer_id is not null or lead_id is not null or opportunity_id is not null"),
        check("ends_at is null or (starts_at is not null and ends_at >= starts_at)"),
    )


activities = Entity(
    Activity,
    label="subject",
    search=["subject"],
    once=["kind"],
    read_only=["done_at"],
    machine="planned* done canceled : planned>done,canceled; done>planned",
    stamps={"done": {"done_at": "now"}, "planned": {"done_at": "null"}},
    info={"example": {"customer_id": None}},
)
