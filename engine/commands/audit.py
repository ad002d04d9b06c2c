"""`cxg audit verify`: recompute the hash chain of every change log."""

from __future__ import annotations

import sys
from typing import Annotated, NamedTuple

from cyclopts import App, Parameter
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from engine.chain import Log, home_of, logs_of
from engine.console import Data, Progress, Registries, configure, err, located, run_and_close, tenants_of
from engine.moment import Workshop
from engine.operations import Operations
from engine.types import TenantRef
from engine.verify import Verifier

COLUMNS = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())

audit_app = App(name="audit", help="The trail of all that was done.")


class Verdict(NamedTuple):
    """What was found of one log: how many rows are sealed, and what is wrong."""

    log: str
    tenant: str | None
    rows: int
    fault: str | None

    def __str__(self) -> str:
        name = f"{self.log} of {self.tenant}" if self.tenant else self.log
        return f"{name}: {self.fault}" if self.fault else f"{name}: {self.rows} rows, whole"


@audit_app.command
def verify(
    *,
    tenant: Annotated[str | None, Parameter(help="Only the log of this tenant, by its short name.")] = None,
    registry: Registries = None,
    data: Data = None,
) -> None:
    """Recompute the hash chain of the platform's log and of each tenant's. Exit code 1 when a row was changed, taken away, put
    in or moved, with the row's id. It may run while servers serve; records of the last second may not be sealed yet.
    """
    with located(configure(registries=registry, data=data), Progress()) as system:
        verdicts = run_and_close(system, verify_logs(system.operations, tenant))
    faults = [verdict for verdict in verdicts if verdict.fault]
    for verdict in faults or verdicts:
        print(verdict)
    if faults:
        sys.exit(1)


async def verify_logs(operations: Operations, slug: str | None = None) -> list[Verdict]:
    """What is found of every log, or of one tenant's alone."""
    catalog = operations.shop.catalog
    tenants = await tenants_of(operations, slug)
    logs = logs_of(catalog)
    places: list[tuple[Log, TenantRef | None]] = [(log, None) for log in logs if not log.bound and slug is None]
    places += [(log, tenant) for log in logs if log.bound for tenant in tenants]
    with Bar(*COLUMNS, console=err, transient=True) as bar:
        return [await _verify_one(operations.shop, log, tenant, bar) for log, tenant in places]


async def _verify_one(shop: Workshop, log: Log, tenant: TenantRef | None, bar: Bar) -> Verdict:
    key = tenant.id if tenant else None
    own, platform = shop.databases[log.resource.scope.name], shop.databases[home_of(shop.catalog) or ""]
    rows = (await own.run(key, log.counted, [key]))[0]["rows"]
    task = bar.add_task(f"{log.name} {tenant.slug}" if tenant else log.name, total=rows)
    fault = await Verifier(
        log,
        shop.vault,
        lambda text, arguments: own.run(key, text, arguments),
        lambda text, arguments: platform.run(None, text, arguments),
        lambda count: bar.advance(task, count),
    ).verify(key)
    bar.remove_task(task)
    return Verdict(log.name, tenant.slug if tenant else None, rows, fault)
