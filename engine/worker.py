"""A worker: takes queued runs, one at a time each, and while it leads also has due jobs queued.

What it knows of jobs and runs stands in the entities with the roles `jobs` and `job_runs`; their rules say what follows a
failure. Any number of workers share one queue: a run is taken under a row lock that others skip, and belongs to the worker
named in its row while that one is alive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec
from sqlalchemy import select

from engine.catalog import Catalog, Resource
from engine.clock import CLOCK
from engine.errors import ConflictError, StartupFault
from engine.hooks import Row
from engine.jobs import Handler
from engine.moment import UnitOfWork
from engine.observe import LOG
from engine.operations import Operations
from engine.runner import JobFailed, Runner, told_of
from engine.sql.parts import ENCODER
from engine.types import ENGINE

POLL_SECONDS = 1.0
# seconds to wait after a beat that failed, as when the database is away
PAUSE_SECONDS = 2.0
FINISH_TRIES = 5
SCHEDULER_SECONDS = 30


class Presence(Protocol):
    """How workers know of each other."""

    name: str

    async def keep(self) -> bool:
        """Make sure that this worker counts as alive; False when it did not for a while."""

    async def leads(self) -> bool:
        """Whether this worker is the leader; it becomes the leader when there is none."""

    async def gone(self, names: Collection[str]) -> set[str]:
        """Those of the workers that are not alive."""

    async def resign(self) -> None:
        """Let another worker lead."""

    async def close(self) -> None:
        """Count as alive no longer."""


@dataclass(frozen=True)
class Ended:
    """What became of a run."""

    status: str
    output: Mapping[str, Any] | None = None
    error: str | None = None


def entity_of_jobs(catalog: Catalog, role: str) -> Resource:
    """The entity that plays `jobs` or `job_runs`. StartupFault without one."""
    found = next((resource for resource in catalog.resources.values() if resource.entity.role == role), None)
    if found is None:
        raise StartupFault(
            f"no entity has role={role!r}, in which workers find what is due: serve the bundled registry beside "
            '(--registry registry, or identity = "bundled"), declare one, or let something else call `cxg jobs run NAME`'
        )
    return found


class Worker:
    """One worker. `slots`: runs at the same time."""

    def __init__(self, operations: Operations, presence: Presence, *, slots: int = 4) -> None:
        """StartupFault when nothing in the registry plays the parts of jobs."""
        self.operations, self.presence, self.slots = operations, presence, slots
        self.runner = Runner(operations)
        self.handlers = operations.shop.handlers
        self.jobs, self.runs = (entity_of_jobs(operations.shop.catalog, role) for role in ("jobs", "job_runs"))
        self.scheduler = next((handler for handler in self.handlers.values() if handler.scheduler), None)
        self.in_hand: dict[UUID, asyncio.Task[None]] = {}
        self.lost: set[UUID] = set()
        self.stopping = False
        self.wake = asyncio.Event()

    def unit(self) -> UnitOfWork:
        """A unit of work on the runs, as the engine."""
        return UnitOfWork(self.operations, self.runs.scope.name, ENGINE)

    def stop(self) -> None:
        """Take no more runs and end when those in hand are done; asked again, end those too, as failed."""
        if self.stopping:
            for task in self.in_hand.values():
                task.cancel("stopped")
        self.stopping = True
        self.wake.set()

    async def work(self) -> None:
        """Until `stop`."""
        try:
            while not self.stopping or self.in_hand:
                pause = POLL_SECONDS
                try:
                    await self.beat()
                except Exception as error:
                    LOG.error("worker cannot go on for now", worker=self.presence.name, **told_of(error))
                    pause = PAUSE_SECONDS
                await self._rest(pause)
        finally:
            for task in self.in_hand.values():
                task.cancel("stopped")
            await asyncio.gather(*self.in_hand.values(), return_exceptions=True)
            await self.presence.close()

    async def _rest(self, seconds: float) -> None:
        self.wake.clear()
        if self.stopping and not self.in_hand:
            return
        try:
            async with asyncio.timeout(seconds):
                await self.wake.wait()
        except TimeoutError:
            return

    async def beat(self) -> None:
        """What happens every second: be alive, lead if nobody does, give up what was taken away, take what is due."""
        if not await self.presence.keep():
            self._let_go(set(self.in_hand))
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

    def _let_go(self, runs: set[UUID]) -> None:
        for key in runs & self.in_hand.keys() - self.lost:
            self.lost.add(key)
            self.in_hand[key].cancel("taken away")

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
        self._let_go(held - mine)
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
            self.lost.discard(run["id"])
            self.in_hand.pop(run["id"], None)
            self.wake.set()

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
