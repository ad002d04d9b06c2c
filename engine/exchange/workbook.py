"""A workbook written row by row: numbers as numbers where a spreadsheet keeps them exactly, days as days, the rest as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from math import isfinite
from typing import Any, BinaryIO

import msgspec

from engine.errors import ValidationError
from engine.fields import Field

MOST_ROWS, LONGEST = 1_048_575, 32_767
# digits that a spreadsheet keeps of a number, and the first day that all of them count alike
DIGITS, FIRST_DAY = 15, date(1900, 3, 1)
ROWS = msgspec.json.Decoder(list[dict[str, Any]], float_hook=Decimal)
JSON = msgspec.json.Encoder(decimal_format="number")
# texts are texts, whatever they look like
OPTIONS = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}


def _number(text: Any) -> Any:
    """A float where it stands for the decimal exactly; else the text."""
    number = Decimal(text)
    exact = number.is_finite() and len(number.normalize().as_tuple().digits) <= DIGITS and abs(number) < 10**DIGITS
    return float(number) if exact else text


def _float(value: Any) -> Any:
    number = float(value)
    if not isfinite(number):
        return str(value)
    return number if float(f"{number:.16G}") == number else repr(number)


def _day(text: str) -> Any:
    try:
        day = date.fromisoformat(text)
    except ValueError:  # before Christ, or infinity
        return text
    return day if day >= FIRST_DAY else text


def _scaled(field: Field) -> Callable[[Any], Any] | None:
    # a numeric that keeps the places it was given is a text: 5.00 is not 5
    return _number if getattr(field.type, "scale", None) is not None else None


def _document(value: Any) -> str:
    return JSON.encode(value).decode()


CELLS: dict[str, Callable[[Any], Any]] = {
    "bigint": _number,
    "float": _float,
    "date": _day,
    "jsonb": _document,
    "array": _document,
    "list": _document,
    "json": _document,
}


class Workbook:
    """One sheet, written into a file."""

    def __init__(self, file: BinaryIO, fields: Sequence[Field], names: Sequence[str]) -> None:
        """`names`: of all columns, those of the fields first."""
        # imported by whoever writes a workbook: it takes 6 MB, and most servers never do
        import xlsxwriter

        self.book = xlsxwriter.Workbook(file, OPTIONS)
        self.sheet = self.book.add_worksheet("rows")
        self.day = self.book.add_format({"num_format": "yyyy-mm-dd"})
        self.names = names
        self.kinds = [_scaled(f) if f.scalar.name == "numeric" else CELLS.get(f.scalar.name) for f in fields]
        self.kinds = [None if field.masked else kind for field, kind in zip(fields, self.kinds, strict=True)]
        self.kinds += [_document] * (len(names) - len(fields))
        self.rows = 0
        for place, name in enumerate(names):
            self.sheet.write_string(0, place, name)

    def write(self, texts: Sequence[str]) -> None:
        """Rows as JSON texts."""
        for row in ROWS.decode(f"[{','.join(texts)}]"):
            self.rows += 1
            if self.rows > MOST_ROWS:
                raise self._refused("", f"A sheet holds at most {MOST_ROWS} rows")
            for place, name in enumerate(self.names):
                value = row[name]
                if value is not None:
                    kind = self.kinds[place]
                    self._cell(place, kind(value) if kind is not None else value)

    def _cell(self, place: int, value: Any) -> None:
        if isinstance(value, bool):
            self.sheet.write_boolean(self.rows, place, value)
        elif isinstance(value, (int, float)):
            self.sheet.write_number(self.rows, place, value)
        elif isinstance(value, date):
            self.sheet.write_datetime(self.rows, place, value, self.day)
        else:
            text = value if isinstance(value, str) else _document(value)
            if len(text) > LONGEST:
                raise self._refused(self.names[place], f"A cell holds at most {LONGEST} characters")
            self.sheet.write_string(self.rows, place, text)

    def _refused(self, field: str, text: str) -> ValidationError:
        where = f"{field}: " if field else ""
        return ValidationError("validation_error", f"{where}{text}; export CSV or NDJSON, or fewer rows or fields")

    def close(self) -> None:
        """Write what is left."""
        self.book.close()
