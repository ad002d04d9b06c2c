"""Signing in and staying signed in: failures and locks (IDAM-U5 to U7), sessions and refresh tokens (IDAM-S1, S2).

A session is a family of rows: each refresh revokes one row and opens the next. Refusals are returned, not raised, so
that what they wrote is kept."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pyotp
from sqlalchemy import and_, exists, or_, select
from sqlalchemy.sql import ColumnElement

from engine.errors import ApiError, ForbiddenError, UnauthorizedError
from engine.hooks import Moment, Row, Session, SignIn
from engine.types import Principal
from registry.locks import lock_by_id
from registry.manager import idam
from registry.manager.authority import OPEN_TENANT, authority, digest, membership
from registry.manager.passwords import hashable, storable
from registry.manager.policies import password_policy
from registry.manager.sign_in_records import note_attempt, note_sign_in, note_sign_out
from registry.manager.tnnt import Tenant

SESSIONS = "idam.sessions"
TOKEN_BYTES = 32  # 43 characters
# the session of an access token, and the one that its family has come to; an alias costs more than the question
TOKEN, HEAD = (idam.Session.__table__.alias(name) for name in ("token", "head"))


def invalid_credentials() -> ApiError:
    """The one answer to an unknown user, a wrong password, a disabled user and a foreign tenant."""
    return UnauthorizedError("invalid_credentials")


class Refusal:
    """Why nobody came in: the result that the history of sign-ins keeps, and what the caller is told."""

    def __init__(self, result: str, error: ApiError | None = None) -> None:
        self.result, self.error = result, error or invalid_credentials()


async def sign_in(moment: Moment, attempt: SignIn) -> Session | ApiError:
    """Check the credentials and open a session; either way it goes into the history of sign-ins."""
    user, outcome = await _try(moment, attempt)
    if isinstance(outcome, Refusal):
        await note_attempt(moment, attempt, user["id"] if user else None, outcome.result)
        return outcome.error
    await note_attempt(moment, attempt, outcome.user_id, "success", outcome.id)
    await note_sign_in(moment, attempt, outcome)
    return outcome


async def _try(moment: Moment, attempt: SignIn) -> tuple[Row | None, Session | Refusal]:
    """The user, and what comes of it. The password comes before the lock on the user's row: it takes long."""
    user = await _find_user(moment, attempt.username)
    password, hashed = attempt.password, user["password_hash"] if user else None
    right = await moment.check_password(*((password, hashed) if hashable(password) else ("", None)))
    if user is None:
        return None, Refusal("unknown_user")
    user = (await lock_by_id(moment, idam.User, {user["id"]})).get(user["id"])
    if user is None or user["user_type"] == "service":
        return user, Refusal("disabled")
    refusal = await _judge(moment, user, attempt, right and user["password_hash"] == hashed)
    return user, refusal or await _enter(moment, user, attempt)


async def _find_user(moment: Moment, email: str) -> Row | None:
    if not storable(email):
        return None
    users = await moment.list("idam.users", idam.User.__table__.c.email == email.strip().lower(), limit=1)
    return users[0] if users else None


async def _judge(moment: Moment, user: Row, attempt: SignIn, right: bool) -> Refusal | None:
    """IDAM-U5: what stands against letting the user in."""
    if user["status"] == "locked":
        if user["locked_until"] is None or user["locked_until"] > moment.now:
            return Refusal("locked", ForbiddenError("account_locked", "Too many failed attempts; try again later"))
        user = (await moment.status("idam.users", [user["id"]], "active", "the lock has ended"))[0]
    if user["status"] != "active":
        return Refusal("disabled")
    if not right:
        await _count_failure(moment, user)
        return Refusal("bad_password")
    return await _second_factor(moment, user, attempt.code)


async def _count_failure(moment: Moment, user: Row) -> None:
    window = timedelta(minutes=await moment.setting("auth.lock_minutes"))
    since = user["first_failed_at"]
    fresh = since is None or moment.now - since > window
    count = 1 if fresh else user["failed_login_count"] + 1
    values: dict[str, Any] = {"failed_login_count": count, "first_failed_at": moment.now if fresh else since}
    locks = count >= await moment.setting("auth.lock_threshold")
    if locks:
        values["locked_until"] = moment.now + window
    await moment.update("idam.users", [{"id": user["id"], **values}])
    if locks:
        await moment.status("idam.users", [user["id"]], "locked", "too many failed sign-ins")


async def _second_factor(moment: Moment, user: Row, code: str | None) -> Refusal | None:
    """IDAM-U7: with mfa_enabled a code is needed; a wrong one counts like a wrong password."""
    if not user["mfa_enabled"]:
        return None
    if code and code_fits(moment, user, code):
        return None
    if code:
        await _count_failure(moment, user)
    return Refusal("mfa_failed", UnauthorizedError("mfa_required", "A code of the second factor is needed"))


def code_fits(moment: Moment, user: Row, code: str) -> bool:
    """Whether a TOTP code belongs to the user's secret, now or one step (30 s) beside it."""
    totp = pyotp.TOTP(user["mfa_secret"])
    return code.isascii() and totp.verify(code, for_time=moment.now, valid_window=1)


async def _enter(moment: Moment, user: Row, attempt: SignIn) -> Session | Refusal:
    """Credentials are right: find the tenant, note the success, open a session."""
    tenant_id = None
    if attempt.tenant is not None:
        known = storable(attempt.tenant)
        place = await membership(moment, user["id"], Tenant.__table__.c.slug == attempt.tenant) if known else None
        if place is None:
            return Refusal("disabled")
        if place.status not in OPEN_TENANT:
            return Refusal("disabled", ForbiddenError("tenant_closed", "The tenant is not open"))
        tenant_id = place.tenant.id
    clear = {"failed_login_count": 0, "first_failed_at": None, **await _aged(moment, user)}
    await moment.update(
        "idam.users", [{"id": user["id"], **clear, "last_login_at": moment.now, "last_login_ip": attempt.ip}]
    )
    given = {"user_id": user["id"], "tenant_id": tenant_id, "family_id": uuid4(), "mfa_passed": user["mfa_enabled"]}
    session = await _open(moment, given, attempt)
    await _limit(moment, session)
    return session


async def _aged(moment: Moment, user: Row) -> dict[str, Any]:
    """IDAM-U1: a password older than the policy's max_age_days has to be changed."""
    days, since = (await password_policy(moment, user["id"])).max_age_days, user["password_changed_at"]
    old = days is not None and since is not None and since + timedelta(days=days) <= moment.now
    return {"must_change_password": True} if old else {}


async def _open(moment: Moment, given: Mapping[str, Any], attempt: SignIn) -> Session:
    token = secrets.token_urlsafe(TOKEN_BYTES)
    times = {
        "issued_at": moment.now,
        "last_seen_at": moment.now,
        "expires_at": moment.now + timedelta(days=await moment.setting("auth.session_days")),
    }
    agent = attempt.user_agent[:512] if attempt.user_agent else None
    [row] = await moment.create(
        SESSIONS, [{**given, **times, "refresh_hash": digest(token), "ip": attempt.ip, "user_agent": agent}]
    )
    return Session(row["id"], row["user_id"], row["tenant_id"], token, row["expires_at"])


def live(moment: Moment) -> ColumnElement[bool]:
    """The sessions that can still be refreshed."""
    sessions = idam.Session.__table__.c
    return and_(sessions.is_active, sessions.status == "active", sessions.expires_at > moment.now)


async def _limit(moment: Moment, opened: Session) -> None:
    """IDAM-S2: beyond setting:auth.max_sessions the oldest go. The one just opened stays, whatever clock opened the others."""
    sessions = idam.Session.__table__.c
    old = await moment.fetch(
        select(sessions.id)
        .where(sessions.user_id == opened.user_id, sessions.id != opened.id, live(moment))
        .order_by(sessions.issued_at.desc(), sessions.id.desc())
        .offset(max(await moment.setting("auth.max_sessions"), 1) - 1)
    )
    await revoke_sessions(moment, [row["id"] for row in old], "limit")


async def revoke_sessions(moment: Moment, keys: list[UUID], reason: str) -> None:
    """End sessions. The reason goes first: the status hook then knows that no caller asked for it."""
    if keys:
        await moment.update(SESSIONS, [{"id": key, "revoke_reason": reason} for key in keys])
        await moment.status(SESSIONS, keys, "revoked", reason)


async def revoke_where(moment: Moment, condition: ColumnElement[bool], reason: str) -> int:
    """End the live sessions that meet the condition; how many they were."""
    rows = await moment.fetch(select(idam.Session.__table__.c.id).where(condition, live(moment)))
    await revoke_sessions(moment, [row["id"] for row in rows], reason)
    return len(rows)


async def _find_session(moment: Moment, condition: ColumnElement[bool], *, lock: bool = False) -> Row | None:
    statement = select(idam.Session.__table__).where(condition)
    rows = await moment.fetch(statement.with_for_update(key_share=True) if lock else statement)
    return rows[0] if rows else None


async def refresh(moment: Moment, token: str, attempt: SignIn) -> Session | ApiError:
    """IDAM-S1: a new token of the same family for a live one. A token that was rotated earlier is stolen or lost:
    the family ends. One that is rotated while we wait for its row only lost the race against a twin."""
    sessions = idam.Session.__table__.c
    seen = await _find_session(moment, sessions.refresh_hash == digest(token))
    if seen is None:
        return UnauthorizedError("invalid_token")
    if seen["revoke_reason"] in ("rotated", "reuse"):
        await revoke_where(moment, sessions.family_id == seen["family_id"], "reuse")
        return UnauthorizedError("token_reuse", "The refresh token was used before; sign in again")
    row = await _find_session(moment, sessions.id == seen["id"], lock=True)
    if row is None or row["status"] != "active" or not row["is_active"] or row["expires_at"] <= moment.now:
        return UnauthorizedError("invalid_token")
    if refusal := await _barred(moment, row):
        return refusal
    await revoke_sessions(moment, [row["id"]], "rotated")
    return await _open(
        moment, {name: row[name] for name in ("user_id", "tenant_id", "family_id", "mfa_passed")}, attempt
    )


async def _barred(moment: Moment, session: Row) -> ApiError | None:
    """Why the session's user or tenant may not go on. A suspended tenant may: it is refused at each use."""
    user = await moment.get("idam.users", session["user_id"])
    if user is None or user["status"] != "active":
        return UnauthorizedError("invalid_token")
    if session["tenant_id"] is None:
        return None
    place = await membership(moment, user["id"], Tenant.__table__.c.id == session["tenant_id"])
    if place is None:
        return UnauthorizedError("invalid_token")
    return None if place.status in OPEN_TENANT else place.refusal()


async def revoke(moment: Moment, session_id: UUID | None, token: str | None) -> None:
    """Sign out: end the whole family of the session or of the token; unknown ones are none of our business."""
    sessions = idam.Session.__table__.c
    row = await _find_session(moment, sessions.refresh_hash == digest(token) if token else sessions.id == session_id)
    if row is not None and await revoke_where(moment, sessions.family_id == row["family_id"], "logout"):
        await note_sign_out(moment, row)


async def session_principal(
    moment: Moment, user_id: UUID, tenant_id: UUID | None, session_id: UUID
) -> Principal | ApiError:
    """The caller behind an access token. It counts while its session's family lives: a refresh does not cut off
    requests that still carry the token before."""
    users = idam.User.__table__
    token, head = TOKEN, HEAD
    lives = exists().where(
        token.c.id == session_id,
        token.c.user_id == users.c.id,
        token.c.tenant_id.is_not_distinct_from(tenant_id),
        or_(token.c.status == "active", token.c.revoke_reason == "rotated"),
        head.c.family_id == token.c.family_id,
        head.c.status == "active",
        head.c.expires_at > moment.now,
    )
    found = await moment.fetch(
        select(users.c.id, users.c.email).where(
            users.c.id == user_id, users.c.is_active, users.c.status == "active", lives
        )
    )
    return await authority(moment, found[0], tenant_id, session_id) if found else UnauthorizedError("invalid_token")
