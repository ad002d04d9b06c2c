"""Files of any length go through in the same memory, and a caller who leaves or dawdles holds nothing up."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from engine.testing.harness import Live
from tests.calls import soon
from tests.engine.exchange.conftest import WARES, Trader

MIB = 1 << 20
HEAD = b"title,code,amount,price,born,at,note\r\n"


def lines(count: int) -> Iterator[bytes]:
    """A CSV file, in parts."""
    yield HEAD
    for start in range(0, count, 1000):
        rows = (
            f"Ware {i},C{i},{i},{i}.25,2024-01-01,2024-01-01T00:00:00Z,text {i}\r\n" for i in range(start, start + 1000)
        )
        yield "".join(rows).encode()


def fill(trader: Trader, count: int) -> None:
    """Rows put straight into the database."""
    text = (
        "insert into stall.wares (id, tenant_id, title, kind, amount, ready, tags, is_active, version, created_at, updated_at)"
        " select gen_random_uuid(), $1::uuid, 'Ware ' || i, 'new', i, true, '[]', true, 1, now(), now()"
        " from generate_series(1, $2::int) i"
    )
    trader.live.run_sql("tenants", text, trader.tenant.id, count, tenant=trader.tenant.id)


def exported(trader: Trader, form: str) -> tuple[int, int]:
    """How many lines an export has, and by how much the process grew meanwhile."""
    process = psutil.Process()
    before = most = process.memory_info().rss
    found = 0
    with trader.client.stream("GET", f"{WARES}/export?format={form}") as answer:
        assert answer.status_code == 200
        for part in answer.iter_raw():
            found += part.count(b"\n")
            most = max(most, process.memory_info().rss)
    return found, most - before


def imported(trader: Trader, count: int) -> int:
    """By how much the process grew while it took a file."""
    process = psutil.Process()
    before = most = process.memory_info().rss

    def watched() -> Iterator[bytes]:
        nonlocal most
        for part in lines(count):
            most = max(most, process.memory_info().rss)
            yield part

    headers = {"Content-Type": "text/csv"}
    answer = trader.client.post(f"{WARES}/import", content=watched(), headers=headers, timeout=3600)
    report = answer.json()["data"]
    if answer.status_code == 202:
        place = answer.headers["location"]
        while (told := trader.client.get(place).json()["data"])["ended_at"] is None:
            most = max(most, process.memory_info().rss)
            time.sleep(0.1)
        report = told["report"]
    assert answer.status_code in (200, 202) and report["created"] == count, answer.text
    return max(most, process.memory_info().rss) - before


def test_two_hundred_thousand_rows_out(here: Trader) -> None:
    fill(here, 200_000)
    exported(here, "csv")
    for form, extra in (("csv", 1), ("ndjson", 0)):
        count, grown = exported(here, form)
        assert count == 200_000 + extra
        assert grown < 32 * MIB


def test_twenty_thousand_rows_in(here: Trader, there: Trader) -> None:
    imported(there, 1000)
    assert imported(here, 20_000) < 32 * MIB
    found = here.client.get(f"{WARES}?filter[amount]=19999").json()["data"]["items"]
    assert [row["code"] for row in found] == ["C19999"]


@pytest.mark.slow
def test_a_million_rows_both_ways(here: Trader) -> None:
    assert imported(here, 1_000_000) < 64 * MIB
    for form in ("csv", "ndjson"):
        count, grown = exported(here, form)
        assert count >= 1_000_000 and grown < 32 * MIB


def idle(trader: Trader) -> int:
    """Exports that wait for their caller."""
    text = "select count(*) as n from pg_stat_activity where state = 'idle in transaction' and query like 'FETCH%'"
    return int(trader.live.run_sql("tenants", text, tenant=trader.tenant.id)[0]["n"])


def test_a_caller_who_leaves_holds_no_connection(stall: Live, here: Trader) -> None:
    fill(here, 100_000)
    place = urlsplit(stall.url)
    token = here.client.headers["Authorization"]
    with socket.create_connection((place.hostname, place.port)) as raw:
        request = f"GET {WARES}/export?format=ndjson HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n"
        raw.sendall(request.encode())
        assert raw.recv(1000).startswith(b"HTTP/1.1 200")
        # he reads no more; the database waits with him, longer than a statement may take
        assert soon(lambda: idle(here) == 1)
        time.sleep(6.5)
        assert idle(here) == 1
    assert soon(lambda: idle(here) == 0)


def test_half_an_answer_is_not_taken_for_the_whole(stall: Live, here: Trader) -> None:
    fill(here, 100_000)
    stop = "select pg_terminate_backend(pid) from pg_stat_activity where query like 'FETCH%' and state <> 'active'"
    with (
        pytest.raises(httpx.RemoteProtocolError),
        here.client.stream("GET", f"{WARES}/export?format=ndjson") as answer,
    ):
        for place, _ in enumerate(answer.iter_raw()):
            if place == 0:
                assert soon(lambda: stall.run_sql("tenants", stop, tenant=here.tenant.id))
