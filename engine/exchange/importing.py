"""An import: rows of a file through the road of every create, in batches, with a report that names what does not fit.

A batch that the database or a rule refuses is undone to its savepoint. Rows that the refusal names are reported and the others
tried again; when it names none, each half is tried by itself, until single rows are left.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import msgspec

from engine.attempts import attempt
from engine.catalog import Resource
from engine.clashes import located
from engine.errors import ApiError, Fault, ValidationError
from engine.exchange.sources import Batches, Row, batches
from engine.moment import UnitOfWork
from engine.parse import SUSPECT, BodyReader
from engine.records import Ready
from engine.shapes import Incoming
from engine.store import retriable, translate

# faults that a report lists; all are counted
LISTED = 1000
PLACE = re.compile(r"\[(\d+)\]\.?(.*)", re.DOTALL).fullmatch
Numbered = tuple[int, Incoming]
Watch = Callable[[int], None]


class Put(Protocol):
    """How rows are written."""

    def ready(self, unit: UnitOfWork, rows: Sequence[Incoming]) -> Ready | None:
        """What can be done beforehand, in a thread; None = nothing."""

    async def put(self, unit: UnitOfWork, rows: Sequence[Incoming], ready: Ready | None) -> tuple[int, int]:
        """How many of the rows are created and how many updated."""


def unseen(_rows: int) -> None:
    """Where nobody watches."""


@dataclass
class Report:
    """What became of the rows. `failed`: rows that do not fit; `errors`: the first of their faults."""

    rows: int = 0
    created: int = 0
    updated: int = 0
    failed: int = 0
    faults: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def refuse(self, number: int, faults: Sequence[Fault]) -> None:
        """A row does not fit."""
        self.failed += 1
        self.faults += len(faults)
        for fault in faults[: LISTED - len(self.errors)]:
            told = {"field": fault.field, "code": fault.code, "message": fault.message, "params": dict(fault.params)}
            self.errors.append({"row": number, **told})

    def error(self) -> ValidationError:
        """422 of an import of which nothing stays."""
        text = (
            f"{self.failed} of {self.rows} rows do not fit, so nothing was imported; each detail's params name the row"
        )
        details = [
            Fault(told["field"], told["code"], told["message"], {**told["params"], "row": told["row"]})
            for told in self.errors
        ]
        return ValidationError("validation_error", text, details=details)


class Read(NamedTuple):
    """A batch: how many rows, those that fit their columns, what is wrong with the others, and what was done beforehand."""

    rows: int
    fitting: list[Numbered]
    refused: list[tuple[int, list[Fault]]]
    ready: Ready | None = None


class Importer:
    """One import into one entity. `put` writes rows as the caller may."""

    def __init__(self, resource: Resource, reader: BodyReader, put: Put, watch: Watch = unseen) -> None:
        self.resource, self.reader, self.put, self.watch = resource, reader, put, watch
        self.report = Report()

    async def run(self, unit: UnitOfWork, rows: Iterator[Row]) -> Report:
        """Write every row that fits, in the transaction of the unit; whoever began it decides whether that stays.

        The next batch is read in a thread while the database writes the present one.
        """
        lists = batches(rows)
        ahead = asyncio.ensure_future(asyncio.to_thread(self._next, unit, lists))
        try:
            while (batch := await ahead) is not None:
                ahead = asyncio.ensure_future(asyncio.to_thread(self._next, unit, lists))
                await self._write(unit, batch)
        finally:
            # the file is its caller's to close
            await asyncio.wait([ahead])
        return self.report

    async def _write(self, unit: UnitOfWork, batch: Read) -> None:
        self.report.rows += batch.rows
        for number, faults in batch.refused:
            self.report.refuse(number, faults)
        if batch.fitting:
            await self._put(unit, batch.fitting, batch.ready)
        self.watch(batch.rows)

    def _next(self, unit: UnitOfWork, lists: Batches) -> Read | None:
        batch = next(lists, None)
        if batch is None:
            return None
        read = self._read(batch)
        return read._replace(ready=self.put.ready(unit, [row for _, row in read.fitting])) if read.fitting else read

    def _read(self, batch: list[Row]) -> Read:
        clean = [row for row in batch if not row.faults]
        odd = any(self._is_odd(row.item) for row in clean) if self.reader.nested else False
        quick = None if odd else self.reader.read_items([row.item for row in clean])
        if quick is not None and len(clean) == len(batch):
            return Read(len(batch), [(row.number, incoming) for row, incoming in zip(clean, quick, strict=True)], [])
        found, refused = [], list[tuple[int, list[Fault]]]()
        for row in batch:
            faults = list(row.faults)
            named = {fault.field for fault in faults}
            try:
                incoming = self.reader.read_item(row.item)
            except ApiError as error:
                # what cannot be read at all says nothing of its fields
                faults += [fault for fault in error.details if not named & {"", fault.field}]
            if faults:
                refused.append((row.number, faults))
            else:
                found.append((row.number, incoming))
        return Read(len(batch), found, refused)

    def _is_odd(self, item: Mapping[str, Any]) -> bool:
        """Whether child rows hold what only a close look decides; texts of the row itself have had one."""
        below = [item[key] for key in self.reader.nested if key in item]
        try:
            return bool(below) and SUSPECT(msgspec.json.encode(below)) is not None
        except UnicodeEncodeError:
            return True

    async def _put(self, unit: UnitOfWork, rows: list[Numbered], ready: Ready | None = None) -> None:
        try:
            async with attempt(unit):
                created, updated = await self.put.put(unit, [incoming for _, incoming in rows], ready)
        except Exception as error:
            refusal = translate(error, self.resource, writing=True)
            if (
                refusal.status >= 500
                or retriable(error)
                or (error.__cause__ is not None and retriable(error.__cause__))
            ):
                raise
            await self._divide(unit, rows, await located(unit, refusal))
        else:
            self.report.created += created
            self.report.updated += updated

    async def _divide(self, unit: UnitOfWork, rows: list[Numbered], refusal: ApiError) -> None:
        if len(rows) == 1:
            faults = [_of_row(fault) for fault in refusal.details] or [Fault("", refusal.code, refusal.message)]
            self.report.refuse(rows[0][0], faults)
            return
        blamed: dict[int, list[Fault]] = {}
        for fault in refusal.details:
            place = PLACE(fault.field)
            if place is not None and int(place[1]) < len(rows):
                blamed.setdefault(int(place[1]), []).append(_of_row(fault))
        for index, faults in blamed.items():
            self.report.refuse(rows[index][0], faults)
        rest = [row for index, row in enumerate(rows) if index not in blamed]
        middle = (len(rest) + 1) // 2
        # what named its rows has probably named all of them; what names one of many would be asked once for each
        parts = [rest] if len(blamed) * 8 > len(rows) or len(rest) == 1 else [rest[:middle], rest[middle:]]
        for part in (part for part in parts if part):
            await self._put(unit, part)


def _of_row(fault: Fault) -> Fault:
    """The fault without the row's place in the batch."""
    place = PLACE(fault.field)
    return Fault(place[2], fault.code, fault.message, fault.params) if place is not None else fault
