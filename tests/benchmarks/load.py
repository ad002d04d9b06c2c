"""Load on a server, and what it cost: wrk when it is installed, else the generator beside this file."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.benchmarks.contestants import Server

CONNECTIONS = 16
FOLDER = Path(__file__).parent


class Load(msgspec.Struct):
    """What a load generator saw. Times in microseconds, `seconds` in seconds."""

    requests: float
    seconds: float
    failed: float
    p50: float
    p99: float


class Measure(msgspec.Struct):
    """One measurement: microseconds of server CPU a request, requests a second, and the times of the answers."""

    cpu: float
    rate: float
    p50: float
    p99: float
    requests: int


def tool() -> str:
    """The load generator that is used."""
    return shutil.which("wrk") or "generator.py"


def _command(port: int, plan: Path, seconds: float, mode: str, connections: int) -> list[str]:
    wrk = shutil.which("wrk")
    if wrk is None or seconds < 1:  # wrk counts whole seconds
        return [
            sys.executable,
            str(FOLDER / "generator.py"),
            str(port),
            str(plan),
            str(seconds),
            str(connections),
            mode,
        ]
    script = ["-s", str(FOLDER / "requests.lua"), f"http://127.0.0.1:{port}", "--", str(plan), mode, str(connections)]
    # an answer that is late has not failed: its lateness is in the percentiles
    return [wrk, "-t1", f"-c{connections}", f"-d{round(seconds)}s", "--timeout", "30s", *script]


def send(
    server: Server, requests: Sequence[bytes], seconds: float, *, once: bool, connections: int = CONNECTIONS
) -> Load:
    """Send the requests for so long, in order, again and again unless `once`. RuntimeError when one of them failed."""
    with tempfile.TemporaryDirectory(prefix="cxg-plan-") as folder:
        plan = Path(folder) / "plan"
        plan.write_bytes(b"".join(b"%d\n%b" % (len(request), request) for request in requests))
        command = _command(server.port, plan, seconds, "once" if once else "cycle", connections)
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30)
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise RuntimeError(f"{command[0]} says no result:\n{done.stdout}{done.stderr}")
    load = msgspec.json.decode(line.removeprefix("RESULT "), type=Load)
    if load.failed or not load.requests:
        raise RuntimeError(f"{server.contestant.name}: {load.failed:g} of {load.requests:g} requests failed")
    return load


def measure(
    server: Server, requests: Sequence[bytes], seconds: float, *, once: bool, connections: int = CONNECTIONS
) -> Measure:
    """Warm up with the first twentieth of the requests, then measure with the others, with all work that they leave behind."""
    warm = min(len(requests) // 20 + 1, 500)
    send(server, requests[:warm], min(0.3, seconds), once=once, connections=connections)
    server.finish()
    before = server.cpu()
    load = send(server, requests[warm:] if once else requests, seconds, once=once, connections=connections)
    server.finish()
    used = server.cpu() - before
    return Measure(used / load.requests * 1e6, load.requests / load.seconds, load.p50, load.p99, int(load.requests))
