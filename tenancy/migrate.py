"""Bring a database to the models: at once in development, by reviewed SQL files in production. Runs as the owner role.

A migration is a plain SQL file, `0007_add_rooms.sql`, and beside it the Alembic revision that executes it. The SQL
comes from the same `changes` that development applies directly. Everything runs in one transaction under an advisory
lock, so a database is never left half done, and two programs never migrate the same one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import asyncpg
from alembic import command, op
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from sqlalchemy import Connection, MetaData, Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from engine.errors import StartupFault
from tenancy.ddl import definitions, quote
from tenancy.difference import Difference, find_difference
from tenancy.policies import (
    APPEND_ONLY,
    grant_statements,
    missing_protection,
    missing_triggers,
    policy_statements,
    trigger_statements,
)
from tenancy.shadow import raw_connection
from tenancy.shape import is_tenant_table

MIGRATIONS = Path(__file__).parent / "migrations"
# seconds; a migration that waits for a lock makes every query behind it wait too: give up soon, try again
LOCK_TIMEOUT, ATTEMPTS, PAUSE = 0.5, 20, 0.25
# seconds; how long to wait for another program that migrates the same database
TURN_TIMEOUT = 60

STORE = """
CREATE TABLE IF NOT EXISTS public.cxg_schema (
  scope text PRIMARY KEY, fingerprint text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())
"""
REMEMBER = """
INSERT INTO public.cxg_schema (scope, fingerprint) VALUES ($1, $2)
ON CONFLICT (scope) DO UPDATE SET fingerprint = excluded.fingerprint, applied_at = now()
"""
STUB = '''"""{name}: executes the SQL file beside it."""

from tenancy.migrate import execute_beside

revision = "{revision}"
down_revision = {down!r}


def upgrade() -> None:
    execute_beside(__file__)
'''


class NothingToWrite(StartupFault):
    """The migrations already lead to the models."""


ROLE = ':"runtime_role"'


def _silent(message: str) -> None:
    """Where nobody listens."""


@dataclass(frozen=True)
class MigrationOptions:
    """One scope's database. `folder` holds the revisions; `triggers` allows append-only triggers (never on Citus)."""

    scope: str
    tenant_bound: bool
    runtime_role: str
    folder: Path
    triggers: bool = False
    say: Callable[[str], None] = _silent

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", self.scope):
            raise ValueError(f"scope {self.scope!r}: lower-case letters, digits and _ only, it names a table")


async def changes(connection: AsyncConnection, metadata: MetaData, options: MigrationOptions) -> list[str]:
    """The statements that bring the database to `metadata`, those that lose data last; [] when it is there.

    Changes nothing itself, but needs a transaction of the owner role (it creates shadow tables and rolls them back).
    """
    found = await _difference(connection, metadata, options)
    return [*found.statements, *(loss.statement for loss in found.losses)]


async def synchronise(url: str, metadata: MetaData, options: MigrationOptions) -> bool:
    """Development: apply `changes` and remember their fingerprint; False, at once, when nothing is to be done.

    Columns and tables that no model knows any more stay, and are reported; a column that was required may be null then.
    Raises StartupFault, with nothing done, when the rows that are there do not allow it.
    """
    wanted = fingerprint(metadata, options)
    async with _opened(url) as raw:
        if await _stored(raw, options) == wanted:
            return False
        async with _turn(raw, TURN_TIMEOUT) as connection:
            if await _stored(raw, options) == wanted:
                return False  # another program did it while this one waited for its turn
            await _apply(connection, metadata, options)
            await raw.execute(STORE)
            await raw.execute(REMEMBER, options.scope, wanted)
            await connection.commit()
    return True


async def make_migration(url: str, metadata: MetaData, options: MigrationOptions, name: str) -> Path:
    """Write the next revision into `options.folder` and return its SQL file, to be read before it is committed.

    `url` is a database that only migrations made; it is brought to the newest one first.
    Raises ValueError for a name that is no identifier, NothingToWrite, and StartupFault for another database.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"{name!r}: a migration's name is lower-case letters, digits and _")
    async with _opened(url) as raw:
        if await _stored(raw, options):
            raise StartupFault("the database was synchronised: diff against one that only migrations made (a new one)")
    await upgrade(url, options)
    async with _opened(url) as raw, _turn(raw, TURN_TIMEOUT) as connection:
        found = await _difference(connection, metadata, options)
    if not found.statements and not found.losses:
        raise NothingToWrite(f"{options.scope}: the migrations already lead to the models")
    return _write_revision(options, name, found)


async def upgrade(url: str, options: MigrationOptions) -> list[str]:
    """Run the pending revisions in one transaction and return their names. StartupFault where development made the tables, which
    revisions would make once more.

    Waits half a second for a table's lock, gives way and tries again, for some 20 seconds; then DBAPIError or
    LockNotAvailableError is raised, with nothing done.
    """
    for attempt in range(1, ATTEMPTS + 1):
        todo = await pending(url, options)
        if not todo:
            return []
        try:
            async with _opened(url) as raw, _turn(raw, LOCK_TIMEOUT) as connection:
                if await _stored(raw, options):
                    raise StartupFault(
                        f"{options.scope}: development made the tables of this database, so {todo[0]} cannot make them; if they are"
                        " to stay, `cxg migrate --stamp` takes the migrations for done, else name a new database"
                    )
                await connection.run_sync(_run_revisions, options)
                await connection.commit()
            return todo
        except (asyncpg.LockNotAvailableError, DBAPIError) as error:
            if not _is_lock_timeout(error) or attempt == ATTEMPTS:
                raise
            options.say(f"{options.scope}: a table is in use, attempt {attempt} of {ATTEMPTS}")
            await asyncio.sleep(PAUSE)
    return []


async def stamp(url: str, metadata: MetaData, options: MigrationOptions) -> list[str]:
    """Take the pending revisions for done, whose tables development has made already, and return their names. From then on
    revisions alone change them. StartupFault when the tables are not as the models say."""
    todo = await pending(url, options)
    if not todo:
        return []
    async with _opened(url) as raw, _turn(raw, TURN_TIMEOUT) as connection:
        if await _stored(raw, options) != fingerprint(metadata, options):
            raise StartupFault(
                f"{options.scope}: the tables are not what development made of these models; start `cxg serve` there once, or"
                " run the migrations (`cxg migrate`) on a new database"
            )
        await connection.run_sync(_run_revisions, options, command.stamp)
        await raw.execute("DELETE FROM public.cxg_schema WHERE scope = $1", options.scope)
        await connection.commit()
    return todo


async def pending(url: str, options: MigrationOptions) -> list[str]:
    """The names of the revisions that the database has not seen, oldest first, such as `0007_add_rooms`.

    Raises StartupFault when the database is at a revision that the folder has not.
    """
    async with _opened(url) as raw:
        try:
            current = await raw.fetchval("SELECT version_num FROM public." + _version_table(options))
        except asyncpg.UndefinedTableError:
            current = None
    script = ScriptDirectory.from_config(_config(options))
    try:
        revisions = list(script.iterate_revisions("heads", current or "base"))
    except ResolutionError:
        raise StartupFault(
            f"the database is at {current}, which {options.folder} has not: is the program older?"
        ) from None
    return [Path(revision.path).stem for revision in reversed(revisions)]


def execute_beside(revision_file: str) -> None:
    """Execute the SQL file that lies beside a revision, in one message and inside Alembic's transaction."""
    sql = Path(revision_file).with_suffix(".sql").read_text("utf-8")
    sql = sql.replace(ROLE, quote(op.get_context().config.attributes["runtime_role"]))  # type: ignore[union-attr]
    connection = op.get_bind().connection.dbapi_connection
    # asyncpg's own execute takes many statements at once, a cursor of SQLAlchemy takes one
    connection.run_async(lambda raw: raw.execute(sql))  # type: ignore[union-attr]


def fingerprint(metadata: MetaData, options: MigrationOptions) -> str:
    """A digest of everything that `synchronise` would create: tables, policies, grants and triggers."""
    tables = [table for _, table in sorted(metadata.tables.items())]
    parts = definitions(metadata)
    for table in tables:
        parts += [*policy_statements(table, options.runtime_role), *grant_statements(table, options.runtime_role)]
        parts += trigger_statements(table) if options.triggers else []
    return sha256("\0".join([*parts, APPEND_ONLY]).encode()).hexdigest()


async def _difference(connection: AsyncConnection, metadata: MetaData, options: MigrationOptions) -> Difference:
    strays = (
        [table.fullname for table in metadata.tables.values() if not _has_place(table)] if options.tenant_bound else []
    )
    if strays:
        raise StartupFault(f"{options.scope}: neither bound to a tenant nor shared: {', '.join(sorted(strays))}")
    found = await find_difference(connection, metadata)
    raw = await raw_connection(connection)
    found.statements += await missing_protection(raw, metadata, options.runtime_role)
    found.statements += await missing_triggers(raw, metadata) if options.triggers else []
    return found


def _has_place(table: Table) -> bool:
    return is_tenant_table(table) or bool(table.info.get("shared"))


async def _apply(connection: AsyncConnection, metadata: MetaData, options: MigrationOptions) -> None:
    found = await _difference(connection, metadata, options)
    for loss in found.losses:
        options.say(f"{options.scope}: left undone, it would lose data: {loss.statement}")
    statements = [*found.statements, *(loss.instead for loss in found.losses if loss.instead)]
    raw = await raw_connection(connection)
    try:
        if statements:  # asyncpg does not take an empty message
            await raw.execute(";\n".join(statements))
    except asyncpg.NotNullViolationError as error:
        way_out = "there are rows already: give the column a server_default, or let it be null"
        raise StartupFault(f"{options.scope}: {error}; {way_out}") from error
    except asyncpg.PostgresError as error:
        raise StartupFault(f"{options.scope}: the database refuses what the models ask for: {error}") from error


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[asyncpg.Connection]:
    """asyncpg reads the URL, so that sockets, `sslmode` and password files work as in every PostgreSQL program."""
    raw = await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://", 1), timeout=10)
    try:
        yield raw
    finally:
        await raw.close(timeout=10)


@asynccontextmanager
async def _turn(raw: asyncpg.Connection, lock_timeout: float) -> AsyncIterator[AsyncConnection]:
    """The same connection for SQLAlchemy, in a transaction that no other migration of this database runs beside."""

    async def give() -> asyncpg.Connection:
        return raw

    engine = create_async_engine("postgresql+asyncpg://", async_creator=give, poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{TURN_TIMEOUT}s'")
        await connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtextextended('cxg.migrate', 0))")
        await connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{int(lock_timeout * 1000)}ms'")
        yield connection


async def _stored(raw: asyncpg.Connection, options: MigrationOptions) -> str | None:
    """The fingerprint of the last `synchronise`, if there was one."""
    if not await raw.fetchval("SELECT to_regclass('public.cxg_schema')"):
        return None
    found: str | None = await raw.fetchval("SELECT fingerprint FROM public.cxg_schema WHERE scope = $1", options.scope)
    return found


def _is_lock_timeout(error: BaseException) -> bool:
    return bool(getattr(getattr(error, "orig", error), "sqlstate", None) == asyncpg.LockNotAvailableError.sqlstate)


def _version_table(options: MigrationOptions) -> str:
    """One a scope, for two may share a database; not `alembic_version`, for an existing database may have its own."""
    return f"cxg_version_{options.scope}"


def _config(options: MigrationOptions) -> Config:
    config = Config()
    settings = {
        "script_location": str(MIGRATIONS),
        "version_locations": str(options.folder),
        "path_separator": "newline",
    }
    for name, value in settings.items():
        config.set_main_option(name, value.replace("%", "%%"))
    config.attributes["version_table"] = _version_table(options)
    config.attributes["runtime_role"] = options.runtime_role
    return config


def _run_revisions(
    connection: Connection, options: MigrationOptions, run: Callable[[Config, str], None] = command.upgrade
) -> None:
    config = _config(options)
    config.attributes["connection"] = connection
    run(config, "head")


def _write_revision(options: MigrationOptions, name: str, found: Difference) -> Path:
    folder = options.folder
    numbers = sorted(path.stem for path in folder.glob("[0-9][0-9][0-9][0-9]_*.py"))
    down = numbers[-1][:4] if numbers else None
    revision = f"{int(down or 0) + 1:04}"
    losses = [f"-- takes data along\n{loss.statement}" for loss in found.losses]
    target = folder / f"{revision}_{name}.sql"
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{statement};\n\n" for statement in [*found.statements, *losses]).rstrip("\n") + "\n"
    # each installation names the role that requests run as; psql takes the same spelling with -v runtime_role=...
    text = re.sub(rf"\b(TO|FROM) {re.escape(quote(options.runtime_role))}(?![\w$])", rf"\1 {ROLE}", text)
    target.write_text(text, "utf-8")
    target.with_suffix(".py").write_text(STUB.format(name=name, revision=revision, down=down), "utf-8")
    return target
