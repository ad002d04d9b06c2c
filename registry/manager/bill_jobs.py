"""What the clock does to billing: renewals (BILL-S7), reminders and suspensions (BILL-D1)."""

from __future__ import annotations

from datetime import date
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.sql import ColumnElement

from engine.hooks import Moment, Row, Rows
from engine.jobs import Job, Jobs
from registry.locks import lock_rows
from registry.manager.bill import DunningNotice, Invoice, Plan, Subscription
from registry.manager.notify import Recipient, notify
from registry.manager.pricing import period_end
from registry.manager.seats import seats_taken
from registry.manager.subscription_bills import open_period_invoices

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


class Schedule(NamedTuple):
    """After how many days past due each reminder goes out, and after how many the subscription is suspended."""

    reminders: list[int]
    suspension: int

    def steps(self, days: int) -> list[int]:
        """The reminders, counted from 1, that are due after so many days."""
        return [step for step, after in enumerate(self.reminders, start=1) if days >= after]


@jobs.on("run_dunning", "daily", timeout=1800)
async def run_dunning(job: Job) -> dict[str, int]:
    """Reminds of invoices past due, and suspends subscriptions that stay unpaid.

    Each invoice is one transaction. One that nothing is to be done about today is left alone."""
    counts = {"notices": 0, "past_due": 0, "suspended": 0}
    async with job.transaction() as moment:
        schedule = Schedule(await moment.setting("bill.dunning_days"), await moment.setting("bill.suspend_after_days"))
        overdue = await moment.fetch(_with_notices(job.today))
    for row in overdue:
        if not _calls_for_action(row, schedule, job.today):
            continue
        sent: Rows = []
        async with job.step(f"invoice {row['number']}") as moment:
            done, sent = await _dun(moment, row["id"], schedule)
            for name, count in done.items():
                counts[name] += count
        # a message that cannot be made takes nothing back; of several reminders at once only the last is told
        for notice in sent[-1:]:
            async with job.step(f"message about invoice {row['number']}") as moment:
                await _tell(moment, notice)
    return counts


def _overdue(today: date) -> ColumnElement[bool]:
    """Open invoices on which something is due since before the day. A credit note is owed by nobody."""
    heads = Invoice.__table__.c
    owed = (heads.kind == "invoice") & (heads.status == "open") & (heads.amount_due > 0)
    return heads.is_active & owed & (heads.due_date < today)


def _with_notices(today: date) -> Any:
    """SELECT of the overdue invoices, with the state of their subscription and the number of notices so far."""
    heads, contracts, notices = Invoice.__table__, Subscription.__table__, DunningNotice.__table__
    sent = select(func.count()).where(notices.c.invoice_id == heads.c.id, notices.c.is_active).scalar_subquery()
    return (
        select(heads.c.id, heads.c.number, heads.c.due_date, contracts.c.status, sent.label("notices"))
        .join_from(heads, contracts, heads.c.subscription_id == contracts.c.id, isouter=True)
        .where(_overdue(today))
        .order_by(heads.c.due_date, heads.c.id)
    )


def _calls_for_action(row: Row, schedule: Schedule, today: date) -> bool:
    days: int = (today - row["due_date"]).days
    if days >= schedule.suspension and row["status"] == "past_due":
        return True
    sent: int = row["notices"]
    return len(schedule.steps(days)) > sent


async def _dun(moment: Moment, key: UUID, schedule: Schedule) -> tuple[dict[str, int], Rows]:
    """Make the notices that an invoice lacks, and move its subscription. The counts, and the notices."""
    counts, sent = {"notices": 0, "past_due": 0, "suspended": 0}, list[Row]()
    for invoice in await lock_rows(moment, Invoice, Invoice.__table__.c.id == key, _overdue(moment.today)):
        days = (moment.today - invoice["due_date"]).days
        steps = await _missing(moment, key, schedule.steps(days))
        sent = await moment.create("bill.dunning-notices", _notices(moment, invoice, steps))
        counts["notices"] = len(sent)
        if 1 in steps:
            counts["past_due"] = await _move(moment, invoice, ("active", "past_due"))
        if days >= schedule.suspension:
            counts["suspended"] = await _move(moment, invoice, ("past_due", "suspended"))
    return counts, sent


async def _missing(moment: Moment, key: UUID, steps: list[int]) -> list[int]:
    """Those of the steps that have no notice yet."""
    notices = DunningNotice.__table__.c
    there = await moment.list("bill.dunning-notices", notices.invoice_id == key)
    return [step for step in steps if step not in {row["step"] for row in there}]


def _notices(moment: Moment, invoice: Row, steps: list[int]) -> list[dict[str, Any]]:
    about = {"invoice_id": invoice["id"], "subscription_id": invoice["subscription_id"]}
    owed = {"due_since": invoice["due_date"], "amount_due": invoice["amount_due"], "sent_at": moment.now}
    return [{**about, **owed, "step": step} for step in steps]


async def _tell(moment: Moment, notice: Row) -> None:
    """Write to the tenant's billing address where a template DUNNING_<step> is published."""
    invoice = await moment.get("bill.invoices", notice["invoice_id"])
    tenant = await moment.get("tnnt.tenants", invoice["tenant_id"]) if invoice else None
    if invoice is None or tenant is None:
        return
    to = Recipient(address=tenant["billing_email"], tenant_id=tenant["id"], locale=tenant["locale"])
    facts = {"tenant": tenant["name"], "number": invoice["number"], "currency": invoice["currency"]}
    facts |= {"amount_due": str(notice["amount_due"]), "due_date": notice["due_since"].isoformat()}
    message = await notify(moment, f"DUNNING_{notice['step']}", to, facts, f"dunning:{notice['id']}")
    if message is not None:
        await moment.update("bill.dunning-notices", [{"id": notice["id"], "notification_id": message["id"]}])


async def _move(moment: Moment, invoice: Row, edge: tuple[str, str]) -> int:
    """Take the invoice's subscription along an edge if it stands at its beginning. How many moved: 0 or 1."""
    columns = Subscription.__table__.c
    own = (columns.id == invoice["subscription_id"], columns.status == edge[0])
    rows = await moment.list("bill.subscriptions", *own) if invoice["subscription_id"] else []
    reason = f"invoice {invoice['number']} is past due"
    return len(await moment.status("bill.subscriptions", [row["id"] for row in rows], edge[1], reason))
