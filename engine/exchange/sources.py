"""Files, read row by row: each format as batches of rows, numbered as a spreadsheet or an editor does it."""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, tzinfo
from itertools import islice
from typing import IO, Any, BinaryIO, NamedTuple

import msgspec

from engine.errors import ApiError, Fault, invalid
from engine.exchange.cells import DOCUMENT, sheet_text
from engine.exchange.columns import Columns, Header, Target
from engine.exchange.sheets import CellError, sheet_values
from engine.parse import KEYS, SUSPECT, count_keys, load_json
from engine.scalars import BadValue

BATCH = 1000
# characters of one cell, bytes of one line; the csv module keeps its limit for the whole process
MAX_CELL, MAX_LINE = 1 << 20, 4 << 20
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
            value = target.read(text)
        except BadValue as bad:
            faults.append(Fault(target.name, bad.code, str(bad), bad.params))
            continue
        if not target.dropped:
            item[target.name] = value
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
        header = columns.header(next(lines, []))
        for number, cells in enumerate(lines, start=2):
            if any(cells):
                wrong = header.misfit(cells)
                yield _row(number, _under(header, cells)) if wrong is None else Row(number, {}, (wrong,))
    except csv.Error as wrong:
        raise invalid([Fault("", "invalid_format", f"line {lines.line_num}: {wrong}")]) from None
    except UnicodeDecodeError:
        way = 'save it as "CSV UTF-8", or as an XLSX workbook'
        raise invalid([Fault("", "invalid_format", f"the file is not UTF-8 text; {way}")]) from None
    finally:
        text.detach()


def _under(header: Header, cells: Sequence[str]) -> Iterator[tuple[Target, str]]:
    return ((target, cells[place]) for place, target in header.targets)


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
    if target.name in item:
        faults.append(Fault(target.name, "repeated", "is given by another member as well"))
        return
    try:
        taken = value if target.take is None else target.take(value)
    except BadValue as bad:
        faults.append(Fault(target.name, bad.code, str(bad), bad.params))
        return
    if not target.dropped:
        item[target.name] = taken


# -- XLSX


def sheet_rows(file: BinaryIO, columns: Columns, sheet: str | None = None, zone: tzinfo = UTC) -> Iterator[Row]:
    """Rows of a sheet of a workbook, the only filled one unless it is named. A time in it has no zone of its own: it is taken to be
    in `zone`."""
    rows = sheet_values(file, sheet)
    header = columns.header([str(title) for title in next(rows, [])])
    for number, values in enumerate(rows, start=2):
        if any(value != "" for value in values):
            wrong = header.misfit(values)
            yield _sheet_row(number, header, values, zone) if wrong is None else Row(number, {}, (wrong,))


def _sheet_row(number: int, header: Header, values: Sequence[Any], zone: tzinfo) -> Row:
    whole = [(target, values[place]) for place, target in header.targets]
    row = _row(
        number, ((target, sheet_text(target.kind, value, zone)) for target, value in whole if not _is_error(value))
    )
    way = "put it right in the spreadsheet, or empty the cell"
    errors = [
        Fault(target.name, "invalid_format", f"shows the error {value}; {way}")
        for target, value in whole
        if _is_error(value)
    ]
    return row._replace(faults=(*row.faults, *errors)) if errors else row


def _is_error(value: Any) -> bool:
    return isinstance(value, CellError)


def rows_of(name: str, file: BinaryIO, columns: Columns, sheet: str | None = None, zone: tzinfo = UTC) -> Iterator[Row]:
    """The rows of a file in the format `name`, from its beginning. `sheet`: of a workbook, the one that is meant."""
    file.seek(0)
    return sheet_rows(file, columns, sheet, zone) if name == "xlsx" else SOURCES[name](file, columns)


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
