"""How a write is carried out when its headers ask for more than the write: once for each `Idempotency-Key`, as a rehearsal
(`Prefer: dry-run`), with or without the row in the answer (`return=`), merged with what others did (`merge=disjoint`).

The answer of a write with a key is kept in the transaction of its effect: both stand, or neither. It may show what is shown
once, so it is encrypted, and read again at its own place only. While the first try is on its way an advisory lock tells the others
so. Answers older than 24 hours count no more; each new one takes a few of them away.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from functools import cache
from hashlib import sha256
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from engine.encode import JSON, Answer, Header, success
from engine.errors import generic
from engine.moment import UnitOfWork
from engine.preferences import NONE, Preferences, read_preferences
from engine.request import Request
from engine.types import Op, Scope

KEPT = timedelta(hours=24)
SWEPT = 20
KEY = re.compile(rb"[!-~]{1,255}").fullmatch
NOBODY = UUID(int=0)
APPLIED = b"preference-applied"
REPLAYED: Header = (b"idempotent-replayed", b"true")
MERGING = frozenset({Op.UPDATE, Op.REPLACE, Op.STATUS})
LOCK = "select pg_try_advisory_xact_lock(hashtextextended($1, 24)) as mine"
ENCODER = msgspec.json.Encoder()
PREPARER = pg.dialect().identifier_preparer  # type: ignore[no-untyped-call]

Work = Callable[[UnitOfWork], Awaitable[Answer]]
Result = TypeVar("Result")


class Run(Protocol):
    """Runs a write: in one statement, or in a transaction."""

    async def __call__(self, work: Work, *, transaction: bool) -> Answer: ...


class Kept(msgspec.Struct, array_like=True):
    """An answer as it is kept."""

    status: int
    headers: list[tuple[str, str]]
    body: str


# -- the table


def _table_of(scope: str) -> str:
    """One a scope, for two may share a database."""
    return f"cxg_idempotency_{scope}"


def add_answers(scope: Scope) -> None:
    """Add the engine's own table of kept answers to a scope's tables; where rows belong to tenants, so do these."""
    if _table_of(scope.name) not in scope.metadata.tables:
        answers_table(scope.name, scope.metadata)


def answers_table(scope: str, metadata: sa.MetaData, schema: Any = sa.BLANK_SCHEMA) -> sa.Table:
    """The table of kept answers."""
    name = _table_of(scope)
    return sa.Table(
        name,
        metadata,
        sa.Column("caller_id", sa.Uuid, primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("request", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Index(f"ix_{name}_created_at", "created_at"),
        schema=schema,
        info={"engine": True},
    )


class Statements(NamedTuple):
    """SQL over one table of answers. $1 tenant, $2 caller, $3 key, $4 what is too old."""

    find: str
    keep: str


@cache
def statements(scope: str, schema: str, *, bound: bool) -> Statements:
    """`find` gives request and answer; `keep` also takes $5 now, $6 request, $7 answer, and removes some that are too old."""
    table = ".".join(PREPARER.quote(name) for name in (schema, _table_of(scope)))
    wall, own, tenant = ("tenant_id = $1", "tenant_id, ", "$1, ") if bound else ("$1::uuid is null", "", "")
    find = (
        f"select request, answer from {table}"
        f" where {wall} and caller_id = $2::uuid and key = $3::text and created_at > $4::timestamptz"
    )
    old = f"{wall} and created_at <= $4::timestamptz and (caller_id, key) <> ($2::uuid, $3::text)"
    keep = (
        f"with gone as (delete from {table} where {wall} and (caller_id, key) in (select caller_id, key from {table}"
        f" where {old} order by created_at limit {SWEPT} for update skip locked))"
        f" insert into {table} ({own}caller_id, key, created_at, request, answer)"
        f" values ({tenant}$2::uuid, $3::text, $5::timestamptz, $6::text, $7::text)"
        f" on conflict ({own}caller_id, key) do update"
        " set created_at = excluded.created_at, request = excluded.request, answer = excluded.answer"
    )
    return Statements(find, keep)


# -- what is asked


class Asked:
    """A write whose headers ask for something."""

    def __init__(self, request: Request, op: Op) -> None:
        self.request, self.op = request, op
        self.preferences = preferences_of(request)

    @property
    def key(self) -> str | None:
        """The key; 400 for what cannot be one. A rehearsal has no effect, so it needs none and uses none up."""
        given = self.request.every(b"idempotency-key")
        if not given or self.preferences.dry_run:
            return None
        if len(given) > 1 or not KEY(given[0]):
            raise generic("bad_request", "Idempotency-Key: one header of 1 to 255 visible ASCII characters")
        return given[0].decode()

    def shape(self, answer: Answer, *, shows_once: bool) -> Answer:
        """The answer as the preferences want it, and which of them it follows. What is shown this once is never left out."""
        wishes = self.preferences
        applied = [value.decode() for name, value in answer.headers if name == APPLIED]
        whole = answer.status in (200, 201)
        if wishes.dry_run:
            applied.append("dry-run")
        if wishes.merge and self.op in MERGING:
            applied.append("merge=disjoint")
        if wishes.returns == "minimal" and whole and not shows_once:
            applied.append("return=minimal")
            answer = _without_data(answer, created=self.op is Op.CREATE)
        if wishes.strict:
            applied.append("handling=strict")
        if wishes.returns == "representation" and (whole or answer.status == 207):
            applied.append("return=representation")
        if not applied:
            return answer
        others = (header for header in answer.headers if header[0] != APPLIED)
        return answer._replace(headers=(*others, (APPLIED, ", ".join(applied).encode())))


def preferences_of(request: Request) -> Preferences:
    """What the request would like."""
    given = request.every(b"prefer")
    return read_preferences(b", ".join(given)) if given else NONE


def _without_data(answer: Answer, *, created: bool) -> Answer:
    """The answer with what is in its headers alone. 201 tells that a row was created (and 200 that it was there)."""
    if created or answer.status == 201:
        return answer._replace(body=success("null").body)
    return Answer(204, tuple(header for header in answer.headers if header != JSON), b"")


# -- carrying it out


async def carry_out(asked: Asked, unit: UnitOfWork, run: Run, *, work: Work, transaction: bool) -> Answer:
    """Run a write as its headers ask. 409 while its first try is on its way, 422 for a key that was another request's."""
    unit.merging = asked.preferences.merge
    key = asked.key

    async def shaped(unit: UnitOfWork) -> Answer:
        return asked.shape(await work(unit), shows_once=unit.shows_once)

    if asked.preferences.dry_run:
        return await rehearse(run, shaped)
    if key is None:
        return await run(shaped, transaction=transaction or unit.merging)
    if not unit.shop.catalog.scopes[unit.scope].engine_schema:
        text = "Idempotency-Key: this database has no place to keep answers in; it is served without --audit-schema"
        raise generic("bad_request", text)

    async def once(unit: UnitOfWork) -> Answer:
        return await _once(asked, unit, key, shaped)

    body = asked.request.digesting
    assert body is not None and not body.settled, "a request with a key is one transaction, however many rows it writes"
    answer = await run(once, transaction=True)
    body.settled = True
    return answer


class _Rehearsed(Exception):
    """Takes the answer out of a transaction and undoes it."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer


async def rehearse(run: Callable[..., Awaitable[Any]], work: Callable[[UnitOfWork], Awaitable[Result]]) -> Result:
    """What the work returns; nothing of what it writes stays."""

    async def once(unit: UnitOfWork) -> Any:
        answer = await work(unit)
        others = [other.connection for other in unit.elsewhere.values()]
        hosting = [shared.connection for shared in unit.shared.values()]
        for connection in filter(None, (unit.connection, *others, *hosting)):
            await connection.fetch("set constraints all immediate", ())  # what a commit would check
        raise _Rehearsed(answer)

    try:
        return await run(once, transaction=True)  # type: ignore[no-any-return]
    except _Rehearsed as rehearsed:
        return rehearsed.answer  # type: ignore[no-any-return]


async def _once(asked: Asked, unit: UnitOfWork, key: str, work: Work) -> Answer:
    """The answer of the first try, or this is the first."""
    connection, vault = unit.connection, unit.shop.vault
    assert connection is not None, "a write with a key is a transaction"
    scope = unit.shop.catalog.scopes[unit.scope]
    text = statements(unit.scope, scope.engine_schema, bound=scope.tenant_bound)
    caller = unit.principal.user_id or NOBODY
    place = f"{unit.scope}:{unit.tenant or ''}:{caller}:{key}"
    if not (await connection.fetch(LOCK, [place]))[0]["mine"]:
        raise generic("idempotency_in_progress", headers={"Retry-After": "1"})
    known = [unit.tenant, caller, key, unit.now - KEPT]
    # a statement of its own: one that began before the lock was had would not see what the other has committed
    found = await connection.fetch(text.find, known)
    if found:
        if not await _is_same(asked.request, found[0]["request"]):
            raise generic("idempotency_key_reused")
        return _read(vault, place, found[0]["answer"])
    answer = await work(unit)
    kept = _write(vault, place, answer)
    await connection.fetch(text.keep, [*known, unit.now, _fingerprint(asked.request), kept])
    return answer


def _fingerprint(request: Request) -> str:
    """A digest of method, path, query and as much of the body as was read."""
    assert request.digesting is not None, "requests with a key take the digest of their body"
    parts = (request.method.encode(), request.path, request.query, request.digesting.hash.digest())
    return sha256(b"\0".join(parts)).hexdigest()


async def _is_same(request: Request, kept: str) -> bool:
    """Whether the request is the one that was kept. A stream is read while it takes effect, so here it may be unread."""
    assert request.digesting is not None
    if _fingerprint(request) != kept:
        await request.digesting.rest()
    return _fingerprint(request) == kept


def _write(vault: Any, place: str, answer: Answer) -> str:
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers]
    text: str = vault.encrypt(ENCODER.encode(Kept(answer.status, headers, answer.body.decode())).decode(), place)
    return text


def _read(vault: Any, place: str, text: str) -> Answer:
    """The kept answer. 503 outcome_unknown when its encryption key is gone: it had its effect, but nobody can say which."""
    with suppress(ValueError):
        kept = msgspec.json.decode(vault.decrypt(text, place), type=Kept)
        headers = tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in kept.headers)
        return Answer(kept.status, (*headers, REPLAYED), kept.body.encode())
    raise generic(
        "outcome_unknown", "It was done, but its answer cannot be read any more; read the row to see the outcome"
    )
