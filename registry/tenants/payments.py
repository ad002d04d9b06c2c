"""Behaviour of payments and of their allocations to invoices."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from engine.errors import ConflictError, generic
from engine.hooks import Change, Moment, Point, Row, Rules, refuse
from registry.locks import lock_by_id, lock_rows
from registry.money import to_places
from registry.tenants.allocations import COUNTING, check_fit, count, invoice_of, lock_invoices, pay, shift, take
from registry.tenants.apm import Payment, PaymentAllocation
from registry.tenants.invoice_booking import BOOKING
from registry.tenants.invoicing import NO_RATE
from registry.tenants.posting import Posting, Source, post_entry, reverse_entry
from registry.tenants.rates import fill_currencies
from registry.tenants.rates import take_rates as take_rates_on
from registry.tenants.subledgers import NOTHING, PURCHASES, SALES, rows_of

rules = Rules("tenants/apm")

ZERO = Decimal(0)
POSTING = "draft>posted"  # and pending_approval>posted, which the engine adds


@rules.on("G21", "payments", Point.BEFORE_CREATE, writes="currency")
async def choose_currency(moment: Moment, changes: list[Change]) -> None:
    """An omitted currency is the party's, else the base currency."""
    parties: dict[Any, Row] = {}
    for side in (SALES, PURCHASES):
        named = [change[side.party] for change in changes if change["currency"] is None]
        parties |= await rows_of(moment, side.parties, named)
    named = [change["customer_id"] or change["supplier_id"] for change in changes]
    await fill_currencies(moment, changes, [parties.get(key, NOTHING) for key in named])


@rules.on("G12", "payments", Point.BEFORE_CREATE, reads="currency", writes="exchange_rate", raises=NO_RATE)
@rules.on("G12", "payments", Point.BEFORE_UPDATE, watches="payment_date", writes="exchange_rate", raises=NO_RATE)
async def take_rates(moment: Moment, changes: list[Change]) -> None:
    """The exchange rate of the payment date."""
    await take_rates_on(moment, changes, "payment_date")


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
        await count(moment, own, payments, payment["payment_date"])


@rules.on("APM-M3", "payments", Point.BEFORE_STATUS, edges="posted>reversed", raises="409:period_closed")
async def reverse_payments(moment: Moment, changes: list[Change]) -> None:
    """Allocations are removed and the journal is reversed today."""
    keys = {change.key for change in changes}
    allocations = await moment.list("apm.payment-allocations", PaymentAllocation.__table__.c.payment_id.in_(keys))
    await moment.delete("apm.payment-allocations", [row["id"] for row in allocations])
    for change in changes:
        await reverse_entry(moment, change["journal_entry_id"], moment.today, "reversed")


@rules.on(
    *("APM-A1", "payment-allocations", Point.BEFORE_CREATE),
    raises="422:party_mismatch 422:currency_mismatch 409:over_allocated 409:invoice_not_open 409:document_locked",
)
async def check_allocations(moment: Moment, changes: list[Change]) -> None:
    """An allocation fits its payment and invoice, and takes no more than is left of either."""
    payments = await lock_by_id(moment, Payment, {change["payment_id"] for change in changes})
    invoices = await lock_invoices(moment, changes)
    left = {key: row["unallocated"] for key, row in payments.items()}
    due = {key: row["amount_due"] for key, row in invoices.items()}
    for change in changes:
        payment, invoice = payments.get(change["payment_id"]), invoices.get(invoice_of(change))
        if payment is None or invoice is None:
            continue  # refused by the reference itself
        if payment["status"] not in ("draft", *COUNTING):
            raise generic("document_locked")
        change.values["amount"] = to_places(change["amount"], await moment.places(payment["currency"]))
        check_fit(change, payment, invoice)
        take(left, payment["id"], change["amount"])
        take(due, invoice["id"], change["amount"])


@rules.on("APM-A2", "payment-allocations", Point.AFTER_CREATE, raises=BOOKING)
async def count_allocations(moment: Moment, changes: list[Change]) -> None:
    """The payment's rest follows; where it is posted, the invoices do as well."""
    rows = [change.values for change in changes]
    payments = await shift(moment, rows, -1)
    await count(moment, [row for row in rows if payments[row["payment_id"]]["status"] in COUNTING], payments)


@rules.on(
    *("APM-A2", "payment-allocations", Point.AFTER_DELETE),
    raises="409:period_closed 409:document_locked",
)
async def undo_allocations(moment: Moment, changes: list[Change]) -> None:
    """What an allocation did is undone."""
    rows = [change.values for change in changes]
    payments = await shift(moment, rows, 1)
    counted = [row for row in rows if payments.get(row["payment_id"], NOTHING).get("status") in COUNTING]
    for change in changes:
        state = payments.get(change["payment_id"], NOTHING).get("status", "draft")
        if state not in ("draft", *COUNTING) and not change.by_engine:
            raise generic("document_locked")
    for row in counted:
        if row["journal_entry_id"] is not None:
            await reverse_entry(moment, row["journal_entry_id"], moment.today, "undone")
    await pay(moment, counted, await lock_invoices(moment, counted), -1)
