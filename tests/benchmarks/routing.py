"""What a request costs with ten entities and with ten thousand: two servers that differ in nothing else, over HTTP."""

from __future__ import annotations

import random
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from engine.auth.authenticator import Authenticator
from engine.catalog import Resource
from engine.dispatch import Dispatcher
from engine.main import load
from engine.moment import Workshop
from engine.observe import Observer
from engine.operations import Operations
from engine.shapes import Statement
from engine.types import ENGINE, Principal
from tests.benchmarks.contestants import ENGINE as CONTESTANT
from tests.benchmarks.contestants import Server, process, wait_for
from tests.benchmarks.load import measure
from tests.benchmarks.results import Verdict, at_most

FEW, MANY, TARGET = 10, 10_000, 1.05
ASKED, ROUNDS, SECONDS = 20_000, 5, 2.0
NOTHING: Any = None
ROW = [(1, '{"id":"0190000"}')]


class Routing(msgspec.Struct):
    """Microseconds of server CPU a request, and the ratio of both. `spread`: over all entities in turn, or to the last one."""

    few: float
    many: float
    spread: bool
    ratio: Verdict


def paths(count: int) -> list[str]:
    """`count` entities, a hundred to a domain."""
    return [f"manager/d{index // 100:03}/entity-{index:05}" for index in range(count)]


class SomeRow:
    """A database of which only the answer is needed: what it costs to find the entity is the question."""

    async def run(self, _tenant: object, _text: str, _arguments: Sequence[object]) -> list[Any]:
        """Always the same row."""
        return ROW


class Anybody(Authenticator):
    """Everybody may."""

    def __init__(self) -> None:
        super().__init__(NOTHING, NOTHING, NOTHING, 0)

    async def principal(self, _authorization: bytes | None, _ip: str | None) -> Principal:
        """The engine itself."""
        return ENGINE


def _app(count: int) -> Dispatcher:
    catalog = load(["registry"])[1]
    model = catalog.resources["manager/idam/users"]
    resources: dict[str, Resource] = {path: replace(model, path=path) for path in paths(count)}
    databases: Any = dict.fromkeys(catalog.scopes, SomeRow())
    workshop = Workshop(replace(catalog, resources=resources), databases, NOTHING, {})
    workshop.statement = lambda _resource, _shape: Statement("", ())  # type: ignore[assignment]
    return Dispatcher(Operations(workshop), Anybody(), Observer(), (1024, 1024))


def few_app() -> Dispatcher:
    """Ten entities."""
    return _app(FEW)


def many_app() -> Dispatcher:
    """Ten thousand."""
    return _app(MANY)


def asked_for(count: int, *, spread: bool) -> list[bytes]:
    """Gets of the last entity, or spread over all; always as many, so that only the table's size differs."""
    chance, known = random.Random(7), paths(count) if spread else paths(count)[-1:]
    return [
        f"GET /{chance.choice(known)}/019{i:05}-0000-7000-8000-000000000000 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        for i in range(ASKED)
    ]


def compare() -> list[Routing]:
    """Measure both servers in turn; the median of the rounds."""
    with (
        tempfile.TemporaryDirectory(prefix="cxg-routing-") as name,
        process("tests.benchmarks.routing:few_app", Path(name), {}) as few,
        process("tests.benchmarks.routing:many_app", Path(name), {}) as many,
    ):
        servers = [Server(CONTESTANT, *few), Server(CONTESTANT, *many)]
        for server in servers:
            wait_for(server.port, server.process, Path(name) / "tests.benchmarks.routing.log")
        return [_rounds(servers, spread=False), _rounds(servers, spread=True)]


def _rounds(servers: Sequence[Server], *, spread: bool) -> Routing:
    plans = [asked_for(count, spread=spread) for count in (FEW, MANY)]
    rounds = [
        [measure(server, plan, SECONDS, once=False).cpu for server, plan in zip(servers, plans, strict=True)]
        for _ in range(ROUNDS)
    ]
    few, many = (statistics.median(row[side] for row in rounds) for side in (0, 1))
    ratio = statistics.median(b / a for a, b in rounds)
    # spread over 10,000 entities, the processor's caches are measured beside the routing: said, without a target
    return Routing(few, many, spread, at_most(ratio, None if spread else TARGET))
