"""The engine's own schema in somebody else's database, where he asked for one (`--audit-schema`): a change log and the answers
of requests with an `Idempotency-Key`. Nothing else is ever made there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.schema import CreateIndex, CreateTable

from engine.entity import MARKS, Entity
from engine.errors import StartupFault
from engine.reflection.kinds import PREPARER
from engine.reflection.naming import segment
from engine.reflection.parts import NO_MARKS
from engine.reflection.reading import BESIDE
from engine.repetition import answers_table

LOG = "audit_logs"
# how the tables of answers are called, one a scope
ANSWERS = "cxg_idempotency_"
DIALECT = pg.dialect()  # type: ignore[no-untyped-call]


def log_of(metadata: sa.MetaData, schema: str) -> Entity:
    """The change log, as an entity that can be read."""
    text = sa.Text
    table = sa.Table(
        LOG,
        metadata,
        sa.Column("id", sa.Uuid, primary_key=True, server_default=sa.text("gen_random_uuid()")),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_id", sa.Uuid),
        *(sa.Column(name, text) for name in ("actor_email", "scope")),
        *(sa.Column(name, text, nullable=False) for name in ("domain", "entity")),
        sa.Column("entity_id", sa.Uuid),
        sa.Column("action", text, nullable=False),
        sa.Column("changes", pg.JSONB),
        *(sa.Column(name, text) for name in ("outcome", "ip", "user_agent", "request_id")),
        schema=schema,
        comment="Who changed what, and when",
        info={MARKS: NO_MARKS, "route": (segment(schema), "audit-logs")},
    )
    sa.Index(f"ix_{LOG}_row", table.c.domain, table.c.entity, table.c.entity_id, table.c.occurred_at)
    return Entity(table, kind="log", operations="gl", label="action", role="change_log")


def check_own(schema: str, beside: Sequence[tuple[str, Sequence[str]]]) -> None:
    """StartupFault for a schema that holds what the engine has not made: it would not be served, and a table called as the log
    would be taken for it. `beside`: its relations with their columns."""
    found = dict(beside)
    needed = set(log_of(sa.MetaData(), schema).table.c.keys())
    strange = [name for name in found if name != LOG and not name.startswith(ANSWERS)]
    strange += [LOG] if LOG in found and not needed <= set(found[LOG]) else []
    if strange:
        raise StartupFault(
            f"--audit-schema {schema!r} has {strange[0]!r}, which is not the engine's: what lies beside its log is not"
            " served. Name a schema that is empty or not there yet"
        )


async def make_schema(url: str, log: sa.Table, scope: str) -> None:
    """Make the schema and its two tables where they are not there yet; where they are, nothing is asked but whether. StartupFault
    with the statements that an owner runs, where the role may not."""
    schema = str(log.schema)
    connection: Any = await asyncpg.connect(url, timeout=10)
    try:
        known = await connection.fetch("select nspname::text from pg_namespace where nspname = $1", schema)
        there = {row[0] for row in await connection.fetch(BESIDE, schema)}
        missing = [table for table in (log, answers_table(scope, sa.MetaData(), schema)) if table.name not in there]
        made = [] if known else [f"create schema if not exists {PREPARER.quote_identifier(schema)}"]
        for table in missing:
            made += [str(CreateTable(table, if_not_exists=True).compile(dialect=DIALECT)).strip()]
            made += [str(CreateIndex(i, if_not_exists=True).compile(dialect=DIALECT)) for i in table.indexes]
        text = ";\n".join(made)
        if made:
            async with connection.transaction():
                await connection.execute(text)
    except asyncpg.InsufficientPrivilegeError:
        raise StartupFault(
            f"the role may not make the schema {schema!r} of --audit-schema; as an owner run this, and grant usage on the"
            f" schema and select, insert, update, delete on its tables to the role:\n{text};"
        ) from None
    finally:
        await connection.close()
