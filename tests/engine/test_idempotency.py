"""`Idempotency-Key`: a write that comes twice has one effect and one answer, whoever dies in between."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from engine.clock import CLOCK
from engine.testing.harness import PASSWORD, Live, prepare, serving, settings_for_tests
from engine.types import Principal
from tests.calls import freeze, soon
from tests.engine import tills

__all__ = ["freeze"]

SALES, TAGS, DRAWERS = "/till/till/sales", "/till/till/tags", "/till/till/drawers"
REGISTRIES = ["registry", "tests.engine.tills"]
TABLE = "public.cxg_idempotency_till"
Body = dict[str, Any]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with serving(settings_for_tests(tmp_path_factory.mktemp("tills")), REGISTRIES) as live:
        yield live


@pytest.fixture
def client(shop: Live) -> httpx.Client:
    tills.done.clear()
    return shop.client("till")


def keyed(key: str = "") -> dict[str, str]:
    """The header; without a key, with a fresh one."""
    return {"Idempotency-Key": key or str(uuid4())}


def make(client: httpx.Client, path: str = SALES, **values: Any) -> Body:
    answer = client.post(path, json={"memo": "a row", **values})
    assert answer.status_code == 201, answer.text
    row: Body = answer.json()["data"]
    return row


def counted(live: Live, condition: str, *values: Any, table: str = "till.sales") -> int:
    return int(live.run_sql("manager", f"select count(*) as n from {table} where {condition}", *values)[0]["n"])


def same(first: httpx.Response, again: httpx.Response) -> None:
    """Byte for byte, and said."""
    assert (first.status_code, first.content) == (again.status_code, again.content), again.text
    for name in ("etag", "location", "content-type", "content-length", "preference-applied"):
        assert first.headers.get(name) == again.headers.get(name), name
    assert "idempotent-replayed" not in first.headers and again.headers["idempotent-replayed"] == "true"


def code(answer: httpx.Response) -> str:
    return f"{answer.status_code}:{answer.json()['error']['code']}"


# -- one caller, one request after another


@pytest.mark.parametrize("path", [SALES, TAGS])
def test_each_write_is_done_once_and_answered_alike(shop: Live, client: httpx.Client, path: str) -> None:
    """With rules and without; each step would be refused or leave a trace if it were done twice."""
    created = keyed()
    first = client.post(path, json={"memo": "one"}, headers=created)
    same(first, client.post(path, json={"memo": "one"}, headers=created))
    where = first.headers["location"]
    steps: list[tuple[str, str, Any]] = [
        ("PATCH", where, {"clerk": "ann", "version": 1}),
        ("PUT", where, {"memo": "two", "version": 2}),
        ("PATCH", f"{where}/status", {"status": "paid" if path == SALES else "inactive"}),
    ]
    for number, (method, target, body) in enumerate(steps):
        header = keyed()
        changed = client.request(method, target, json=body, headers=header)
        assert changed.status_code == 200, changed.text
        same(changed, client.request(method, target, json=body, headers=header))
        assert client.get(f"{where}?deleted=include").json()["data"]["version"] == number + 2
    row, header = make(client, path), keyed()
    gone = client.delete(f"{path}/{row['id']}", headers=header)
    same(gone, client.delete(f"{path}/{row['id']}", headers=header))
    assert client.delete(f"{path}/{row['id']}").status_code == 404


def test_a_list_and_a_minimal_answer_come_again_as_they_were(shop: Live, client: httpx.Client) -> None:
    header, rows = keyed(), [{"memo": "of a list"}, {"memo": "of a list"}]
    same(client.post(SALES, json=rows, headers=header), client.post(SALES, json=rows, headers=header))
    assert counted(shop, "memo = 'of a list'") == 2
    where, header = f"{SALES}/{make(client)['id']}", keyed()
    short = client.patch(where, json={"memo": "x"}, headers={**header, "Prefer": "return=minimal"})
    assert short.status_code == 204
    same(short, client.patch(where, json={"memo": "x"}, headers=header))


def test_writes_of_sets_are_done_once(shop: Live, client: httpx.Client) -> None:
    """Each item by itself, the rows of a filter, a file: whatever handler writes, one transaction and one answer."""
    memo, header = str(uuid4()), keyed()
    wanted = {**header, "Prefer": "each"}
    rows = [{"memo": memo}, {"memo": "x" * 500}, {"memo": memo}]
    each = client.post(TAGS, json=rows, headers=wanted)
    assert [item["status"] for item in each.json()["data"]] == [201, 422, 201]
    same(each, client.post(TAGS, json=rows, headers=wanted))
    assert counted(shop, "memo = $1", memo, table="till.tags") == 2
    wanted = {**keyed(), "Prefer": "max-affected=5"}
    where = f"{TAGS}?filter[memo]={memo}"
    set_based = client.patch(where, json={"clerk": "ann"}, headers=wanted)
    assert set_based.json()["data"] == {"count": 2}
    same(set_based, client.patch(where, json={"clerk": "ann"}, headers=wanted))
    assert {row["version"] for row in client.get(where).json()["data"]["items"]} == {2}
    assert code(client.patch(f"{where}&filter[clerk]=x", json={"clerk": "ann"}, headers=wanted)).startswith("422")


def test_hooks_after_the_commit_run_once(client: httpx.Client) -> None:
    header = keyed()
    for _ in range(3):
        client.post(SALES, json={"memo": "once"}, headers=header)
    assert tills.done == ["once"]


def test_a_key_belongs_to_one_request(shop: Live, client: httpx.Client) -> None:
    row = make(client)
    header, where = keyed(), f"{SALES}/{row['id']}"
    assert client.patch(where, json={"memo": "x"}, headers=header).status_code == 200
    others = [
        client.patch(where, json={"memo": "y"}, headers=header),
        client.put(where, json={"memo": "x"}, headers=header),
        client.patch(f"{SALES}/{make(client)['id']}", json={"memo": "x"}, headers=header),
        client.post(TAGS, json={"memo": "x"}, headers=header),
        client.delete(f"{where}?version=2", headers=header),
    ]
    assert {code(answer) for answer in others} == {"422:idempotency_key_reused"}
    assert client.get(where).json()["data"]["version"] == 2


@pytest.mark.parametrize("key", ["", "ä", "with space", "x" * 256])
def test_what_is_no_key_is_refused(client: httpx.Client, key: str) -> None:
    answer = client.post(TAGS, json={"memo": "x"}, headers=[(b"Idempotency-Key", key.encode())])
    assert code(answer) == "400:bad_request"
    twice = client.post(TAGS, json={"memo": "x"}, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "a")])
    assert code(twice) == "400:bad_request"


def test_a_refusal_is_not_kept(shop: Live, client: httpx.Client) -> None:
    """What stood in the way is gone: the same request with the same key is tried again."""
    other, header = make(client, place=5), keyed()
    body = {"memo": "wants a place", "place": 5}
    assert code(client.post(SALES, json=body, headers=header)) == "409:duplicate"
    assert code(client.post(SALES, json=body, headers=header)) == "409:duplicate"
    assert client.patch(f"{SALES}/{other['id']}", json={"place": None}).status_code == 200
    first = client.post(SALES, json=body, headers=header)
    assert first.status_code == 201
    same(first, client.post(SALES, json=body, headers=header))


def test_a_rehearsal_uses_up_no_key(shop: Live, client: httpx.Client) -> None:
    header, before = keyed(), counted(shop, "true", table=TABLE)
    rehearsed = client.post(SALES, json={"memo": "x"}, headers={**header, "Prefer": "dry-run"})
    assert rehearsed.status_code == 201 and counted(shop, "true", table=TABLE) == before
    real = client.post(SALES, json={"memo": "x"}, headers=header)
    assert real.json()["data"]["id"] != rehearsed.json()["data"]["id"] and "idempotent-replayed" not in real.headers


# -- callers and tenants


def test_a_key_is_its_callers_own(shop: Live, client: httpx.Client) -> None:
    header, body = keyed(), {"memo": "of two callers"}
    other = shop.lend(Principal(user_id=uuid4(), everything=True))
    first, second = client.post(SALES, json=body, headers=header), other.post(SALES, json=body, headers=header)
    assert first.json()["data"]["id"] != second.json()["data"]["id"]
    same(second, other.post(SALES, json=body, headers=header))


def test_a_key_is_its_tenants_own_and_behind_its_wall(shop: Live) -> None:
    mine, theirs = shop.client("tenants"), shop.other_tenant()
    key = str(uuid4())
    person = uuid4()  # the same caller in two tenants
    lent = [shop.lend(Principal(person, tenant=_place(shop, client), everything=True)) for client in (mine, theirs)]
    answers = [
        caller.post("/tenants/sys/roles", json={"code": "KEYED", "name": "Role"}, headers=keyed(key)) for caller in lent
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert all("idempotent-replayed" not in answer.headers for answer in answers)
    for caller, first in zip(lent, answers, strict=True):
        again = caller.post("/tenants/sys/roles", json={"code": "KEYED", "name": "Role"}, headers=keyed(key))
        same(first, again)
    asked = "select tenant_id from public.cxg_idempotency_tenants where key = $1"
    assert shop.run_sql("tenants", asked, key) == []  # not even the owner sees one
    for client in (mine, theirs):
        rows = shop.run_sql("tenants", asked, key, tenant=shop.tenant(client))
        assert [UUID(str(row["tenant_id"])) for row in rows] == [shop.tenant(client)]


def _place(live: Live, client: httpx.Client) -> Any:
    from engine.types import TenantRef

    return TenantRef(live.tenant(client), "some")


# -- what is kept, and how long


def test_what_is_shown_once_comes_again_and_is_not_kept_in_clear(shop: Live, client: httpx.Client) -> None:
    header = keyed()
    first = client.post(DRAWERS, json={"memo": "secret"}, headers=header)
    assert first.json()["data"]["pin"] == "pin-of-secret"
    same(first, client.post(DRAWERS, json={"memo": "secret"}, headers=header))
    [row] = shop.run_sql("manager", f"select * from {TABLE} where key = $1", header["Idempotency-Key"])
    assert "secret" not in "".join(str(value) for value in dict(row).values())


def test_an_answer_that_cannot_be_read_any_more_is_an_unknown_outcome(shop: Live, client: httpx.Client) -> None:
    """Its key of encryption is gone, or somebody put the answer of another request there."""
    headers = keyed(), keyed()
    for header in headers:
        client.post(DRAWERS, json={"memo": "x"}, headers=header)
    keys = [header["Idempotency-Key"] for header in headers]
    shop.run_sql(
        "manager",
        f"update {TABLE} a set answer = b.answer from {TABLE} b where a.key = $1 and b.key = $2 returning 1",
        *keys,
    )
    assert code(client.post(DRAWERS, json={"memo": "x"}, headers=headers[0])) == "503:outcome_unknown"
    assert client.post(DRAWERS, json={"memo": "x"}, headers=headers[1]).status_code == 201


def test_a_key_counts_for_a_day(shop: Live, freeze: Callable[[datetime | None], None]) -> None:
    caller = shop.lend(Principal(user_id=uuid4(), everything=True))
    header, began = keyed(), CLOCK.now()

    def post() -> httpx.Response:
        return caller.post(TAGS, json={"memo": "daily"}, headers=header)

    first = post()
    for _ in range(3):
        caller.post(TAGS, json={"memo": "old"}, headers=keyed())
    freeze(began + timedelta(hours=23, minutes=59))
    same(first, post())
    freeze(began + timedelta(hours=24, minutes=1))
    second = post()
    assert second.json()["data"]["id"] != first.json()["data"]["id"]
    same(second, post())
    # each new answer takes some of the old ones away
    for _ in range(3):
        caller.post(TAGS, json={"memo": "new"}, headers=keyed())
    limit = "created_at < $1::timestamptz"
    assert counted(shop, limit, began + timedelta(minutes=1), table=TABLE) == 0


# -- at once


def test_while_the_first_is_on_its_way_the_second_is_told_so(shop: Live, client: httpx.Client) -> None:
    header = keyed()
    found: list[httpx.Response] = []

    def post() -> httpx.Response:
        return httpx.post(
            f"{shop.url}{SALES}",
            json={"memo": "slow"},
            headers={**header, "Authorization": client.headers["Authorization"]},
        )

    tills.waiting.clear()
    thread = threading.Thread(target=lambda: found.append(post()))
    thread.start()
    soon(lambda: tills.waiting)
    second = post()
    thread.join()
    assert code(second) == "409:idempotency_in_progress" and second.headers["retry-after"] == "1"
    assert found[0].status_code == 201
    same(found[0], post())
    assert counted(shop, "memo = 'slow'") == 1


def crowd(shop: Live, keys: list[str], times: int) -> dict[str, list[httpx.Response]]:
    """The answers to each key, sent so many times at once from two threads."""
    token = shop.client("till").headers["Authorization"]
    answers: dict[str, list[httpx.Response]] = {key: [] for key in keys}

    async def send(share: int) -> None:
        limits = httpx.Limits(max_connections=20)
        async with httpx.AsyncClient(base_url=shop.url, limits=limits, timeout=60) as client:

            async def one(key: str) -> None:
                given = {"Authorization": token, "Idempotency-Key": key}
                answers[key].append(await client.post(SALES, json={"memo": key}, headers=given))

            for start in range(0, len(keys), 4):
                await asyncio.gather(*(one(key) for key in keys[start : start + 4] for _ in range(share)))

    shares = (times // 2, times - times // 2)
    threads = [threading.Thread(target=lambda share=share: asyncio.run(send(share))) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_of_duplicates_at_once_one_has_its_effect(shop: Live, client: httpx.Client, count: int) -> None:
    keys = [f"{uuid4()}" for _ in range(count)]
    answers = crowd(shop, keys, 5)
    seen: Counter[str] = Counter()
    for key in keys:
        assert len(answers[key]) == 5
        done = [answer for answer in answers[key] if answer.status_code == 201]
        firsts = [answer for answer in done if "idempotent-replayed" not in answer.headers]
        assert len(firsts) == 1 and {answer.content for answer in done} == {firsts[0].content}
        seen.update("201" if answer.status_code == 201 else code(answer) for answer in answers[key])
        same(firsts[0], client.post(SALES, json={"memo": key}, headers=keyed(key)))
    assert set(seen) <= {"201", "409:idempotency_in_progress"}, seen
    assert counted(shop, "memo = any($1::text[])", keys) == count
    assert counted(shop, "key = any($1::text[])", keys, table=TABLE) == count


# -- death


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Databases, and nobody who serves them."""
    settings = settings_for_tests(tmp_path_factory.mktemp("mortal")).model_copy(update={"registries": REGISTRIES})
    system = prepare(settings)
    yield Live(system, "")
    assert system.server is not None
    system.server.stop()


@contextmanager
def worker(live: Live, mark: Path) -> Iterator[Live]:
    """A process that serves, until it is killed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {"CXG_DATA": str(live.system.settings.data), "CXG_REGISTRIES": '["registry", "tests.engine.tills"]'}
    command = [sys.executable, "-m", "uvicorn", "engine.main:create_app", "--factory", "--port", str(port)]
    environment = {**os.environ, **own, "TILL_MARK": str(mark), "CXG_BCRYPT_ROUNDS": "4"}
    process = subprocess.Popen([*command, "--log-level", "error"], env=environment)
    try:
        serving_at = Live(live.system, f"http://127.0.0.1:{port}")
        soon(lambda: _is_live(serving_at.url), 60)
        yield serving_at
    finally:
        process.kill()
        process.wait()


def _is_live(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/live", timeout=5).status_code == 200
    except httpx.TransportError:
        time.sleep(0.1)
        return False


@pytest.mark.parametrize(("when", "stands"), [("before the commit", 0), ("after the commit", 1)])
def test_a_worker_that_dies_leaves_one_row_when_it_is_asked_again(
    mortal: Live, tmp_path: Path, when: str, stands: int
) -> None:
    """Between effect and answer, and before the effect."""
    header, body = keyed(), {"memo": f"dies {when}"}
    with worker(mortal, tmp_path / "dead") as first:
        client = first.signed_in("admin@example.com", PASSWORD)
        with pytest.raises(httpx.TransportError):
            client.post(SALES, json=body, headers=header)
        client.close()
    assert counted(mortal, "memo = $1", body["memo"]) == stands
    with worker(mortal, tmp_path / "dead") as second:
        client = second.signed_in("admin@example.com", PASSWORD)
        answers = [client.post(SALES, json=body, headers=header) for _ in range(2)]
        client.close()
    assert [answer.status_code for answer in answers] == [201, 201] and answers[0].content == answers[1].content
    assert ["idempotent-replayed" in answer.headers for answer in answers] == [bool(stands), True]
    assert counted(mortal, "memo = $1", body["memo"]) == 1
