"""The daily end of what has an end: each domain has a part in the one job."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from engine.jobs import Job, Jobs
from registry.tenants.pim_jobs import expire_price_lists

jobs = Jobs("tenants")

PARTS: tuple[Callable[[Job], Awaitable[dict[str, int]]], ...] = (expire_price_lists,)


@jobs.on("expire_documents", "daily", timeout=1800)
async def expire_documents(job: Job) -> dict[str, int]:
    """Moves what is past its end out of use. Answers how many rows of each kind."""
    counts: dict[str, int] = {}
    for part in PARTS:
        counts |= await part(job)
    return counts
