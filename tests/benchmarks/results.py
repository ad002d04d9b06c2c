"""Rounds of measurements, and what they say against the targets of design/performance.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import median

import msgspec
from rich.table import Table

from tests.benchmarks.cases import Case, rendered
from tests.benchmarks.contestants import CONTESTANTS, ENGINE, FLOOR, ORM, RULELESS, Server
from tests.benchmarks.load import Measure, measure
from tests.benchmarks.proof import requests_for, takes
from tests.benchmarks.stage import Stage

Say = Callable[[str], None]
Measures = dict[str, dict[str, list[Measure]]]  # case -> contestant -> one a round


class Verdict(msgspec.Struct):
    """A figure against its target. `met` None = there is no target."""

    figure: float
    target: float | None
    met: bool | None


class Score(msgspec.Struct):
    """A contestant in one case, by medians. `ratio`: times the floor's CPU; `gain`: times less than the ORM's."""

    cpu: float
    rate: float
    p50: float
    p99: float
    ratio: Verdict
    gain: Verdict
    rounds: list[Measure]


def at_most(figure: float, target: float | None) -> Verdict:
    """A figure that must not be higher."""
    return Verdict(figure, target, None if target is None else figure <= target)


def at_least(figure: float, target: float | None) -> Verdict:
    """A figure that must not be lower."""
    return Verdict(figure, target, None if target is None else figure >= target)


def steps(servers: Sequence[Server], cases: Sequence[Case], rounds: int) -> Iterator[tuple[int, Case, Server]]:
    """Who is measured when: all contestants in turn within each case, another one first in each round."""
    for number in range(rounds):
        for case in cases:
            taking = [server for server in servers if takes(server, case)]
            first = number % len(taking)
            for server in taking[first:] + taking[:first]:
                yield number, case, server


def tidy(stage: Stage, statement: str | None) -> None:
    """Run a case's statement, and leave no dead rows that the next one would have to step over."""
    if statement:
        stage.ask(statement)
    stage.ask("vacuum analyze idam.users")


def measure_all(stage: Stage, plan: Sequence[tuple[int, Case, Server]], seconds: float, say: Say) -> Measures:
    """Measure every step of the plan; `say` hears of each before it starts."""
    found: Measures = {}
    for serial, (number, case, server) in enumerate(plan):
        say(f"round {number + 1}, {case.title}: {server.contestant.title}")
        tidy(stage, case.before)
        requests = [rendered(server, case, request) for request in requests_for(stage, server, case, serial)]
        stage.settle()
        measured = measure(server, requests, seconds, once=case.once, connections=case.connections)
        tidy(stage, case.after)
        found.setdefault(case.name, {}).setdefault(server.contestant.name, []).append(measured)
    return found


def score(case: Case, name: str, measures: dict[str, list[Measure]]) -> Score:
    """The verdict on one contestant in a case. Ratios are made within each round, then the median is taken."""
    own, floor = measures[name], measures[FLOOR.name]
    orm = measures.get(ORM.name, own)
    judged = name in (ENGINE.name, RULELESS.name)
    ratio = median(mine.cpu / lowest.cpu for mine, lowest in zip(own, floor, strict=True))
    gain = median(theirs.cpu / mine.cpu for mine, theirs in zip(own, orm, strict=True))
    cpu, rate, p50, p99 = (median(getattr(one, part) for one in own) for part in ("cpu", "rate", "p50", "p99"))
    near, less = (case.target, case.gain) if judged else (None, None)
    return Score(cpu, rate, p50, p99, at_most(ratio, near), at_least(gain, less), own)


def score_all(cases: Sequence[Case], measures: Measures) -> dict[str, dict[str, Score]]:
    """Case -> contestant -> score."""
    return {case.name: {name: score(case, name, measures[case.name]) for name in measures[case.name]} for case in cases}


def mark(verdict: Verdict) -> str:
    """`met` or `not met`, coloured; empty without a target."""
    return "" if verdict.met is None else "[green]met[/]" if verdict.met else "[red]not met[/]"


def cost_table(cases: Sequence[Case], scores: dict[str, dict[str, Score]]) -> Table:
    """CPU a request of each contestant, the multiple of the floor in brackets, and the target."""
    table = Table(title="server CPU, microseconds a request (times the floor)", title_justify="left")
    for name in ("case", *(c.title for c in CONTESTANTS), "target", "", "less than ORM", "target", ""):
        table.add_column(name, justify="left" if name in ("case", "") else "right")
    for case in cases:
        row = scores[case.name]
        cells = [
            f"{row[c.name].cpu:,.0f} ({row[c.name].ratio.figure:.2f}x)" if c.name in row else "" for c in CONTESTANTS
        ]
        engine = row[ENGINE.name]
        wanted = "" if case.target is None else f"<= {case.target}x"
        gained = "" if case.gain is None else f">= {case.gain:g}x"
        table.add_row(
            *(case.title, *cells, wanted, mark(engine.ratio)),
            *(f"{engine.gain.figure:.1f}x" if ORM.name in row else "", gained, mark(engine.gain)),
        )
    return table


def speed_table(cases: Sequence[Case], scores: dict[str, dict[str, Score]]) -> Table:
    """Requests a second and the times of answers, which a busy machine moves more than CPU."""
    table = Table(title="requests a second, p50 / p99 in milliseconds (16 connections)", title_justify="left")
    table.add_column("case")
    for contestant in CONTESTANTS:
        table.add_column(contestant.title, justify="right")
    for case in cases:
        row = scores[case.name]
        found = (row.get(contestant.name) for contestant in CONTESTANTS)
        cells = [f"{one.rate:,.0f}  {one.p50 / 1000:.1f} / {one.p99 / 1000:.1f}" if one else "" for one in found]
        table.add_row(case.title, *cells)
    return table
