"""Behaviour of platform invoices and credit notes: totals, posting, crediting."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import and_, func, select

from engine.errors import ConflictError, ValidationError
from engine.hooks import Change, Moment, Point, Row, Rules, refuse
from registry.locks import lock_by_id
from registry.manager.bill import Invoice, InvoiceLine
from registry.manager.tnnt import Tenant

rules = Rules("manager/bill")

ZERO = Decimal(0)
CREDITABLE = ("open", "paid", "uncollectible")
PAYABLE = ("open", "uncollectible")


@rules.on("BILL-I1", "invoices", Point.BEFORE_CREATE, writes="tax_pct")
async def copy_tax(moment: Moment, changes: list[Change]) -> None:
    """tax_pct is copied from the tenant; the totals follow from it and the lines by their formulas."""
    tenants = await _tenants(moment, changes)
    for change in changes:
        tenant = tenants.get(change["tenant_id"])
        change.values["tax_pct"] = tenant["tax_pct"] if tenant else ZERO


async def _tenants(moment: Moment, changes: list[Change]) -> dict[UUID, Row]:
    keys = {change["tenant_id"] for change in changes}
    return {
        row["id"]: row for row in await moment.list("tnnt.tenants", Tenant.__table__.c.id.in_(keys), limit=len(keys))
    }


async def _lines(moment: Moment, invoices: Iterable[UUID]) -> dict[UUID, Row]:
    """For each draft invoice with lines the sums of its charges (> 0) and of its discounts."""
    heads, lines = Invoice.__table__, InvoiceLine.__table__
    charges = func.sum(lines.c.amount).filter(lines.c.amount > 0)
    discounts = func.sum(lines.c.amount).filter(lines.c.kind == "discount")
    rows = await moment.fetch(
        select(
            heads.c.id,
            func.coalesce(charges, 0).label("charges"),
            func.coalesce(discounts, 0).label("discounts"),
        )
        .join_from(heads, lines, and_(lines.c.invoice_id == heads.c.id, lines.c.is_active))
        .where(heads.c.id.in_(set(invoices)), heads.c.is_active, heads.c.status == "draft")
        .group_by(heads.c.id)
    )
    return {row["id"]: row for row in rows}


@rules.on(
    "BILL-L1", "invoice-lines", Point.BEFORE_CREATE, Point.BEFORE_UPDATE, raises="422:discount_too_high", reads="amount"
)
async def sign_discounts(moment: Moment, changes: list[Change]) -> None:
    """Discount lines are not positive."""
    for change in changes:
        if change["kind"] == "discount" and change["amount"] > 0:
            raise refuse(change, "unit_amount", "discount_too_high", "A discount line has a negative amount")


@rules.on("BILL-L1", "invoice-lines", Point.AFTER_CREATE, Point.AFTER_UPDATE, raises="422:discount_too_high")
async def limit_discounts(moment: Moment, changes: list[Change]) -> None:
    """The discounts of an invoice take no more than its positive lines together."""
    sums = await _lines(moment, (change["invoice_id"] for change in changes))
    over = {key for key, row in sums.items() if row["charges"] + row["discounts"] < 0}
    for change in changes:
        if change["invoice_id"] in over:
            raise refuse(change, "unit_amount", "discount_too_high", "The discounts exceed the positive lines together")


@rules.on("BILL-I2", "invoices", Point.BEFORE_STATUS, edges="draft>open", raises="409:invoice_empty 422:negative_total")
async def open_invoice(moment: Moment, changes: list[Change]) -> None:
    """At least one line and total >= 0; issue_date, due_date and bill_to are set."""
    filled = await _lines(moment, (change.key for change in changes))
    tenants = await _tenants(moment, changes)
    terms = timedelta(days=await moment.setting("bill.payment_terms_days"))
    for change in changes:
        if change.key not in filled:
            raise ConflictError("invoice_empty", "An invoice without lines cannot be opened")
        if change["total"] < 0:
            raise ValidationError(
                "negative_total", "An invoice with a negative total cannot be opened; make a credit note"
            )
        change.values["issue_date"] = moment.today
        change.values["due_date"] = change["due_date"] or moment.today + terms
        change.values["bill_to"] = _bill_to(tenants[change["tenant_id"]])


def _bill_to(tenant: Row) -> dict[str, Any]:
    """The tenant as it is named now; later changes leave the document alone."""
    shown = {name: tenant[name] for name in ("name", "legal_name", "tax_id")} | {"address": tenant["billing_address"]}
    return {name: value for name, value in shown.items() if value is not None}


@rules.on("BILL-I4", "invoices", Point.AFTER_STATUS, edges="draft>open", raises="409:credit_exceeds_invoice")
async def credit_originals(moment: Moment, changes: list[Change]) -> None:
    """A credit note takes at most what is left of its original's total, and may pay the original off."""
    notes = [change for change in changes if change["kind"] == "credit_note"]
    if not notes:
        return
    originals = await lock_by_id(moment, Invoice, {note["original_invoice_id"] for note in notes})
    credited: dict[UUID, Decimal] = {}
    for note in notes:
        original = originals[note["original_invoice_id"]]  # it refers to an active row, else it could not be stored
        so_far = credited.get(original["id"], original["amount_credited"])
        if not _may_credit(note, original) or note["total"] > original["total"] - so_far:
            raise ConflictError(
                "credit_exceeds_invoice", "The credit note exceeds what is left of its original invoice"
            )
        credited[original["id"]] = so_far + note["total"]
    rows = [{"id": key, "amount_credited": amount} for key, amount in credited.items()]
    await pay_off(moment, await moment.update("bill.invoices", rows))


def _may_credit(note: Change, original: Row) -> bool:
    """Whether the original is a posted invoice of the same tenant and currency."""
    alike = all(note[name] == original[name] for name in ("tenant_id", "currency"))
    return alike and original["kind"] == "invoice" and original["status"] in CREDITABLE


async def pay_off(moment: Moment, invoices: Iterable[Row]) -> None:
    """Move the invoices on which nothing is due any more to paid."""
    done = [row["id"] for row in invoices if row["status"] in PAYABLE and row["amount_due"] <= 0]
    if done:
        await moment.status("bill.invoices", done, "paid")


@rules.on("BILL-I2", "invoices", Point.AFTER_STATUS, edges="draft>open")
async def pay_empty_totals(moment: Moment, changes: list[Change]) -> None:
    """An invoice over nothing is paid as soon as it is open."""
    await pay_off(moment, [change.values for change in changes if change["total"] == 0])


@rules.on("BILL-I3", "invoices", Point.BEFORE_STATUS, edges="open>void", raises="409:invoice_has_payments")
async def void_untouched(moment: Moment, changes: list[Change]) -> None:
    """Only an invoice without payments and credits is voided; a credit note counts in its original already."""
    for change in changes:
        if change["amount_paid"] or change["amount_credited"] or change["kind"] == "credit_note":
            raise ConflictError(
                "invoice_has_payments", "Payments or credits count on this document; it cannot be voided"
            )
