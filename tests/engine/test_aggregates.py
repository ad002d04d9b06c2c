"""Grouped lists over HTTP: each function, each period of time, conditions and order by result, pages of groups."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from engine.aggregates import FUNCTIONS, PARTS, functions_of
from engine.clock import CLOCK
from engine.scalars import SCALARS
from engine.testing.harness import Live
from tests.calls import Caller

BUYERS, REGIONS, ITEMS = "market/shop/buyers", "market/shop/regions", "market/shop/items"
MARK = str(CLOCK.new_id())
ANN = {
    "kind": "firm", "credit": "10", "big": str(2**63 - 1), "weight": 0.5, "vip": True, "wakes": "10:30:00", "tags": ["a"],
    "since": "2026-01-31", "seen": "2026-01-31T23:30:00+00:00",
}  # fmt: skip
BOB = {
    "kind": "firm", "credit": "5.5", "big": "1", "weight": 0.25, "vip": False, "wakes": "07:00:00", "tags": ["a"],
    "since": "2026-04-01", "seen": "2026-02-01T00:30:00+02:00",
}  # fmt: skip
CID = {"kind": "state", "since": "2025-12-29", "seen": "2025-12-31T22:00:00-03:00"}
GONE = {"kind": "person", "credit": "1000"}
Groups = list[dict[str, Any]]


@pytest.fixture(scope="module")
def caller(market: Live) -> Caller:
    """Four buyers, one of them deleted, and as many of another tenant."""
    stranger = Caller(market.other_tenant())
    found = Caller(market.client("market"))
    region = found.make(REGIONS, name="North", rank=3)
    for name, values in {"Ann": ANN, "Bob": BOB, "Cid": CID, "Gone": GONE}.items():
        stranger.make(BUYERS, name=name, nick=MARK, **{**values, "kind": "person"})
        below = {"region_id": region["id"]} if name == "Ann" else {}
        row = found.make(BUYERS, name=name, nick=MARK, **values, **below)
    found.drop(BUYERS, row["id"])
    return found


def ask(caller: Caller, query: str) -> dict[str, Any]:
    """The data of a grouped list."""
    data: dict[str, Any] = caller.send(200, "GET", f"{BUYERS}?filter[nick]={MARK}&{query}")
    assert data["items"] == [] and data["next_cursor"] is None
    return data


def groups(caller: Caller, query: str) -> Groups:
    found: Groups = ask(caller, query)["groups"]
    return found


# -- functions

# of firm, of state
CASES: dict[str, tuple[tuple[str, Any, Any], ...]] = {
    "count": (("count()", 2, 1), ("count(credit)", 2, 0), ("count(tags)", 2, 0), ("count(region.rank)", 1, 0)),
    "count_distinct": (("count_distinct(kind)", 1, 1), ("count_distinct(credit)", 2, 0), ("count_distinct(vip)", 2, 0)),
    "sum": (
        ("sum(credit)", "15.5000", None),
        ("sum(big)", str(2**63), None),
        ("sum(version)", "2", "1"),
        ("sum(weight)", 0.75, None),
        ("sum(region.rank)", "3", None),
    ),
    "avg": (("avg(credit)", Decimal("7.75"), None), ("avg(version)", Decimal(1), Decimal(1)), ("avg(weight)", 0.375, None)),
    "min": (
        ("min(credit)", "5.5000", None),
        ("min(big)", "1", None),
        ("min(version)", 1, 1),
        ("min(weight)", 0.25, None),
        ("min(name)", "Ann", "Cid"),
        ("min(kind)", "firm", "state"),
        ("min(since)", "2026-01-31", "2025-12-29"),
        ("min(seen)", "2026-01-31T22:30:00+00:00", "2026-01-01T01:00:00+00:00"),
        ("min(wakes)", "07:00:00", None),
        ("min(region.name)", "North", None),
    ),
    "max": (
        ("max(credit)", "10.0000", None),
        ("max(big)", str(2**63 - 1), None),
        ("max(name)", "Bob", "Cid"),
        ("max(seen)", "2026-01-31T23:30:00+00:00", "2026-01-01T01:00:00+00:00"),
        ("max(wakes)", "10:30:00", None),
    ),
}  # fmt: skip


def test_every_function_has_its_cases_and_every_type_its_functions() -> None:
    assert set(CASES) == set(FUNCTIONS)
    taken = {scalar.name: set(functions_of(scalar)) for scalar in SCALARS}
    assert taken.pop("jsonb") == taken.pop("bytes") == taken.pop("array") == {"count"}
    assert taken.pop("uuid") == taken.pop("boolean") == {"count", "count_distinct"}
    numbers = {"integer", "bigint", "float", "numeric"}
    assert taken == {
        n: {"count", "count_distinct", "min", "max"} | ({"sum", "avg"} if n in numbers else set()) for n in taken
    }
    names = {scalar.name for scalar in SCALARS}
    assert {row.result(scalar) for row in FUNCTIONS.values() for scalar in SCALARS} - {None} <= names


@pytest.mark.parametrize("asked", [one for cases in CASES.values() for one in cases], ids=lambda asked: str(asked[0]))
def test_a_function_gives_what_its_meaning_says(caller: Caller, asked: tuple[str, Any, Any]) -> None:
    call, *expected = asked
    found = groups(caller, f"aggregate=x:{call}&group=kind&sort=kind")
    assert [group["kind"] for group in found] == ["firm", "state"]
    values = [group["x"] for group in found]
    assert [Decimal(v) if isinstance(e, Decimal) else v for v, e in zip(values, expected, strict=True)] == expected


def test_without_groups_all_rows_are_one(caller: Caller) -> None:
    data = ask(caller, "aggregate=count(),sum(credit)")
    assert data["groups"] == [{"count": 3, "sum_credit": "15.5000"}] and data["total"] == 1
    assert groups(caller, "aggregate=count(),sum(credit)&filter[kind]=person") == [{"count": 0, "sum_credit": None}]
    assert groups(caller, "aggregate=count()&group=kind&filter[kind]=person") == []


def test_conditions_search_and_deleted_choose_the_rows(caller: Caller) -> None:
    assert groups(caller, "aggregate=count()&q=ann") == [{"count": 1}]
    assert groups(caller, "aggregate=count()&deleted=include") == [{"count": 4}]
    assert groups(caller, "aggregate=max(credit)&deleted=only") == [{"max_credit": "1000.0000"}]
    assert groups(caller, 'aggregate=count()&where={"not":{"field":"region.name","value":"North"}}') == [{"count": 2}]


# -- groups

STARTS: dict[str, tuple[str, list[Any]]] = {
    "year": ("seen", ["2026-01-01"]),
    "quarter": ("since", ["2025-10-01", "2026-01-01", "2026-04-01"]),
    "month": ("seen", ["2026-01-01"]),
    "week": ("since", ["2025-12-29", "2026-01-26", "2026-03-30"]),
    "day": ("seen", ["2026-01-01", "2026-01-31"]),
    "hour": ("seen", ["2026-01-01T01:00:00+00:00", "2026-01-31T22:00:00+00:00", "2026-01-31T23:00:00+00:00"]),
}


def test_every_period_is_called_by_its_start_in_utc(caller: Caller) -> None:
    assert set(STARTS) == set(PARTS)
    for part, (field, starts) in STARTS.items():
        found = groups(caller, f"aggregate=count()&group={part}({field})")
        assert [group[f"{part}_{field}"] for group in found] == starts, part
        assert sum(group["count"] for group in found) == 3


def test_groups_are_called_as_they_are_asked_for(caller: Caller) -> None:
    found = groups(caller, "aggregate=n:count(),first:min(name)&group=region.name,v:vip&sort=region.name")
    assert found == [
        {"region.name": "North", "v": True, "n": 1, "first": "Ann"},
        {"region.name": None, "v": False, "n": 1, "first": "Bob"},
        {"region.name": None, "v": None, "n": 1, "first": "Cid"},
    ]
    assert [list(group) for group in found] == [["region.name", "v", "n", "first"]] * 3


# -- conditions and order by result


@pytest.mark.parametrize(
    ("having", "kinds"),
    [
        ("having[n]=2", ["firm"]),
        ("having[n][lte]=1", ["state"]),
        ("having[n][between]=1,2&having[s][gt]=15.4", ["firm"]),
        ("having[s][isnull]=true", ["state"]),
        ("having[last][icontains]=CI", ["state"]),
        ("having[last][in]=Bob,Cid&having[kind][ne]=state", ["firm"]),
        ("having[seen][lt]=2026-01-02T00:00:00Z", ["state"]),
        ("having[n][gt]=5", []),
    ],
)
def test_having_takes_the_operators_of_the_result(caller: Caller, having: str, kinds: list[str]) -> None:
    query = "aggregate=n:count(),s:sum(credit),last:max(name),seen:min(seen)&group=kind"
    data = ask(caller, f"{query}&{having}")
    assert [group["kind"] for group in data["groups"]] == kinds and data["total"] == len(kinds)


@pytest.mark.parametrize(
    ("sort", "kinds"),
    [
        ("-n", ["firm", "state"]),
        ("n", ["state", "firm"]),
        ("-kind", ["state", "firm"]),
        ("s", ["firm", "state"]),
        ("s:nullsfirst", ["state", "firm"]),
        ("one,-last", ["state", "firm"]),
        ("one", ["firm", "state"]),
    ],
)
def test_groups_are_sorted_by_result(caller: Caller, sort: str, kinds: list[str]) -> None:
    query = f"aggregate=n:count(),s:sum(credit),last:max(name),one:count_distinct(kind)&group=kind&sort={sort}"
    assert [group["kind"] for group in groups(caller, query)] == kinds


def test_pages_are_of_groups(caller: Caller) -> None:
    query = "aggregate=count()&group=name&page_size=2"
    first, second = (ask(caller, f"{query}&page={page}") for page in (1, 2))
    assert [group["name"] for group in first["groups"]] == ["Ann", "Bob"]
    assert [group["name"] for group in second["groups"]] == ["Cid"]
    assert (first["total"], first["total_pages"], second["page"]) == (3, 2, 2)
    uncounted = ask(caller, f"{query}&count=none")
    assert uncounted["groups"] == first["groups"] and uncounted["total"] is None
    assert ask(caller, f"{query}&count=estimated") == first


@pytest.mark.parametrize("name", ["x", "t", "g", "s", "e", "r0", "count", "select", "Total", "_"])
def test_a_result_is_called_anything(caller: Caller, name: str) -> None:
    """No name of a result is taken for a part of the statement."""
    assert groups(caller, f"aggregate={name}:max(name)&having[{name}]=Cid&sort={name}") == [{name: "Cid"}]


def test_a_body_asks_the_same(caller: Caller) -> None:
    body = {
        "filter": {"nick": MARK},
        "aggregate": ["n:count()", "max(name)"],
        "group": ["kind"],
        "having": {"kind": {"in": ["firm", "state"]}, "n": {"gt": 1}},
        "sort": "-n",
    }
    expected = ask(
        caller, "aggregate=n:count(),max(name)&group=kind&having[kind][in]=firm,state&having[n][gt]=1&sort=-n"
    )
    assert expected["groups"] == [{"kind": "firm", "n": 2, "max_name": "Bob"}]
    assert caller.send(200, "QUERY", BUYERS, body) == caller.send(200, "POST", f"{BUYERS}/query", body) == expected


def test_a_batch_takes_groups(caller: Caller) -> None:
    path = f"/{BUYERS}?filter[nick]={MARK}&aggregate=count()"
    data = caller.send(200, "POST", "market/batch", {"operations": [{"method": "GET", "path": path}]})
    assert [one["body"]["data"]["groups"] for one in data] == [[{"count": 3}]]


def test_meta_tells_what_is_made_of_a_field(caller: Caller) -> None:
    fields = {field["name"]: field for field in caller.send(200, "GET", f"{BUYERS}/_meta")["fields"]}
    assert fields["credit"]["functions"] == ["count", "count_distinct", "sum", "avg", "min", "max"]
    assert fields["credit"]["groupable"] and "parts" not in fields["credit"]
    assert fields["tags"]["functions"] == ["count"] and not fields["tags"]["groupable"]
    assert fields["since"]["parts"] == ["year", "quarter", "month", "week", "day"]
    assert fields["seen"]["parts"] == list(PARTS)
    scope = caller.send(200, "GET", "market/_meta")
    assert scope["functions"] == {row.name: row.meaning for row in FUNCTIONS.values()} and scope["parts"] == list(PARTS)
