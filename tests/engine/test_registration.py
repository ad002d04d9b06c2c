"""What registration adds to a table, and what it leaves alone."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, Index, MetaData, String, Table, Uuid
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex

from engine.entity import Entity, Unique
from engine.fields import stored_field
from engine.registration import bounds_of, common_columns, complete
from engine.types import Bounded, Bounds

COMMON = ["is_active", "version", "created_at", "updated_at", "created_by", "updated_by"]


def registered(*columns: Any, **options: Any) -> Table:
    table = Table("plans", MetaData(), *columns, schema="bill")
    complete([Entity(table, **options)])
    return table


def checks(table: Table) -> dict[str, str]:
    return {str(rule.name): str(rule.sqltext) for rule in table.constraints if isinstance(rule, CheckConstraint)}


def ddl(index: Index) -> str:
    return str(CreateIndex(index).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]


def test_every_table_gets_the_common_columns() -> None:
    table = registered(Column("id", Uuid, primary_key=True))
    assert list(table.c.keys()) == ["id", *COMMON]
    assert [name for name in COMMON if table.c[name].nullable] == ["created_by", "updated_by"]
    assert common_columns(table) == []


def test_a_table_without_a_key_gets_an_id() -> None:
    assert [column.name for column in registered(Column("code", String)).primary_key] == ["id"]


def test_what_a_model_says_itself_stays() -> None:
    own = Column("version", sa.BigInteger, nullable=False)
    table = registered(Column("code", String, primary_key=True), own)
    assert table.c.version is own and "id" not in table.c


def test_registration_is_done_once() -> None:
    table = registered(Column("id", Uuid, primary_key=True), Column("code", String), unique=["code"])
    before = (len(table.c), len(table.constraints), len(table.indexes))
    complete([Entity(table, unique=["code"])])
    assert (len(table.c), len(table.constraints), len(table.indexes)) == before


def test_a_machine_gets_a_status_column_of_its_states() -> None:
    table = registered(Column("id", Uuid, primary_key=True), machine="draft* open : draft>open")
    assert not table.c.status.nullable and getattr(table.c.status.type, "enums", None) == ["draft", "open"]
    assert list(checks(table).values()) == ["status in ('draft', 'open')"]
    assert "status" not in registered(Column("id", Uuid, primary_key=True)).c


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("code", "CREATE UNIQUE INDEX uq_plans_code ON bill.plans (code) WHERE is_active"),
        (Unique(("code", "kind")), "CREATE UNIQUE INDEX uq_plans_code_kind ON bill.plans (code, kind) WHERE is_active"),
        (
            Unique(("code",), where="kind = 'a' or kind = 'b'", nulls_equal=True),
            "CREATE UNIQUE INDEX uq_plans_code ON bill.plans (code) NULLS NOT DISTINCT"
            " WHERE is_active and (kind = 'a' or kind = 'b')",
        ),
    ],
)
def test_unique_keys_hold_for_active_rows(key: str | Unique, text: str) -> None:
    table = registered(
        Column("id", Uuid, primary_key=True), Column("code", String), Column("kind", String), unique=[key]
    )
    assert [ddl(index) for index in table.indexes] == [text]


def test_a_name_is_never_longer_than_postgresql_takes() -> None:
    names = [f"a_rather_long_column_name_{i}" for i in range(3)]
    table = registered(
        Column("id", Uuid, primary_key=True), *(Column(n, String) for n in names), unique=[Unique(tuple(names))]
    )
    assert [len(str(index.name)) for index in table.indexes] == [63]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (Column("seats", sa.Integer, info={"bounds": Bounds(1, 9)}), "seats >= 1 and seats <= 9"),
        (Column("rate", Bounded(18, 8, above=0)), "rate > 0"),
        (Column("order", Bounded(5, 0, minimum=1)), '"order" >= 1'),
        (Column("share", Bounded(7, 4, minimum=0, maximum=100)), "share >= 0 and share <= 100"),
        (Column("kind", sa.Enum("a", "it's", native_enum=False)), "kind in ('a', 'it''s')"),
    ],
)
def test_bounds_and_choices_are_checked_by_the_database(column: Column[Any], expected: str) -> None:
    assert list(checks(registered(Column("id", Uuid, primary_key=True), column)).values()) == [expected]


def test_bounds_come_from_the_type_or_the_column() -> None:
    assert bounds_of(Column("a", Bounded(5, 2, minimum=3))) == Bounds(minimum=3)
    assert bounds_of(Column("a", sa.Numeric[Decimal](5, 2), info={"bounds": Bounds(above=0)})) == Bounds(above=0)
    assert bounds_of(Column("a", sa.Integer)) == Bounds()


def test_checks_without_a_name_get_a_stable_one() -> None:
    def names(*texts: str) -> set[str]:
        table = registered(
            Column("id", Uuid, primary_key=True), Column("a", sa.Integer), *(CheckConstraint(text) for text in texts)
        )
        return set(checks(table))

    first, second = names("a > 1", "a < 9"), names("a < 9", "a > 1")
    assert first == second and len(first) == 2 and all(name.startswith("ck_plans") for name in first)


def test_an_encrypted_text_has_room_for_its_cipher() -> None:
    """The column takes any length, bodies only that of the text."""
    table = Table("plans", MetaData(), Column("pin", String(12)), Column("papers", postgresql.JSONB), schema="bill")
    entity = Entity(table, hidden=["pin", "papers"], encrypted=["pin", "papers"])
    complete([entity])
    assert isinstance(table.c.pin.type, sa.Text) and isinstance(table.c.papers.type, postgresql.JSONB)
    annotation = stored_field(entity, table.c.pin).annotation
    assert msgspec.json.decode(b'"123456789012"', type=annotation) == "123456789012"
    with pytest.raises(msgspec.ValidationError, match="length <= 12"):
        msgspec.json.decode(b'"1234567890123"', type=annotation)
