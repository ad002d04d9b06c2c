"""SIGTERM: `cxg serve` takes nothing new, finishes what is in flight, waits for nobody who has stopped talking, and is gone."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import httpx
import pytest

from engine.testing.harness import Live, prepare, settings_for_tests
from tests.calls import soon
from tests.engine.test_wire import Line, posting

ROLES = "/manager/idam/roles"
LONGEST = 15.0


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Databases that nobody serves."""
    system = prepare(settings_for_tests(tmp_path_factory.mktemp("stopping")))
    yield Live(system, "")
    assert system.server is not None
    system.server.stop()


@contextmanager
def serving(live: Live, workers: int) -> Iterator[tuple[subprocess.Popen[bytes], Live]]:
    """`cxg serve` over the databases, in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = {
        "CXG_COMMAND_TIMEOUT": "60",
        "CXG_DATA": str(live.system.settings.data),
        "CXG_BCRYPT_ROUNDS": "4",
        "CXG_ADMIN_PASSWORD": "Test-Password-1",
    }
    command = [sys.executable, "-m", "engine", "serve", "--no-demo", "--port", str(port), "--workers", str(workers)]
    process = subprocess.Popen(command, env={**os.environ, **said}, stderr=subprocess.DEVNULL)
    try:
        running = Live(live.system, f"http://127.0.0.1:{port}")
        soon(lambda: answers(running), 60)
        yield process, running
    finally:
        process.kill()
        process.wait()


def answers(live: Live) -> bool:
    try:
        return httpx.get(f"{live.url}/health/live", timeout=5).status_code == 200
    except httpx.TransportError:
        time.sleep(0.1)
        return False


@contextmanager
def locked_role(live: Live) -> Iterator[str]:
    """A role that nobody can write."""
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(live.system.places["manager"].owner, ssl=False))
        runner.run(connection.execute("begin"))
        key = runner.run(connection.fetchval("select id::text from idam.roles limit 1 for update"))
        yield str(key)
        runner.run(connection.close())


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_in_flight_ends_well_and_nothing_else_is_waited_for(prepared: Live, workers: int) -> None:
    with serving(prepared, workers) as (process, live), locked_role(live) as locked:
        body = b'{"code": "STOP%d", "name": "Stopping"}' % workers
        head = posting(live) + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        lines = [Line(live) for _ in range(5)]
        flying, idle, silent, stuck, waiting = lines
        idle.say(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.hear().status == 200
        silent.say(b"GET /hea")
        flying.say(head + body[:10])
        stuck.say(head + body[:10])
        change = posting(live, f"{ROLES}/{locked}").replace(b"POST", b"PATCH", 1)
        waiting.say(change + b"Content-Length: 15\r\n\r\n" + b'{"name": "New"}')
        time.sleep(0.3)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        soon(lambda: not answers(live), 5)  # the parent of workers looks twice a second
        flying.say(body[10:])
        answer = flying.hear_all()
        assert answer.status == 201 and answer.headers["connection"] == "close"
        assert idle.hear().status == silent.hear().status == 0
        # who says nothing more, and who waits for what does not come, is told in the envelope
        assert [stuck.hear_all().code, waiting.hear_all().code] == ["request_timeout", "outcome_unknown"]
        assert process.wait(LONGEST + 5) == 0
        assert time.monotonic() - began <= LONGEST
        for line in lines:
            line.socket.close()
    with serving(prepared, 1) as (process, live):
        client = live.signed_in("admin@example.com")
        found = client.get(ROLES, params={"filter[code]": f"STOP{workers}"}).json()["data"]
        client.close()
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert found["total"] == 1 and process.wait(LONGEST) == 0
        assert time.monotonic() - began < 5  # nobody is there
