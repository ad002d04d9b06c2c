"""Behaviour of payments and of their allocations to invoices."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from engine.errors import ConflictError, Fault, ValidationError, generic
from engine.hooks import Change, Moment, Point, Row, Rules, refuse
from registry.locks import lock_by_id, lock_rows
from registry.money import WIDE, to_places
from registry.tenants.apm import Payment, PaymentAllocation
from registry.tenants.invoicing import BOOKING, NO_RATE, NOTHING, ZERO, settle, take_rates_of
from registry.tenants.posting import Posting, Source, post_entry, reverse_entry
from registry.tenants.rates import base_currency
from registry.tenants.subledgers import PURCHASES, SALES, Side, rows_of

rules = Rules("tenants/apm")

POSTING = "draft>posted"  # and pending_approval>posted, which the engine adds
COUNTING = ("posted", "reconciled")
Invoices = Mapping[UUID, Row]


@rules.on("G21", "payments", Point.BEFORE_CREATE, writes="currency")
async def choose_currency(moment: Moment, changes: list[Change]) -> None:
    """An omitted currency is the party's, else the base currency."""
    silent = [change for change in changes if change["currency"] is None]
    for side in (SALES, PURCHASES):
        parties = await rows_of(moment, side.parties, [change[side.party] for change in silent])
        for change in silent:
            if change["currency"] is None and change[side.party] in parties:
                change.values["currency"] = parties[change[side.party]]["currency"]
    left = [change for change in silent if change["currency"] is None]
    base = await base_currency(moment) if left else ""
    for change in left:
        change.values["currency"] = base


@rules.on("G12", "payments", Point.BEFORE_CREATE, reads="currency", writes="exchange_rate", raises=NO_RATE)
@rules.on("G12", "payments", Point.BEFORE_UPDATE, watches="payment_date", writes="exchange_rate", raises=NO_RATE)
async def take_rates(moment: Moment, changes: list[Change]) -> None:
    """The exchange rate of the payment date."""
    await take_rates_of(moment, changes, "payment_date")


@rules.on("APM-M2", "payments", Point.BEFORE_CREATE, reads="amount", writes="unallocated")
@rules.on(
    *("APM-M2", "payments", Point.BEFORE_UPDATE),
    watches="amount",
    reads="amount",
    writes="unallocated",
    raises="409:over_allocated",
)
async def leave_unallocated(moment: Moment, changes: list[Change]) -> None:
    """unallocated = amount - allocations."""
    for change in (change for change in changes if change.changes("amount")):
        allocated = change.old["amount"] - change.old["unallocated"] if change.old is not None else ZERO
        change.values["unallocated"] = change["amount"] - allocated
        if change["unallocated"] < 0:
            raise ConflictError("over_allocated", f"{allocated} of the payment are allocated already")


@rules.on(
    *("APM-M1", "payments", Point.BEFORE_STATUS),
    edges=POSTING,
    raises="422:account_not_postable 409:supplier_bank_unverified",
)
async def check_account(moment: Moment, changes: list[Change]) -> None:
    """Money moves on an asset account that takes postings; a transfer goes to a verified bank account only."""
    accounts = await rows_of(moment, "fim.accounts", [change["account_id"] for change in changes])
    suppliers = await rows_of(moment, PURCHASES.parties, [change["supplier_id"] for change in changes])
    for change in changes:
        account, supplier = accounts[change["account_id"]], suppliers.get(change["supplier_id"])
        if account["type"] != "asset" or account["is_group"]:
            raise refuse(change, "account_id", "account_not_postable", "A payment needs an asset account, not a group")
        if supplier is None or change["direction"] == "in" or change["method"] != "bank_transfer":
            continue
        if supplier["status"] != "approved" or not supplier["bank_verified"]:
            raise ConflictError("supplier_bank_unverified", "The supplier or his bank account is not approved yet")


@rules.on(
    *("APM-M2", "payments", Point.AFTER_STATUS),
    edges=POSTING,
    raises=f"{BOOKING} 409:over_allocated 409:invoice_not_open",
)
async def book_payments(moment: Moment, changes: list[Change]) -> None:
    """In: Dr account Cr ar (from a supplier: ap); out: Dr ap (to a customer: ar) Cr account. Allocations count now."""
    rows: list[dict[str, Any]] = []
    for change in changes:
        side = SALES if change["customer_id"] is not None else PURCHASES
        amount = change["amount"] if change["direction"] == "in" else -change["amount"]
        lines = [
            Posting(None, change["account_id"], amount, ZERO),
            Posting(side.role, None, ZERO, amount, **{side.party: change[side.party]}),
        ]
        what = ("apm.payments", change.key, "posted", change["payment_date"], "payment", change["number"])
        entry = await post_entry(moment, Source(*what, rate=change["exchange_rate"]), lines)
        rows.append({"id": change.key, "journal_entry_id": entry})
    payments = {row["id"]: row for row in await moment.update("apm.payments", rows)}
    waiting = await lock_rows(moment, PaymentAllocation, PaymentAllocation.__table__.c.payment_id.in_(payments))
    for key, payment in payments.items():
        own = [row for row in waiting if row["payment_id"] == key]
        await _count(moment, own, payments, payment["payment_date"])


@rules.on("APM-M3", "payments", Point.BEFORE_STATUS, edges="posted>reversed", raises="409:period_closed")
async def reverse_payments(moment: Moment, changes: list[Change]) -> None:
    """Allocations are removed and the journal is reversed today."""
    keys = {change.key for change in changes}
    allocations = await moment.list("apm.payment-allocations", PaymentAllocation.__table__.c.payment_id.in_(keys))
    await moment.delete("apm.payment-allocations", [row["id"] for row in allocations])
    for change in changes:
        await reverse_entry(moment, change["journal_entry_id"], moment.today, "reversed")


def _side(allocation: Any) -> Side:
    return SALES if allocation["sales_invoice_id"] is not None else PURCHASES


def _named(allocation: Any) -> Any:
    """The invoice of an allocation."""
    return allocation["sales_invoice_id"] or allocation["purchase_invoice_id"]


async def _invoices(moment: Moment, allocations: Collection[Any]) -> dict[UUID, Row]:
    """The invoices of both kinds that allocations name, held still."""
    sales = await lock_by_id(moment, SALES.model, {row["sales_invoice_id"] for row in allocations})
    return sales | await lock_by_id(moment, PURCHASES.model, {row["purchase_invoice_id"] for row in allocations})


def _check_fit(allocation: Any, payment: Row, invoice: Row) -> None:
    """Party, currency, direction and state of an invoice let the payment settle it."""
    side = _side(allocation)
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
    name = "sales_invoice_id" if _side(allocation) is SALES else "purchase_invoice_id"
    fault = Fault(name, code, message)
    return ValidationError(
        code, message, details=[fault.under(allocation.path) if isinstance(allocation, Change) else fault]
    )


def _take(left: dict[UUID, Decimal], key: UUID, amount: Decimal) -> None:
    """Take an amount of what is left of a payment or due on an invoice."""
    left[key] -= amount
    if left[key] < 0:
        raise ConflictError("over_allocated", f"Only {left[key] + amount} are left to allocate")


@rules.on(
    *("APM-A1", "payment-allocations", Point.BEFORE_CREATE),
    raises="422:party_mismatch 422:currency_mismatch 409:over_allocated 409:invoice_not_open 409:document_locked",
)
async def check_allocations(moment: Moment, changes: list[Change]) -> None:
    """An allocation fits its payment and invoice, and takes no more than is left of either."""
    payments = await lock_by_id(moment, Payment, {change["payment_id"] for change in changes})
    invoices = await _invoices(moment, changes)
    left = {key: row["unallocated"] for key, row in payments.items()}
    due = {key: row["amount_due"] for key, row in invoices.items()}
    for change in changes:
        payment, invoice = payments.get(change["payment_id"]), invoices.get(_named(change))
        if payment is None or invoice is None:
            continue  # refused by the reference itself
        if payment["status"] not in ("draft", *COUNTING):
            raise generic("document_locked")
        change.values["amount"] = to_places(change["amount"], await moment.places(payment["currency"]))
        _check_fit(change, payment, invoice)
        _take(left, payment["id"], change["amount"])
        _take(due, invoice["id"], change["amount"])


@rules.on("APM-A2", "payment-allocations", Point.AFTER_CREATE, raises=BOOKING)
async def count_allocations(moment: Moment, changes: list[Change]) -> None:
    """The payment's rest follows; where it is posted, the invoices do as well."""
    rows = [change.values for change in changes]
    payments = await _shift(moment, rows, -1)
    await _count(moment, [row for row in rows if payments[row["payment_id"]]["status"] in COUNTING], payments)


async def _shift(moment: Moment, allocations: Iterable[Row], sign: int) -> dict[UUID, Row]:
    """The payments after their rest went up (sign 1) or down (-1) by the allocations."""
    rows = list(allocations)
    payments = await lock_by_id(moment, Payment, {row["payment_id"] for row in rows})
    left = {key: payment["unallocated"] for key, payment in payments.items()}
    for row in rows:
        if row["payment_id"] in left:
            left[row["payment_id"]] += sign * row["amount"]
    if left:
        await moment.update("apm.payments", [{"id": key, "unallocated": rest} for key, rest in left.items()])
    return payments


async def _count(moment: Moment, rows: list[Row], payments: Mapping[UUID, Row], on: date | None = None) -> None:
    """Allocations of posted payments settle their invoices; a difference of the rates is booked."""
    invoices = await _invoices(moment, rows)
    due = {key: row["amount_due"] for key, row in invoices.items()}
    booked: list[dict[str, Any]] = []
    for row in rows:
        payment, invoice = payments[row["payment_id"]], invoices[_named(row)]
        _check_fit(row, payment, invoice)
        _take(due, invoice["id"], row["amount"])
        if gap := await _fx_difference(moment, row["amount"], payment, invoice):
            entry = await _book_fx(moment, row, payment, (gap, on or moment.today))
            booked.append({"id": row["id"], "fx_difference": gap, "journal_entry_id": entry})
    if booked:
        await moment.update("apm.payment-allocations", booked)
    await _pay(moment, rows, invoices, 1)


async def _fx_difference(moment: Moment, amount: Decimal, payment: Row, invoice: Row) -> Decimal:
    """round(amount x payment rate) - round(amount x invoice rate), in base currency."""
    places = await moment.places(await base_currency(moment))
    then, now = (to_places(WIDE.multiply(amount, row["exchange_rate"]), places) for row in (invoice, payment))
    return now - then


async def _book_fx(moment: Moment, allocation: Row, payment: Row, gap: tuple[Decimal, date]) -> UUID:
    """More came in than was invoiced: a gain; more went out: a loss."""
    side = _side(allocation)
    amount = gap[0] if payment["direction"] == "in" else -gap[0]
    lines = [
        Posting(side.role, None, amount, ZERO, **{side.party: payment[side.party]}),
        Posting("fx_gain_loss", None, ZERO, amount),
    ]
    source = Source("apm.payment-allocations", allocation["id"], "posted", gap[1], "fx", payment["number"])
    return await post_entry(moment, source, lines)


async def _pay(moment: Moment, rows: Iterable[Row], invoices: Invoices, sign: int) -> None:
    """amount_paid of the invoices follows, and their state."""
    for side in (SALES, PURCHASES):
        paid = {row["id"]: row["amount_paid"] for row in invoices.values() if side.party in row}
        for row in rows:
            if _side(row) is side:
                paid[_named(row)] += sign * row["amount"]
        if paid:
            changed = [{"id": key, "amount_paid": amount} for key, amount in paid.items()]
            await settle(moment, side.invoices, await moment.update(side.invoices, changed))


@rules.on(
    *("APM-A2", "payment-allocations", Point.AFTER_DELETE),
    raises="409:period_closed 409:document_locked",
)
async def undo_allocations(moment: Moment, changes: list[Change]) -> None:
    """What an allocation did is undone."""
    rows = [change.values for change in changes]
    payments = await _shift(moment, rows, 1)
    counted = [row for row in rows if payments.get(row["payment_id"], NOTHING).get("status") in COUNTING]
    for change in changes:
        state = payments.get(change["payment_id"], NOTHING).get("status", "draft")
        if state not in ("draft", *COUNTING) and not change.by_engine:
            raise generic("document_locked")
    for row in counted:
        if row["journal_entry_id"] is not None:
            await reverse_entry(moment, row["journal_entry_id"], moment.today, "undone")
    await _pay(moment, counted, await _invoices(moment, counted), -1)
