"""Behaviour of a tenant's foundation: roles and who holds them, number sequences, attachments."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from engine.errors import ApiError, ConflictError, ForbiddenError
from engine.hooks import Change, Moment, Point, Rules, refuse
from registry.locks import lock_rows
from registry.sequences import keep_counting
from registry.tenants import TenantModel
from registry.tenants.roles import ADMINISTRATOR, grants_in_force, permissions_of
from registry.tenants.sys import Role, User

rules = Rules("tenants/sys")

OFFICE = "application/vnd.openxmlformats-officedocument"
CONTENT_TYPES = frozenset(
    {
        *("application/pdf", "application/zip", "image/png", "image/jpeg", "image/webp", "text/csv", "text/plain"),
        *(f"{OFFICE}.spreadsheetml.sheet", f"{OFFICE}.wordprocessingml.document"),
    }
)


@rules.on(
    "SYS-R1",
    "roles",
    Point.BEFORE_CREATE,
    Point.BEFORE_UPDATE,
    watches="permissions",
    raises="422:unknown_permission 403:privilege_escalation",
)
async def pass_on_known_permissions(moment: Moment, changes: list[Change]) -> None:
    """Every permission is one of this scope, and the caller holds each one that he adds."""
    known = moment.permissions(of_tenants=True)
    for change in changes:
        if change.by_engine or not change.changes("permissions"):
            continue
        if unknown := sorted(set(change["permissions"]) - known):
            message = f"There is no permission {unknown[0]} inside a tenant"
            raise refuse(change, "permissions", "unknown_permission", message, unknown=unknown)
        _require_all(moment, set(change["permissions"]) - set((change.old or {}).get("permissions", ())))


def _require_all(moment: Moment, permissions: Iterable[str]) -> None:
    if missing := sorted(code for code in permissions if not moment.principal.may(code)):
        raise _escalation(f"{missing[0]} can only be passed on by somebody who holds it")


def _escalation(message: str) -> ApiError:
    return ForbiddenError("privilege_escalation", message)


@rules.on("SYS-R2", "roles", Point.BEFORE_UPDATE, Point.BEFORE_DELETE, Point.BEFORE_STATUS, raises="409:system_role")
async def keep_seeded_roles(moment: Moment, changes: list[Change]) -> None:
    """The roles that a tenant starts with stay as they are."""
    for change in changes:
        if change.old is not None and change.old["is_system"] and not change.by_engine:
            raise ConflictError("system_role", f"{change.old['code']} is a system role and stays as it is")


@rules.on("SYS-UR1", "user-roles", Point.BEFORE_CREATE, raises="403:self_grant 403:privilege_escalation")
async def grant_what_one_holds(moment: Moment, changes: list[Change]) -> None:
    """Nobody gives a role to himself, nor one with permissions that he does not hold."""
    asked = [change for change in changes if not change.by_engine]
    users, roles = User.__table__.c, Role.__table__.c
    who = await moment.list("sys.users", users.id.in_([change["user_id"] for change in asked]))
    if any(user["identity_id"] == moment.principal.user_id for user in who):
        raise ForbiddenError("self_grant", "Nobody gives a role to himself")
    known = moment.permissions(of_tenants=True)
    for role in await moment.list("sys.roles", roles.id.in_([change["role_id"] for change in asked])):
        _require_all(moment, permissions_of(role, known))


@rules.on("SYS-UR2", "user-roles", Point.BEFORE_DELETE, raises="409:last_admin")
async def keep_an_administrator(moment: Moment, changes: list[Change]) -> None:
    """The last active user with ADMIN keeps it. Where the engine takes a member's roles along, the owners remain."""
    going = {change.key for change in changes if not change.by_engine}
    if not going:
        return
    # the role's row is held, so that two administrators who remove each other at once come one after the other
    await lock_rows(moment, Role, Role.__table__.c.code == ADMINISTRATOR)
    grants = await grants_in_force(moment, Role.__table__.c.code == ADMINISTRATOR)
    leaving = {grant["identity_id"] for grant in grants if grant["grant_id"] in going}
    if leaving and not {grant["identity_id"] for grant in grants if grant["grant_id"] not in going}:
        raise ConflictError("last_admin", "The last active user with ADMIN keeps it; give it to somebody else first")


@rules.on("SYS-N1", "number-sequences", Point.BEFORE_UPDATE, raises="409:sequence_in_use")
async def only_count_up(moment: Moment, changes: list[Change]) -> None:
    """next_value only grows, and never on a gapless sequence in use; the prefix stays for the year."""
    keep_counting(changes)
    for change in changes:
        if change.old and change.changes("prefix") and change.old["current_year"] == moment.today.year:
            raise ConflictError("sequence_in_use", "The prefix of a sequence stays while its year lasts")


@rules.on(
    "SYS-F1",
    "attachments",
    Point.BEFORE_CREATE,
    raises="422:invalid_reference 422:content_type_not_allowed",
)
async def attach_to_known_rows(moment: Moment, changes: list[Change]) -> None:
    """A file is of a harmless kind, and belongs to a row that the caller may read."""
    owners: dict[str, set[UUID]] = {}
    for change in changes:
        if change["content_type"] not in CONTENT_TYPES:
            message = f"Files of the type {change['content_type']!r} are not taken"
            raise refuse(change, "content_type", "content_type_not_allowed", message)
        owners.setdefault(change["owner_type"], set()).add(change["owner_id"])
    found = {kind: await _readable(moment, kind, keys) for kind, keys in owners.items()}
    for change in changes:
        if found[change["owner_type"]] is None:
            raise refuse(change, "owner_type", "invalid_reference", "names no entity that the caller may read")
        if change["owner_id"] not in (found[change["owner_type"]] or ()):
            raise refuse(change, "owner_id", "invalid_reference", "names no active row")
        change.values["storage_key"] = f"attachments/{change.key}"


async def _readable(moment: Moment, kind: str, keys: set[UUID]) -> set[UUID] | None:
    """The active rows among `keys` of the entity `domain.entity`; None where the caller may not read it, or there is none."""
    code = f"{kind}.read"
    table = TenantModel.metadata.tables.get(kind.replace("-", "_"))
    if code not in moment.permissions(of_tenants=True) or not moment.principal.may(code) or table is None:
        return None
    return {row["id"] for row in await moment.list(kind, table.c.id.in_(keys), limit=len(keys))}
