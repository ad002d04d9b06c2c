"""Allocations of payments to invoices: whether one fits, and what it does to both once the payment is posted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from engine.errors import ConflictError, Fault, ValidationError
from engine.hooks import Change, Moment, Row
from registry.locks import lock_by_id
from registry.money import WIDE, to_places
from registry.tenants.apm import Payment
from registry.tenants.invoice_booking import settle
from registry.tenants.posting import Posting, Source, post_entry
from registry.tenants.rates import base_currency
from registry.tenants.subledgers import PURCHASES, SALES, Side

ZERO = Decimal(0)
# states of a payment whose allocations count on their invoices
COUNTING = ("posted", "reconciled")


def side_of(allocation: Any) -> Side:
    """The sub-ledger of the invoice that an allocation names."""
    return SALES if allocation["sales_invoice_id"] is not None else PURCHASES


def invoice_of(allocation: Any) -> Any:
    """The id of that invoice."""
    return allocation["sales_invoice_id"] or allocation["purchase_invoice_id"]


async def lock_invoices(moment: Moment, allocations: Collection[Any]) -> dict[UUID, Row]:
    """The invoices of both kinds that allocations name, held still."""
    sales = await lock_by_id(moment, SALES.model, {row["sales_invoice_id"] for row in allocations})
    return sales | await lock_by_id(moment, PURCHASES.model, {row["purchase_invoice_id"] for row in allocations})


def check_fit(allocation: Any, payment: Row, invoice: Row) -> None:
    """Party, currency, direction and state of an invoice let the payment settle it. 422 party_mismatch, 422
    currency_mismatch, 409 invoice_not_open."""
    side = side_of(allocation)
    if payment[side.party] is None or payment[side.party] != invoice[side.party]:
        raise _unfit(allocation, "party_mismatch", "The invoice is another party's than the payment")
    if payment["currency"] != invoice["currency"]:
        raise _unfit(allocation, "currency_mismatch", f"The payment is in {payment['currency']}, the invoice is not")
    wanted = "in" if side is SALES and invoice["kind"] == "invoice" else "out"
    if invoice["status"] not in ("posted", "paid") or payment["direction"] != wanted:
        raise ConflictError(
            "invoice_not_open", f"The payment settles what is open and paid {payment['direction']} only"
        )


def _unfit(allocation: Any, code: str, message: str) -> ValidationError:
    name = "sales_invoice_id" if side_of(allocation) is SALES else "purchase_invoice_id"
    fault = Fault(name, code, message)
    return ValidationError(
        code, message, details=[fault.under(allocation.path) if isinstance(allocation, Change) else fault]
    )


def take(left: dict[UUID, Decimal], key: UUID, amount: Decimal) -> None:
    """Take an amount of what is left of a payment or due on an invoice. 409 over_allocated."""
    left[key] -= amount
    if left[key] < 0:
        raise ConflictError("over_allocated", f"Only {left[key] + amount} are left to allocate")


async def shift(moment: Moment, allocations: Collection[Row], sign: int) -> dict[UUID, Row]:
    """The payments, held still, after their rest went up (sign 1) or down (-1) by the allocations."""
    payments = await lock_by_id(moment, Payment, {row["payment_id"] for row in allocations})
    left = {key: payment["unallocated"] for key, payment in payments.items()}
    for row in allocations:
        if row["payment_id"] in left:
            left[row["payment_id"]] += sign * row["amount"]
    if left:
        await moment.update("apm.payments", [{"id": key, "unallocated": rest} for key, rest in left.items()])
    return payments


async def count(moment: Moment, rows: Collection[Row], payments: Mapping[UUID, Row], on: date | None = None) -> None:
    """Allocations of posted payments settle their invoices; a difference of the rates is booked."""
    invoices = await lock_invoices(moment, rows)
    due = {key: row["amount_due"] for key, row in invoices.items()}
    booked: list[dict[str, Any]] = []
    for row in rows:
        payment, invoice = payments[row["payment_id"]], invoices[invoice_of(row)]
        check_fit(row, payment, invoice)
        take(due, invoice["id"], row["amount"])
        if gap := await _fx_difference(moment, row["amount"], payment, invoice):
            entry = await _book_fx(moment, row, payment, (gap, on or moment.today))
            booked.append({"id": row["id"], "fx_difference": gap, "journal_entry_id": entry})
    if booked:
        await moment.update("apm.payment-allocations", booked)
    await pay(moment, rows, invoices, 1)


async def _fx_difference(moment: Moment, amount: Decimal, payment: Row, invoice: Row) -> Decimal:
    """round(amount x payment rate) - round(amount x invoice rate), in base currency."""
    places = await moment.places(await base_currency(moment))
    then, now = (to_places(WIDE.multiply(amount, row["exchange_rate"]), places) for row in (invoice, payment))
    return now - then


async def _book_fx(moment: Moment, allocation: Row, payment: Row, gap: tuple[Decimal, date]) -> UUID:
    """More came in than was invoiced: a gain; more went out: a loss."""
    side = side_of(allocation)
    amount = gap[0] if payment["direction"] == "in" else -gap[0]
    lines = [
        Posting(side.role, None, amount, ZERO, **{side.party: payment[side.party]}),
        Posting("fx_gain_loss", None, ZERO, amount),
    ]
    source = Source("apm.payment-allocations", allocation["id"], "posted", gap[1], "fx", payment["number"])
    return await post_entry(moment, source, lines)


async def pay(moment: Moment, rows: Iterable[Row], invoices: Mapping[UUID, Row], sign: int) -> None:
    """amount_paid of the invoices goes up (sign 1) or down (-1), and their state follows."""
    for side in (SALES, PURCHASES):
        paid = {row["id"]: row["amount_paid"] for row in invoices.values() if side.party in row}
        for row in rows:
            if side_of(row) is side:
                paid[invoice_of(row)] += sign * row["amount"]
        if paid:
            changed = [{"id": key, "amount_paid": amount} for key, amount in paid.items()]
            await settle(moment, side.invoices, await moment.update(side.invoices, changed))
