"""Behaviour of fiscal periods: they follow each other without gaps, close in order, and reopen from the end."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import exists, select

from engine.errors import ConflictError
from engine.hooks import Change, Moment, Point, Row, Rules, refuse
from registry.locks import lock_by_id
from registry.tenants.dated_documents import unbooked_in
from registry.tenants.fim import FiscalPeriod

rules = Rules("tenants/fim")


@rules.on("FIM-P1", "fiscal-periods", Point.BEFORE_CREATE, raises="422:period_gap")
async def follow_on(moment: Moment, changes: list[Change]) -> None:
    """A period starts the day after the latest one ends, and its number runs on; only the first starts free."""
    table = FiscalPeriod.__table__
    later = table.alias()
    after = (later.c.tenant_id == table.c.tenant_id) & later.c.is_active & (later.c.end_date > table.c.end_date)
    found = await moment.list("fim.fiscal-periods", ~exists(select(later.c.id).where(after)), limit=1)
    last: Row | Change | None = found[0] if found else None
    for change in sorted(changes, key=lambda change: change["start_date"]):
        if last is not None and change["start_date"] != last["end_date"] + timedelta(days=1):
            raise refuse(change, "start_date", "period_gap", f"The period before ends on {last['end_date']}")
        if last is not None and (change["fiscal_year"], change["number"]) not in _following(last):
            raise refuse(change, "number", "period_gap", f"The period before is number {last['number']}")
        last = change


def _following(last: Row | Change) -> tuple[tuple[int, int], ...]:
    """(fiscal_year, number) that may come next: the next number, or the first of the next year."""
    return (last["fiscal_year"], last["number"] + 1), (last["fiscal_year"] + 1, 1)


@rules.on(
    "FIM-P2",
    "fiscal-periods",
    Point.BEFORE_STATUS,
    edges="open>closed",
    raises="409:previous_period_open 409:period_has_drafts",
)
async def close_in_order(moment: Moment, changes: list[Change]) -> None:
    """The periods before are closed or locked, and nothing inside waits to be booked. (Depreciation due inside comes with
    domain fam.)"""
    table = FiscalPeriod.__table__.c
    for change in changes:
        before = await moment.list("fim.fiscal-periods", table.end_date < change["start_date"])
        held = await lock_by_id(moment, FiscalPeriod, {row["id"] for row in before})
        if any(row["status"] == "open" for row in held.values()):
            raise ConflictError("previous_period_open", "An earlier period is still open")
        if waiting := await unbooked_in(moment, change.key):
            raise ConflictError("period_has_drafts", f"Unposted in this period: {', '.join(waiting)}")


@rules.on("FIM-P3", "fiscal-periods", Point.BEFORE_STATUS, edges="closed>open", raises="409:later_period_closed")
async def reopen_from_the_end(moment: Moment, changes: list[Change]) -> None:
    """Only the last closed period reopens. (Its permission is declared beside the entity; locked is for good.)"""
    table = FiscalPeriod.__table__.c
    for change in changes:
        after = await moment.list("fim.fiscal-periods", table.start_date > change["end_date"])
        held = await lock_by_id(moment, FiscalPeriod, {row["id"] for row in after})
        if any(row["status"] != "open" for row in held.values()):
            raise ConflictError("later_period_closed", "A later period is closed; reopen that one first")
