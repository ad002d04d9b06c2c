"""Handlers of a package in which no entity keeps jobs: the clock of this process runs them, one worker of several."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog

import engine.clockwork
from engine.clock import CLOCK
from engine.clockwork import Clockwork
from engine.operations import Operations
from engine.testing.harness import Live, serving, settings_for_tests
from engine.worker import queue_of
from tenancy.presence import Presence
from tests.engine.bells import PULLED

REGISTRY = "tests.engine.bells"
NOON = datetime(2031, 5, 1, 12, 0, 30, tzinfo=UTC)
Scene = Callable[[list[Clockwork]], Awaitable[None]]


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with serving(settings_for_tests(tmp_path_factory.mktemp("tower")), [REGISTRY]) as live:
        yield live


@pytest.fixture
def play(tower: Live, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[Any]]]:
    """Plays a scene with workers whose clock stands at NOON; gives what the log told."""
    told = structlog.testing.LogCapture()
    # the program's own logger may have been used before, and keeps what it wrote to then
    monkeypatch.setattr(engine.clockwork, "LOG", structlog.wrap_logger(None, processors=[told]))

    def run(scene: Scene, count: int = 1, slots: int = 4) -> list[Any]:
        async def work(operations: Operations) -> None:
            PULLED["slow"] = asyncio.Event()
            place = tower.system.places["bells"].runtime
            hands = [Clockwork(operations, Presence(place, f"bell-{n}"), slots) for n in range(count)]
            try:
                for each in hands:
                    await each.beat()
                await scene(hands)
            finally:
                for each in hands:
                    each.stop()
                    each.stop()
                    await each.work()

        CLOCK.at(NOON)
        tower.beside.run(work)
        return list(told.entries)

    yield run
    CLOCK.at(None)
    tower.run_sql("bells", "truncate tower.strokes")


def strokes(live: Live) -> Counter[tuple[str, str]]:
    found = live.run_sql("bells", "select bell, run_for from tower.strokes")
    return Counter((row["bell"], f"{row['run_for']:%H:%M:%S}") for row in found)


async def settle(hands: Clockwork, *names: str) -> None:
    await asyncio.gather(*(task for name, task in hands.in_hand.items() if name in names))


def test_a_handler_runs_at_each_of_its_times_and_not_before(tower: Live, play: Callable[..., Any]) -> None:
    async def scene(hands: list[Clockwork]) -> None:
        assert not hands[0].in_hand
        for seconds in (31, 40, 120):
            CLOCK.at(NOON + timedelta(seconds=seconds))
            await hands[0].beat()
            await settle(hands[0], "ring")

    told = play(scene)
    assert queue_of(tower.catalog) is None
    # of the times that passed between two beats one counts, that for which it was due
    assert strokes(tower) == {("ring", "12:01:00"): 1, ("ring", "12:02:00"): 1}
    assert [line["output"] for line in told if line["event"] == "job done"] == [{"rung": 1}] * 2


def test_a_time_that_comes_while_the_handler_runs_is_left_out(tower: Live, play: Callable[..., Any]) -> None:
    async def scene(hands: list[Clockwork]) -> None:
        for minutes in (1, 2):
            CLOCK.at(NOON + timedelta(minutes=minutes))
            await hands[0].beat()
            await settle(hands[0], "ring")
        PULLED["slow"].set()
        await settle(hands[0], "ring_slowly")

    told = play(scene)
    assert strokes(tower) == {("ring", "12:01:00"): 1, ("ring", "12:02:00"): 1, ("ring_slowly", "12:01:00"): 1}
    assert [line["job"] for line in told if "left out" in line["event"]] == ["ring_slowly"]


def test_what_has_no_slot_waits_for_one(tower: Live, play: Callable[..., Any]) -> None:
    async def scene(hands: list[Clockwork]) -> None:
        CLOCK.at(NOON + timedelta(minutes=1))
        await hands[0].beat()
        assert list(hands[0].in_hand) == ["ring"]
        await settle(hands[0], "ring")
        await hands[0].beat()
        assert list(hands[0].in_hand) == ["ring_slowly"]
        PULLED["slow"].set()
        await settle(hands[0], "ring_slowly")

    play(scene, slots=1)
    assert strokes(tower) == {("ring", "12:01:00"): 1, ("ring_slowly", "12:01:00"): 1}


def test_one_worker_rings_and_another_when_it_is_gone(tower: Live, play: Callable[..., Any]) -> None:
    async def scene(hands: list[Clockwork]) -> None:
        CLOCK.at(NOON + timedelta(minutes=1))
        for each in hands:
            await each.beat()
        assert not hands[1].in_hand
        await settle(hands[0], "ring")
        await hands[0].presence.close()
        for minutes in (2, 3):
            CLOCK.at(NOON + timedelta(minutes=minutes))
            await hands[1].beat()
            await settle(hands[1], "ring")

    play(scene, count=2)
    # the second one leads from its first beat on, and looks for the next times then
    assert strokes(tower) == {("ring", "12:01:00"): 1, ("ring", "12:03:00"): 1}


def test_who_was_away_lets_go_what_another_may_do(tower: Live, play: Callable[..., Any]) -> None:
    async def scene(hands: list[Clockwork]) -> None:
        CLOCK.at(NOON + timedelta(minutes=1))
        await hands[0].beat()
        await settle(hands[0], "ring")
        await hands[0].presence.close()
        await hands[0].beat()
        await settle(hands[0], "ring_slowly")
        PULLED["slow"].set()

    told = play(scene)
    assert strokes(tower) == {("ring", "12:01:00"): 1}
    assert [line["code"] for line in told if line["event"] == "job failed"] == ["stopped"]


def test_what_fails_is_told_and_tried_at_the_next_time(tower: Live, play: Callable[..., Any]) -> None:
    async def scene(hands: list[Clockwork]) -> None:
        for hours in (1, 2):
            CLOCK.at(NOON + timedelta(hours=hours))
            await hands[0].beat()
            await settle(hands[0], "ring", "crack")

    told = play(scene)
    failed = [(line["job"], line["due"], line["code"]) for line in told if line["event"] == "job failed"]
    times = [f"2031-05-01T{hour}:00:00+00:00" for hour in (13, 14)]
    assert [line for line in failed if line[0] == "crack"] == [("crack", time, "internal_error") for time in times]
    assert not any(bell == "crack" for bell, _ in strokes(tower))


def test_what_takes_too_long_is_ended(play: Callable[..., Any]) -> None:
    async def scene(hands: list[Clockwork]) -> None:
        CLOCK.at(NOON + timedelta(days=1))
        await hands[0].beat()
        await settle(hands[0], "ring", "crack", "drag")

    told = play(scene)
    assert [line["code"] for line in told if line.get("job") == "drag"] == ["timed_out"]


def test_the_command_works_for_a_package_alone_and_stops_when_told(tower: Live) -> None:
    data = str(tower.system.settings.data.resolve())
    command = [sys.executable, "-m", "engine", "worker", "--data", data, "--registry", REGISTRY]
    with subprocess.Popen(command, env={**os.environ, "CXG_DEMO": "0"}, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = ""
        while "waits for" not in told and (line := process.stderr.readline()):
            told += line
        process.send_signal(signal.SIGTERM)
        told += process.stderr.read()
        assert process.wait(timeout=20) == 0, told
    assert "waits for runs of 4 jobs" in told and "stopped" in told


def test_where_nothing_runs_by_the_clock_the_command_says_so(tower: Live) -> None:
    data = str(tower.system.settings.data.resolve())
    command = [sys.executable, "-m", "engine", "worker", "--data", data, "--registry", "tests.engine.wares"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "declares a job" in done.stderr, done.stderr
