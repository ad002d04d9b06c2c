"""Column types: values go through PostgreSQL unchanged, and what would be changed is refused."""

from __future__ import annotations

import json
from datetime import timedelta, timezone
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.clock import CLOCK
from engine.errors import FAULT_CODES, ApiError
from engine.parse import BodyReader
from engine.scalars import MESSAGES, SCALARS, BadValue, explain, scalar_of, walk_json
from engine.shapes import InsertShape, Statement
from engine.sql import Reads, Writes
from engine.sql.parts import ENCODER
from engine.types import FORMATS, Bounds, Formatted
from tests.engine.conftest import Bench
from tests.engine.wares import CATALOG, WARES

READER = BodyReader(CATALOG, WARES, "create")
WRITES = Writes(CATALOG, Reads(CATALOG))

# field -> what is sent, and what is shown afterwards (the same where there is one text)
KEPT: list[tuple[str, str, str]] = [
    ("ready", "true", "true"),
    ("ready", "false", "false"),
    ("amount", "-2147483648", "-2147483648"),
    ("small", "100", "100"),
    ("big", '"9223372036854775807"', '"9223372036854775807"'),
    ("big", "-9223372036854775808", '"-9223372036854775808"'),
    ("ratio", "0.1", "0.1"),
    ("ratio", "5e-324", "5e-324"),
    ("ratio", "1.7976931348623157e308", "1.7976931348623157e+308"),
    ("price", '"999999999999999.9999"', '"999999999999999.9999"'),
    ("price", "0.1", '"0.1000"'),
    ("price", '"1.50000000"', '"1.5000"'),
    ("price", '"-0.0001"', '"-0.0001"'),
    ("price", '"1E+3"', '"1000.0000"'),
    ("share", "100", '"100.0000"'),
    ("title", '"naïve \\"quote\\" \\\\ 😀 \\t 25%"', '"naïve \\"quote\\" \\\\ 😀 \\t 25%"'),
    ("title", '"\\ud83d\\ude00"', '"😀"'),
    ("title", '""', '""'),
    ("note", '"null"', '"null"'),
    ("kind", '"used"', '"used"'),
    ("email", '"Ann@Example.COM"', '"ann@example.com"'),
    ("born", '"0001-01-01"', '"0001-01-01"'),
    ("born", '"9999-12-31"', '"9999-12-31"'),
    ("at", '"9999-12-31T23:59:59.999999Z"', '"9999-12-31T23:59:59.999999+00:00"'),
    ("at", '"2026-01-31T10:00:00.000001+05:30"', '"2026-01-31T04:30:00.000001+00:00"'),
    ("hour", '"23:59:59.999999"', '"23:59:59.999999"'),
    ("data", '{"a":[1.10,null,true,"x"],"b":{}}', '{"a":[1.10,null,true,"x"],"b":{}}'),
    ("data", "123456789012345678901234567890", "123456789012345678901234567890"),
    ("data", "null", "null"),
    ("tags", '["a","a,b",""]', '["a","a,b",""]'),
    ("address", '{"city":"B","line1":"A","country":"DE"}', '{"city":"B","line1":"A","country":"DE"}'),
    ("raw", f'"{"QUJD" * 40}"', f'"{"QUJD" * 40}"'),
    ("raw", '""', '""'),
    ("words", '["a,b","\\"","null","","{}"]', '["a,b","\\"","null","","{}"]'),
    ("words", "[]", "[]"),
    ("words", "null", "null"),
]
REFUSED: list[tuple[str, str, str]] = [
    ("ready", "1", "invalid_format"),
    ("ready", '"true"', "invalid_format"),
    ("amount", "5.7", "invalid_format"),
    ("amount", "true", "invalid_format"),
    ("amount", '"5"', "invalid_format"),
    ("amount", "2147483648", "out_of_range"),
    ("amount", "1e40", "invalid_format"),
    ("small", "-1", "out_of_range"),
    ("big", '"9223372036854775808"', "out_of_range"),
    ("big", "5.7", "invalid_format"),
    ("big", "true", "invalid_format"),
    ("big", '"12a"', "invalid_format"),
    ("ratio", '"0.5"', "invalid_format"),
    ("ratio", "true", "invalid_format"),
    ("price", '"1e131072"', "out_of_range"),
    ("price", "1e131072", "out_of_range"),
    ("price", '"NaN"', "invalid_format"),
    ("price", '"Infinity"', "invalid_format"),
    ("price", "true", "invalid_format"),
    ("price", '"1000000000000000"', "out_of_range"),
    ("price", '"0.00001"', "out_of_range"),
    ("share", '"100.0001"', "out_of_range"),
    ("title", '"a\\u0000"', "invalid_format"),
    ("title", '"\\ud800"', "invalid_format"),
    ("title", "5", "invalid_format"),
    ("kind", '"New"', "invalid_choice"),
    ("code", '"team"', "invalid_format"),
    ("born", '"10000-01-01"', "invalid_format"),
    ("born", '"2026-01-31T00:00:00Z"', "invalid_format"),
    ("born", '"infinity"', "invalid_format"),
    ("at", '"infinity"', "invalid_format"),
    ("at", '"9999-12-31T23:59:59-14:00"', "out_of_range"),
    ("at", "1700000000", "invalid_format"),
    ("at", '"2026-01-31T10:00:00.1234567Z"', "invalid_format"),
    ("hour", '"24:00:00"', "invalid_format"),
    ("hour", '"10:00:00Z"', "invalid_format"),
    ("parent_id", '"{01a20596-0b53-73b5-9429-72e1b74a22f4}"', "invalid_format"),
    ("data", '{"a":"\\u0000"}', "invalid_format"),
    ("data", '{"a":1e2000}', "out_of_range"),
    ("raw", '"@"', "invalid_format"),
    ("words", '["ok",5]', "invalid_format"),
]


@lru_cache
def insert(names: tuple[str, ...]) -> Statement:
    return WRITES.insert(WARES, InsertShape(names, (), False))


def store(bench: Bench, body: str) -> dict[str, Any]:
    """What reads show of a row after the statement that the engine sends."""
    [row], _ = READER.read(body.encode())
    row.values |= {"id": CLOCK.new_id(), "kind": row.values.get("kind", "new"), "amount": row.values.get("amount", 0)}
    row.values |= {"tags": row.values.get("tags", []), "ready": row.values.get("ready", False)}
    names = tuple(name for name in WARES.fields if name in row.values and name != "id")
    statement = insert(names)
    known = {
        "rows": ENCODER.encode([{**row.values, "ord": 0, "log_id": CLOCK.new_id()}]).decode(),
        "now": CLOCK.now(),
        "unmasked_shop": True,
    }
    [record] = bench.rows(statement.text, *statement.arguments(dict.fromkeys(statement.order) | known))
    shown: dict[str, Any] = json.loads(record[1], parse_float=Decimal)
    return shown


@pytest.fixture(scope="module")
def utc(bench: Bench) -> Bench:
    """As the pool connects."""
    bench.rows("set timezone to 'UTC'")
    return bench


@pytest.mark.parametrize(("field", "sent", "expected"), KEPT)
def test_a_value_is_kept_exactly(utc: Bench, field: str, sent: str, expected: str) -> None:
    title = "" if field == "title" else '"title":"t",'
    assert repr(store(utc, f'{{{title}"{field}":{sent}}}')[field]) == repr(json.loads(expected, parse_float=Decimal))


def test_a_uuid_is_kept(utc: Bench) -> None:
    first = store(utc, '{"title":"t"}')["id"]
    assert store(utc, f'{{"title":"t","parent_id":"{first.upper()}"}}')["parent_id"] == str(UUID(first))


zones = st.integers(-12 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    price=st.decimals(-(10**15) + 1, 10**15 - 1, places=4),
    at=st.datetimes(timezones=zones),
    title=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=160),
    ratio=st.floats(allow_nan=False, allow_infinity=False),
)
def test_drawn_values_are_kept(utc: Bench, price: Decimal, at: Any, title: str, ratio: float) -> None:
    try:
        row = store(utc, json.dumps({"title": title, "price": str(price), "at": at.isoformat(), "ratio": ratio}))
    except ApiError as error:  # years that UTC has no name for
        assert [fault.field for fault in error.details] == ["at"] and at.year in (1, 9999)
        return
    assert (row["title"], Decimal(row["price"]), float(row["ratio"])) == (title, price, ratio)
    assert msgspec.convert(row["at"], type(at)) == at


@pytest.mark.parametrize(("field", "sent", "code"), REFUSED)
def test_a_value_that_would_be_changed_is_refused(field: str, sent: str, code: str) -> None:
    title = "" if field == "title" else '"title":"t",'
    with pytest.raises(ApiError) as caught:
        READER.read(f'{{{title}"{field}":{sent}}}'.encode())
    assert [(fault.field, fault.code) for fault in caught.value.details] == [(field, code)]


def test_every_scalar_is_kept_and_refused_once() -> None:
    def names(cases: list[tuple[str, str, str]]) -> set[str]:
        return {WARES.fields[field].scalar.name for field, _, _ in cases}

    every = {scalar.name for scalar in SCALARS}
    assert every - names(KEPT) == {"uuid"}  # in a test of its own
    assert every - names(REFUSED) == set()


def test_a_type_without_a_row_is_named() -> None:
    with pytest.raises(KeyError, match="no scalar for column type"):
        scalar_of(sa.Interval())


@pytest.mark.parametrize("scalar", SCALARS, ids=[scalar.name for scalar in SCALARS])
def test_a_scalar_is_described(scalar: Any) -> None:
    type_ = sa.ARRAY(sa.String()) if scalar.name == "array" else scalar.types[0]()
    schema = scalar.schema(type_, Bounds())
    assert scalar_of(type_) is scalar
    assert "type" in schema or scalar.name == "jsonb"


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_takes_its_own_example(name: str) -> None:
    form = Formatted(name)
    finish = scalar_of(form).finish(form, Bounds())
    assert finish is not None and finish(FORMATS[name].example) == FORMATS[name].example
    with pytest.raises(BadValue) as caught:
        finish("?\n")
    assert caught.value.code == "invalid_format" and caught.value.params == {"format": name}


def test_json_is_counted_and_bounded() -> None:
    assert walk_json({"a": [1, "x", None]}) == 6
    deep: Any = 1
    for _ in range(33):
        deep = [deep]
    with pytest.raises(BadValue, match="levels deep"):
        walk_json(deep)


class Shape(msgspec.Struct, forbid_unknown_fields=True):
    """Something to get wrong."""

    name: str


# a value that msgspec refuses with the sentence of each row
WRONG: dict[str, list[tuple[Any, Any]]] = {
    "too_long": [(Annotated[str, msgspec.Meta(max_length=2)], "abc")],
    "too_short": [(Annotated[str, msgspec.Meta(min_length=2)], "a")],
    "out_of_range": [
        (Annotated[int, msgspec.Meta(ge=0)], -1),
        (Annotated[int, msgspec.Meta(le=5)], 6),
        (Annotated[int, msgspec.Meta(gt=5)], 5),
        (Annotated[float, msgspec.Meta(lt=5)], 5.0),
        (Annotated[int, msgspec.Meta(multiple_of=2)], 3),
    ],
    "invalid_choice": [(Literal["a", "b"], "c"), (Literal[1, 2], 3)],
    "required": [(Shape, {})],
    "field_not_allowed": [(Shape, {"name": "a", "nick": "b"})],
    "invalid_format": [(int, "a"), (Annotated[str, msgspec.Meta(pattern="^a$")], "b"), (UUID, "x")],
}


def test_every_sentence_of_msgspec_has_its_code() -> None:
    assert {code for _, code in MESSAGES} == set(WRONG) <= set(FAULT_CODES)
    for code, examples in WRONG.items():
        for annotation, value in examples:
            with pytest.raises(msgspec.ValidationError) as caught:
                msgspec.convert(value, annotation)
            assert explain(str(caught.value)) == code, str(caught.value)


@pytest.mark.parametrize("row", MESSAGES, ids=[pattern.pattern or "else" for pattern, _ in MESSAGES])
def test_every_row_of_messages_is_needed(row: Any) -> None:
    pattern, code = row
    messages = []
    for annotation, value in WRONG[code]:
        with pytest.raises(msgspec.ValidationError) as caught:
            msgspec.convert(value, annotation)
        messages.append(str(caught.value))
    assert any(pattern.search(message) for message in messages)
