"""The only stage that awaits the database: runs statements, and turns what the database says into our errors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol
from uuid import UUID

import asyncpg

from engine.catalog import Resource
from engine.errors import CODES, ApiError, Fault, UnavailableError, generic

Record = Any


class Connection(Protocol):
    """A connection inside a transaction, bound to one tenant (or none)."""

    async def fetch(self, text: str, arguments: Sequence[Any]) -> list[Record]: ...

    async def bind(self, tenant: UUID) -> None:
        """Bind the rest of the transaction to another tenant."""

    def rest(self) -> None:
        """Nothing is overdue until the next statement."""


class Shared:
    """One transaction on behalf of several tenants, for the engine's own work in many of them: a connection each could be
    more than a pool has. It is bound anew whenever the statement of another tenant comes."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.tenant: UUID | None = None

    def of(self, tenant: UUID) -> Connection:
        """The connection as one tenant's."""
        return Share(self, tenant)


class Share:
    """A tenant's part of a shared transaction."""

    __slots__ = ("shared", "tenant")

    def __init__(self, shared: Shared, tenant: UUID) -> None:
        self.shared, self.tenant = shared, tenant

    async def bind(self, tenant: UUID) -> None:
        """Another tenant's part."""
        self.tenant = tenant

    def rest(self) -> None:
        """Nothing is overdue until the next statement."""
        self.shared.connection.rest()

    async def fetch(self, text: str, arguments: Sequence[Any]) -> list[Record]:
        """Rows of one statement."""
        if self.shared.tenant != self.tenant:
            await self.shared.connection.bind(self.tenant)
            self.shared.tenant = self.tenant
        return await self.shared.connection.fetch(text, arguments)


class Lease(Protocol):
    """A part that one process plays at a time, as long as it holds. `hears`: what others tell the holder comes through."""

    hears: bool

    async def holds(self) -> bool: ...

    async def release(self) -> None: ...


class Database(Protocol):
    """Where the rows of a scope live. `tenant` is the tenant to bind, or None."""

    async def run(
        self, tenant: UUID | None, text: str, arguments: Sequence[Any], seconds: float | None = None
    ) -> list[Record]:
        """One statement in autocommit. `seconds`: how long statements may take; None = as usual."""

    def transaction(self, tenant: UUID | None, seconds: float | None = None) -> AbstractAsyncContextManager[Connection]:
        """A transaction: committed at the end of the block, rolled back when it raises. OutcomeUnknown when COMMIT broke."""

    async def elect(self, name: str, heard: Callable[[str], None]) -> Lease | None:
        """The lease `name`, or None while another process holds it. `heard` is given what others tell its holder."""

    async def tell(self, name: str, texts: Sequence[str]) -> None:
        """Tell the holder of a lease something, wherever it is."""

    async def ping(self) -> None:
        """Raise unless the database answers."""


class Timed:
    """A database whose statements may take another time than usual."""

    __slots__ = ("database", "seconds")

    def __init__(self, database: Database, seconds: float) -> None:
        self.database, self.seconds = database, seconds

    async def run(
        self, tenant: UUID | None, text: str, arguments: Sequence[Any], seconds: float | None = None
    ) -> list[Record]:
        """One statement in autocommit."""
        return await self.database.run(tenant, text, arguments, seconds or self.seconds)

    def transaction(self, tenant: UUID | None, seconds: float | None = None) -> AbstractAsyncContextManager[Connection]:
        """A transaction."""
        return self.database.transaction(tenant, seconds or self.seconds)

    async def elect(self, name: str, heard: Callable[[str], None]) -> Lease | None:
        """The lease `name`, or None while another process holds it."""
        return await self.database.elect(name, heard)

    async def tell(self, name: str, texts: Sequence[str]) -> None:
        """Tell the holder of a lease something."""
        await self.database.tell(name, texts)

    async def ping(self) -> None:
        """Raise unless the database answers."""
        await self.database.ping()


# SQLSTATE, longest prefix first -> code
SQLSTATES: dict[str, str] = {
    "08": "db_unavailable",
    "22": "validation_error",
    "23502": "validation_error",
    "23503": "invalid_reference",
    "23505": "duplicate",
    "23514": "validation_error",
    "23P01": "overlapping_period",
    "23001": "append_only",
    "23": "conflict",
    "25006": "read_only",
    "40": "serialization_conflict",
    "42501": "not_found",
    "42": "internal_error",
    "53100": "storage_full",
    "53": "db_unavailable",
    "54": "too_complex",
    "55P03": "resource_locked",
    "55": "conflict",
    "57014": "query_timeout",
    "57": "db_unavailable",
}

# of other people's tables: syntax is said of a value there, by the types of text search, hstore and ltree; and rights are
# those of the role that he gave us
OF_OTHERS = {"42601": "validation_error", "42622": "validation_error", "42501": "permission_denied"}
RETRIED = ("40001", "40P01")
RETRY_AFTER = {"Retry-After": "1"}


def code_of(sqlstate: str | None) -> str:
    """Our code for a SQLSTATE."""
    for length in (5, 2):
        if sqlstate and sqlstate[:length] in SQLSTATES:
            return SQLSTATES[sqlstate[:length]]
    return "internal_error"


def retriable(error: BaseException) -> bool:
    """Whether the same work may succeed at once when tried again."""
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate in RETRIED


def translate(error: BaseException, resource: Resource | None, *, writing: bool) -> ApiError:
    """What the caller is told. Database texts never leave the server; the log has them."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, asyncpg.PostgresError) and not isinstance(error, asyncpg.PostgresConnectionError):
        return _from_database(error, resource)
    if isinstance(
        error,
        (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError),
    ):
        return _from_wire(error, writing)
    return generic("internal_error")


def _from_wire(error: BaseException, writing: bool) -> ApiError:
    sent = getattr(error, "statement_sent", False)
    code = (
        "outcome_unknown"
        if writing and sent
        else "query_timeout"
        if isinstance(error, TimeoutError) and sent
        else "db_unavailable"
    )
    return generic(code, headers=RETRY_AFTER)


def _from_database(error: asyncpg.PostgresError, resource: Resource | None) -> ApiError:
    code = code_of(error.sqlstate)
    if resource is not None and resource.foreign:
        code = OF_OTHERS.get(str(error.sqlstate), code)
    found = resource.constraints.get(error.constraint_name or "") if resource is not None else None
    names = found[1] if found else ()
    if code == "invalid_reference" and found is None and resource is not None and resource.foreign:
        code = "in_use"  # a key of another table, which the engine may not even see
    if error.sqlstate == "23502" and error.column_name:
        return generic(code, details=[Fault(error.column_name, "required", "must be given")])
    if code == "validation_error":
        kind = (
            "check_failed"
            if error.sqlstate == "23514"
            else "out_of_range"
            if error.sqlstate == "22003"
            else "invalid_format"
        )
        details = [Fault(name, kind, "does not fit the rules of the row") for name in names] or [
            Fault("", kind, "a value does not fit its column")
        ]
        return generic(code, details=details)
    if code in ("duplicate", "overlapping_period", "invalid_reference"):
        return generic(code, details=[Fault(name, code, CODES[code][2]) for name in names])
    headers = RETRY_AFTER if issubclass(ApiError.families[CODES[code][0]], UnavailableError) else None
    seconds = getattr(error, "allowed_seconds", None)
    named = f"The query took longer than the {seconds:g} s that it may; narrow it" if seconds else ""
    return generic(code, named if code == "query_timeout" else "", headers=headers)


TRIGRAMS = """
select exists (select from pg_extension where extname = 'pg_trgm')
   and coalesce(has_function_privilege(to_regprocedure('similarity(text,text)'), 'execute'), false) as there
"""


async def has_trigrams(database: Database, seconds: float) -> bool:
    """Whether those who run requests can use pg_trgm; no for a database that does not answer."""
    try:
        async with asyncio.timeout(seconds):
            return bool((await database.run(None, TRIGRAMS, ()))[0]["there"])
    except Exception:
        return False


async def ready(database: Database, seconds: float) -> bool:
    """Whether the database answers within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await database.ping()
    except (Exception, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError):
            raise
        return False
    return True
