"""Work that the clock starts: a registry declares handlers, `cxg worker` runs them when they are due.

    jobs = Jobs("manager")

    @jobs.on("run_dunning", "daily")
    async def run_dunning(job: Job) -> dict[str, int]:
        for invoice in await overdue(job):
            async with job.step(f"invoice {invoice['number']}") as moment:
                await moment.create("bill.dunning-notices", [...])

A handler of a tenant-bound scope runs once for each tenant in use, bound to it. Run twice for the same `now`, it changes
nothing the second time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from engine.hooks import Moment
from engine.types import TenantRef

CADENCES = {
    "minute": "* * * * *",
    "hourly": "0 * * * *",
    "daily": "0 0 * * *",
    "monthly": "0 0 1 * *",
    "yearly": "0 0 1 1 *",
}


class Job(Protocol):
    """One run of a handler, for one tenant where the scope is bound to tenants."""

    name: str
    scope: str
    tenant: TenantRef | None
    # what the run's schedule was given, as its row says
    payload: Mapping[str, Any]
    # what the run tells beside its answer; the worker keeps both in the run's output
    report: dict[str, Any]

    @property
    def now(self) -> datetime:
        """The time that the run is for; the clock of all its units of work stands there."""

    @property
    def today(self) -> date:
        """The day of `now`, in the tenant's time zone."""

    def step(self, label: str) -> AbstractAsyncContextManager[Moment, bool]:
        """A transaction whose failure is rolled back, logged, counted and noted under `label`, and does not end the run."""

    def transaction(self) -> AbstractAsyncContextManager[Moment, bool | None]:
        """A transaction whose failure ends the run."""


Run = Callable[[Job], Awaitable[Mapping[str, Any] | None]]


@dataclass(frozen=True)
class Handler:
    """What runs under a name. `cron`: when, in UTC, unless its row in the entity of role `jobs` says otherwise. `timeout`:
    seconds that a run may take. `scheduler`: it queues the runs of the others; the leader of the workers calls it."""

    name: str
    scope: str
    cron: str
    timeout: int
    run: Run
    scheduler: bool = False

    @property
    def description(self) -> str:
        """First paragraph of the function's docstring."""
        return " ".join((self.run.__doc__ or "").split("\n\n")[0].split())


@dataclass
class Jobs:
    """The handlers of one scope, as a registry file declares them."""

    scope: str
    handlers: list[Handler] = field(default_factory=list)

    def on(self, name: str, cadence: str, *, timeout: int = 300, scheduler: bool = False) -> Callable[[Run], Run]:
        """Declare a handler. `cadence`: minute, hourly, daily, monthly, yearly, or a cron text of five fields."""

        def bind(run: Run) -> Run:
            self.handlers.append(Handler(name, self.scope, CADENCES.get(cadence, cadence), timeout, run, scheduler))
            return run

        return bind


def cron_fault(cron: str) -> str | None:
    """What is wrong with a cron text, or None."""
    if len(cron.split()) != 5:
        return "a cron text has five fields: minute hour day month weekday"
    try:
        never = next(CronSim(cron, datetime(2000, 1, 1, tzinfo=UTC)), None) is None
    except (CronSimError, ValueError, AssertionError) as wrong:
        return str(wrong) or "it cannot be read"
    return "it names no day that ever comes" if never else None


def next_time(cron: str, timezone: str, after: datetime) -> datetime:
    """The first time of a valid cron text after `after`, in UTC. A time that the change of clocks skips comes right after
    it, one that it repeats comes once."""
    return next(CronSim(cron, after.astimezone(ZoneInfo(timezone)))).astimezone(UTC)


def last_time(cron: str, timezone: str, until: datetime) -> datetime:
    """The last time of a valid cron text not after `until`, in UTC."""
    end = until.replace(microsecond=0) + timedelta(seconds=1)
    return next(CronSim(cron, end.astimezone(ZoneInfo(timezone)), reverse=True)).astimezone(UTC)
