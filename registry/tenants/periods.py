"""Fiscal periods by day: which one a day falls in, and whether it still takes entries."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

from sqlalchemy import select

from engine.errors import ConflictError
from engine.hooks import Moment, Row
from registry.tenants.fim import FiscalPeriod


def closed(day: date) -> ConflictError:
    """409: nothing is posted on this day."""
    return ConflictError("period_closed", f"{day} falls in no open fiscal period")


async def periods_of(moment: Moment, days: Collection[date]) -> dict[date, Row]:
    """Day -> the period that it falls in, whatever its state. Days without one are absent."""
    periods = FiscalPeriod.__table__.c
    if not days:
        return {}
    found = await moment.list("fim.fiscal-periods", periods.start_date <= max(days), periods.end_date >= min(days))
    return {day: row for row in found for day in days if row["start_date"] <= day <= row["end_date"]}


async def open_periods(moment: Moment, days: Collection[date]) -> dict[date, Row]:
    """The same of days in open periods, which stay open until the end of the transaction. 409 period_closed."""
    found = await periods_of(moment, days)
    table = FiscalPeriod.__table__
    keys = {row["id"] for row in found.values()}
    # shared, so that postings do not wait for each other, only for somebody who closes the period
    held = select(table.c.id, table.c.status).where(table.c.id.in_(keys)).order_by(table.c.id)
    states = {row["id"]: row["status"] for row in await moment.fetch(held.with_for_update(read=True))}
    for day in days:
        if day not in found or states.get(found[day]["id"]) != "open":
            raise closed(day)
    return found


async def period_on(moment: Moment, day: date) -> Row:
    """The open period of a day, held open until the end of the transaction. 409 period_closed."""
    return (await open_periods(moment, [day]))[day]
