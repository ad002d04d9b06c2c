"""Behaviour of security policies and of data-subject requests."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import select

from engine.errors import ConflictError
from engine.hooks import Change, Moment, Point, Row, Rules, refuse
from registry.locks import lock_rows
from registry.manager.idam import User
from registry.manager.policies import platform_parameters, read_parameters, weaker_parameter
from registry.manager.tnnt import Tenant, TenantMember

rules = Rules("manager/audt")

DAYS_TO_ANSWER, DAYS_MORE = timedelta(days=30), timedelta(days=60)
POLICY_CODES = "422:policy_parameters 422:policy_weaker"
# what an erased person leaves behind: nothing that tells who he was
ERASED: dict[str, Any] = {
    "full_name": "Erased",
    "phone": None,
    "avatar_url": None,
    "password_hash": None,
    "password_history": [],
    "mfa_secret": None,
    "mfa_enabled": False,
    "last_login_ip": None,
}


@rules.on("AUDT-P1", "policies", Point.BEFORE_CREATE, raises=POLICY_CODES)
@rules.on("AUDT-P1", "policies", Point.BEFORE_UPDATE, watches="parameters valid_from valid_until", raises=POLICY_CODES)
@rules.on("AUDT-P1", "policies", Point.BEFORE_STATUS, edges="draft>active", raises=POLICY_CODES)
async def say_what_the_kind_says(moment: Moment, changes: list[Change]) -> None:
    """Parameters hold exactly the keys of the kind, and a tenant's policy is no weaker than the platform's of its days."""
    for change in changes:
        try:
            read_parameters(change["kind"], change["parameters"])
        except ValueError as wrong:
            raise refuse(change, "parameters", "policy_parameters", f"of kind {change['kind']}: {wrong}") from None
        if change["tenant_id"] is not None:
            await _keep_up(moment, change)


async def _keep_up(moment: Moment, change: Change) -> None:
    kind = change["kind"]
    for platform in await platform_parameters(moment, kind, change["valid_from"], change["valid_until"]):
        if weaker := weaker_parameter(kind, change["parameters"], platform):
            message = f"{weaker} is weaker than the platform's {platform[weaker]!r}"
            raise refuse(change, "parameters", "policy_weaker", message, parameter=weaker)


@rules.on("AUDT-D1", "data-requests", Point.BEFORE_CREATE, raises="409:extension_late")
@rules.on("AUDT-D1", "data-requests", Point.BEFORE_UPDATE, watches="extended", raises="409:extension_late")
async def set_the_term(moment: Moment, changes: list[Change]) -> None:
    """Due 30 days after receipt, 60 days later when it was extended in time."""
    for change in changes:
        due = change["received_on"] + DAYS_TO_ANSWER
        if change.changes("extended") and change["extended"] and moment.today >= due:
            raise ConflictError("extension_late", "A request can only be extended before it is due")
        change.values["due_on"] = due + DAYS_MORE if change["extended"] else due


@rules.on("AUDT-D2", "data-requests", Point.BEFORE_STATUS, edges="in_progress>completed", raises="409:legal_hold")
async def erase(moment: Moment, changes: list[Change]) -> None:
    """An erasure is refused while the tenant is on legal hold; else the user of the address is made anonymous."""
    erasures = [change for change in changes if change["kind"] == "erasure"]
    if not erasures:
        return
    people = await lock_rows(moment, User, User.__table__.c.email.in_({row["subject_email"] for row in erasures}))
    await _refuse_held(moment, erasures, people)
    for user in people:
        await moment.update("idam.users", [{"id": user["id"], "email": f"erased-{user['id']}@invalid", **ERASED}])
    await moment.status("idam.users", [user["id"] for user in people], "disabled", "erased on request")


async def _refuse_held(moment: Moment, erasures: list[Change], people: list[Row]) -> None:
    """409 when a request's tenant is on legal hold; a request about the whole platform touches all tenants of the person."""
    tenants, members = Tenant.__table__.c, TenantMember.__table__.c
    everywhere = {change["subject_email"] for change in erasures if change["tenant_id"] is None}
    joined = select(members.tenant_id).where(
        members.user_id.in_([user["id"] for user in people if user["email"] in everywhere]), members.is_active
    )
    named = [change["tenant_id"] for change in erasures if change["tenant_id"] is not None]
    held = await moment.fetch(
        select(tenants.slug).where(tenants.legal_hold, tenants.id.in_(named) | tenants.id.in_(joined)).limit(1)
    )
    if held:
        raise ConflictError("legal_hold", f"The tenant {held[0]['slug']} is on legal hold; nothing is erased meanwhile")
