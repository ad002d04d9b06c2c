"""What is kept of signing in and out: every attempt in audt.login-events, and what succeeded in the platform's log."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from engine.hooks import Moment, Row, Session, SignIn

ADDRESS_CHARACTERS, AGENT_CHARACTERS = 254, 512


def _storable(text: str, length: int) -> str:
    """As much of the text as PostgreSQL takes; who tries to sign in may send anything."""
    return text.encode(errors="replace").decode().replace("\0", "")[:length]


def _agent(attempt: SignIn) -> str | None:
    return _storable(attempt.user_agent, AGENT_CHARACTERS) if attempt.user_agent else None


async def note_attempt(
    moment: Moment, attempt: SignIn, user_id: UUID | None, result: str, session_id: UUID | None = None
) -> None:
    """A row of audt.login-events."""
    tried = _storable(attempt.username.strip().lower(), ADDRESS_CHARACTERS)
    who = {"user_id": user_id, "email_tried": tried, "session_id": session_id}
    where = {"ip": attempt.ip, "user_agent": _agent(attempt)}
    await moment.create("audt.login-events", [{"occurred_at": moment.now, "result": result, **who, **where}])


async def note_sign_in(moment: Moment, attempt: SignIn, session: Session) -> None:
    """A record `login` of the platform's log."""
    email = _storable(attempt.username.strip().lower(), ADDRESS_CHARACTERS)
    who = {"actor_id": session.user_id, "actor_email": email, "tenant_id": session.tenant_id}
    where = {"ip": attempt.ip, "user_agent": _agent(attempt)}
    await _record(moment, action="login", entity_id=session.id, **who, **where)


async def note_sign_out(moment: Moment, session: Row) -> None:
    """A record `logout` of the platform's log."""
    who = {"actor_id": session["user_id"], "tenant_id": session["tenant_id"]}
    await _record(moment, action="logout", entity_id=session["id"], **who)


async def _record(moment: Moment, **values: Any) -> None:
    usual = {"occurred_at": moment.now, "scope": "manager", "domain": "idam", "entity": "sessions", "outcome": "ok"}
    await moment.create("audt.audit-logs", [{**usual, "request_id": moment.request_id, **values}])
