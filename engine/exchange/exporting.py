"""An export: every row of a list as a stream of bytes, in memory that does not grow with it.

The rows come through a cursor of a read-only transaction, so all of them are of one moment. PostgreSQL renders the lines of CSV and
NDJSON; a workbook is written into a temporary file first.
"""

from __future__ import annotations

import asyncio
import csv
import io
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from decimal import Decimal
from typing import Any, BinaryIO, NamedTuple

import msgspec

from engine.catalog import Resource
from engine.exchange.cells import escaped
from engine.exchange.workbook import Workbook
from engine.formats import Format
from engine.moment import UnitOfWork
from engine.shapes import ListShape, Statement
from engine.sql.parts import fields_to_show

# bytes that a part of the stream aims at, and rows fetched for it
PART = 512 * 1024
FEWEST, MOST = 16, 4096
READ_ONLY = Statement("SET TRANSACTION READ ONLY", ())
CLOSE = Statement("CLOSE export", ())
ROWS = msgspec.json.Decoder(list[dict[str, Any]], float_hook=Decimal)
JSON = msgspec.json.Encoder(decimal_format="number")

Watch = Callable[[int], None]


class Export(NamedTuple):
    """What is exported: which rows, by which shape and values, as what."""

    resource: Resource
    shape: ListShape
    values: Mapping[str, Any]
    format: Format

    @property
    def names(self) -> list[str]:
        """Names of the columns, in order."""
        shown = fields_to_show(self.resource, self.shape.fields)
        return [*(field.name for field in shown), *(part.relation for part in self.shape.expand)]


async def parts_of(unit: UnitOfWork, export: Export, watch: Watch = lambda rows: None) -> AsyncGenerator[bytes, None]:
    """The file, in parts. What PostgreSQL refuses comes out before the first part."""
    made = workbook_parts if export.format.name == "xlsx" else line_parts
    async with aclosing(made(unit, export, watch)) as parts:
        async for part in parts:
            yield part


async def line_parts(unit: UnitOfWork, export: Export, watch: Watch) -> AsyncGenerator[bytes, None]:
    """Lines of CSV or NDJSON."""
    shop, resource = unit.shop, export.resource
    table, sealed = export.format.name == "csv", resource.path in shop.revealing
    # what the database cannot read is opened here, and becomes a line of CSV only then
    rendering = "csv" if table and not sealed else "json"
    end = "\r\n" if table else "\n"
    first = ",".join(export.names) + end if table else ""
    async with aclosing(_fetched(unit, export, rendering)) as lists:
        async for texts in lists:
            if sealed:
                texts = [shop.readable(resource, text) for text in texts]
            lines = _csv_lines(texts, export.names) if table and sealed else texts
            yield "".join((first, end.join(lines), end)).encode()
            first = ""
            watch(len(texts))
    if first:
        yield first.encode()


async def _fetched(unit: UnitOfWork, export: Export, rendering: str) -> AsyncGenerator[list[str], None]:
    """Rendered rows, as many at a time as make a part."""
    statement = unit.shop.question("export", export.resource, export.shape, rendering)
    async with unit:
        assert unit.connection is not None, "the block is inside the transaction"
        await unit.run(READ_ONLY, {})
        await unit.run(statement, export.values)
        count = FEWEST
        while texts := [record[0] for record in await unit.run(Statement(f"FETCH {count} FROM export", ()), {})]:
            unit.connection.rest()
            yield texts
            size = sum(map(len, texts)) // len(texts) + 1
            # a power of two, so that few statements are prepared
            count = min(max(1 << (PART // size).bit_length() >> 1, FEWEST), MOST, count * 4)
        await unit.run(CLOSE, {})


def _csv_lines(texts: Sequence[str], names: Sequence[str]) -> list[str]:
    """JSON rows as lines of CSV, alike those that PostgreSQL renders."""
    lines = []
    for row in ROWS.decode(f"[{','.join(texts)}]"):
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow([_cell(row[name]) for name in names])
        lines.append(line.getvalue())
    return lines


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return JSON.encode(value).decode()
    return escaped(value) if isinstance(value, str) else value


async def workbook_parts(unit: UnitOfWork, export: Export, watch: Watch) -> AsyncGenerator[bytes, None]:
    """A workbook of one sheet. 422 for a row that a sheet cannot hold."""
    with tempfile.TemporaryFile() as file:
        book = Workbook(file, fields_to_show(export.resource, export.shape.fields), export.names)
        async with aclosing(_fetched(unit, export, "json")) as lists:
            async for texts in lists:
                if export.resource.path in unit.shop.revealing:
                    texts = [unit.shop.readable(export.resource, text) for text in texts]
                await asyncio.to_thread(book.write, texts)
                watch(len(texts))
        await asyncio.to_thread(book.close)
        file.seek(0)
        while part := _read(file):
            yield part


def _read(file: BinaryIO) -> bytes:
    return file.read(PART)
