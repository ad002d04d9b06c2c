"""Hooks over HTTP: every point fires for every operation, single and bulk; a bad hook rolls its request back alone."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator

import httpx
import pytest
import structlog

from engine.clock import CLOCK
from engine.hooks import Point
from engine.testing.harness import ADMIN, Live, serving, settings_for_tests
from tests.engine import recorder


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    settings = settings_for_tests(tmp_path_factory.mktemp("recorder"), hook_timeout=0.5)
    with serving(settings, ["registry", "tests.engine.recorder"]) as live:
        yield live


@pytest.fixture
def client(recording: Live) -> Iterator[httpx.Client]:
    recorder.seen.clear()
    recorder.mood.clear()
    yield recording.client("rec")
    recorder.mood.clear()


def points() -> list[tuple[str, int]]:
    return [entry for entry in recorder.seen if entry[0] != "any"]


def make(client: httpx.Client, title: str = "one") -> dict[str, str]:
    answer = client.post("/rec/rec/notes", json={"title": title})
    assert answer.status_code == 201, answer.text
    recorder.seen.clear()
    row: dict[str, str] = answer.json()["data"]
    return row


def test_create_runs_before_after_and_done_with_the_set(client: httpx.Client) -> None:
    assert client.post("/rec/rec/notes", json={"title": "a"}).json()["data"]["shout"] == "A"
    assert points() == [("before_create", 1), ("after_create", 1), ("done", 1)]
    recorder.seen.clear()
    answer = client.post("/rec/rec/notes", json=[{"title": "b"}, {"title": "c"}])
    assert [row["shout"] for row in answer.json()["data"]] == ["B", "C"]
    assert points() == [("before_create", 2), ("after_create", 2), ("done", 2)]


@pytest.mark.parametrize(
    ("verb", "tail", "body", "expected"),
    [
        ("PATCH", "", {"title": "x"}, "update"),
        ("PUT", "", {"title": "y"}, "update"),
        ("PATCH", "/status", {"status": "closed"}, "status"),
        ("DELETE", "", None, "delete"),
    ],
)
def test_changes_run_their_points(client: httpx.Client, verb: str, tail: str, body: object, expected: str) -> None:
    row = make(client)
    answer = client.request(verb, f"/rec/rec/notes/{row['id']}{tail}", json=body)
    assert answer.status_code == 200, answer.text
    assert points() == [(f"before_{expected}", 1), (f"after_{expected}", 1), ("done", 1)]


def test_every_point_is_met_by_some_operation(client: httpx.Client) -> None:
    met = {"before_create", "after_create", "done"}
    row = make(client)
    for verb, tail, body in (
        ("PATCH", "", {"title": "x"}),
        ("PATCH", "/status", {"status": "closed"}),
        ("DELETE", "", None),
    ):
        client.request(verb, f"/rec/rec/notes/{row['id']}{tail}", json=body)
        met |= {name for name, _ in points()}
    assert {point.value for point in Point} - met == set()


def test_a_refused_write_runs_no_hook(client: httpx.Client) -> None:
    row = make(client)
    for verb, tail, body, status in (
        ("PATCH", "", {"title": "x", "version": 9}, 409),
        ("PATCH", "/status", {"status": "held"}, 409),
        ("PATCH", "", {"shout": "x"}, 422),
    ):
        assert client.request(verb, f"/rec/rec/notes/{row['id']}{tail}", json=body).status_code == status
    assert points() == []


def test_a_number_is_given_on_entering_the_state_and_given_back_on_rollback(client: httpx.Client) -> None:
    rows = [make(client, f"n{i}") for i in range(3)]
    numbered = {"filter[number][isnull]": "false", "deleted": "include"}
    before = client.get("/rec/rec/notes", params=numbered).json()["data"]["total"]
    numbers = [
        client.patch(f"/rec/rec/notes/{row['id']}/status", json={"status": "closed"}).json()["data"]["number"]
        for row in rows
    ]
    prefix, year, first = numbers[0].split("-")
    assert prefix == "NOTE" and int(year) >= CLOCK.now().year and int(first) <= before + 1
    assert numbers == [f"NOTE-{year}-{int(first) + i:05d}" for i in range(3)]


def test_a_series_does_not_go_back_to_a_year_that_has_passed(recording: Live, client: httpx.Client) -> None:
    ahead = CLOCK.now().replace(month=3, day=1)
    numbers = []
    try:
        for year in (2041, 2040, 2041):
            row = make(client, f"in {year}")
            CLOCK.at(ahead.replace(year=year))
            with recording.signed_in(ADMIN) as then:
                answer = then.patch(f"/rec/rec/notes/{row['id']}/status", json={"status": "closed"})
            numbers.append(answer.json()["data"]["number"])
            CLOCK.at(None)
    finally:
        CLOCK.at(None)
    assert numbers == ["NOTE-2041-00001", "NOTE-2041-00002", "NOTE-2041-00003"]


@pytest.mark.parametrize(
    ("mood", "status", "code"),
    [("refuses", 409, "bad_mood"), ("fails", 500, "internal_error"), ("hangs", 504, "hook_timeout")],
)
def test_a_bad_hook_rolls_back_its_request_alone(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, mood: str, status: int, code: str
) -> None:
    log = io.StringIO()
    monkeypatch.setattr("engine.observe.LOG", structlog.wrap_logger(structlog.PrintLogger(log)))
    recorder.mood.update({"writes": True, mood: True})
    remarks = client.get("/rec/rec/remarks").json()["data"]["total"]
    began = time.monotonic()
    answer = client.post("/rec/rec/notes", json={"title": f"doomed {mood}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert "secret-value" not in answer.text and time.monotonic() - began < 3
    assert status == 409 or "REC-" in log.getvalue()
    recorder.mood.clear()
    assert client.get("/rec/rec/notes", params={"filter[title]": f"doomed {mood}"}).json()["data"]["total"] == 0
    assert client.get("/rec/rec/remarks").json()["data"]["total"] == remarks
    assert client.post("/rec/rec/notes", json={"title": "after"}).status_code == 201


def test_what_a_hook_writes_is_audited_in_the_same_request(client: httpx.Client) -> None:
    recorder.mood["writes"] = True
    answer = client.post("/rec/rec/notes", json={"title": "written on"}, headers={"X-Request-Id": "hook-audit-1"})
    log = client.get(
        "/manager/audt/audit-logs", params={"filter[request_id]": "hook-audit-1", "sort": "entity"}
    ).json()["data"]
    assert [entry["entity"] for entry in log["items"]] == ["notes", "remarks"]
    assert log["items"][0]["entity_id"] == answer.json()["data"]["id"]


def test_soft_delete_cascades_and_clears(client: httpx.Client) -> None:
    one, two = make(client, "parent"), make(client, "witness")
    body = {"note_id": one["id"], "text": "child", "seen_by": two["id"]}
    child = client.post("/rec/rec/remarks", json=body).json()["data"]
    assert client.delete(f"/rec/rec/notes/{two['id']}").status_code == 200
    assert client.get(f"/rec/rec/remarks/{child['id']}").json()["data"]["seen_by"] is None
    assert client.delete(f"/rec/rec/notes/{one['id']}").status_code == 200
    assert client.get(f"/rec/rec/remarks/{child['id']}").status_code == 404
    history = client.get(f"/rec/rec/remarks/{child['id']}/history").json()["data"]["items"]
    assert [entry["action"] for entry in history] == ["delete", "update", "create"]
    assert history[1]["changes"]["seen_by"] == [two["id"], None]
