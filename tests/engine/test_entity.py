"""Declarations: names, descriptions, and the little language of status machines."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from engine.entity import ACTIVE, Entity, Machine
from tests.engine.wares import parts, wares

TEXT = "draft* open paid void : draft>open,void; open>void; open~>paid; paid>void"


def test_a_machine_is_read() -> None:
    machine = Machine.parse(TEXT)
    assert (machine.states, machine.initial) == (("draft", "open", "paid", "void"), "draft")
    assert machine.edges == {("draft", "open"), ("draft", "void"), ("open", "void"), ("paid", "void")}
    assert machine.reserved == {("open", "paid")}


def test_a_machine_knows_its_ways() -> None:
    machine = Machine.parse(TEXT)
    assert machine.targets("open") == ("void",) and machine.targets("void") == ()
    assert machine.sources("void") == ("draft", "open", "paid")
    assert machine.sources("paid") == () and machine.sources("paid", engine=True) == ("open",)


def test_a_machine_may_have_no_edges() -> None:
    assert Machine.parse("only*") == Machine(("only",), "only", frozenset())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a b : a>b",
        "a* b* : a>b",
        "a* b : a>c",
        "a* b : c>a",
        "a* b : a-b",
        "a* b : a>b,",
        "a* b:a>b",
        "a* b : a>b>a",
    ],
)
def test_a_machine_with_a_mistake_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="initial state"):
        Machine.parse(text)


def test_without_a_machine_rows_are_active_or_not() -> None:
    assert (
        wares.life is ACTIVE and ACTIVE.targets("active") == ("inactive",) and ACTIVE.targets("inactive") == ("active",)
    )


def test_names_come_from_the_table() -> None:
    assert (parts.domain, parts.name, parts.key, parts.description) == (
        "shop",
        "parts",
        "shop.parts",
        "A part of a ware.",
    )


def test_a_core_table_is_declared_as_well() -> None:
    entity = Entity(
        sa.Table("price_lists", sa.MetaData(), sa.Column("id", sa.Uuid, primary_key=True), comment="Prices.\n\nMore.")
    )
    assert (entity.key, entity.description) == ("public.price-lists", "Prices.")
