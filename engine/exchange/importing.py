"""An import: rows of a file through the road of every create, in batches, with a report that names what does not fit.

A batch that the database or a rule refuses is undone to its savepoint. Rows that the refusal names are reported and the others
tried again; when it names none, each half is tried by itself, until single rows are left.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.attempts import attempt
from engine.catalog import Resource
from engine.errors import ApiError, Fault, ValidationError
from engine.exchange.sources import Row, batches
from engine.moment import UnitOfWork
from engine.parse import BodyReader
from engine.shapes import Incoming
from engine.store import retriable, translate

# faults that a report lists; all are counted
LISTED = 1000
PLACE = re.compile(r"\[(\d+)\]\.?(.*)", re.DOTALL).fullmatch
Numbered = tuple[int, Incoming]
# how many of the rows are created and how many updated
Put = Callable[[UnitOfWork, Sequence[Incoming]], Awaitable[tuple[int, int]]]
Watch = Callable[[int], None]


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
        text = f"{self.failed} of {self.rows} rows do not fit, so nothing was imported; each detail's params name the row"
        details = [
            Fault(told["field"], told["code"], told["message"], {**told["params"], "row": told["row"]})
            for told in self.errors
        ]
        return ValidationError("validation_error", text, details=details)


class Rehearsed(Exception):
    """Carries the report out of a transaction that has to be rolled back."""


class Importer:
    """One import into one entity. `put` writes rows as the caller may."""

    def __init__(self, resource: Resource, reader: BodyReader, put: Put, watch: Watch = unseen) -> None:
        self.resource, self.reader, self.put, self.watch = resource, reader, put, watch
        self.report = Report()

    async def whole(self, unit: UnitOfWork, rows: Iterator[Row], *, dry_run: bool) -> Report:
        """All rows or none, in the transaction of the unit. Raises 422 for rows that do not fit, Rehearsed for a rehearsal."""
        self.report = Report()
        for batch in batches(rows):
            await self._batch(unit, batch)
        if dry_run:
            raise Rehearsed
        if self.report.failed:
            raise self.report.error()
        return self.report

    async def each(self, unit: UnitOfWork, rows: Iterator[Row]) -> Report:
        """Every row that fits, a transaction a batch."""
        for batch in batches(rows):
            async with unit:
                await self._batch(unit, batch)
            await unit.after_commit()
        return self.report

    async def _batch(self, unit: UnitOfWork, batch: list[Row]) -> None:
        fitting = self._read(batch)
        if fitting:
            await self._put(unit, fitting)
        self.watch(self.report.rows)

    def _read(self, batch: list[Row]) -> list[Numbered]:
        """The rows that fit their columns; the others are reported."""
        self.report.rows += len(batch)
        clean = [row for row in batch if not row.faults]
        quick = self.reader.read_items([row.item for row in clean])
        if quick is not None and len(clean) == len(batch):
            return [(row.number, incoming) for row, incoming in zip(clean, quick, strict=True)]
        found = []
        for row in batch:
            faults = list(row.faults)
            try:
                incoming = self.reader.read_item(row.item)
            except ApiError as error:
                named = {fault.field for fault in faults}
                faults += [fault for fault in error.details if fault.field not in named]
            if faults:
                self.report.refuse(row.number, faults)
            else:
                found.append((row.number, incoming))
        return found

    async def _put(self, unit: UnitOfWork, rows: list[Numbered]) -> None:
        try:
            async with attempt(unit):
                created, updated = await self.put(unit, [incoming for _, incoming in rows])
        except Exception as error:
            refusal = translate(error, self.resource, writing=True)
            if refusal.status >= 500 or retriable(error) or (error.__cause__ is not None and retriable(error.__cause__)):
                raise
            await self._divide(unit, rows, refusal)
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
        for place, faults in blamed.items():
            self.report.refuse(rows[place][0], faults)
        rest = [row for place, row in enumerate(rows) if place not in blamed]
        middle = (len(rest) + 1) // 2
        # what named its rows has probably named all of them; what names one of many would be asked once for each
        parts = [rest] if len(blamed) * 8 > len(rows) or len(rest) == 1 else [rest[:middle], rest[middle:]]
        for part in (part for part in parts if part):
            await self._put(unit, part)


def _of_row(fault: Fault) -> Fault:
    """The fault without the row's place in the batch."""
    place = PLACE(fault.field)
    return Fault(place[2], fault.code, fault.message, fault.params) if place is not None else fault
