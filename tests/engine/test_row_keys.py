"""Rows known by natural, composite and database-made keys walk the same road as those with a uuid."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from engine.testing.harness import Live, serving, settings_for_tests

NUMBERS = count(1)
DAY = "2026-01-31"


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    settings = settings_for_tests(tmp_path_factory.mktemp("ledger"))
    with serving(settings, ["registry", "tests.engine.ledgers"]) as running:
        yield running


@pytest.fixture
def client(ledger: Live) -> httpx.Client:
    return ledger.client("led")


def data(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()["data"]


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def currency(client: httpx.Client, prefix: str = "C") -> str:
    name = f"{prefix}{next(NUMBERS)}"
    data(client.post("/led/led/currencies", json={"code": name, "name": "coin"}), 201)
    return name


@pytest.fixture(params=["rates", "quotes"], ids=["one statement", "with hooks"])
def row(client: httpx.Client, request: pytest.FixtureRequest) -> str:
    """Path of a new row with a composite key."""
    body = {"currency": currency(client), "day": DAY, "rate": "1.5"}
    answer = client.post(f"/led/led/{request.param}", json=body)
    assert data(answer, 201) | body == data(answer, 201) | {"rate": "1.50000000"} | {"rate": "1.5"}
    return str(answer.headers["location"])


def test_a_composite_key_is_created_read_changed_and_removed(client: httpx.Client, row: str) -> None:
    assert row.endswith(f",{DAY}")
    assert data(client.get(row))["day"] == DAY
    assert data(client.patch(row, json={"rate": "2"}))["rate"] == "2.00000000"
    assert data(client.put(row, json={"rate": "3", "version": 2}))["version"] == 3
    assert code(client.patch(row, json={"rate": "4", "version": 2})) == (409, "version_conflict")
    assert code(client.patch(row, json={"rate": "4"}, headers={"If-Match": '"2"'})) == (412, "version_conflict")
    assert data(client.delete(row))["is_active"] is False
    assert code(client.get(row)) == (404, "not_found")
    assert data(client.patch(f"{row}/status", json={"status": "active"}))["is_active"] is True
    assert data(client.get(f"{row}/transitions"))["status"] == "active"


def test_its_history_tells_every_write(client: httpx.Client, row: str) -> None:
    data(client.patch(row, json={"rate": "2"}))
    data(client.delete(row))
    log = data(client.get(f"{row}/history"))["items"]
    assert [entry["action"] for entry in log] == ["delete", "update", "create"]
    assert [float(part) for part in log[1]["changes"]["rate"]] == [1.5, 2.0]


def test_its_parts_cannot_be_changed(client: httpx.Client, row: str) -> None:
    answer = client.patch(row, json={"day": "2026-02-01"})
    assert code(answer) == (422, "validation_error")
    assert answer.json()["error"]["details"][0]["code"] == "write_once"


@pytest.mark.parametrize("entity", ["rates", "quotes"])
def test_many_rows_are_created_in_their_order(client: httpx.Client, entity: str) -> None:
    name = currency(client)
    days = ["2026-03-03", "2026-03-01", "2026-03-02"]
    rows = data(client.post(f"/led/led/{entity}", json=[{"currency": name, "day": d, "rate": "1"} for d in days]), 201)
    assert [row["day"] for row in rows] == days
    listed = data(client.get(f"/led/led/{entity}", params={"filter[currency]": name}))
    assert [row["day"] for row in listed["items"]] == sorted(days)


def test_a_second_row_of_the_key_is_a_duplicate(client: httpx.Client, row: str) -> None:
    path, _, key = row.rpartition("/")
    answer = client.post(path, json={"currency": key.split(",")[0], "day": DAY, "rate": "1"})
    assert code(answer) == (409, "duplicate")
    assert [fault["field"] for fault in answer.json()["error"]["details"]] == ["currency", "day"]


@pytest.mark.parametrize(
    "key", ["X", f"X,{DAY},1", "X,tomorrow", "X,", f"{'X' * 9},{DAY}", f"X%00,{DAY}", f"%FF,{DAY}"]
)
@pytest.mark.parametrize("entity", ["rates", "quotes"])
def test_what_cannot_be_a_key_is_not_found(client: httpx.Client, entity: str, key: str) -> None:
    for method, body in (("GET", None), ("PATCH", {"rate": "2"}), ("DELETE", None)):
        assert code(client.request(method, f"/led/led/{entity}/{key}", json=body)) == (404, "not_found")


def test_a_key_of_odd_characters_is_percent_encoded(client: httpx.Client) -> None:
    name = currency(client, "ä,/%")
    path = f"/led/led/currencies/{quote(name, safe='')}"
    assert data(client.get(path))["code"] == name
    answer = client.post("/led/led/quotes", json={"currency": name, "day": DAY, "rate": "1"})
    assert answer.headers["location"] == f"/led/led/quotes/{quote(name, safe='')},{DAY}"
    assert data(client.patch(answer.headers["location"], json={"rate": "9"}))["currency"] == name


def test_references_to_a_natural_key_are_checked(client: httpx.Client) -> None:
    name = currency(client)
    body = {"currency": "none", "day": DAY, "rate": "1"}
    for entity in ("rates", "quotes"):
        assert code(client.post(f"/led/led/{entity}", json=body)) == (422, "invalid_reference")
    data(client.post("/led/led/quotes", json={**body, "currency": name}), 201)
    assert code(client.delete(f"/led/led/currencies/{name}")) == (409, "in_use")


def test_soft_delete_follows_natural_keys(client: httpx.Client) -> None:
    name = currency(client)
    body = {"currency": name, "day": DAY, "rate": "1"}
    rate = client.post("/led/led/rates", json=body).headers["location"]
    entry = data(client.post("/led/led/entries", json={"memo": "m", "currency": name}), 201)
    data(client.delete(f"/led/led/currencies/{name}"))
    assert code(client.get(rate)) == (404, "not_found")
    assert data(client.get(f"/led/led/entries/{entry['id']}"))["currency"] is None
    again = client.patch(f"{rate}/status", json={"status": "active"})
    assert code(again) == (422, "invalid_reference")


@pytest.mark.parametrize("entity", ["entries", "stamps"])
def test_the_database_numbers_rows(client: httpx.Client, entity: str) -> None:
    answer = client.post(f"/led/led/{entity}", json={"memo": "one"})
    first = data(answer, 201)["id"]
    assert answer.headers["location"] == f"/led/led/{entity}/{first}"
    more = data(client.post(f"/led/led/{entity}", json=[{"memo": "two"}, {"memo": "three"}]), 201)
    assert [row["id"] for row in more] == [first + 1, first + 2]
    assert data(client.patch(f"/led/led/{entity}/{first}", json={"memo": "uno"}))["memo"] == "uno"
    assert data(client.delete(f"/led/led/{entity}/{first}"))["id"] == first
    assert code(client.post(f"/led/led/{entity}", json={"memo": "x", "id": 7})) == (422, "validation_error")
    assert code(client.get(f"/led/led/{entity}/one")) == (404, "not_found")


def test_references_between_numbered_rows(client: httpx.Client) -> None:
    first = data(client.post("/led/led/entries", json={"memo": "one"}), 201)["id"]
    data(client.post("/led/led/entries", json={"memo": "two", "previous_id": first}), 201)
    assert code(client.post("/led/led/entries", json={"memo": "x", "previous_id": 2**30})) == (422, "invalid_reference")
    assert code(client.delete(f"/led/led/entries/{first}")) == (409, "in_use")


def test_rules_reach_rows_by_composite_keys(client: httpx.Client) -> None:
    name = currency(client)
    rate = client.post("/led/led/rates", json={"currency": name, "day": DAY, "rate": "1"}).headers["location"]
    entry = data(client.post("/led/led/entries", json={"memo": "wait", "currency": name}), 201)["id"]
    data(client.patch(f"/led/led/entries/{entry}", json={"memo": "rate"}))
    assert data(client.get(rate))["rate"] == "2.00000000"
    data(client.patch(f"/led/led/entries/{entry}", json={"memo": "drop"}))
    assert code(client.get(rate)) == (404, "not_found")
