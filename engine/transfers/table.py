"""Where transfers stand, and the parts of the files that exports have made: two tables of the engine's own in each scope, so that
every process tells of them and they outlive the one that did the work. Where rows belong to tenants, so do these."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import sqlalchemy as sa

from engine.types import Scope

SWEPT = 20
STATES = ("queued", "running", "done", "failed", "canceled")
TOLD = "id, kind, entity, state, rows, total, created_at, started_at, ended_at, expires_at, told"
ALIVE = "state in ('queued', 'running')"
KEPT = "interval '24 hours'"


def add_transfers(scope: Scope) -> None:
    """Add both tables to a scope's. They are named by the scope, for two may share a database."""
    name, parts, metadata = f"cxg_transfers_{scope.name}", f"cxg_transfer_parts_{scope.name}", scope.metadata
    moment = sa.DateTime(timezone=True)
    if name in metadata.tables:
        return
    sa.Table(
        name,
        metadata,
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("caller_id", sa.Uuid, nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("entity", sa.String(200), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("total", sa.BigInteger),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("started_at", moment),
        sa.Column("ended_at", moment),
        sa.Column("seen_at", moment, nullable=False),
        sa.Column("expires_at", moment, nullable=False),
        sa.Column("told", sa.Text),
        sa.Index(f"ix_{name}_expires_at", "expires_at"),
        schema=sa.BLANK_SCHEMA,
        info={"engine": True},
    )
    sa.Table(
        parts,
        metadata,
        sa.Column("transfer_id", sa.Uuid, primary_key=True),
        sa.Column("place", sa.Integer, primary_key=True),
        sa.Column("part", sa.Text, nullable=False),
        schema=sa.BLANK_SCHEMA,
        info={"engine": True},
    )


class Statements(NamedTuple):
    """SQL over both tables. $1 tenant, $2 id; the clock is the database's, which all processes share."""

    open: str
    start: str
    seen: str
    end: str
    find: str
    cancel: str
    forget: str
    keep: str
    part: str


@cache
def statements(scope: str, *, bound: bool) -> Statements:
    """`open` ($3 caller, $4 kind, $5 entity, $6 total) also takes away some that are too old. `seen` ($3 rows, $4 total) and `end`
    ($3 state, $4 rows, $5 told, $6 total) find nothing when the transfer is over. `find` and `cancel` take $3 caller; `find`
    ends one that was not seen for $4 seconds. `keep` ($3 place, $4 part), `part` ($3 place)."""
    table, parts = f"public.cxg_transfers_{scope}", f"public.cxg_transfer_parts_{scope}"
    wall, own, tenant = ("tenant_id = $1", "tenant_id, ", "$1, ") if bound else ("$1::uuid is null", "", "")
    one, now = f"{wall} and id = $2::uuid", "clock_timestamp()"
    old = f"select id from {table} where {wall} and expires_at <= now() order by expires_at limit {SWEPT}"
    lost = f"{ALIVE} and seen_at < {now} - make_interval(secs => $4::float)"
    return Statements(
        open=f"with gone as (delete from {table} where {wall} and id in ({old} for update skip locked) returning id),"
        f" emptied as (delete from {parts} where {wall} and transfer_id in (select id from gone))"
        f" insert into {table} ({own}id, caller_id, kind, entity, state, rows, total, created_at, seen_at, expires_at)"
        f" values ({tenant}$2::uuid, $3::uuid, $4::text, $5::text, 'queued', 0, $6::bigint, {now}, {now}, {now} + {KEPT})"
        f" returning {TOLD}",
        start=f"update {table} set state = 'running', started_at = {now}, seen_at = {now}"
        f" where {one} and state = 'queued' returning 1",
        seen=f"update {table} set rows = $3::bigint, total = $4::bigint, seen_at = {now} where {one} and {ALIVE} returning 1",
        end=f"update {table} set state = $3::text, rows = $4::bigint, told = $5::text, total = $6::bigint, ended_at = {now},"
        f" expires_at = {now} + {KEPT} where {one} and {ALIVE} returning 1",
        find=f"with lost as (update {table} set state = 'failed', ended_at = {now}, expires_at = {now} + {KEPT}"
        f" where {one} and caller_id = $3::uuid and {lost} returning {TOLD})"
        f" select {TOLD} from lost union all select {TOLD} from {table}"
        f" where {one} and caller_id = $3::uuid and expires_at > now() and not exists (select 1 from lost)",
        cancel=f"update {table} set state = 'canceled', ended_at = {now}, expires_at = {now} + {KEPT}"
        f" where {one} and caller_id = $3::uuid and {ALIVE} returning {TOLD}",
        forget=f"with gone as (delete from {table} where {one} and caller_id = $3::uuid returning id)"
        f" delete from {parts} where {wall} and transfer_id in (select id from gone)",
        keep=f"insert into {parts} ({own}transfer_id, place, part) select {tenant}$2::uuid, $3::int, $4::text"
        f" where exists (select 1 from {table} where {one} and state = 'running') returning 1",
        part=f"select part from {parts} where {wall} and transfer_id = $2::uuid and place = $3::int",
    )
