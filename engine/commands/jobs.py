"""`cxg jobs`: what runs by the clock, and running it by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from engine.clock import CLOCK
from engine.console import Data, Progress, Registries, configure, err, located, out, run_and_close
from engine.errors import StartupFault
from engine.jobs import CADENCES, Handler
from engine.load import load_registries
from engine.main import System
from engine.packages import packages_of
from engine.runner import JobFailed, Runner, Watch

COLUMNS = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
WORDS = {cron: word for word, cron in CADENCES.items()}

jobs_app = App(name="jobs", help="Work that the clock starts. `cxg worker` does it when it is due.")


@jobs_app.command(name="list")
def list_jobs(*, registry: Registries = None) -> None:
    """Print the registered handlers. When each runs is up to its row in /manager/auto/jobs; this is how it begins."""
    declared = load_registries(packages_of(configure(registries=registry))).jobs
    table = Table("job", "scope", "cadence", "what it does")
    for handler in sorted((h for jobs in declared for h in jobs.handlers), key=lambda handler: handler.name):
        table.add_row(handler.name, handler.scope, WORDS.get(handler.cron, handler.cron), handler.description)
    out().print(table)


@jobs_app.command(name="run")
def run_job(
    name: str,
    *,
    now: Annotated[datetime | None, Parameter(help="Time to run for, such as 2026-05-01T00:00; UTC.")] = None,
    tenant: Annotated[str | None, Parameter(help="Slug of the one tenant to run for.")] = None,
    registry: Registries = None,
    data: Data = None,
) -> None:
    """Run one job here and now, as if the clock stood at `now`, and print what it did. Run again for the same `now`, it
    changes nothing.

    Parameters
    ----------
    name
        as `cxg jobs list` prints it

    Examples
    --------
    cxg jobs run run_dunning
    cxg jobs run run_dunning --now 2026-05-18
    cxg jobs run expire_documents --tenant acme
    """
    when = (now if now is None or now.tzinfo else now.replace(tzinfo=UTC)) or CLOCK.now()
    with located(configure(registries=registry, data=data), Progress()) as system:
        handler = _find(system, name)
        with _watched(name) as watch:
            work = Runner(system.operations).run(handler, when, tenant=tenant, watch=watch)
            try:
                output, failed = run_and_close(system, work), None
            except JobFailed as failure:
                output, failed = failure.output, failure
    show(name, output, out())
    if failed is not None:
        raise StartupFault(str(failed))


def _find(system: System, name: str) -> Handler:
    known = system.operations.shop.handlers
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"perhaps {near[0]!r}" if near else "`cxg jobs list` prints them"
        raise StartupFault(f"no job is called {name!r}; {hint}")
    return known[name]


@contextmanager
def _watched(name: str) -> Iterator[Watch]:
    with Bar(*COLUMNS, console=err, transient=True) as bar:
        task = bar.add_task(name, total=None)

        def watch(label: str, done: int, total: int | None) -> None:
            bar.update(task, description=f"{name}: {label}", completed=done, total=total)

        yield watch


def show(name: str, output: Mapping[str, Any], console: Console) -> None:
    """Print an output: its values, a line for each tenant, and the failures one by one."""
    tenants = {**output.get("tenants", {}), **output.get("tenants_failed", {})}
    own = {key: value for key, value in output.items() if key not in ("tenants", "tenants_failed", "failures")}
    table = Table("what", "value", title=name)
    for key, value in own.items():
        table.add_row(key.replace("_", " "), str(value))
    console.print(table if own else f"{name}: nothing to tell")
    if tenants:
        columns = list(dict.fromkeys(key for told in tenants.values() for key in told if key != "failures"))
        each = Table("tenant", *(column.replace("_", " ") for column in columns))
        for slug, told in tenants.items():
            each.add_row(slug, *(str(told.get(column, "")) for column in columns))
        console.print(each)
    for slug, told in (("", output), *tenants.items()):
        for failure in told.get("failures", ()):
            where = f"{slug}, {failure['step']}" if slug else failure["step"]
            told = f" {where}: {failure['code']}: {failure['message']}"
            console.print(Text.assemble(("failed", "red"), told))
