"""Valid rows of the general ledger: months in their order, currencies in use, entries that can be posted."""

from __future__ import annotations

import itertools
from calendar import monthrange
from datetime import date, timedelta
from typing import Any

from engine.testing.rows import Body, Recipe, RowMaker
from engine.testing.values import NUMBERS

PERIODS = "tenants/fim/fiscal-periods"
CODES = itertools.count()


def listed(maker: RowMaker, path: str, query: str) -> list[Body]:
    """The first row of a list of the maker's tenant, if there is one."""
    answer = maker.client(maker.live.resource(path)).get(f"/{path}?page_size=1&{query}")
    rows: list[Body] = answer.json()["data"]["items"]
    return rows


def currency_code(_maker: RowMaker) -> str:
    """A code that no other row has."""
    n = next(CODES)
    return "QXZ"[n // 676 % 3] + chr(65 + n // 26 % 26) + chr(65 + n % 26)


def two_currencies(maker: RowMaker) -> Body:
    """Currencies between which there is no rate."""
    made = [maker.make(maker.live.resource("tenants/fim/currencies"))["code"] for _ in range(2)]
    return {"from_currency": made[0], "to_currency": made[1], "rate_date": "2020-01-01"}


def next_period(maker: RowMaker) -> Body:
    """The month after the latest period, as a fiscal year of its own; without any, this month."""
    found = listed(maker, PERIODS, "sort=-end_date")
    start = date.fromisoformat(found[0]["end_date"]) + timedelta(days=1) if found else date.today().replace(day=1)
    end = start.replace(day=monthrange(start.year, start.month)[1])
    year = found[0]["fiscal_year"] + 1 if found else start.year
    days = {"start_date": start.isoformat(), "end_date": end.isoformat()}
    return {"code": f"P{next(NUMBERS)}", "fiscal_year": year, "number": 1, **days}


def today(_maker: RowMaker) -> str:
    """A day in a period of any tenant: each begins with those of this year."""
    return date.today().isoformat()


def balanced(maker: RowMaker) -> list[Any]:
    """Lines of an entry in balance, on an account that takes entries."""
    account = maker.make(maker.live.resource("tenants/fim/accounts"), is_group=False)["id"]
    return [{"account_id": account, "debit": "10.5"}, {"account_id": account, "credit": "10.5"}]


LEDGER_RECIPES = {
    "tenants/fim/currencies": Recipe(values={"code": currency_code, "is_base": False}),
    "tenants/fim/exchange-rates": Recipe(values=two_currencies),
    # groups of one type, so that any may lie below any other
    "tenants/fim/accounts": Recipe(values={"type": "asset", "is_group": True, "system_role": None}),
    "tenants/fim/fiscal-periods": Recipe(
        values=next_period,
        skip={
            **dict.fromkeys(("bulk_all_or_nothing", "audit_is_complete"), "bodies made in advance are no longer next"),
            "status_walk": "a period closes after all before it, in which other rows' drafts lie",
        },
    ),
    "tenants/fim/journal-entries": Recipe(
        values={"entry_date": today, "currency": "USD", "reversal_of_id": None, "lines": balanced}
    ),
    "tenants/fim/journal-lines": Recipe(values={"debit": "10.5", "credit": "0"}),
}
