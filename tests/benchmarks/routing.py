"""What finding the target of a request costs with ten entities and with ten thousand."""

from __future__ import annotations

import random
from dataclasses import replace
from time import perf_counter

import msgspec

from engine.catalog import Resource
from engine.main import load
from engine.routes import Router
from tests.benchmarks.results import Verdict, at_most

FEW, MANY, TARGET = 10, 10_000, 1.05
ASKED, REPEATS = 20_000, 15


class Routing(msgspec.Struct):
    """Nanoseconds a look-up, and the ratio against its target."""

    few: float
    many: float
    ratio: Verdict


def synthetic(count: int) -> dict[str, Resource]:
    """`count` resources, a hundred to a domain, made after one of the bundled registry."""
    _, catalog = load(["registry"])
    model = catalog.resources["manager/idam/users"]
    paths = [f"manager/d{index // 100:03}/entity-{index:05}" for index in range(count)]
    return {path: replace(model, path=path) for path in paths}


def asked_for(resources: dict[str, Resource]) -> list[bytes]:
    """Paths of gets spread over all resources; always as many paths, so that only the table's size differs."""
    chance, paths = random.Random(7), list(resources)
    return [f"/{chance.choice(paths)}/0190000{index:05}-0000-7000-8000-000000000000".encode() for index in range(ASKED)]


def seconds(router: Router, paths: list[bytes]) -> float:
    """Time to find all the paths once."""
    find, began = router.find, perf_counter()
    for path in paths:
        find("GET", path)
    return perf_counter() - began


def compare() -> Routing:
    """Time both routers in turn; the best time of each, since whatever disturbs only adds."""
    pairs = [(Router(resources), asked_for(resources)) for resources in (synthetic(FEW), synthetic(MANY))]
    times = [[seconds(router, paths) for router, paths in pairs] for _ in range(REPEATS)]
    few, many = (min(row[side] for row in times) / ASKED * 1e9 for side in (0, 1))
    return Routing(few, many, at_most(many / few, TARGET))
