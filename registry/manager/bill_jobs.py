"""What the clock does to billing: renewals (BILL-S7), reminders and suspensions (BILL-D1)."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.sql import ColumnElement

from engine.hooks import Moment, Row
from engine.jobs import Job, Jobs
from registry.locks import lock_rows
from registry.manager.bill import DunningNotice, Invoice, Plan, Subscription
from registry.manager.pricing import period_end
from registry.manager.seats import seats_taken
from registry.manager.subscription_hooks import open_period_invoices

jobs = Jobs("manager")

# a suspended subscription is not billed further
RENEWED = ("trialing", "active", "past_due")


@jobs.on("renew_subscriptions", "daily", timeout=1800)
async def renew_subscriptions(job: Job) -> dict[str, int]:
    """Ends trials, applies what waits for the renewal, bills the next period, ends what was cancelled for its end.

    Each subscription is one transaction: one that fails is noted, and tried again by the next run."""
    counts = {"renewed": 0, "canceled": 0}
    columns = Subscription.__table__.c
    async with job.transaction() as moment:
        due = await moment.fetch(select(columns.id).where(_ended(job.today)).order_by(columns.period_end, columns.id))
    for row in due:
        async with job.step(f"subscription {row['id']}") as moment:
            for name, count in (await _renew(moment, row["id"])).items():
                counts[name] += count
    return counts


def _ended(today: date) -> ColumnElement[bool]:
    """The subscriptions whose period is over and has another one after it."""
    columns = Subscription.__table__.c
    return columns.is_active & columns.status.in_(RENEWED) & (columns.period_end <= today)


async def _renew(moment: Moment, key: UUID) -> dict[str, int]:
    """Bring a subscription to the period of today, with one invoice for each period that begins on the way."""
    columns, counts = Subscription.__table__.c, {"renewed": 0, "canceled": 0}
    for row in await lock_rows(moment, Subscription, columns.id == key, _ended(moment.today)):
        if row["cancel_at_period_end"]:
            await moment.status("bill.subscriptions", [key], "canceled", "at the end of the period")
            return {**counts, "canceled": 1}
        while row["period_end"] <= moment.today:
            row = await _next_period(moment, row)
            counts["renewed"] += 1
    return counts


async def _next_period(moment: Moment, row: Row) -> Row:
    """Move a subscription on by one period and bill it."""
    changes: dict[str, Any] = {"period_start": row["period_end"], **await _waiting(moment, row)}
    if row["status"] != "trialing" and row["discount_periods_left"]:
        changes["discount_periods_left"] = row["discount_periods_left"] - 1
    plans = Plan.__table__.c
    [plan] = await moment.fetch(select(plans.interval).where(plans.id == changes.get("plan_id", row["plan_id"])))
    changes["period_end"] = period_end(row["period_end"], plan["interval"], row["anchor_day"])
    [row] = await moment.update("bill.subscriptions", [{"id": row["id"], **changes}])
    if row["status"] == "trialing":
        [row] = await moment.status("bill.subscriptions", [row["id"]], "active", "the trial has ended")
    await open_period_invoices(moment, [row])
    return row


async def _waiting(moment: Moment, row: Row) -> dict[str, Any]:
    """BILL-S4: the plan and the seats that were put off until the renewal. Who joined since keeps his seat (BILL-S5)."""
    changes: dict[str, Any] = {}
    if row["pending_plan_id"] is not None:
        changes = {"plan_id": row["pending_plan_id"], "pending_plan_id": None}
    if row["pending_seats"] is not None:
        taken = await seats_taken(moment, {row["tenant_id"]})
        seats = max(row["pending_seats"], taken.get(row["tenant_id"], 0))
        changes |= {"seats": seats, "pending_seats": None}
    return changes
