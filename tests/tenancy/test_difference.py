"""Each way in which a model changes, followed by the database to its last detail, and no further."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Enum,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ExcludeConstraint

from tenancy.migrate import MigrationOptions, fingerprint, synchronise
from tenancy.shape import bind_to_tenant, index_foreign_keys

if TYPE_CHECKING:
    from tests.tenancy.conftest import Ask, ScratchDatabase

Models = Callable[[], MetaData]

pytestmark = pytest.mark.anyio


async def test_changes_changes_nothing(
    scratch_database: ScratchDatabase, bound: Models, options: MigrationOptions, ask: Ask
) -> None:
    await synchronise(scratch_database.owner, bound(), options)
    metadata = bound()
    metadata.tables["sale.orders"].append_column(Column("note", String(9)))
    first = await ask.difference(scratch_database.owner, metadata, options)
    assert first == ["ALTER TABLE sale.orders ADD COLUMN note VARCHAR(9)"]
    assert await ask.difference(scratch_database.owner, metadata, options) == first


async def test_a_table_of_the_engine_beside_the_schemas_is_known_again(
    scratch_database: ScratchDatabase, bound: Models, options: MigrationOptions, ask: Ask
) -> None:
    def with_heads() -> MetaData:
        metadata = bound()
        columns = Column("log", String(9), primary_key=True)
        Table("cxg_heads", metadata, columns, schema="public", info={"shared": True})
        return metadata

    await synchronise(scratch_database.owner, with_heads(), options)
    metadata = with_heads()
    metadata.tables["sale.orders"].append_column(Column("note", String(9)))
    found = await ask.difference(scratch_database.owner, metadata, options)
    assert found == ["ALTER TABLE sale.orders ADD COLUMN note VARCHAR(9)"]


def rename_check(metadata: MetaData) -> None:
    orders = metadata.tables["sale.orders"]
    (old,) = (item for item in orders.constraints if item.name == "ck_orders_status")
    orders.constraints.discard(old)
    orders.append_constraint(CheckConstraint("status IN ('draft', 'open', 'paid')", name="ck_orders_status"))


def change_unnamed_check(metadata: MetaData) -> None:
    orders = metadata.tables["sale.orders"]
    (old,) = (item for item in orders.constraints if isinstance(item, CheckConstraint) and item.name is None)
    orders.constraints.discard(old)
    orders.append_constraint(CheckConstraint("total > 0"))
    orders.append_constraint(CheckConstraint("total < 1000"))


def change_index(metadata: MetaData) -> None:
    customers = metadata.tables["sale.customers"]
    (old,) = (index for index in customers.indexes if index.name == "ux_customers_number")
    customers.indexes.discard(old)
    where = text("is_active AND name <> ''")
    Index("ux_customers_number", customers.c.tenant_id, customers.c.number, unique=True, postgresql_where=where)


def change_exclusion(metadata: MetaData) -> None:
    bookings = metadata.tables["stay.bookings"]
    (old,) = (item for item in bookings.constraints if isinstance(item, ExcludeConstraint))
    bookings.constraints.discard(old)
    parts = (("tenant_id", "="), ("room", "="), ("during", "&&"))
    bookings.append_constraint(ExcludeConstraint(*parts, name="ex_bookings_room", where=text("room <> 'lobby'")))


def change_columns(metadata: MetaData) -> None:
    orders, customers = metadata.tables["sale.orders"].c, metadata.tables["sale.customers"].c
    orders.total.type, orders.total.server_default = Numeric(21, 6), None
    customers.number.type, customers.number.nullable = Integer(), True
    orders.status.comment = "where it stands"


def add_tables(metadata: MetaData) -> None:
    """A new table that an old one refers to, and that refers to an old one: by new columns, with an index."""
    Table(
        "shops", metadata, Column("id", Uuid, primary_key=True),
        Column("order_id", ForeignKey("sale.orders.id", ondelete="SET NULL")), schema="shop",
    )  # fmt: skip
    orders = metadata.tables["sale.orders"]
    orders.append_column(Column("shop_id", ForeignKey("shop.shops.id", name="fk_shop"), index=True))
    orders.append_column(
        Column("level", Integer, CheckConstraint("level > 0"), server_default=text("1"), nullable=False)
    )
    bind_to_tenant(metadata)
    index_foreign_keys(metadata)


CHANGES: dict[Callable[[MetaData], None], list[str]] = {
    rename_check: ["DROP CONSTRAINT ck_orders_status", "ADD CONSTRAINT ck_orders_status CHECK"],
    change_unnamed_check: ["DROP CONSTRAINT orders_total_check", "ADD CHECK (total > 0)", "ADD CHECK (total < 1000)"],
    change_index: ["DROP INDEX sale.ux_customers_number", "WHERE is_active AND name <> ''"],
    change_exclusion: ["DROP CONSTRAINT ex_bookings_room", "WHERE (room <> 'lobby')"],
    change_columns: ["TYPE NUMERIC(21, 6) USING total::NUMERIC(21, 6)", "number DROP NOT NULL", "total DROP DEFAULT"],
    add_tables: ["CREATE SCHEMA IF NOT EXISTS shop", "ADD CONSTRAINT fk_shop FOREIGN KEY(tenant_id, shop_id)",
                 "CREATE POLICY tenant_only ON shop.shops", "GRANT USAGE ON SCHEMA shop"],
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_a_changed_model_is_followed(
    scratch_database: ScratchDatabase,
    bound: Models,
    options: MigrationOptions,
    change: Callable[[MetaData], None],
    ask: Ask,
) -> None:
    await synchronise(scratch_database.owner, bound(), options)
    metadata = bound()
    change(metadata)
    script = "\n".join(await ask.difference(scratch_database.owner, metadata, options))
    assert all(part in script for part in CHANGES[change]), script
    assert await synchronise(scratch_database.owner, metadata, options) is True
    assert await ask.difference(scratch_database.owner, metadata, options) == []
    assert await ask.violations(scratch_database.owner, metadata) == []
    # and back again
    assert await synchronise(scratch_database.owner, bound(), replace(options, say=lambda _: None)) is True


def named_by_convention(*choices: str) -> MetaData:
    """What SQLAlchemy names late: checks of types and columns, by a convention, longer than PostgreSQL allows."""
    metadata = MetaData(naming_convention={"ck": "ck_%(table_name)s_%(constraint_name)s", "pk": "pk_%(table_name)s"})
    Table(
        "notes", metadata,
        Column("id", Integer, primary_key=True),
        Column("kind", Enum(*choices, native_enum=False, create_constraint=True, name="of_" + "long_" * 12)),
        Column("done", Boolean(create_constraint=True, name="of_done"), server_default=text("false")),
        Column("level", Integer, CheckConstraint("level > 0", name="level"), Identity()),
        Column("twice", Integer, Computed("level * 2", persisted=True)),
    )  # fmt: skip
    return metadata


async def test_names_by_convention_and_generated_columns(
    scratch_database: ScratchDatabase, options: MigrationOptions, ask: Ask
) -> None:
    manager = replace(options, scope="manager", tenant_bound=False)
    await ask.execute(scratch_database.owner, "CREATE TABLE public.somebody_elses (id int)")
    assert await synchronise(scratch_database.owner, named_by_convention("a", "b"), manager)
    assert await ask.difference(scratch_database.owner, named_by_convention("a", "b"), manager) == []
    script = await ask.difference(scratch_database.owner, named_by_convention("a", "b", "c"), manager)
    assert [statement.split("_long")[0] for statement in script] == [
        "ALTER TABLE public.notes DROP CONSTRAINT ck_notes_of",
        "ALTER TABLE public.notes ADD CONSTRAINT ck_notes_of",
    ]
    assert await synchronise(scratch_database.owner, named_by_convention("a", "b", "c"), manager)
    assert await ask.difference(scratch_database.owner, named_by_convention("a", "b", "c"), manager) == []


async def test_one_database_becomes_tenant_bound(
    scratch_database: ScratchDatabase, models: Models, bound: Models, options: MigrationOptions, ask: Ask
) -> None:
    await synchronise(scratch_database.owner, models(), replace(options, tenant_bound=False))
    assert await synchronise(scratch_database.owner, bound(), options)
    assert await ask.violations(scratch_database.owner, bound()) == []
    assert await ask.difference(scratch_database.owner, bound(), options) == []


def test_the_fingerprint_is_that_of_the_models(bound: Models, options: MigrationOptions) -> None:
    first = fingerprint(bound(), options)
    assert fingerprint(bound(), options) == first
    for change in CHANGES:
        metadata = bound()
        change(metadata)
        assert fingerprint(metadata, options) != first, change.__name__
    assert fingerprint(bound(), replace(options, runtime_role="other")) != first
    assert fingerprint(bound(), replace(options, triggers=True)) != first
