"""Behaviour of the general ledger, over HTTP: a test for what each rule says."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from uuid import UUID

import pytest

from engine.errors import ConflictError
from registry.tenants.budgets import budget_check
from tests.books import (
    ACCOUNTS,
    BUDGETS,
    CENTERS,
    CURRENCIES,
    ENTRIES,
    PERIODS,
    RATES,
    TAXES,
    Books,
    books,
    june,
)
from tests.calls import Body

__all__ = ["books", "june"]

CUSTOMERS = "tenants/crm/customers"


# -- currencies and rates


def test_the_base_currency_stays(books: Books) -> None:
    """FIM-C1: the base currency is neither deleted nor retired."""
    [base] = books.caller.list(CURRENCIES, "filter[is_base]=true")
    books.caller.expect_refusal("409:in_use", "DELETE", f"{CURRENCIES}/{base['id']}")
    books.caller.stays("409:in_use", CURRENCIES, base["id"], "inactive")


def test_a_currency_of_an_open_document_stays(books: Books) -> None:
    """FIM-C1: as long as a draft entry is in it, and no longer."""
    euro = books.use_euro()
    draft = books.sale(currency="EUR")
    books.caller.expect_refusal("409:in_use", "DELETE", f"{CURRENCIES}/{euro['id']}")
    books.caller.stays("409:in_use", CURRENCIES, euro["id"], "inactive")
    books.post(draft)
    books.caller.move(CURRENCIES, euro["id"], "inactive", "active")
    books.caller.drop(CURRENCIES, euro["id"])


def test_rates_are_between_currencies_in_use(books: Books) -> None:
    """FIM-X1: both codes are active currencies."""
    body = {"from_currency": "EUR", "to_currency": "USD", "rate_date": "2026-06-01", "rate": "1.1"}
    error = books.caller.expect_refusal("422:unknown_currency", "POST", RATES, body)
    assert error["details"][0]["field"] == "from_currency"
    euro = books.caller.make(CURRENCIES, code="EUR", name="Euro")
    books.caller.make(RATES, **body)
    books.caller.drop(RATES, books.caller.list(RATES)[0]["id"])
    books.caller.move(CURRENCIES, euro["id"], "inactive")
    swapped = {**body, "from_currency": "USD", "to_currency": "EUR"}
    books.caller.expect_refusal("422:unknown_currency", "POST", RATES, swapped)


def test_rates_of_a_closed_period_are_frozen(books: Books) -> None:
    """FIM-X1: none is made, changed, deleted or brought back there."""
    books.use_euro(on="2026-01-10")
    [rate] = books.caller.list(RATES)
    gone = books.caller.make(RATES, from_currency="EUR", to_currency="USD", rate_date="2026-01-11", rate="1.2")
    books.caller.drop(RATES, gone["id"])
    books.close(1)
    new = {"from_currency": "EUR", "to_currency": "USD", "rate_date": "2026-01-31", "rate": "1.2"}
    books.caller.expect_refusal("409:period_closed", "POST", RATES, new)
    books.caller.expect_refusal("409:period_closed", "PATCH", f"{RATES}/{rate['id']}", {"rate": "1.3"})
    books.caller.expect_refusal("409:period_closed", "DELETE", f"{RATES}/{rate['id']}")
    books.caller.stays("409:period_closed", RATES, gone["id"], "active")
    books.caller.make(RATES, **{**new, "rate_date": "2026-02-01"})


def test_a_posted_document_keeps_its_rate(books: Books) -> None:
    """FIM-X1: a later change of the rate leaves it alone."""
    books.use_euro()
    posted = books.post(books.sale(currency="EUR"))
    [rate] = books.caller.list(RATES)
    books.caller.change(RATES, rate["id"], rate="2")
    kept = books.caller.get(ENTRIES, posted["id"])
    assert (kept["exchange_rate"], kept["lines"][0]["base_debit"]) == ("1.10000000", "110.0000")


@pytest.mark.parametrize(
    ("on", "rate"), [("2026-06-01", "1.10000000"), ("2026-06-09", "1.10000000"), ("2026-06-10", "1.20000000")]
)
def test_the_last_rate_counts(books: Books, on: str, rate: str) -> None:
    """G12: the last one on or before the date of the document."""
    books.use_euro()
    books.caller.make(RATES, from_currency="EUR", to_currency="USD", rate_date="2026-06-10", rate="1.2")
    assert books.sale(currency="EUR", on=on)["exchange_rate"] == rate


def test_the_inverse_rate_counts_where_there_is_no_other(books: Books) -> None:
    """G12: else the inverse; without either 422. A changed date takes the rate of its day."""
    books.caller.make(CURRENCIES, code="EUR", name="Euro")
    books.caller.make(RATES, from_currency="USD", to_currency="EUR", rate_date="2026-06-01", rate="0.8")
    draft = books.sale(currency="EUR")
    assert draft["exchange_rate"] == "1.25000000"
    assert books.sale()["exchange_rate"] == "1.00000000"
    path = f"{ENTRIES}/{draft['id']}"
    books.caller.expect_refusal("422:no_exchange_rate", "PATCH", path, {"entry_date": "2026-05-31"})
    books.caller.make(RATES, from_currency="EUR", to_currency="USD", rate_date="2026-05-01", rate="1.3")
    assert books.caller.change(ENTRIES, draft["id"], entry_date="2026-06-02")["exchange_rate"] == "1.30000000"


# -- accounts


def test_a_parent_is_a_group_of_the_same_type(books: Books) -> None:
    """FIM-A1: else 422, at creation and later."""
    assets = books.caller.make(ACCOUNTS, code="A", name="Assets", type="asset", is_group=True)
    cash = books.caller.make(ACCOUNTS, code="A1", name="Cash", type="asset", parent_id=assets["id"])
    for wrong in ({"type": "expense", "parent_id": assets["id"]}, {"type": "asset", "parent_id": cash["id"]}):
        books.caller.expect_refusal("422:account_parent", "POST", ACCOUNTS, {"code": "A2", "name": "X", **wrong})
    other = books.caller.make(ACCOUNTS, code="A3", name="Other", type="liability")
    path = f"{ACCOUNTS}/{other['id']}"
    books.caller.expect_refusal("422:account_parent", "PATCH", path, {"parent_id": assets["id"]})


def test_a_role_fits_its_account(books: Books) -> None:
    """FIM-A1: by type, and never on a group."""
    bank = books.roles["bank"]
    books.caller.change(ACCOUNTS, bank["id"], system_role=None)
    body = {"code": "B", "name": "Bank", "system_role": "bank"}
    books.caller.expect_refusal("422:account_role", "POST", ACCOUNTS, {**body, "type": "income"})
    books.caller.expect_refusal("422:account_role", "POST", ACCOUNTS, {**body, "type": "asset", "is_group": True})
    plain = books.caller.make(ACCOUNTS, code="B", name="Debt", type="liability")
    books.caller.expect_refusal("422:account_role", "PATCH", f"{ACCOUNTS}/{plain['id']}", {"system_role": "bank"})
    books.caller.make(ACCOUNTS, code="B2", name="Bank", type="asset", system_role="bank")


def test_accounts_in_use_stay(books: Books) -> None:
    """FIM-A2: with a system_role, posted lines or children."""
    group = books.caller.make(ACCOUNTS, code="G", name="Group", type="expense", is_group=True)
    child = books.caller.make(ACCOUNTS, code="G1", name="Child", type="expense", parent_id=group["id"])
    books.post(books.draft(books.line(child, "5"), books.line("bank", "-5")))
    for account in (group, child, books.roles["rounding"]):
        books.caller.expect_refusal("409:in_use", "DELETE", f"{ACCOUNTS}/{account['id']}")
        books.caller.stays("409:in_use", ACCOUNTS, account["id"], "inactive")
    idle = books.caller.make(ACCOUNTS, code="G2", name="Idle", type="expense")
    books.caller.move(ACCOUNTS, idle["id"], "inactive", "active")
    books.caller.drop(ACCOUNTS, idle["id"])


def test_balances_have_the_sign_of_their_type(books: Books) -> None:
    """accounts.balance: base, debit positive for asset and expense, else credit positive; drafts do not count."""
    books.post(books.sale("100"))
    books.post(books.draft(books.line("expense", "30"), books.line("bank", "-30")))
    books.sale("1000")
    assert [books.balance(role) for role in ("bank", "revenue", "expense", "ap")] == [
        *("70.0000", "100.0000", "30.0000", "0.0000")
    ]


# -- periods


def test_periods_follow_each_other(books: Books) -> None:
    """FIM-P1: start = end of the latest + 1, and the number runs on."""
    new = {"code": "2027-01", "fiscal_year": 2027, "number": 1, "start_date": "2027-01-01", "end_date": "2027-01-31"}
    for wrong in (
        {"start_date": "2027-01-02"},
        {"number": 2},
        {"fiscal_year": 2028},
        {"fiscal_year": 2026, "number": 12},
        {"start_date": "2025-12-01", "end_date": "2025-12-31", "fiscal_year": 2025, "number": 12},
    ):
        books.caller.expect_refusal("422:period_gap", "POST", PERIODS, {**new, "code": "X", **wrong})
    thirteenth = {**new, "code": "2026-13", "fiscal_year": 2026, "number": 13, "end_date": "2027-01-01"}
    books.caller.make(PERIODS, **thirteenth)
    february = {"code": "2027-02", "number": 2, "start_date": "2027-02-01", "end_date": "2027-02-28"}
    both = [{**new, **february}, {**new, "start_date": "2027-01-02"}]
    books.caller.send(201, "POST", PERIODS, both)


def test_periods_close_in_order(books: Books) -> None:
    """FIM-P2: the one before is closed or locked; closing is dated and signed."""
    books.caller.stays("409:previous_period_open", PERIODS, books.period(2)["id"], "closed")
    books.close(1)
    first = books.caller.move(PERIODS, books.period(1)["id"], "locked")
    assert first["closed_at"] is not None and first["closed_by"] == str(books.principal.user_id)
    books.close(2)


def test_a_period_with_drafts_stays_open(books: Books) -> None:
    """FIM-P2: no draft entry is dated inside."""
    books.close(1, 2, 3, 4, 5)
    draft = books.sale(on="2026-06-30")
    books.caller.stays("409:period_has_drafts", PERIODS, books.period(6)["id"], "closed")
    assert books.period(6)["status"] == "open"
    books.caller.change(ENTRIES, draft["id"], entry_date="2026-07-01")
    books.close(6)
    assert books.period(6)["status"] == "closed"


def test_a_period_with_draft_invoices_and_payments_stays_open(books: Books) -> None:
    """FIM-P2: no draft invoice or payment is dated inside."""
    customer = books.caller.make(CUSTOMERS, name="Ann")
    line = {"account_id": books.roles["revenue"]["id"], "qty": "1", "unit_price": "5"}
    body = {"customer_id": customer["id"], "invoice_date": "2026-01-05", "lines": [line]}
    invoice = books.caller.make("tenants/apm/sales-invoices", **body)
    books.caller.stays("409:period_has_drafts", PERIODS, books.period(1)["id"], "closed")
    books.caller.drop("tenants/apm/sales-invoices", invoice["id"])
    payment = {"direction": "in", "customer_id": customer["id"], "account_id": books.roles["bank"]["id"], "amount": "5"}
    made = books.caller.make("tenants/apm/payments", payment_date="2026-01-06", **payment)
    books.caller.stays("409:period_has_drafts", PERIODS, books.period(1)["id"], "closed")
    books.caller.drop("tenants/apm/payments", made["id"])
    assert books.period(1)["status"] == "open"
    books.close(1)
    assert books.period(1)["status"] == "closed"


def test_only_the_last_closed_period_reopens(books: Books) -> None:
    """FIM-P3: by who may; a locked one never does."""
    books.close(1, 2)
    first, second = books.period(1), books.period(2)
    clerk = books.clerk("fim.fiscal-periods.reopen")
    clerk.stays("403:permission_denied", PERIODS, second["id"], "open")
    books.caller.stays("409:later_period_closed", PERIODS, first["id"], "open")
    opened = books.caller.move(PERIODS, second["id"], "open")
    assert (opened["closed_at"], opened["closed_by"]) == (None, None)
    books.caller.move(PERIODS, first["id"], "locked")
    books.caller.stays("409:invalid_transition", PERIODS, first["id"], "open")


# -- tax codes


def test_a_used_tax_rate_is_not_cut_short(books: Books) -> None:
    """FIM-T1: valid_until is not before the last document that used the row."""
    tax = books.caller.make(TAXES, code="VAT10", name="VAT", rate="10", valid_from="2026-01-01")
    books.draft(books.line("bank", "5"), books.line("revenue", "-5", tax_code_id=tax["id"]), on="2026-06-20")
    books.caller.expect_refusal("409:tax_in_use", "PATCH", f"{TAXES}/{tax['id']}", {"valid_until": "2026-06-19"})
    assert books.caller.change(TAXES, tax["id"], valid_until="2026-06-20")["valid_until"] == "2026-06-20"
    assert books.caller.change(TAXES, tax["id"], valid_until=None)["valid_until"] is None


def test_invoices_hold_their_tax_rate_as_well(books: Books) -> None:
    """FIM-T1: a document is an invoice, too."""
    tax = books.caller.make(TAXES, code="VAT10", name="VAT", rate="10", valid_from="2026-01-01")
    customer = books.caller.make(CUSTOMERS, name="Ann")
    line = {"account_id": books.roles["revenue"]["id"], "qty": "1", "unit_price": "5", "tax_code_id": tax["id"]}
    body = {"customer_id": customer["id"], "invoice_date": "2026-06-05", "lines": [line]}
    books.caller.make("tenants/apm/sales-invoices", **body)
    books.caller.expect_refusal("409:tax_in_use", "PATCH", f"{TAXES}/{tax['id']}", {"valid_until": "2026-06-04"})
    books.caller.change(TAXES, tax["id"], valid_until="2026-06-05")


# -- budgets


def test_budgets_show_what_was_spent(books: Books) -> None:
    """budgets.actual: posted base debit - credit of account, cost centre and month."""
    center = books.caller.make(CENTERS, code="CC1", name="Sales")
    expense = books.roles["expense"]["id"]
    body = {"fiscal_year": 2026, "period_number": 6, "account_id": expense, "amount": "100"}
    with_center = books.caller.make(BUDGETS, **body, cost_center_id=center["id"])
    without = books.caller.make(BUDGETS, **body)
    other = books.caller.make(BUDGETS, **{**body, "period_number": 7})
    line = books.line("expense", "40", cost_center_id=center["id"])
    books.post(books.draft(line, books.line("bank", "-40")))
    books.draft(line, books.line("bank", "-40"))
    books.post(books.draft(books.line("expense", "-2"), books.line("bank", "2")))
    shown = [books.caller.get(BUDGETS, row["id"])["actual"] for row in (with_center, without, other)]
    assert shown == ["40.0000", "-2.0000", "0.0000"]
    assert books.caller.get(BUDGETS, other["id"])["committed"] == "0.0000"


def check(books: Books, amount: str, center: Body | None = None, month: int = 6) -> list[str]:
    """What an order over an amount on the expense account is told."""
    account, place = UUID(books.roles["expense"]["id"]), UUID(center["id"]) if center else None
    warned: list[str] = books.work(
        lambda moment: budget_check(moment, date(2026, month, 9), place, {account: Decimal(amount)})
    )
    return warned


def test_budgets_warn_and_block(books: Books) -> None:
    """FIM-B1: actual + committed + net <= amount, else block refuses and warn adds a warning."""
    center = books.caller.make(CENTERS, code="CC1", name="Sales")
    body = {"fiscal_year": 2026, "period_number": 6, "account_id": books.roles["expense"]["id"], "amount": "100"}
    budget = books.caller.make(BUDGETS, **body)
    books.post(books.draft(books.line("expense", "40"), books.line("bank", "-40")))
    assert check(books, "60") == []
    assert len(check(books, "60.01")) == 1
    assert check(books, "60.01", center) == check(books, "60.01", month=7) == []
    books.caller.change(BUDGETS, budget["id"], control="block")
    assert check(books, "60") == []
    with pytest.raises(ConflictError) as refused:
        check(books, "60.01")
    assert refused.value.code == "budget_exceeded"
    books.caller.change(BUDGETS, budget["id"], control="none")
    assert check(books, "1000") == []
