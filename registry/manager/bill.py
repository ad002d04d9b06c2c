"""Platform billing: plans, subscriptions, invoices and payments; charges tenants for the SaaS itself."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import String
from sqlalchemy.orm import Mapped

from engine.entity import Computed, Entity, Frozen, Nested, Number, RollUp, Unique
from engine.types import (
    Address,
    Code,
    Currency,
    DocumentNumber,
    Money,
    Name,
    Percent,
    Price,
    Quantity,
    Shaped,
    SmallInt,
    Strings,
    Text,
    check,
    column,
    reference,
)
from registry.manager import ManagerModel
from registry.money import WIDE

ZERO = Decimal(0)


class Limits(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What a plan allows; a limit left out is no limit."""

    users: int | None = None
    storage_gb: int | None = None
    api_calls_per_day: int | None = None


class BillTo(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The tenant as an invoice names it."""

    name: str
    legal_name: str | None = None
    tax_id: str | None = None
    address: Address | None = None


class Plan(ManagerModel, table="bill.plans"):
    """Price plan of the SaaS with limits and included features."""

    code: Mapped[Code]
    name: Mapped[Name]
    description: Mapped[Text | None]
    interval: Mapped[Literal["month", "year"]]
    currency: Mapped[Currency]
    amount: Mapped[Money] = column(minimum=0)
    per_seat_amount: Mapped[Money] = column(default=ZERO, minimum=0)
    seats_included: Mapped[int] = column(default=1, minimum=0)
    trial_days: Mapped[int] = column(default=0, minimum=0, maximum=90)
    limits: Mapped[dict[str, Any]] = column(Shaped(Limits), default=dict)
    features: Mapped[Strings] = column(default=list)
    sort_order: Mapped[int] = column(default=0)
    is_public: Mapped[bool] = column(default=True)


plans = Entity(
    Plan,
    kind="config",
    label="code",
    unique=["code"],
    search=["code", "name"],
    once=["code", "interval", "currency"],
    machine="draft* active archived : draft>active; active>archived; archived>active",
    frozen=[
        Frozen(
            "active archived",
            fields=("amount", "per_seat_amount", "seats_included", "trial_days"),
            code="plan_locked",
        )
    ],
    currency="currency",
)


class Coupon(ManagerModel, table="bill.coupons"):
    """Discount a new subscription may redeem."""

    code: Mapped[Code]
    name: Mapped[Name]
    percent_off: Mapped[Percent | None]
    amount_off: Mapped[Money | None] = column(above=0)
    currency: Mapped[Currency | None]
    duration: Mapped[Literal["once", "repeating", "forever"]]
    duration_months: Mapped[int | None] = column(above=0)
    max_redemptions: Mapped[int | None] = column(above=0)
    times_redeemed: Mapped[int] = column(default=0)
    valid_from: Mapped[date]
    valid_until: Mapped[date | None]
    __table_args__ = (
        check("(percent_off is null) <> (amount_off is null)"),
        check("amount_off is null or currency is not null"),
        check("(duration = 'repeating') = (duration_months is not null)"),
        check("valid_until is null or valid_until >= valid_from"),
    )


coupons = Entity(
    Coupon,
    kind="config",
    label="code",
    unique=["code"],
    search=["code"],
    once=["code", "percent_off", "amount_off", "currency", "duration", "duration_months"],
    read_only=["times_redeemed"],
    currency="currency",
    info={"example": {"percent_off": "25"}},
)


class Subscription(ManagerModel, table="bill.subscriptions"):
    """Contract of a tenant on a plan; billed in advance per period."""

    tenant_id: Mapped[UUID] = reference("tnnt.tenants")
    plan_id: Mapped[UUID] = reference("bill.plans")
    seats: Mapped[int] = column(default=1, minimum=1)
    coupon_id: Mapped[UUID | None] = reference("bill.coupons")
    started_on: Mapped[date]
    trial_end: Mapped[date | None]
    period_start: Mapped[date]
    period_end: Mapped[date]  # first day after the period
    anchor_day: Mapped[SmallInt] = column(minimum=1, maximum=31)
    pending_plan_id: Mapped[UUID | None] = reference("bill.plans")
    pending_seats: Mapped[int | None]
    discount_periods_left: Mapped[int | None]
    cancel_at_period_end: Mapped[bool] = column(default=False)
    canceled_at: Mapped[datetime | None]
    ended_on: Mapped[date | None]
    cancel_reason: Mapped[str | None] = column(String(255))


subscriptions = Entity(
    Subscription,
    operations="cglus",
    unique=[Unique(("tenant_id",), where="status <> 'canceled'")],
    once=["tenant_id", "coupon_id"],
    read_only=[
        *("started_on", "trial_end", "period_start", "period_end", "anchor_day", "pending_plan_id", "pending_seats"),
        *("discount_periods_left", "canceled_at", "ended_on"),
    ],
    machine="trialing* active past_due suspended canceled : trialing~>active; trialing>canceled; "
    "active~>past_due,canceled; past_due~>active,suspended; suspended~>active; active>canceled; past_due>canceled; "
    "suspended>canceled",
    stamps={"canceled": {"canceled_at": "now", "pending_plan_id": "null", "pending_seats": "null"}},
)


class Invoice(ManagerModel, table="bill.invoices"):
    """Platform invoice or credit note to a tenant."""

    number: Mapped[DocumentNumber | None]
    kind: Mapped[Literal["invoice", "credit_note"]] = column(default="invoice")
    tenant_id: Mapped[UUID] = reference("tnnt.tenants")
    subscription_id: Mapped[UUID | None] = reference("bill.subscriptions")
    original_invoice_id: Mapped[UUID | None] = reference("bill.invoices")
    currency: Mapped[Currency]
    issue_date: Mapped[date | None]
    due_date: Mapped[date | None]
    period_start: Mapped[date | None]
    period_end: Mapped[date | None]
    subtotal: Mapped[Money] = column(default=ZERO)
    tax_pct: Mapped[Percent] = column(default=ZERO)  # copied from the tenant
    tax_total: Mapped[Money] = column(default=ZERO)
    total: Mapped[Money] = column(default=ZERO)
    amount_paid: Mapped[Money] = column(default=ZERO)
    amount_credited: Mapped[Money] = column(default=ZERO)
    amount_due: Mapped[Money] = column(default=ZERO)
    bill_to: Mapped[dict[str, Any] | None] = column(Shaped(BillTo))  # snapshot at open
    memo: Mapped[Text | None]
    paid_at: Mapped[datetime | None]
    voided_at: Mapped[datetime | None]
    __table_args__ = (
        check("due_date is null or issue_date is null or due_date >= issue_date"),
        check("(kind = 'credit_note') = (original_invoice_id is not null)"),
    )


invoices = Entity(
    Invoice,
    kind="document",
    label="number",
    number=Number("INV", at="open", gapless=True, other=("kind", "credit_note", "CN")),
    nested=[Nested("lines", "bill.invoice-lines", "cu")],
    unique=["number"],
    search=["number"],
    once=["kind", "tenant_id", "subscription_id", "original_invoice_id", "currency"],
    read_only=[
        *("number", "issue_date", "subtotal", "tax_pct", "tax_total", "total", "amount_paid", "amount_credited"),
        *("amount_due", "bill_to", "paid_at", "voided_at"),
    ],
    live=["memo"],
    machine="draft* open paid void uncollectible : draft>open; open>void,uncollectible; open~>paid; "
    "uncollectible~>paid",
    stamps={"paid": {"paid_at": "now"}, "void": {"voided_at": "now"}},
    currency="currency",
    rollups=[RollUp("subtotal", "bill.invoice-lines", sum="amount")],
    computed=[
        Computed("tax_total", "subtotal tax_pct", lambda subtotal, percent: WIDE.multiply(subtotal, percent) / 100),
        Computed("total", "subtotal tax_total", lambda subtotal, tax: subtotal + tax),
        Computed(
            "amount_due", "total amount_paid amount_credited", lambda total, paid, credited: total - paid - credited
        ),
    ],
)


class InvoiceLine(ManagerModel, table="bill.invoice_lines"):
    """Charge or credit on a platform invoice."""

    invoice_id: Mapped[UUID] = reference("bill.invoices", "cascade")
    position: Mapped[int] = column(default=0)
    kind: Mapped[Literal["plan", "seats", "proration", "usage", "one_off", "discount"]]
    description: Mapped[str] = column(String(255))
    quantity: Mapped[Quantity] = column(default=Decimal(1))
    unit_amount: Mapped[Price]  # may be negative
    amount: Mapped[Money]
    period_start: Mapped[date | None]
    period_end: Mapped[date | None]


invoice_lines = Entity(
    InvoiceLine,
    kind="line",
    label="description",
    parent=("bill.invoices", "invoice_id"),
    search=["description"],
    once=["invoice_id"],
    read_only=["amount"],
    computed=[Computed("amount", "quantity unit_amount", WIDE.multiply)],
)


class Transaction(ManagerModel, table="bill.transactions"):
    """Payment, refund or chargeback on a platform invoice."""

    tenant_id: Mapped[UUID] = reference("tnnt.tenants")
    invoice_id: Mapped[UUID] = reference("bill.invoices")
    kind: Mapped[Literal["payment", "refund", "chargeback"]] = column(default="payment")
    parent_id: Mapped[UUID | None] = reference("bill.transactions")
    method: Mapped[Literal["card", "bank_transfer", "manual"]]
    currency: Mapped[Currency]
    amount: Mapped[Money] = column(above=0)
    provider: Mapped[str | None] = column(String(32))
    provider_ref: Mapped[str | None] = column(String(128))
    idempotency_key: Mapped[str | None] = column(String(80))
    failure_code: Mapped[str | None] = column(String(64))
    processed_at: Mapped[datetime | None]
    __table_args__ = (check("(kind = 'payment') = (parent_id is null)"),)


transactions = Entity(
    Transaction,
    kind="document",
    operations="cgls",
    unique=[Unique(("provider", "provider_ref")), Unique(("tenant_id", "idempotency_key"))],
    search=["provider_ref"],
    once=[
        *("tenant_id", "invoice_id", "kind", "parent_id", "method", "currency", "amount"),
        *("provider", "provider_ref", "idempotency_key"),
    ],
    read_only=["failure_code", "processed_at"],
    machine="pending* succeeded failed : pending>succeeded,failed",
    stamps={"succeeded": {"processed_at": "now"}, "failed": {"processed_at": "now"}},
    currency="currency",
)


class DunningNotice(ManagerModel, table="bill.dunning_notices"):
    """One reminder step sent for an overdue invoice."""

    invoice_id: Mapped[UUID] = reference("bill.invoices", "cascade")
    subscription_id: Mapped[UUID | None] = reference("bill.subscriptions", "cascade")
    step: Mapped[SmallInt]
    due_since: Mapped[date]
    amount_due: Mapped[Money]
    sent_at: Mapped[datetime]
    notification_id: Mapped[UUID | None] = reference("noti.notifications", "setnull")


dunning_notices = Entity(
    DunningNotice,
    kind="log",
    operations="gl",
    unique=[Unique(("invoice_id", "step"))],
    read_only=["invoice_id", "subscription_id", "step", "due_since", "amount_due", "sent_at", "notification_id"],
)
