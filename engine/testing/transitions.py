"""The contract, second part: a row's way through the states of its machine."""

from __future__ import annotations

from collections import deque

from engine.catalog import Resource
from engine.testing.bench import Bench, check, contract, data, refused
from engine.testing.rows import Body
from engine.types import Op


@contract(Op.GET, Op.STATUS, when=lambda r: r.stateful)
def status_walk(bench: Bench) -> None:
    """An edge of callers can be taken, or a rule that says so refuses it; every other edge is refused."""
    machine = bench.resource.machine
    reached: dict[str, tuple[str, ...]] = {machine.initial: ()}
    start = bench.make()["status"]
    reached.setdefault(start, ())
    waiting = deque(reached)
    taken = 0
    while waiting:
        source = waiting.popleft()
        stays = _walked(bench, reached[source], source)
        if stays is None:
            continue
        _refuses(bench, stays, source)
        for target in machine.targets(source):
            row = _walked(bench, reached[source], source)
            assert row is not None
            landed = _take(bench, row, target)
            taken += landed is not None
            if landed is not None and landed not in reached:
                reached[landed] = (*reached[source], target)
                waiting.append(landed)
    check(taken > 0 or not machine.targets(start), "not one transition could be taken")


def _walked(bench: Bench, steps: tuple[str, ...], state: str) -> Body | None:
    """A new row led along the steps; None when rows do not begin where the machine does."""
    row = bench.make()
    for step in steps:
        row = data(bench.client.patch(bench.path(row, "/status"), json={"status": step}))
    return row if row["status"] == state else None


def _take(bench: Bench, row: Body, target: str) -> str | None:
    """The state after an edge that callers may take; None when a rule refused it."""
    answer = bench.client.patch(bench.path(row, "/status"), json={"status": target, "version": row["version"]})
    if bench.documented(answer):
        check(bench.read(row)["status"] == row["status"], "a refused transition moved the row")
        return None
    moved = data(answer)
    check(moved["status"] in _beyond(bench.resource, target), f"asked for {target}, the row is {moved['status']}")
    check(moved["version"] > row["version"], "a transition did not move the version")
    check(bench.read(row)["status"] == moved["status"], "get shows another state than the transition")
    return str(moved["status"])


def _beyond(resource: Resource, state: str) -> set[str]:
    """The state, and where rules may lead on from it by reserved edges."""
    found, waiting = {state}, [state]
    while waiting:
        here = waiting.pop()
        fresh = {to for source, to in resource.machine.reserved if source == here} - found
        found |= fresh
        waiting += fresh
    return found


def _refuses(bench: Bench, row: Body, source: str) -> None:
    """Staying costs nothing; edges that are not the caller's are refused; the transitions route says the same."""
    machine = bench.resource.machine
    ways = {way["status"]: way for way in data(bench.client.get(bench.path(row, "/transitions")))["transitions"]}
    for target in machine.states:
        if (source, target) in machine.edges:
            check(ways[target]["allowed"] is True, f"transitions says that {source} > {target} may not be taken")
            continue
        answer = bench.client.patch(bench.path(row, "/status"), json={"status": target})
        if target == source:
            check(data(answer)["version"] == row["version"], "the same state once more moved the version")
            continue
        expected = "reserved_transition" if (source, target) in machine.reserved else "invalid_transition"
        refused(answer, 409, expected)
        check(
            (ways[target]["allowed"], ways[target]["reason"]) == (False, expected), f"transitions says {ways[target]}"
        )
    refused(
        bench.client.patch(bench.path(row, "/status"), json={"status": "no such state"}),
        422,
        "invalid_choice",
        "status",
    )
