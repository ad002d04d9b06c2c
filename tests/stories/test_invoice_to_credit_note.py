"""A platform invoice from its draft to the credit note, with the numbers of 2026."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests.calls import Body, World

INVOICES, LINES, PAYMENTS = "manager/bill/invoices", "manager/bill/invoice-lines", "manager/bill/transactions"
SEATS_BACK = {"kind": "one_off", "description": "Two seats back", "quantity": "2", "unit_amount": "5.00"}
SHOWN = ("subtotal", "tax_total", "total", "amount_paid", "amount_credited", "amount_due", "status")


def shown(row: Body) -> list[Any]:
    """Totals and state."""
    return [row[name] for name in SHOWN]


def test_invoice_to_credit_note(world: World, freeze: Callable[[datetime | None], None]) -> None:
    """Draft with lines -> totals -> open with number -> locked -> paid -> credited -> refunded."""
    freeze(datetime(2026, 4, 1, 9, tzinfo=UTC))
    bill = {"tenant_id": world.tenant(name="Acme", tax_pct="10")["id"], "currency": "USD"}
    invoice = open_invoice(world, bill)
    lock(world, invoice)
    payment = pay(world, invoice, {**bill, "invoice_id": invoice["id"], "method": "bank_transfer"})
    credit(world, invoice, {**bill, "kind": "credit_note", "original_invoice_id": invoice["id"]})
    refund(world, invoice, {**bill, "invoice_id": invoice["id"], "method": "bank_transfer", "parent_id": payment["id"]})
    second = world.admin.move(INVOICES, world.admin.make(INVOICES, **bill, lines=[SEATS_BACK])["id"], "open")
    assert second["number"] == "INV-2026-00002"


def open_invoice(world: World, bill: Body) -> Body:
    """32.00 + 10 % = 35.20; a failed opening takes no number."""
    lines = [
        {"kind": "plan", "description": "Team", "unit_amount": "30.00"},
        {"kind": "seats", "description": "Further seats", "quantity": "2", "unit_amount": "5.00"},
        {"kind": "discount", "description": "Welcome", "unit_amount": "-8.00"},
    ]
    draft = world.admin.make(INVOICES, **bill, lines=lines)
    assert draft["number"] is None
    assert shown(draft) == ["32.0000", "3.2000", "35.2000", "0.0000", "0.0000", "35.2000", "draft"]
    world.admin.stays("409:invoice_empty", INVOICES, world.admin.make(INVOICES, **bill)["id"], "open")
    invoice = world.admin.move(INVOICES, draft["id"], "open")
    assert (invoice["number"], invoice["bill_to"]) == ("INV-2026-00001", {"name": "Acme"})
    assert (invoice["issue_date"], invoice["due_date"]) == ("2026-04-01", "2026-04-15")
    return invoice


def lock(world: World, invoice: Body) -> None:
    """An open invoice keeps its lines, and is not deleted."""
    row = world.admin.list(LINES, f"filter[invoice_id]={invoice['id']}")[0]
    world.admin.expect_refusal("409:document_locked", "PATCH", f"{LINES}/{row['id']}", {"quantity": "2"})
    world.admin.expect_refusal("409:not_draft", "DELETE", f"{INVOICES}/{invoice['id']}")


def pay(world: World, invoice: Body, given: Body) -> Body:
    """40.00 are too much; 35.20 with the same key twice are one row."""
    world.admin.expect_refusal("409:overpayment", "POST", PAYMENTS, {**given, "amount": "40.00"})
    body = {**given, "amount": "35.20", "idempotency_key": "april"}
    row = world.admin.make(PAYMENTS, **body)
    assert world.admin.send(200, "POST", PAYMENTS, body) == row
    world.admin.move(PAYMENTS, row["id"], "succeeded")
    assert shown(world.admin.get(INVOICES, invoice["id"]))[3:] == ["35.2000", "0.0000", "0.0000", "paid"]
    return row


def credit(world: World, invoice: Body, note: Body) -> None:
    """Two seats are credited with their tax: 11.00; more than is left is not."""
    row = world.admin.move(INVOICES, world.admin.make(INVOICES, **note, lines=[SEATS_BACK])["id"], "open")
    assert (row["number"], row["total"]) == ("CN-2026-00001", "11.0000")
    assert shown(world.admin.get(INVOICES, invoice["id"]))[3:] == ["35.2000", "11.0000", "-11.0000", "paid"]
    too_much = world.admin.make(INVOICES, **note, lines=[{**SEATS_BACK, "quantity": "5"}])
    world.admin.stays("409:credit_exceeds_invoice", INVOICES, too_much["id"], "open")


def refund(world: World, invoice: Body, given: Body) -> None:
    """What was credited is given back by hand, and nothing is left."""
    body = {**given, "kind": "refund"}
    world.admin.expect_refusal("409:refund_exceeds_payment", "POST", PAYMENTS, {**body, "amount": "35.21"})
    world.admin.move(PAYMENTS, world.admin.make(PAYMENTS, **body, amount="11.00")["id"], "succeeded")
    assert shown(world.admin.get(INVOICES, invoice["id"]))[3:] == ["24.2000", "11.0000", "0.0000", "paid"]
