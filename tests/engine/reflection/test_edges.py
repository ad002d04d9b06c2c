"""What is easily read too strictly or not at all: defaults of domains, checks over casts, conditions of keys, periods."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import Any

import httpx
import pytest
import structlog

from engine.reflection import Wish, reflect
from engine.testing.harness import Live
from tests.engine.reflection.conftest import HERE, Database
from tests.engine.reflection.somebody import ask, over
from tests.engine.reflection.test_write import code, data

PERIODS = """
create table edges.stays (room int, during tstzrange, primary key (room, during without overlaps));
create table edges.guests (id int primary key, room int, during tstzrange, note text,
    foreign key (room, period during) references edges.stays (room, period during));
insert into edges.stays values (1, '[2026-01-01,2026-01-10)'), (1, '[2026-01-10,2026-01-20)');
insert into edges.guests values (1, 1, '[2026-01-05,2026-01-15)');
"""


@pytest.fixture(scope="module")
def url(database: Database) -> str:
    made = database("edges", (HERE / "edges.sql").read_text())
    if int(ask(made, "select current_setting('server_version_num')")[0][0]) >= 180_000:
        ask(made, "create extension if not exists btree_gist")
        ask(made, PERIODS)
    return made


@pytest.fixture(scope="module")
def edges(live: Live, url: str) -> Iterator[Live]:
    with over(live, url, write=True) as running:
        yield running


@pytest.fixture
def client(edges: Live) -> httpx.Client:
    return edges.client("shop")


def test_a_domain_gives_its_default(client: httpx.Client) -> None:
    made = {"a": 7, "b": 7, "c": "nobody", "d": 8, "note": None}
    assert data(client.post("/shop/edges/domains", json={"id": 1}), 201) == {"id": 1, **made}
    rows = [{"id": 2, "a": None, "c": "x"}, {"id": 3, "b": 5, "note": "n"}]
    assert data(client.post("/shop/edges/domains", json=rows), 201) == [
        {"id": 2, **made, "a": None, "c": "x"},
        {"id": 3, **made, "b": 5, "note": "n"},
    ]
    assert data(client.put("/shop/edges/domains/2", json={"note": "m"})) == {"id": 2, **made, "note": "m"}


@pytest.mark.parametrize(
    ("field", "fits", "refused"),
    [
        ("a", ["5.4", "-1"], ["5.5"]),
        ("b", ["5"], ["5.4"]),
        ("c", [1], [0]),
        ("d", [9], [10]),
        ("e", ["a", "abc"], ["c"]),
        ("f", ["a"], ["abc"]),
        ("g", ["0.5", "3"], ["0.4", "3.1"]),
    ],
)
def test_a_check_says_of_a_column_what_it_says(client: httpx.Client, field: str, fits: Any, refused: Any) -> None:
    for value in fits:
        made = client.post("/shop/edges/checks", json={"id": 1, field: value})
        assert data(made, 201)[field] == value
        data(client.delete(made.headers["location"]))
    for value in refused:
        assert code(client.post("/shop/edges/checks", json={"id": 1, field: value})) == (
            422,
            "validation_error",
            [field],
        )


def test_a_key_with_a_condition_counts_what_defaults_give(client: httpx.Client) -> None:
    first = data(client.post("/shop/edges/partial", json={"code": "A", "kind": "a"}), 201)
    body = {"code": "A", "note": "again", "kind": "a"}
    again = client.post("/shop/edges/partial/upsert?on=code", json=body)
    assert data(again) == {**first, "note": "again"}
    # the key is not about who is gone
    gone = client.post("/shop/edges/partial/upsert?on=code", json={**body, "kind": "b", "gone": True})
    assert code(gone) == (422, "validation_error", ["gone"])
    default = data(client.post("/shop/edges/partial", json={}), 201)
    assert (default["code"], default["kind"], default["rank"]) == ("main", "it's", -1)
    for key in ("code", "kind"):
        assert data(client.post(f"/shop/edges/partial/upsert?on={key}", json={"note": key})) == {**default, "note": key}
    other = client.post("/shop/edges/partial/upsert?on=kind", json={"code": "R", "rank": None})
    assert code(other) == (422, "validation_error", ["rank"])


def test_a_reference_to_a_period_is_no_equality(edges: Live, client: httpx.Client) -> None:
    if "shop/edges/stays" not in edges.catalog.resources:
        pytest.skip("PostgreSQL knows periods since 18")
    assert not edges.resource("shop/edges/guests").relations and not edges.resource("shop/edges/stays").relations
    data(client.patch("/shop/edges/guests/1", json={"note": "n"}))
    for change in ({"room": 2}, {"during": '["2026-01-15 00:00:00+00","2026-01-25 00:00:00+00")'}):
        assert code(client.patch("/shop/edges/guests/1", json=change)) == (422, "invalid_reference", ["room", "during"])
    assert code(client.delete('/shop/edges/stays/1,["2026-01-01 00:00:00%2B00"%2C"2026-01-10 00:00:00%2B00")'))[:2] == (
        409,
        "in_use",
    )


def test_the_log_names_what_is_not_served(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    log = StringIO()
    monkeypatch.setattr("engine.reflection.LOG", structlog.wrap_logger(structlog.PrintLogger(log)))
    reflected = reflect(Wish(url, "anew", write=True))
    told = log.getvalue().splitlines()
    assert len(told) == 2 and "_transfers.lost" in told[0] and "edges.nothing" in told[1]
    assert not {"_transfers.lost", "edges.nothing"} & {entity.table.fullname for entity in reflected.entities}
