"""Behaviour of payments and their allocations, over HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest

from tests.books import ACCOUNTS, ENTRIES, books, june
from tests.calls import Body
from tests.receivables import ALLOCATIONS, CUSTOMERS, PAYMENTS, PURCHASES, SALES, Desk, allocation, desk, shown

__all__ = ["books", "desk", "june"]
RULES, REQUESTS, ROLES = (f"tenants/sys/{name}" for name in ("approval-rules", "approval-requests", "roles"))


def rest(desk: Desk, payment: Body) -> str:
    """What of a payment is not allocated."""
    return str(desk.caller.get(PAYMENTS, payment["id"])["unallocated"]).removesuffix("00")


def test_money_in_is_booked(desk: Desk) -> None:
    """APM-M2: Dr account Cr ar with customer; number, state and rest are set."""
    paid = desk.paid("500")
    assert shown(paid, "number", "status", "currency", "unallocated") == ["PMT-2026-00001", "posted", "USD", "500.00"]
    assert desk.entry(paid) == {"bank": "500.00", "ar": "-500.00"}
    entry = desk.caller.get(ENTRIES, paid["journal_entry_id"])
    assert shown(entry, "entry_date", "kind") == ["2026-06-12", "payment"]
    assert entry["lines"][1]["customer_id"] == desk.customer["id"]


def test_money_out_is_booked(desk: Desk) -> None:
    """APM-M2: to a supplier Dr ap Cr account; a refund to a customer Dr ar."""
    supplier = str(uuid4())
    out = desk.paid("70", direction="out", supplier_id=supplier)
    assert desk.entry(out) == {"bank": "-70.00", "ap": "70.00"}
    assert desk.caller.get(ENTRIES, out["journal_entry_id"])["lines"][1]["supplier_id"] == supplier
    assert desk.entry(desk.paid("30", direction="out")) == {"bank": "-30.00", "ar": "30.00"}


def test_a_payment_moves_on_an_asset_account(desk: Desk) -> None:
    """APM-M1: account is an asset leaf."""
    group = desk.caller.make(ACCOUNTS, code="1900", name="Banks", type="asset", is_group=True)
    for account in (desk.books.roles["ap"], group):
        draft = desk.payment("10", account_id=account["id"])
        desk.caller.stays("422:account_not_postable", PAYMENTS, draft["id"], "posted")
        assert desk.caller.get(PAYMENTS, draft["id"]) == draft


def test_a_large_payment_waits_for_approval(desk: Desk) -> None:
    """APM-M1, G20: from what amount, in base currency, somebody else has to approve; nothing is booked before."""
    desk.rate("2")
    role = desk.caller.make(ROLES, code="CFO", name="CFO", permissions=[])
    desk.caller.make(RULES, name="Large", document_type="payment", min_amount="100", approver_role_id=role["id"])
    assert desk.paid("99.99")["status"] == "posted"
    waiting = desk.paid("50", currency="EUR")
    assert (waiting["status"], waiting["number"], waiting["journal_entry_id"]) == ("pending_approval", None, None)


def test_a_waiting_payment_is_booked_once_approved(desk: Desk) -> None:
    """APM-M1, APM-M2: it is locked with its allocations while it waits; then the edge's rules run."""
    role = desk.caller.make(ROLES, code="CFO", name="CFO", permissions=[])
    desk.caller.make(RULES, name="All", document_type="payment", min_amount="0", approver_role_id=role["id"])
    invoice = desk.sale("100")
    waiting = desk.paid("60", allocations=[{"sales_invoice_id": invoice["id"], "amount": "50"}])
    path = f"{ALLOCATIONS}/{waiting['allocations'][0]['id']}"
    desk.caller.expect_refusal("409:document_locked", "DELETE", path)
    desk.refused("409:document_locked", waiting, desk.sale("1"), "1")
    assert (desk.standing(invoice)[2], desk.books.balance("bank")) == ("110.00", "0.0000")
    [request] = desk.caller.list(REQUESTS, f"filter[document_id]={waiting['id']}")
    desk.books.work(lambda moment: moment.status("sys.approval-requests", [UUID(request["id"])], "approved"))
    assert desk.standing(invoice)[2] == "60.00"
    posted = desk.caller.get(PAYMENTS, waiting["id"])
    assert (posted["number"], desk.entry(posted)) == ("PMT-2026-00001", {"bank": "60.00", "ar": "-60.00"})


def test_allocations_settle_an_invoice(desk: Desk) -> None:
    """APM-A1, APM-A2: amount_due follows, the last cent makes it paid; more than is due or left is refused."""
    invoice = desk.sale("100")
    first = desk.paid("60")
    desk.allocate(first, invoice, "60")
    assert (desk.standing(invoice), rest(desk, first)) == (["60.00", "0.00", "50.00", "posted"], "0.00")
    second = desk.paid("80")
    desk.refused("409:over_allocated", second, invoice, "50.01")
    desk.allocate(second, invoice, "50")
    assert (desk.standing(invoice), rest(desk, second)) == (["110.00", "0.00", "0.00", "paid"], "30.00")
    desk.refused("409:over_allocated", second, desk.sale("100"), "30.01")
    desk.refused("409:over_allocated", desk.paid("1"), invoice, "1")


def test_many_allocations_at_once_share_what_is_left(desk: Desk) -> None:
    """APM-A1: of several in one request none takes what another has taken."""
    invoices, payment = [desk.sale("10"), desk.sale("20")], desk.paid("30")
    body = [allocation(payment, invoice, "11") for invoice in invoices]
    desk.caller.expect_refusal("409:over_allocated", "POST", ALLOCATIONS, [body[0], {**body[1], "amount": "19.01"}])
    desk.caller.send(201, "POST", ALLOCATIONS, body)
    assert [desk.standing(invoice)[2:] for invoice in invoices] == [["0.00", "paid"], ["11.00", "posted"]]
    two = [allocation(desk.paid("9"), invoices[1], "6"), allocation(desk.paid("9"), invoices[1], "6")]
    desk.caller.expect_refusal("409:over_allocated", "POST", ALLOCATIONS, two)


def test_nested_allocations_count_once_the_payment_is_posted(desk: Desk) -> None:
    """APM-A1: those of a draft take of the payment, and of the invoice when it is posted."""
    invoice = desk.sale("100")
    parts = [{"sales_invoice_id": invoice["id"], "amount": "60"}]
    draft = desk.payment("100", allocations=parts)
    assert (rest(desk, draft), desk.standing(invoice)[2]) == ("40.00", "110.00")
    other = desk.payment("100", allocations=parts)
    desk.caller.move(PAYMENTS, draft["id"], "posted")
    assert desk.standing(invoice) == ["60.00", "0.00", "50.00", "posted"]
    desk.caller.stays("409:over_allocated", PAYMENTS, other["id"], "posted")
    assert desk.caller.get(PAYMENTS, other["id"])["status"] == "draft"
    body = {"direction": "in", "customer_id": desk.customer["id"], "account_id": desk.books.roles["bank"]["id"]}
    too_much = {**body, "amount": "10", "allocations": [{"sales_invoice_id": invoice["id"], "amount": "10.01"}]}
    desk.caller.expect_refusal("409:over_allocated", "POST", PAYMENTS, too_much)


def test_a_draft_payment_keeps_its_allocations(desk: Desk) -> None:
    """APM-M2: unallocated = amount - allocations; the amount is never less than what is allocated."""
    invoice = desk.sale("100")
    draft = desk.payment("100", allocations=[{"sales_invoice_id": invoice["id"], "amount": "60"}])
    path = f"{PAYMENTS}/{draft['id']}"
    desk.caller.expect_refusal("409:over_allocated", "PATCH", path, {"amount": "59.99"})
    assert shown(desk.caller.change(PAYMENTS, draft["id"], amount="80"), "unallocated") == ["20.00"]
    desk.caller.drop(ALLOCATIONS, draft["allocations"][0]["id"])
    assert rest(desk, draft) == "80.00"
    desk.caller.drop(
        PAYMENTS, desk.payment("5", allocations=[{"sales_invoice_id": invoice["id"], "amount": "5"}])["id"]
    )
    assert desk.standing(invoice)[2] == "110.00"


def test_an_allocation_fits_party_and_currency(desk: Desk) -> None:
    """APM-A1: 422:party_mismatch, 422:currency_mismatch."""
    desk.rate("1.5")
    other = desk.caller.make(CUSTOMERS, name="Other")
    desk.refused("422:party_mismatch", desk.paid("10"), desk.sale(customer_id=other["id"]), "1")
    desk.refused("422:party_mismatch", desk.paid("10"), desk.purchase(), "1")
    desk.refused("422:currency_mismatch", desk.paid("10"), desk.sale(currency="EUR"), "1")
    supplier = {"direction": "out", "supplier_id": str(uuid4())}
    desk.refused("422:party_mismatch", desk.paid("10", **supplier), desk.purchase(), "1")
    assert desk.caller.list(ALLOCATIONS) == []


def test_an_allocation_needs_an_open_invoice(desk: Desk) -> None:
    """APM-A1: posted, and of the payment's direction: in settles invoices, out supplier invoices and credit notes."""
    payment, supplier = desk.paid("10"), str(uuid4())
    desk.refused("409:invoice_not_open", payment, desk.draft(desk.line("5")), "1")
    written_off = desk.caller.move(SALES, desk.sale()["id"], "written_off")
    desk.refused("409:invoice_not_open", payment, written_off, "1")
    desk.refused("409:invoice_not_open", desk.paid("10", direction="out"), desk.sale(), "1")
    bill = desk.purchase(supplier_id=supplier)
    desk.refused("409:invoice_not_open", desk.paid("10", supplier_id=supplier), bill, "1")
    assert desk.caller.list(ALLOCATIONS) == []


def test_a_supplier_invoice_is_paid(desk: Desk) -> None:
    """APM-A2: 0 due ~> paid, and back."""
    supplier = str(uuid4())
    bill, out = desk.purchase(supplier_id=supplier), desk.paid("150", direction="out", supplier_id=supplier)
    part = desk.allocate(out, bill, "110")
    assert shown(desk.caller.get(PURCHASES, bill["id"]), "amount_paid", "amount_due", "status") == [
        "110.00",
        "0.00",
        "paid",
    ]
    desk.caller.drop(ALLOCATIONS, part["id"])
    assert shown(desk.caller.get(PURCHASES, bill["id"]), "amount_due", "status") == ["110.00", "posted"]
    assert desk.books.balance("ap") == "-40.0000"


def test_deleting_an_allocation_undoes_it(desk: Desk) -> None:
    """APM-A2: amount_due, state and rest fall back."""
    invoice, payment = desk.sale("100"), desk.paid("110")
    part = desk.allocate(payment, invoice, "110")
    desk.caller.drop(ALLOCATIONS, part["id"])
    assert (desk.standing(invoice), rest(desk, payment)) == (["0.00", "0.00", "110.00", "posted"], "110.00")
    desk.allocate(payment, invoice, "10")


@pytest.mark.parametrize(("paid_at", "gap"), [("1.3", "5.0000"), ("1.2", "-5.0000")])
def test_a_difference_of_rates_is_a_gain_or_loss(desk: Desk, paid_at: str, gap: str) -> None:
    """APM-A2: in: positive = gain; ar is clear again in base currency; deleting reverses the entry."""
    desk.rate("1.25")
    desk.rate(paid_at, "2026-06-11")
    invoice, payment = desk.sale("100", currency="EUR"), desk.paid("110", currency="EUR")
    part = desk.allocate(payment, invoice, "100")
    assert part["fx_difference"] == gap
    entry = desk.caller.get(ENTRIES, part["journal_entry_id"])
    assert (entry["kind"], entry["entry_date"]) == ("fx", "2026-06-15")
    assert float(desk.books.balance("fx_gain_loss")) == -float(gap)
    desk.caller.drop(ALLOCATIONS, part["id"])
    assert float(desk.books.balance("fx_gain_loss")) == 0
    desk.allocate(payment, invoice, "110")
    assert desk.books.balance("ar") == "0.0000"


def test_paying_more_base_currency_out_is_a_loss(desk: Desk) -> None:
    """APM-A2: out: positive = loss, booked on the payment date when a nested allocation starts to count."""
    desk.rate("1.25")
    desk.rate("1.5", "2026-06-11")
    supplier = str(uuid4())
    bill = desk.purchase("100", supplier_id=supplier, currency="EUR")
    parts = [{"purchase_invoice_id": bill["id"], "amount": "110"}]
    paid = desk.paid("110", direction="out", supplier_id=supplier, currency="EUR", allocations=parts)
    [part] = paid["allocations"]
    assert part["fx_difference"] == "27.5000"
    assert desk.caller.get(ENTRIES, part["journal_entry_id"])["entry_date"] == "2026-06-12"
    assert (desk.books.balance("fx_gain_loss"), desk.books.balance("ap")) == ("27.5000", "0.0000")


def test_a_reversed_payment_leaves_its_invoices_open(desk: Desk) -> None:
    """APM-M3: allocations are removed, invoices fall back, the journal is reversed today."""
    desk.rate("1.25")
    desk.rate("1.5", "2026-06-11")
    invoice, payment = desk.sale("100", currency="EUR"), desk.paid("110", currency="EUR")
    desk.allocate(payment, invoice, "110")
    reversed_ = desk.caller.move(PAYMENTS, payment["id"], "reversed")
    assert (reversed_["status"], reversed_["allocations"]) == ("reversed", [])
    assert desk.standing(invoice) == ["0.00", "0.00", "110.00", "posted"]
    entry = desk.caller.get(ENTRIES, payment["journal_entry_id"])
    back = desk.caller.get(ENTRIES, entry["reversed_by_id"])
    assert (entry["status"], back["entry_date"]) == ("reversed", "2026-06-15")
    assert [desk.books.balance(role) for role in ("bank", "ar", "fx_gain_loss")] == ["0.0000", "137.5000", "0.0000"]
    desk.refused("409:document_locked", payment, invoice, "1")


def test_a_payment_is_not_reversed_into_a_closed_period(desk: Desk) -> None:
    """APM-M3: entry_date = today has to be open; nothing changes else."""
    invoice, payment = desk.sale("100", invoice_date="2026-01-10"), desk.paid("110", payment_date="2026-01-11")
    desk.allocate(payment, invoice, "110")
    desk.books.close(1, 2, 3, 4, 5, 6)
    desk.caller.stays("409:period_closed", PAYMENTS, payment["id"], "reversed")
    assert desk.standing(invoice)[3] == "paid"


def test_a_reconciled_payment_is_dated(desk: Desk) -> None:
    """reconciled_on is the day of the statement; going back clears it; the amounts are locked all along."""
    payment = desk.paid("10")
    assert desk.caller.move(PAYMENTS, payment["id"], "reconciled")["reconciled_on"] == "2026-06-15"
    desk.caller.stays("409:invalid_transition", PAYMENTS, payment["id"], "reversed")
    desk.allocate(payment, desk.sale("100"), "10")
    assert desk.caller.move(PAYMENTS, payment["id"], "posted")["reconciled_on"] is None
    desk.caller.expect_refusal("409:document_locked", "PATCH", f"{PAYMENTS}/{payment['id']}", {"amount": "1"})
    assert desk.caller.change(PAYMENTS, payment["id"], reference="A1", statement_ref="S1")["reference"] == "A1"


def test_an_amount_has_the_places_of_its_currency(desk: Desk) -> None:
    """G10: allocations are rounded as their payment is."""
    payment = desk.paid("10.006")
    assert shown(payment, "amount", "unallocated") == ["10.01", "10.01"]
    assert shown(desk.allocate(payment, desk.sale(), "3.335"), "amount") == ["3.34"]
    assert rest(desk, payment) == "6.67"


def test_currency_and_rate_of_a_payment(desk: Desk) -> None:
    """G21, G12: an omitted currency is the party's; the rate is that of the payment date, also when it moves."""
    desk.rate("1.25")
    desk.rate("1.5", "2026-06-14")
    euro = desk.caller.make(CUSTOMERS, name="Euro", currency="EUR")
    draft = desk.payment("10", customer_id=euro["id"])
    assert shown(draft, "currency", "base_amount") == ["EUR", "12.50"]
    assert shown(desk.caller.change(PAYMENTS, draft["id"], payment_date="2026-06-14"), "base_amount") == ["15.00"]
    path, early = f"{PAYMENTS}/{draft['id']}", {"payment_date": "2025-12-31"}
    desk.caller.expect_refusal("422:no_exchange_rate", "PATCH", path, early)


def test_two_at_once_do_not_pay_twice(desk: Desk) -> None:
    """APM-A1: payment and invoice are locked, so that of two who settle the same rest one is refused."""
    invoice, payments = desk.sale("100"), [desk.paid("80") for _ in range(4)]

    def settle(payment: Body) -> int:
        body = allocation(payment, invoice, "60")
        return desk.caller.client.post(f"/{ALLOCATIONS}", json=body).status_code

    with ThreadPoolExecutor() as threads:
        assert sorted(threads.map(settle, payments)) == [201, 409, 409, 409]
    assert desk.standing(invoice) == ["60.00", "0.00", "50.00", "posted"]
