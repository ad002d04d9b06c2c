"""The hash chain over a change log, as pure functions and SQL text: what is hashed, how a batch is sealed, and the signed head
that tells a cut tail.

Two forms, told apart by the columns that may be written later. A *chained* log (`seq prev_hash row_hash`) links row to row:
row_hash = sha256(prev_hash + canonical JSON of the row without its two hashes), the first prev_hash is 64 zeros. A log with
`seal` links batch to batch: seal = sha256(previous seal + canonical JSON of the batch, rows by id), and each row of a batch
carries its seal. Canonical JSON: the columns that are not null, names sorted, no spaces, values as PostgreSQL prints them, times
in UTC; so a column that is added later changes no hash. PostgreSQL renders it: reading every column into Python and writing it
out again cost more than all else that the relay does.

The head of each log (and tenant) says how many rows are sealed and the last hash, and is signed: authenticated encryption under
the server's key, which the database does not know. It is kept in
the platform's database, in `public.cxg_log_heads`. Where the log is in another database, the next head is announced in
`pending_*` before the batch is committed and taken over after it: a crash in between leaves one of the two true. Whoever holds
an older copy of both the head and the log can put both back; against that the operator notes a head elsewhere now and then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from engine.catalog import Catalog, Resource

GENESIS = "0" * 64
NO_TENANT = UUID(int=0)
CHAINED = frozenset({"seq", "prev_hash", "row_hash"})
HEADS = "cxg_log_heads"
PREPARER = pg.dialect().identifier_preparer  # type: ignore[no-untyped-call]
PLACE = "head of a change log"
# a record of a log, as `Log.columns` reads it
Record = Mapping[str, Any]


class Signer(Protocol):
    """Authenticated encryption, as the vault has it."""

    def encrypt(self, text: str, place: str = "") -> str: ...

    def decrypt(self, text: str, place: str = "") -> str: ...


class Head(NamedTuple):
    """Where a log ends: how many rows are sealed, and the last hash."""

    rows: int = 0
    seal: str = GENESIS

    def _text(self, log: str, tenant: UUID | None) -> str:
        return f"{log}:{tenant or NO_TENANT}:{self.rows}:{self.seal}"

    def sign(self, signer: Signer, log: str, tenant: UUID | None) -> str:
        """The signature that stands beside the head."""
        return signer.encrypt(self._text(log, tenant), PLACE)

    def is_signed(self, signer: Signer, log: str, tenant: UUID | None, signature: str | None) -> bool:
        """Whether the signature is of this head and this installation."""
        try:
            return signer.decrypt(signature or "", PLACE) == self._text(log, tenant)
        except ValueError:
            return False


def add_heads(metadata: sa.MetaData) -> None:
    """Add the engine's own table of heads to a scope's tables."""
    if HEADS not in metadata.tables:
        sa.Table(
            HEADS,
            metadata,
            sa.Column("log", sa.String(160), primary_key=True),
            sa.Column("tenant_id", sa.Uuid, primary_key=True),
            sa.Column("rows", sa.BigInteger, nullable=False),
            sa.Column("seal", sa.String(64), nullable=False),
            sa.Column("signature", sa.Text, nullable=False),
            sa.Column("pending_rows", sa.BigInteger),
            sa.Column("pending_seal", sa.String(64)),
            sa.Column("pending_signature", sa.Text),
            info={"engine": True},
        )


def home_of(catalog: Catalog) -> str | None:
    """The scope whose database keeps the heads: the identity's, else the first of the engine's own that is not bound to tenants."""
    if catalog.identity is not None:
        return catalog.identity.scope
    return next((name for name, scope in catalog.scopes.items() if not scope.tenant_bound and not scope.foreign), None)


@dataclass(frozen=True)
class Log:
    """A change log whose records are sealed, and the statements over it. A record is read as what tells it apart, and its
    canonical JSON, of a chained log in two parts: what comes before its number (`head`), and what comes after it (`tail`)."""

    resource: Resource

    @property
    def name(self) -> str:
        """What its head is filed under."""
        return self.resource.path

    @cached_property
    def table(self) -> str:
        """The table's name in SQL."""
        return str(PREPARER.format_table(self.resource.table))

    @cached_property
    def sealed(self) -> tuple[str, ...]:
        """Columns that sealing writes."""
        return tuple(self.resource.table.info.get("sealed_columns", ()))

    @cached_property
    def chained(self) -> bool:
        """Whether row is linked to row, else batch to batch."""
        return set(self.sealed) >= CHAINED

    @cached_property
    def bound(self) -> bool:
        """Whether each row belongs to a tenant."""
        return self.resource.scope.tenant_bound

    @cached_property
    def mark(self) -> str:
        """The column that is null until a record is sealed."""
        return "seq" if self.chained else "seal"

    @cached_property
    def wall(self) -> str:
        """The first of the two walls; $1 is the tenant of every statement over a bound log."""
        return "tenant_id = $1" if self.bound else "$1::uuid is null"

    @cached_property
    def columns(self) -> str:
        """What is read of a record `t`."""
        unhashed = {"prev_hash", "row_hash", "seq"} if self.chained else {"seal"}
        hashed = sorted((c for c in self.resource.table.c if c.name not in unhashed), key=lambda column: column.name)
        head, tail = ([c for c in hashed if (c.name < "seq") == before] for before in (True, False))
        texts = (head, tail) if self.chained else (hashed, [])
        return f"t.id, t.entity_id, t.domain, t.entity, {_members(texts[0])} as head, {_members(texts[1])} as tail"

    @cached_property
    def any_unsealed(self) -> str:
        """$1 tenant."""
        return f"select 1 from {self.table} t where {self.wall} and {self.mark} is null limit 1"

    @cached_property
    def unsealed(self) -> str:
        """$1 tenant, $2 rows (entity_id) to leave out, $3 at most so many: the oldest records."""
        return (
            f"select {self.columns} from {self.table} t where {self.wall} and {self.mark} is null"
            " and (entity_id is null or entity_id <> all($2::uuid[])) order by id limit $3"
        )

    @cached_property
    def unsealed_of(self) -> str:
        """$1 tenant, $2 rows (entity_id), $3 records that are known already."""
        return (
            f"select {self.columns} from {self.table} t where {self.wall} and {self.mark} is null"
            " and entity_id = any($2::uuid[]) and id <> all($3::uuid[])"
        )

    @cached_property
    def write_seals(self) -> str:
        """$1 tenant, and what `seal` gives."""
        if not self.chained:
            return f"update {self.table} t set seal = $3 where {self.wall} and t.id = any($2::uuid[])"
        return (
            f"update {self.table} t set seq = $4::bigint + i.place, prev_hash = coalesce(i.before, $5), row_hash = i.hash from ("
            "select id, hash, place, lag(hash) over (order by place) as before"
            " from unnest($2::uuid[], $3::text[]) with ordinality as given (id, hash, place)"
            f") i where {self.wall} and t.id = i.id"
        )

    @cached_property
    def holds(self) -> str:
        """$1 tenant, $2 a hash: whether some row carries it."""
        name = "row_hash" if self.chained else "seal"
        return f"select 1 from {self.table} t where {self.wall} and {name} = $2 limit 1"

    @cached_property
    def by_seq(self) -> str:
        """$1 tenant, $2 after this seq and $3 this id, $4 at most so many: sealed rows of a chained log."""
        return (
            f"select {self.columns}, t.seq, t.prev_hash, t.row_hash from {self.table} t where {self.wall} and seq is not null"
            " and (seq, id) > ($2::bigint, $3::uuid) order by seq, id limit $4"
        )

    @cached_property
    def by_id(self) -> str:
        """$1 tenant, $2 after this id, $3 at most so many: sealed rows of a log with seals."""
        return (
            f"select {self.columns}, t.seal from {self.table} t where {self.wall} and seal is not null and id > $2::uuid"
            " order by id limit $3"
        )

    @cached_property
    def batches(self) -> str:
        """$1 tenant: size of each batch."""
        return f"select seal, count(*) as rows from {self.table} t where {self.wall} and seal is not null group by seal"

    @cached_property
    def counted(self) -> str:
        """$1 tenant: how many rows are sealed."""
        return f"select count(*) as rows from {self.table} t where {self.wall} and {self.mark} is not null"

    @cached_property
    def stray(self) -> str:
        """$1 tenant: rows that have a hash and no number."""
        return f"select id from {self.table} t where {self.wall} and seq is null and coalesce(prev_hash, row_hash) is not null"

    def seal(self, head: Head, rows: Sequence[Record]) -> tuple[Head, list[Any]]:
        """The head after these records, and what `write_seals` is given beside the tenant."""
        ids = [row["id"] for row in rows]
        if not self.chained:
            seal = batch_seal(head.seal, [canonical(row) for row in sorted(rows, key=lambda row: row["id"])])
            return Head(head.rows + len(rows), seal), [ids, seal]
        last, hashes = head.seal, []
        for seq, row in enumerate(rows, start=head.rows + 1):
            last = row_hash(last, canonical(row, seq))
            hashes.append(last)
        return Head(head.rows + len(rows), last), [ids, hashes, *head]


def _members(columns: Sequence[sa.Column[Any]]) -> str:
    """SQL of a text: the members of the JSON object that have a value, with commas between."""
    parts = (
        f"{_literal(f'{msgspec.json.encode(str(column.name)).decode()}:')} || {_value(column)}" for column in columns
    )
    return f"concat_ws(',', {', '.join(parts)})" if columns else "''"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _value(column: sa.Column[Any]) -> str:
    """SQL of a text: the column's value as JSON. Each of two different values has another text, whoever wrote it."""
    name = f"t.{PREPARER.quote(column.name)}"
    if isinstance(column.type, sa.JSON):
        return f"{name}::text"
    if isinstance(column.type, sa.DateTime) and column.type.timezone:
        usual = f"isfinite({name}) and {name} >= timestamptz '0001-01-01 00:00:00+00'"
        text = f"""to_char({name} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
        return (
            f"""case when {usual} then '"' || replace({text}, '.000000Z', 'Z') || '"' else to_json({name})::text end"""
        )
    return f"to_json({name})::text"


def canonical(row: Record, seq: int | None = None) -> bytes:
    """A record as it is hashed. `seq`: its number, of a chained log."""
    number = "" if seq is None else f'"seq":{seq}'
    return f"{{{','.join(part for part in (row['head'], number, row['tail']) if part)}}}".encode()


def logs_of(catalog: Catalog) -> list[Log]:
    """Every change log that can be sealed."""
    found = {resource.path: resource for (_, role), resource in catalog.roles.items() if role == "change_log"}
    return [log for log in map(Log, found.values()) if log.chained or "seal" in log.sealed]


def row_hash(previous: str, row: bytes) -> str:
    """The hash of a row of a chained log."""
    return sha256(previous.encode() + row).hexdigest()


def batch_seal(previous: str, rows: Iterable[bytes]) -> str:
    """The seal of a batch: its rows by id, as one JSON array."""
    return sha256(previous.encode() + b"[" + b",".join(rows) + b"]").hexdigest()


READ_HEAD = f"""
select rows, seal, signature, pending_rows, pending_seal, pending_signature from public.{HEADS}
where log = $1 and tenant_id = $2
"""
LIST_HEADS = f"select log, tenant_id from public.{HEADS} order by log, tenant_id"
SIGN_HEAD = f"update public.{HEADS} set signature = $3, pending_signature = $4 where log = $1 and tenant_id = $2"
# waits for whoever seals the same log
LOCK_HEAD = f"{READ_HEAD} for update"
WRITE_HEAD = f"""
insert into public.{HEADS} (log, tenant_id, rows, seal, signature) values ($1, $2, $3, $4, $5)
on conflict (log, tenant_id) do update set rows = excluded.rows, seal = excluded.seal, signature = excluded.signature,
  pending_rows = null, pending_seal = null, pending_signature = null
"""
ANNOUNCE_HEAD = f"""
update public.{HEADS} set pending_rows = $3, pending_seal = $4, pending_signature = $5 where log = $1 and tenant_id = $2
"""
TAKE_OVER = f"""
update public.{HEADS} set rows = pending_rows, seal = pending_seal, signature = pending_signature,
  pending_rows = null, pending_seal = null, pending_signature = null
where log = $1 and tenant_id = $2 and pending_seal = $3
"""
