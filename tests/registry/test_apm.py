"""Behaviour of sales and supplier invoices, over HTTP."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID, uuid4

import pytest

from tests.books import ACCOUNTS, CENTERS, TAXES, books, june
from tests.calls import Body, as_rules_write
from tests.receivables import CUSTOMERS, PURCHASES, SALES, SALES_LINES, TOTALS, Desk, desk, shown

__all__ = ["books", "desk", "june"]
SEQUENCES = "tenants/sys/number-sequences"


def test_lines_make_the_totals(desk: Desk) -> None:
    """G11: net, tax and totals of nested lines, rounded half up line by line."""
    draft = desk.draft(desk.line("3.35", "3", discount_pct="10"), desk.line("10", "0.5", tax_code_id=None))
    assert [shown(line, "net_amount", "tax_pct", "tax_amount") for line in draft["lines"]] == [
        ["9.05", "10.00", "0.91"],
        ["5.00", "0.00", "0.00"],
    ]
    assert shown(draft, *TOTALS, "amount_due") == ["14.05", "0.91", "14.96", "14.96", "14.96"]
    assert (draft["number"], draft["status"], draft["currency"]) == (None, "draft", "USD")


def test_a_line_by_its_own_route_moves_the_totals(desk: Desk) -> None:
    """G8, G11: a line that is added, changed or deleted is counted each time, one or many at once."""
    draft = desk.draft(desk.line("100"))
    many = [{**desk.line(price), "sales_invoice_id": draft["id"]} for price in ("10", "20")]
    rows = desk.caller.send(201, "POST", SALES_LINES, many)
    assert shown(desk.caller.get(SALES, draft["id"]), "total") == ["143.00"]
    desk.caller.change(SALES_LINES, rows[0]["id"], qty="2")
    assert shown(desk.caller.get(SALES, draft["id"]), "subtotal", "total") == ["140.00", "154.00"]
    desk.caller.change(SALES_LINES, rows[0]["id"], tax_code_id=None)
    desk.caller.drop(SALES_LINES, rows[1]["id"])
    assert shown(desk.caller.get(SALES, draft["id"]), *TOTALS) == ["120.00", "10.00", "130.00", "130.00"]
    replaced = desk.caller.change(SALES, draft["id"], lines=[desk.line("7")])
    assert (shown(replaced, "total"), len(replaced["lines"])) == (["7.70"], 1)


def test_what_was_paid_is_rounded_whoever_writes_it(desk: Desk) -> None:
    """G10: no caller writes what was paid; rules do, and what they write is rounded as what callers write is."""
    written = [("apm.sales-invoices", SALES, desk.draft(desk.line("100")))]
    written.append(("apm.purchase-invoices", PURCHASES, desk.bill(desk.cost("100"))))
    for entity, path, row in written:
        desk.books.work(as_rules_write(entity, row, amount_paid=Decimal("10.005")))
        left = Decimal(row["total"]) - Decimal("10.01")
        assert shown(desk.caller.get(path, row["id"]), "amount_paid", "amount_due") == ["10.01", f"{left:.2f}"]


def raise_tax(desk: Desk) -> None:
    """From the twelfth of June on the tax of 10 % is one of 12 %."""
    desk.caller.change(TAXES, desk.vat["id"], valid_until="2026-06-11")
    desk.caller.make(TAXES, code="VAT10", name="VAT", rate="12", valid_from="2026-06-12")


def test_tax_is_that_of_the_invoice_date(desk: Desk) -> None:
    """G11: the code's rate on the day counts; another day brings another rate; a day without one is refused."""
    raise_tax(desk)
    draft = desk.draft(desk.line("100"))
    assert shown(draft, "tax_total") == ["10.00"]
    desk.caller.change(SALES, draft["id"], invoice_date="2026-06-13", due_date="2026-07-30")
    assert shown(desk.caller.get(SALES, draft["id"]), "tax_total", "total") == ["12.00", "112.00"]
    body = {"customer_id": desk.customer["id"], "invoice_date": "2025-12-31", "lines": [desk.line("1")]}
    desk.caller.expect_refusal("422:invalid_reference", "POST", SALES, body)


def test_tax_of_a_supplier_invoice_is_that_of_its_date(desk: Desk) -> None:
    """G11: another day brings another rate on what is bought too."""
    raise_tax(desk)
    bill = desk.bill(desk.cost("100"))
    assert shown(bill, "tax_total") == ["10.00"]
    desk.caller.change(PURCHASES, bill["id"], invoice_date="2026-06-13", due_date="2026-07-30")
    assert shown(desk.caller.get(PURCHASES, bill["id"]), "tax_total", "total") == ["12.00", "112.00"]


def test_a_line_without_price_needs_one(desk: Desk) -> None:
    """G11: an omitted price is that of the variant; there is none for an account."""
    line = {"account_id": desk.income["id"], "qty": "1"}
    body = {"customer_id": desk.customer["id"], "lines": [line]}
    error = desk.caller.expect_refusal("422:no_price", "POST", SALES, body)
    assert error["details"][0]["field"] == "lines[0].unit_price"


def test_terms_and_currency_are_the_customers(desk: Desk) -> None:
    """APM-S1, G21: due_date = invoice_date + terms; the currency is the customer's."""
    desk.rate("1.25")
    euro = desk.caller.make(CUSTOMERS, name="Euro", currency="EUR", payment_terms_days=14)
    draft = desk.draft(desk.line("100"), customer_id=euro["id"])
    assert shown(draft, "due_date", "currency", "exchange_rate") == ["2026-06-24", "EUR", "1.250000"]
    assert shown(draft, *TOTALS) == ["100.00", "10.00", "110.00", "137.50"]
    own = desk.draft(desk.line("100"), customer_id=euro["id"], currency="USD", due_date="2026-06-11")
    assert (own["due_date"], own["currency"]) == ("2026-06-11", "USD")
    assert desk.draft()["due_date"] == "2026-07-10"


def test_the_rate_is_that_of_the_invoice_date(desk: Desk) -> None:
    """G12: the last rate on or before the day; without one there is no invoice."""
    desk.rate("1.25", "2026-02-01")
    desk.rate("1.5", "2026-06-12")
    draft = desk.draft(desk.line("100"), currency="EUR")
    assert shown(draft, "base_total") == ["137.50"]
    assert shown(desk.caller.change(SALES, draft["id"], invoice_date="2026-06-12"), "base_total") == ["165.00"]
    body = {"customer_id": desk.customer["id"], "currency": "EUR", "invoice_date": "2026-01-01"}
    desk.caller.expect_refusal("422:no_exchange_rate", "POST", SALES, body)


def test_an_invoice_without_lines_is_not_posted(desk: Desk) -> None:
    """APM-S2, APM-P1: lines exist."""
    for path, draft in ((SALES, desk.draft()), (PURCHASES, desk.bill())):
        desk.caller.stays("422:no_lines", path, draft["id"], "posted")
        assert desk.caller.get(path, draft["id"]) == draft


def test_posting_books_the_sale(desk: Desk) -> None:
    """APM-S3: Dr ar, Cr revenue (account of the line, else the role's), Cr tax; number, state and date are set."""
    hosting = desk.caller.make(ACCOUNTS, code="4100", name="Hosting", type="income")
    center = desk.caller.make(CENTERS, code="WEST", name="West")
    lines = [desk.line("100", cost_center_id=center["id"]), desk.line("20", account_id=hosting["id"], tax_code_id=None)]
    posted = desk.caller.move(SALES, desk.draft(*lines)["id"], "posted")
    assert (posted["number"], posted["status"]) == ("SI-2026-00001", "posted")
    assert posted["posted_at"] is not None
    assert desk.entry(posted) == {"ar": "130.00", "revenue": "-100.00", "4100": "-20.00", "tax_output": "-10.00"}
    entry = desk.caller.get("tenants/fim/journal-entries", posted["journal_entry_id"])
    assert shown(entry, "entry_date", "kind", "memo") == ["2026-06-10", "sales", "SI-2026-00001"]
    assert entry["lines"][0]["customer_id"] == desk.customer["id"]
    assert entry["lines"][1]["cost_center_id"] == center["id"]
    assert entry["lines"][3]["tax_code_id"] == desk.vat["id"]


def test_tax_goes_to_the_account_of_its_code(desk: Desk) -> None:
    """APM-S3: each tax code is one line, on its own account when it has one."""
    own = desk.caller.make(ACCOUNTS, code="2210", name="City tax", type="liability")
    city = desk.caller.make(TAXES, code="CITY", name="City", rate="5", valid_from="2026-01-01", account_id=own["id"])
    lines = [desk.line("10"), desk.line("10"), desk.line("10", tax_code_id=city["id"])]
    posted = desk.caller.move(SALES, desk.draft(*lines)["id"], "posted")
    assert desk.entry(posted) == {"ar": "32.50", "revenue": "-10.00", "tax_output": "-2.00", "2210": "-0.50"}


def test_the_ledger_is_in_base_currency(desk: Desk) -> None:
    """G13: each amount x the document's rate; what rounding leaves over is booked on rounding."""
    desk.rate("1.2345")
    posted = desk.sale("33.33", currency="EUR")
    assert desk.entry(posted) == {"ar": "45.26", "revenue": "-41.15", "tax_output": "-4.11"}
    odd = desk.caller.move(SALES, desk.draft(desk.line("0.33"), desk.line("0.33"), currency="EUR")["id"], "posted")
    entry = desk.caller.get("tenants/fim/journal-entries", odd["journal_entry_id"])
    assert entry["total_debit"] == entry["total_credit"]


def test_a_posted_invoice_is_locked(desk: Desk) -> None:
    """G7: only live fields change; it is not deleted."""
    posted = desk.sale()
    path = f"{SALES}/{posted['id']}"
    desk.caller.expect_refusal("409:document_locked", "PATCH", path, {"invoice_date": "2026-06-09"})
    desk.caller.expect_refusal("409:document_locked", "PATCH", path, {"lines": [desk.line("1")]})
    line = posted["lines"][0]
    desk.caller.expect_refusal("409:document_locked", "PATCH", f"{SALES_LINES}/{line['id']}", {"qty": "2"})
    desk.caller.expect_refusal("409:not_draft", "DELETE", path)
    assert desk.caller.change(SALES, posted["id"], due_date="2026-08-01", notes="later")["notes"] == "later"


def test_nothing_is_posted_in_a_closed_period(desk: Desk) -> None:
    """APM-S3: 409:period_closed, and the number goes to the next invoice (G9: gapless)."""
    late = desk.draft(desk.line("5"), invoice_date="2027-01-05")
    first = desk.sale()
    desk.caller.stays("409:period_closed", SALES, late["id"], "posted")
    assert desk.caller.get(SALES, late["id"])["number"] is None
    assert [first["number"], desk.sale()["number"]] == ["SI-2026-00001", "SI-2026-00002"]


def test_no_invoice_number_is_left_out(desk: Desk) -> None:
    """SYS-N1: the gapless counter that numbers invoices does not move by hand."""
    desk.sale()
    [sequence] = desk.caller.list(SEQUENCES, "filter[code]=SI")
    path = f"{SEQUENCES}/{sequence['id']}"
    desk.caller.expect_refusal("409:sequence_in_use", "PATCH", path, {"next_value": "9000"})


def test_a_line_of_a_posted_invoice_stays(desk: Desk) -> None:
    """G7: not even its own status route takes a line away."""
    posted = desk.sale()
    line = posted["lines"][0]
    desk.caller.stays("409:document_locked", SALES_LINES, line["id"], "inactive")
    assert desk.standing(posted)[2] == "110.00"


def test_a_missing_role_is_told(desk: Desk) -> None:
    """APM-S3: 409:account_not_configured when no account plays a role that is needed."""
    desk.caller.change(ACCOUNTS, desk.books.roles["tax_output"]["id"], system_role=None)
    desk.caller.stays("409:account_not_configured", SALES, desk.draft(desk.line("5"))["id"], "posted")
    assert desk.caller.move(SALES, desk.draft(desk.line("5", tax_code_id=None))["id"], "posted")["status"] == "posted"


def test_an_invoice_over_nothing_is_paid(desk: Desk) -> None:
    """APM-A2: nothing due; there is nothing to book."""
    free = desk.caller.move(SALES, desk.draft(desk.line("10", discount_pct="100"))["id"], "posted")
    assert (free["status"], free["journal_entry_id"]) == ("paid", None)


def test_an_invoice_is_overdue_after_its_due_date(desk: Desk) -> None:
    """overdue: posted, something due, due date over."""
    late = desk.sale(invoice_date="2026-01-05", due_date="2026-01-06")
    assert late["overdue"] is True
    assert desk.draft(desk.line("1"), invoice_date="2026-01-05", due_date="2026-01-06")["overdue"] is False
    desk.allocate(desk.paid("110"), late, "110")
    assert desk.caller.get(SALES, late["id"])["overdue"] is False


def test_a_credit_note_reduces_its_original(desk: Desk) -> None:
    """APM-S3, APM-S4: swapped sides, own prefix; what is due is credited to both; never more than the original."""
    original = desk.sale("100")
    note = desk.caller.move(SALES, desk.note(original, "30")["id"], "posted")
    assert note["number"] == "SCN-2026-00001"
    assert desk.entry(note) == {"ar": "-33.00", "revenue": "30.00", "tax_output": "3.00"}
    assert desk.standing(note) == ["0.00", "33.00", "0.00", "credited"]
    assert desk.standing(original) == ["0.00", "33.00", "77.00", "posted"]
    desk.caller.stays("409:credit_exceeds_invoice", SALES, desk.note(original, "70.01")["id"], "posted")
    last = desk.caller.move(SALES, desk.note(original, "70")["id"], "posted")
    assert (last["number"], desk.standing(original)) == ("SCN-2026-00002", ["0.00", "110.00", "0.00", "credited"])
    assert desk.sale()["number"] == "SI-2026-00002"


def test_a_note_on_a_paid_invoice_waits_for_a_refund(desk: Desk) -> None:
    """APM-S4: the original is paid, not credited, when money came too; the rest of the note is paid out."""
    original = desk.sale("100")
    desk.allocate(desk.paid("90"), original, "90")
    note = desk.caller.move(SALES, desk.note(original, "50")["id"], "posted")
    assert desk.standing(original) == ["90.00", "20.00", "0.00", "paid"]
    assert desk.standing(note) == ["0.00", "20.00", "35.00", "posted"]
    desk.caller.stays("409:credit_exceeds_invoice", SALES, desk.note(original, "50.01")["id"], "posted")
    refund = desk.paid("35", direction="out")
    assert desk.entry(refund) == {"bank": "-35.00", "ar": "35.00"}
    desk.allocate(refund, note, "35")
    assert desk.standing(note) == ["35.00", "20.00", "0.00", "paid"]


@pytest.mark.parametrize("wrong", ["draft", "other customer", "other currency", "a credit note", "written off"])
def test_only_an_own_posted_invoice_is_credited(desk: Desk, wrong: str) -> None:
    """APM-S4: 409:credit_exceeds_invoice for anything else."""
    original, values = desk.sale("100"), {}
    if wrong == "draft":
        original = desk.draft(desk.line("100"))
    elif wrong == "other customer":
        values = {"customer_id": desk.caller.make(CUSTOMERS, name="Other")["id"]}
    elif wrong == "other currency":
        desk.rate("1.25")
        values = {"currency": "EUR"}
    elif wrong == "a credit note":
        original = desk.caller.move(SALES, desk.note(original, "50")["id"], "posted")
    else:
        original = desk.caller.move(SALES, original["id"], "written_off")
    note, standing = desk.note(original, "10", **values), desk.standing(original)
    desk.caller.stays("409:credit_exceeds_invoice", SALES, note["id"], "posted")
    assert desk.caller.get(SALES, note["id"]) == note and desk.standing(original) == standing


def test_a_credit_note_takes_the_currency_of_its_original(desk: Desk) -> None:
    """G21: unless said otherwise."""
    desk.rate("1.25")
    assert desk.note(desk.sale(currency="EUR"), "10")["currency"] == "EUR"


def test_what_will_not_come_is_written_off(desk: Desk) -> None:
    """APM-S5: perm:apm.sales-invoices.write-off; Dr bad_debt Cr ar for what is due."""
    invoice = desk.sale("100")
    desk.allocate(desk.paid("40"), invoice, "40")
    desk.books.clerk("apm.sales-invoices.write-off").stays("403:permission_denied", SALES, invoice["id"], "written_off")
    assert desk.caller.move(SALES, invoice["id"], "written_off")["status"] == "written_off"
    assert (desk.books.balance("bad_debt"), desk.books.balance("ar")) == ("70.0000", "0.0000")
    assert desk.caller.get(CUSTOMERS, desk.customer["id"])["open_balance"] == "0.0000"


def test_the_open_balance_of_a_customer(desk: Desk) -> None:
    """open_balance: amount_due of posted invoices less credit notes, in base currency."""
    desk.rate("1.5")
    desk.draft(desk.line("1000"))
    first = desk.sale("100")
    desk.sale("10", currency="EUR")
    assert desk.caller.get(CUSTOMERS, desk.customer["id"])["open_balance"] == "126.5000"
    desk.allocate(desk.paid("110"), first, "110")
    desk.caller.move(SALES, desk.note(first, "20")["id"], "posted")
    listed = desk.caller.list(CUSTOMERS, f"filter[id]={desk.customer['id']}")
    assert listed[0]["open_balance"] == "-5.5000"


def test_posting_books_the_purchase(desk: Desk) -> None:
    """APM-P3: Dr the lines' accounts and tax_input, Cr ap with supplier."""
    supplier = str(uuid4())
    desk_row = desk.purchase("100", supplier_id=supplier)
    assert (desk_row["number"], desk_row["status"], desk_row["match_state"]) == ("PI-2026-00001", "posted", "none")
    assert desk.entry(desk_row) == {"ap": "-110.00", "expense": "100.00", "tax_input": "10.00"}
    entry = desk.caller.get("tenants/fim/journal-entries", desk_row["journal_entry_id"])
    assert (entry["kind"], entry["lines"][0]["supplier_id"]) == ("purchase", supplier)
    assert (desk_row["due_date"], shown(desk_row, *TOTALS)) == ("2026-07-10", ["100.00", "10.00", "110.00", "110.00"])


def test_an_asset_line_is_booked_to_expense_without_assets(desk: Desk) -> None:
    """APM-P4: an asset line that makes no asset is booked to the role expense."""
    line = {"asset_category_id": str(uuid4()), "qty": "1", "unit_price": "900"}
    posted = desk.caller.move(PURCHASES, desk.bill(line)["id"], "posted")
    assert desk.entry(posted) == {"ap": "-900.00", "expense": "900.00"}


def test_a_supplier_bills_once(desk: Desk) -> None:
    """A supplier's invoice number is unique."""
    supplier = str(uuid4())
    desk.bill(supplier_id=supplier)
    body = {"supplier_id": supplier, "supplier_invoice_no": "R-1", "invoice_date": "2026-06-10"}
    desk.caller.expect_refusal("409:duplicate", "POST", PURCHASES, body)


def exception(desk: Desk, bill: Body) -> Body:
    """A supplier invoice whose match has failed. Orders are not registered yet: moved there as the rule would."""
    keys = [UUID(bill["id"])]
    desk.books.work(lambda moment: moment.status("apm.purchase-invoices", keys, "match_exception"))
    return desk.caller.get(PURCHASES, bill["id"])


def test_a_failed_match_is_overridden_by_another_person(desk: Desk) -> None:
    """APM-P2: perm:apm.purchase-invoices.override, not the creator, override_reason given; booked as any other."""
    bill = exception(desk, desk.bill(desk.cost("100")))
    desk.caller.stays("422:reason_required", PURCHASES, bill["id"], "posted")
    desk.caller.change(PURCHASES, bill["id"], override_reason="agreed by phone")
    desk.caller.stays("403:four_eyes", PURCHASES, bill["id"], "posted")
    unfit = desk.books.clerk("apm.purchase-invoices.override")
    unfit.stays("403:permission_denied", PURCHASES, bill["id"], "posted")
    posted = desk.books.clerk().move(PURCHASES, bill["id"], "posted")
    assert (posted["match_state"], posted["number"]) == ("overridden", "PI-2026-00001")
    assert desk.entry(posted) == {"ap": "-110.00", "expense": "100.00", "tax_input": "10.00"}


def test_a_failed_match_goes_back_to_draft(desk: Desk) -> None:
    """APM-P2: nothing is matched in a draft; it changes again and is posted."""
    bill = exception(desk, desk.bill(desk.cost("100")))
    desk.caller.expect_refusal(
        "409:document_locked", "PATCH", f"{PURCHASES}/{bill['id']}", {"invoice_date": "2026-06-11"}
    )
    assert desk.caller.move(PURCHASES, bill["id"], "draft")["match_state"] == "none"
    assert desk.caller.change(PURCHASES, bill["id"], lines=[desk.cost("50")])["total"] == "55.0000"
    assert desk.caller.move(PURCHASES, bill["id"], "posted")["match_state"] == "none"


def test_nobody_orders_what_cannot_be_seen(desk: Desk) -> None:
    """G1, G3: an original invoice or account of another tenant is no reference."""
    body = {"customer_id": desk.customer["id"], "kind": "credit_note", "original_invoice_id": str(uuid4())}
    desk.caller.expect_refusal("422:invalid_reference", "POST", SALES, body)
    stranger = {"customer_id": desk.customer["id"], "lines": [desk.line("1", account_id=str(uuid4()))]}
    desk.caller.expect_refusal("422:invalid_reference", "POST", SALES, stranger)
