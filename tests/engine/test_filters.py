"""Each operator does in PostgreSQL what its meaning says: a model in Python is asked the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

import pytest

from engine.filters import OPERATORS, escape_like
from engine.query import read_listing
from engine.questions import asked_values, list_shape, page_values
from engine.sql import Reads
from tests.engine.conftest import Bench
from tests.engine.wares import CATALOG, WARES

READS = Reads(CATALOG)
AMOUNTS = [-3, 0, 5, 7, 40]
TITLES = ["Red", "red 50%", "a_b", "a\\b", "axb", "", "Übung", "dark red"]
PRICES = [None, "0.0000", "1.5000", "10.0000", "9.9999"]
TAGS: list[list[str]] = [[], ["a"], ["a", "b"], ["c,d"], ["A"]]


class Row(NamedTuple):
    """What is stored; `up` is the place of the parent row."""

    title: str
    amount: int
    price: str | None
    tags: list[str]
    up: int | None


ROWS = [
    Row(title, AMOUNTS[i % 5], PRICES[(i * 2) % 5], TAGS[i % 5], None if i % 3 == 0 else i - 1)
    for i, title in enumerate(TITLES)
]
IDS = [f"01a20596-0b53-73b5-9429-72e1b74a00{i:02}" for i in range(len(ROWS))]


def below(i: int, top: int) -> bool:
    """Whether row `i` is `top` or lies below it."""
    up = ROWS[i].up
    return i == top or (up is not None and below(up, top))


def number(row: Row) -> float | None:
    return None if row.price is None else float(row.price)


class Case(NamedTuple):
    """A filter, and whether a row (by its place) should be found."""

    operator: str
    query: str
    found: Callable[[int], bool]


def case(operator: str, field: str, value: str, found: Callable[[Row], bool]) -> Case:
    return Case(operator, f"filter[{field}][{operator}]={value}", lambda i: found(ROWS[i]))


CASES = [
    case("eq", "amount", "5", lambda row: row.amount == 5),
    case("eq", "price", "1.5", lambda row: number(row) == 1.5),
    case("eq", "title", "", lambda row: row.title == ""),
    case("ne", "price", "1.5", lambda row: number(row) != 1.5),
    case("ne", "title", "Red", lambda row: row.title != "Red"),
    case("gt", "amount", "5", lambda row: row.amount > 5),
    case("gt", "price", "9.9999", lambda row: (number(row) or 0) > 9.9999),
    case("gte", "amount", "5", lambda row: row.amount >= 5),
    case("lt", "price", "10", lambda row: row.price is not None and float(row.price) < 10),
    case("lte", "amount", "0", lambda row: row.amount <= 0),
    case("in", "amount", "0,40", lambda row: row.amount in (0, 40)),
    case("in", "price", "1.5,10", lambda row: number(row) in (1.5, 10)),
    case("nin", "amount", "0,40", lambda row: row.amount not in (0, 40)),
    case("nin", "price", "1.5,10", lambda row: number(row) not in (1.5, 10)),
    case("between", "amount", "0,7", lambda row: 0 <= row.amount <= 7),
    case("between", "title", "a,b", lambda row: "a" <= row.title <= "b"),
    case("isnull", "price", "true", lambda row: row.price is None),
    case("isnull", "price", "false", lambda row: row.price is not None),
    case("contains", "title", "_", lambda row: "_" in row.title),
    case("contains", "title", "%5C", lambda row: "\\" in row.title),
    case("contains", "title", "red", lambda row: "red" in row.title),
    case("icontains", "title", "RED", lambda row: "red" in row.title.lower()),
    case("icontains", "title", "ÜBUNG", lambda row: "übung" in row.title.lower()),
    case("startswith", "title", "a_", lambda row: row.title.startswith("a_")),
    case("startswith", "title", "%25", lambda row: row.title.startswith("%")),
    case("istartswith", "title", "RED", lambda row: row.title.lower().startswith("red")),
    case("istartswith", "title", "A_", lambda row: row.title.lower().startswith("a_")),
    case("endswith", "title", "50%25", lambda row: row.title.endswith("50%")),
    case("endswith", "title", "_b", lambda row: row.title.endswith("_b")),
    case("has", "tags", "a", lambda row: "a" in row.tags),
    case("has", "tags", "c,d", lambda row: "c,d" in row.tags),
    case("hasany", "tags", "b,A", lambda row: bool({"b", "A"} & set(row.tags))),
    case("hasall", "tags", "a,b", lambda row: {"a", "b"} <= set(row.tags)),
    Case("under", f"filter[id][under]={IDS[1]}", lambda i: below(i, 1)),
    Case("under", f"filter[id][under]={IDS[3]}&deleted=exclude", lambda i: below(i, 3)),
]


@pytest.fixture(scope="module")
def stored(bench: Bench) -> Bench:
    """The rows in a table."""
    text = (
        "insert into shop.wares (id, title, kind, amount, price, tags, ready, parent_id)"
        " select r.id, r.title, 'new', r.amount, r.price, r.tags, false, r.parent_id from json_to_recordset($1)"
        " as r(id uuid, title text, amount int, price numeric, tags jsonb, parent_id uuid)"
    )

    rows = [
        {**row._asdict(), "id": IDS[i], "parent_id": None if row.up is None else IDS[row.up]}
        for i, row in enumerate(ROWS)
    ]
    bench.rows(text, json.dumps(rows))
    return bench


def found(bench: Bench, query: str) -> list[str]:
    """Ids that the list gives, by the statement that the engine sends."""

    listing = read_listing(CATALOG, WARES, f"{query}&fields=id&sort=id".encode())
    statement = READS.listing(WARES, list_shape(listing))
    values = {**page_values(listing), **asked_values(listing), "tenant": None, "unmasked_shop": False}
    [record] = bench.rows(statement.text, *statement.arguments(values))
    ids = [row["id"] for row in json.loads(b"[%b]" % (record[1] or b""))]
    assert record[0] == len(ids)
    return ids


def test_every_operator_has_a_case() -> None:
    assert set(OPERATORS) - {case.operator for case in CASES} == set()


@pytest.mark.parametrize("case", CASES, ids=[case.query for case in CASES])
def test_an_operator_finds_what_its_meaning_says(stored: Bench, case: Case) -> None:
    expected = [IDS[i] for i in range(len(ROWS)) if case.found(i)]
    assert found(stored, case.query) == expected
    assert case.query.startswith("filter[title][startswith]=%25") or 0 < len(expected) < len(ROWS)


def test_filters_are_joined_by_and(stored: Bench) -> None:
    expected = [IDS[i] for i, row in enumerate(ROWS) if row.amount >= 5 and "red" in row.title]
    assert found(stored, "filter[amount][gte]=5&filter[title][contains]=red") == expected


def test_search_reads_any_of_its_fields_literally(stored: Bench) -> None:
    assert found(stored, "q=50%25") == [IDS[1]]
    assert found(stored, "q=RED") == [IDS[i] for i, row in enumerate(ROWS) if "red" in row.title.lower()]


def test_statements_differ_by_shape_only(stored: Bench) -> None:
    """A value never becomes part of the text."""
    shapes = {
        list_shape(read_listing(CATALOG, WARES, f"filter[title]={value}".encode()))
        for value in ("a", "b'; drop", "%25")
    }
    assert len(shapes) == 1


def test_like_characters_are_escaped() -> None:
    assert escape_like("50%_\\") == "50\\%\\_\\\\"
    assert {row.meaning for row in OPERATORS.values()} and all(row.name == name for name, row in OPERATORS.items())
