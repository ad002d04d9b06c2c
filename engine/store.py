"""The only stage that awaits the database: runs statements, and turns what the database says into our errors."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol
from uuid import UUID

import asyncpg

from engine.catalog import Resource
from engine.errors import CODES, ApiError, Fault, UnavailableError, generic
from engine.types import Op

Record = Any
# the columns of `Key (a, b)=(1, 2) is not present`, and a quoted name
KEY = re.compile(r'\(([^()]*)\)=\(|"([^"]+)"')


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
    "28": "db_unavailable",
    "3D": "db_unavailable",
    "3F": "schema_changed",
    "40": "serialization_conflict",
    "42501": "not_found",
    "42703": "schema_changed",
    "42P01": "schema_changed",
    "42": "internal_error",
    "53100": "storage_full",
    "53": "db_unavailable",
    "54": "too_complex",
    "55P03": "resource_locked",
    "55": "conflict",
    "57014": "query_timeout",
    "57": "db_unavailable",
    # what functions and triggers raise
    "P0": "rejected_by_database",
}

# of other people's tables: syntax is said of a value there, by the types of text search, hstore and ltree; rights are those
# of the role that he gave us; and what cannot be done is so by the rules, triggers and views that he made
OF_OTHERS: dict[str, str] = {
    "42601": "validation_error",
    "42622": "validation_error",
    "42501": "permission_denied",
    "428C9": "validation_error",
    "42704": "schema_changed",
    "44": "validation_error",
    "HV": "db_unavailable",
    **dict.fromkeys(("42809", "42883", "42P10", "55000"), "rejected_by_database"),
    **dict.fromkeys(("09", "0A", "20", "21", "27", "2F", "38", "39"), "rejected_by_database"),
}
# names that a value may hold (regclass and its like): said of the statement itself, they come with a place in it
NAMING = ("42704", "42883", "42P01")
# what a value is faulted for
KINDS = {"23514": "check_failed", "44000": "check_failed", "22003": "out_of_range", "428C9": "field_not_allowed"}
# the classes of PostgreSQL's own states; a state of another one is somebody's own, for his functions to raise
CLASSES = (
    "00 01 02 03 08 09 0A 0B 0F 0L 0P 0Z 10 20 21 22 23 24 25 26 27 28 2B 2D 2F 34 38 39 3B 3D 3F 40 42 44 53 54 55 57 58 72 F0"
    " HV P0 XX"
)
RETRIED = ("40001", "40P01")
RETRY_AFTER = {"Retry-After": "1"}


def code_of(sqlstate: str | None, states: Mapping[str, str] = SQLSTATES) -> str:
    """Our code for a SQLSTATE."""
    for length in (5, 2):
        if sqlstate and sqlstate[:length] in states:
            return states[sqlstate[:length]]
    return "internal_error" if not sqlstate or sqlstate[:2] in CLASSES else "rejected_by_database"


def retriable(error: BaseException) -> bool:
    """Whether the same work may succeed at once when tried again: others were in the way, or a table has changed since the
    statement was prepared, which is prepared anew by then."""
    prepared = isinstance(error, asyncpg.InvalidCachedStatementError)
    return prepared or (isinstance(error, asyncpg.PostgresError) and error.sqlstate in RETRIED)


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
    code = _code_among(error, resource)
    found = resource.constraints.get(error.constraint_name or "") if resource is not None else None
    names = found[1] if found else _quoted(error, resource)
    if error.sqlstate == "23502" and error.column_name:
        return generic(code, details=[Fault(error.column_name, "required", "must be given")])
    if code == "validation_error":
        kind = KINDS.get(str(error.sqlstate), "invalid_format")
        said = "is computed by the database" if kind == "field_not_allowed" else "does not fit the rules of the row"
        none = (
            "a rule over several fields does not hold" if kind == "check_failed" else "a value does not fit its column"
        )
        return generic(code, details=[Fault(name, kind, said) for name in names] or [Fault("", kind, none)])
    if code in ("duplicate", "overlapping_period", "invalid_reference"):
        return generic(code, details=[Fault(name, code, CODES[code][2]) for name in names])
    headers = RETRY_AFTER if issubclass(ApiError.families[CODES[code][0]], UnavailableError) else None
    seconds = getattr(error, "allowed_seconds", None)
    named = f"The query took longer than the {seconds:g} s that it may; narrow it" if seconds else ""
    unfilled = "The materialised view has not been filled yet; its owner does: refresh materialized view"
    texts = {"query_timeout": named, "db_unavailable": unfilled if error.sqlstate == "55000" else ""}
    return generic(code, texts.get(code, ""), headers=headers)


def _code_among(error: asyncpg.PostgresError, resource: Resource | None) -> str:
    """Our code, by the state and by what else tells one cause of it from another."""
    state, foreign = str(error.sqlstate), resource is not None and resource.foreign
    if isinstance(error, asyncpg.InvalidCachedStatementError):
        return "schema_changed"
    if state == "23503":
        return "in_use" if _is_referred_to(error, resource) else "invalid_reference"
    if state == "42501" and not foreign and error.server_source_function == "aclcheck_error":
        return "db_unavailable"  # a right that nobody granted, and not a row that a wall hides
    if not foreign:
        return code_of(state)
    if state in NAMING and not (error.position or error.internal_position):
        return "validation_error"
    if state == "55000" and resource is not None and not resource.ops & {Op.CREATE, Op.UPDATE, Op.DELETE}:
        return "db_unavailable"
    return code_of(state, {**SQLSTATES, **OF_OTHERS})


def _is_referred_to(error: asyncpg.PostgresError, resource: Resource | None) -> bool:
    """Whether a key was refused because others refer to it, and not because what it refers to is missing."""
    said = str(error.args[0]) if error.args else ""
    if said.startswith(("insert or update on table", "update or delete on table")):
        return said.startswith("update or delete")
    # a server that speaks another language: the table named is the one that refers
    return resource is not None and resource.foreign and error.table_name not in (None, resource.table.name)


def _quoted(error: asyncpg.PostgresError, resource: Resource | None) -> tuple[str, ...]:
    """Fields that the database names in its text alone: of a key whose other side its role may not see, of a generated column."""
    if resource is None or not resource.foreign:
        return ()
    text = error.detail if error.sqlstate == "23503" else error.args[0] if error.sqlstate == "428C9" else None
    names = KEY.findall(text or "")
    told = [name.strip('" ') for part in names for name in "".join(part).split(",")]
    shown = {
        field.column.name: name for name, field in resource.fields.items() if field.shown and field.column is not None
    }
    return tuple(shown[name] for name in told if name in shown)


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
