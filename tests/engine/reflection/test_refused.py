"""What a database of somebody else's refuses by itself: a clear refusal for the caller, the reason in the log, no 500."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from engine.testing.harness import Live
from tests.engine.reflection.conftest import Database
from tests.engine.reflection.somebody import ask, over
from tests.owners import as_superuser

NUMBERS = count(100)
ORDERS, CHILDREN = "/shop/own/orders", "/shop/own/children"
# a table of another database, which is not there
FAR = """
create extension postgres_fdw;
create server nowhere foreign data wrapper postgres_fdw options (host '127.0.0.1', port '1');
create user mapping for public server nowhere options (user 'x', password 'x');
create foreign table own.far (id int) server nowhere;
grant select on own.far to public;
"""
Known = tuple[int, str, list[tuple[str, str]]]


@pytest.fixture(scope="module")
def place(live: Live, database: Database) -> str:
    url = database("refusing", (Path(__file__).parent / "refused.sql").read_text())
    assert live.system.server is not None
    as_superuser(live.system.server, FAR, "refusing")
    return url


@pytest.fixture(scope="module")
def client(live: Live, place: str) -> Iterator[httpx.Client]:
    with over(live, place, write=True) as running:
        yield running.client("shop")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    lines = io.StringIO()
    processors = [structlog.processors.JSONRenderer()]
    monkeypatch.setattr(
        "engine.observe.LOG", structlog.wrap_logger(structlog.PrintLogger(lines), processors=processors)
    )
    return lines


def told(answer: httpx.Response) -> Known:
    error = answer.json()["error"]
    return answer.status_code, error["code"], [(fault["field"], fault["code"]) for fault in error["details"]]


@pytest.mark.parametrize("note", ["raised", "coded", "asserted", "nothing found", "undecided"])
def test_what_a_trigger_raises_is_a_refusal(client: httpx.Client, log: io.StringIO, note: str) -> None:
    answer = client.post(ORDERS, json={"id": next(NUMBERS), "amount": 77, "note": note})
    assert told(answer) == (409, "rejected_by_database", [])
    error = answer.json()["error"]
    assert "log has the reason" in error["message"] and "no way" not in answer.text
    assert error["request_id"] in log.getvalue() and (note != "raised" or "no way, 77" in log.getvalue())
    assert told(client.patch(f"{ORDERS}/1", json={"note": note}))[:2] == (409, "rejected_by_database")


def test_of_many_rows_each_says_so(client: httpx.Client, log: io.StringIO) -> None:
    rows = [{"id": next(NUMBERS), "note": note} for note in ("fine", "raised", "fine", "skipped")]
    answer = client.post(ORDERS, json=rows, headers={"Prefer": "each"})
    assert [part["status"] for part in answer.json()["data"]] == [201, 409, 201, 409]
    assert {part["error"]["code"] for part in answer.json()["data"] if part["error"]} == {"rejected_by_database"}
    assert answer.headers["x-request-id"] in log.getvalue() and "no way, 0" in log.getvalue()
    fresh = [{**row, "id": next(NUMBERS)} for row in rows]
    assert told(client.post(ORDERS, json=fresh)) == (409, "rejected_by_database", [])


def test_a_trigger_that_waits_for_the_commit_is_heard(client: httpx.Client) -> None:
    body = {"id": next(NUMBERS), "amount": 13}
    assert told(client.post(ORDERS, json=body)) == (409, "rejected_by_database", [])
    operations = [{"id": "a", "method": "POST", "path": ORDERS, "body": body}]
    assert told(client.post("/shop/batch", json={"operations": operations}))[:2] == (409, "rejected_by_database")


def test_a_row_that_a_trigger_skips_is_not_to_be_tried_again(client: httpx.Client) -> None:
    for answer in (
        client.post(ORDERS, json={"id": next(NUMBERS), "note": "skipped"}),
        client.patch(f"{ORDERS}/1", json={"note": "skipped"}),
    ):
        assert told(answer) == (409, "rejected_by_database", []) and "try again" not in answer.text


def test_a_view_keeps_its_check_option(client: httpx.Client) -> None:
    answer = client.post("/shop/own/cheap", json={"id": next(NUMBERS), "amount": 10})
    assert told(answer) == (422, "validation_error", [("", "check_failed")])


@pytest.mark.parametrize(
    ("path", "status", "word"), [("own/unfilled", 503, "refresh materialized view"), ("own/far", 503, "")]
)
def test_what_cannot_be_read_now_is_503(client: httpx.Client, path: str, status: int, word: str) -> None:
    answer = client.get(f"/shop/{path}")
    assert told(answer) == (status, "db_unavailable", []) and word in answer.text


def test_what_a_rule_is_about_is_not_offered(client: httpx.Client) -> None:
    answer = client.post("/shop/own/ruled", json={"id": next(NUMBERS)})
    assert answer.status_code == 405 and {"PATCH", "DELETE"} <= set(answer.headers["allow"].split(", ")), answer.text


def test_a_wrong_reference_is_told_from_one_that_holds(live: Live, place: str, client: httpx.Client) -> None:
    wrong = (422, "invalid_reference", [("parent_id", "invalid_reference")])
    assert told(client.post(CHILDREN, json={"id": next(NUMBERS), "parent_id": 9})) == wrong
    for path in (f"{CHILDREN}/1", "/shop/own/parents/1"):  # of itself, and of another table
        assert told(client.delete(path))[:2] == (409, "in_use")
    # a role that may not read what the key refers to
    ask(place, "grant usage on schema own to cxg_runtime; grant all on own.children to cxg_runtime")
    server = live.system.server
    assert server is not None
    with over(live, server.url("refusing", "cxg_runtime"), write=True) as narrow:
        clerk = narrow.client("shop")
        assert told(clerk.post(CHILDREN, json={"id": next(NUMBERS), "parent_id": 9})) == wrong
        assert told(clerk.patch(f"{CHILDREN}/1", json={"parent_id": 9})) == wrong
        assert told(clerk.delete(f"{CHILDREN}/1"))[:2] == (409, "in_use")


def test_a_schema_that_moved_on_is_503_until_it_is_read_anew(database: Database, live: Live) -> None:
    url = database("moving", "create table going (id int primary key, name text, n int); insert into going values (1)")
    path = "/shop/public/going"
    with over(live, url, write=True) as running:
        client: Any = running.client("shop")
        assert client.get(f"{path}/1").status_code == client.patch(f"{path}/1", json={"n": 2}).status_code == 200
        # another type under the same name: prepared statements are made anew
        ask(url, "alter table going alter n type bigint")
        for answer in (client.get(f"{path}/1"), client.patch(f"{path}/1", json={"n": 3})):
            assert answer.status_code == 200, answer.text
        for change in ("alter table going drop n", "drop table going", "drop schema public cascade"):
            ask(url, change)
            for answer in (client.get(f"{path}/1"), client.get(path), client.patch(f"{path}/1", json={"name": "x"})):
                assert told(answer) == (503, "schema_changed", []) and "cxg reload" in answer.text
