"""What is written is what is read, and what psql shows; what does not fit is refused and changes nothing."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from engine.testing.harness import Live
from tests.engine.reflection.somebody import ask
from tests.engine.reflection.values_sent import LISTS, LISTS_REFUSED, REFUSED, SENT

TABLES = {"everything": SENT, "lists": LISTS}
WRITTEN = [(table, name) for table, columns in TABLES.items() for name in columns]
WRONG = [
    (table, name, value)
    for table, columns in (("everything", REFUSED), ("lists", LISTS_REFUSED))
    for name, values in columns.items()
    for value in values
]


@pytest.fixture
def client(writing: Live) -> httpx.Client:
    return writing.client("shop")


def stored(written: str, table: str, name: str, key: Any) -> Any:
    """The value as psql shows it, intervals as the engine's connections do."""
    [row] = ask(
        written, f'select "{name}"::text as value from kinds.{table} where id = $1', key, IntervalStyle="iso_8601"
    )
    return row["value"]


@pytest.mark.parametrize(("table", "name"), WRITTEN)
def test_a_value_comes_back_as_it_went(client: httpx.Client, written: str, table: str, name: str) -> None:
    for sent, shown in TABLES[table][name]:
        made = client.post(f"/shop/kinds/{table}", json={name: sent})
        assert made.status_code == 201, made.text
        row = made.json()["data"]
        assert row[name] == sent
        assert stored(written, table, name, row["id"]) == (str(sent) if shown is None else shown)
        again = client.patch(f"/shop/kinds/{table}/{row['id']}", json={name: row[name]})
        assert again.status_code == 200 and again.json()["data"] == row, again.text
        assert again.headers["etag"] == made.headers["etag"]
        cleared = client.patch(f"/shop/kinds/{table}/{row['id']}", json={name: None})
        assert cleared.status_code == 200 and cleared.json()["data"][name] is None, cleared.text
        assert cleared.headers["etag"] != made.headers["etag"]


@pytest.mark.parametrize(("table", "name", "value"), WRONG)
def test_what_does_not_fit_is_refused(client: httpx.Client, table: str, name: str, value: Any) -> None:
    for body in ({name: value}, [{name: value}]):
        answer = client.post(f"/shop/kinds/{table}", json=body)
        assert answer.status_code == 422, answer.text
        assert answer.json()["error"]["code"] == "validation_error", answer.text


def test_every_column_was_written(writing: Live) -> None:
    for table, columns in TABLES.items():
        resource = writing.resource(f"shop/kinds/{table}")
        # `one` is of the type "char", which cannot hold what a text can; XML needs a server that was built for it
        rest = {f.name for f in resource.fields.values() if f.creatable} - {"id", "one", "markup"}
        assert rest == columns.keys()


def test_columns_that_the_database_computes_are_read_only(client: httpx.Client) -> None:
    row = client.post("/shop/kinds/everything", json={"whole": 21}).json()["data"]
    assert row["doubled"] == "42"
    for name, value in (("doubled", 1), ("vector", "a"), ("id", 7)):
        answer = client.post("/shop/kinds/everything", json={name: value})
        assert (answer.status_code, answer.json()["error"]["details"][0]["field"]) == (422, name)


def test_defaults_are_the_databases(client: httpx.Client) -> None:
    rows = [{"name": "d1"}, {"name": "d2", "note": None, "count": 8}, {"name": "d3", "note": "said"}]
    made = client.post("/shop/kinds/needed", json=rows)
    assert made.status_code == 201, made.text
    assert [(row["note"], row["count"]) for row in made.json()["data"]] == [("none", 7), (None, 8), ("said", 7)]
    replaced = client.put("/shop/kinds/needed/d3", json={"count": 9}).json()["data"]
    assert (replaced["note"], replaced["count"]) == ("none", 9)
    assert client.put("/shop/kinds/needed/d3", json={"note": None}).json()["data"] == {
        "name": "d3",
        "note": None,
        "count": 7,
    }
    assert client.post("/shop/kinds/needed", json={"note": "x"}).json()["error"]["details"][0]["code"] == "required"
    long = client.post("/shop/kinds/needed", json={"name": "123456"}).json()["error"]["details"][0]
    assert (long["field"], long["code"]) == ("name", "too_long")


HOSTILE: list[Any] = [
    *(True, {}, [], "", "x" * 20_000, -1e300, 1e-300, 2**70, "\ud800", "NULL", "{", "[", [[]], [None]),
    *({"a": 1}, "infinity"),
]


def test_no_value_breaks_anything(client: httpx.Client) -> None:
    seen = set()
    for table, columns in TABLES.items():
        for name in columns:
            for value in HOSTILE:
                body = json.dumps({name: value})
                answer = client.post(f"/shop/kinds/{table}", content=body, headers={"Content-Type": "application/json"})
                assert answer.status_code in (201, 400, 422), (name, value, answer.text)
                seen.add(answer.status_code)
    assert {201, 422} <= seen


@pytest.mark.parametrize("form", ["csv", "ndjson", "xlsx"])
def test_what_was_exported_can_be_imported(client: httpx.Client, form: str) -> None:
    for table, columns in TABLES.items():
        known = {"fields": ",".join(sorted(columns)), "filter[id]": 1}
        path = f"/shop/kinds/{table}"
        before = client.get(path, params={**known, "sort": "id"}).json()["data"]["items"]
        file = client.get(f"{path}/export", params={**known, "format": form})
        kind = file.headers["content-type"]
        made = client.post(f"{path}/import", content=file.content, headers={"Content-Type": kind})
        assert made.status_code == 200 and made.json()["data"]["created"] == 1, (table, made.text)
        last = client.get(path, params={"fields": known["fields"], "sort": "-id", "page_size": 1}).json()["data"][
            "items"
        ]
        assert {n: (last[0][n], before[0][n]) for n in columns if last[0][n] != before[0][n]} == {}
