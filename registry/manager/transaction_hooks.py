"""Behaviour of payments, refunds and chargebacks: what may be taken, and what it does to invoice and subscription."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, tuple_

from engine.errors import ConflictError
from engine.hooks import Change, Moment, Point, Row, Rules, refuse
from registry.locks import lock_by_id
from registry.manager.bill import Invoice, Subscription, Transaction
from registry.manager.bill_hooks import PAYABLE, pay_off
from registry.manager.tenant_billing import restore_tenants

rules = Rules("manager/bill")


@rules.on("BILL-T2", "transactions", Point.BEFORE_CREATE)
async def answer_known_keys(moment: Moment, changes: list[Change]) -> None:
    """A known idempotency_key of the tenant answers the first row again. The invoices are locked first, so that of two
    requests at once the second finds what the first stored."""
    await lock_by_id(moment, Invoice, {change["invoice_id"] for change in changes})
    columns = Transaction.__table__.c
    keys = {_idempotency(change) for change in changes if change["idempotency_key"] is not None}
    known = tuple_(columns.tenant_id, columns.idempotency_key).in_(keys)
    stored = {_idempotency(row): row for row in await moment.list("bill.transactions", known)} if keys else {}
    for change in changes:
        if row := stored.get(_idempotency(change)):
            change.found = row


def _idempotency(row: Row | Change) -> tuple[UUID, str]:
    return row["tenant_id"], row["idempotency_key"]


@rules.on(
    "BILL-T1",
    "transactions",
    Point.BEFORE_CREATE,
    raises="422:invalid_reference 422:currency_mismatch 409:overpayment 409:refund_exceeds_payment",
)
async def fit_invoices(moment: Moment, changes: list[Change]) -> None:
    """A transaction has tenant and currency of its invoice; a payment takes no more than what is due, a refund no more
    than what is left of its payment. What names no row is left to the check of references."""
    invoices = await lock_by_id(moment, Invoice, {change["invoice_id"] for change in changes})
    payments = await lock_by_id(moment, Transaction, {change["parent_id"] for change in changes})
    for change in changes:
        if invoice := invoices.get(change["invoice_id"]):
            _fit(change, invoice, payments.get(change["parent_id"]))
    _limit_payments([change for change in changes if change["kind"] == "payment"], invoices)
    backward = [change for change in changes if change["kind"] != "payment" and change["invoice_id"] in invoices]
    _limit_refunds(backward, payments, await _refunded(moment, set(payments)))


def _fit(change: Change, invoice: Row, payment: Row | None) -> None:
    if change["tenant_id"] != invoice["tenant_id"]:
        raise refuse(change, "invoice_id", "invalid_reference", "The invoice is another tenant's")
    if change["currency"] != invoice["currency"]:
        raise refuse(change, "currency", "currency_mismatch", f"The invoice is in {invoice['currency']}")
    if payment is not None and payment["invoice_id"] != invoice["id"]:
        raise refuse(change, "parent_id", "invalid_reference", "The payment belongs to another invoice")


def _limit_payments(payments: list[Change], invoices: dict[UUID, Row]) -> None:
    """409 when payments take more than what is due on an open or uncollectible invoice."""
    for key, amount in _sums(payments, "invoice_id").items():
        invoice = invoices.get(key)
        if invoice is not None and (invoice["status"] not in PAYABLE or amount > invoice["amount_due"]):
            raise ConflictError("overpayment", "The payment is more than what is due on the invoice")


def _limit_refunds(backward: list[Change], payments: dict[UUID, Row], refunded: dict[UUID, Decimal]) -> None:
    """409 when refunds and chargebacks take more than what is left of a payment that succeeded."""
    for key, amount in _sums(backward, "parent_id").items():
        payment = payments.get(key)
        if payment is not None and amount > _brought(payment) - refunded.get(key, Decimal(0)):
            raise ConflictError("refund_exceeds_payment", "The refund is more than what is left of the payment")


def _brought(payment: Row) -> Decimal:
    amount: Decimal = payment["amount"]
    return amount if payment["kind"] == "payment" and payment["status"] == "succeeded" else Decimal(0)


def _sums(changes: Iterable[Change], name: str) -> dict[Any, Decimal]:
    """The amounts added up by a column."""
    sums: dict[Any, Decimal] = defaultdict(Decimal)
    for change in changes:
        sums[change[name]] += change["amount"]
    return sums


async def _refunded(moment: Moment, payments: set[UUID]) -> dict[UUID, Decimal]:
    """What refunds and chargebacks take of each payment; pending ones count, failed ones do not."""
    columns = Transaction.__table__.c
    taken = columns.parent_id.in_(payments) & columns.is_active & (columns.status != "failed")
    statement = select(columns.parent_id, func.sum(columns.amount).label("amount")).where(taken)
    rows = await moment.fetch(statement.group_by(columns.parent_id)) if payments else []
    return {row["parent_id"]: row["amount"] for row in rows}


@rules.on("BILL-T3", "transactions", Point.BEFORE_STATUS, edges="pending>succeeded", raises="409:overpayment")
async def take_once(moment: Moment, changes: list[Change]) -> None:
    """What became due while a payment was pending counts, not what was due when it began."""
    payments = [change for change in changes if change["kind"] == "payment"]
    _limit_payments(payments, await lock_by_id(moment, Invoice, {change["invoice_id"] for change in payments}))


@rules.on("BILL-T4", "transactions", Point.BEFORE_STATUS, edges="pending>failed")
async def note_failure(moment: Moment, changes: list[Change]) -> None:
    """The reason given for a failure is its code (64 characters)."""
    for change in changes:
        change.values["failure_code"] = (change.reason or "")[:64] or None


@rules.on("BILL-T3", "transactions", Point.AFTER_STATUS, edges="pending>succeeded")
async def settle_invoices(moment: Moment, changes: list[Change]) -> None:
    """amount_paid moves; an invoice with nothing due is paid and may bring its subscription back."""
    invoices = await lock_by_id(moment, Invoice, {change["invoice_id"] for change in changes})
    paid = _sums((change for change in changes if change["kind"] == "payment"), "invoice_id")
    refunded = _sums((change for change in changes if change["kind"] != "payment"), "invoice_id")
    rows = [{"id": key, "amount_paid": row["amount_paid"] + paid[key] - refunded[key]} for key, row in invoices.items()]
    stored = await moment.update("bill.invoices", rows)
    await pay_off(moment, stored)
    await _revive(moment, {row["subscription_id"] for row in stored if row["amount_due"] <= 0} - {None})


async def _revive(moment: Moment, keys: set[UUID]) -> None:
    """Subscriptions on which nothing is past due are active again, and so are the tenants of those that are."""
    late = await _late(moment, keys)
    subscriptions = Subscription.__table__.c
    rows = await moment.list("bill.subscriptions", subscriptions.id.in_(keys - late)) if keys - late else []
    await restore_tenants(moment, {row["tenant_id"] for row in rows if row["status"] == "active"})
    stopped = [row["id"] for row in rows if row["status"] in ("past_due", "suspended")]
    await moment.status("bill.subscriptions", stopped, "active", "paid")


async def _late(moment: Moment, keys: set[UUID]) -> set[UUID]:
    """Those of the subscriptions that have an open invoice past its due date."""
    heads = Invoice.__table__.c
    own = heads.subscription_id.in_(keys) & heads.is_active & (heads.kind == "invoice")
    past_due = (heads.due_date < moment.today) & (heads.status == "open") & (heads.amount_due > 0)
    rows = await moment.fetch(select(heads.subscription_id).where(own, past_due).distinct())
    return {row["subscription_id"] for row in rows}


@rules.on("BILL-T4", "transactions", Point.AFTER_STATUS, edges="pending>failed")
async def fall_behind(moment: Moment, changes: list[Change]) -> None:
    """A failed payment of an invoice past due makes its active subscription past_due."""
    invoices = await lock_by_id(moment, Invoice, {change["invoice_id"] for change in changes})
    late = {row["subscription_id"] for row in invoices.values() if row["due_date"] < moment.today} - {None}
    columns = Subscription.__table__.c
    rows = await moment.list("bill.subscriptions", columns.id.in_(late), columns.status == "active") if late else []
    await moment.status("bill.subscriptions", [row["id"] for row in rows], "past_due", "a payment failed")
