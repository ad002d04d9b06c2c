"""The books of a tenant of its own, as tests and stories write in them over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from uuid import UUID

import pytest

from engine.clock import CLOCK
from engine.hooks import Moment
from engine.testing.harness import Live
from engine.types import Principal, TenantRef
from registry.tenants.fim_seed import seed_ledger
from tests.calls import Body, Caller, World, work_as

CURRENCIES, RATES, ACCOUNTS = "tenants/fim/currencies", "tenants/fim/exchange-rates", "tenants/fim/accounts"
PERIODS, CENTERS, TAXES = "tenants/fim/fiscal-periods", "tenants/fim/cost-centers", "tenants/fim/tax-codes"
ENTRIES, LINES, BUDGETS = "tenants/fim/journal-entries", "tenants/fim/journal-lines", "tenants/fim/budgets"
NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)


@dataclass
class Books:
    """A tenant with base currency USD, an account for each role and the months of 2026. `caller` may do everything in it."""

    live: Live
    place: TenantRef

    @cached_property
    def caller(self) -> Caller:
        """Who may do everything."""
        return Caller(self.live.lend(self.principal))

    @cached_property
    def principal(self) -> Principal:
        """The same, as rules know him."""
        return Principal(CLOCK.new_id(), tenant=self.place, everything=True)

    def clerk(self, *without: str) -> Caller:
        """Somebody who may do everything but this."""
        codes = self.live.catalog.permissions[True] - set(without)
        return Caller(self.live.lend(Principal(CLOCK.new_id(), tenant=self.place, permissions=codes)))

    def work(self, do: Callable[[Moment], Awaitable[Any]]) -> Any:
        """What a rule would do, in a transaction of its own."""
        return work_as(self.live, "tenants", self.principal, do)

    @cached_property
    def roles(self) -> dict[str, Body]:
        """System role -> account."""
        rows = self.caller.list(ACCOUNTS)
        return {row["system_role"]: row for row in rows if row["system_role"]}

    def line(self, account: str | Body, amount: str, **values: Any) -> Body:
        """A line on an account, or on that of a role; an amount with a minus is a credit."""
        row = self.roles[account] if isinstance(account, str) else account
        side = {"credit": amount[1:]} if amount.startswith("-") else {"debit": amount}
        return {"account_id": row["id"], **side, **values}

    def draft(self, *lines: Body, on: str = "2026-06-15", **values: Any) -> Body:
        """A draft entry."""
        return self.caller.make(ENTRIES, entry_date=on, lines=list(lines), **values)

    def sale(self, amount: str = "100", on: str = "2026-06-15", **values: Any) -> Body:
        """A draft: bank to revenue."""
        return self.draft(self.line("bank", amount), self.line("revenue", f"-{amount}"), on=on, **values)

    def post(self, entry: Body) -> Body:
        """A draft after its posting."""
        return self.caller.move(ENTRIES, entry["id"], "posted")

    def balance(self, account: str | Body) -> str:
        """What an account holds."""
        row = self.roles[account] if isinstance(account, str) else account
        return str(self.caller.get(ACCOUNTS, row["id"])["balance"])

    def use_euro(self, rate: str = "1.1", on: str = "2026-06-01") -> Body:
        """The euro is in use, at a rate from a day on."""
        euro = self.caller.make(CURRENCIES, code="EUR", name="Euro")
        self.caller.make(RATES, from_currency="EUR", to_currency="USD", rate_date=on, rate=rate)
        return euro

    def period(self, month: int) -> Body:
        """A month of 2026."""
        return self.caller.list(PERIODS, f"filter[code]=2026-{month:02d}")[0]

    def close(self, *months: int) -> None:
        """Close months of 2026."""
        for month in months:
            self.caller.move(PERIODS, self.period(month)["id"], "closed")


@pytest.fixture
def june(freeze: Callable[[datetime | None], None]) -> Iterator[datetime]:
    """The clock stands in June 2026."""
    freeze(NOON)
    yield NOON


@pytest.fixture
def books(world: World, june: datetime) -> Books:
    """Books nobody has written in."""
    tenant = world.tenant()
    books = Books(world.live, TenantRef(UUID(tenant["id"]), tenant["slug"]))
    books.work(lambda moment: seed_ledger(moment, "USD"))
    return books
