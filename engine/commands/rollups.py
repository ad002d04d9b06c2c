"""`cxg rollups check|rebuild`: find and mend computed columns that no longer hold what follows from their rows."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.progress import Progress as Bar
from rich.table import Table

from engine.console import Data, Progress, Registries, configure, err, located, out, run_and_close, tenants_of
from engine.main import System
from engine.moment import UnitOfWork
from engine.rollups import Drift, computing, drifts, mend
from engine.types import ENGINE, Principal

SHOWN = 50
TENANT = Annotated[str | None, Parameter(help="Slug of one tenant; unset = all, and the platform itself.")]

rollups_app = App(
    name="rollups",
    help="Computed columns (sums of lines, totals) are kept in each write. Drift comes from SQL by hand or a restored table.",
)


@rollups_app.command
def check(*, tenant: TENANT = None, registry: Registries = None, data: Data = None) -> None:
    """Compare every computed column with what follows from its rows. Exit status 1 when one has drifted."""
    with located(configure(registries=registry, data=data), Progress()) as system:
        found = run_and_close(system, _find(system, tenant))
    _tell(found)
    sys.exit(1 if found else 0)


@rollups_app.command
def rebuild(*, tenant: TENANT = None, registry: Registries = None, data: Data = None) -> None:
    """Write the right values where computed columns have drifted, with an audit record for each row."""
    with located(configure(registries=registry, data=data), Progress()) as system:
        found, rows = run_and_close(system, _mend(system, tenant))
    _tell(found)
    print(f"{rows} rows mended")


def _tell(found: list[tuple[str, Drift]]) -> None:
    table = Table("tenant", "entity", "id", "column", "stored", "right", title=f"{len(found)} values have drifted")
    for slug, drift in found[:SHOWN]:
        table.add_row(slug, drift.path, str(drift.id), drift.column, str(drift.stored), str(drift.right))
    out().print(table)
    if len(found) > SHOWN:
        print(f"... and {len(found) - SHOWN} more")


async def _units(system: System, tenant: str | None) -> AsyncIterator[tuple[str, UnitOfWork]]:
    """A unit of work for each scope, and in tenant-bound scopes for each tenant."""
    places = await tenants_of(system.operations, tenant, used=True)
    for scope in system.catalog.scopes.values():
        if not scope.tenant_bound and tenant is None:
            yield "", system.unit(scope.name)
        for place in places if scope.tenant_bound else ():
            yield place.slug, system.unit(scope.name, _engine_in(place))


def _engine_in(place: Any) -> Principal:
    return Principal(None, tenant=place, everything=ENGINE.everything)


async def _find(system: System, tenant: str | None) -> list[tuple[str, Drift]]:
    found = []
    with Bar(console=err, transient=True) as bar:
        async for slug, unit in _units(system, tenant):
            resources = computing(system.catalog, unit.scope)
            for resource in bar.track(resources, description=f"{slug or 'platform'}: {unit.scope}"):
                async with unit:
                    found += [(slug, drift) async for drift in drifts(unit, resource)]
    return found


async def _mend(system: System, tenant: str | None) -> tuple[list[tuple[str, Drift]], int]:
    found, rows = [], 0
    with Bar(console=err, transient=True) as bar:
        async for slug, unit in _units(system, tenant):
            resources = computing(system.catalog, unit.scope)
            for resource in bar.track(resources, description=f"{slug or 'platform'}: {unit.scope}"):
                async with unit:
                    here = [drift async for drift in drifts(unit, resource)]
                    rows += await mend(unit, resource, here) if here else 0
                found += [(slug, drift) for drift in here]
    return found, rows
