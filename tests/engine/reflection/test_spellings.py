"""One value in several spellings, and values that JSON and Python have none of: read, asked for, and written back."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from engine.testing.harness import Live
from tests.engine.reflection.conftest import HERE, Database
from tests.engine.reflection.somebody import over
from tests.engine.reflection.test_write import code, data


@pytest.fixture(scope="module")
def url(database: Database) -> str:
    return database("spellings", (HERE / "spellings.sql").read_text())


@pytest.fixture(scope="module")
def spelt(live: Live, url: str) -> Iterator[Live]:
    with over(live, url, write=True) as running:
        yield running


@pytest.fixture
def client(spelt: Live) -> httpx.Client:
    return spelt.client("shop")


def test_a_stored_row_is_known_however_its_key_is_spelt(client: httpx.Client) -> None:
    path = "/shop/spell/moments"
    row = data(client.post(path, json={"at": "2026-01-31T10:00:00+02:00", "code": "A"}), 201)
    for at, on in (("2026-01-31T08:00:00Z", "at"), ("2026-01-31T09:00:00+01:00", "code"), (row["at"], "code")):
        assert data(client.post(f"{path}/upsert?on={on}", json={"at": at, "code": "A", "note": on})) == {
            **row,
            "note": on,
        }
    other = client.post(f"{path}/upsert?on=code", json={"at": "2026-01-31T08:00:01Z", "code": "A"})
    assert code(other) == (422, "validation_error", ["at"]) and "write_once" in other.text
    many = [{"at": "2026-01-31T08:00:00Z", "code": "A"}, {"code": "A2", "at": "2027-01-31T08:00:00Z"}]
    answers = data(client.post(f"{path}/upsert?on=code", json=many))
    assert [answer["status"] for answer in answers] == [200, 201]
    path = "/shop/spell/doubles"
    row = data(client.post(path, json={"at": "2026-01-31T10:00:00Z", "lapse": "PT90M", "n": "1.0", "code": "A"}), 201)
    same = {"at": "2026-01-31T11:00:00+01:00", "lapse": "PT1H30M", "n": "1.00", "code": "A", "note": "x"}
    for key in ("code", "at,lapse,n"):
        assert data(client.post(f"{path}/upsert?on={key}", json=same)) == {**row, "note": "x"}
    faults = code(client.post(f"{path}/upsert?on=code", json={**same, "lapse": "PT1H", "n": "1.01"}))
    assert faults == (422, "validation_error", ["lapse", "n"])


@pytest.mark.parametrize("form", ["csv", "ndjson", "xlsx"])
@pytest.mark.parametrize(
    ("table", "key", "row"),
    [
        ("moments", "at", {"at": "2026-02-01T10:00:00.5+00:00", "note": "n"}),
        ("stamps", "at,day,price", {"at": "2026-02-01T10:00:00", "day": "2026-02-01", "price": "-1234.50"}),
        ("prices", "price", {"price": "10", "note": "n"}),
    ],
)
def test_what_was_exported_comes_in_again_over_itself(
    client: httpx.Client, form: str, table: str, key: str, row: dict
) -> None:
    path = f"/shop/spell/{table}"
    assert client.post(f"{path}/upsert?on={key}", json=row).status_code in (200, 201)
    before = data(client.get(path))["items"]
    file = client.get(f"{path}/export", params={"format": form})
    kind = {"Content-Type": file.headers["content-type"]}
    done = data(client.post(f"{path}/import", params={"mode": "upsert", "on": key}, content=file.content, headers=kind))
    assert (done["created"], done["updated"]) == (0, len(before))
    assert data(client.get(path))["items"] == before


DAYS = ["infinity", "-infinity", "0044-03-15 BC", "12000-01-01", "2026-01-31"]


def test_rows_are_got_by_keys_that_python_has_no_values_for(client: httpx.Client) -> None:
    for day in DAYS:
        made = client.post("/shop/spell/ends", json={"day": day})
        row = data(made, 201)
        assert row["day"] == day and data(client.get(made.headers["location"])) == row
        assert data(client.patch(made.headers["location"], json={"note": "n"})) == {**row, "note": "n"}
        assert data(client.get("/shop/spell/ends", params={"filter[day]": day}))["items"] == [{**row, "note": "n"}]
        found = client.get("/shop/spell/ends", params={"filter[day][in]": f"{day},2000-01-01"})
        assert len(data(found)["items"]) == 1
    assert [row["day"] for row in data(client.get("/shop/spell/ends", params={"sort": "day"}))["items"]] == [
        *("-infinity", "0044-03-15 BC", "2026-01-31", "12000-01-01", "infinity")
    ]
    seen, cursor = [], {"page_size": 2, "sort": "-day", "count": "none"}
    while cursor:
        page = data(client.get("/shop/spell/ends", params=cursor))
        seen += [row["day"] for row in page["items"]]
        cursor = {"page_size": 2, "sort": "-day", "cursor": page["next_cursor"]} if page["next_cursor"] else {}
    assert seen == ["infinity", "12000-01-01", "2026-01-31", "0044-03-15 BC", "-infinity"]
    row = {"n": "NaN", "f": "-Infinity", "at": "0044-03-15T10:00:00+00:00 BC"}
    made = client.post("/shop/spell/numbers", json=row)
    assert data(made, 201) == row == data(client.get(made.headers["location"]))
    assert data(client.post("/shop/spell/numbers/upsert?on=n,f,at", json=row)) == row
    assert data(client.get("/shop/spell/numbers", params={"aggregate": "m:max(at),a:avg(f),s:sum(n)"}))["groups"] == [
        {"m": row["at"], "a": "-Infinity", "s": "NaN"}
    ]
    assert (
        client.post(
            "/shop/spell/numbers", content=b'{"n": NaN}', headers={"Content-Type": "application/json"}
        ).status_code
        == 400
    )
    # an address has no place for an empty key
    assert client.get("/shop/spell/words/").status_code == 404
    assert data(client.get("/shop/spell/words", params={"filter[word]": ""}))["total"] == 1


@pytest.mark.parametrize("form", ["csv", "ndjson", "xlsx"])
def test_values_beyond_come_in_as_they_went_out(client: httpx.Client, form: str) -> None:
    for table, key, rows in (
        ("ends", "day", [{"day": day, "note": "n"} for day in DAYS]),
        (
            "numbers",
            "n,f,at",
            [{"n": "Infinity", "f": "NaN", "at": "-infinity"}, {"n": "1", "f": 0.5, "at": "2026-01-01T00:00:00Z"}],
        ),
    ):
        path = f"/shop/spell/{table}"
        assert client.post(f"{path}/upsert?on={key}", json=rows).status_code == 200
        file = client.get(f"{path}/export", params={"format": form})
        before = data(client.get(path))["items"]
        kind = {"Content-Type": file.headers["content-type"]}
        done = data(
            client.post(f"{path}/import", params={"mode": "upsert", "on": key}, content=file.content, headers=kind)
        )
        assert (done["created"], done["updated"]) == (0, len(before))
        assert data(client.get(path))["items"] == before
