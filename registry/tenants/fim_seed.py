"""The ledger that a new tenant starts with."""

from __future__ import annotations

from calendar import monthrange
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import or_

from engine.hooks import Moment
from registry.tenants.fim import Account, CurrencyInUse
from registry.tenants.fim_hooks import ROLE_TYPES


class Named(NamedTuple):
    """Code and name of an account."""

    code: str
    name: str


# system role -> its account; assets 1, liabilities 2, equity 3, income 4, cost of sales 5, other expenses 6
CHART: dict[str, Named] = {
    "bank": Named("1000", "Bank"),
    "ar": Named("1100", "Accounts receivable"),
    "inventory": Named("1200", "Inventory"),
    "tax_input": Named("1300", "Input tax"),
    "ap": Named("2000", "Accounts payable"),
    "grni": Named("2100", "Goods received, not invoiced"),
    "tax_output": Named("2200", "Output tax"),
    "payroll_payable": Named("2300", "Payroll payable"),
    "payroll_tax_payable": Named("2310", "Payroll tax and social security payable"),
    "retained_earnings": Named("3000", "Retained earnings"),
    "revenue": Named("4000", "Revenue"),
    "cogs": Named("5000", "Cost of goods sold"),
    "price_variance": Named("5100", "Purchase price variance"),
    "inventory_adjustment": Named("5200", "Inventory adjustments"),
    "expense": Named("6000", "General expenses"),
    "payroll_expense": Named("6100", "Payroll expense"),
    "bad_debt": Named("6200", "Bad debt"),
    "fx_gain_loss": Named("6300", "Exchange gains and losses"),
    "disposal_gain_loss": Named("6400", "Gains and losses on disposal"),
    "rounding": Named("6900", "Rounding"),
}


async def seed_ledger(moment: Moment, currency: str) -> None:
    """Base currency, an account for each role, and the months of this year. What is there already stays."""
    await _seed_currency(moment, currency)
    await _seed_accounts(moment)
    if not await moment.list("fim.fiscal-periods", limit=1):
        await moment.create("fim.fiscal-periods", [_month(moment.today.year, n) for n in range(1, 13)])


async def _seed_currency(moment: Moment, currency: str) -> None:
    codes = CurrencyInUse.__table__.c
    if not await moment.list("fim.currencies", or_(codes.is_base, codes.code == currency), limit=1):
        row = {"code": currency, "name": currency, "is_base": True, "decimal_places": await moment.places(currency)}
        await moment.create("fim.currencies", [row])


async def _seed_accounts(moment: Moment) -> None:
    accounts = Account.__table__.c
    taken = or_(accounts.system_role.is_not(None), accounts.code.in_({named.code for named in CHART.values()}))
    rows = await moment.list("fim.accounts", taken)
    roles, codes = {row["system_role"] for row in rows}, {row["code"] for row in rows}
    missing = [
        {"code": named.code, "name": named.name, "type": ROLE_TYPES[role][0], "system_role": role}
        for role, named in CHART.items()
        if role not in roles and named.code not in codes
    ]
    await moment.create("fim.accounts", missing)


def _month(year: int, number: int) -> dict[str, Any]:
    return {
        "code": f"{year}-{number:02d}",
        "fiscal_year": year,
        "number": number,
        "start_date": date(year, number, 1),
        "end_date": date(year, number, monthrange(year, number)[1]),
    }
