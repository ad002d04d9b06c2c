"""The wall around statements of rules: what they are limited to, and that they still mean what they meant."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from engine.main import load
from engine.sql.parts import DIALECT
from engine.sql.walls import RuleStatements

CATALOG = load(["registry"])[1]
CUSTOMERS = CATALOG.find("tenants", "crm.customers").table
CONTACTS = CATALOG.find("tenants", "crm.contacts").table
USERS = CATALOG.find("manager", "idam.users").table
TENANT = UUID(int=7)
PARENT = CUSTOMERS.alias("parent")


def text(statement: Any) -> str:
    found, arguments = RuleStatements().ask(statement, TENANT)
    assert found.count("tenant_id = $") <= arguments.count(TENANT) * 9
    return " ".join(found.split())


INNER = sa.select(CONTACTS.c.customer_id).where(CONTACTS.c.is_primary)
CASES: dict[str, tuple[Any, int]] = {
    "one table": (sa.select(CUSTOMERS.c.id), 1),
    "an alias": (sa.select(PARENT.c.id), 1),
    "a join": (sa.select(CUSTOMERS.c.id).join(CONTACTS, CONTACTS.c.customer_id == CUSTOMERS.c.id), 2),
    "a subquery": (sa.select(CUSTOMERS.c.id).where(CUSTOMERS.c.id.in_(INNER)), 2),
    "an exists": (sa.select(CUSTOMERS.c.id).where(sa.exists(INNER)), 2),
    "a cte": (sa.select(INNER.cte("c").c.customer_id), 1),
    "a union": (sa.union_all(sa.select(CUSTOMERS.c.id), sa.select(CONTACTS.c.id)), 2),
    "a locked row": (sa.select(CUSTOMERS.c.id).with_for_update(), 1),
    "no tenant's table": (sa.select(USERS.c.id), 0),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_each_table_of_tenants_names_the_tenant(case: tuple[Any, int]) -> None:
    statement, tables = case
    before = str(statement.compile(dialect=DIALECT))
    assert text(statement).count("tenant_id = $") == tables
    assert str(statement.compile(dialect=DIALECT)) == before


def test_the_open_side_of_an_outer_join_stays_open() -> None:
    both = CUSTOMERS.outerjoin(PARENT, PARENT.c.id == CUSTOMERS.c.parent_id)
    found = text(sa.select(CUSTOMERS.c.id, PARENT.c.name).select_from(both))
    joined, where = found.split(" WHERE ")
    assert "parent.tenant_id = $" in joined.split(" ON ")[1] and "parent." not in where
    assert "customers.tenant_id = $" in where


def test_a_shape_is_compiled_once_and_its_values_change() -> None:
    asked = RuleStatements()
    ids = [UUID(int=number) for number in range(5)]
    first, one = asked.ask(
        sa.select(CUSTOMERS.c.id).where(CUSTOMERS.c.id.in_(ids[:1]), CUSTOMERS.c.name == "a"), TENANT
    )
    again, other = asked.ask(
        sa.select(CUSTOMERS.c.id).where(CUSTOMERS.c.id.in_(ids[3:4]), CUSTOMERS.c.name == "b"), TENANT
    )
    assert first == again and len(asked.known) == 1
    assert set(one) == {ids[0], "a", TENANT} and set(other) == {ids[3], "b", TENANT}
    # a longer list is the same shape, with more places
    longer, many = asked.ask(sa.select(CUSTOMERS.c.id).where(CUSTOMERS.c.id.in_(ids), CUSTOMERS.c.name == "b"), TENANT)
    assert len(asked.known) == 1 and longer != first and set(many) == {*ids, "b", TENANT}
    assert asked.ask(sa.select(CUSTOMERS.c.id).where(CUSTOMERS.c.name == "c"), None)[1] == ["c"]
