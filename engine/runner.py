"""One run of a handler: at the time it is for, once, or once for each tenant in use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from engine.errors import ApiError, generic
from engine.hooks import Moment
from engine.jobs import Handler
from engine.moment import UnitOfWork
from engine.observe import LOG
from engine.operations import Operations
from engine.store import translate
from engine.types import ENGINE, TenantRef

# failures that a run's output tells one by one; the rest is counted, and all are in the log
TOLD = 50
# label of what begins, how many are done, how many there are (None = nobody knows)
Watch = Callable[[str, int, int | None], None]


class JobFailed(Exception):
    """A run for several tenants that failed for some; `output` tells for which."""

    def __init__(self, name: str, output: dict[str, Any]) -> None:
        super().__init__(f"{name} failed for {', '.join(sorted(output['tenants_failed']))}")
        self.output = output


def unseen(_label: str, _done: int, _total: int | None) -> None:
    """Where nobody watches."""


class JobInHand:
    """Implements `engine.jobs.Job`."""

    def __init__(self, operations: Operations, handler: Handler, now: datetime, tenant: TenantRef | None) -> None:
        self.operations, self.handler, self.now, self.tenant = operations, handler, now, tenant
        self.name, self.scope = handler.name, handler.scope
        self.payload: Mapping[str, Any] = {}
        self.report: dict[str, Any] = {}
        self.steps = 0
        self.failures: list[dict[str, str]] = []
        self.watch: Watch = unseen

    @property
    def today(self) -> date:
        zone = self.tenant.timezone if self.tenant else "UTC"
        return self.now.astimezone(ZoneInfo(zone)).date()

    def unit(self) -> UnitOfWork:
        """A unit of work of the engine, bound to the tenant, whose clock stands at `now`."""
        return UnitOfWork(self.operations, self.scope, replace(ENGINE, tenant=self.tenant), now=self.now)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Moment]:
        """See `engine.jobs.Job`."""
        unit = self.unit()
        async with unit:
            yield unit
        await unit.after_commit()

    def step(self, label: str) -> Step:
        """See `engine.jobs.Job`."""
        self.watch(label, self.steps, None)
        self.steps += 1
        return Step(self, label)

    def note(self, label: str, error: Exception) -> None:
        """Write down that a step failed."""
        told = told_of(error)
        unexpected = error if told["code"] == "internal_error" else None
        tenant = self.tenant.slug if self.tenant else None
        LOG.error("step of a job failed", job=self.name, tenant=tenant, step=label, **told, exc_info=unexpected)
        self.failures.append({"step": label, **told})

    def output(self, answer: Mapping[str, Any] | None) -> dict[str, Any]:
        """What the run tells: its report, its answer, and its steps if it had some."""
        steps = {"steps": self.steps, "failed": len(self.failures)} if self.steps else {}
        told = {"failures": self.failures[:TOLD]} if self.failures else {}
        return {**self.report, **(answer or {}), **steps, **told}


class Step:
    """A transaction whose failure is noted and goes no further."""

    def __init__(self, job: JobInHand, label: str) -> None:
        self.job, self.label, self.unit = job, label, job.unit()

    async def __aenter__(self) -> Moment:
        return await self.unit.__aenter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> bool:
        try:
            await self.unit.__aexit__(kind, error, trace)
            failure = error
        except Exception as broken:  # the commit itself
            failure = broken
        if failure is None:
            await self.unit.after_commit()
            return False
        if isinstance(failure, Exception):
            self.job.note(self.label, failure)
            return True
        return False


def told_of(error: Exception) -> dict[str, str]:
    """Code and message of a failure, without a value of a row."""
    refusal: ApiError = translate(error, None, writing=True)
    where = "; ".join(f"{fault.field}: {fault.message}" for fault in refusal.details)
    text = type(error).__name__ if refusal.code == "internal_error" else refusal.message
    return {"code": refusal.code, "message": f"{text} ({where})" if where else text}


class Runner:
    """Runs handlers over one set of operations."""

    def __init__(self, operations: Operations) -> None:
        self.operations = operations

    async def tenants(self, handler: Handler, now: datetime, slug: str | None = None) -> list[TenantRef | None]:
        """For whom a handler runs: each tenant in use (or the one called `slug`), or once for nobody in particular. 404 for
        a tenant that is not in use."""
        catalog = self.operations.shop.catalog
        if not catalog.scopes[handler.scope].tenant_bound:
            return [None]
        if catalog.identity is None:
            return []
        async with UnitOfWork(self.operations, catalog.identity.scope, ENGINE, now=now) as unit:
            found = await catalog.identity.tenants(unit)
        if slug is not None and slug not in {tenant.slug for tenant in found}:
            raise generic("not_found", f"No tenant in use is called {slug}")
        return [tenant for tenant in found if slug in (None, tenant.slug)]

    async def run(
        self,
        handler: Handler,
        now: datetime,
        *,
        tenant: str | None = None,
        payload: Mapping[str, Any] | None = None,
        watch: Watch = unseen,
    ) -> dict[str, Any]:
        """The output of a run. What the handler raises ends it; a run for tenants goes on to the next one and ends as
        JobFailed. Numbers that tenants' outputs share are added up beside `tenants`, which has each by its slug."""
        jobs = [JobInHand(self.operations, handler, now, who) for who in await self.tenants(handler, now, tenant)]
        outputs: dict[str, Any] = {}
        failed: dict[str, Any] = {}
        for place, job in enumerate(jobs):
            job.payload, job.watch = payload or {}, watch
            if job.tenant is None:
                return job.output(await handler.run(job))
            watch(job.tenant.slug, place, len(jobs))
            job.watch = unseen
            try:
                outputs[job.tenant.slug] = job.output(await handler.run(job))
            except Exception as error:
                job.note("the whole run", error)
                failed[job.tenant.slug] = job.output(None)
        output = {**_sums(outputs), "tenants": outputs}
        if failed:
            raise JobFailed(handler.name, {**output, "tenants_failed": failed})
        return output


def _sums(outputs: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for output in outputs.values():
        for name, value in output.items():
            if isinstance(value, int) and not isinstance(value, bool):
                totals[name] = totals.get(name, 0) + value
    return totals
