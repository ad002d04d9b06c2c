"""What a run of the benchmark found: JSON, and tables for people."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psutil  # type: ignore[import-untyped,unused-ignore]  # psutil ships no types
from rich.console import Console
from rich.table import Table

from tests.benchmarks.cases import Case
from tests.benchmarks.load import CONNECTIONS, tool
from tests.benchmarks.results import Score, Verdict, cost_table, mark, speed_table
from tests.benchmarks.routing import FEW, MANY, Routing
from tests.benchmarks.startup import Startup
from tests.benchmarks.volume import Volume


class Machine(msgspec.Struct):
    """Where and how it was measured."""

    cores: int
    system: str
    python: str
    load_generator: str
    connections: int
    load_average: float
    at: datetime


class Report(msgspec.Struct):
    """A whole run. `costs`: case -> contestant -> score."""

    machine: Machine
    rows: int
    seconds: float
    proved: list[str]
    costs: dict[str, dict[str, Score]]
    routing: list[Routing] = []
    startup: list[Startup] = []
    volumes: list[Volume] = []


def this_machine() -> Machine:
    """The machine as it is now; the load average says how quiet it was."""
    generator = Path(tool()).name
    average = psutil.getloadavg()[0]
    cores = psutil.cpu_count() or 1
    return Machine(
        cores, platform.system(), platform.python_version(), generator, CONNECTIONS, average, datetime.now(UTC)
    )


def more_table(report: Report) -> Table:
    """Routing and start-up against their targets."""
    table = Table(title="routing and start-up", title_justify="left")
    for name in ("what", "measured", "target", ""):
        table.add_column(name)
    for found in report.routing:
        asked = "requests spread over all" if found.spread else "requests to the last"
        said = f"{found.few:,.1f} us, {found.many:,.1f} us a request: {found.ratio.figure:.2f}x"
        wanted = "" if found.ratio.target is None else f"<= {found.ratio.target}x"
        table.add_row(f"routing with {FEW} and {MANY:,} entities, {asked}", said, wanted, mark(found.ratio))
    for one in report.startup:
        table.add_row(f"{one.entities:,} entities: start to first answer", *_cells(one.seconds, "s", 2))
        table.add_row(f"{one.entities:,} entities: resident memory", *_cells(one.megabytes, "MB", 0))
    return table


def volume_table(volumes: Sequence[Volume]) -> Table:
    """Many rows against PostgreSQL by itself."""
    table = Table(title="many rows, against COPY, a bare INSERT, and the first page", title_justify="left")
    for name in ("what", "engine", "floor", "ratio", "target", "", "server grew", "target", ""):
        table.add_column(name, justify="left" if name in ("what", "") else "right")
    for one in volumes:
        least = one.name != "deep-page"
        wanted = f"{'>=' if least else '<='} {one.ratio.target:g}x"
        grown = _cells(one.growth, "MiB", 0) if one.growth else ("", "", "")
        figures = (f"{one.figure:,.0f} {one.unit}", f"{one.floor:,.0f}", f"{one.ratio.figure:.2f}x")
        table.add_row(f"{one.name}, {one.rows:,} rows", *figures, wanted, mark(one.ratio), *grown)
    return table


def _cells(verdict: Verdict, unit: str, digits: int) -> tuple[str, str, str]:
    wanted = "" if verdict.target is None else f"<= {verdict.target:g} {unit}"
    return f"{verdict.figure:.{digits}f} {unit}", wanted, mark(verdict)


def show(console: Console, report: Report, cases: Sequence[Case]) -> None:
    """Print the tables."""
    machine = report.machine
    console.print(
        f"\n{machine.cores} cores, Python {machine.python}, load by {machine.load_generator} with "
        f"{machine.connections} connections, {report.rows:,} rows, {report.seconds:g} s a measurement; "
        f"load average at the start {machine.load_average:.1f}\n"
    )
    if report.costs:
        console.print(cost_table(cases, report.costs))
        console.print(speed_table(cases, report.costs))
    if report.routing or report.startup:
        console.print(more_table(report))
    if report.volumes:
        console.print(volume_table(report.volumes))
    console.print(
        "Differences under 30 % are noise; the gate is CPU a request as a multiple of the floor.", style="dim"
    )


def write(path: Path, report: Report) -> None:
    """The report as JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
