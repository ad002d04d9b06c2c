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
