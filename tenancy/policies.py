"""Row security and grants as SQL, and the check that a live database has them. Source: design/tenancy.md, 1 and 2.

Two policies a tenant table: `rows_ok` (permissive, runtime role only, true) opens it at all, `tenant_only`
(RESTRICTIVE, everybody) closes it to one tenant. Permissive policies are OR-ed, so one careless
`USING (true)` would open the table; restrictive ones are AND-ed, so nothing that is added later can widen this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import asyncpg
from sqlalchemy import Identity, MetaData, Table

from tenancy.shape import DIALECT, is_tenant_table

# no sub-select around current_setting (Citus refuses it), no `OR` (it hides every index)
OWN_ROWS = "tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid"
# the same expression as pg_get_expr() gives it back, PostgreSQL 15 to 18
OWN_ROWS_READ_BACK = "(tenant_id = (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid)"
POLICIES = ("rows_ok", "tenant_only")

quote = DIALECT.identifier_preparer.quote
table_name = DIALECT.identifier_preparer.format_table


class Rule(NamedTuple):
    """What must not be found. `query` gives (table oid or null, name of the thing); it reads the row `given`."""

    sentence: str
    query: str


def policy_statements(table: Table, runtime_role: str) -> list[str]:
    """The statements that close a new tenant table; none for a table without a tenant."""
    if not is_tenant_table(table):
        return []
    name = table_name(table)
    return [
        f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY rows_ok ON {name} FOR ALL TO {quote(runtime_role)} USING (true) WITH CHECK (true)",
        f"CREATE POLICY tenant_only ON {name} AS RESTRICTIVE FOR ALL TO PUBLIC "
        f"USING ({OWN_ROWS}) WITH CHECK ({OWN_ROWS})",
    ]


def grant_statements(metadata_or_table: MetaData | Table, runtime_role: str) -> list[str]:
    """What the runtime role may do: every row operation, on append-only tables only SELECT, INSERT and sealing."""
    if isinstance(metadata_or_table, Table):
        return _grants([metadata_or_table], runtime_role)
    return _grants(list(metadata_or_table.tables.values()), runtime_role)


def _grants(tables: Sequence[Table], runtime_role: str) -> list[str]:
    """One statement a schema list and one a set of rights, not one a table: creation is a cold start's longest part."""
    role = quote(runtime_role)
    by_rights: dict[str, list[str]] = {}
    for table in tables:
        by_rights.setdefault(", ".join(sorted(_rights(table))), []).append(table_name(table))
    grants = [f"GRANT {rights} ON {', '.join(names)} TO {role}" for rights, names in by_rights.items()]
    schemas = sorted({quote(table.schema) for table in tables if table.schema})
    usage = [f"GRANT USAGE ON SCHEMA {', '.join(schemas)} TO {role}"] if schemas else []
    numbered = sorted({quote(table.schema or "public") for table in tables if _has_sequence(table)})
    sequences = [f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {', '.join(numbered)} TO {role}"] if numbered else []
    return [*usage, *grants, *sequences]


def _rights(table: Table) -> frozenset[str]:
    if not table.info.get("append_only"):
        return frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})
    sealing = (f"UPDATE ({quote(name)})" for name in table.info.get("sealed_columns", ()))
    return frozenset({"SELECT", "INSERT", *sealing})


def _has_sequence(table: Table) -> bool:
    """Whether a serial column draws from a sequence; an identity column needs no grant for its own."""
    column = table.autoincrement_column
    return column is not None and not isinstance(column.server_default, Identity)


# sealing names none of the columns that the trigger watches, so that it costs nothing (comparing rows cost more than the update)
APPEND_ONLY = """CREATE OR REPLACE FUNCTION public.cxg_append_only() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
  RAISE EXCEPTION '%.% is append-only: % refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
    USING ERRCODE = 'restrict_violation';
END
$body$"""
ROW_TRIGGER, TABLE_TRIGGER = "append_only", "append_only_truncate"
# pg_trigger.tgtype: for each row, before, delete, update; before, truncate
ROW_MOMENTS, TABLE_MOMENTS = 1 + 2 + 8 + 16, 2 + 32


def trigger_statements(table: Table) -> list[str]:
    """What holds an append-only table against its owner too; never on distributed tables, which take no triggers."""
    if not table.info.get("append_only"):
        return []
    name, watched = table_name(table), ", ".join(map(quote, _watched(table)))
    return [
        f"CREATE OR REPLACE TRIGGER {ROW_TRIGGER} BEFORE DELETE OR UPDATE OF {watched} ON {name} "
        f"FOR EACH ROW EXECUTE FUNCTION public.cxg_append_only()",
        f"CREATE OR REPLACE TRIGGER {TABLE_TRIGGER} BEFORE TRUNCATE ON {name} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION public.cxg_append_only()",
    ]


def _watched(table: Table) -> list[str]:
    """The columns of an append-only table that nobody may write later."""
    return sorted(c.name for c in table.columns if c.name not in table.info.get("sealed_columns", ()))


# what pg_policy must say of each tenant table; `changes` mends these by itself
POLICY_RULES = (
    Rule("row security is not enabled", "SELECT oid, '' FROM bound WHERE NOT relrowsecurity"),
    Rule("row security is not forced", "SELECT oid, '' FROM bound WHERE NOT relforcerowsecurity"),
    Rule("the restrictive policy tenant_only is missing",
         "SELECT oid, '' FROM bound WHERE NOT EXISTS (SELECT FROM policy p"
         " WHERE p.polrelid = bound.oid AND p.polname = 'tenant_only' AND NOT p.polpermissive)"),
    Rule("policy tenant_only has another expression",
         "SELECT polrelid, '' FROM policy, given WHERE polname = 'tenant_only'"
         " AND (qual IS DISTINCT FROM own OR with_check IS DISTINCT FROM own)"),
    Rule("policy tenant_only is not for ALL commands and PUBLIC",
         "SELECT polrelid, '' FROM policy WHERE polname = 'tenant_only' AND (polcmd <> '*' OR polroles <> '{0}')"),
    Rule("the permissive policy rows_ok is missing",
         "SELECT oid, '' FROM bound WHERE NOT EXISTS (SELECT FROM policy p"
         " WHERE p.polrelid = bound.oid AND p.polname = 'rows_ok' AND p.polpermissive)"),
    Rule("policy rows_ok is not `true`, for ALL commands and the runtime role alone",
         "SELECT polrelid, '' FROM policy, given WHERE polname = 'rows_ok' AND (qual IS DISTINCT FROM 'true'"
         " OR with_check IS DISTINCT FROM 'true' OR polcmd <> '*' OR polroles <> ARRAY[runtime])"),
)  # fmt: skip

CATALOGUE_RULES = (
    Rule("a permissive policy beside rows_ok",
         "SELECT polrelid, polname FROM policy WHERE polpermissive AND polname <> 'rows_ok'"),
    Rule("tenant_id is not uuid NOT NULL",
         "SELECT oid, '' FROM bound WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = bound.oid"
         " AND a.attnum = tenant AND a.attnotnull AND a.atttypid = 'uuid'::regtype)"),
    Rule("no primary key",
         "SELECT oid, '' FROM bound WHERE NOT EXISTS (SELECT FROM pg_index i"
         " WHERE i.indrelid = bound.oid AND i.indisprimary)"),
    Rule("a unique key does not begin with tenant_id",
         "SELECT indrelid, indexrelid::regclass::text FROM pg_index JOIN bound ON bound.oid = indrelid"
         " WHERE indisunique AND NOT indisexclusion AND indkey[0] IS DISTINCT FROM tenant"),
    Rule("a foreign key does not lead from tenant_id to tenant_id",
         "SELECT conrelid, conname FROM pg_constraint"
         " JOIN bound b ON b.oid = conrelid JOIN bound t ON t.oid = confrelid WHERE contype = 'f'"
         " AND (conkey[1], confkey[1]) IS DISTINCT FROM (b.tenant, t.tenant)"),
    Rule("a foreign key from a table without tenant",
         "SELECT confrelid, conrelid::regclass || '.' || conname FROM pg_constraint JOIN bound ON bound.oid = confrelid"
         " WHERE contype = 'f' AND conrelid NOT IN (SELECT oid FROM bound)"),
    Rule("an exclusion constraint does not begin with `tenant_id WITH =`",
         "SELECT conrelid, conname FROM pg_constraint JOIN bound ON bound.oid = conrelid WHERE contype = 'x'"
         " AND pg_get_constraintdef(pg_constraint.oid) !~ '^EXCLUDE USING \\w+ \\(tenant_id WITH =[,)]'"),
    Rule("the runtime role is, or may become, a superuser or a role with BYPASSRLS or REPLICATION",
         "SELECT NULL, r.rolname FROM pg_roles r, given WHERE pg_has_role(runtime, r.oid, 'MEMBER')"
         " AND (r.rolsuper OR r.rolbypassrls OR r.rolreplication)"),
    Rule("the runtime role is, or may become, the owner",
         "SELECT oid, pg_get_userbyid(relowner) FROM bound, given WHERE pg_has_role(runtime, relowner, 'MEMBER')"),
    Rule("the runtime role holds a right that row security does not see",
         "SELECT oid, verb FROM bound, given, unnest(ARRAY['TRUNCATE', 'REFERENCES', 'TRIGGER']) verb"
         " WHERE has_table_privilege(runtime, oid, verb)"),
    Rule("a view reads it with its owner's rights (security_invoker is missing, or the view is materialized)",
         "SELECT DISTINCT origin, view::regclass::text FROM seen JOIN pg_class v ON v.oid = view WHERE v.relkind = 'm'"
         " OR v.relkind = 'v' AND NOT EXISTS (SELECT FROM pg_options_to_table(v.reloptions)"
         " WHERE option_name = 'security_invoker' AND option_value::boolean)"),
    Rule("a SECURITY DEFINER function runs as a superuser, a role with BYPASSRLS or the owner",
         "SELECT NULL, p.oid::regprocedure::text FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner, given"
         " WHERE p.prosecdef AND p.pronamespace = ANY(schemas || 'public'::regnamespace::oid)"
         " AND (r.rolsuper OR r.rolbypassrls OR EXISTS (SELECT FROM bound WHERE relowner = r.oid))"),
    Rule("a table that no model knows is open to the runtime role without row security",
         "SELECT NULL, c.oid::regclass::text FROM pg_class c, given WHERE c.relkind IN ('r', 'p', 'f')"
         " AND c.relnamespace = ANY(schemas) AND NOT (c.relrowsecurity AND c.relforcerowsecurity)"
         " AND c.oid <> ALL(known) AND EXISTS (SELECT FROM bound)"
         " AND has_any_column_privilege(runtime, c.oid, 'SELECT, INSERT, UPDATE')"),
    Rule("a partition or child table has no forced row security of its own",
         "SELECT inhparent, inhrelid::regclass::text FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid"
         " JOIN bound ON bound.oid = inhparent WHERE c.relkind IN ('r', 'p', 'f')"
         " AND NOT (c.relrowsecurity AND c.relforcerowsecurity)"),
)  # fmt: skip

# $1 tenant tables, $2 every table of the models, $3 runtime role, $4 schemas, $5 the tenant expression
GIVEN = """
WITH RECURSIVE given AS (
  SELECT $1::oid[] AS tables, $2::oid[] AS known, (SELECT oid FROM pg_roles WHERE rolname = $3::text) AS runtime,
         ARRAY(SELECT oid FROM pg_namespace WHERE nspname = ANY($4::text[])) AS schemas, $5::text AS own
), bound AS (
  SELECT c.oid, relowner, relrowsecurity, relforcerowsecurity, (
    SELECT attnum FROM pg_attribute WHERE attrelid = c.oid AND attname = 'tenant_id' AND NOT attisdropped) AS tenant
  FROM pg_class c, given WHERE c.oid = ANY(tables)
), policy AS (
  SELECT p.*, pg_get_expr(polqual, polrelid) AS qual, pg_get_expr(polwithcheck, polrelid) AS with_check
  FROM pg_policy p JOIN bound ON bound.oid = polrelid
), reads AS (
  SELECT DISTINCT d.refobjid AS source, r.ev_class AS view FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
  WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND r.ev_class <> d.refobjid
), seen AS (
  SELECT source AS origin, view FROM reads JOIN bound ON bound.oid = source
  UNION SELECT seen.origin, reads.view FROM seen JOIN reads ON reads.source = seen.view
)
"""


HELD = """
SELECT oid, array_agg(held) AS rights FROM (
  SELECT c.oid, acl.privilege_type AS held, acl.grantee FROM pg_class c, aclexplode(c.relacl) acl
  UNION ALL
  SELECT a.attrelid, format('%s (%I)', acl.privilege_type, a.attname), acl.grantee
  FROM pg_attribute a, aclexplode(a.attacl) acl
) rights WHERE grantee = (SELECT oid FROM pg_roles WHERE rolname = $1) GROUP BY oid
"""

TRIGGERS = """
SELECT tgrelid AS oid, tgname::text AS name, tgtype AS moments, ARRAY(
  SELECT attname::text FROM pg_attribute WHERE attrelid = tgrelid AND attnum = ANY(tgattr::int2[]) ORDER BY attname COLLATE "C"
) AS columns FROM pg_trigger
WHERE tgrelid = ANY($1::oid[]) AND tgfoid = to_regproc('public.cxg_append_only')::oid AND tgenabled IN ('O', 'A')
"""


async def find_violations(
    connection: asyncpg.Connection, metadata: MetaData, runtime_role: str = "cxg_runtime"
) -> list[str]:
    """Every way in which the live database lets one tenant reach another's rows, as `table: sentence: thing`, sorted.

    Reads catalogues only; any role may run it.
    """
    oids = await _oids(connection, metadata)
    found = [f"{name}: the table does not exist" for name, oid in oids.items() if oid is None]
    found += _without_tenant(metadata)
    if not await connection.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = $1", runtime_role):
        return sorted([*found, f"{runtime_role}: the runtime role does not exist"])
    names = {oid: name for name, oid in oids.items()}
    for oid, thing, sentence in await _broken(connection, (*POLICY_RULES, *CATALOGUE_RULES), metadata, runtime_role):
        found.append(": ".join(filter(None, (names.get(oid), sentence, thing))))
    return sorted(found)


async def missing_protection(connection: asyncpg.Connection, metadata: MetaData, runtime_role: str) -> list[str]:
    """Policies and grants that the database lacks: all of them for tables that are not there yet."""
    oids = await _oids(connection, metadata)
    broken = {oid for oid, _, _ in await _broken(connection, POLICY_RULES, metadata, runtime_role)}
    held = await _held_rights(connection, runtime_role)
    statements, ungranted = [], []
    for table in metadata.tables.values():
        name, oid = table_name(table), oids[table_name(table)]
        if oid in broken:
            statements += [f"DROP POLICY IF EXISTS {policy} ON {name}" for policy in POLICIES]
        if oid is None or oid in broken:
            statements += policy_statements(table, runtime_role)
        if oid is None or held.get(oid, frozenset()) != _rights(table):
            # the grants of a new table are the first; another's may be too many
            statements += [f"REVOKE ALL ON {name} FROM {quote(runtime_role)}"] if oid else []
            ungranted.append(table)
    return [*statements, *_grants(ungranted, runtime_role)]


async def missing_triggers(connection: asyncpg.Connection, metadata: MetaData) -> list[str]:
    """Append-only triggers that are not there, or watch other columns, or are left on a table that is none."""
    oids = await _oids(connection, metadata)
    rows = await connection.fetch(TRIGGERS, [oid for oid in oids.values() if oid])
    held = {(row["oid"], row["name"]): (row["moments"], row["columns"]) for row in rows}
    statements = []
    for table in metadata.tables.values():
        oid = oids[table_name(table)]
        found = {name: held[oid, name] for name in (ROW_TRIGGER, TABLE_TRIGGER) if (oid, name) in held}
        wanted: dict[str, tuple[int, list[str]]] = {}
        if table.info.get("append_only"):
            wanted = {ROW_TRIGGER: (ROW_MOMENTS, _watched(table)), TABLE_TRIGGER: (TABLE_MOMENTS, [])}
        if found != wanted:
            statements += [f"DROP TRIGGER {name} ON {table_name(table)}" for name in found if name not in wanted]
            statements += trigger_statements(table)
    body = await connection.fetchval("SELECT prosrc FROM pg_proc WHERE oid = to_regproc('public.cxg_append_only')")
    needed = any(table.info.get("append_only") for table in metadata.tables.values())
    return [APPEND_ONLY, *statements] if needed and body != APPEND_ONLY.split("$body$")[1] else statements


def _without_tenant(metadata: MetaData) -> list[str]:
    """In a tenant-bound scope each table has a tenant or says that it is shared."""
    tables = list(metadata.tables.values())
    if not any(map(is_tenant_table, tables)):
        return []
    strays = [table for table in tables if not is_tenant_table(table) and not table.info.get("shared")]
    return [f"{table_name(table)}: neither bound to a tenant nor shared" for table in strays]


async def _oids(connection: asyncpg.Connection, metadata: MetaData) -> dict[str, int | None]:
    names = [table_name(table) for table in metadata.tables.values()]
    rows = await connection.fetch("SELECT name, to_regclass(name)::oid AS oid FROM unnest($1::text[]) name", names)
    return {row["name"]: row["oid"] for row in rows}


async def _broken(
    connection: asyncpg.Connection, rules: Sequence[Rule], metadata: MetaData, runtime_role: str
) -> list[tuple[int | None, str, str]]:
    """(table oid or None, thing, sentence) of each breach; all rules in one round trip."""
    oids = await _oids(connection, metadata)
    tenants = [table_name(table) for table in metadata.tables.values() if is_tenant_table(table)]
    queries = (
        f"SELECT {number} AS rule, oid::oid, thing::text FROM ({rule.query}) AS found (oid, thing)"
        for number, rule in enumerate(rules)
    )
    rows = await connection.fetch(
        GIVEN + " UNION ALL ".join(queries),
        [oids[name] for name in tenants if oids[name]],
        [oid for oid in oids.values() if oid],
        runtime_role,
        sorted({table.schema or "public" for table in metadata.tables.values()}),
        OWN_ROWS_READ_BACK,
    )
    return [(row["oid"], row["thing"], rules[row["rule"]].sentence) for row in rows]


async def _held_rights(connection: asyncpg.Connection, role: str) -> dict[int, frozenset[str]]:
    """What the role was granted by name: table oid -> rights, a column's as `UPDATE (column)`."""
    rows = await connection.fetch(HELD, role)
    return {row["oid"]: frozenset(row["rights"]) for row in rows}
