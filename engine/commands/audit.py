"""`cxg audit verify`: recompute the hash chain of every change log."""

from __future__ import annotations

import sys
from typing import Annotated, NamedTuple

from cyclopts import App, Parameter
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from engine.chain import Log, home_of, logs_of
from engine.console import Data, Progress, Registries, configure, err, located, run_and_close
from engine.errors import StartupFault
from engine.install import identity_of
from engine.main import System
from engine.types import TenantRef
from engine.verify import Verifier

COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())

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
        verdicts = run_and_close(system, verify_logs(system, tenant))
    faults = [verdict for verdict in verdicts if verdict.fault]
    for verdict in faults or verdicts:
        print(verdict)
    if faults:
        sys.exit(1)


async def verify_logs(system: System, slug: str | None = None) -> list[Verdict]:
    """What is found of every log, or of one tenant's alone."""
    identity = identity_of(system)
    async with system.unit(identity.scope) as unit:
        tenants = await identity.all_tenants(unit)
    if slug is not None:
        tenants = [tenant for tenant in tenants if tenant.slug == slug]
        if not tenants:
            raise StartupFault(f"there is no tenant {slug!r}")
    logs = logs_of(system.catalog)
    places: list[tuple[Log, TenantRef | None]] = [(log, None) for log in logs if not log.bound and slug is None]
    places += [(log, tenant) for log in logs if log.bound for tenant in tenants]
    with Bar(*COLUMNS, console=err, transient=True) as bar:
        return [await _verify_one(system, log, tenant, bar) for log, tenant in places]


async def _verify_one(system: System, log: Log, tenant: TenantRef | None, bar: Bar) -> Verdict:
    databases, key = system.operations.shop.databases, tenant.id if tenant else None
    own, platform = databases[log.resource.scope.name], databases[home_of(system.catalog) or ""]
    rows = (await own.run(key, log.counted, [key]))[0]["rows"]
    name = f"{log.name} {tenant.slug}" if tenant else log.name
    task = bar.add_task(name, total=rows)
    fault = await Verifier(
        log,
        system.vault,
        lambda text, arguments: own.run(key, text, arguments),
        lambda text, arguments: platform.run(None, text, arguments),
        lambda count: bar.advance(task, count),
    ).verify(key)
    bar.remove_task(task)
    return Verdict(log.name, tenant.slug if tenant else None, rows, fault)
