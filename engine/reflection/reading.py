"""What PostgreSQL's catalogue says of a database: eight questions over sets, however many tables there are.

Names in expressions come out qualified, for the questions are asked with nothing but `pg_catalog` on the path.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import asyncpg

from engine.addresses import UNREACHABLE, unreachable
from engine.errors import StartupFault
from engine.reflection.origins import Origin, origins_of

CONNECT_SECONDS = 10


class Relation(NamedTuple):
    """A table or view, and what the connecting role may do with it. Bits as information_schema has them: what it takes, with
    its triggers (`updatable`) and by itself. `instead`: of a view, whether triggers or rules stand in the place of its writes."""

    oid: int
    schema: str
    name: str
    kind: str
    comment: str | None
    updatable: int
    by_itself: int
    deletes: bool
    instead: bool


class Column(NamedTuple):
    """A column. `identity`: `a`lways, by `d`efault or none, numbered by `sequence`; `generated`: computed by the database."""

    table: int
    number: int
    name: str
    type: int
    typmod: int
    required: bool
    identity: str
    sequence: str | None
    generated: str
    default: str | None
    comment: str | None
    reads: bool
    inserts: bool
    updates: bool


class Type(NamedTuple):
    """A type: `kind` b(ase) d(omain) e(num) r(ange) m(ultirange) c(omposite); `checks`: of a domain, over VALUE;
    `default`: of a domain as well; `compares`: 2 = in an order, 1 = only equal, 0 = not; `members`: types of a composite's."""

    oid: int
    schema: str
    name: str
    kind: str
    category: str
    element: int
    base: int
    typmod: int
    required: bool
    default: str | None
    compares: int
    members: tuple[int, ...]
    words: tuple[str, ...]
    checks: tuple[str, ...]


class Constraint(NamedTuple):
    """A constraint: p(rimary) u(nique) f(oreign) c(heck) x(clusion), or a reference to a `period`."""

    table: int
    name: str
    kind: str
    columns: tuple[int, ...]
    target: int
    named: tuple[int, ...]
    on_delete: str
    expression: str | None


class Index(NamedTuple):
    """An index; number 0 stands for an expression."""

    table: int
    name: str
    unique: bool
    columns: tuple[int, ...]
    expressions: str | None
    where: str | None
    nulls_equal: bool


@dataclass(frozen=True)
class Reading:
    """A database as its catalogue describes it. Of what stands under its views, served or not, there are columns and keys.
    `parents`: tables that others inherit from, which is not what partitions do; `beside`: what the schema holds that is left
    out, with its columns."""

    relations: tuple[Relation, ...]
    columns: tuple[Column, ...]
    types: tuple[Type, ...]
    constraints: tuple[Constraint, ...]
    indexes: tuple[Index, ...]
    origins: tuple[Origin, ...]
    parents: tuple[int, ...]
    beside: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def fingerprint(self) -> str:
        """Equal for equal schemas: whoever has built from one reading need not build again."""
        parts = (self.relations, self.columns, self.types, self.constraints, self.indexes, self.origins, self.parents)
        digest = hashlib.sha256()
        for part in parts:
            digest.update(repr(part).encode())
        return digest.hexdigest()


# what rules make of a write answers no rows, so it is not offered
RELATIONS = """
select c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text, obj_description(c.oid, 'pg_class'),
       pg_relation_is_updatable(c.oid, true) & ~ruled.bits, pg_relation_is_updatable(c.oid, false) & ~ruled.bits,
       has_table_privilege(c.oid, 'DELETE'),
       exists (select from pg_trigger t where t.tgrelid = c.oid and t.tgtype & 64 <> 0)
       or exists (select from pg_rewrite r where r.ev_class = c.oid and r.ev_type <> '1' and r.is_instead)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
cross join lateral (
    select coalesce(bit_or(case r.ev_type when '2' then 4 when '3' then 8 else 16 end), 0) as bits
    from pg_rewrite r where r.ev_class = c.oid and r.ev_type <> '1') ruled
where c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition and c.relpersistence <> 't'
  and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and (cardinality($1::text[]) = 0 or n.nspname = any($1)) and n.nspname <> $2
  and has_schema_privilege(n.oid, 'USAGE')
  and (has_any_column_privilege(c.oid, 'SELECT')
       or not exists (select from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped))
order by n.nspname, c.relname
"""
COLUMNS = """
select a.attrelid::int8, a.attnum, a.attname::text, a.atttypid::int8, a.atttypmod, a.attnotnull, a.attidentity::text,
       case when a.attidentity <> '' then pg_get_serial_sequence(a.attrelid::regclass::text, a.attname) end,
       a.attgenerated::text, pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum),
       has_column_privilege(a.attrelid, a.attnum, 'SELECT'), has_column_privilege(a.attrelid, a.attnum, 'INSERT'),
       has_column_privilege(a.attrelid, a.attnum, 'UPDATE')
from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attrelid = any($1::oid[]) and a.attnum > 0 and not a.attisdropped
order by a.attrelid, a.attnum
"""
# of composite types only those that are no table's row type; what a type is at once (varchar a text) compares as that does, and
# only by operators that are called as everywhere else (those of hstore are not)
TYPES = """
with comparing(type, how) as (
    select c.opcintype, max(case when m.amname = 'btree' and o.oprname = '<' then 2 else (o.oprname = '=')::int end)
    from pg_opclass c join pg_am m on m.oid = c.opcmethod
    join pg_amop a on a.amopfamily = c.opcfamily and a.amoplefttype = c.opcintype and a.amoprighttype = c.opcintype
    join pg_operator o on o.oid = a.amopopr
    where c.opcdefault and m.amname in ('btree', 'hash') group by 1
)
select t.oid::int8, n.nspname::text, t.typname::text, t.typtype::text, t.typcategory::text, t.typelem::int8, t.typbasetype::int8,
       t.typtypmod, t.typnotnull, pg_get_expr(t.typdefaultbin, 0),
       coalesce((select max(c.how) from comparing c where c.type = t.oid or c.type in (
           select k.casttarget from pg_cast k where k.castsource = t.oid and k.castmethod = 'b' and k.castcontext = 'i')), 0),
       coalesce((select array_agg(a.atttypid::int8) from pg_attribute a
                 where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped), '{}'),
       coalesce((select array_agg(e.enumlabel::text order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid), '{}'),
       coalesce((select array_agg(pg_get_constraintdef(k.oid) order by k.conname) from pg_constraint k
                 where k.contypid = t.oid and k.contype = 'c' and k.convalidated), '{}')
from pg_type t join pg_namespace n on n.oid = t.typnamespace
left join pg_type item on item.oid = t.typelem
where (t.typrelid = 0 and coalesce(item.typrelid, 0) = 0)
   or exists (select from pg_class c where c.oid in (t.typrelid, item.typrelid) and c.relkind = 'c')
order by t.oid
"""
# references to a period (PostgreSQL 18) name no row: several may cover it together
CONSTRAINTS = """
select k.conrelid::int8, k.conname::text,
       case when k.contype = 'f' and (to_jsonb(k) ->> 'conperiod')::bool then 'period' else k.contype::text end,
       coalesce(k.conkey, '{}'), k.confrelid::int8, coalesce(k.confkey, '{}'),
       k.confdeltype::text, case when k.convalidated then pg_get_expr(k.conbin, k.conrelid) end
from pg_constraint k
where k.conrelid = any($1::oid[]) and k.contype in ('p', 'u', 'f', 'c', 'x') and k.conparentid = 0
order by k.conrelid, k.conname
"""
# a column that PostgreSQL 15 brought; older ones hold no two nulls for equal
INDEXES = """
select i.indrelid::int8, c.relname::text, i.indisunique, i.indkey::int2[], pg_get_expr(i.indexprs, i.indrelid),
       pg_get_expr(i.indpred, i.indrelid), coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false)
from pg_index i join pg_class c on c.oid = i.indexrelid
where i.indrelid = any($1::oid[]) and i.indisvalid
order by i.indrelid, c.relname
"""
# the query of each view, and of the views under it, whoever may use them
VIEWS = """
with recursive under(oid) as (
    select unnest($1::oid[])
    union
    select d.refobjid from under u join pg_rewrite r on r.ev_class = u.oid and r.ev_type = '1'
    join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
)
select c.oid::int8, r.ev_action::text
from under u join pg_class c on c.oid = u.oid join pg_rewrite r on r.ev_class = c.oid
where c.relkind = 'v' and r.ev_type = '1'
order by c.oid
"""
PARENTS = """
select distinct c.oid::int8 from pg_inherits i join pg_class c on c.oid = i.inhparent where c.relkind in ('r', 'f') order by 1
"""
BESIDE = """
select c.relname::text, coalesce(array_agg(a.attname::text) filter (where a.attname is not null), '{}')
from pg_class c join pg_namespace n on n.oid = c.relnamespace
left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where n.nspname = $1 and c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition
group by c.relname
order by c.relname
"""


async def read(url: str, schemas: Sequence[str] = (), without: str = "") -> Reading:
    """Ask a database; `schemas` narrows what is looked at, `without` is one that is left out. Reads only."""
    settings = {"search_path": "pg_catalog", "default_transaction_read_only": "on", "application_name": "cxg"}
    connection: Any = await asyncpg.connect(url, timeout=CONNECT_SECONDS, server_settings=settings)
    try:
        # one moment for all of the questions
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return await _ask(connection, schemas, without)
    finally:
        await connection.close()


async def _ask(connection: Any, schemas: Sequence[str], without: str) -> Reading:
    relations = tuple(Relation(*row) for row in await connection.fetch(RELATIONS, list(schemas), without))
    known = {relation.schema for relation in relations}
    if missing := [name for name in schemas if name not in known]:
        raise StartupFault(f"the database has no schema {missing[0]!r} with a table that its role may read")
    oids = [relation.oid for relation in relations]
    views = [relation.oid for relation in relations if relation.kind == "v"]
    origins = tuple(o for row in await connection.fetch(VIEWS, views) for o in origins_of(row[0], row[1]))
    whole = [*oids, *sorted({origin.table for origin in origins} - set(oids))]
    return Reading(
        relations,
        tuple(Column(*row) for row in await connection.fetch(COLUMNS, whole)),
        tuple(Type(*(_frozen(value) for value in row)) for row in await connection.fetch(TYPES)),
        tuple(Constraint(*(_frozen(value) for value in row)) for row in await connection.fetch(CONSTRAINTS, whole)),
        tuple(Index(*(_frozen(value) for value in row)) for row in await connection.fetch(INDEXES, oids)),
        origins,
        tuple(row[0] for row in await connection.fetch(PARENTS)),
        tuple((row[0], tuple(row[1])) for row in await connection.fetch(BESIDE, without)),
    )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def read_now(url: str, schemas: Sequence[str] = (), without: str = "") -> Reading:
    """The same for callers that are no coroutine, inside a running event loop or not. StartupFault names what went wrong."""
    with ThreadPoolExecutor(1) as thread:
        try:
            return thread.submit(lambda: asyncio.run(read(url, schemas, without))).result()
        except UNREACHABLE as error:
            raise unreachable(url, error) from None
