"""A small load generator for machines without wrk: `python generator.py PORT PLAN SECONDS CONNECTIONS cycle|once`.

Keep-alive, no pipelining, requests rendered beforehand; prints one JSON line with times in microseconds."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PATIENCE = 10  # seconds to wait for the last answers


def read_plan(path: Path) -> list[bytes]:
    """The requests of a plan: each `<length>\\n<bytes>`."""
    raw, found, start = path.read_bytes(), [], 0
    while start < len(raw):
        end = raw.index(b"\n", start)
        length = int(raw[start:end])
        found.append(raw[end + 1 : end + 1 + length])
        start = end + 1 + length
    return found


class Load:
    """What all connections share: the plan, the time, the answers so far."""

    def __init__(self, plan: list[bytes], seconds: float, *, once: bool) -> None:
        self.plan, self.once = plan, once
        self.next = 0
        self.failed = 0
        self.times: list[float] = []
        self.began = time.perf_counter()
        self.until = self.began + seconds
        self.ended = self.began

    def request(self) -> bytes | None:
        """The next request, or None when the time or the plan is over."""
        if time.perf_counter() >= self.until or (self.once and self.next == len(self.plan)):
            return None
        self.next += 1
        return self.plan[(self.next - 1) % len(self.plan)]

    def summary(self) -> dict[str, float]:
        """Requests answered, seconds taken, failures, and the usual percentiles."""
        times = sorted(self.times) or [0.0]
        at = {f"p{share}": times[min(len(times) * share // 100, len(times) - 1)] * 1e6 for share in (50, 99)}
        return {"requests": len(self.times), "seconds": self.ended - self.began, "failed": self.failed, **at}


class Connection(asyncio.Protocol):
    """One connection: a request at a time."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.done = asyncio.get_running_loop().create_future()
        self.buffer = b""
        self.sent = 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        """Write the next request; close when there is none."""
        request = self.load.request()
        if request is None:
            self.transport.close()
            return
        self.sent = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        head = self.buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self.buffer.lower().find(b"content-length:", 0, head)
        if at < 0:
            raise ValueError("an answer without Content-Length")
        length = int(self.buffer[at + 15 : self.buffer.find(b"\r\n", at)])
        if len(self.buffer) < head + 4 + length:
            return
        self.load.failed += self.buffer[9:10] != b"2"
        self.load.ended = time.perf_counter()
        self.load.times.append(self.load.ended - self.sent)
        self.buffer = b""
        self.send()

    def connection_lost(self, error: Exception | None) -> None:
        self.load.failed += error is not None
        if not self.done.done():
            self.done.set_result(None)


async def fire(port: int, load: Load, connections: int) -> None:
    """Open the connections and wait until all have closed. TimeoutError when an answer takes `PATIENCE` seconds."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(load.until - load.began + PATIENCE):
        opened = [await loop.create_connection(lambda: Connection(load), "127.0.0.1", port) for _ in range(connections)]
        await asyncio.gather(*(connection.done for _, connection in opened))


def main() -> None:
    """Run by the words of the command line."""
    port, plan, seconds, connections, mode = sys.argv[1:]
    load = Load(read_plan(Path(plan)), float(seconds), once=mode == "once")
    loops = find_spec("uvloop") and import_module("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=loops or None) as runner:
        runner.run(fire(int(port), load, int(connections)))
    print("RESULT", json.dumps(load.summary()))


if __name__ == "__main__":
    main()
