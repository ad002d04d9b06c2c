"""Story S1, the invoices and their money: what the ledger holds when the customer has paid the first of two."""

from __future__ import annotations

from tests.books import ENTRIES, books, june
from tests.calls import Body
from tests.receivables import CUSTOMERS, SALES, SALES_LINES, Desk, desk, shown

__all__ = ["books", "desk", "june"]
AMOUNTS = ("subtotal", "tax_total", "total")


def test_lead_to_cash(desk: Desk) -> None:
    """Invoice 1 -> locked -> two payments -> invoice 2 without a gap -> ledger."""
    first = first_invoice(desk)
    lock(desk, first)
    pay(desk, first)
    second = second_invoice(desk)
    assert shown(desk.caller.get(CUSTOMERS, desk.customer["id"]), "open_balance") == ["261.25"]
    assert [row["number"] for row in (first, second)] == ["SI-2026-00001", "SI-2026-00002"]
    ledger(desk)


def first_invoice(desk: Desk) -> Body:
    """30 W-1 at 25.00 less 5 % and the set-up: 832.50 / 83.25 / 915.75, due 30 days on."""
    draft = desk.draft(desk.line("25", "30", discount_pct="5"), desk.line("120"))
    assert shown(draft, *AMOUNTS, "number") == ["832.50", "83.25", "915.75", None]
    posted = desk.caller.move(SALES, draft["id"], "posted")
    assert shown(posted, "number", "invoice_date", "due_date") == ["SI-2026-00001", "2026-06-10", "2026-07-10"]
    entry = desk.caller.get(ENTRIES, posted["journal_entry_id"])
    assert shown(entry, "total_debit", "total_credit", "status") == ["915.75", "915.75", "posted"]
    balances = [desk.books.balance(role) for role in ("ar", "revenue", "tax_output")]
    assert balances == ["915.7500", "832.5000", "83.2500"]
    return posted


def lock(desk: Desk, invoice: Body) -> None:
    """A posted invoice keeps its lines, and is not deleted."""
    path = f"{SALES_LINES}/{invoice['lines'][0]['id']}"
    desk.caller.expect_refusal("409:document_locked", "PATCH", path, {"qty": "29"})
    desk.caller.expect_refusal("409:not_draft", "DELETE", f"{SALES}/{invoice['id']}")


def pay(desk: Desk, invoice: Body) -> None:
    """500.00, then 415.75; a cent more is too much."""
    desk.allocate(desk.paid("500.00"), invoice, "500.00")
    assert desk.standing(invoice) == ["500.00", "0.00", "415.75", "posted"]
    desk.refused("409:over_allocated", desk.paid("415.76", payment_date="2026-06-14"), invoice, "415.76")
    extra = desk.caller.list("tenants/apm/payments", "filter[amount]=415.76")[0]
    desk.caller.move("tenants/apm/payments", extra["id"], "reversed")
    desk.allocate(desk.paid("415.75"), invoice, "415.75")
    assert desk.standing(invoice) == ["915.75", "0.00", "0.00", "paid"]


def second_invoice(desk: Desk) -> Body:
    """10 W-1: 237.50 / 23.75 / 261.25. A posting that is rolled back in between leaves no gap."""
    failed = desk.draft(desk.line("25", "10"), invoice_date="2027-06-10")
    desk.caller.stays("409:period_closed", SALES, failed["id"], "posted")
    draft = desk.draft(desk.line("25", "10", discount_pct="5"))
    assert shown(draft, *AMOUNTS) == ["237.50", "23.75", "261.25"]
    return desk.caller.move(SALES, draft["id"], "posted")


def ledger(desk: Desk) -> None:
    """ar 261.25, bank 915.75, revenue 1070.00, tax_output 107.00; debits = credits."""
    balances = {role: desk.books.balance(role) for role in ("ar", "bank", "revenue", "tax_output")}
    assert balances == {"ar": "261.2500", "bank": "915.7500", "revenue": "1070.0000", "tax_output": "107.0000"}
    entries = desk.caller.list(ENTRIES)
    assert len(entries) == 6
    assert sum(float(row["total_debit"]) - float(row["total_credit"]) for row in entries) == 0
