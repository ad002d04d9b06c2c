"""Behaviour of identity and access: passwords, the last administrator, grants, API keys, sessions."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import timedelta
from ipaddress import ip_network
from typing import Any
from uuid import UUID

from sqlalchemy import func, or_, select

from engine.errors import ApiError, ConflictError, ForbiddenError
from engine.hooks import Change, Moment, Point, Row, Rules, refuse
from engine.types import ENGINE, Principal
from registry.locks import lock_by_id
from registry.manager import idam
from registry.manager.authority import ADMINISTRATOR, administrators, authority, digest
from registry.manager.passwords import HISTORY, password_columns, was_used, weakness
from registry.manager.policies import password_policy
from registry.manager.sign_in import revoke_where

rules = Rules("manager/idam")

LEAVING = "active>disabled locked>disabled"
KEY_DAYS = 366


@rules.on(
    "IDAM-U6",
    "users",
    Point.BEFORE_CREATE,
    Point.BEFORE_UPDATE,
    watches="password",
    raises="422:service_user_password",
)
async def keep_service_users_apart(moment: Moment, changes: list[Change]) -> None:
    """Service users carry no password."""
    for change in changes:
        if change["user_type"] == "service" and change.inputs.get("password") is not None:
            raise refuse(change, "password", "service_user_password", "A service user signs in with API keys only")


@rules.on("IDAM-U6", "users", Point.BEFORE_UPDATE, watches="email")
async def unverify_new_address(moment: Moment, changes: list[Change]) -> None:
    """A changed e-mail address is no longer verified."""
    for change in changes:
        if change.changes("email"):
            change.values["email_verified_at"] = None


@rules.on("IDAM-U1", "users", Point.BEFORE_CREATE, Point.BEFORE_UPDATE, watches="password", raises="422:weak_password")
async def store_password(moment: Moment, changes: list[Change]) -> None:
    """A given password satisfies the policy and is stored as a bcrypt hash; a user created with one is active."""
    for change in changes:
        password = change.inputs.get("password")
        if password is not None:
            await _set_password(moment, change, password)


async def _set_password(moment: Moment, change: Change, password: str) -> None:
    history = list(change["password_history"] or ())[:HISTORY]
    policy = await password_policy(moment, change.key if change.old else None)
    if fault := weakness(password, change["email"], policy):
        raise refuse(change, "password", "weak_password", f"The password {fault}")
    if await was_used(moment, password, history[: policy.history]):
        raise refuse(change, "password", "weak_password", f"The password is one of the last {policy.history}")
    change.values.update(await password_columns(moment, password, history))
    if change.old is None:
        change.values["status"] = "active"
    elif change.key == moment.principal.user_id:
        change.values["must_change_password"] = False


@rules.on("IDAM-U2", "users", Point.BEFORE_DELETE, raises="409:self_action_forbidden")
@rules.on("IDAM-U2", "users", Point.BEFORE_STATUS, edges=LEAVING, raises="409:self_action_forbidden")
async def nobody_removes_himself(moment: Moment, changes: list[Change]) -> None:
    """Nobody deletes or disables himself."""
    if any(change.key == moment.principal.user_id for change in changes):
        raise ConflictError("self_action_forbidden", "Nobody deletes or disables himself; ask another administrator")


@rules.on("IDAM-U3", "users", Point.BEFORE_DELETE, raises="409:last_admin")
@rules.on("IDAM-U3", "users", Point.BEFORE_STATUS, edges=LEAVING, raises="409:last_admin")
async def keep_an_administrator(moment: Moment, changes: list[Change]) -> None:
    """The last active user holding SUPER_ADMIN without tenant cannot go."""
    _refuse_last(await administrators(moment), "user_id", {change.key for change in changes})


def _refuse_last(grants: list[Row], name: str, going: set[Any]) -> None:
    """409 when the going ones are all the administrators there are."""
    leaving = [grant for grant in grants if grant[name] in going]
    if leaving and len(leaving) == len(grants):
        raise ConflictError(
            "last_admin", "The last active SUPER_ADMIN cannot go; grant the role to somebody else first"
        )


@rules.on("IDAM-U5", "users", Point.BEFORE_STATUS, edges="locked>active")
async def clear_failures(moment: Moment, changes: list[Change]) -> None:
    """Whoever leaves the lock starts with clean counters."""
    for change in changes:
        change.values.update(failed_login_count=0, first_failed_at=None, locked_until=None)


@rules.on("IDAM-U4", "users", Point.BEFORE_DELETE)
@rules.on("IDAM-U4", "users", Point.AFTER_STATUS, edges=LEAVING)
async def cut_off(moment: Moment, changes: list[Change]) -> None:
    """Disabling or deleting a user revokes his live sessions and his API keys. A deletion does so before the row goes:
    afterwards it has taken them along, and their state would stay as it was."""
    gone = [change.key for change in changes]
    await revoke_where(moment, idam.Session.__table__.c.user_id.in_(gone), "admin")
    keys = idam.ApiKey.__table__.c
    live = await moment.list("idam.api-keys", keys.user_id.in_(gone), keys.status == "active")
    await moment.status("idam.api-keys", [key["id"] for key in live], "revoked", "the owner is gone")


@rules.on("IDAM-U4", "users", Point.AFTER_UPDATE, watches="password password_hash")
async def end_sessions_of_old_password(moment: Moment, changes: list[Change]) -> None:
    """A password change revokes all live sessions."""
    changed = [change.key for change in changes if change.changes("password_hash")]
    if changed:
        await revoke_where(moment, idam.Session.__table__.c.user_id.in_(changed), "password_change")


@rules.on("IDAM-R2", "roles", Point.BEFORE_UPDATE, Point.BEFORE_DELETE, Point.BEFORE_STATUS, raises="409:system_role")
async def keep_system_roles(moment: Moment, changes: list[Change]) -> None:
    """System roles do not change or go; only the engine's own seed keeps them up to date."""
    if moment.principal == ENGINE:
        return
    for change in changes:
        if change.old is not None and change.old["is_system"]:
            raise ConflictError("system_role", f"{change.old['code']} is a system role and stays as it is")


@rules.on(
    "IDAM-R1",
    "roles",
    Point.BEFORE_CREATE,
    Point.BEFORE_UPDATE,
    raises="422:unknown_permission 403:privilege_escalation",
)
async def grant_known_permissions(moment: Moment, changes: list[Change]) -> None:
    """Every permission exists, and the caller holds each one that he adds."""
    known = moment.permissions(of_tenants=False) | moment.permissions(of_tenants=True)
    for change in changes:
        if not change.changes("permissions"):
            continue
        added = set(change["permissions"]) - set((change.old or {}).get("permissions", ()))
        if unknown := sorted(added - known):
            raise refuse(
                change, "permissions", "unknown_permission", f"There is no permission {unknown[0]}", unknown=unknown
            )
        _require_all(moment.principal, added)


def _require_all(holder: Principal, permissions: Iterable[str]) -> None:
    missing = sorted(code for code in permissions if not holder.may(code))
    if missing:
        raise _escalation(f"{missing[0]} can only be passed on by somebody who holds it")


def _escalation(message: str) -> ApiError:
    return ForbiddenError("privilege_escalation", message)


@rules.on(
    "IDAM-UR1",
    "user-roles",
    Point.BEFORE_CREATE,
    raises="403:privilege_escalation 403:self_grant 409:assignee_limit",
)
async def grant_what_one_holds(moment: Moment, changes: list[Change]) -> None:
    """The caller holds every permission of the role, grants nothing to himself, and max_assignees is kept."""
    moment.require("idam.user-roles.create")
    if any(change["user_id"] == moment.principal.user_id for change in changes):
        raise ForbiddenError("self_grant", "Nobody grants a role to himself")
    # held, so that grants of the same role are counted one after the other
    roles = (await lock_by_id(moment, idam.Role, {change["role_id"] for change in changes})).values()
    for role in roles:
        if role["code"] == ADMINISTRATOR and not moment.principal.everything:
            raise _escalation("Only a SUPER_ADMIN makes another one")
        _require_all(moment.principal, role["permissions"])
    await _keep_assignee_limits(moment, [role for role in roles if role["max_assignees"] is not None], changes)


async def _keep_assignee_limits(moment: Moment, limited: list[Row], changes: list[Change]) -> None:
    if not limited:
        return
    grants = idam.UserRole.__table__.c
    unexpired = or_(grants.valid_until.is_(None), grants.valid_until > moment.now)
    keys = [role["id"] for role in limited]
    stored = await moment.fetch(
        select(grants.role_id, grants.user_id).where(grants.is_active, grants.role_id.in_(keys), unexpired)
    )
    held = {(row["role_id"], row["user_id"]) for row in stored}
    held.update((change["role_id"], change["user_id"]) for change in changes)
    for role in limited:
        if sum(role_id == role["id"] for role_id, _ in held) > role["max_assignees"]:
            raise ConflictError("assignee_limit", f"{role['code']} is given to at most {role['max_assignees']} users")


@rules.on("IDAM-UR2", "user-roles", Point.BEFORE_DELETE, raises="409:last_admin")
async def keep_an_administrator_grant(moment: Moment, changes: list[Change]) -> None:
    """The last active SUPER_ADMIN grant is not deleted."""
    _refuse_last(await administrators(moment), "grant_id", {change.key for change in changes})


@rules.on("IDAM-K1", "api-keys", Point.BEFORE_CREATE)
async def make_key(moment: Moment, changes: list[Change]) -> None:
    """A key is `cxg_` + 8 characters (its prefix) + `_` + 40 random characters; only its SHA-256 is stored."""
    for change in changes:
        prefix = f"cxg_{secrets.token_hex(4)}"
        key = f"{prefix}_{secrets.token_urlsafe(30)}"
        change.values.update(prefix=prefix, key_hash=digest(key))
        change.output["key"] = key


@rules.on(
    "IDAM-K2",
    "api-keys",
    Point.BEFORE_CREATE,
    raises="403:privilege_escalation 422:expiry_too_far 409:quota_exceeded",
)
async def limit_keys(moment: Moment, changes: list[Change]) -> None:
    """Scopes lie within what the owner holds, keys live at most 366 days, and a user has only so many."""
    for change in changes:
        _check_key_limits(moment, change)
    owners = await lock_by_id(moment, idam.User, _owners(changes))
    wanted: dict[tuple[UUID, UUID | None], set[str]] = {}
    for change in changes:
        wanted.setdefault((change["user_id"], change["tenant_id"]), set()).update(change["scopes"])
    for (user_id, tenant_id), scopes in wanted.items():
        if user_id in owners:  # an unknown owner is refused by the reference itself
            await _check_scopes(moment, owners[user_id], tenant_id, scopes)
    await _keep_quota(moment, changes)


def _owners(changes: list[Change]) -> set[UUID]:
    return {change["user_id"] for change in changes}


def _check_key_limits(moment: Moment, change: Change) -> None:
    expires = change["expires_at"]
    if expires is not None and expires > moment.now + timedelta(days=KEY_DAYS):
        raise refuse(change, "expires_at", "expiry_too_far", f"An API key lives at most {KEY_DAYS} days", days=KEY_DAYS)
    for network in change["allowed_ips"] or ():
        try:
            ip_network(network, strict=False)
        except ValueError:
            raise refuse(change, "allowed_ips", "validation_error", f"{network!r} is no address or network") from None


async def _check_scopes(moment: Moment, owner: Row, tenant_id: UUID | None, scopes: set[str]) -> None:
    """The owner holds the scopes there where the key counts; so does the caller when the key is not for himself."""
    held = await authority(moment, owner, tenant_id)
    if isinstance(held, ApiError):
        raise _escalation("The owner is no member of the tenant")
    _require_all(held, scopes)
    if owner["id"] != moment.principal.user_id:
        _require_all(moment.principal, scopes)


async def _keep_quota(moment: Moment, changes: list[Change]) -> None:
    keys, most = idam.ApiKey.__table__.c, await moment.setting("auth.max_api_keys")
    counted = select(keys.user_id, func.count().label("keys")).where(
        keys.user_id.in_(_owners(changes)), keys.is_active, keys.status == "active"
    )
    stored = {row["user_id"]: row["keys"] for row in await moment.fetch(counted.group_by(keys.user_id))}
    for owner in _owners(changes):
        if stored.get(owner, 0) + sum(change["user_id"] == owner for change in changes) > most:
            raise ConflictError("quota_exceeded", f"A user has at most {most} active API keys; revoke one first")


@rules.on("IDAM-S3", "sessions", Point.BEFORE_STATUS, edges="active>revoked")
async def say_who_revoked(moment: Moment, changes: list[Change]) -> None:
    """Others' sessions are no rows for callers without perm:idam.sessions.manage, so what comes here may be revoked. Where the
    engine revokes, the reason is already written."""
    for change in changes:
        if change["revoke_reason"] is None:
            own = change["user_id"] == moment.principal.user_id
            change.values["revoke_reason"] = "logout" if own else "admin"
