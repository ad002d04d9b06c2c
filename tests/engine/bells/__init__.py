"""A package that is served alone: nothing in it keeps jobs, so its handlers ring by the clock."""

from __future__ import annotations

import asyncio
from datetime import datetime

from sqlalchemy.orm import Mapped

from engine import Entity, Job, Jobs, Model, Name, Scope


class BellModel(Model, abstract=True):
    """Base of the package's models."""


class Stroke(BellModel, table="tower.strokes"):
    """A bell rang."""

    bell: Mapped[Name]
    run_for: Mapped[datetime]


scopes = [Scope("bells", BellModel.metadata, database="bells")]
strokes = Entity(Stroke, label="bell")
jobs = Jobs("bells")
# what the slow bell waits for
PULLED: dict[str, asyncio.Event] = {}


async def strike(job: Job) -> None:
    async with job.transaction() as moment:
        await moment.create("tower.strokes", [{"bell": job.name, "run_for": job.now}])


@jobs.on("ring", "minute")
async def ring(job: Job) -> dict[str, int]:
    """Rings each minute."""
    await strike(job)
    return {"rung": 1}


@jobs.on("ring_slowly", "minute")
async def ring_slowly(job: Job) -> None:
    """Rings when somebody has pulled long enough."""
    await PULLED["slow"].wait()
    await strike(job)


@jobs.on("crack", "hourly")
async def crack(job: Job) -> None:
    """Breaks after it rang, which takes the stroke back."""
    async with job.transaction() as moment:
        await moment.create("tower.strokes", [{"bell": job.name, "run_for": job.now}])
        raise RuntimeError("cracked")


@jobs.on("drag", "5 4 * * *", timeout=1)
async def drag(job: Job) -> None:
    """Never comes to an end."""
    await asyncio.sleep(60)
