"""Cells of a table: from the text of a cell to the JSON value that a body would have. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, time, tzinfo
from decimal import Decimal
from math import isfinite
from typing import Any

import msgspec

from engine.fields import Field
from engine.scalars import BadValue, Native

Read = Callable[[Any], Any]

MASK = "***"
# what a spreadsheet takes for a formula; `engine.sql.exports.FORMULA` is the same for PostgreSQL
FORMULA = re.compile(r"'*[-=+@\t\r\n]").match
ESCAPED = re.compile(r"'+[-=+@\t\r\n]").match
WHOLE = re.compile(r"[+-]?[0-9]{1,20}").fullmatch
FINE = re.compile(r"\.[0-9]{7}").search
TRUTH = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
DOCUMENT = msgspec.json.Decoder(float_hook=Decimal)


def escaped(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if FORMULA(text) else text


def unescaped(text: str) -> str:
    """The text that was escaped; any other as it is."""
    return text[1:] if ESCAPED(text) else text


def _whole(text: str) -> Any:
    return int(text) if WHOLE(text) else text


def _float(text: str) -> Any:
    try:
        number = float(text)
    except ValueError:
        return text
    return _finite(number)


def _finite(number: float) -> float:
    if not isfinite(number):
        raise BadValue("out_of_range", "must be a finite number")
    return number


def _truth(text: str) -> Any:
    return TRUTH.get(text.lower(), text)


def _moment(text: str) -> str:
    if FINE(text):
        raise BadValue("invalid_format", "must have at most six digits of a second")
    return text


def read_document(text: str) -> Any:
    """A JSON text. BadValue for any other, which must not become a JSON string by itself."""
    try:
        return DOCUMENT.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        raise BadValue("invalid_format", "must be JSON") from None


def _unmasked(read: Read) -> Read:
    def refuse(text: Any) -> Any:
        if text == MASK:
            raise BadValue("invalid_format", "is the mask that hides a value, not the value")
        return read(text)

    return refuse


def _unless(beyond: Callable[[str], object], read: Read) -> Read:
    return lambda text: text if beyond(text) else read(text)


# how the text of a cell becomes a JSON value; what is not here is read from the text itself
READERS: dict[str, Read] = {
    "integer": _whole,
    "float": _float,
    "boolean": _truth,
    "timestamptz": _moment,
    "jsonb": read_document,
    "array": read_document,
    "list": read_document,
    "json": read_document,
}


def reader_of(field: Field, *, guarded: bool) -> Read | None:
    """How a cell of the field is read, None = as it is. `guarded`: an apostrophe stands before what looks like a formula."""
    read = READERS.get(field.scalar.name)
    worded = field.scalar.name == "text" or (isinstance(field.type, Native) and read is None)
    if worded and guarded:
        read = unescaped
    if read is not None and field.scalar.beyond is not None:
        read = _unless(field.scalar.beyond, read)
    return _unmasked(read or _itself) if field.masked else read


def _exact_float(value: Any) -> Any:
    return _finite(float(value)) if isinstance(value, (int, Decimal)) and not isinstance(value, bool) else value


def _exact_moment(value: Any) -> Any:
    return _moment(value) if isinstance(value, str) else value


def _itself(value: Any) -> Any:
    return value


def taker_of(field: Field) -> Read | None:
    """How the value of a JSON member is read, None = as it is."""
    take = {"float": _exact_float, "timestamptz": _exact_moment}.get(field.scalar.name)
    return _unmasked(take or _itself) if field.masked else take


def sheet_text(kind: str, value: Any, zone: tzinfo) -> str:
    """The value of a sheet's cell as the text of one, for a column of this scalar. A time without a zone is in `zone`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if kind != "float":
            # what a spreadsheet counts is binary; it shows 15 digits, and those are what people mean
            value = float(f"{value:.15g}")
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime):
        if kind == "date" and value.time() == time():
            return value.date().isoformat()
        return (value.replace(tzinfo=zone) if kind == "timestamptz" else value).isoformat()
    return value.isoformat() if isinstance(value, (date, time)) else str(value)
