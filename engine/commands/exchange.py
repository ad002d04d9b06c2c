"""`cxg export` and `cxg import`: tables as files, straight from and to the databases, as the engine itself."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, BinaryIO, Literal, NamedTuple
from zoneinfo import ZoneInfo

from cyclopts import Parameter
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.table import Table

from engine.catalog import Resource
from engine.clock import CLOCK
from engine.console import Data, Progress, Registries, configure, err, located, run_and_close
from engine.errors import StartupFault
from engine.exchange.columns import Columns
from engine.exchange.exporting import Export, parts_of
from engine.exchange.importing import Importer, Put, Report
from engine.exchange.loading import Creating, Upserting
from engine.exchange.sources import count_rows, rows_of
from engine.exchange.trail import record_export
from engine.formats import FORMATS, Format, format_of_name
from engine.handlers.exchange import read_exporting
from engine.handlers.later import count_exported
from engine.main import System
from engine.many import Many
from engine.moment import UnitOfWork
from engine.parse import BodyReader
from engine.query import Reading
from engine.questions import asked_values, list_shape
from engine.types import ENGINE, Op, TenantRef

COLUMNS = (
    *(SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()),
    *(TimeElapsedColumn(), TimeRemainingColumn()),
)
TOLD = 50

Entity = Annotated[str, Parameter(help="Path of the entity, such as tenants/crm/customers.")]
Tenant = Annotated[str | None, Parameter(help="Short name of the tenant whose rows they are.")]
Form = Annotated[Literal["csv", "ndjson", "xlsx"] | None, Parameter(help="Unset = as the file's name ends.")]
STANDARD = Path("-")


class Undone(Exception):
    """Rolls an import back."""


class Bringing(NamedTuple):
    """A file to import: which sheet of it, how its columns are called, how its rows are written, and which of them stay."""

    path: Path
    form: Format
    sheet: str | None
    titles: dict[str, str]
    on: str | None
    each: bool
    dry_run: bool


def export_file(  # budget: an argument is an option of the command line
    path: Annotated[Path, Parameter(allow_leading_hyphen=True, help="File to write; - is the standard output.")],
    *,
    entity: Entity,
    tenant: Tenant = None,
    query: Annotated[str, Parameter(help="As of a list: filter[status]=active&sort=name&fields=name,email.")] = "",
    format: Form = None,
    registry: Registries = None,
    data: Data = None,
) -> None:
    """Write every row of an entity into a CSV, NDJSON or XLSX file. The change log says so. A file that is there is replaced
    once the new one is whole.

    Examples
    --------
    cxg export plans.csv --entity manager/bill/plans
    cxg export plans.xlsx --entity manager/bill/plans --query 'sort=-amount'
    cxg export - --entity tenants/crm/leads --tenant acme --format csv | less
    """
    form = _format(path, format)
    with located(configure(registries=registry, data=data), Progress()) as system, _watched(entity) as watch:
        resource = _resource(system, entity, Op.EXPORT)
        with written(path) as file:
            run_and_close(system, _export(system, resource, (tenant, query, form), file, watch))
            file.flush()


def import_file(  # budget: an argument is an option of the command line
    path: Annotated[Path, Parameter(allow_leading_hyphen=True, help="File to read; - is the standard input.")],
    *,
    entity: Entity,
    tenant: Tenant = None,
    sheet: Annotated[str | None, Parameter(help="Which one of a workbook with several filled sheets.")] = None,
    map: Annotated[list[str] | None, Parameter(help='"Column title=field"; "Column title=" leaves it out.')] = None,
    upsert: Annotated[str | None, Parameter(help="Unique key by which rows are known: they are updated.")] = None,
    each: Annotated[bool, Parameter(negative="", help="Rows that fit stay, whatever the others are like.")] = False,
    dry_run: Annotated[bool, Parameter(negative="", help="Report, and leave everything as it is.")] = False,
    format: Form = None,
    registry: Registries = None,
    data: Data = None,
) -> None:
    """Read the rows of a CSV, NDJSON or XLSX file into an entity: all of them or, unless --each is given, none. Exit code 1
    when some do not fit.

    Examples
    --------
    cxg import leads.csv --entity tenants/crm/leads --tenant acme --dry-run
    cxg import plans.xlsx --entity manager/bill/plans --map 'Price=amount'
    zcat plans.gz | cxg import - --entity manager/bill/plans --format ndjson
    """
    titles = dict(_mapped(one) for one in map or ())
    asked = Bringing(path, _format(path, format), sheet, titles, upsert, each, dry_run)
    if sheet is not None and asked.form.name != "xlsx":
        raise StartupFault(f"--sheet is for workbooks; {path.name!r} is {asked.form.name.upper()}, which has none")
    with _opened(path) as file, located(configure(registries=registry, data=data), Progress()) as system:
        resource = _resource(system, entity, Op.IMPORT)
        with _watched(entity) as watch:
            watch.expect(count_rows(asked.form.name, file))
            report, kept = run_and_close(system, _import(system, resource, (tenant, asked), file, watch))
    _tell(report, kept=kept)
    if report.failed:
        sys.exit(1)


# -- the work


async def _export(
    system: System,
    resource: Resource,
    asked: tuple[str | None, str, Format],
    file: BinaryIO,
    watch: Watched,
) -> None:
    slug, query, form = asked
    unit = await _unit(system, resource, slug)
    listing, _ = read_exporting(Reading(system.catalog, resource), query.encode())
    values = unit.base(resource)
    values.update(asked_values(listing))
    await record_export(unit, resource, form, query)
    export = Export(resource, list_shape(listing)._replace(counting="none"), values, form)
    watch.expect(await count_exported(unit, export))
    async for part in parts_of(unit, export, watch):
        file.write(part)


async def _import(
    system: System, resource: Resource, asked: tuple[str | None, Bringing], file: BinaryIO, watch: Watched
) -> tuple[Report, bool]:
    """The report, and whether anything stays."""
    slug, bringing = asked
    unit = await _unit(system, resource, slug)
    reader, form = BodyReader(system.catalog, resource, "create"), bringing.form.name
    importer = Importer(resource, reader, _put(system, resource, bringing.on), watch)
    key = resource.unique_keys[bringing.on] if bringing.on is not None else None
    columns = Columns(reader, bringing.titles, guarded=form == "csv", key=key)
    zone = ZoneInfo(unit.principal.tenant.timezone) if unit.principal.tenant else UTC
    try:
        async with unit:
            report = await importer.run(unit, rows_of(form, file, columns, bringing.sheet, zone))
            report.skipped = list(columns.skipped)
            if bringing.dry_run or (importer.report.failed and not bringing.each):
                raise Undone
        await unit.after_commit()
    except Undone:
        return importer.report, False
    return importer.report, True


async def _unit(system: System, resource: Resource, slug: str | None) -> UnitOfWork:
    """The engine, bound to the tenant."""
    identity = system.catalog.identity
    tenant: TenantRef | None = None
    if resource.scope.tenant_bound:
        if slug is None or identity is None:
            raise StartupFault(f"the rows of {resource.path} belong to tenants; --tenant says to which")
        async with system.unit(identity.scope) as unit:
            known = {one.slug: one for one in await identity.all_tenants(unit)}
        if slug not in known:
            raise StartupFault(f"there is no tenant {slug!r}")
        tenant = known[slug]
    elif slug is not None:
        raise StartupFault(f"the rows of {resource.path} belong to no tenant")
    return system.unit(resource.scope.name, replace(ENGINE, tenant=tenant))


def _put(system: System, resource: Resource, on: str | None) -> Put:
    if on is None:
        return Creating(system.operations, resource)
    if on not in resource.unique_keys or Op.UPSERT not in resource.ops:
        raise StartupFault(f"--upsert takes one of: {', '.join(resource.unique_keys) or 'there is no unique key'}")
    return Upserting(Many(system.operations), resource, resource.unique_keys[on])


# -- what the command line says


def _resource(system: System, path: str, op: Op) -> Resource:
    """The entity at a path. StartupFault when there is none, or none that is exported or imported."""
    known = system.catalog.resources
    if path.strip("/") not in known:
        near = get_close_matches(path, known, n=1)
        raise StartupFault(f"no entity is called {path!r}" + (f"; perhaps {near[0]!r}" if near else ""))
    resource = known[path.strip("/")]
    if op not in resource.ops:
        raise StartupFault(
            f"{resource.path} has no {op.value}; it takes {', '.join(sorted(resource.ops)) or 'nothing'}"
        )
    return resource


def _format(path: Path, given: str | None) -> Format:
    if path != STANDARD and path.name.startswith("-"):
        raise StartupFault(f"there is no option {path.name}; ./{path.name} would be a file")
    form = FORMATS[given] if given else format_of_name(path.name)
    if form is None:
        raise StartupFault(f"--format says what {path.name!r} is: {', '.join(FORMATS)}")
    return form


@contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """The file to write. It stands beside the one of that name until it is whole: when anything goes wrong that stays as it was."""
    target = path.resolve()
    if path == STANDARD:
        yield sys.stdout.buffer
    elif target.exists() and not target.is_file():
        with target.open("wb") as file:  # a pipe or a device cannot be replaced
            yield file
    else:
        if target.exists():
            target.open("ab").close()  # what may not be written may not be replaced
        beside = target.with_name(f".{CLOCK.new_id().hex}.part")
        try:
            with beside.open("xb") as file:
                yield file
            if target.exists():
                shutil.copymode(target, beside)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file to read. The standard input is put into one first: its rows are counted, and a workbook is read by places."""
    if path != STANDARD:
        with path.open("rb") as file:
            yield file
        return
    with tempfile.TemporaryFile() as spooled:
        shutil.copyfileobj(sys.stdin.buffer, spooled)
        spooled.seek(0)
        yield spooled


def _mapped(text: str) -> tuple[str, str]:
    title, found, field = text.rpartition("=")
    if not found:
        raise StartupFault(f"--map takes 'Column title=field', not {text!r}")
    return title, field


class Watched:
    """A bar on the standard error, told how many more rows are done."""

    def __init__(self, bar: Bar, task: TaskID) -> None:
        self.bar, self.task = bar, task

    def __call__(self, rows: int) -> None:
        self.bar.advance(self.task, rows)

    def expect(self, total: int | None) -> None:
        """How many there will be; None = nobody knows."""
        self.bar.update(self.task, total=total)


@contextmanager
def _watched(name: str) -> Iterator[Watched]:
    with Bar(*COLUMNS, console=err, transient=True) as bar:
        yield Watched(bar, bar.add_task(name, total=None))


def _tell(report: Report, *, kept: bool) -> None:
    stays = "" if kept else "; nothing stays"
    print(f"{report.rows} rows: {report.created} created, {report.updated} updated, {report.failed} do not fit{stays}")
    if report.skipped:
        print(f"left out, since an import does not give them: {', '.join(report.skipped)}")
    if report.errors:
        table = Table("row", "field", "code", "message")
        for told in report.errors[:TOLD]:
            table.add_row(str(told["row"]), told["field"], told["code"], told["message"])
        err.print(table)
        if report.faults > TOLD:
            err.print(f"and {report.faults - TOLD} more")
