"""Row rules as they are compiled: what start-up refuses, and what a caller's values become."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Boolean, Column, ForeignKey, Integer, LargeBinary, MetaData, String, Table, Uuid

from engine import registration
from engine.catalog import Catalog, compile_catalog
from engine.entity import Entity, Owner, Rows
from engine.errors import StartupFault
from engine.row_rules import RIGHTS, claim_of, with_row_rules
from engine.shapes import Condition, Through
from engine.types import ENGINE, Principal, Scope, TenantRef
from engine.types import RIGHTS as OF_OPERATIONS

ANN = Principal(UUID(int=7), "ann@shop.example", claims={"regions": ["n", "s"], "level": 3, "app": {"team": "red"}})


def catalog(**options: Any) -> Catalog:
    metadata = MetaData()
    users = Table("users", metadata, Column("id", Uuid, primary_key=True), Column("boss", Uuid), schema="shop")
    table = Table(
        "orders",
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("region", String(9)),
        Column("level", Integer),
        Column("open", Boolean),
        Column("raw", LargeBinary),
        Column("user_id", ForeignKey("shop.users.id")),
        schema="shop",
    )
    entities = [Entity(users), Entity(table, **options)]
    registration.complete(entities)
    return compile_catalog([Scope("s", metadata)], entities, [])


def rules(*said: Rows, **options: Any) -> Catalog:
    return with_row_rules(catalog(rows=said, **options))


@pytest.mark.parametrize(
    ("number", "said", "text"),
    [
        ("E060", Rows("regoin", "eq", "n"), "'regoin' is no readable column of shop.orders; perhaps 'region'"),
        ("E060", Rows("region", "under", "n"), "'region' takes"),
        ("E060", Rows("level", "eq", "three"), "is not a value of type integer, such as 10"),
        ("E060", Rows("region", "eq", "$user.id"), "'$user.id' is no value of the caller; say $caller.id"),
        ("E060", Rows("region", "eq", "$caller."), "names nothing of the caller"),
        ("E060", Rows("usr.boss", "eq", "$caller.id"), "'usr' is not a relation of shop.orders"),
        ("E060", Rows("user.boss", "isnull", "$caller.level"), "isnull of a related row takes true or false"),
        ("E060", Rows({"field": "region"}), "a condition has field, op and value"),
        ("E060", Rows({"nor": []}), "a condition has field, op and value"),
        ("E061", Rows("region", "eq", "n", on="read write"), "holds on 'write'; rights are read, create"),
        ("E061", Rows("region", "eq", "n", on=""), "rights are read, create"),
    ],
)
def test_what_does_not_fit_is_told_at_start(number: str, said: Rows, text: str) -> None:
    with pytest.raises(StartupFault, match=number) as fault:
        rules(said)
    assert text in str(fault.value)


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(StartupFault) as fault:
        rules(Rows("a", "eq", 1), Rows("region", on="x", value="n"), owner=Owner("usr.boss", unless="x"))
    assert len(str(fault.value).splitlines()) == 4


def test_rights_are_those_of_the_operations() -> None:
    assert set(RIGHTS) == set(OF_OPERATIONS.values())


def test_nobody_forgets_a_rule() -> None:
    """An entity whose rules were not compiled answers nobody."""
    bare = catalog(rows=[Rows("region", "eq", "n")]).resources["s/shop/orders"]
    with pytest.raises(AssertionError, match="not compiled"):
        bare.limits(ANN, "read")


@pytest.mark.parametrize(
    ("said", "values"),
    [
        (Rows("region", "in", "$caller.regions"), {"w0": ["n", "s"], "w1": True}),
        (Rows("region", "in", ["x", "$caller.regions"]), {"w0": ["x", "n", "s"], "w1": True}),
        (Rows("region", "eq", "$caller.regions"), {"w0": None, "w1": False}),
        (Rows("region", "eq", "$caller.app.team"), {"w0": "red", "w1": True}),
        (Rows("level", "gte", "$caller.level"), {"w0": "3", "w1": True}),
        (Rows("level", "eq", "$caller.email"), {"w0": None, "w1": False}),
        (Rows("level", "between", [1, "$caller.level"]), {"w0a": "1", "w0b": "3", "w1": True}),
        (Rows("open", "eq", True), {"w0": "true"}),
        (Rows("region", "startswith", "$caller.nothing"), {"w0": None, "w1": False}),
        (Rows("user.boss", "eq", "$caller.id"), {"w0": str(ANN.user_id), "w1": True}),
    ],
)
def test_what_a_rule_asks_of_a_caller(said: Rows, values: dict[str, Any]) -> None:
    found = {name: ask(ANN) for name, ask in rules(said).row_values.items()}
    assert {name: found[name] for name in values} == values
    assert len(found) == len(values)


def test_a_pattern_of_a_claim_is_escaped() -> None:
    [value, _] = rules(Rows("region", "contains", "$caller.email")).row_values.values()
    assert value(replace(ANN, email="100%_")) == r"%100\%\_%"


def test_what_is_known_of_a_caller() -> None:
    tenant = TenantRef(UUID(int=9), "acme")
    who = replace(ANN, tenant=tenant, roles=("SALES",))
    assert claim_of(who, "id") == str(UUID(int=7)) and claim_of(who, "tenant") == str(tenant.id)
    assert claim_of(who, "roles") == ["SALES"] and claim_of(who, "app.team") == "red"
    named = replace(ANN, claims={"https://id.example/roles": ["a"], "app.team": "blue", "app": {"team": "red"}})
    assert claim_of(named, "https://id.example/roles") == ["a"] and claim_of(named, "app.team") == "blue"
    assert claim_of(who, "app.team.x") is None and claim_of(ENGINE, "id") is None


def test_whom_a_rule_binds() -> None:
    said = (Rows("region", "eq", "n", unless="shop.all", on="read"), Rows("open", "eq", True))
    resource = rules(*said).resources["s/shop/orders"]
    lifted, boss = replace(ANN, permissions=frozenset({"shop.all"})), replace(ANN, everything=True)
    assert [len(resource.limits(who, "read")) for who in (ANN, lifted, boss, ENGINE)] == [2, 1, 1, 0]
    assert len(resource.limits(ANN, "update")) == 1
    assert len(resource.limits(ANN, "update", {"region"})) == 0


def test_a_rule_takes_empty_as_filters_do() -> None:
    said = (
        Rows("user.boss", "ne", "$caller.id"),
        Rows("user.boss", "isnull", True),
        Rows("user.boss", "isnull", False),
    )
    resource = rules(*said).resources["s/shop/orders"]
    nodes = {rule.node for rule in resource.limits(ANN, "read")}
    assert nodes == {
        Through("user", "none", Condition("boss", "eq", None)),
        Through("user", "none", Condition("boss", "isnull", None)),
        Through("user", "some", Condition("boss", "isnull", None)),
    }


def test_an_owner_is_a_condition() -> None:
    made = rules(owner=Owner(("user_id", "user.boss"), unless="x", reads=False), read_only=["user_id"])
    resource = made.resources["s/shop/orders"]
    [rule] = resource.limits(ANN, "update")
    assert rule.columns == ("user_id",) and len(rule.names) == 2
    assert resource.limits(ANN, "read") == frozenset()
    alone = rules(owner=Owner("user_id", unless="x"), read_only=["user_id"]).resources["s/shop/orders"]
    assert alone.limits(ANN, "create") == frozenset() and alone.limits(ANN, "read")
