"""A platform invoice from its draft to the credit note, with the numbers of 2026."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests.calls import Body, World

INVOICES, LINES, PAYMENTS = "manager/bill/invoices", "manager/bill/invoice-lines", "manager/bill/transactions"
SHOWN = ("subtotal", "tax_total", "total", "amount_paid", "amount_credited", "amount_due", "status")


def shown(row: Body) -> list[Any]:
    """Totals and state."""
    return [row[name] for name in SHOWN]


def test_invoice_to_credit_note(world: World, freeze: Callable[[datetime | None], None]) -> None:
    """Draft with lines -> totals -> open with number -> locked -> paid -> credited -> refunded."""
    freeze(datetime(2026, 4, 1, 9, tzinfo=UTC))
    tenant = world.tenant(name="Acme", tax_pct="10")
    lines = [
        {"kind": "plan", "description": "Team", "unit_amount": "30.00"},
        {"kind": "seats", "description": "Further seats", "quantity": "2", "unit_amount": "5.00"},
        {"kind": "discount", "description": "Welcome", "unit_amount": "-8.00"},
    ]
    bill = {"tenant_id": tenant["id"], "currency": "USD"}
    invoice = world.admin.make(INVOICES, **bill, lines=lines)
    assert invoice["number"] is None
    assert shown(invoice) == ["32.0000", "3.2000", "35.2000", "0.0000", "0.0000", "35.2000", "draft"]

    world.admin.stays("409:invoice_empty", INVOICES, world.admin.make(INVOICES, **bill)["id"], "open")
    invoice = world.admin.move(INVOICES, invoice["id"], "open")
    assert [invoice[name] for name in ("number", "issue_date", "due_date")] == [
        *("INV-2026-00001", "2026-04-01", "2026-04-15")
    ]
    assert invoice["bill_to"] == {"name": "Acme"}
    row = world.admin.list(LINES, f"filter[invoice_id]={invoice['id']}")[0]
    world.admin.refused("409:document_locked", "PATCH", f"{LINES}/{row['id']}", {"quantity": "2"})
    world.admin.refused("409:not_draft", "DELETE", f"{INVOICES}/{invoice['id']}")

    given = {**bill, "invoice_id": invoice["id"], "method": "bank_transfer"}
    world.admin.refused("409:overpayment", "POST", PAYMENTS, {**given, "amount": "40.00"})
    paid = world.admin.make(PAYMENTS, **given, amount="35.20", idempotency_key="april")
    assert world.admin.send(200, "POST", PAYMENTS, {**given, "amount": "35.20", "idempotency_key": "april"}) == paid
    world.admin.move(PAYMENTS, paid["id"], "succeeded")
    assert shown(world.admin.get(INVOICES, invoice["id"]))[3:] == ["35.2000", "0.0000", "0.0000", "paid"]

    note = {**bill, "kind": "credit_note", "original_invoice_id": invoice["id"]}
    back = [{"kind": "one_off", "description": "Two seats back", "quantity": "2", "unit_amount": "5.00"}]
    credit = world.admin.move(INVOICES, world.admin.make(INVOICES, **note, lines=back)["id"], "open")
    assert (credit["number"], credit["total"]) == ("CN-2026-00001", "11.0000")
    assert shown(world.admin.get(INVOICES, invoice["id"]))[3:] == ["35.2000", "11.0000", "-11.0000", "paid"]
    too_much = world.admin.make(INVOICES, **note, lines=[{**back[0], "quantity": "5"}])
    world.admin.stays("409:credit_exceeds_invoice", INVOICES, too_much["id"], "open")

    refund = {**given, "kind": "refund", "parent_id": paid["id"]}
    world.admin.refused("409:refund_exceeds_payment", "POST", PAYMENTS, {**refund, "amount": "35.21"})
    row = world.admin.make(PAYMENTS, **refund, amount="11.00")
    world.admin.move(PAYMENTS, row["id"], "succeeded")
    assert shown(world.admin.get(INVOICES, invoice["id"]))[3:] == ["24.2000", "11.0000", "0.0000", "paid"]
    second = world.admin.move(INVOICES, world.admin.make(INVOICES, **bill, lines=back)["id"], "open")
    assert second["number"] == "INV-2026-00002"
