"""`python -m tests.mutation`: switch every rule off, run the tests that should notice, and print who was not noticed."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tests.mutation.plan import TESTS, Mutant, mutants
from tests.mutation.switch import VARIABLE

LIMIT = 300  # seconds for the tests of one rule
FAILED = 1  # pytest's exit status when a test failed

app = App(
    name="python -m tests.mutation",
    help="Every rule of the bundled registry is switched off in turn, and the tests that name it are run without it (or, "
    "where none does, the tests of its domain). A rule that no test notices is printed. Ends with status 1 if there is one.",
)


class Verdict(NamedTuple):
    """What became of a mutant: `noticed` by how many test runs asked for; `how`: named, domain, timeout, none, or what
    went wrong with the run itself."""

    mutant: Mutant
    noticed: bool
    how: str


def judge(mutant: Mutant) -> Verdict:
    """Run the tests without the rule."""
    for place, tests in enumerate(mutant.tests):
        named = "::" in tests[0]
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:xdist", "-o", "addopts=", *ADDED, *tests]
        environment = {**os.environ, VARIABLE: str(mutant.switch)}
        try:
            done = subprocess.run(
                command, env=environment, cwd=TESTS.parent, capture_output=True, text=True, timeout=LIMIT
            )
        except subprocess.TimeoutExpired:
            return Verdict(mutant, True, "timeout")
        if done.returncode == FAILED:
            return Verdict(mutant, True, "named" if named else "domain")
        if done.returncode != 0:
            # said at the end, with what the other rules showed
            return Verdict(mutant, False, f"broken run: {done.stdout[-500:]}{done.stderr[-500:]}")
        if place == len(mutant.tests) - 1:
            break
    return Verdict(mutant, False, "none")


ADDED = ("--strict-markers", "-p", "no:cacheprovider", "--disable-plugin-autoload", "-p", "_hypothesis_pytestplugin")
ADDED = (*ADDED, "-p", "anyio.pytest_plugin", "-m", "not slow")


def by_domain(verdicts: list[Verdict]) -> Table:
    """Rules off and noticed, a row a domain."""
    table = Table("domain", "rules off", "noticed by a test that names it", "by a test of its domain", "not noticed")
    domains = sorted({"/".join(v.mutant.switch.place.split("/")[:2]) for v in verdicts})
    for domain in domains:
        own = [v for v in verdicts if "/".join(v.mutant.switch.place.split("/")[:2]) == domain]
        counts = [sum(v.how == how for v in own) for how in ("named", "domain")]
        counts.append(sum(not v.noticed for v in own))
        counts[0] += sum(v.how == "timeout" for v in own)
        table.add_row(domain, str(len(own)), *map(str, counts))
    return table


@app.default
def main(
    *,
    only: Annotated[str, Parameter(help="Only switches whose text holds this: bill/, IDAM-U1, |job|")] = "",
    processes: Annotated[int, Parameter(help="How many at once.")] = 2,
    json: Annotated[Path | None, Parameter(help="File for the verdicts.")] = None,
    again: Annotated[Path | None, Parameter(help="Only what was not noticed, as such a file says.")] = None,
) -> None:
    """Switch rules off one at a time.

    Examples
    --------
    python -m tests.mutation                    every rule, about 20 minutes on two cores
    python -m tests.mutation --only manager/bill
    """
    err = Console(stderr=True)
    lost_before = (
        [row["switch"] for row in msgspec.json.decode(again.read_bytes()) if not row["noticed"]] if again else []
    )
    plan = [mutant for mutant in mutants(only) if again is None or str(mutant.switch) in lost_before]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with ThreadPoolExecutor(processes) as pool, Progress(*columns, console=err) as bar:
        verdicts = list(bar.track(pool.map(judge, plan), total=len(plan), description="rules off"))
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(by_domain(verdicts))
    lost = [verdict for verdict in verdicts if not verdict.noticed]
    for verdict in lost:
        console.print(f"[red]not noticed[/] {verdict.mutant.switch} {verdict.how}")
    console.print(f"{len(verdicts)} rules off, {len(verdicts) - len(lost)} noticed")
    if json is not None:
        rows = [{"switch": str(v.mutant.switch), "noticed": v.noticed, "how": v.how} for v in verdicts]
        json.write_bytes(msgspec.json.format(msgspec.json.encode(rows)))
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    app()
