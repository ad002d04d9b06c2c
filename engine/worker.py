"""A worker: takes queued runs, one at a time each, and while it leads also has due jobs queued.

What it knows of jobs and runs stands in the entities with the roles `jobs` and `job_runs`; their rules say what follows a
failure. Any number of workers share one queue: a run is taken under a row lock that others skip, and belongs to the worker
named in its row while that one is alive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import select

from engine.catalog import Catalog, Resource
from engine.clock import CLOCK
from engine.errors import ConflictError
from engine.hands import PAUSE_SECONDS, Hands, Presence
from engine.hooks import Row
from engine.jobs import Handler
from engine.moment import UnitOfWork
from engine.observe import LOG
from engine.operations import Operations
from engine.runner import JobFailed, told_of
from engine.sql.parts import ENCODER
from engine.types import ENGINE

FINISH_TRIES = 5
SCHEDULER_SECONDS = 30


@dataclass(frozen=True)
class Ended:
    """What became of a run."""

    status: str
    output: Mapping[str, Any] | None = None
    error: str | None = None


def queue_of(catalog: Catalog) -> tuple[Resource, Resource] | None:
    """The entities that play `jobs` and `job_runs`, where there are such."""
    by_role = {resource.entity.role: resource for resource in catalog.resources.values()}
    found = by_role.get("jobs"), by_role.get("job_runs")
    return None if found[0] is None or found[1] is None else (found[0], found[1])


class Worker(Hands[UUID]):
    """One worker; what it has in hand are runs by their ids."""

    def __init__(
        self, operations: Operations, presence: Presence, slots: int, queue: tuple[Resource, Resource]
    ) -> None:
        """`queue`: see `queue_of`."""
        super().__init__(operations, presence, slots)
        self.jobs, self.runs = queue
        self.scheduler = next((handler for handler in self.handlers.values() if handler.scheduler), None)

    def unit(self) -> UnitOfWork:
        """A unit of work on the runs, as the engine."""
        return UnitOfWork(self.operations, self.runs.scope.name, ENGINE)

    async def beat(self) -> None:
        """What happens every second: be alive, lead if nobody does, give up what was taken away, take what is due."""
        if not await self.presence.keep():
            self.let_go(set(self.in_hand))
        await self._watch_runs()
        if self.stopping:
            await self.presence.resign()
            return
        if await self.presence.leads():
            await self._schedule()
        free = self.slots - len(self.in_hand)
        for run in await self._take(free) if free > 0 else ():
            task = asyncio.create_task(self._carry_out(run))
            self.in_hand[run["id"]] = task

    async def _schedule(self) -> None:
        if self.scheduler is None:
            return
        try:
            async with asyncio.timeout(SCHEDULER_SECONDS):
                await self.runner.run(self.scheduler, CLOCK.now())
        except Exception as error:
            LOG.error("scheduling failed", worker=self.presence.name, **told_of(error), exc_info=error)

    async def _watch_runs(self) -> None:
        """Let go what was canceled; end as failed what nobody works on any more."""
        table, held = self.runs.table.c, set(self.in_hand)
        async with self.unit() as unit:
            running = await unit.fetch(
                select(table.id, table.worker).where(table.status == "running", table.finished_at.is_(None))
            )
        mine = {row["id"] for row in running if row["worker"] == self.presence.name}
        self.let_go(held - mine)
        others = {row["worker"] or "" for row in running} - {self.presence.name}
        gone = await self.presence.gone(others) if others else set()
        orphans = [row["id"] for row in running if (row["worker"] or "") in gone]
        for key in (*orphans, *(mine - held)):
            await self._finish(key, Ended("failed", error="worker_lost: the worker ended during the run"))

    async def _take(self, most: int) -> list[Row]:
        """Up to `most` due runs, now running under this worker's name."""
        runs, jobs = self.runs.table, self.jobs.table
        wanted = (
            select(runs.c.id, runs.c.scheduled_for, jobs.c.handler, jobs.c.payload, jobs.c.timeout_seconds)
            .join(jobs, jobs.c.id == runs.c.job_id)
            .where(runs.c.is_active, runs.c.status == "queued", runs.c.finished_at.is_(None))
            .where(runs.c.scheduled_for <= CLOCK.now())
            .order_by(runs.c.scheduled_for, runs.c.id)
            .limit(most)
            .with_for_update(skip_locked=True, of=runs)
        )
        unit = self.unit()
        async with unit:
            taken = await unit.fetch(wanted)
            if taken:
                keys = [row["id"] for row in taken]
                await unit.update(self.runs.key, [{"id": key, "worker": self.presence.name} for key in keys])
                await unit.status(self.runs.key, keys, "running")
        await unit.after_commit()
        return taken

    async def _carry_out(self, run: Row) -> None:
        try:
            ended = await self._try(run)
            await self._finish(run["id"], ended)
        except asyncio.CancelledError:
            if run["id"] not in self.lost:
                await self._finish(run["id"], Ended("failed", error="stopped: the worker was stopped during the run"))
        finally:
            self.done_with(run["id"])

    async def _try(self, run: Row) -> Ended:
        limit = asyncio.timeout(run["timeout_seconds"])
        try:
            async with limit:
                return Ended("succeeded", await self._run(run))
        except JobFailed as failed:
            return Ended("failed", _plain(failed.output), f"tenants_failed: {failed}")
        except Exception as error:
            if limit.expired():
                return Ended("timed_out", error=f"timed_out: it took longer than {run['timeout_seconds']} seconds")
            told = told_of(error)
            LOG.error("job failed", job=run["handler"], run=str(run["id"]), **told, exc_info=error)
            return Ended("failed", error=f"{told['code']}: {told['message']}")

    async def _run(self, run: Row) -> dict[str, Any]:
        handler: Handler | None = self.handlers.get(run["handler"])
        if handler is None:
            raise ConflictError("unknown_handler", f"No handler {run['handler']} is registered with this worker")
        now: datetime = run["scheduled_for"]
        return _plain(await self.runner.run(handler, now, payload=run["payload"]))

    async def _finish(self, key: UUID, ended: Ended) -> None:
        """Write down what became of a run, whatever it takes; a run that is over already stays as it is."""
        for left in reversed(range(FINISH_TRIES)):
            try:
                unit = self.unit()
                async with unit:
                    row = {"id": key, "output": ended.output, "error": ended.error}
                    await unit.update(self.runs.key, [row])
                    await unit.status(self.runs.key, [key], ended.status)
                await unit.after_commit()
                return
            except ConflictError:
                return
            except Exception as error:
                LOG.error("the end of a run cannot be written down", run=str(key), tries_left=left, **told_of(error))
                await asyncio.sleep(PAUSE_SECONDS if left else 0)


def _plain(output: Mapping[str, Any]) -> dict[str, Any]:
    """As jsonb holds it. TypeError for what is no JSON."""
    plain: dict[str, Any] = msgspec.json.decode(ENCODER.encode(output))
    return plain
