"""Cursors: pages by cursor are the one big list, whatever the order; a cursor counts for its own list alone."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.cursors import BINDING, FREE, binding_of, context_of, cursor_of, head_of, place_of
from engine.errors import ApiError
from engine.handlers.pages import place_in
from engine.query import read_listing
from engine.questions import asked_values, list_shape, page_values
from engine.shapes import Listing
from engine.sql import Reads
from engine.sql.documents import ordered_by, shows_place
from engine.testing.harness import Live
from tests.calls import Body, Caller
from tests.engine.conftest import Bench
from tests.engine.wares import CATALOG, WARES

READS = Reads(CATALOG)
CUSTOMERS, CONTACTS = "tenants/crm/customers", "tenants/crm/contacts"
MARK = "cursors"
# few values of each type, so that rows tie; None where the column may be empty
VALUES: dict[str, list[Any]] = {
    "title": ["", "a", "B", 'Ü "\\', "a b"],
    "amount": [-1, 0, 7],
    "small": [None, 0, 1],
    "big": [None, 2**62, -(2**62)],
    "price": [None, "0.1000", "1.5000"],
    "ratio": [None, 0.1, 1e300, -0.0, 0.0],
    "ready": [False, True],
    "born": [None, "2026-01-31", "0099-12-31"],
    "at": [None, "2026-01-31T10:00:00.000001+00:00", "2026-01-31T10:00:00.000002+00:00"],
    "hour": [None, "10:00:00", "10:00:00.000001"],
    "kind": ["new", "used"],
}
COLUMNS = (
    "id uuid, parent_id uuid, title text, amount int, small int, big bigint, price numeric, ratio float8, ready bool, "
    "born date, at timestamptz, hour time, kind text, note text, tags jsonb"
)
NAMES = ", ".join(part.split()[0] for part in COLUMNS.split(", "))
rows_of = st.lists(st.fixed_dictionaries({name: st.sampled_from(found) for name, found in VALUES.items()}), max_size=24)
keys_of = st.lists(
    st.tuples(
        st.sampled_from(["", "-"]),
        st.sampled_from([*VALUES, "id", "parent.title", "parent.price", "parent.parent.at"]),
        st.sampled_from(["", ":nullsfirst", ":nullslast"]),
    ),
    max_size=3,
    unique_by=lambda key: key[1],
)


def sign(message: bytes) -> bytes:
    return base64.b64encode(message[:1] + message[-31:]).ljust(32, b"=")


def fill(bench: Bench, rows: list[dict[str, Any]]) -> None:
    """Put these rows in the place of the last example's; each third hangs below the one before."""
    bench.rows("update shop.wares set parent_id = null where note = $1", MARK)
    bench.rows("delete from shop.wares where note = $1", MARK)
    ids = [str(UUID(int=(i * 7919) % 1009)) for i in range(len(rows))]
    given = [
        {**row, "id": ids[i], "parent_id": ids[i - 1] if i % 3 else None, "note": MARK, "tags": []}
        for i, row in enumerate(rows)
    ]
    text = f"insert into shop.wares ({NAMES}) select {NAMES} from json_to_recordset($1) as r({COLUMNS})"
    bench.rows(text, json.dumps(given))


def page(bench: Bench, listing: Listing, size: int, place: tuple[str | None, ...] | None) -> tuple[list[str], Any]:
    """Ids of a page and the place of its last row, by the statement that the engine sends."""
    shape = list_shape(listing)
    values: dict[str, Any] = {
        **page_values(listing),
        **asked_values(listing),
        "tenant": None,
        "unmasked_shop": False,
        "limit": size + 1,
        "last": size,
    }
    if place is not None:
        shape = shape._replace(after=tuple(value is None for value in place))
        values |= {f"c{i}": value for i, value in enumerate(place)}
    statement = READS.listing(WARES, shape)
    [record] = bench.rows(statement.text, *statement.arguments(values))
    _, rows, count, last = record
    ids = [row["id"] for row in json.loads(b"[%b]" % (rows or b""))]
    assert len(ids) == min(count or 0, size)
    if not count or count <= size:
        return ids, None
    assert isinstance(last, str) == shows_place(WARES, listing.sort, listing.fields)
    return ids, place_in(last, [o.field for o in ordered_by(WARES, listing.sort)]) if isinstance(last, str) else last


@given(rows_of, keys_of, st.tuples(st.integers(1, 5), st.sampled_from(["", "fields=id"])))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pages_by_cursor_are_the_one_big_list(
    bench: Bench, rows: list[dict[str, Any]], keys: list[tuple[str, str, str]], turns: tuple[int, str]
) -> None:
    size, fields = turns
    fill(bench, rows)
    sort = f"&sort={','.join(f'{sign}{name}{nulls}' for sign, name, nulls in keys)}" if keys else ""
    listing = read_listing(CATALOG, WARES, f"{fields}&filter[note]={MARK}&count=none{sort}".encode())
    whole, rest = page(bench, listing, 100, None)
    assert len(whole) == len(rows) and rest is None
    walked, place = page(bench, listing, size, None)
    while place is not None:
        context = context_of(binding_of(head_of(listing, WARES.path), listing), None)
        place = place_of(sign, context, cursor_of(sign, context, place), len(place))
        assert len(walked) % size == 0
        found, place = page(bench, listing, size, place)
        assert found
        walked += found
    assert walked == whole


def test_a_deep_page_reads_no_more_than_the_first(bench: Bench) -> None:
    """One direction and no nulls: the index is entered at the place."""
    fill(bench, [])
    text = (
        "insert into shop.wares (id, title, kind, amount, ready, note, tags) select gen_random_uuid(), 'w', 'new', i, "
    )
    bench.rows(f"{text} false, $1, '[]' from generate_series(1, 20000) i", MARK)
    bench.rows("analyze shop.wares")
    [[middle]] = bench.rows("select id::text from shop.wares where note = $1 order by id offset 15000 limit 1", MARK)
    read = []
    for sort, place in (("", (str(UUID(int=0)),)), ("", (middle,))):
        listing = read_listing(CATALOG, WARES, f"fields=id&count=none{sort}".encode())
        statement = READS.listing(WARES, list_shape(listing)._replace(after=(False,) * len(place)))
        values = {
            **page_values(listing),
            **asked_values(listing),
            "limit": 21,
            **{f"c{i}": value for i, value in enumerate(place)},
        }
        plan = bench.rows(f"explain (analyze, buffers, format json) {statement.text}", *statement.arguments(values))
        read.append(json.loads(plan[0][0])[0]["Plan"])
    first, deep = (plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] for plan in read)
    fill(bench, [])
    assert deep <= first + 4


# -- what a cursor is bound to


def test_a_place_comes_back_whatever_its_values() -> None:
    for place in ((None, "1"), ("", 'Ü "\\,', None), ("9" * 4000,)):
        assert place_of(sign, b"x", cursor_of(sign, b"x", place), len(place)) == place
    for wrong, context, length in (("", b"x", 1), (cursor_of(sign, b"x", ("1",)), b"x", 2)):
        with pytest.raises(ApiError) as caught:
            place_of(sign, context, wrong, length)
        assert (caught.value.status, caught.value.code) == (422, "invalid_cursor")


def test_everything_that_chooses_rows_binds_a_cursor() -> None:
    """A word that is added to a list is bound unless somebody says that it shows the same rows."""
    assert {"sort", "search", "deleted"} <= set(BINDING) and "page_size" in FREE
    asked = [read_listing(CATALOG, WARES, text) for text in (b"filter[title]=a", b"filter[title]=b", b"")]
    assert len({binding_of("", listing) for listing in asked}) == len(asked)


@pytest.fixture(scope="module")
def caller(live: Live) -> Caller:
    return Caller(live.client("tenants"))


@pytest.fixture(scope="module")
def mark(caller: Caller) -> str:
    """The industry of seven customers, of which two tie in everything but their key."""
    rows = [{"name": name, "industry": "cursor-mark"} for name in ("Ann", "Bob", "Bob", "Cid", "Dee", "Eve", "Fay")]
    caller.send(201, "POST", CUSTOMERS, rows)
    return "filter[industry]=cursor-mark"


def turn(caller: Caller, query: str) -> Iterator[Body]:
    """The pages of a list, by their cursors."""
    data = caller.send(200, "GET", f"{CUSTOMERS}?{query}")
    yield data
    while data["next_cursor"]:
        data = caller.send(200, "GET", f"{CUSTOMERS}?{query}&cursor={data['next_cursor']}")
        yield data


@pytest.mark.parametrize("more", ["", "&count=none", "&count=estimated"])
def test_there_is_a_cursor_as_long_as_rows_follow(caller: Caller, mark: str, more: str) -> None:
    for size, sizes in ((3, [3, 3, 1]), (7, [7]), (8, [7])):
        pages = list(turn(caller, f"{mark}&page_size={size}&sort=-name{more}"))
        assert [len(page["items"]) for page in pages] == sizes
        assert len({row["id"] for page in pages for row in page["items"]}) == 7
        assert [row["name"] for page in pages for row in page["items"]][:2] == ["Fay", "Eve"]
    assert caller.send(200, "GET", f"{CUSTOMERS}?{mark}&page=2&page_size=4{more}")["next_cursor"] is None
    assert caller.send(200, "GET", f"{CUSTOMERS}?{mark}&page=2&page_size=3{more}")["next_cursor"]
    assert caller.send(200, "GET", f"{CUSTOMERS}?filter[industry]=nobody{more}")["next_cursor"] is None


def test_a_page_after_a_cursor_counts_only_when_asked(caller: Caller, mark: str) -> None:
    first = caller.send(200, "GET", f"{CUSTOMERS}?{mark}&page_size=3")
    assert (first["page"], first["total"], first["total_pages"]) == (1, 7, 3)
    query = f"{CUSTOMERS}?{mark}&page_size=3&cursor={first['next_cursor']}"
    assert [caller.send(200, "GET", query)[name] for name in ("page", "total", "total_pages")] == [None, None, None]
    assert caller.send(200, "GET", f"{query}&count=exact")["total"] == 7
    caller.expect_refusal("400:unknown_parameter", "GET", f"{query}&page=2")


def test_a_cursor_counts_for_its_own_list_alone(live: Live, caller: Caller, mark: str) -> None:
    query = f"{mark}&sort=name&page_size=2"
    cursor = caller.send(200, "GET", f"{CUSTOMERS}?{query}")["next_cursor"]
    # what shows the same rows otherwise may change
    same = caller.send(200, "GET", f"{CUSTOMERS}?{mark}&sort=name&page_size=5&fields=name&cursor={cursor}")
    assert [row["name"] for row in same["items"]] == ["Bob", "Cid", "Dee", "Eve", "Fay"]
    others = [
        f"{CUSTOMERS}?{mark}&sort=-name",
        f"{CUSTOMERS}?{mark}&sort=name,id",
        f"{CUSTOMERS}?{mark}&sort=industry",
        f"{CUSTOMERS}?{mark}&sort=name&deleted=include",
        f"{CUSTOMERS}?{mark}&sort=name&q=a",
        f"{CUSTOMERS}?sort=name",
        f"{CUSTOMERS}?filter[industry]=other&sort=name",
        f"{CONTACTS}?sort=full_name",
    ]
    for other in others:
        caller.expect_refusal("422:invalid_cursor", "GET", f"{other}&cursor={cursor}")
    Caller(live.other_tenant()).expect_refusal("422:invalid_cursor", "GET", f"{CUSTOMERS}?{query}&cursor={cursor}")
    raw = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    raw[-3] ^= 1
    changed = base64.urlsafe_b64encode(bytes(raw)).rstrip(b"=").decode()
    for wrong in (changed, cursor[:-8], "x", "%C3%A4", "W10"):
        caller.expect_refusal("422:invalid_cursor", "GET", f"{CUSTOMERS}?{query}&cursor={wrong}")


def test_a_walk_misses_and_repeats_no_row_that_was_there_all_along(live: Live, caller: Caller) -> None:
    """Others create and delete meanwhile, before and after the place."""
    made = caller.send(201, "POST", CUSTOMERS, [{"name": f"N{i % 7}", "industry": "walked"} for i in range(60)])
    gone, kept = made[::3], {row["id"] for i, row in enumerate(made) if i % 3}
    done = threading.Event()

    def disturb() -> None:
        client = Caller(live.signed_in("owner@first.example", tenant="first"))
        for i, row in enumerate(gone):
            client.make(CUSTOMERS, name=f"N{i % 7}", industry="walked")
            client.drop(CUSTOMERS, row["id"])
        done.set()

    thread = threading.Thread(target=disturb)
    thread.start()
    walks = 0
    while not done.is_set() or walks < 2:
        for sort in ("name", "-name,created_at", "-created_at"):
            pages = turn(caller, f"filter[industry]=walked&page_size=4&sort={sort}")
            seen = [row["id"] for page in pages for row in page["items"]]
            assert len(seen) == len(set(seen)) and kept <= set(seen)
        walks += 1
    thread.join()


def test_a_history_is_walked_too(caller: Caller) -> None:
    row = caller.make(CUSTOMERS, name="Old")
    for i in range(4):
        caller.change(CUSTOMERS, row["id"], name=f"New {i}")
    path = f"{CUSTOMERS}/{row['id']}/history"
    whole = caller.send(200, "GET", path)
    assert whole["total"] == 5 and whole["next_cursor"] is None
    data = caller.send(200, "GET", f"{path}?page_size=2")
    seen = data["items"]
    while data["next_cursor"]:
        data = caller.send(200, "GET", f"{path}?page_size=2&cursor={data['next_cursor']}")
        seen += data["items"]
    assert seen == whole["items"]
    other = caller.make(CUSTOMERS, name="Other")
    first = caller.send(200, "GET", f"{path}?page_size=2")["next_cursor"]
    caller.expect_refusal("422:invalid_cursor", "GET", f"{CUSTOMERS}/{other['id']}/history?cursor={first}")
