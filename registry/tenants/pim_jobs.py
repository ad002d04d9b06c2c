"""What the clock does to the catalogue."""

from __future__ import annotations

from engine.jobs import Job
from registry.tenants.pim import PriceList


async def expire_price_lists(job: Job) -> dict[str, int]:
    """Part of the job expire_documents: active price lists past their valid_until expire."""
    lists = PriceList.__table__.c
    async with job.transaction() as moment:
        ended = await moment.list("pim.price-lists", lists.status == "active", lists.valid_until < job.today)
    expired = 0
    for row in ended:
        async with job.step(f"price list {row['code']}") as moment:
            expired += len(await moment.status("pim.price-lists", [row["id"]], "expired"))
    return {"price_lists": expired}
