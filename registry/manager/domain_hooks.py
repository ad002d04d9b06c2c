"""Behaviour of the host names that tenants bring."""

from __future__ import annotations

import re
import secrets

from engine.errors import ConflictError
from engine.hooks import Change, Moment, Point, Rules, refuse
from registry.manager.tnnt import Domain
from registry.manager.txt_records import carry_tokens, name_server

rules = Rules("manager/tnnt")

TOKEN_BYTES = 32  # 43 characters
LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
# a last label of digits alone would be an IPv4 address
FULL_NAME = re.compile(rf"({LABEL}\.)+(?!\d+\Z){LABEL}")


@rules.on("TNNT-D1", "domains", Point.BEFORE_CREATE, raises="422:hostname_not_allowed")
async def check_hostnames(moment: Moment, changes: list[Change]) -> None:
    """A host name is a full one in small letters, outside the platform's zone, and begins with no reserved label."""
    zone, reserved = await moment.setting("tnnt.platform_zone"), await moment.setting("tnnt.reserved_slugs")
    for change in changes:
        name = change["hostname"]
        own = name == zone or name.endswith(f".{zone}")
        if not FULL_NAME.fullmatch(name) or own or name.partition(".")[0] in reserved:
            raise refuse(change, "hostname", "hostname_not_allowed", "Give a full host name of your own")
        change.values["verification_token"] = secrets.token_urlsafe(TOKEN_BYTES)


@rules.on("TNNT-D2", "domains", Point.BEFORE_CREATE, Point.BEFORE_UPDATE, raises="409:domain_not_verified")
async def choose_primary(moment: Moment, changes: list[Change]) -> None:
    """Only a verified host name is primary, and making one primary clears the other of its tenant."""
    chosen = [change for change in changes if change["is_primary"] and change.changes("is_primary")]
    if any(change["status"] != "verified" for change in chosen):
        raise ConflictError("domain_not_verified", "Verify the host name before it becomes the primary one")
    if chosen:
        domains = Domain.__table__.c
        old = await moment.list(
            "tnnt.domains", domains.tenant_id.in_({change["tenant_id"] for change in chosen}), domains.is_primary
        )
        await moment.update("tnnt.domains", [{"id": row["id"], "is_primary": False} for row in old])


@rules.on("TNNT-D2", "domains", Point.AFTER_STATUS, edges="failed>pending")
async def look_again(moment: Moment, changes: list[Change]) -> None:
    """A host name that is tried again is verified at once where its TXT record carries the token by now; else the job goes
    on looking."""
    claims = [(change["hostname"], change["verification_token"]) for change in changes]
    found = await carry_tokens(await name_server(moment), claims)
    there = [change.key for change, carried in zip(changes, found, strict=True) if carried]
    await moment.status("tnnt.domains", there, "verified", "the TXT record was read")
