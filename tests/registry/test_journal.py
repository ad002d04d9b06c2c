"""Behaviour of journal entries, over HTTP: posting, base currency, reversal."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

from tests.books import ACCOUNTS, ENTRIES, LINES, RATES, Books, books, june
from tests.calls import as_rules_write

__all__ = ["books", "june"]

CUSTOMERS = "tenants/crm/customers"


def test_a_posted_entry_is_balanced(books: Books) -> None:
    """FIM-J1: at least two lines, debit = credit > 0."""
    refused = (
        ("422:too_few_lines", books.draft(books.line("bank", "5"))),
        ("422:too_few_lines", books.draft()),
        ("422:unbalanced_entry", books.draft(books.line("bank", "5"), books.line("revenue", "-4.99"))),
        ("422:unbalanced_entry", books.draft(books.line("bank", "5"), books.line("bank", "5"))),
    )
    for code, draft in refused:
        books.caller.stays(code, ENTRIES, draft["id"], "posted")
        assert books.caller.get(ENTRIES, draft["id"])["number"] is None
    posted = books.post(books.sale("5"))
    assert (posted["total_debit"], posted["total_credit"]) == ("5.0000", "5.0000")
    assert posted["number"].startswith("JE-2026-") and posted["posted_by"] == str(books.principal.user_id)
    assert posted["posted_at"] is not None


def test_totals_are_rounded_whoever_writes_them(books: Books) -> None:
    """G10: no caller writes the totals of an entry; rules do, and what they write is rounded to its currency."""
    entry = books.sale("5")
    books.work(
        as_rules_write("fim.journal-entries", entry, total_debit=Decimal("5.005"), total_credit=Decimal("5.004"))
    )
    found = books.caller.get(ENTRIES, entry["id"])
    assert (found["total_debit"], found["total_credit"]) == ("5.0100", "5.0000")


def test_the_number_has_the_year_of_the_entry(books: Books, freeze: Callable[[datetime | None], None]) -> None:
    """G9: prefix and year are those of the document's date, whenever it is posted."""
    freeze(datetime(2027, 1, 5, 12, tzinfo=UTC))
    assert books.post(books.sale(on="2026-12-31"))["number"] == "JE-2026-00001"


def test_base_columns_follow_the_rate(books: Books) -> None:
    """FIM-J1: base = round(x exchange_rate), and what rounding leaves goes to the account for it."""
    books.use_euro(rate="1.115")
    draft = books.draft(
        books.line("bank", "0.10"), books.line("expense", "0.10"), books.line("revenue", "-0.20"), currency="EUR"
    )
    assert draft["lines"][0]["base_debit"] == "0.0000"
    posted = books.post(draft)
    # 0.1115 -> 0.11 twice, 0.2230 -> 0.22: nothing is left
    assert [line["base_debit"] for line in posted["lines"]] == ["0.1100", "0.1100", "0.0000"]
    assert posted["total_debit"] == "0.2000"

    thirds = books.draft(
        *(books.line(role, "0.05") for role in ("bank", "expense", "cogs")),
        books.line("revenue", "-0.15"),
        currency="EUR",
    )
    rows = books.post(thirds)["lines"]
    # 0.05575 -> 0.06 three times, 0.16725 -> 0.17: a cent of debit too many
    assert sum(Decimal(row["base_debit"]) - Decimal(row["base_credit"]) for row in rows) == 0
    assert sum(Decimal(row["debit"]) - Decimal(row["credit"]) for row in rows) == 0
    rounding = [row for row in rows if row["account_id"] == books.roles["rounding"]["id"]]
    assert sum(Decimal(row["base_credit"]) - Decimal(row["base_debit"]) for row in rounding) == Decimal("0.01")
    assert books.balance("rounding") == "-0.0100"


def test_rounding_needs_its_account(books: Books) -> None:
    """FIM-J1: the rest goes to role rounding; without one nothing is posted."""
    books.use_euro(rate="1.115")
    books.caller.change(ACCOUNTS, books.roles["rounding"]["id"], system_role=None)
    lines = [books.line(role, "0.05") for role in ("bank", "expense", "cogs")]
    draft = books.draft(*lines, books.line("revenue", "-0.15"), currency="EUR")
    books.caller.stays("409:account_not_configured", ENTRIES, draft["id"], "posted")
    assert books.caller.get(ENTRIES, draft["id"]) == draft


def test_entries_are_posted_into_open_periods(books: Books) -> None:
    """FIM-J2: the date falls in an open period."""
    books.caller.expect_refusal(
        "409:period_closed", "POST", ENTRIES, {"entry_date": "2027-01-01", "lines": [books.line("bank", "5")]}
    )
    books.close(1)
    draft = books.sale(on="2026-01-31")
    books.caller.stays("409:period_closed", ENTRIES, draft["id"], "posted")
    moved = books.caller.change(ENTRIES, draft["id"], entry_date="2026-02-01")
    assert moved["period_id"] == books.period(2)["id"]
    books.post(draft)


def test_entries_are_posted_on_leaves_that_take_them(books: Books) -> None:
    """FIM-J2: no group, no account closed to manual entries, none of another currency."""
    euro = {"code": "X1", "name": "Euro account", "type": "asset", "currency": "EUR"}
    books.use_euro()
    accounts = [
        books.caller.make(ACCOUNTS, code="X2", name="Group", type="asset", is_group=True),
        books.caller.make(ACCOUNTS, code="X3", name="Closed", type="asset", allow_manual=False),
        books.caller.make(ACCOUNTS, **euro),
    ]
    for account in accounts:
        draft = books.draft(books.line("revenue", "-5"), books.line(account, "5"))
        error = books.caller.stays("422:account_not_postable", ENTRIES, draft["id"], "posted")
        assert error["details"][0]["field"] == "lines[1].account_id"
    books.post(books.draft(books.line("revenue", "-5"), books.line(accounts[2], "5"), currency="EUR"))


def test_receivables_and_payables_name_their_party(books: Books) -> None:
    """FIM-J2: ar lines name a customer, ap lines a supplier."""
    for role, name in (("ar", "customer_id"), ("ap", "supplier_id")):
        draft = books.draft(books.line(role, "5"), books.line("bank", "-5"))
        error = books.caller.stays("422:party_required", ENTRIES, draft["id"], "posted")
        assert error["details"][0]["field"] == f"lines[0].{name}"
    customer = books.caller.make(CUSTOMERS, name="Ann")
    line = books.line("ar", "5", customer_id=customer["id"])
    books.post(books.draft(line, books.line("revenue", "-5")))


def test_posted_entries_never_change(books: Books) -> None:
    """FIM-J3: neither the entry nor its lines."""
    posted = books.post(books.sale())
    path, line = f"{ENTRIES}/{posted['id']}", f"{LINES}/{posted['lines'][0]['id']}"
    books.caller.expect_refusal("409:document_locked", "PATCH", path, {"memo": "x"})
    books.caller.expect_refusal("409:document_locked", "PATCH", path, {"lines": []})
    books.caller.expect_refusal("409:not_draft", "DELETE", path)
    books.caller.expect_refusal("409:document_locked", "PATCH", line, {"debit": "1"})
    books.caller.expect_refusal("409:document_locked", "DELETE", line)


def test_a_reversal_mirrors_its_entry(books: Books) -> None:
    """FIM-J3: the lines are copied and swapped to the cent; posting it moves the first to reversed, once."""
    books.use_euro(rate="1.115")
    lines = [books.line(role, "0.05") for role in ("bank", "expense", "cogs")]
    first = books.post(books.draft(*lines, books.line("revenue", "-0.15"), currency="EUR"))
    books.caller.make(RATES, from_currency="EUR", to_currency="USD", rate_date="2026-06-14", rate="3")
    draft = books.caller.make(ENTRIES, entry_date="2026-06-20", reversal_of_id=first["id"])
    assert (draft["kind"], draft["currency"], draft["exchange_rate"]) == ("reversal", "EUR", "1.11500000")
    sides = [(line["debit"], line["base_debit"], line["credit"], line["base_credit"]) for line in first["lines"]]
    swapped = [(line["credit"], line["base_credit"], line["debit"], line["base_debit"]) for line in draft["lines"]]
    assert swapped == sides
    assert books.caller.get(ENTRIES, first["id"])["status"] == "posted"
    posted = books.post(draft)
    assert posted["total_debit"] == first["total_debit"]
    known = books.caller.get(ENTRIES, first["id"])
    assert (known["status"], known["reversed_by_id"]) == ("reversed", posted["id"])
    assert {books.balance(role) for role in ("bank", "expense", "cogs", "revenue", "rounding")} == {"0.0000"}


def test_an_entry_is_reversed_once(books: Books) -> None:
    """FIM-J3: neither twice at a time nor again; and only once it is posted."""
    draft = books.sale()
    body = {"entry_date": "2026-06-20", "reversal_of_id": draft["id"]}
    books.caller.expect_refusal("422:invalid_reference", "POST", ENTRIES, body)
    books.post(draft)
    reversal = books.caller.make(ENTRIES, **body)
    books.caller.expect_refusal("409:already_reversed", "POST", ENTRIES, body)
    books.caller.drop(ENTRIES, reversal["id"])
    books.post(books.caller.make(ENTRIES, **body))
    books.caller.expect_refusal("409:already_reversed", "POST", ENTRIES, body)
    books.caller.stays("409:reserved_transition", ENTRIES, books.post(books.sale())["id"], "reversed")


def test_lines_of_a_reversal_are_not_written(books: Books) -> None:
    """FIM-J3: they are copies."""
    first = books.post(books.sale())
    body = {"entry_date": "2026-06-20", "reversal_of_id": first["id"]}
    books.caller.expect_refusal("409:document_locked", "POST", ENTRIES, {**body, "lines": [books.line("bank", "5")]})
    draft = books.caller.make(ENTRIES, **body)
    line = f"{LINES}/{draft['lines'][0]['id']}"
    books.caller.expect_refusal("409:document_locked", "PATCH", line, {"description": "x"})
    books.caller.expect_refusal("409:document_locked", "DELETE", line)
    books.caller.change(ENTRIES, draft["id"], memo="Wrong customer")
