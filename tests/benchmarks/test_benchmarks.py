"""The benchmark still works: contestants start, answers are proved right, loads are measured. No figure is judged."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from tests.benchmarks import proof, routing, volume
from tests.benchmarks.cases import CASES, Request, rendered
from tests.benchmarks.contestants import CONTESTANTS, ENGINE, FLOOR, ORM, ROOT, Server, running
from tests.benchmarks.generator import read_plan
from tests.benchmarks.load import Measure, send
from tests.benchmarks.report import Report, show, this_machine, write
from tests.benchmarks.results import at_most, measure_all, score_all, steps
from tests.benchmarks.stage import Stage, built

ROWS, SECONDS = 600, 0.1


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with built(ROWS) as prepared:
        yield prepared


@pytest.fixture(scope="module")
def servers(stage: Stage) -> Iterator[list[Server]]:
    with running(CONTESTANTS, stage) as listening:
        yield listening


def test_all_contestants_answer_rightly_and_alike(stage: Stage, servers: list[Server]) -> None:
    lines = proof.prove(stage, servers)
    assert [line.partition(":")[0] for line in lines[:-1]] == [case.title for case in CASES]


def test_a_wrong_answer_is_caught(stage: Stage, servers: list[Server], monkeypatch: pytest.MonkeyPatch) -> None:
    case, first = CASES[0], stage.users[0]
    keys = {server.port: [first, first, first] for server in servers}

    def chosen(_stage: Stage, server: Server, *_rest: object) -> list[Request]:
        return [Request("GET", f"/manager/idam/users/{key}") for key in keys[server.port]]

    monkeypatch.setattr(proof, "requests_for", chosen)
    assert "the same row" in proof.prove_read(stage, servers[:3], case)
    keys[servers[2].port] = [stage.users[1], first, first]
    with pytest.raises(proof.Wrong, match="engine"):
        proof.prove_read(stage, servers[:3], case)


def test_every_round_measures_all_and_the_report_names_them(
    stage: Stage, servers: list[Server], tmp_path: Path
) -> None:
    cases = [case for case in CASES if case.name in ("get", "create")]
    said: list[str] = []
    measures = measure_all(stage, list(steps(servers, cases, 1)), SECONDS, said.append)
    assert len(said) == 7 and {len(rounds) for case in measures.values() for rounds in case.values()} == {1}
    report = Report(this_machine(), ROWS, SECONDS, ["proved"], score_all(cases, measures))
    assert all(score.cpu > 0 and score.rate > 0 for case in report.costs.values() for score in case.values())
    assert report.costs["get"]["floor"].ratio.figure == 1 and report.costs["get"]["orm"].gain.figure == 1
    show(Console(file=(printed := StringIO()), width=200), report, cases)
    assert all(contestant.title in printed.getvalue() for contestant in CONTESTANTS)
    write(tmp_path / "figures.json", report)
    assert msgspec.json.decode((tmp_path / "figures.json").read_bytes(), type=Report).costs.keys() == {"get", "create"}


def test_failing_requests_make_no_figure(stage: Stage, servers: list[Server]) -> None:
    absent = [rendered(servers[0], CASES[0], Request("GET", f"/manager/idam/users/{stage.stranger}"))]
    with pytest.raises(RuntimeError, match="requests failed"):
        send(servers[0], absent, SECONDS, once=False)


def test_another_contestant_is_first_in_each_round(servers: list[Server]) -> None:
    order = [server.contestant for number, _, server in steps(servers, CASES[:1], 3)]
    assert order == [FLOOR, ORM, ENGINE, ORM, ENGINE, FLOOR, ENGINE, FLOOR, ORM]


def test_a_score_is_the_median_of_the_ratios_of_the_rounds() -> None:
    rounds = {"floor": [100.0, 200.0, 100.0], "orm": [1000.0, 1000.0, 1000.0], "engine": [150.0, 240.0, 160.0]}
    measures = {name: [Measure(cpu, 1, 1, 1, 1) for cpu in cpus] for name, cpus in rounds.items()}
    scores = score_all(CASES[:1], {"get": measures})["get"]
    assert scores["engine"].ratio == at_most(1.5, 1.5) and scores["engine"].gain.figure == 6.25
    assert scores["orm"].ratio.met is None


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    requests = [b"GET / HTTP/1.1\r\n\r\n", b"PATCH /a HTTP/1.1\r\n\r\n{\n}", b""]
    (tmp_path / "plan").write_bytes(b"".join(b"%d\n%b" % (len(one), one) for one in requests))
    assert read_plan(tmp_path / "plan") == requests


def test_routing_is_compared_over_as_many_paths() -> None:
    few, many = (routing.asked_for(count, spread=True) for count in (3, 300))
    assert len(set(few)) == len(set(many)) == routing.ASKED
    last = routing.asked_for(300, spread=False)
    assert len(last) == routing.ASKED and all(b"/manager/d002/entity-00299/" in request for request in last)
    assert len({request.split(b"/")[3] for request in many}) == 300


def test_many_rows_go_in_and_out_and_are_shown(stage: Stage, tmp_path: Path) -> None:
    volumes = volume.measure_volumes(stage, volume.NAMES, volume.SHORT_ROWS)
    assert [one.name for one in volumes] == list(volume.NAMES)
    assert all(one.figure > 0 and one.floor > 0 and one.ratio.target for one in volumes)
    report = Report(this_machine(), ROWS, SECONDS, [], {}, volumes=volumes)
    show(Console(file=(printed := StringIO()), width=200), report, [])
    assert all(f"{name}, 2,000 rows" in printed.getvalue() for name in volume.NAMES)
    assert volume.measure_volumes(stage, ["get"], 10) == []


@pytest.mark.slow
def test_the_command_runs_from_start_to_end(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "tests.benchmarks", "--short", "--json", str(figures)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    report = msgspec.json.decode(figures.read_bytes(), type=Report)
    assert report.costs.keys() == {case.name for case in CASES} and report.routing and report.startup and report.volumes
    assert "start to first answer" in done.stdout
