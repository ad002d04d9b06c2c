"""Export and import: tables as files."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import ExitStack
from datetime import UTC, tzinfo
from typing import Any, BinaryIO, Literal, NamedTuple
from zoneinfo import ZoneInfo

from engine.call import Call
from engine.encode import Answer, Streamed, error_of, success_of
from engine.errors import Fault, ForbiddenError, invalid
from engine.exchange.columns import Columns
from engine.exchange.exporting import Export, parts_of
from engine.exchange.importing import Importer, Put, Report, Watch, unseen
from engine.exchange.loading import Creating, Upserting
from engine.exchange.sources import count_rows, rows_of
from engine.exchange.trail import record_export
from engine.formats import FORMATS, Format, format_of_answer, format_of_body
from engine.handlers.later import export_later, respond_later, transfer_of, unit_of
from engine.moment import UnitOfWork
from engine.preferences import Preferences
from engine.query import GROUPING, PARAMETERS, Reading, refuse, split_query
from engine.questions import asked_values, list_shape
from engine.repetition import APPLIED, preferences_of, rehearse
from engine.scalars import BadValue
from engine.shapes import Listing
from engine.strangers import repeated, unknown
from engine.streaming import begun
from engine.transfers.ledger import Outcome, Transfer
from engine.types import Op

Mode = Literal["create", "upsert"]


# -- export


def _read_format(text: str) -> str:
    if text not in FORMATS:
        raise BadValue("invalid_choice", f"must be one of {', '.join(FORMATS)}", choices=list(FORMATS))
    return text


EXPORTING = {name: PARAMETERS[name] for name in ("sort", "q", "where", "fields", "deleted", "expand", "as_of")} | {
    "format": lambda reading, text: reading.keep("format", _read_format(text)),
    **{name: refuse(name, "a file holds rows; ask the list for groups and counts") for name in GROUPING},
}


async def export(call: Call) -> Answer | Streamed:
    """Every row of a list, as a file. The change log has a record of it before the first byte leaves."""
    reading = Reading(call.catalog, call.resource, call.service.limits)
    listing, asked = read_exporting(reading, call.request.query)
    form = FORMATS[asked] if asked else format_of_answer(call.request.header(b"accept"))
    wanted = export_of(call, listing, form)
    await call.service.budgets.admit_export(call.unit, call.resource, listing, (wanted.shape, wanted.values))
    if preferences_of(call.request).later:
        return await export_later(call, wanted)
    parts = parts_of(call.unit, wanted)
    await record_export(call.unit, call.resource, form, call.request.query.decode("ascii", "replace"))
    name = f"{call.resource.entity.name}.{form.name}".encode()
    headers = (
        (b"content-type", form.content_type),
        (b"content-disposition", b'attachment; filename="%b"' % name),
        (b"cache-control", b"no-store"),
    )
    return Streamed(200, headers, await begun(parts))


def read_exporting(reading: Reading, raw: bytes) -> tuple[Listing, str | None]:
    """What `sort`, `q`, `where`, `filter`, `fields`, `deleted` and `expand` ask for, and `format`. All rows of an expansion are
    meant, unless it has a limit."""
    reading.expansions.usual = 0  # a file is whole
    reading.take_all(raw, EXPORTING)
    asked = reading.found.pop("format", None)
    listing = reading.listing()
    if any(name in reading.resource.nested for name in listing.fields):
        raise invalid([Fault("fields", "unknown_field", "a list shows child rows by expand alone")])
    return listing, asked


def export_of(call: Call, listing: Listing, form: Format) -> Export:
    """The rows that the caller may see. 403 for a condition that looks where he may not."""
    shape = list_shape(listing, call.own(listing))._replace(counting="none")
    values = call.values()
    values.update(asked_values(listing))
    return Export(call.resource, shape, values, form)


# -- import


class Importing(NamedTuple):
    """How a file is to be imported: `given` = field by title of its columns; `sheet` = which one of a workbook."""

    mode: Mode = "create"
    on: str | None = None
    given: dict[str, str] = {}  # noqa: RUF012  never changed
    sheet: str | None = None


def read_importing(raw: bytes) -> Importing:
    """`mode=create|upsert`, `on=key`, `map[Title]=field`, `sheet=name`. 400 for any other parameter, 422 for a bad value."""
    found: dict[str, str] = {}
    given: dict[str, str] = {}
    for name, value in split_query(raw):
        title = name[4:-1] if name.startswith("map[") and name.endswith("]") else None
        if title is None and name not in ("mode", "on", "sheet"):
            raise unknown(name, ("mode", "on", "sheet", "map[Title]"))
        if (name in found) if title is None else (title in given):
            raise repeated(name)
        (found if title is None else given)[name if title is None else title] = value
    mode = found.get("mode", "create")
    if mode not in ("create", "upsert"):
        raise invalid([Fault("mode", "invalid_choice", "must be create or upsert", {"choices": ["create", "upsert"]})])
    if (mode == "upsert") != ("on" in found):
        raise invalid([Fault("on", "required", "mode=upsert and on=<unique key> go together")])
    return Importing("upsert" if mode == "upsert" else "create", found.get("on"), given, found.get("sheet"))


async def import_rows(call: Call) -> Answer:
    """The rows of a file: all or nothing, or with `Prefer: each` those that fit. A long file is taken, and goes on after the
    answer."""
    form = format_of_body(call.request.header(b"content-type"))
    asked = read_importing(call.request.query)
    if asked.sheet is not None and form.name != "xlsx":
        raise invalid(
            [Fault("sheet", "exclusive", f"is for workbooks; this file is {form.name.upper()}, which has none")]
        )
    wishes, defaults = preferences_of(call.request), call.service.shop.defaults
    bringing = Bringing(call, form, asked, putting(call, asked), wishes)
    with ExitStack() as stack:
        file = stack.enter_context(tempfile.TemporaryFile())
        async for part in call.request.stream(defaults["max_import_bytes"]):
            file.write(part)
        rows = await asyncio.to_thread(count_rows, form.name, file)
        own = not call.resource.scope.foreign  # else there is nowhere to keep what becomes of it
        if wishes.later or (own and (rows or 0) > defaults["async_rows"]):
            answer = await bringing.later(file, rows)
            stack.pop_all()
            return answer

        async def work(unit: UnitOfWork) -> Answer:
            report = await bringing.run(unit, file)
            if report.failed and not (wishes.each or wishes.dry_run):
                raise report.error()
            return success_of(report, 200, ((APPLIED, b"each"),) if wishes.each else ())

        return await call.write(work, transaction=True)


class Bringing(NamedTuple):
    """One import of a caller: of which format, how read, how written, how much of it stays."""

    call: Call
    form: Format
    asked: Importing
    put: Put
    wishes: Preferences

    async def run(self, unit: UnitOfWork, file: BinaryIO, watch: Watch = unseen) -> Report:
        """What becomes of the rows of the file, in the transaction of the unit."""
        resource, asked = self.call.resource, self.asked
        reader = self.call.service.reader(resource, "create")
        key = resource.unique_keys[asked.on] if asked.on is not None else None
        columns = Columns(reader, asked.given, guarded=self.form.name == "csv", key=key)
        rows = rows_of(self.form.name, file, columns, asked.sheet, zone_of(unit))
        report = await Importer(resource, reader, self.put, watch).run(unit, rows)
        report.skipped = list(columns.skipped)
        return report

    async def later(self, file: BinaryIO, rows: int | None) -> Answer:
        """202; the transfer closes the file."""
        wishes = self.wishes
        names = {"respond-async": wishes.later, "each": wishes.each, "dry-run": wishes.dry_run}
        transfer = transfer_of(self.call, "import", rows)
        transfer.file = file
        applied = [name for name, wished in names.items() if wished]
        return await respond_later(self.call, transfer, self.carry, applied, once=not wishes.dry_run)

    async def carry(self, transfer: Transfer) -> Outcome | None:
        """The import as a transfer: that it is done is written down where its rows are, so that both stand or neither."""
        call, wishes, unit = self.call, self.wishes, unit_of(self.call)
        ledger, file = call.service.carrier.ledger, transfer.file
        assert file is not None, "an import brings one"

        async def work(unit: UnitOfWork) -> Outcome:
            transfer.rows = 0
            report = await self.run(unit, file, transfer.watch)
            transfer.total = report.rows
            if wishes.dry_run:
                return Outcome(report)
            if report.failed and not wishes.each:
                raise Refused(report)
            await ledger.end(transfer, "done", Outcome(report), unit.connection)
            return Outcome(report)

        async def run(work: Any, *, transaction: bool) -> Any:
            return await call.service.perform(unit, work, transaction=transaction)

        try:
            if wishes.dry_run:
                return await rehearse(run, work)
            await run(work, transaction=True)
        except Refused as refused:
            refused.report.created = refused.report.updated = 0  # of what was done nothing stays
            error = error_of(refused.report.error(), call.request.id)
            return Outcome(refused.report, error | {"details": []})
        return None


class Refused(Exception):
    """Takes the report of an import of which nothing stays out of its transaction."""

    def __init__(self, report: Report) -> None:
        self.report = report


def zone_of(unit: UnitOfWork) -> tzinfo:
    """The time zone of the tenant, where a workbook's times are taken to be."""
    tenant = unit.principal.tenant
    return ZoneInfo(tenant.timezone) if tenant else UTC


def putting(call: Call, asked: Importing) -> Put:
    """How rows are written. 403 without the permission to update what an upsert finds; 422 for a key that is none."""
    operations, resource = call.service.operations, call.resource
    if asked.mode == "upsert":
        if not call.unit.principal.may(resource.permissions[Op.UPDATE]):
            raise ForbiddenError("permission_denied", f"This needs the permission {resource.permissions[Op.UPDATE]}")
        key = resource.unique_keys.get(asked.on or "") if Op.UPSERT in resource.ops else None
        if key is None:
            known = list(resource.unique_keys)
            text = f"names the unique key by which a row is known: {' or '.join(known) or 'there is none'}"
            raise invalid([Fault("on", "invalid_choice", text, {"choices": known})])
        return Upserting(call.service.many, resource, key)
    return Creating(operations, resource)
