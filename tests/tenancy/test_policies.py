"""Row security from two sides: what a tenant sees, and that the check finds each hole that is made on purpose."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import Column, Integer, MetaData, Table

from tenancy.ddl import create_tables
from tenancy.policies import (
    APPEND_ONLY,
    CATALOGUE_RULES,
    OWN_ROWS,
    POLICY_RULES,
    find_violations,
    grant_statements,
    missing_protection,
    missing_triggers,
    policy_statements,
    trigger_statements,
)
from tenancy.shape import is_tenant_table

if TYPE_CHECKING:
    from tests.tenancy.conftest import ScratchDatabase

Models = Callable[[], MetaData]
ROLE = "cxg_runtime"

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def database(new_database: Callable[[], Awaitable[ScratchDatabase]], bound: Models) -> ScratchDatabase:
    """The models, created and closed by the owner. Tests leave nothing but rows of tenants of their own."""
    database = await new_database()
    made = bound()
    policies = [statement for table in made.tables.values() for statement in policy_statements(table, ROLE)]
    schemas = ["CREATE EXTENSION btree_gist", "CREATE SCHEMA ref", "CREATE SCHEMA sale", "CREATE SCHEMA stay"]
    connection = await asyncpg.connect(database.owner)
    tables = create_tables(made.tables.values())
    await connection.execute(";\n".join([*schemas, *tables, *policies, *grant_statements(made, ROLE)]))
    await connection.close()
    return database


@pytest.fixture
def metadata(bound: Models) -> MetaData:
    return bound()


@pytest.fixture
async def superuser(database: ScratchDatabase) -> AsyncIterator[asyncpg.Connection]:
    """In a transaction that is rolled back, so that even what is done to roles is undone."""
    connection = await asyncpg.connect(database.superuser)
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


@pytest.fixture
async def runtime(database: ScratchDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.runtime)
    yield connection
    await connection.close()


INSERT = "INSERT INTO sale.customers (tenant_id, id, number, name) VALUES ($1, $2, 'A1', 'Ann')"


async def test_a_tenant_sees_and_writes_its_own_rows_only(runtime: asyncpg.Connection) -> None:
    acme, other = uuid4(), uuid4()
    for tenant in (acme, other):
        await runtime.execute(f"SET app.tenant_id = '{tenant}'")
        await runtime.execute(INSERT, tenant, uuid4())
    assert [row[0] for row in await runtime.fetch("SELECT tenant_id FROM sale.customers")] == [other]
    assert await runtime.execute("UPDATE sale.customers SET name = 'Bob'") == "UPDATE 1"
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        await runtime.execute(INSERT, acme, uuid4())
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        await runtime.execute("UPDATE sale.customers SET tenant_id = $1", acme)
    assert await runtime.execute("DELETE FROM sale.customers") == "DELETE 1"
    await runtime.execute("RESET app.tenant_id")
    assert await runtime.fetch("SELECT FROM sale.customers") == []


async def test_the_owner_sees_nothing(database: ScratchDatabase, runtime: asyncpg.Connection) -> None:
    acme = uuid4()
    await runtime.execute(f"SET app.tenant_id = '{acme}'")
    await runtime.execute(INSERT, acme, uuid4())
    owner = await asyncpg.connect(database.owner)
    assert await owner.fetchval("SELECT count(*) FROM sale.customers") == 0
    await owner.close()


async def test_append_only_tables_take_inserts_and_sealing(runtime: asyncpg.Connection) -> None:
    acme = uuid4()
    await runtime.execute(f"SET app.tenant_id = '{acme}'")
    await runtime.execute("INSERT INTO stay.events (tenant_id, id, body) VALUES ($1, $2, 'b')", acme, uuid4())
    assert await runtime.execute("UPDATE stay.events SET seal = 's'") == "UPDATE 1"
    for refused in ("UPDATE stay.events SET body = 'x'", "DELETE FROM stay.events", "TRUNCATE stay.events"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
            await runtime.execute(refused)


async def test_the_append_only_trigger_holds_against_everybody(
    superuser: asyncpg.Connection, metadata: MetaData
) -> None:
    events = metadata.tables["stay.events"]
    await superuser.execute("TRUNCATE stay.events")
    await superuser.execute(";\n".join([APPEND_ONLY, *trigger_statements(events)]))
    await superuser.execute("INSERT INTO stay.events (tenant_id, id, body) VALUES ($1, $2, 'b')", uuid4(), uuid4())
    assert await superuser.execute("UPDATE stay.events SET seal = 's'") == "UPDATE 1"
    upsert = "INSERT INTO stay.events SELECT * FROM stay.events ON CONFLICT (tenant_id, id) DO UPDATE SET body = 'x'"
    both = "UPDATE stay.events SET seal = 't', body = 'x'"
    for refused in (
        both,
        upsert,
        "UPDATE stay.events SET body = 'x'",
        "DELETE FROM stay.events",
        "TRUNCATE stay.events",
    ):
        with pytest.raises(asyncpg.RestrictViolationError, match=r"stay\.events is append-only"):
            async with superuser.transaction():
                await superuser.execute(refused)
    assert await missing_triggers(superuser, metadata) == []
    events.info["sealed_columns"] = ("seal", "body")
    assert await missing_triggers(superuser, metadata) == trigger_statements(events)
    del events.info["append_only"]
    assert len(await missing_triggers(superuser, metadata)) == 2


async def test_a_closed_database_has_no_violations(database: ScratchDatabase, metadata: MetaData) -> None:
    for url in (database.owner, database.runtime):
        connection = await asyncpg.connect(url)
        assert await find_violations(connection, metadata) == []
        assert await missing_protection(connection, metadata, ROLE) == []
        await connection.close()


POLICY = "DROP POLICY tenant_only ON sale.orders; CREATE POLICY tenant_only ON sale.orders AS "
ROWS_OK = "DROP POLICY rows_ok ON sale.orders; CREATE POLICY rows_ok ON sale.orders FOR "
FUNCTION = (
    "CREATE FUNCTION sale.peek() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM sale.orders'"
)

# what is planted -> what the check must say
PLANTED = {
    "ALTER TABLE sale.orders DISABLE ROW LEVEL SECURITY": "sale.orders: row security is not enabled",
    "ALTER TABLE sale.orders NO FORCE ROW LEVEL SECURITY": "sale.orders: row security is not forced",
    "DROP POLICY tenant_only ON sale.orders": "sale.orders: the restrictive policy tenant_only is missing",
    f"{POLICY}PERMISSIVE USING ({OWN_ROWS}) WITH CHECK ({OWN_ROWS})": "sale.orders: the restrictive policy tenant_only",
    f"{POLICY}RESTRICTIVE USING ({OWN_ROWS} OR status = 'open')": "sale.orders: policy tenant_only has another expr",
    f"{POLICY}RESTRICTIVE USING ({OWN_ROWS}) WITH CHECK (true)": "sale.orders: policy tenant_only has another expr",
    f"{POLICY}RESTRICTIVE USING (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid))": (
        "sale.orders: policy tenant_only has another expression"
    ),
    f"{POLICY}RESTRICTIVE FOR SELECT USING ({OWN_ROWS})": "sale.orders: policy tenant_only is not for ALL commands",
    f"{POLICY}RESTRICTIVE TO cxg_owner USING ({OWN_ROWS}) WITH CHECK ({OWN_ROWS})": "tenant_only is not for ALL",
    "DROP POLICY rows_ok ON sale.orders": "sale.orders: the permissive policy rows_ok is missing",
    f"{ROWS_OK}ALL TO {ROLE} USING ({OWN_ROWS} OR true) WITH CHECK (true)": "sale.orders: policy rows_ok is not `true`",
    f"{ROWS_OK}SELECT TO {ROLE} USING (true)": "sale.orders: policy rows_ok is not `true`",
    f"{ROWS_OK}ALL USING (true) WITH CHECK (true)": "sale.orders: policy rows_ok is not `true`",
    f"CREATE POLICY admins ON sale.orders TO {ROLE} USING (status = 'open')": (
        "sale.orders: a permissive policy beside rows_ok: admins"
    ),
    "ALTER TABLE sale.orders DROP CONSTRAINT orders_pkey CASCADE;"
    "ALTER TABLE sale.orders ALTER tenant_id DROP NOT NULL": (
        "sale.orders: tenant_id is not uuid NOT NULL"
    ),
    "ALTER TABLE sale.orders DROP COLUMN tenant_id CASCADE": "sale.orders: tenant_id is not uuid NOT NULL",
    "ALTER TABLE stay.events DROP CONSTRAINT events_pkey": "stay.events: no primary key",
    "ALTER TABLE stay.events DROP CONSTRAINT events_pkey; ALTER TABLE stay.events ADD PRIMARY KEY (id)": (
        "stay.events: a unique key does not begin with tenant_id: stay.events_pkey"
    ),
    "ALTER TABLE stay.events ADD UNIQUE (body, tenant_id)": "stay.events: a unique key does not begin with tenant_id",
    "CREATE UNIQUE INDEX ux ON stay.events ((lower(body))) WHERE body > ''": "stay.events: a unique key does not begin",
    "CREATE UNIQUE INDEX ux ON sale.customers (id); ALTER TABLE sale.orders ADD CONSTRAINT fk"
    " FOREIGN KEY (customer_id) REFERENCES sale.customers (id)": (
        "sale.orders: a foreign key does not lead from tenant_id to tenant_id: fk"
    ),
    "ALTER TABLE sale.orders ADD CONSTRAINT fk FOREIGN KEY (customer_id, tenant_id)"
    " REFERENCES sale.customers (tenant_id, id)": "a foreign key does not lead from tenant_id to tenant_id: fk",
    "ALTER TABLE ref.currencies ADD a uuid, ADD b uuid, ADD CONSTRAINT fk"
    " FOREIGN KEY (a, b) REFERENCES sale.orders": "sale.orders: a foreign key from a table without tenant",
    "ALTER TABLE stay.bookings ADD CONSTRAINT ex EXCLUDE USING gist (room WITH =, tenant_id WITH =)": (
        "stay.bookings: an exclusion constraint does not begin with `tenant_id WITH =`: ex"
    ),
    f"ALTER ROLE {ROLE} SUPERUSER": "the runtime role is, or may become, a superuser",
    f"ALTER ROLE {ROLE} BYPASSRLS": "or a role with BYPASSRLS or REPLICATION: cxg_runtime",
    f"CREATE ROLE staff BYPASSRLS NOLOGIN; GRANT staff TO {ROLE}": "or a role with BYPASSRLS or REPLICATION: staff",
    f"ALTER TABLE sale.orders OWNER TO {ROLE}": "sale.orders: the runtime role is, or may become, the owner",
    f"GRANT cxg_owner TO {ROLE}": "stay.events: the runtime role is, or may become, the owner: cxg_owner",
    f"GRANT TRUNCATE ON sale.orders TO {ROLE}": "sale.orders: the runtime role holds a right that row security does",
    "CREATE VIEW open_orders AS SELECT * FROM sale.orders": "sale.orders: a view reads it with its owner's rights",
    "CREATE VIEW a WITH (security_invoker = on) AS SELECT * FROM sale.orders; CREATE VIEW b AS SELECT * FROM a": (
        "the view is materialized): b"
    ),
    "CREATE MATERIALIZED VIEW m AS SELECT * FROM sale.orders": "the view is materialized): m",
    FUNCTION: "a SECURITY DEFINER function runs as a superuser, a role with BYPASSRLS or the owner: sale.peek()",
    f"{FUNCTION}; ALTER FUNCTION sale.peek() OWNER TO cxg_owner": "a SECURITY DEFINER function runs as a superuser",
    f"CREATE TABLE sale.copy AS TABLE sale.orders; GRANT SELECT ON sale.copy TO {ROLE}": (
        "a table that no model knows is open to the runtime role without row security: sale.copy"
    ),
    "CREATE TABLE child () INHERITS (sale.orders)": "sale.orders: a partition or child table has no forced",
    "DROP TABLE stay.events": "stay.events: the table does not exist",
}  # fmt: skip


@pytest.mark.parametrize("planted", PLANTED)
async def test_a_planted_violation_is_found(superuser: asyncpg.Connection, metadata: MetaData, planted: str) -> None:
    assert await find_violations(superuser, metadata) == []
    await superuser.execute(planted)
    found = await find_violations(superuser, metadata)
    assert any(PLANTED[planted] in violation for violation in found), found


def test_every_rule_has_a_planted_violation() -> None:
    for rule in (*POLICY_RULES, *CATALOGUE_RULES):
        assert any(rule.sentence[:20] in said for said in PLANTED.values()), rule.sentence


@pytest.mark.parametrize(
    "harmless",
    [
        "CREATE VIEW v WITH (security_invoker = true) AS SELECT * FROM sale.orders",
        "CREATE POLICY branch ON sale.orders AS RESTRICTIVE USING (status = 'open')",
        "CREATE FUNCTION sale.f() RETURNS int LANGUAGE sql SECURITY INVOKER AS 'SELECT 1'",
        "CREATE INDEX ON sale.orders (status)",
        "CREATE TABLE sale.notes (body text)",
    ],
)
async def test_what_does_no_harm_is_not_reported(
    superuser: asyncpg.Connection, metadata: MetaData, harmless: str
) -> None:
    await superuser.execute(harmless)
    assert await find_violations(superuser, metadata) == []


async def test_a_model_without_tenant_and_a_role_that_is_not_there(
    superuser: asyncpg.Connection, metadata: MetaData
) -> None:
    Table("strays", metadata, Column("id", Integer, primary_key=True), schema="sale")
    assert await find_violations(superuser, metadata, "nobody") == [
        "nobody: the runtime role does not exist",
        "sale.strays: neither bound to a tenant nor shared",
        "sale.strays: the table does not exist",
    ]


MENDED = [planted for planted in PLANTED if "sale.orders" in planted and ("POLICY" in planted or "LEVEL" in planted)]


@pytest.mark.parametrize("planted", [planted for planted in MENDED if "admins" not in planted])
async def test_what_is_missing_is_mended(superuser: asyncpg.Connection, metadata: MetaData, planted: str) -> None:
    await superuser.execute(planted)
    await superuser.execute(";\n".join(await missing_protection(superuser, metadata, ROLE)))
    assert await find_violations(superuser, metadata) == []
    assert await missing_protection(superuser, metadata, ROLE) == []


@pytest.mark.parametrize(
    "changed",
    [
        f"GRANT UPDATE, TRUNCATE ON stay.events TO {ROLE}",
        f"REVOKE UPDATE (seal) ON stay.events FROM {ROLE}",
        f"REVOKE DELETE ON sale.orders FROM {ROLE}",
    ],
)
async def test_grants_are_mended(superuser: asyncpg.Connection, metadata: MetaData, changed: str) -> None:
    await superuser.execute(changed)
    statements = await missing_protection(superuser, metadata, ROLE)
    assert statements and "REVOKE ALL" in statements[0]
    await superuser.execute(";\n".join(statements))
    assert await missing_protection(superuser, metadata, ROLE) == []


def test_the_manager_side_gets_grants_and_no_policies(models: Models) -> None:
    metadata = models()
    assert not any(is_tenant_table(table) or policy_statements(table, ROLE) for table in metadata.tables.values())
    assert grant_statements(metadata, ROLE) == [
        f"GRANT USAGE ON SCHEMA ref, sale, stay TO {ROLE}",
        f"GRANT DELETE, INSERT, SELECT, UPDATE ON ref.currencies, sale.customers, sale.orders, stay.bookings TO {ROLE}",
        f"GRANT INSERT, SELECT, UPDATE (seal) ON stay.events TO {ROLE}",
    ]


def test_serial_keys_may_draw_numbers() -> None:
    metadata = MetaData()
    Table("jobs", metadata, Column("id", Integer, primary_key=True), schema="work")
    assert f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA work TO {ROLE}" in grant_statements(metadata, ROLE)
