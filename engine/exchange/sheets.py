"""Workbooks as people make them: which sheet is meant, its rows, and the errors that stand in its cells."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import IO, Any, BinaryIO
from xml.parsers import expat

from python_calamine import CalamineError, CalamineWorkbook, SheetTypeEnum

from engine.errors import ApiError, Fault, generic, invalid
from engine.parse import hint, printable

# a sheet is unpacked in memory
MAX_SHEET = 256 << 20
WORKBOOK, RELATED = "xl/workbook.xml", "xl/_rels/workbook.xml.rels"
# the type of a cell that holds an error, and the longest text of either
ERROR, SPAN = re.compile(rb"""\st\s*=\s*["']e["']""").search, 64
BROKEN = (zipfile.BadZipFile, zlib.error, expat.ExpatError, KeyError, OSError, RuntimeError, ValueError)


class CellError(str):
    """What a spreadsheet shows where it cannot tell a value: #DIV/0!, #N/A."""


def sheet_values(file: BinaryIO, asked: str | None) -> Iterator[list[Any]]:
    """Rows of the sheet that is called `asked`, or of the only one that is filled; a CellError for each error. 422 when it is not
    clear which sheet is meant, or for what is no workbook."""
    try:
        _require_room(file)
        book = CalamineWorkbook.from_filelike(file)
        name = _chosen(book, asked)
        sheet = book.get_sheet_by_name(name)
        with zipfile.ZipFile(file) as parts:
            part = _part_of(parts, name)
            if not _has_errors(parts, part):
                return iter(sheet.iter_rows())
        return _with_errors(iter(sheet.iter_rows()), sheet.start[1] if sheet.start else 0, _errors(file, part))
    except CalamineError as wrong:
        raise _no_workbook(f" that can be read: {wrong}") from None
    except BROKEN:
        raise _no_workbook() from None


def _require_room(file: BinaryIO) -> None:
    with zipfile.ZipFile(file) as parts:
        size = sum(part.file_size for part in parts.infolist())
    if size > MAX_SHEET:
        raise generic("payload_too_large", f"A workbook holds at most {MAX_SHEET >> 20} MiB; send CSV or NDJSON")
    file.seek(0)


def _no_workbook(why: str = "") -> ApiError:
    return invalid([Fault("", "invalid_format", f"the file is not an XLSX workbook{why}")])


def _chosen(book: CalamineWorkbook, asked: str | None) -> str:
    names = [sheet.name for sheet in book.sheets_metadata if sheet.typ == SheetTypeEnum.WorkSheet]
    shown = ", ".join(map(printable, names))
    if asked is not None:
        if asked not in names:
            text = f"the workbook has no sheet {printable(asked)!r}, but {shown}{hint(asked, names)}"
            raise invalid([Fault("sheet", "invalid_choice", text, {"choices": names})])
        return asked
    filled = names if len(names) == 1 else [name for name in names if book.get_sheet_by_name(name).start is not None]
    if len(filled) > 1:
        shown = ", ".join(map(printable, filled))
        text = f"more than one sheet of the workbook is filled ({shown}); sheet=<name> (--sheet of cxg import) says which is meant"
        raise invalid([Fault("sheet", "required", text, {"choices": filled})])
    return (filled or names)[0] if names else ""


# -- errors, which the reader of values takes for empty cells


def _part_of(parts: zipfile.ZipFile, name: str) -> str:
    """Where in the file a sheet stands."""
    places = {place.lower(): place for place in parts.namelist()}
    key = _attribute(parts, places[WORKBOOK], ("sheet", "name", name), ":id")
    target = _attribute(parts, places[RELATED], ("Relationship", "Id", key), "Target")
    return places[(target[1:] if target.startswith("/") else f"xl/{target}").lower()]


def _attribute(parts: zipfile.ZipFile, place: str, known: tuple[str, str, str], wanted: str) -> str:
    """Of the element with a name and an attribute, another attribute by the end of its name. ValueError when there is none."""
    element, attribute, value = known
    found: dict[str, str] = {}

    def start(name: str, given: dict[str, str]) -> None:
        if name.rpartition(":")[2] == element and given.get(attribute) == value:
            found.update(given)

    with parts.open(place) as part:
        _parser(start).ParseFile(part)
    [one] = [text for name, text in found.items() if name.endswith(wanted)]
    return one


def _parser(start: Callable[[str, dict[str, str]], None]) -> expat.XMLParserType:
    """Tells of elements and keeps none, so that memory does not grow with the file."""
    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = _no_doctype
    return parser


def _no_doctype(*_given: Any) -> None:
    raise ValueError("workbooks define no entities")


def _has_errors(parts: zipfile.ZipFile, place: str) -> bool:
    tail = b""
    with parts.open(place) as part:
        while piece := part.read(1 << 20):
            if ERROR(tail + piece):
                return True
            tail = piece[-SPAN:]
    return False


def _errors(file: BinaryIO, place: str) -> Iterator[tuple[int, int, str]]:
    """Row, column and text of each error, in the order of the file."""
    with zipfile.ZipFile(file) as parts, parts.open(place) as part:
        yield from _errors_of(part)


def _errors_of(part: IO[bytes]) -> Iterator[tuple[int, int, str]]:
    marks = Marks()
    parser = _parser(marks.start)
    parser.EndElementHandler, parser.CharacterDataHandler = marks.end, marks.text
    while piece := part.read(1 << 18):
        parser.Parse(piece)
        yield from marks.found
        marks.found.clear()
    parser.Parse(b"", True)


class Marks:
    """The errors that a parser of a sheet has come by."""

    def __init__(self) -> None:
        self.row = self.column = -1
        self.within = False
        self.said: str | None = None
        self.found: list[tuple[int, int, str]] = []

    def start(self, name: str, given: dict[str, str]) -> None:
        """A row or a cell says where it is, or follows the one before it."""
        match name.rpartition(":")[2]:
            case "row":
                self.row, self.column = int(given.get("r", self.row + 2)) - 1, -1
            case "c":
                self.column = _column(given["r"]) if "r" in given else self.column + 1
                self.within = given.get("t") == "e"
            case "v" if self.within:
                self.said = ""

    def text(self, text: str) -> None:
        """A part of what a cell holds."""
        if self.said is not None:
            self.said = (self.said + text)[:SPAN]

    def end(self, name: str) -> None:
        """A cell without a value is empty, whatever its type."""
        if self.said is not None and name.rpartition(":")[2] == "v":
            if self.said:
                self.found.append((self.row, self.column, self.said))
            self.said = None


def _column(reference: str) -> int:
    """`C4` -> 2."""
    number = 0
    for letter in reference[:SPAN].rstrip("0123456789"):
        number = number * 26 + ord(letter.upper()) - 64
    return number - 1


def _within(place: int) -> int:
    if place < 0:
        raise IndexError(place)
    return place


def _with_errors(rows: Iterator[list[Any]], left: int, errors: Iterator[tuple[int, int, str]]) -> Iterator[list[Any]]:
    """The rows of a sheet whose cells begin at the column `left`."""
    try:
        marked = groupby(errors, key=lambda error: error[0])
        place, found = next(marked, (-1, iter(())))
        for number, values in enumerate(rows):
            if number == place:
                for _, column, text in found:
                    values[_within(column - left)] = CellError(text)
                place, found = next(marked, (-1, iter(())))
            yield values
    except (*BROKEN, IndexError):
        raise _no_workbook() from None
    if place != -1:
        raise _no_workbook()
