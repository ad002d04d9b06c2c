"""Rows of the general ledger to try things with."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from engine.hooks import Moment, Row
from registry.tenants.fim import Account, CurrencyInUse, TaxCode
from registry.tenants.fim_seed import seed_ledger
from registry.tenants.rates import base_currency


async def demo_fim(tenant: Moment) -> None:
    """Make the rows once; `tenant` is bound to the demo tenant."""
    await seed_ledger(tenant, str(await tenant.setting("base_currency")))
    if await tenant.list("fim.tax-codes", TaxCode.__table__.c.code == "VAT10", limit=1):
        return
    await _taxes_and_rates(tenant)
    accounts = await tenant.list("fim.accounts", Account.__table__.c.system_role.is_not(None))
    roles = {row["system_role"]: row for row in accounts}
    center = {"code": "SALES", "name": "Sales", "valid_from": tenant.today.replace(month=1, day=1)}
    [sales] = await tenant.create("fim.cost-centers", [center])
    await _entries(tenant, roles, sales)
    budget = {"account_id": roles["expense"]["id"], "cost_center_id": sales["id"], "amount": 2000, "control": "block"}
    month = {"fiscal_year": tenant.today.year, "period_number": tenant.today.month}
    await tenant.create("fim.budgets", [{**budget, **month}])


async def _taxes_and_rates(tenant: Moment) -> None:
    start = tenant.today.replace(month=1, day=1)
    await tenant.create("fim.tax-codes", [{"code": "VAT10", "name": "VAT 10 %", "rate": 10, "valid_from": start}])
    base, codes = await base_currency(tenant), CurrencyInUse.__table__.c
    known = {row["code"] for row in await tenant.list("fim.currencies", codes.code.in_(["EUR", "GBP"]))}
    others = [code for code in ("EUR", "GBP") if code not in known]
    await tenant.create("fim.currencies", [{"code": code, "name": code} for code in others])
    days = [start + timedelta(days=7 * week) for week in range(3)]
    rates = [
        {"from_currency": code, "to_currency": base, "rate_date": day, "rate": "1.1"}
        for code in ("EUR", "GBP")
        for day in days
        if code != base
    ]
    await tenant.create("fim.exchange-rates", rates)


async def _entries(tenant: Moment, roles: dict[str, Row], center: Row) -> None:
    """Capital paid in, rent for a cost centre, and a correction that waits for its posting."""
    bookings: list[tuple[str, list[dict[str, Any]]]] = [
        ("Opening balance", [_line(roles["bank"], debit=25_000), _line(roles["retained_earnings"], credit=25_000)]),
        ("Rent", [_line(roles["expense"], debit=800, cost_center_id=center["id"]), _line(roles["bank"], credit=800)]),
        ("To be checked", [_line(roles["expense"], debit=12), _line(roles["bank"], credit=12)]),
    ]
    heads = [{"entry_date": tenant.today, "memo": memo} for memo, _ in bookings]
    entries = await tenant.create("fim.journal-entries", heads)
    lines = [
        {"journal_entry_id": entry["id"], "position": place, **line}
        for entry, (_, own) in zip(entries, bookings, strict=True)
        for place, line in enumerate(own, start=1)
    ]
    await tenant.create("fim.journal-lines", lines)
    await tenant.status("fim.journal-entries", [entry["id"] for entry in entries[:2]], "posted")


def _line(account: Row, **values: Any) -> dict[str, Any]:
    return {"account_id": account["id"], **values}
