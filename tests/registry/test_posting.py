"""Posting to the ledger (G13), rates (G12), tax rates of a day, and the ledger that a tenant starts with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from engine.errors import ApiError
from engine.hooks import Moment
from registry.demo.fim import demo_fim
from registry.tenants.fim_seed import CHART, seed_ledger
from registry.tenants.periods import period_on
from registry.tenants.posting import Posting, Source, account_of, post_entry, reverse_entry
from registry.tenants.rates import base_currency, exchange_rate
from registry.tenants.taxes import tax_on
from tests.books import ACCOUNTS, CURRENCIES, ENTRIES, PERIODS, RATES, TAXES, Books, books, june
from tests.calls import Body

__all__ = ["books", "june"]

ZERO = Decimal(0)
DAY = date(2026, 6, 15)


def debit(role: str, amount: str, **values: Any) -> Posting:
    """A debit on a role's account."""
    return Posting(role, None, Decimal(amount), ZERO, **values)


def credit(role: str, amount: str, **values: Any) -> Posting:
    """A credit on a role's account."""
    return Posting(role, None, ZERO, Decimal(amount), **values)


def source(key: str = "posted", **values: Any) -> Source:
    """A step of a document that nobody has booked."""
    usual: dict[str, Any] = {"type": "apm.sales-invoices", "id": uuid4(), "on": DAY, "kind": "sales"}
    return Source(key=key, **{**usual, **values})


def post(books: Books, origin: Source, *lines: Posting) -> Body:
    """The entry of a step."""
    key = books.work(lambda moment: post_entry(moment, origin, lines))
    return books.caller.get(ENTRIES, key)


def refusal(books: Books, do: Callable[[Moment], Awaitable[Any]]) -> str:
    """The code with which the work is refused."""
    with pytest.raises(ApiError) as refused:
        books.work(do)
    return refused.value.code


def test_a_step_is_booked_as_one_posted_entry(books: Books) -> None:
    """G13: already posted, with number, source and period."""
    customer = books.caller.make("tenants/crm/customers", name="Ann")
    origin = source(memo="SI-1")
    entry = post(books, origin, debit("ar", "110", customer_id=UUID(customer["id"])), credit("revenue", "110"))
    assert (entry["status"], entry["kind"], entry["memo"]) == ("posted", "sales", "SI-1")
    assert entry["number"].startswith("JE-2026-") and entry["posted_at"] is not None
    assert (entry["source_type"], entry["source_id"], entry["source_key"]) == (
        *("apm.sales-invoices", str(origin.id), "posted"),
    )
    assert entry["period_id"] == books.period(6)["id"]
    assert [line["customer_id"] for line in entry["lines"]] == [customer["id"], None]
    assert (books.balance("ar"), books.balance("revenue")) == ("110.0000", "110.0000")


def test_a_repeated_call_finds_the_entry(books: Books) -> None:
    """G13: the same step is booked once, another step of the same document anew."""
    lines, document = (debit("bank", "5"), credit("revenue", "5")), uuid4()
    first = post(books, source(id=document), *lines)
    assert post(books, source(id=document), *lines)["id"] == first["id"]
    assert post(books, source("paid", id=document), *lines)["id"] != first["id"]
    assert books.balance("bank") == "10.0000"


def test_bookings_are_in_base_currency(books: Books) -> None:
    """G13: each amount x the document's rate, rounded; the rest on role rounding."""
    thirds = [debit(role, "0.05") for role in ("bank", "expense", "cogs")]
    entry = post(books, source(rate=Decimal("1.115")), *thirds, credit("revenue", "0.15"))
    assert (entry["currency"], entry["exchange_rate"]) == ("USD", "1.00000000")
    booked = [(line["debit"], line["credit"]) for line in entry["lines"]]
    assert booked == [*[("0.0600", "0.0000")] * 3, ("0.0000", "0.1700"), ("0.0000", "0.0100")]
    assert all(line["base_debit"] == line["debit"] and line["base_credit"] == line["credit"] for line in entry["lines"])
    assert books.balance("rounding") == "-0.0100"
    assert entry["total_debit"] == entry["total_credit"] == "0.1800"


def test_negative_amounts_count_on_the_other_side(books: Books) -> None:
    """A posting has one side above zero; what rounds to nothing is left out."""
    entry = post(books, source(), debit("bank", "-5"), debit("revenue", "5"), debit("expense", "0.001"))
    assert [(line["debit"], line["credit"]) for line in entry["lines"]] == [("0.0000", "5.0000"), ("5.0000", "0.0000")]


def test_a_booking_that_is_out_of_balance_is_refused(books: Books) -> None:
    """G13: a rest of more than a cent a line is a fault of the caller, not of rounding."""
    lines = [debit("bank", "5"), credit("revenue", "4.97")]
    assert refusal(books, lambda moment: post_entry(moment, source(), lines)) == "unbalanced_entry"
    assert books.caller.list(ENTRIES) == []


def test_bookings_need_an_open_period_and_their_accounts(books: Books) -> None:
    """G13: 409 period_closed, 409 account_not_configured."""
    lines = [debit("bank", "5"), credit("revenue", "5")]
    books.close(1)
    january = source(on=date(2026, 1, 31))
    assert refusal(books, lambda moment: post_entry(moment, january, lines)) == "period_closed"
    outside = source(on=date(2030, 1, 1))
    assert refusal(books, lambda moment: post_entry(moment, outside, lines)) == "period_closed"
    books.caller.change(ACCOUNTS, books.roles["revenue"]["id"], system_role=None)
    assert refusal(books, lambda moment: post_entry(moment, source(), lines)) == "account_not_configured"
    assert refusal(books, lambda moment: account_of(moment, "revenue")) == "account_not_configured"
    assert refusal(books, lambda moment: period_on(moment, date(2026, 1, 1))) == "period_closed"
    assert books.work(lambda moment: period_on(moment, DAY))["code"] == "2026-06"


def test_bookings_take_accounts_as_they_are(books: Books) -> None:
    """Only manual entries mind allow_manual and the account's currency; a receivable names its customer always."""
    account = books.caller.make(ACCOUNTS, code="X1", name="Euro bank", type="asset", currency="EUR", allow_manual=False)
    line = Posting(None, UUID(account["id"]), Decimal(5), ZERO)
    assert post(books, source(), line, credit("revenue", "5"))["status"] == "posted"
    nobody = [debit("ar", "5"), credit("revenue", "5")]
    assert refusal(books, lambda moment: post_entry(moment, source(), nobody)) == "party_required"


def test_a_booking_is_reversed_by_its_source_alone(books: Books) -> None:
    """FIM-J4: over HTTP 409, by the document once."""
    entry = post(books, source(), debit("bank", "5"), credit("revenue", "5"))
    draft = books.caller.make(ENTRIES, entry_date="2026-06-16", reversal_of_id=entry["id"])
    books.caller.stays("409:reverse_at_source", ENTRIES, draft["id"], "posted")
    books.caller.drop(ENTRIES, draft["id"])

    def back(moment: Moment) -> Awaitable[UUID]:
        return reverse_entry(moment, UUID(entry["id"]), date(2026, 6, 20), "reversed")

    reversal = books.caller.get(ENTRIES, books.work(back))
    assert (reversal["status"], reversal["kind"], reversal["entry_date"]) == ("posted", "reversal", "2026-06-20")
    assert (reversal["source_id"], reversal["source_key"]) == (entry["source_id"], "reversed")
    assert books.caller.get(ENTRIES, entry["id"])["reversed_by_id"] == reversal["id"]
    assert str(books.work(back)) == reversal["id"]
    assert books.balance("bank") == "0.0000"


def test_tax_rates_are_those_of_the_day(books: Books) -> None:
    """The row of the same code that is valid on the document's date."""
    rows = [
        books.caller.make(TAXES, code="VAT", name="VAT", rate=rate, valid_from=first, valid_until=last)
        for rate, first, last in (("10", "2026-01-01", "2026-06-30"), ("12", "2026-07-01", None))
    ]
    keys = [UUID(row["id"]) for row in rows]
    for day, rate in ((date(2026, 6, 30), "10.0000"), (date(2026, 7, 1), "12.0000")):
        found = books.work(lambda moment, day=day: tax_on(moment, [*keys, None, uuid4()], day))
        assert {key: str(row["rate"]) for key, row in found.items()} == dict.fromkeys(keys, rate)
    assert books.work(lambda moment: tax_on(moment, keys, date(2025, 12, 31))) == {}


def test_the_base_currency_is_worth_one(books: Books) -> None:
    """G12: no rate is asked for."""
    assert books.work(base_currency) == "USD"
    assert books.work(lambda moment: exchange_rate(moment, "USD", DAY)) == 1
    assert refusal(books, lambda moment: exchange_rate(moment, "EUR", DAY)) == "no_exchange_rate"
    books.caller.make(CURRENCIES, code="EUR", name="Euro")
    books.caller.make(RATES, from_currency="USD", to_currency="EUR", rate_date="2026-06-14", rate="3")
    assert books.work(lambda moment: exchange_rate(moment, "EUR", DAY)) == Decimal("0.33333333")
    books.caller.make(RATES, from_currency="EUR", to_currency="USD", rate_date="2026-01-01", rate="0.4")
    assert books.work(lambda moment: exchange_rate(moment, "EUR", DAY)) == Decimal("0.4")


def test_a_ledger_is_seeded_once(books: Books) -> None:
    """Base currency, an account for each role, the months of the year: made once, and what is there stays."""
    books.caller.change(ACCOUNTS, books.roles["bank"]["id"], name="House bank")
    books.work(lambda moment: seed_ledger(moment, "EUR"))
    assert [(row["code"], row["is_base"]) for row in books.caller.list(CURRENCIES)] == [("USD", True)]
    accounts = books.caller.list(ACCOUNTS)
    assert sorted(row["system_role"] for row in accounts) == sorted(CHART)
    assert "House bank" in {row["name"] for row in accounts}
    periods = books.caller.list(PERIODS, "sort=number")
    assert [row["code"] for row in periods] == [f"2026-{month:02d}" for month in range(1, 13)]
    assert (periods[1]["end_date"], {row["status"] for row in periods}) == ("2026-02-28", {"open"})


def test_demo_rows_are_made_once(books: Books) -> None:
    """Every entity of the ledger has rows to try things with."""
    paths = [path for path in books.live.catalog.resources if path.startswith("tenants/fim/")]
    books.work(demo_fim)
    made = {path: len(books.caller.list(path)) for path in paths}
    assert len(made) == 9 and all(made.values())
    books.work(demo_fim)
    assert {path: len(books.caller.list(path)) for path in paths} == made
    assert books.balance("bank") == "24200.0000"
