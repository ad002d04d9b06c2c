"""Every operator on every column type, over HTTP: as a parameter, and in the JSON body of a query."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from engine.fields import Field
from engine.filters import OPERATORS
from engine.main import load
from engine.testing.harness import serving, settings_for_tests
from tests.calls import Body, Caller

BOOKS = "shelf/shelf/books"
FIELDS = load(["registry", "tests.engine.shelf"])[1].resources[BOOKS].fields
UUIDS = [f"01890a5d-ac96-774b-bcce-b302099a805{digit}" for digit in "157"]
# three values in order; a fourth row has none
VALUES: dict[str, list[Any]] = {
    "title": ["Alpha one", "b_Ta%two\\", "çÉta, x"],
    "note": ["Alpha one", "b_Ta%two\\", "çÉta, x"],
    "code": ["A-ONE", "B_TWO", "C3"],
    "email": ["a@one.example", "b_two@two.org", "c@x.net"],
    "kind": ["atlas", "novel", "poems"],
    "amount": [-5, 0, 2**31 - 1],
    "small": [-5, 0, 7],
    "big": [str(-(2**62)), "0", str(2**62)],
    "price": ["-1.5000", "0.0001", "99999999.9999"],
    "ratio": [-0.5, 0.1, 1e20],
    "born": ["0099-12-31", "2026-01-31", "9999-12-31"],
    "at": ["1999-12-31T23:59:59.999999Z", "2026-01-31T10:00:00Z", "2026-01-31T10:00:00.000001Z"],
    "hour": ["00:00:00", "10:30:00", "23:59:59.999999"],
    "key": UUIDS,
    "ready": [False, True, True],
    "raw": ["AA==", "AQ==", "Ag=="],
    "data": [{"a": 1}, ["a", "b"], ["c"]],
}
# three items of each list; the rows hold [a], [a, b], [c] and nothing
ITEMS: dict[str, list[Any]] = {
    "tags": ["a%", "b_", "c"],
    "words": ["a%", "b_", "c"],
    "texts": ["a", "A", "ж"],
    "kinds": ["atlas", "novel", "poems"],
    "amounts": [1, -2, 2**31 - 1],
    "smalls": [1, -2, 3],
    "bigs": ["1", "-2", str(2**62)],
    "prices": ["1.5000", "-2.2500", "0.0001"],
    "ratios": [0.1, -2.5, 3.0],
    "days": ["2026-01-31", "0099-12-31", "9999-12-31"],
    "moments": ["2026-01-31T10:00:00Z", "2026-01-31T10:00:00.000001Z", "1999-12-31T23:59:59Z"],
    "hours": ["10:00:00", "10:00:00.000001", "00:00:00"],
    "keys": UUIDS,
    "flags": [True, False, None],
}
LISTS = {name: [items[:1], items[:2], [one for one in items[2:] if one is not None]] for name, items in ITEMS.items()}
# set by the engine; asked below
BESIDE = {
    "id",
    "tenant_id",
    "parent_id",
    "place",
    "is_active",
    "version",
    "created_at",
    "updated_at",
    "created_by",
    "updated_by",
}


class Case(NamedTuple):
    """A condition, and the places of the rows that meet it."""

    field: str
    operator: str
    value: Any
    found: set[int]


def ordered(name: str) -> Iterator[Case]:
    a, b, c = VALUES[name]
    last = {3} if FIELDS[name].nullable else set[int]()
    yield from (Case(name, "eq", b, {1}), Case(name, "ne", b, {0, 2} | last))
    yield from (Case(name, "gt", b, {2}), Case(name, "gte", b, {1, 2}))
    yield from (Case(name, "lt", b, {0}), Case(name, "lte", b, {0, 1}))
    yield from (Case(name, "in", [a, c], {0, 2}), Case(name, "nin", [a, c], {1} | last))
    yield Case(name, "between", [a, b], {0, 1})
    yield from (Case(name, "isnull", True, last), Case(name, "isnull", False, {0, 1, 2}))


def worded(name: str) -> Iterator[Case]:
    a, b, _ = VALUES[name]
    yield from (Case(name, "contains", b[1:4], {1}), Case(name, "icontains", b[1:4].swapcase(), {1}))
    yield from (Case(name, "startswith", b[:3], {1}), Case(name, "istartswith", a[:3].swapcase(), {0}))
    yield Case(name, "endswith", b[-3:], {1})


def listing(name: str) -> Iterator[Case]:
    a, b, c = ITEMS[name]
    yield from (Case(name, "has", b, {1}), Case(name, "has", a, {0, 1}))
    yield Case(name, "hasany", [b] if c is None else [b, c], {1} if c is None else {1, 2})
    yield from (Case(name, "hasall", [b, a], {1}), Case(name, "isnull", True, {3}))


def cases() -> Iterator[Case]:
    for name in VALUES.keys() - {"ready", "raw", "data"}:
        yield from ordered(name)
        if "text" in FIELDS[name].scalar.families:
            yield from worded(name)
    for name in ITEMS:
        yield from listing(name)
    yield from (Case("ready", "eq", True, {1, 2}), Case("ready", "ne", True, {0, 3}), Case("ready", "in", [False], {0}))
    yield from (Case("ready", "nin", [False], {1, 2, 3}), Case("ready", "isnull", True, {3}))
    yield from (Case("data", "has", "b", {1}), Case("data", "hasany", ["a", "c"], {0, 1, 2}))
    yield from (Case("data", "hasall", ["a", "b"], {1}), Case("data", "isnull", True, {3}))
    yield Case("raw", "isnull", True, {3})


CASES = sorted(cases(), key=lambda case: (case.field, case.operator))


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """Somebody with four books, each below the one before."""
    settings = settings_for_tests(tmp_path_factory.mktemp("shelf"))
    with serving(settings, ["registry", "tests.engine.shelf"]) as live:
        made, above = Caller(live.client("shelf")), None
        for place in range(4):
            values = {name: given[place] for name, given in {**VALUES, **LISTS}.items() if place < 3}
            chapters = [{"name": f"{place}-{i}", "pages": i or None} for i in range(3)]
            body = {**values, "place": place, "parent_id": above, "chapters": chapters}
            above = made.make(BOOKS, **body)["id"]
        # and another tenant's, which nobody may find
        Caller(live.other_tenant()).make(BOOKS, **{name: given[1] for name, given in {**VALUES, **LISTS}.items()})
        yield made


def text_of(value: Any) -> str:
    """A value as the query string has it."""
    if isinstance(value, list):
        return ",".join(text_of(one) for one in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_every_operator_is_asked_of_every_column_that_takes_it() -> None:
    asked = {(case.field, case.operator) for case in CASES}
    known = {(name, op) for name, field in FIELDS.items() if name not in BESIDE for op in field.operators}
    assert known - asked == set() and {case.operator for case in CASES} == set(OPERATORS) - {"under"}


@pytest.mark.parametrize("case", CASES, ids=[f"{case.field}-{case.operator}" for case in CASES])
def test_an_operator_finds_its_rows(caller: Caller, case: Case) -> None:
    name, operator, value, found = case
    where = {"where": {"field": name, "op": operator, "value": value}, "fields": ["place"]}
    data = caller.send(200, "POST", f"{BOOKS}/query", where)
    assert {row["place"] for row in data["items"]} == found and data["total"] == len(found)
    if not (isinstance(value, list) and any("," in str(one) for one in value)):
        rows = caller.list(BOOKS, f"fields=place&filter[{name}][{operator}]={quote(text_of(value))}")
        assert {row["place"] for row in rows} == found


@pytest.mark.parametrize("name", sorted({*VALUES, *ITEMS}))
def test_a_column_refuses_the_operators_that_it_does_not_take(caller: Caller, name: str) -> None:
    field: Field = FIELDS[name]
    for operator in sorted(set(OPERATORS) - set(field.operators)):
        error = caller.expect_refusal("422:invalid_choice", "GET", f"{BOOKS}?filter[{name}][{operator}]=1")
        assert error["details"][0]["params"]["operators"] == list(field.operators)


@pytest.mark.parametrize("name", [name for name in ITEMS if name not in ("tags", "words", "texts")])
def test_an_item_is_of_the_type_of_the_list(caller: Caller, name: str) -> None:
    code = "invalid_choice" if name == "kinds" else "invalid_format"
    for operator in ("has", "hasany", "hasall"):
        caller.expect_refusal(f"422:{code}", "GET", f"{BOOKS}?filter[{name}][{operator}]=nothing-of-it")


@pytest.mark.parametrize("field", [f"expand[children][filter][{name}][has]" for name in ("words", "prices")])
def test_lists_are_looked_into_behind_a_relation(caller: Caller, field: str) -> None:
    item = quote(text_of(ITEMS["words" if "words" in field else "prices"][1]))
    rows = caller.list(BOOKS, f"fields=place&sort=place&expand=children&{field}={item}")
    assert [[child["place"] for child in row["children"]] for row in rows] == [[1], [], [], []]
    path = field.replace("expand[children][filter]", "").split("]")[0].strip("[")
    rows = caller.list(BOOKS, f"fields=place&filter[children.{path}][has]={item}")
    assert [row["place"] for row in rows] == [0]


def test_under_is_the_node_and_all_below_it(caller: Caller) -> None:
    ids = {row["place"]: row["id"] for row in caller.list(BOOKS)}
    for place in range(4):
        rows = caller.list(BOOKS, f"filter[id][under]={ids[place]}&fields=place")
        assert {row["place"] for row in rows} == set(range(place, 4))
    caller.expect_refusal("422:invalid_choice", "GET", f"{BOOKS}?filter[parent_id][under]={ids[0]}")


@pytest.mark.parametrize(
    ("sort", "places"),
    [
        ("amount", [0, 1, 2, 3]),
        ("-amount", [3, 2, 1, 0]),
        ("amount:nullsfirst", [3, 0, 1, 2]),
        ("-amount:nullslast", [2, 1, 0, 3]),
        ("-amount:nullsfirst", [3, 2, 1, 0]),
        ("-ready:nullslast,-place", [2, 1, 0, 3]),
        ("parent.amount:nullsfirst,-place", [0, 1, 2, 3]),
        ("-parent.place:nullslast", [3, 2, 1, 0]),
    ],
)
def test_sort_puts_what_is_empty_where_it_is_told(caller: Caller, sort: str, places: list[int]) -> None:
    assert [row["place"] for row in caller.list(BOOKS, f"fields=place&sort={sort}")] == places


def test_fields_of_rows_and_of_what_is_expanded(caller: Caller) -> None:
    query = "fields=place&sort=place&expand=chapters&fields[chapters]=name"
    rows: list[Body] = caller.list(BOOKS, f"{query}&expand[chapters][sort]=-pages:nullslast")
    assert [list(row) for row in rows] == [["place", "chapters"]] * 4
    assert rows[1]["chapters"] == [{"name": "1-2"}, {"name": "1-1"}, {"name": "1-0"}]
    key = caller.list(BOOKS, "filter[place]=2")[0]["id"]
    one = caller.send(200, "GET", f"{BOOKS}/{key}?fields=title&expand=chapters&fields[chapters]=pages")
    assert list(one) == ["title", "chapters"] and [list(line) for line in one["chapters"]] == [["pages"]] * 3
    caller.expect_refusal("422:unknown_field", "GET", f"{BOOKS}?fields[chapters]=name")
    caller.expect_refusal("422:unknown_field", "GET", f"{BOOKS}?expand=chapters&fields[chapters]=nothing")
