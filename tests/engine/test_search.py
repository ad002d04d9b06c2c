"""`q=`: the rows that hold every word, the best of them first, alike with pg_trgm and without."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from engine.errors import ApiError
from engine.query import read_listing
from engine.questions import asked_values, list_shape, page_values
from engine.sql import Reads
from engine.sql.parts import bind, compile_statement
from engine.sql.search import rank_of
from engine.store import has_trigrams
from engine.testing.harness import Live
from tenancy.pool import Pool, PoolOptions
from tenancy.trigrams import offer_trigrams
from tests.calls import Caller
from tests.engine.conftest import Bench
from tests.engine.wares import CATALOG, WARES

PORTABLE, SIMILAR = Reads(CATALOG), Reads(CATALOG)
SIMILAR.similar = frozenset({"shop"})
ROADS = [pytest.param(PORTABLE, id="portable"), pytest.param(SIMILAR, id="pg_trgm")]
MARK = "SRCH"
CUSTOMERS = "tenants/crm/customers"


@pytest.fixture
def titles(bench: Bench) -> Iterator[Any]:
    """Rows with these titles (or title and note), and the titles that a search finds, in order, whichever way it goes."""
    kept: list[tuple[str, str | None]] = []

    def fill(*given: str | tuple[str, str | None]) -> None:
        kept.extend((one, None) if isinstance(one, str) else one for one in given)
        rows = [
            {"id": str(UUID(int=(1 << 90) + place)), "title": title, "note": note, "code": f"{MARK}{place}"}
            for place, (title, note) in enumerate(kept)
        ]
        bench.rows("delete from shop.wares where code like $1", f"{MARK}%")
        bench.rows(
            "insert into shop.wares (id, title, note, code, kind, amount, ready, tags) select id, title, note, code, 'new', 0,"
            " false, '[]' from json_to_recordset($1) as r(id uuid, title text, note text, code text)",
            json.dumps(rows),
        )

    yield fill
    bench.rows("delete from shop.wares where code like $1", f"{MARK}%")


def found(bench: Bench, reads: Reads, asked: str, more: str = "") -> list[str]:
    """Titles in the order of the statement that the engine sends."""
    listing = read_listing(CATALOG, WARES, f"q={asked}&filter[code][startswith]={MARK}&fields=title{more}".encode())
    statement = reads.listing(WARES, list_shape(listing))
    values = {**page_values(listing), **asked_values(listing), "tenant": None, "unmasked_shop": False}
    [record] = bench.rows(statement.text, *statement.arguments(values))
    shown = [row["title"] for row in json.loads(b"[%b]" % (record[1] or b""))]
    assert record[0] == len(shown)
    return shown


@pytest.mark.parametrize("reads", ROADS)
def test_the_text_itself_comes_before_its_beginning_before_a_word_before_the_rest(
    bench: Bench, titles: Any, reads: Reads
) -> None:
    titles("infrared", "dark red", "off-red", "Redder", "RED", "red", "blue", ("x", "a red note"))
    assert found(bench, reads, "red") == ["RED", "red", "Redder", "off-red", "dark red", "x", "infrared"]


@pytest.mark.parametrize("reads", ROADS)
def test_all_words_must_be_found_in_any_of_the_fields(bench: Bench, titles: Any, reads: Reads) -> None:
    titles(("jane", "miller"), "millerjane", "jane miller", ("jane", "smith"), "miller")
    assert found(bench, reads, "jane+mill") == ["jane miller", "jane", "millerjane"]
    assert found(bench, reads, "mill++JANE") == ["jane", "jane miller", "millerjane"]
    assert found(bench, reads, "jane+nobody") == []


@pytest.mark.parametrize("reads", ROADS)
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("%25", {"50%", "%"}),
        ("_", {"a_b"}),
        ("%5C", {"a\\b"}),
        ("%5C%25", set()),
        ("a_b", {"a_b"}),
        ("'", {"o'k"}),
        ("%24q0", set()),
        ("%3Aq", {":q"}),
        ("%C3%9CBUNG", {"Übung"}),
        ("%C3%A9", {"CAFÉ"}),
        ("%D0%96", {"жук"}),
        ("%E6%9C%AC", {"日本"}),
    ],
)
def test_a_text_means_itself_in_any_case(
    bench: Bench, titles: Any, reads: Reads, asked: str, expected: set[str]
) -> None:
    titles("50%", "%", "a_b", "axb", "a\\b", "o'k", ":q", "Übung", "CAFÉ", "жук", "日本", "")
    assert set(found(bench, reads, asked)) == expected


@pytest.mark.parametrize("reads", ROADS)
def test_sort_takes_the_place_of_the_rank(bench: Bench, titles: Any, reads: Reads) -> None:
    titles("zz red", "red", "a red")
    assert found(bench, reads, "red", "&sort=-title") == ["zz red", "red", "a red"]


@pytest.mark.parametrize("reads", ROADS)
def test_hidden_and_masked_columns_are_not_searched(bench: Bench, titles: Any, reads: Reads) -> None:
    titles("red")
    bench.rows("update shop.wares set secret = 'canary', pin = 'canary' where code like $1", f"{MARK}%")
    assert found(bench, reads, "canary") == [] and found(bench, reads, "red") == ["red"]


def test_both_roads_find_the_same_and_differ_among_equals_alone(bench: Bench, titles: Any) -> None:
    words = ["red", "Redwood", "wood", "dark-red", "ired", "é", "wood red", "red_"]
    titles(*(f"{one} {other}" for one in words for other in words), *words)
    for asked in ("red", "wood+red", "re+oo", "%C3%A9", "d", "red+red", "_"):
        plain, alike = (found(bench, reads, asked, "&page_size=100") for reads in (PORTABLE, SIMILAR))
        assert plain and sorted(plain) == sorted(alike)
        steps = [stands(bench, title, asked) for title in plain]
        assert steps == sorted(steps) == [stands(bench, title, asked) for title in alike]
    assert found(bench, PORTABLE, "re+oo", "&page_size=100") != found(bench, SIMILAR, "re+oo", "&page_size=100")


def stands(bench: Bench, title: str, asked: str) -> int:
    """How the words stand in a title, without what tells equals apart."""
    listing = read_listing(CATALOG, WARES, f"q={asked}".encode())
    row = WARES.table.alias("t")
    rank = rank_of(WARES, row, len((listing.search or "").split()), similar=False).value
    query = sa.select(rank).where(row.c.title == bind("title")).limit(sa.literal_column("1"))
    statement = compile_statement(query)
    [[value]] = bench.rows(
        statement.text, *statement.arguments({**page_values(listing), **asked_values(listing), "title": title})
    )
    return int(value) // 1000


@pytest.mark.parametrize("asked", ["", "+", "a" * 201, "a+b+c+d+e+f+g+h+i+j+k"])
def test_a_search_has_words_but_not_too_many(asked: str) -> None:
    with pytest.raises(ApiError) as caught:
        read_listing(CATALOG, WARES, f"q={asked}".encode())
    assert (caught.value.status, caught.value.details[0].code) == (422, "out_of_range")


def test_searches_of_as_many_words_share_a_statement() -> None:
    shapes = [list_shape(read_listing(CATALOG, WARES, f"q={asked}".encode())) for asked in ("a+b", "%25+'", "a", "b")]
    assert shapes[0] == shapes[1] != shapes[2] == shapes[3]


# -- over HTTP


@pytest.fixture(scope="module")
def caller(live: Live) -> Caller:
    """Somebody with customers of whom several tie."""
    made = Caller(live.client("tenants"))
    names = [
        "Zorblat",
        "Zorblat 2",
        "Zorblat 2",
        "New Zorblat",
        "Old-Zorblat",
        "Xzorblat",
        "zorblat",
        "Zorblats",
        "Other",
    ]
    made.send(201, "POST", CUSTOMERS, [{"name": name, "industry": "search"} for name in names])
    return made


def test_pages_and_cursors_walk_the_ranked_list(caller: Caller) -> None:
    whole = caller.list(CUSTOMERS, "q=zorblat")
    names = [row["name"] for row in whole]
    assert names[:2] == ["Zorblat", "zorblat"] and names[2:5] == ["Zorblat 2", "Zorblat 2", "Zorblats"]
    assert set(names[5:7]) == {"New Zorblat", "Old-Zorblat"} and names[7:] == ["Xzorblat"]
    for size in (1, 2, 3, 8):
        pages = range(1, -(-8 // size) + 1)
        paged = [caller.send(200, "GET", f"{CUSTOMERS}?q=zorblat&page_size={size}&page={page}") for page in pages]
        assert [row for page in paged for row in page["items"]] == whole
        for more in ("", "&fields=name", "&count=none"):
            data = caller.send(200, "GET", f"{CUSTOMERS}?q=zorblat&page_size={size}{more}")
            walked = [row["name"] for row in data["items"]]
            while data["next_cursor"]:
                query = f"{CUSTOMERS}?q=zorblat&page_size={size}{more}&cursor={data['next_cursor']}"
                data = caller.send(200, "GET", query)
                walked += [row["name"] for row in data["items"]]
            assert walked == names


def test_a_cursor_of_a_search_counts_for_it_alone(caller: Caller) -> None:
    cursor = caller.send(200, "GET", f"{CUSTOMERS}?q=zorblat&page_size=2")["next_cursor"]
    assert caller.send(200, "GET", f"{CUSTOMERS}?q=++zorblat+&page_size=2&cursor={cursor}")["items"]
    for other in ("q=zorblat+2", "q=zorblat&sort=name", "q=zorblat&deleted=include", ""):
        caller.expect_refusal("422:invalid_cursor", "GET", f"{CUSTOMERS}?{other}&cursor={cursor}")


def test_a_body_an_export_and_a_write_of_many_search_alike(caller: Caller) -> None:
    names = [row["name"] for row in caller.list(CUSTOMERS, "q=zorblat")]
    data = caller.send(200, "POST", f"{CUSTOMERS}/query", {"q": "zorblat", "fields": ["name"]})
    assert [row["name"] for row in data["items"]] == names
    lines = caller.client.get(f"/{CUSTOMERS}/export?q=zorblat&format=ndjson&fields=name").text.splitlines()
    assert [json.loads(line)["name"] for line in lines] == names
    answer = caller.client.patch(
        f"/{CUSTOMERS}?q=zorblat+ne&filter[industry]=search",
        json={"industry": "found"},
        headers={"Prefer": "max-affected=5"},
    )
    assert answer.json()["data"]["count"] == 1, answer.text
    assert [row["name"] for row in caller.list(CUSTOMERS, "filter[industry]=found")] == ["New Zorblat"]


def test_another_tenant_finds_its_own_rows_alone(live: Live, caller: Caller) -> None:
    other = Caller(live.other_tenant())
    other.make(CUSTOMERS, name="Zorblat of the second")
    assert [row["name"] for row in other.list(CUSTOMERS, "q=zorblat")] == ["Zorblat of the second"]
    assert "Zorblat of the second" not in {row["name"] for row in caller.list(CUSTOMERS, "q=zorblat")}


# -- the extension


def test_each_database_is_asked_once_whether_it_knows_trigrams(live: Live) -> None:
    assert set(live.system.operations.shop.reads.similar) == set(live.catalog.scopes)


def test_a_refused_extension_leaves_the_portable_road(live: Live) -> None:
    server = live.system.server
    assert server is not None

    async def ask(url: str) -> tuple[bool, bool]:
        offered = await offer_trigrams(url)
        pool = Pool(PoolOptions(url))
        try:
            return offered, await has_trigrams(pool, 5.0)
        finally:
            await pool.close()

    async def work() -> list[tuple[bool, bool]]:
        await server.ensure_database("bare")
        # the runtime role may make nothing; after the owner did, it uses what is there
        roles = ("cxg_runtime", "cxg_owner", "cxg_runtime")
        return [await ask(server.url("bare", role)) for role in roles]

    assert asyncio.run(work()) == [(False, False), (True, True), (True, True)]


def test_a_database_that_does_not_answer_knows_none() -> None:
    pool = Pool(PoolOptions("postgresql://nobody@127.0.0.1:1/none", connect_timeout=0.2))
    assert asyncio.run(has_trigrams(pool, 1.0)) is False
