"""Budget control (FIM-B1): what an order may still commit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import select

from engine.errors import ConflictError
from engine.hooks import Moment
from registry.locks import lock_by_id
from registry.tenants.fim import Budget, actual, committed
from registry.tenants.periods import periods_of


async def budget_check(
    moment: Moment, on: date, cost_center_id: UUID | None, amounts: Mapping[UUID, Decimal]
) -> list[str]:
    """Hold the base net amounts that an order commits (account -> sum of its lines) against the budgets of its month and
    cost centre: actual + committed + amount <= budget. Returns a warning for each budget with control `warn` that is
    exceeded; 409 budget_exceeded for one with `block`. Call it before the order counts as committed."""
    period = (await periods_of(moment, [on])).get(on)
    table: Any = Budget.__table__
    found = await moment.list(
        "fim.budgets",
        table.c.account_id.in_(amounts),
        table.c.cost_center_id.is_not_distinct_from(cost_center_id),
        table.c.fiscal_year == (period["fiscal_year"] if period else on.year),
        table.c.period_number == (period["number"] if period else on.month),
        table.c.control != "none",
    )
    # held, so that of two orders at once the second counts the first
    held = await lock_by_id(moment, Budget, {row["id"] for row in found})
    spent = (actual(table) + committed(table)).label("spent")
    used = await moment.fetch(select(table.c.id, spent).where(table.c.id.in_(held))) if held else []
    warnings = []
    for row in used:
        budget = held[row["id"]]
        over = row["spent"] + amounts[budget["account_id"]] - budget["amount"]
        if over > 0 and budget["control"] == "block":
            raise ConflictError("budget_exceeded", f"The budget of {budget['amount']} is exceeded by {over}")
        if over > 0:
            warnings.append(f"The budget of {budget['amount']} is exceeded by {over}")
    return warnings
