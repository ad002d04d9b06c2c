"""Facets over HTTP: counts of values beside a list, under its conditions but their own, within a budget of time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from engine.clock import CLOCK
from engine.main import System
from engine.shapes import MOST_VALUES
from engine.testing.harness import Live, served
from tests.calls import Caller

BUYERS, REGIONS = "market/shop/buyers", "market/shop/regions"
MARK = str(CLOCK.new_id())
Facets = dict[str, Any]


@pytest.fixture(scope="module")
def caller(market: Live) -> Caller:
    """Five buyers in two regions, one of them deleted."""
    found = Caller(market.client("market"))
    north, south = (found.make(REGIONS, name=name) for name in ("North", "South"))
    rows = (
        ("firm", True, "1.5", north), ("firm", False, "1.5", north), ("state", True, "2", south), (None, True, None, None),
        ("person", True, "3", south),
    )  # fmt: skip
    for kind, vip, credit, region in rows:
        below = {"region_id": region["id"]} if region else {}
        row = found.make(BUYERS, nick=MARK, kind=kind, vip=vip, credit=credit, name="B", **below)
    found.drop(BUYERS, row["id"])
    return found


def ask(caller: Caller, query: str) -> dict[str, Any]:
    """The data of a list with facets."""
    data: dict[str, Any] = caller.send(200, "GET", f"{BUYERS}?filter[nick]={MARK}&{query}")
    return data


def counted(caller: Caller, query: str) -> dict[str, list[tuple[Any, int]]]:
    """Values with their counts."""
    facets = ask(caller, query)["facets"]
    return {path: [(one["value"], one["count"]) for one in values] for path, values in facets.items()}


def test_values_are_counted_the_most_frequent_first(caller: Caller) -> None:
    assert counted(caller, "facets=kind,vip,credit,region.name") == {
        "kind": [("firm", 2), ("state", 1), (None, 1)],
        "vip": [(True, 3), (False, 1)],
        "credit": [("1.5000", 2), ("2.0000", 1), (None, 1)],
        "region.name": [("North", 2), ("South", 1), (None, 1)],
    }


def test_a_facet_leaves_its_own_condition_out(caller: Caller) -> None:
    data = ask(caller, "facets=kind,vip,region.name&filter[kind]=firm&filter[vip]=true&filter[region.name][ne]=South")
    assert data["total"] == 1
    assert counted(
        caller, "facets=kind,vip,region.name&filter[kind]=firm&filter[vip]=true&filter[region.name][ne]=South"
    ) == {
        # one without a kind has no region either, and so none of that name
        "kind": [("firm", 1), (None, 1)],
        "vip": [(False, 1), (True, 1)],
        "region.name": [("North", 1)],
    }
    assert counted(caller, "facets=vip&filter[vip]=true&filter[credit][between]=1,2") == {
        "vip": [(True, 2), (False, 1)]
    }
    nested = '{"or":[{"field":"kind","value":"firm"},{"field":"kind","value":"state"}]}'
    assert counted(caller, f"facets=kind&where={nested}") == {"kind": [("firm", 2), ("state", 1)]}
    assert counted(caller, 'facets=kind&where={"field":"kind","value":"firm"}')["kind"] == [
        ("firm", 2),
        ("state", 1),
        (None, 1),
    ]


def test_search_and_deleted_hold_for_facets(caller: Caller) -> None:
    assert counted(caller, "facets=kind&q=nothing") == {"kind": []}
    assert counted(caller, "facets=kind&q=B&deleted=only&filter[kind]=person") == {"kind": [("person", 1)]}


def test_pages_and_what_rows_show_are_nothing_to_facets(caller: Caller) -> None:
    query = "sort=credit&page_size=2&facets=kind"
    first = ask(caller, f"{query}&fields=credit&expand=region&expand[region][filter][name]=North")
    assert len(first["items"]) == 2 and "region" in first["items"][0]
    second = ask(caller, f"sort=credit&page_size=2&cursor={first['next_cursor']}")
    assert "facets" not in second and len(second["items"]) == 2
    again = ask(caller, f"{query}&cursor={first['next_cursor']}&count=estimated")
    assert again["facets"] == first["facets"] and again["items"] == second["items"]
    body = {"filter": {"nick": MARK}, "facets": ["kind"], "page_size": 1}
    assert caller.send(200, "QUERY", BUYERS, body)["facets"] == first["facets"]


# -- the budget


@pytest.fixture(scope="module")
def crowd(market: Live, caller: Caller) -> Iterator[str]:
    """30,000 buyers with names of their own; gone afterwards."""
    tenant = market.tenant(market.client("market"))
    mark = str(CLOCK.new_id())
    caller.make(BUYERS, name="One", nick=mark)
    values = "'id', gen_random_uuid(), 'name', md5(i::text)"
    copies = f"select (jsonb_populate_record(b, jsonb_build_object({values}))).* from shop.buyers b"
    sql = f"insert into shop.buyers {copies}, generate_series(1, 30000) i where b.nick = $1"
    market.run_sql("tenants", sql, mark, tenant=tenant)
    yield mark
    market.run_sql("tenants", "delete from shop.buyers where nick = $1", mark, tenant=tenant)


def test_at_most_fifty_values_are_shown(caller: Caller, crowd: str) -> None:
    facets = caller.send(200, "GET", f"{BUYERS}?filter[nick]={crowd}&facets=name,nick&page_size=1")["facets"]
    assert len(facets["name"]) == MOST_VALUES and facets["nick"][0] == {"value": crowd, "count": 30001}
    assert [one["value"] for one in facets["name"]] == sorted(one["value"] for one in facets["name"])


@pytest.fixture(scope="module")
def hasty(market: Live) -> Iterator[Live]:
    """A second server over the same databases, with no time for facets."""
    system = System(market.system.settings.model_copy(update={"facet_timeout": 0.001}))
    system.server = market.system.server
    system.locate()
    with served(system) as found:
        yield found


LATE = {"name": None, "nick": None}


def test_facets_that_take_too_long_are_null_and_the_list_stands(hasty: Live, crowd: str) -> None:
    caller = Caller(hasty.client("market"))
    for _ in range(2):
        data = caller.send(200, "GET", f"{BUYERS}?filter[nick]={crowd}&facets=name,nick&page_size=2")
        assert data["facets"] == LATE and len(data["items"]) == 2 and data["total"] == 30001


def test_a_batch_outlives_facets_that_take_too_long(hasty: Live, crowd: str) -> None:
    """What comes after them has the usual time, and what was written before stays."""
    caller, name = Caller(hasty.client("market")), str(CLOCK.new_id())
    path = f"/{BUYERS}?filter[nick]={crowd}&page_size=1"
    slow, quick = f"{path}&facets=name,nick", f"/{BUYERS}?filter[nick]={MARK}&facets=kind"
    operations = [
        {"method": "POST", "path": f"/{BUYERS}", "body": {"name": name, "nick": "batch"}},
        *({"method": "GET", "path": asked} for asked in (slow, path, quick, f"{path}&sort=name")),
    ]
    found = caller.send(200, "POST", "market/batch", {"operations": operations})
    assert [one["status"] for one in found] == [201, 200, 200, 200, 200]
    assert found[1]["body"]["data"]["facets"] == LATE and found[2]["body"]["data"]["total"] == 30001
    assert caller.send(200, "GET", f"{BUYERS}?filter[name]={name}")["total"] == 1


def test_facets_are_counted_in_a_batch(caller: Caller, crowd: str) -> None:
    asked = {"method": "GET", "path": f"/{BUYERS}?filter[nick]={MARK}&facets=kind"}
    slow = {"method": "GET", "path": f"/{BUYERS}?filter[nick]={crowd}&sort=name"}
    found = caller.send(200, "POST", "market/batch", {"operations": [asked, slow]})
    assert found[0]["body"]["data"]["facets"]["kind"][0] == {"value": "firm", "count": 2}
    assert found[1]["body"]["data"]["total"] == 30001
