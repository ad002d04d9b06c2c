"""The engine's own schema in somebody else's database, where he asked for one (`--audit-schema`): a change log and the answers
of requests with an `Idempotency-Key`. Nothing else is ever made there."""

from __future__ import annotations

from typing import Any

import asyncpg
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.schema import CreateIndex, CreateTable

from engine.entity import MARKS, Entity
from engine.reflection.kinds import PREPARER
from engine.reflection.naming import segment
from engine.reflection.parts import NO_MARKS
from engine.repetition import answers_table

LOG = "audit_logs"
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


async def make_schema(url: str, log: sa.Table, scope: str) -> None:
    """Make the schema and its two tables, where they are not there yet."""
    schema = str(log.schema)
    answers = answers_table(scope, sa.MetaData(), schema)
    connection: Any = await asyncpg.connect(url, timeout=10)
    try:
        known = await connection.fetchval("select exists (select from pg_namespace where nspname = $1)", schema)
        if not known:
            await connection.execute(f"create schema if not exists {PREPARER.quote_identifier(schema)}")
        for table in (log, answers):
            await connection.execute(str(CreateTable(table, if_not_exists=True).compile(dialect=DIALECT)))
            for index in table.indexes:
                await connection.execute(str(CreateIndex(index, if_not_exists=True).compile(dialect=DIALECT)))
    finally:
        await connection.close()
