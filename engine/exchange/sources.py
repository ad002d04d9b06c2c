"""Files, read row by row: each format as batches of rows, numbered as a spreadsheet or an editor does it."""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, tzinfo
from itertools import islice
from typing import IO, Any, BinaryIO, NamedTuple

import msgspec
from python_calamine import CalamineError, CalamineWorkbook

from engine.errors import ApiError, Fault, generic, invalid
from engine.exchange.cells import DOCUMENT, sheet_text
from engine.exchange.columns import Columns, Target
from engine.parse import KEYS, SUSPECT, count_keys, load_json
from engine.scalars import BadValue

BATCH = 1000
# characters of one cell, bytes of one line; the csv module keeps its limit for the whole process
MAX_CELL, MAX_LINE = 1 << 20, 4 << 20
# a sheet is unpacked in memory
MAX_SHEET = 256 << 20
DELIMITERS = ",;\t|"
csv.field_size_limit(MAX_CELL)


class Row(NamedTuple):
    """One row of a file: its number, and its values by field as a body would have them, or what is wrong with it."""

    number: int
    item: dict[str, Any]
    faults: tuple[Fault, ...] = ()


Batches = Iterator[list[Row]]


def batches(rows: Iterator[Row]) -> Batches:
    """Lists of at most BATCH rows."""
    while batch := list(islice(rows, BATCH)):
        yield batch


def _row(number: int, pairs: Iterator[tuple[Target, str]]) -> Row:
    """A row from the texts of its cells; an empty one is null or left out."""
    item: dict[str, Any] = {}
    faults: list[Fault] = []
    for target, text in pairs:
        if not text:
            if target.empty_is_null:
                item[target.name] = None
            continue
        if target.read is None:
            item[target.name] = text
            continue
        try:
            item[target.name] = target.read(text)
        except BadValue as bad:
            faults.append(Fault(target.name, bad.code, str(bad), bad.params))
    return Row(number, item, tuple(faults))


# -- CSV


def csv_rows(file: BinaryIO, columns: Columns) -> Iterator[Row]:
    """Rows of a CSV file in UTF-8; the delimiter is what the first line has most of."""
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        first = text.readline(MAX_LINE)
        text.seek(0)
        delimiter = max(DELIMITERS, key=first.count)
        lines = csv.reader(text, delimiter=delimiter, strict=True)
        places = columns.header(next(lines, []))
        width = 1 + max(place for place, _ in places)
        for number, cells in enumerate(lines, start=2):
            if cells:
                cells += [""] * (width - len(cells))
                yield _row(number, ((target, cells[place]) for place, target in places))
    except csv.Error as wrong:
        raise invalid([Fault("", "invalid_format", f"line {lines.line_num}: {wrong}")]) from None
    except UnicodeDecodeError:
        raise invalid([Fault("", "invalid_format", "the file is not UTF-8 text")]) from None
    finally:
        text.detach()


# -- NDJSON


def ndjson_rows(file: BinaryIO, columns: Columns) -> Iterator[Row]:
    """Rows of a file with one JSON object a line."""
    known: dict[str, Target | Fault | None] = {}
    number = 0
    while line := file.readline(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE:
            raise invalid([Fault("", "too_long", f"line {number} is longer than {MAX_LINE} bytes")])
        if line.strip():
            yield _object(number, line, columns, known)


def _object(number: int, line: bytes, columns: Columns, known: dict[str, Target | Fault | None]) -> Row:
    try:
        document = _decoded(line)
    except ApiError as wrong:
        return Row(number, {}, (Fault("", wrong.code, wrong.message),))
    if not isinstance(document, dict):
        return Row(number, {}, (Fault("", "invalid_format", "must be an object"),))
    item: dict[str, Any] = {}
    faults = []
    for key, value in document.items():
        if key not in known:
            known[key] = columns.find(key)
        target = known[key]
        if isinstance(target, Fault):
            faults.append(target)
        elif target is not None:
            _take(target, value, item, faults)
    return Row(number, item, tuple(faults))


def _decoded(line: bytes) -> Any:
    """A line as strictly read as a body is: no key twice, nothing dropped."""
    if not SUSPECT(line):
        try:
            document = DOCUMENT.decode(line)
        except (msgspec.DecodeError, RecursionError):
            return load_json(line)
        if count_keys(document) == len(KEYS(line)):
            return document
    return load_json(line)


def _take(target: Target, value: Any, item: dict[str, Any], faults: list[Fault]) -> None:
    try:
        item[target.name] = value if target.take is None else target.take(value)
    except BadValue as bad:
        faults.append(Fault(target.name, bad.code, str(bad), bad.params))


# -- XLSX


def sheet_rows(file: BinaryIO, columns: Columns, zone: tzinfo = UTC) -> Iterator[Row]:
    """Rows of the first sheet of a workbook. A time in it has no zone of its own: it is taken to be in `zone`."""
    rows = _sheet(file)
    places = columns.header([str(title) for title in next(rows, [])])
    for number, values in enumerate(rows, start=2):
        if any(value != "" for value in values):
            yield _row(number, ((target, sheet_text(target.kind, values[place], zone)) for place, target in places))


def _sheet(file: BinaryIO) -> Iterator[list[Any]]:
    try:
        with zipfile.ZipFile(file) as parts:
            size = sum(part.file_size for part in parts.infolist())
        if size > MAX_SHEET:
            raise generic("payload_too_large", f"A workbook holds at most {MAX_SHEET >> 20} MiB; send CSV or NDJSON")
        file.seek(0)
        return iter(CalamineWorkbook.from_filelike(file).get_sheet_by_index(0).iter_rows())
    except (CalamineError, zipfile.BadZipFile, OSError, ValueError):
        raise invalid([Fault("", "invalid_format", "the file is not an XLSX workbook")]) from None


def rows_of(name: str, file: BinaryIO, columns: Columns, zone: tzinfo = UTC) -> Iterator[Row]:
    """The rows of a file in the format `name`, from its beginning."""
    file.seek(0)
    return sheet_rows(file, columns, zone) if name == "xlsx" else SOURCES[name](file, columns)


def count_rows(name: str, file: BinaryIO) -> int | None:
    """About how many rows a file has: a cell may hold a line end, a workbook sheets that are not read."""
    file.seek(0)
    if name == "xlsx":
        try:
            with zipfile.ZipFile(file) as parts:
                sheets = [part for part in parts.namelist() if part.startswith("xl/worksheets/")]
                count = max((_occurrences(parts.open(sheet), b"<row") for sheet in sheets), default=0)
        except (zipfile.BadZipFile, zlib.error, OSError, ValueError):
            return None  # it is refused where it is read
    else:
        count = _occurrences(file, b"\n")
        if file.tell():
            file.seek(-1, io.SEEK_END)
            count += file.read() != b"\n"
    return max(count - (name != "ndjson"), 0)


def _occurrences(file: IO[bytes], mark: bytes) -> int:
    """How often the mark stands in what is left of a file."""
    count, tail = 0, b""
    while part := file.read(1 << 20):
        count += (tail + part).count(mark)
        tail = part[1 - len(mark) :] if len(mark) > 1 else b""
    return count


SOURCES: Mapping[str, Any] = {"csv": csv_rows, "ndjson": ndjson_rows}
