"""A ledger over HTTP alone: months, manual entries, a reversal, a foreign currency, closing and reopening, and books that
are in balance at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from engine.types import Principal, TenantRef
from tests.calls import Body, Caller, World

FIM = "tenants/fim"
ENTRIES, PERIODS, ACCOUNTS = f"{FIM}/journal-entries", f"{FIM}/fiscal-periods", f"{FIM}/accounts"
CHART = {
    "bank": ("1000", "asset"),
    "ar": ("1100", "asset"),
    "revenue": ("4000", "income"),
    "expense": ("6000", "expense"),
    "rounding": ("6900", "expense"),
}
Freeze = Callable[[datetime | None], None]


@dataclass
class Ledger:
    """The books of a tenant."""

    owner: Caller
    accounts: dict[str, Body]

    def line(self, role: str, amount: str, **values: Any) -> Body:
        """A debit, or with a minus a credit."""
        side = {"credit": amount[1:]} if amount.startswith("-") else {"debit": amount}
        return {"account_id": self.accounts[role]["id"], **side, **values}

    def draft(self, on: str, *lines: Body, **values: Any) -> Body:
        """A draft entry."""
        return self.owner.make(ENTRIES, entry_date=on, lines=list(lines), **values)

    def post(self, entry: Body) -> Body:
        """The entry, posted."""
        return self.owner.move(ENTRIES, entry["id"], "posted")

    def period(self, code: str) -> str:
        """The id of a month."""
        return str(self.owner.list(PERIODS, f"filter[code]={code}")[0]["id"])

    def balances(self) -> dict[str, str]:
        """Role -> balance, of the accounts that hold something."""
        rows = {role: self.owner.get(ACCOUNTS, row["id"])["balance"] for role, row in self.accounts.items()}
        return {role: balance for role, balance in rows.items() if Decimal(balance)}

    def trial_balance(self) -> Decimal:
        """Debits less credits of all accounts."""
        rows = self.owner.list(ACCOUNTS)
        return sum(
            (Decimal(row["balance"]) * (1 if row["type"] in ("asset", "expense") else -1) for row in rows), Decimal(0)
        )


@pytest.fixture
def ledger(world: World, freeze: Freeze) -> Ledger:
    """USD, five accounts and the first quarter of 2026; what the tenant was given at its start is used."""
    freeze(datetime(2026, 3, 2, 9, tzinfo=UTC))
    tenant = world.tenant()
    place = TenantRef(UUID(tenant["id"]), tenant["slug"])
    owner = Caller(world.live.lend(Principal(UUID(tenant["owner_id"]), tenant=place, everything=True)))
    if not owner.list(f"{FIM}/currencies", "filter[is_base]=true"):
        owner.make(f"{FIM}/currencies", code="USD", name="US dollar", is_base=True)
    known = {row["system_role"]: row for row in owner.list(ACCOUNTS)}
    accounts = {
        role: known.get(role) or owner.make(ACCOUNTS, code=code, name=role, type=kind, system_role=role)
        for role, (code, kind) in CHART.items()
    }
    if not owner.list(PERIODS):
        months = [(date(2026, 1, 1), date(2026, 1, 31)), (date(2026, 2, 1), date(2026, 2, 28))]
        months.append((date(2026, 3, 1), date(2026, 3, 31)))
        for number, (first, last) in enumerate(months, start=1):
            days = {"start_date": first.isoformat(), "end_date": last.isoformat()}
            owner.make(PERIODS, code=f"2026-{number:02d}", fiscal_year=2026, number=number, **days)
    return Ledger(owner, accounts)


def test_a_quarter_of_bookkeeping(ledger: Ledger) -> None:
    """From the first entry to a closed month."""
    months_follow_each_other(ledger)
    rent = book_by_hand(ledger)
    take_back(ledger, rent)
    book_abroad(ledger)
    close_and_reopen(ledger)
    assert ledger.balances() == {"bank": "1111.5600", "revenue": "1111.5500", "rounding": "-0.0100"}
    assert ledger.trial_balance() == 0


def months_follow_each_other(ledger: Ledger) -> None:
    """A month that leaves a gap is refused."""
    last = ledger.owner.list(PERIODS, "sort=-end_date")[0]
    start = date.fromisoformat(last["end_date"]) + timedelta(days=2)
    body = {"code": "GAP", "fiscal_year": start.year, "number": last["number"] % 12 + 1}
    days = {"start_date": start.isoformat(), "end_date": (start + timedelta(days=27)).isoformat()}
    ledger.owner.expect_refusal("422:period_gap", "POST", PERIODS, {**body, **days})


def book_by_hand(ledger: Ledger) -> Body:
    """Two entries; one that is out of balance takes no number."""
    sale = ledger.post(ledger.draft("2026-01-10", ledger.line("bank", "1000"), ledger.line("revenue", "-1000")))
    assert (sale["number"], sale["kind"], sale["total_debit"]) == ("JE-2026-00001", "manual", "1000.0000")
    wrong = ledger.draft("2026-01-11", ledger.line("expense", "50"), ledger.line("bank", "-49"))
    ledger.owner.stays("422:unbalanced_entry", ENTRIES, wrong["id"], "posted")
    ledger.owner.change(
        ENTRIES, wrong["id"], memo="Rent", lines=[ledger.line("expense", "50"), ledger.line("bank", "-50")]
    )
    rent = ledger.post(wrong)
    assert (rent["number"], rent["memo"]) == ("JE-2026-00002", "Rent")
    ledger.owner.expect_refusal("409:document_locked", "PATCH", f"{ENTRIES}/{rent['id']}", {"memo": "x"})
    nobody = ledger.draft("2026-01-12", ledger.line("ar", "5"), ledger.line("revenue", "-5"))
    ledger.owner.stays("422:party_required", ENTRIES, nobody["id"], "posted")
    ledger.owner.drop(ENTRIES, nobody["id"])
    assert ledger.balances() == {"bank": "950.0000", "revenue": "1000.0000", "expense": "50.0000"}
    return rent


def take_back(ledger: Ledger, rent: Body) -> None:
    """A reversal mirrors its entry, and there is one."""
    body = {"entry_date": "2026-02-01", "reversal_of_id": rent["id"]}
    reversal = ledger.post(ledger.owner.make(ENTRIES, **body))
    assert (reversal["number"], reversal["kind"]) == ("JE-2026-00003", "reversal")
    assert ledger.owner.get(ENTRIES, rent["id"])["status"] == "reversed"
    ledger.owner.expect_refusal("409:already_reversed", "POST", ENTRIES, body)
    assert ledger.balances() == {"bank": "1000.0000", "revenue": "1000.0000"}


def book_abroad(ledger: Ledger) -> None:
    """Euros at the last rate before the day; a cent that rounding leaves over has its account."""
    ledger.owner.make(f"{FIM}/currencies", code="EUR", name="Euro")
    lines = [ledger.line("bank", amount) for amount in ("33.33", "33.33", "33.34")]
    body = {"entry_date": "2026-02-10", "currency": "EUR", "lines": [*lines, ledger.line("revenue", "-100")]}
    ledger.owner.expect_refusal("422:no_exchange_rate", "POST", ENTRIES, body)
    for day, rate in (("2026-02-01", "1.1055"), ("2026-02-11", "1.2")):
        values = {"from_currency": "EUR", "to_currency": "USD", "rate_date": day, "rate": rate}
        ledger.owner.make(f"{FIM}/exchange-rates", **values)
    posted = ledger.post(ledger.owner.make(ENTRIES, **body))
    assert (posted["number"], posted["exchange_rate"]) == ("JE-2026-00004", "1.10550000")
    # 33.33 -> 36.85 twice, 33.34 -> 36.86, 100 -> 110.55: a cent of debit too many
    rows = posted["lines"]
    assert sum(Decimal(row["base_debit"]) - Decimal(row["base_credit"]) for row in rows) == 0


def close_and_reopen(ledger: Ledger) -> None:
    """Months close in order, without drafts, and take nothing then; the last closed one reopens."""
    owner, january, february = ledger.owner, ledger.period("2026-01"), ledger.period("2026-02")
    owner.stays("409:previous_period_open", PERIODS, february, "closed")
    draft = ledger.draft("2026-01-31", ledger.line("bank", "1"), ledger.line("revenue", "-1"))
    owner.stays("409:period_has_drafts", PERIODS, january, "closed")
    owner.drop(ENTRIES, draft["id"])
    owner.move(PERIODS, january, "closed")
    owner.move(PERIODS, february, "closed")
    late = ledger.draft("2026-02-28", ledger.line("bank", "1"), ledger.line("revenue", "-1"))
    owner.stays("409:period_closed", ENTRIES, late["id"], "posted")
    owner.stays("409:later_period_closed", PERIODS, january, "open")
    owner.move(PERIODS, february, "open")
    assert ledger.post(late)["number"] == "JE-2026-00005"
    owner.move(PERIODS, february, "closed", "locked")
    owner.stays("409:invalid_transition", PERIODS, february, "open")
