"""Views that PostgreSQL cannot update by itself: written through their triggers, and known by a key that the settings name."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import httpx
import pytest

from engine.errors import StartupFault
from engine.reflection import Wish, reflect
from engine.testing.harness import Live
from tests.engine.reflection.conftest import HERE, Database
from tests.engine.reflection.somebody import ask, over
from tests.engine.reflection.test_write import code, data

KEYS = {"desk.guests.key": "id", "desk.tally.key": "person", "desk.peak.key": "person_id", "desk.pairs.key": "a,b"}
NUMBERS = count(100)


@pytest.fixture(scope="module")
def url(database: Database) -> str:
    return database("triggered", (HERE / "triggers.sql").read_text())


@pytest.fixture(scope="module")
def desk(live: Live, url: str) -> Iterator[Live]:
    with over(live, url, write=True, columns=KEYS, audit_schema="cxg") as running:
        yield running


@pytest.fixture
def client(desk: Live) -> httpx.Client:
    return desk.client("shop")


def person(client: httpx.Client) -> int:
    number = next(NUMBERS)
    data(client.post("/shop/desk/guests", json={"id": number, "name": "Guest"}), 201)
    return number


@pytest.mark.parametrize(("view", "key"), [("guests", "id"), ("tally", "person")])
def test_a_row_is_written_by_the_triggers_and_told_as_it_stands_then(
    client: httpx.Client, url: str, view: str, key: str
) -> None:
    number = next(NUMBERS)
    made = client.post(f"/shop/desk/{view}", json={key: number, "name": " New "})
    place = made.headers["location"]
    # the trigger trims, and other columns come from other tables
    assert data(made, 201)["name"] == "New" and data(client.get(place)) == data(made, 201)
    changed = client.patch(place, json={"name": " Newer"}, headers={"If-Match": made.headers["etag"]})
    assert data(changed)["name"] == "Newer" and data(client.get(place)) == data(changed)
    assert code(client.patch(place, json={"name": "x"}, headers={"If-Match": made.headers["etag"]}))[0] == 412
    assert ask(url, "select name, seen from desk.people where id = $1", number) == [("Newer", 1)]
    assert [row["action"] for row in data(client.get(f"{place}/history"))["items"]] == ["update", "create"]
    assert data(client.delete(place, headers={"If-Match": changed.headers["etag"]})) == data(changed)
    assert ask(url, "select from desk.people where id = $1", number) == []


def test_what_the_trigger_does_not_take_is_refused_with_the_reason(client: httpx.Client) -> None:
    assert code(client.post("/shop/desk/guests", json={"id": next(NUMBERS), "name": "  "}))[:2] == (
        422,
        "validation_error",
    )
    assert code(client.post("/shop/desk/guests", json={"id": 1, "name": "Again"}))[:2] == (409, "duplicate")
    assert code(client.post("/shop/desk/callers", json={"id": 1, "name": "x"}))[:2] == (405, "method_not_allowed")
    assert code(client.delete("/shop/desk/callers/1"))[:2] == (405, "method_not_allowed")
    assert data(client.patch("/shop/desk/callers/2", json={"name": "Benn"}))["name"] == "Benn"


def test_of_writers_at_once_who_read_the_same_row_one_wins(client: httpx.Client, url: str) -> None:
    number = person(client)
    for round_ in range(15):
        tag = client.get(f"/shop/desk/guests/{number}").headers["etag"]

        def write(name: str, tag: str = tag) -> int:
            answer = client.patch(f"/shop/desk/guests/{number}", json={"name": name}, headers={"If-Match": tag})
            return answer.status_code

        with ThreadPoolExecutor(4) as pool:
            statuses = sorted(pool.map(write, [f"{round_} {place}" for place in range(4)]))
        assert statuses == [200, 412, 412, 412]
    assert ask(url, "select seen from desk.people where id = $1", number) == [(15,)]


def test_sets_batches_and_keyed_requests_walk_the_same_road(client: httpx.Client, url: str) -> None:
    numbers = [person(client) for _ in range(3)]
    asked = {"filter[id][in]": ",".join(map(str, numbers))}
    many = {"Prefer": "max-affected=3, return=representation"}
    written = data(client.request("PATCH", "/shop/desk/guests", params=asked, json={"name": " All "}, headers=many))
    assert [row["name"] for row in written["items"]] == ["All"] * 3
    upserted = client.post("/shop/desk/guests/upsert?on=id", json=[{"id": n, "name": "Up "} for n in numbers])
    assert [item["data"]["name"] for item in data(upserted)] == ["Up"] * 3
    operations = [
        {"method": "PATCH", "path": f"/shop/desk/guests/{numbers[0]}", "body": {"name": "One"}},
        {"method": "DELETE", "path": f"/shop/desk/tally/{numbers[1]}"},
    ]
    keyed = {"Idempotency-Key": f"key-{numbers[0]}"}
    answers = [client.post("/shop/batch", json={"operations": operations}, headers=keyed) for _ in range(2)]
    assert answers[0].status_code == 200 and answers[0].content == answers[1].content
    assert ask(url, "select seen from desk.people where id = any($1::int[]) order by id", numbers) == [(3,), (2,)]
    gone = client.request("DELETE", "/shop/desk/guests", params=asked, headers={"Prefer": "max-affected=3"})
    assert data(gone) == {"count": 2}


def test_a_key_that_the_settings_name_opens_single_rows(client: httpx.Client) -> None:
    assert data(client.get("/shop/desk/peak/1")) == {"person_id": 1, "beds": 3}
    assert code(client.patch("/shop/desk/peak/1", json={"beds": 1}))[:2] == (405, "method_not_allowed")
    assert data(client.patch("/shop/desk/pairs/1,1", json={"note": "two"})) == {"a": 1, "b": 1, "note": "two"}
    assert code(client.get("/shop/desk/loose/1"))[0] in (404, 405)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"desk.guests.key": "nobody"}, "desk.guests has no column 'nobody'"),
        ({"desk.loose.key": "a"}, "no unique index holds the key of desk.loose"),
        ({"key": "id"}, "is said of one view or table"),
        ({"desk.guests.keys": "id"}, "is no part that a column can play"),
    ],
)
def test_a_key_that_cannot_be_one_is_refused_at_the_start(url: str, columns: dict[str, Any], told: str) -> None:
    with pytest.raises(StartupFault, match=told):
        reflect(Wish(url, "shop", write=True, parts=columns))
