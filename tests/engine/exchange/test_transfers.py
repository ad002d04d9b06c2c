"""Imports and exports that go on after their answer, over HTTP: how they are told of, ended, kept from others, and survived."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from engine.clock import CLOCK
from engine.main import System
from engine.testing.harness import Live, served, serving, settings_for_tests
from engine.transfers import carrier, ledger
from tests.calls import soon
from tests.engine.exchange.conftest import WARES, Trader, trader

LETTERS = "/stall/stall/letters"
REGISTRIES = ["registry", "tests.engine.exchange.stall"]
THRESHOLD = 50
LATER = "respond-async"
REPORT = ["created", "errors", "failed", "faults", "rows", "skipped", "updated"]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server that takes short files for long ones."""
    settings = settings_for_tests(tmp_path_factory.mktemp("desk"), async_rows=THRESHOLD)
    with serving(settings, REGISTRIES) as live:
        yield live


@pytest.fixture
def ann(desk: Live) -> Trader:
    return trader(desk)


def lines(count: int, first: str = "") -> str:
    """A file of so many rows."""
    return "title,code\n" + first + "".join(f"Ware {i},C-{i}\n" for i in range(count - bool(first)))


def state(client: httpx.Client, place: str) -> dict[str, Any]:
    answer = client.get(place)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()["data"]
    assert ("retry-after" in answer.headers) == (told["state"] in ("queued", "running"))
    return told


def ended(client: httpx.Client, answer: httpx.Response) -> dict[str, Any]:
    """What a transfer that was just taken tells when it is over."""
    assert answer.status_code == 202, answer.text
    place, first = answer.headers["location"], answer.json()["data"]
    assert first["state"] == "queued" and place.endswith(first["id"]) and answer.headers["retry-after"] == "1"
    told: dict[str, Any] = soon(lambda: (now := state(client, place))["ended_at"] and now)
    return told


def count(live: Live, who: Trader, table: str, condition: str = "true", *values: Any) -> int:
    text = f"select count(*) as n from {table} where {condition}"
    return int(live.run_sql("tenants", text, *values, tenant=who.tenant.id)[0]["n"])


@contextmanager
def held(live: Live, who: Trader, code: str) -> Iterator[None]:
    """A transaction of somebody else holds a unique key, so that an import of it waits."""
    text = (
        "insert into stall.wares (id, tenant_id, title, code, kind, amount, ready, tags, is_active, version, created_at,"
        " updated_at) values (gen_random_uuid(), $1, 'held', $2, 'new', 1, true, '[]', true, 1, now(), now())"
    )

    async def take() -> Any:
        connection = await asyncpg.connect(live.system.places["tenants"].runtime, ssl=False)
        await connection.fetch("select set_config('app.tenant_id', $1, false)", str(who.tenant.id))
        await connection.execute("begin")
        await connection.fetch(text, who.tenant.id, code)
        return connection

    with asyncio.Runner() as runner:
        connection = runner.run(take())
        try:
            yield
        finally:
            runner.run(connection.close())


# -- imports


def test_a_long_file_is_taken_and_told_of_until_it_is_there(desk: Live, ann: Trader) -> None:
    answer = ann.bring(lines(60))
    assert "preference-applied" not in answer.headers
    told = ended(ann.client, answer)
    assert (told["state"], told["kind"], told["entity"]) == ("done", "import", "stall/stall/wares")
    assert (told["rows"], told["total"], told["error"], told["file"]) == (60, 60, None, None)
    assert sorted(told["report"]) == REPORT and (told["report"]["rows"], told["report"]["created"]) == (60, 60)
    assert count(desk, ann, "stall.wares") == 60
    log = desk.catalog.roles["stall", "change_log"].table.fullname
    assert count(desk, ann, log, "action = 'create' and actor_id = $1", ann.principal.user_id) == 60
    asked = {
        row["id"]: row["request_id"]
        for row in ann.client.get(f"{WARES}/{ann.rows()[0]['id']}/history").json()["data"]["items"]
    }
    assert set(asked.values()) == {answer.headers["x-request-id"]}


def test_a_short_file_is_answered_at_once_unless_asked(ann: Trader) -> None:
    assert ann.bring(lines(THRESHOLD)).status_code == 200
    answer = ann.bring("title\na", prefer=LATER)
    assert answer.headers["preference-applied"] == LATER
    assert ended(ann.client, answer)["report"]["created"] == 1


@pytest.mark.parametrize("form", ["csv", "ndjson", "xlsx"])
def test_rows_are_counted_in_every_format(ann: Trader, form: str) -> None:
    ann.make(*({"title": f"t{i}"} for i in range(60)))
    file = ann.export(form, "fields=title").content
    told = ended(ann.client, ann.bring(file, form))
    assert (told["state"], told["rows"], told["total"]) == ("done", 60, 60)


def test_all_or_nothing_is_said_in_the_report(desk: Live, ann: Trader) -> None:
    told = ended(ann.client, ann.bring(lines(60, first=",X-1\n")))
    assert (told["state"], told["error"]["code"], told["error"]["details"]) == ("failed", "validation_error", [])
    assert told["error"]["message"].startswith("1 of 60 rows do not fit") and told["error"]["request_id"]
    assert [(e["row"], e["field"], e["code"]) for e in told["report"]["errors"]] == [(2, "title", "required")]
    assert count(desk, ann, "stall.wares") == 0


def test_what_cannot_be_read_is_an_error(ann: Trader) -> None:
    told = ended(ann.client, ann.bring("nonsense\na\n", prefer=LATER))
    assert (told["state"], told["report"]) == ("failed", None)
    assert [(d["field"], d["code"]) for d in told["error"]["details"]] == [("nonsense", "unknown_field")]


@pytest.mark.parametrize(("prefer", "stays"), [("each", 59), ("dry-run", 0)])
def test_preferences_hold_afterwards(desk: Live, ann: Trader, prefer: str, stays: int) -> None:
    answer = ann.bring(lines(60, first=",X-1\n"), prefer=prefer)
    assert answer.headers["preference-applied"] == prefer
    told = ended(ann.client, answer)
    assert (told["state"], told["report"]["created"], told["report"]["failed"]) == ("done", 59, 1)
    assert count(desk, ann, "stall.wares") == stays


def test_a_key_makes_it_happen_once(desk: Live, ann: Trader) -> None:
    headers = {"Content-Type": "text/csv", "Idempotency-Key": str(CLOCK.new_id())}
    first, again = (ann.client.post(f"{WARES}/import", content=lines(60), headers=headers) for _ in range(2))
    assert first.content == again.content and first.headers["location"] == again.headers["location"]
    assert again.headers["idempotent-replayed"] == "true"
    assert ended(ann.client, first)["state"] == "done"
    assert count(desk, ann, "stall.wares") == 60 and count(desk, ann, "public.cxg_transfers_stall") == 1


def test_permissions_count_before_the_answer(ann: Trader) -> None:
    reader = ann.but(permissions=frozenset({"stall.wares.read"}))
    assert reader.bring(lines(60)).status_code == 403
    clerk = ann.but(permissions=frozenset({"stall.wares.create"}))
    assert clerk.bring(lines(60), query="mode=upsert&on=code").status_code == 403


# -- exports


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_an_export_waits_for_its_caller(desk: Live, ann: Trader, form: str) -> None:
    ann.make(*({"title": f"t{i}", "note": "=1"} for i in range(60)))
    query = "sort=-title&fields=title,note&filter[title][ne]=t0"
    answer = ann.client.get(f"{WARES}/export?format={form}&{query}", headers={"Prefer": LATER})
    assert answer.headers["preference-applied"] == LATER
    told = ended(ann.client, answer)
    assert (told["state"], told["kind"], told["rows"], told["total"]) == ("done", "export", 59, 59)
    file, direct = ann.client.get(told["file"]), ann.export(form, query)
    assert file.content == direct.content and told["size"] == len(file.content)
    for name in ("content-type", "content-disposition", "cache-control"):
        assert file.headers[name] == direct.headers[name]
    log = desk.catalog.roles["stall", "change_log"].table.fullname
    assert count(desk, ann, log, "action = 'export' and actor_id = $1", ann.principal.user_id) == 2
    # one who may no longer read has no file
    lost = desk.lend(ann.principal.__class__(ann.principal.user_id, tenant=ann.tenant))
    assert lost.get(told["file"]).status_code == 403


def test_what_is_encrypted_at_home_is_encrypted_while_it_waits(desk: Live, ann: Trader) -> None:
    ann.make({"user_id": str(CLOCK.new_id()), "text": "Dear Jane Canary"}, path=LETTERS)
    told = ended(ann.client, ann.client.get(f"{LETTERS}/export?format=ndjson", headers={"Prefer": LATER}))
    assert "Dear Jane Canary" in ann.client.get(told["file"]).text
    parts = desk.run_sql("tenants", "select part from public.cxg_transfer_parts_stall", tenant=ann.tenant.id)
    assert len(parts) == 1 and parts[0]["part"].startswith("v2:")


def test_a_long_export_is_kept_in_parts(desk: Live, ann: Trader) -> None:
    text = (
        "insert into stall.wares (id, tenant_id, title, note, kind, amount, ready, tags, is_active, version, created_at,"
        " updated_at) select gen_random_uuid(), $1::uuid, 'W' || i, repeat('x', 100), 'new', i, true, '[]', true, 1, now(),"
        " now() from generate_series(1, 20000) i"
    )
    desk.run_sql("tenants", text, ann.tenant.id, tenant=ann.tenant.id)
    told = ended(ann.client, ann.client.get(f"{WARES}/export?format=csv&sort=amount", headers={"Prefer": LATER}))
    file = ann.client.get(told["file"])
    assert file.content.count(b"\r\n") == 20_001 and int(file.headers["content-length"]) == told["size"]
    assert count(desk, ann, "public.cxg_transfer_parts_stall") > 3


# -- who may know, and how long


def test_others_know_nothing_of_it(desk: Live, ann: Trader) -> None:
    ann.make({"title": "a"})
    told = ended(ann.client, ann.client.get(f"{WARES}/export", headers={"Prefer": LATER}))
    place = f"/stall/_transfers/{told['id']}"
    colleague, stranger = ann.but(everything=True), trader(desk)
    absent = place[:-1] + ("0" if place[-1] != "0" else "1")
    for client, address in ((colleague.client, place), (stranger.client, place), (ann.client, absent)):
        for method, tail in (("GET", ""), ("GET", "/file"), ("DELETE", "")):
            answer = client.request(method, address + tail)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert httpx.get(desk.url + place).status_code == 401
    assert desk.client("manager").get(place).status_code == 403
    assert ann.client.get(f"/nowhere/_transfers/{told['id']}").status_code == 404
    assert ann.client.get("/stall/_transfers/x").status_code == 404
    assert ann.client.post(place).status_code == 405
    assert ann.client.get(f"{place}?a=1").status_code == 400
    assert ann.client.get(place).status_code == 200


def test_what_is_over_can_be_forgotten_and_is_after_a_day(desk: Live, ann: Trader) -> None:
    ann.make({"title": "a"})
    wanted = {"Prefer": LATER}
    first = ended(ann.client, ann.client.get(f"{WARES}/export", headers=wanted))
    place = f"/stall/_transfers/{first['id']}"
    assert ann.client.delete(place).json()["data"]["state"] == "done"
    assert ann.client.get(place).status_code == ann.client.get(first["file"]).status_code == 404
    second = ended(ann.client, ann.client.get(f"{WARES}/export", headers=wanted))
    desk.run_sql("tenants", "update public.cxg_transfers_stall set expires_at = now()", tenant=ann.tenant.id)
    assert ann.client.get(second["file"]).status_code == 404
    assert count(desk, ann, "public.cxg_transfer_parts_stall") == 1
    third = ended(ann.client, ann.client.get(f"{WARES}/export", headers=wanted))
    kept = desk.run_sql("tenants", "select transfer_id from public.cxg_transfer_parts_stall", tenant=ann.tenant.id)
    assert [str(row["transfer_id"]) for row in kept] == [third["id"]]


# -- the end before the end


def test_a_caller_ends_what_runs(desk: Live, ann: Trader) -> None:
    with held(desk, ann, "C-55"):
        place = ann.bring(lines(60)).headers["location"]
        soon(lambda: state(ann.client, place)["state"] == "running")
        assert ann.client.delete(place).json()["data"]["state"] == "canceled"
        told = state(ann.client, place)
        assert (told["state"], told["report"], told["error"]) == ("canceled", None, None)
    assert count(desk, ann, "stall.wares") == 0
    # its place is free again
    assert ended(ann.client, ann.bring(lines(60)))["state"] == "done"


def test_another_process_ends_it_as_well(desk: Live, ann: Trader) -> None:
    with second(desk) as other, held(desk, ann, "C-55"):
        place = ann.bring(lines(60)).headers["location"]
        with other.lend(ann.principal) as elsewhere:
            soon(lambda: state(elsewhere, place)["state"] == "running")
            assert elsewhere.delete(place).status_code == 200
            assert state(elsewhere, place)["state"] == "canceled"
    soon(lambda: count(desk, ann, "pg_stat_activity", "wait_event_type = 'Lock'") == 0)
    assert count(desk, ann, "stall.wares") == 0


def test_too_many_at_once_are_refused(desk: Live, ann: Trader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrier, "MOST", 1)
    with held(desk, ann, "C-55"):
        place = ann.bring(lines(60)).headers["location"]
        answer = ann.bring(lines(60))
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limited")
        assert int(answer.headers["retry-after"]) > 0
        ann.client.delete(place)
    soon(lambda: ann.bring("title\na\n", prefer=LATER).status_code == 202)


def test_a_server_that_stops_says_so(desk: Live, ann: Trader) -> None:
    with held(desk, ann, "C-55"):
        with second(desk) as other, other.lend(ann.principal) as client:
            answer = client.post(f"{WARES}/import", content=lines(60), headers={"Content-Type": "text/csv"})
            place = answer.headers["location"]
            soon(lambda: state(client, place)["state"] == "running")
        told = state(ann.client, place)
        assert (told["state"], told["error"]["code"]) == ("failed", "interrupted")
    assert count(desk, ann, "stall.wares") == 0


@contextmanager
def mortal(live: Live) -> Iterator[str]:
    """A process that serves, and is killed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {"CXG_DATA": str(live.system.settings.data), "CXG_REGISTRIES": f'["{REGISTRIES[0]}", "{REGISTRIES[1]}"]'}
    command = [sys.executable, "-m", "uvicorn", "engine.main:create_app", "--factory", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--log-level", "error"], env={**os.environ, **own, "CXG_BCRYPT_ROUNDS": "4"}, cwd=Path.cwd()
    )
    try:
        soon(lambda: _answers(port), 60)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@contextmanager
def second(live: Live) -> Iterator[Live]:
    """One more server over the same databases."""
    system = System(live.system.settings)
    system.server = live.system.server
    system.locate()
    with served(system) as other:
        yield other


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_server_that_is_killed_is_missed(desk: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "LOST_SECONDS", 2.0)
    owner = desk.client("stall")
    tenant = desk.tenant(owner)
    who = Trader.__new__(Trader)
    who.tenant = trader(desk).tenant.__class__(tenant, "first")
    with held(desk, who, "C-55"):
        with mortal(desk) as url, httpx.Client(base_url=url, headers=owner.headers, timeout=30) as client:
            headers = {"Content-Type": "text/csv", "Prefer": LATER}
            place = client.post(f"{WARES}/import", content=lines(60), headers=headers).headers["location"]
            soon(lambda: state(client, place)["state"] == "running")
        told = soon(lambda: (now := state(owner, place))["ended_at"] and now)
        assert (told["state"], told["error"]["code"]) == ("failed", "interrupted")
        assert "nothing of it stays" in told["error"]["message"]
    assert count(desk, who, "stall.wares") == 0


def test_an_export_of_a_moment_that_is_over(ann: Trader) -> None:
    [row] = ann.make({"title": "before"})
    assert ann.client.patch(f"{WARES}/{row['id']}", json={"title": "after"}).status_code == 200
    query = f"as_of={row['updated_at'].replace('+', '%2B')}&fields=title&format=csv"
    told = ended(ann.client, ann.client.get(f"{WARES}/export?{query}", headers={"Prefer": LATER}))
    assert (told["state"], told["total"]) == ("done", 1), told["error"]
    assert ann.client.get(told["file"]).text == 'title\r\n"before"\r\n'
