"""What the clock does to tenants and their host names: closing (TNNT-T5), verification (TNNT-D2)."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select

from engine.hooks import Row
from engine.jobs import Job, Jobs
from registry.locks import lock_rows
from registry.manager.tnnt import Domain, Tenant
from registry.manager.txt_records import carry_tokens, name_server

jobs = Jobs("manager")


@jobs.on("close_tenants", "daily")
async def close_tenants(job: Job) -> dict[str, int]:
    """Closes the tenants whose closing day has come. One on legal hold is noted and stays as it is."""
    closed, columns = 0, Tenant.__table__.c
    due = columns.is_active & (columns.status == "closing") & (columns.closing_on <= job.today)
    async with job.transaction() as moment:
        rows = await moment.fetch(select(columns.id, columns.slug).where(due).order_by(columns.closing_on, columns.id))
    for row in rows:
        async with job.step(f"tenant {row['slug']}") as moment:
            closed += len(await moment.status("tnnt.tenants", [row["id"]], "closed", "the closing day has come"))
    return {"closed": closed}


@jobs.on("verify_domains", "*/10 * * * *")
async def verify_domains(job: Job) -> dict[str, int]:
    """Looks for the TXT records of the host names that wait for it; a name without one for too long has failed."""
    columns, counts = Domain.__table__.c, {"verified": 0, "failed": 0}
    async with job.transaction() as moment:
        server, patience = await name_server(moment), await moment.setting("tnnt.verification_hours")
        names = select(columns.id, columns.hostname, columns.verification_token, columns.updated_at)
        waiting = await moment.fetch(names.where(columns.is_active, columns.status == "pending").order_by(columns.id))
    # the name servers are asked outside any transaction: they may take their time
    found = await carry_tokens(server, [(row["hostname"], row["verification_token"]) for row in waiting])
    for row, carried in zip(waiting, found, strict=True):
        status = _verdict(row, carried, job.now - timedelta(hours=patience))
        if status is None:
            continue
        async with job.step(f"host name {row['hostname']}") as moment:
            mine = await lock_rows(moment, Domain, columns.id == row["id"], columns.status == "pending")
            moved = await moment.status("tnnt.domains", [own["id"] for own in mine], status, "the TXT record was read")
            counts[status] += len(moved)
    return counts


def _verdict(row: Row, carried: bool | None, since: datetime) -> str | None:
    """Where a waiting host name goes: nowhere while its owner may still be about to write the record."""
    if carried:
        return "verified"
    return "failed" if carried is False and row["updated_at"] <= since else None
