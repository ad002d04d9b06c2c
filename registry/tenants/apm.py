"""Accounts and payments management: the receivable and payable sub-ledgers, invoices both ways, payments, allocations."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from sqlalchemy import Boolean, Date, String, Table, and_, bindparam, literal_column
from sqlalchemy.orm import Mapped
from sqlalchemy.sql import ColumnElement

from engine.entity import Approval, Computed, Entity, Needed, Nested, Number, Unique, Virtual
from engine.types import (
    Currency,
    DocumentNumber,
    Money,
    Rate,
    Text,
    check,
    column,
    outside,
    reference,
    today,
)
from registry.tenants import TenantModel
from registry.tenants.documents import (
    BASE_TOTAL,
    HEAD_READ_ONLY,
    LINE_AMOUNTS,
    LINE_READ_ONLY,
    TOTAL,
    DocumentHead,
    DocumentLine,
    totals,
)

ZERO = Decimal(0)
foreign = reference  # for a class with a column of that name


def overdue(invoices: Table) -> ColumnElement[bool]:
    """Whether something is still due after the due date."""
    open_since = and_(invoices.c.due_date < bindparam("today", type_=Date), invoices.c.amount_due > literal_column("0"))
    return and_(invoices.c.status == literal_column("'posted'"), open_since)


class SalesInvoice(DocumentHead, TenantModel, table="apm.sales_invoices"):
    """Receivable: invoice or credit note to a customer."""

    number: Mapped[DocumentNumber | None]
    kind: Mapped[Literal["invoice", "credit_note"]] = column(default="invoice")
    customer_id: Mapped[UUID] = reference("crm.customers")
    sales_order_id: Mapped[UUID | None] = outside("tenants/srm.sales-orders")
    original_invoice_id: Mapped[UUID | None] = reference("apm.sales_invoices")
    invoice_date: Mapped[date] = column(default=today)
    due_date: Mapped[date]
    amount_paid: Mapped[Money] = column(default=ZERO)
    amount_credited: Mapped[Money] = column(default=ZERO)
    amount_due: Mapped[Money] = column(default=ZERO)
    source_type: Mapped[str | None] = column(String(64))
    source_id: Mapped[UUID | None]
    journal_entry_id: Mapped[UUID | None] = reference("fim.journal_entries")
    posted_at: Mapped[datetime | None]
    notes: Mapped[Text | None]
    __table_args__ = (
        check("due_date >= invoice_date"),
        check("(kind = 'credit_note') = (original_invoice_id is not null)"),
    )


sales_invoices = Entity(
    SalesInvoice,
    kind="document",
    label="number",
    number=Number("SI", at="posted", gapless=True, date="invoice_date", other=("kind", "credit_note", "SCN")),
    nested=[Nested("lines", "apm.sales-invoice-lines")],
    unique=["number"],
    search=["number"],
    once=["kind", "customer_id", "sales_order_id", "original_invoice_id", "currency"],
    read_only=[
        *("number", *HEAD_READ_ONLY, "amount_paid"),
        *("amount_credited", "amount_due", "source_type", "source_id", "journal_entry_id", "posted_at"),
    ],
    auto=["due_date", "currency"],
    live=["due_date", "notes"],
    virtual=[Virtual("overdue", Boolean(), compute=overdue)],
    machine="draft* posted paid credited written_off : draft>posted; posted~>paid,credited; posted>written_off; "
    "paid~>posted",
    currency="currency",
    base_money=("base_total",),
    rollups=totals("apm.sales-invoice-lines"),
    computed=[
        TOTAL,
        BASE_TOTAL,
        Computed("amount_due", "total amount_paid amount_credited", lambda total, paid, cred: total - paid - cred),
    ],
    guards={"posted>written_off": "apm.sales-invoices.write-off"},
    permissions=["apm.sales-invoices.write-off"],
)


class SalesInvoiceLine(DocumentLine, TenantModel, table="apm.sales_invoice_lines"):
    """Invoiced item."""

    sales_invoice_id: Mapped[UUID] = reference("apm.sales_invoices", "cascade")
    sales_order_line_id: Mapped[UUID | None] = outside("tenants/srm.sales-order-lines")
    variant_id: Mapped[UUID | None] = reference("pim.product_variants")
    account_id: Mapped[UUID | None] = reference("fim.accounts")
    cost_center_id: Mapped[UUID | None] = reference("fim.cost_centers")
    __table_args__ = (check("variant_id is not null or account_id is not null or sales_order_line_id is not null"),)


sales_invoice_lines = Entity(
    SalesInvoiceLine,
    kind="line",
    parent=("apm.sales-invoices", "sales_invoice_id"),
    search=["description"],
    once=["sales_invoice_id", "sales_order_line_id"],
    read_only=LINE_READ_ONLY,
    auto=["unit_price"],
    computed=LINE_AMOUNTS,
)


class PurchaseInvoice(DocumentHead, TenantModel, table="apm.purchase_invoices"):
    """Payable: invoice of a supplier, matched against order and receipt."""

    number: Mapped[DocumentNumber | None]
    supplier_id: Mapped[UUID] = outside("tenants/psm.suppliers")
    supplier_invoice_no: Mapped[str] = column(String(64))
    purchase_order_id: Mapped[UUID | None] = outside("tenants/psm.purchase-orders")
    invoice_date: Mapped[date]
    due_date: Mapped[date]
    amount_paid: Mapped[Money] = column(default=ZERO)
    amount_due: Mapped[Money] = column(default=ZERO)
    match_state: Mapped[Literal["none", "matched", "exception", "overridden"]] = column(default="none")
    match_note: Mapped[str | None] = column(String(500))
    override_reason: Mapped[str | None] = column(String(255))
    journal_entry_id: Mapped[UUID | None] = reference("fim.journal_entries")
    posted_at: Mapped[datetime | None]
    __table_args__ = (check("due_date >= invoice_date"),)


purchase_invoices = Entity(
    PurchaseInvoice,
    kind="document",
    label="number",
    number=Number("PI", at="posted", gapless=True, date="invoice_date"),
    nested=[Nested("lines", "apm.purchase-invoice-lines")],
    unique=["number", Unique(("supplier_id", "supplier_invoice_no"))],
    search=["number", "supplier_invoice_no"],
    once=["supplier_id", "supplier_invoice_no", "purchase_order_id", "currency"],
    read_only=[
        *("number", *HEAD_READ_ONLY, "amount_paid"),
        *("amount_due", "match_state", "match_note", "journal_entry_id", "posted_at"),
    ],
    auto=["due_date", "currency"],
    live=["override_reason"],
    machine="draft* match_exception posted paid : draft>posted; draft~>match_exception; "
    "match_exception>draft,posted; posted~>paid; paid~>posted",
    currency="currency",
    base_money=("base_total",),
    rollups=totals("apm.purchase-invoice-lines"),
    computed=[
        TOTAL,
        BASE_TOTAL,
        Computed("amount_due", "total amount_paid", lambda total, paid: total - paid),
    ],
    guards={"match_exception>posted": "apm.purchase-invoices.override"},
    four_eyes={"match_exception>posted": "created_by"},
    needed=[Needed("override_reason", "match_exception>posted")],
    permissions=["apm.purchase-invoices.override"],
)


class PurchaseInvoiceLine(DocumentLine, TenantModel, table="apm.purchase_invoice_lines"):
    """Line of a supplier invoice."""

    purchase_invoice_id: Mapped[UUID] = reference("apm.purchase_invoices", "cascade")
    purchase_order_line_id: Mapped[UUID | None] = outside("tenants/psm.purchase-order-lines")
    account_id: Mapped[UUID | None] = reference("fim.accounts")
    asset_category_id: Mapped[UUID | None] = outside("tenants/fam.asset-categories")
    cost_center_id: Mapped[UUID | None] = reference("fim.cost_centers")
    match_state: Mapped[Literal["none", "matched", "qty_over", "price_off"]] = column(default="none")
    __table_args__ = (
        check("purchase_order_line_id is not null or account_id is not null or asset_category_id is not null"),
    )


purchase_invoice_lines = Entity(
    PurchaseInvoiceLine,
    kind="line",
    parent=("apm.purchase-invoices", "purchase_invoice_id"),
    search=["description"],
    once=["purchase_invoice_id", "purchase_order_line_id"],
    read_only=[*LINE_READ_ONLY, "match_state"],
    auto=["unit_price"],
    computed=LINE_AMOUNTS,
)


class Payment(TenantModel, table="apm.payments"):
    """Money in from a customer or out to a supplier."""

    number: Mapped[DocumentNumber | None]
    direction: Mapped[Literal["in", "out"]]
    customer_id: Mapped[UUID | None] = foreign("crm.customers")
    supplier_id: Mapped[UUID | None] = outside("tenants/psm.suppliers")
    account_id: Mapped[UUID] = foreign("fim.accounts")  # bank or cash
    payment_date: Mapped[date] = column(default=today)
    method: Mapped[Literal["bank_transfer", "card", "cash", "cheque", "direct_debit"]] = column(default="bank_transfer")
    currency: Mapped[Currency]
    exchange_rate: Mapped[Rate] = column(default=Decimal(1))
    amount: Mapped[Money] = column(above=0)
    base_amount: Mapped[Money] = column(default=ZERO)  # what approval rules are about
    unallocated: Mapped[Money] = column(default=ZERO)
    reference: Mapped[str | None] = column(String(64))
    reconciled_on: Mapped[date | None]
    statement_ref: Mapped[str | None] = column(String(64))
    journal_entry_id: Mapped[UUID | None] = foreign("fim.journal_entries")
    __table_args__ = (check("(customer_id is null) <> (supplier_id is null)"),)


payments = Entity(
    Payment,
    kind="document",
    label="number",
    number=Number("PMT", at="posted", gapless=True, date="payment_date"),
    nested=[Nested("allocations", "apm.payment-allocations", "c", via="payment_id")],
    unique=["number"],
    search=["number", "reference"],
    once=["direction", "customer_id", "supplier_id", "currency"],
    read_only=["number", "exchange_rate", "base_amount", "unallocated", "reconciled_on", "journal_entry_id"],
    auto=["currency"],
    live=["reference", "statement_ref"],
    machine="draft* pending_approval posted reconciled reversed : draft>posted; draft~>pending_approval; "
    "pending_approval~>posted; pending_approval>draft; posted>reconciled,reversed; reconciled>posted",
    currency="currency",
    base_money=("base_amount",),
    computed=[Computed("base_amount", "amount exchange_rate", lambda amount, rate: amount * rate)],
    stamps={"reconciled": {"reconciled_on": "today"}, "posted": {"reconciled_on": "null"}},
    approval=Approval(edge="draft>posted", document="payment", amount="base_amount"),
)


class PaymentAllocation(TenantModel, table="apm.payment_allocations"):
    """Part of a payment that settles an invoice."""

    payment_id: Mapped[UUID] = reference("apm.payments", "cascade")
    sales_invoice_id: Mapped[UUID | None] = reference("apm.sales_invoices")
    purchase_invoice_id: Mapped[UUID | None] = reference("apm.purchase_invoices")
    amount: Mapped[Money] = column(above=0)
    fx_difference: Mapped[Money] = column(default=ZERO)
    journal_entry_id: Mapped[UUID | None] = reference("fim.journal_entries")
    __table_args__ = (check("(sales_invoice_id is null) <> (purchase_invoice_id is null)"),)


payment_allocations = Entity(
    PaymentAllocation,
    kind="link",
    operations="cgld",
    unique=[Unique(("payment_id", "sales_invoice_id", "purchase_invoice_id"), nulls_equal=True)],
    once=["payment_id", "sales_invoice_id", "purchase_invoice_id", "amount"],
    read_only=["fx_difference", "journal_entry_id"],
)
