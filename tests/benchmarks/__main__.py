"""`python -m tests.benchmarks`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from tests.benchmarks import routing, startup, volume
from tests.benchmarks.cases import CASES, Case
from tests.benchmarks.contestants import CONTESTANTS, running
from tests.benchmarks.proof import Wrong, prove
from tests.benchmarks.report import Report, show, this_machine, write
from tests.benchmarks.results import Say, measure_all, score_all, steps
from tests.benchmarks.stage import Stage, built

ROWS, SHORT_ROWS = 20_000, 1_000
SHORT_SECONDS, STARTS = 0.3, 3
NAMES = (*(case.name for case in CASES), *volume.NAMES, "routing", "startup")

app = App(
    name="python -m tests.benchmarks",
    help="Measure what a request costs this engine, against the physical limit (bare ASGI, hand-written SQL) and a "
    "hand-written FastAPI + SQLAlchemy module, over the same rows in the same run. Answers are proved right before "
    "anything is timed. Figures never make it fail: they are held against the targets of the project and printed. "
    "Quiet machines give steady figures.",
)
err = Console(stderr=True, highlight=False)


@contextmanager
def bar(total: int) -> Iterator[Say]:
    """A progress bar of `total` steps; what it yields is told the next step's name."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("", total=total, completed=-1)

        def say(step: str) -> None:
            progress.update(task, description=step, advance=1)

        yield say
        progress.advance(task)


def compete(stage: Stage, cases: Sequence[Case], rounds: int, report: Report) -> None:
    """Prove, measure, and put the scores into the report."""
    with running(CONTESTANTS, stage) as servers:
        with err.status("proving that all answers are right"):
            report.proved = prove(stage, servers)
        for line in report.proved:
            err.print(f"[green]proved[/] {line}")
        plan = list(steps(servers, cases, rounds))
        with bar(len(plan)) as say:
            report.costs = score_all(cases, measure_all(stage, plan, report.seconds, say))


def measure_more(stage: Stage, names: Sequence[str], report: Report, *, short: bool) -> None:
    """Many rows, routing and start-up, as far as they are asked for."""
    with err.status("a million rows") as status:
        rows = volume.SHORT_ROWS if short else volume.ROWS
        report.volumes = volume.measure_volumes(
            stage, names, rows, lambda name: status.update(f"{name}, {rows:,} rows")
        )
    if "routing" in names:
        with err.status("routing"):
            report.routing = routing.compare()
    sizes = [size for size in startup.SIZES if not short or size < 1000] if "startup" in names else []
    for size in sizes:
        with err.status(f"start-up with {size:,} entities (their tables first)"):
            report.startup = [*report.startup, startup.measure_size(stage, size, 1 if short else STARTS)]


def measured(cases: Sequence[Case], names: Sequence[str], rounds: int, report: Report, *, short: bool) -> None:
    """Build the ground and measure everything that is asked for. Ends the program when an answer is wrong."""
    with ExitStack() as stack:
        with err.status("PostgreSQL, tables, rows"):
            stage = stack.enter_context(built(report.rows))
        try:
            if cases:
                compete(stage, cases, rounds, report)
            measure_more(stage, names, report, short=short)
        except Wrong as wrong:
            err.print(f"[red]wrong answer[/] {wrong}")
            sys.exit(1)


Seconds = Annotated[float, Parameter(help="Length of one measurement; wrk takes whole seconds.")]
Rounds = Annotated[int, Parameter(help="How often everything is measured; the median counts.")]
ONLY = f"Only this ({', '.join(NAMES)}); several may be given."
Chosen = Annotated[list[str] | None, Parameter(help=ONLY, consume_multiple=True, negative="")]
Figures = Annotated[Path | None, Parameter(help="File for the figures, every round included.")]
Short = Annotated[bool, Parameter(negative="", help="One quick round, few rows: shows that it works, says little.")]


@app.default
def main(
    *, seconds: Seconds = 3.0, rounds: Rounds = 3, case: Chosen = None, json: Figures = None, short: Short = False
) -> None:
    """Run the benchmark.

    Examples
    --------
    python -m tests.benchmarks                                   everything, about 12 minutes
    python -m tests.benchmarks --case get list --rounds 5        two cases, steadier
    python -m tests.benchmarks --case import export deep-page    a million rows both ways
    python -m tests.benchmarks --short --json figures.json       does it still work?
    """
    names = case or NAMES
    if unknown := [name for name in names if name not in NAMES]:
        err.print(f"[red]no case {', '.join(unknown)}[/]; there are {', '.join(NAMES)}")
        sys.exit(2)
    cases = [known for known in CASES if known.name in names]
    rows, rounds, seconds = (SHORT_ROWS, 1, SHORT_SECONDS) if short else (ROWS, rounds, seconds)
    report = Report(this_machine(), rows, seconds, [], {})
    measured(cases, names, rounds, report, short=short)
    # a file or a pipe has no width of its own
    show(Console(width=None if sys.stdout.isatty() else 170), report, cases)
    if json is not None:
        write(json, report)


if __name__ == "__main__":
    app()
