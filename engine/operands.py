"""What a filter compares with: texts of the query string, or of JSON, as values of the field's type. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import msgspec

from engine.fields import Field
from engine.filters import Operator
from engine.scalars import BadValue, Native, walk_json

# a value as the query string has it, or several as JSON has them
Given = str | list[str]

INT8 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
# how a filter value of each scalar is understood; bounds of the column do not apply to what it is compared with
READERS: dict[str, Any] = {
    "uuid": UUID,
    "boolean": bool,
    "integer": INT8,
    "bigint": INT8,
    "float": float,
    "numeric": Decimal,
    "text": str,
    "date": date,
    "timestamptz": datetime,
    "time": Annotated[time, msgspec.Meta(tz=False)],
    "bytes": bytes,
}


# a value of each scalar, for who has written another
EXAMPLES = {
    "uuid": "018f2d5e-7a3c-7b1e-9c4d-2f6a8b0c1d3e",
    "boolean": "true",
    "integer": "10",
    "bigint": "10",
    "float": "0.5",
    "numeric": "10.50",
    "date": "2026-01-31",
    "timestamptz": "2026-01-31T10:00:00Z (a + is written %2B)",
    "time": "10:30:00",
    "bytes": "aGVsbG8=",
}


def _read_one(field: Field, text: str) -> str:
    kind = READERS.get(field.scalar.name, str)
    if field.scalar.name == "text":
        choices = getattr(field.type, "enums", None)
        if choices and text not in choices:
            raise _no_choice(list(choices), text)
        walk_json(text)
        return text
    if isinstance(field.type, Native):
        return _read_native(field, text)
    if field.scalar.beyond is not None and field.scalar.beyond(text):
        return text
    try:
        # texts are read as bodies are; leniently `2026` would be a moment in 1970
        value = msgspec.convert(text, kind, strict=kind not in (bool, INT8, float))
    except msgspec.ValidationError:
        raise _no_value(field, text) from None
    return _canonical(field, value)


def _read_native(field: Field, text: str) -> str:
    """A value of somebody else's type, read as bodies are."""
    if field.type.enums and text not in field.type.enums:
        raise _no_choice(list(field.type.enums), text)
    try:
        value = msgspec.convert(text, field.annotation)
    except (msgspec.ValidationError, UnicodeEncodeError):
        raise _no_value(field, text) from None
    return str(value if field.finish is None else field.finish(value))


def _no_value(field: Field, text: str) -> BadValue:
    """What is wrong with a text, and what would be right."""
    kind = field.scalar.name
    example = f", such as {EXAMPLES[kind]}" if kind in EXAMPLES else ""
    return BadValue("invalid_format", f"is not a value of type {kind}{example}: {text[:64]!r}{_empty(text)}")


def _no_choice(choices: list[str], text: str) -> BadValue:
    return BadValue("invalid_choice", f"must be one of {', '.join(choices)}{_empty(text)}", choices=choices)


def _empty(text: str) -> str:
    return "; [isnull]=true asks for what is empty" if text.lower() in ("null", "none", "") else ""


def _canonical(field: Field, value: Any) -> str:
    if isinstance(value, Decimal) and (not value.is_finite() or abs(value.adjusted()) > 1000):
        raise BadValue("out_of_range", "must be a finite number of at most 1000 digits")
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        raise BadValue("out_of_range", "must be a finite number")
    if isinstance(value, datetime) and value.tzinfo is None:
        raise BadValue("invalid_format", f"needs a time zone, such as {EXAMPLES['timestamptz']}")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return b64encode(value).decode()
    return value.isoformat() if isinstance(value, (datetime, date, time)) else str(value)


def _read_bool(text: str) -> str:
    if text not in ("true", "false"):
        raise BadValue("invalid_choice", "must be true or false", choices=["true", "false"])
    return text


def _read_list(field: Field, given: Given) -> list[str]:
    return [_read_one(field, part) for part in read_items(given)]


def _read_two(field: Field, given: Given) -> list[str]:
    values = _read_list(field, given)
    if len(values) != 2:
        raise BadValue("invalid_format", "takes two values with a comma between")
    return values


def read_items(given: Given) -> list[str]:
    """The values of a list, as texts."""
    return given if isinstance(given, list) else given.split(",")


def _read_item(field: Field, text: str) -> str:
    """One item of a list; those of jsonb are texts."""
    if field.item is not None:
        return _read_one(field.item, text)
    walk_json(text)
    return text


def _alone(given: Given) -> str:
    if isinstance(given, list):
        raise BadValue("invalid_format", "takes one value, not a list")
    return given


TAKES: dict[str, Callable[[Field, Operator, Given], Any]] = {
    "one": lambda field, _op, given: _read_one(field, _alone(given)),
    "many": lambda field, _op, given: _read_list(field, given),
    "two": lambda field, _op, given: _read_two(field, given),
    "bool": lambda _field, _op, given: _read_bool(_alone(given)),
    "text": lambda _field, op, given: op.prepare(_alone(given)),
    "item": lambda field, _op, given: _read_item(field, _alone(given)),
    "items": lambda field, _op, given: [_read_item(field, part) for part in read_items(given)],
    "node": lambda field, _op, given: _read_one(field, _alone(given)),
}
