"""Tables written for one tenant, rewritten for many: the keys as objects, and what PostgreSQL makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy import (
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ExcludeConstraint

from tenancy.ddl import create_tables, definitions
from tenancy.shape import DIALECT, bind_to_tenant, index_foreign_keys, is_tenant_table

if TYPE_CHECKING:
    from tests.tenancy.conftest import ScratchDatabase

Models = Callable[[], MetaData]
ACME, OTHER = UUID(int=1), UUID(int=2)


def foreign_keys(table: Table) -> dict[str, ForeignKeyConstraint]:
    return {str(key.name): key for key in table.foreign_key_constraints}


def columns_of(item: Index | UniqueConstraint | PrimaryKeyConstraint | ForeignKeyConstraint) -> list[str]:
    return [column.name for column in item.columns]


def test_every_tenant_table_gets_its_tenant_first(bound: Models) -> None:
    for table in bound().tables.values():
        if table.name == "currencies":
            assert "tenant_id" not in table.c and not is_tenant_table(table)
            continue
        column = table.c.tenant_id
        assert columns_of(table.primary_key) == ["tenant_id", "id"]
        assert (column.nullable, column.primary_key, column.info) == (False, True, {"tenant": True})
        assert isinstance(column.type, Uuid)


def test_keys_and_indexes_begin_with_the_tenant_and_keep_the_rest(bound: Models) -> None:
    customers = bound().tables["sale.customers"]
    indexes = {str(index.name): index for index in customers.indexes}
    (unique,) = (item for item in customers.constraints if isinstance(item, UniqueConstraint))
    number, prefix = indexes["ux_customers_number"], indexes["ix_customers_name_prefix"]
    assert columns_of(unique) == ["tenant_id", "name", "currency_id"]
    assert unique.dialect_kwargs["postgresql_nulls_not_distinct"] is True
    assert columns_of(number) == ["tenant_id", "number"] and number.unique
    assert str(number.dialect_kwargs["postgresql_where"]) == "is_active"
    assert columns_of(prefix) == ["tenant_id", "name"] and not prefix.unique
    assert prefix.dialect_kwargs["postgresql_ops"] == {"name": "text_pattern_ops"}


def test_foreign_keys_become_composite_and_keep_name_and_action(bound: Models) -> None:
    metadata = bound()
    keys = foreign_keys(metadata.tables["sale.customers"]) | foreign_keys(metadata.tables["sale.orders"])
    favourite = keys["customers_main_order_id_fkey"]
    assert columns_of(favourite) == ["tenant_id", "main_order_id"]
    assert [element.target_fullname for element in favourite.elements] == ["sale.orders.tenant_id", "sale.orders.id"]
    assert favourite.use_alter and favourite.ondelete == "SET NULL (main_order_id)"
    assert columns_of(keys["orders_customer_id_fkey"]) == ["tenant_id", "customer_id"]
    assert keys["orders_customer_id_fkey"].ondelete == "CASCADE"
    assert columns_of(keys["orders_parent_id_fkey"]) == ["tenant_id", "parent_id"]
    # a key into what all tenants read stays as it was
    assert columns_of(keys["None"]) == ["currency_id"]


def test_columns_know_their_new_foreign_keys_only(bound: Models) -> None:
    column = bound().tables["sale.orders"].c.customer_id
    (key,) = column.foreign_keys
    assert key.constraint is not None and len(key.constraint.elements) == 2


def test_exclusions_begin_with_the_tenant(bound: Models) -> None:
    (exclusion,) = (item for item in bound().tables["stay.bookings"].constraints if isinstance(item, ExcludeConstraint))
    assert exclusion.name == "ex_bookings_room"
    assert exclusion.operators == {"tenant_id": "=", "room": "=", "during": "&&"}


def test_a_second_call_changes_nothing(bound: Models) -> None:
    metadata = bound()
    before = definitions(metadata)
    bind_to_tenant(metadata)
    index_foreign_keys(metadata)
    assert definitions(metadata) == before


def test_what_came_since_is_taken_by_the_next_call(bound: Models) -> None:
    metadata = bound()
    orders = metadata.tables["sale.orders"]
    orders.append_column(Column("code", String(9)))
    Index("ux_orders_code", orders.c.code, unique=True)
    bind_to_tenant(metadata)
    (index,) = (index for index in orders.indexes if index.name == "ux_orders_code")
    assert columns_of(index) == ["tenant_id", "code"]


def test_a_naming_convention_is_not_applied_to_tenant_id() -> None:
    convention = {"fk": "fk_%(table_name)s_%(column_0_name)s", "uq": "uq_%(table_name)s_%(column_0_name)s"}
    metadata = MetaData(naming_convention={**convention, "pk": "pk_%(table_name)s", "ix": "ix_%(column_0_label)s"})
    Table("parents", metadata, Column("id", Uuid, primary_key=True))
    child = Table(
        "children", metadata, Column("id", Uuid, primary_key=True), Column("code", String(9), unique=True),
        Column("a_id", ForeignKey("parents.id"), index=True), Column("b_id", ForeignKey("parents.id")),
    )  # fmt: skip
    bind_to_tenant(metadata)
    assert set(foreign_keys(child)) == {"fk_children_a_id", "fk_children_b_id"}
    assert child.primary_key.name == "pk_children"
    assert {str(index.name) for index in child.indexes} == {"ix_children_a_id"}
    assert "uq_children_code" in {str(item.name) for item in child.constraints}


def test_expressions_includes_and_other_methods() -> None:
    metadata = MetaData()
    table = Table("t", metadata, Column("id", Uuid, primary_key=True), Column("name", String(9)), Column("n", Integer))
    Index("ux_lower", func.lower(table.c.name), unique=True, postgresql_include=["n"], postgresql_where=text("n > 0"))
    Index("ix_gin", table.c.name, postgresql_using="gin", postgresql_ops={"name": "gin_trgm_ops"})
    bind_to_tenant(metadata)
    made = "\n".join(create_tables([table]))
    assert "CREATE UNIQUE INDEX ux_lower ON t (tenant_id, lower(name)) INCLUDE (n) WHERE n > 0" in made
    # gin has no operators for uuid, the index stays usable as it is
    assert "CREATE INDEX ix_gin ON t USING gin (name gin_trgm_ops)" in made


def test_composite_keys_and_a_tenant_that_is_declared() -> None:
    metadata = MetaData()
    Table("pairs", metadata, Column("a", Uuid, primary_key=True), Column("b", Uuid, primary_key=True))
    link = Table(
        "links", metadata, Column("tenant_id", Uuid), Column("x", Uuid, primary_key=True), Column("y", Uuid),
        ForeignKeyConstraint(["x", "y"], ["pairs.a", "pairs.b"], name="fk_pair", ondelete="set null", deferrable=True),
    )  # fmt: skip
    bind_to_tenant(metadata)
    key = foreign_keys(link)["fk_pair"]
    assert columns_of(link.primary_key) == ["tenant_id", "x"] and not link.c.tenant_id.nullable
    assert columns_of(key) == ["tenant_id", "x", "y"] and key.deferrable is True
    assert key.ondelete == "SET NULL (x, y)"


def test_a_shared_table_may_not_point_into_one_tenant() -> None:
    metadata = MetaData()
    Table("owned", metadata, Column("id", Uuid, primary_key=True))
    Table("all", metadata, Column("owned_id", ForeignKey("owned.id"), primary_key=True), info={"shared": True})
    with pytest.raises(ValueError, match="shared table cannot refer to the tenant table owned"):
        bind_to_tenant(metadata)


def test_each_foreign_key_is_indexed_once(bound: Models) -> None:
    metadata = bound()
    customers, orders = metadata.tables["sale.customers"], metadata.tables["sale.orders"]
    made = {str(index.name): columns_of(index) for table in (customers, orders) for index in table.indexes}
    assert made["ix_customers_currency_id_fk"] == ["tenant_id", "currency_id"]
    assert made["ix_customers_main_order_id_fk"] == ["tenant_id", "main_order_id"]
    assert made["ix_orders_customer_id_fk"] == ["tenant_id", "customer_id"]
    # parent_id has its own index already
    assert [name for name, columns in made.items() if columns == ["tenant_id", "parent_id"]] == [
        "ix_sale_orders_parent_id"
    ]


def test_a_partial_index_does_not_serve_a_foreign_key_and_a_key_does() -> None:
    metadata = MetaData()
    Table("p", metadata, Column("id", Uuid, primary_key=True))
    table = Table(
        "t", metadata, Column("a_id", ForeignKey("p.id"), primary_key=True), Column("b_id", ForeignKey("p.id")),
        Index("ix_partial", "b_id", postgresql_where=text("b_id IS NOT NULL")),
    )  # fmt: skip
    index_foreign_keys(metadata)
    assert {str(index.name) for index in table.indexes} == {"ix_partial", "ix_t_b_id_fk"}


def test_long_names_stay_apart_and_fit() -> None:
    metadata = MetaData()
    Table("p", metadata, Column("id", Uuid, primary_key=True))
    names = [f"{'long_' * 11}{letter}" for letter in "ab"]
    table = Table("t" * 40, metadata, *(Column(name, ForeignKey("p.id"), primary_key=False) for name in names))
    bind_to_tenant(metadata)
    index_foreign_keys(metadata)
    made = [*foreign_keys(table), *(str(index.name) for index in table.indexes)]
    assert len(set(made)) == 4 and all(len(name) <= DIALECT.max_identifier_length for name in made)


@pytest.mark.anyio
async def test_postgresql_refuses_another_tenants_parent(scratch_database: ScratchDatabase, bound: Models) -> None:
    connection = await asyncpg.connect(scratch_database.owner)
    await connection.execute("CREATE EXTENSION btree_gist; CREATE SCHEMA ref; CREATE SCHEMA sale; CREATE SCHEMA stay")
    await connection.execute(";\n".join(create_tables(bound().tables.values())))
    customer, order = uuid4(), uuid4()
    insert_customer = "INSERT INTO sale.customers (tenant_id, id, number, name) VALUES ($1, $2, 'A1', $3)"
    insert_order = "INSERT INTO sale.orders (tenant_id, id, customer_id) VALUES ($1, $2, $3)"
    await connection.execute(insert_customer, ACME, customer, "Ann")
    await connection.execute(insert_customer, OTHER, uuid4(), "Ann")
    await connection.execute(insert_order, ACME, order, customer)
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await connection.execute(insert_order, OTHER, uuid4(), customer)
    with pytest.raises(asyncpg.UniqueViolationError, match="customers_name_currency_id_key"):
        await connection.execute(insert_customer.replace("'A1'", "'A2'"), ACME, uuid4(), "Ann")
    await connection.execute("UPDATE sale.customers SET main_order_id = $1 WHERE id = $2", order, customer)
    await connection.execute("DELETE FROM sale.orders")
    row = await connection.fetchrow("SELECT tenant_id, main_order_id FROM sale.customers WHERE id = $1", customer)
    assert row is not None and tuple(row) == (ACME, None)
    insert_booking = "INSERT INTO stay.bookings (tenant_id, id, room, during) VALUES ($1, $2, '7', '[2026-01-01,)')"
    await connection.execute(insert_booking, ACME, uuid4())
    await connection.execute(insert_booking, OTHER, uuid4())
    with pytest.raises(asyncpg.ExclusionViolationError):
        await connection.execute(insert_booking, ACME, uuid4())
    await connection.close()
