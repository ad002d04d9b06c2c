"""What the change log says of an export: who took which rows away, and as what."""

from __future__ import annotations

from typing import Any

from engine.catalog import Resource
from engine.formats import Format
from engine.moment import UnitOfWork

LONGEST = 2000


async def record_export(by: UnitOfWork, resource: Resource, form: Format, query: str) -> None:
    """Write the record, in a transaction of its own: it stands before the first row leaves."""
    log = by.shop.catalog.roles.get((resource.scope.name, "change_log"))
    if log is None:
        return
    values: dict[str, Any] = {
        "occurred_at": by.now,
        "actor_id": by.principal.user_id,
        "actor_email": by.principal.email,
        "action": "export",
        "domain": resource.entity.domain,
        "entity": resource.entity.name,
        "changes": {"format": [None, form.name], "query": [None, query[:LONGEST]]},
        "outcome": "ok",
        "ip": by.caller.ip,
        "user_agent": by.caller.user_agent,
        "request_id": by.caller.request_id or None,
    }
    if not resource.scope.tenant_bound:
        values |= {"scope": resource.scope.side}
    unit = UnitOfWork(by.operations, resource.scope.name, by.principal, by.caller)
    async with unit:
        known = {name: value for name, value in values.items() if name in log.table.c}
        await by.operations.create_internal(unit, log, [known])
    await unit.after_commit()
