"""Query string -> Listing. Pure. Unknown, repeated, misspelt or forbidden parameters are errors, never ignored."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from difflib import get_close_matches
from typing import Annotated, Any, NamedTuple
from urllib.parse import unquote_to_bytes
from uuid import UUID

import msgspec

from engine.catalog import Resource
from engine.errors import ApiError, Fault, ValidationError, invalid
from engine.fields import Field
from engine.filters import OPERATORS, Operator
from engine.paging import read_page, read_page_size
from engine.scalars import BadValue, walk_json
from engine.shapes import Condition, Deleted, Listing, Order

MAX_FILTERS = 20
MAX_CHOICES = 500
FILTER = re.compile(r"filter\[([^\[\]]*)\](?:\[([^\[\]]*)\])?")

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
}


class Asked(NamedTuple):
    """One parameter of the query string."""

    name: str
    value: str


def split_query(raw: bytes) -> list[Asked]:
    """Decode `a=b&c=d`. `+` is a space; 422 for bytes that are not UTF-8 text."""
    pairs: list[Asked] = []
    for part in raw.split(b"&"):
        if part:
            name, _, value = part.partition(b"=")
            try:
                pairs.append(Asked(_text(name), _text(value)))
            except UnicodeDecodeError:
                raise invalid([Fault("query", "invalid_format", "must be UTF-8 text, percent-encoded")]) from None
    return pairs


def _text(raw: bytes) -> str:
    text = (unquote_to_bytes(raw.replace(b"+", b" ")) if b"%" in raw or b"+" in raw else raw).decode()
    if "\x00" in text:
        raise invalid([Fault("query", "invalid_format", "must not contain the NUL character")])
    return text


def unknown(name: str, known: Any) -> ApiError:
    """400 with a hint."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    text = f"{name[:64]!r} is not a parameter here" + (f"; perhaps you meant {close[0]!r}" if close else "")
    return ValidationError("unknown_parameter", text, details=[Fault(name[:64], "unknown_parameter", text)], status=400)


def single(pairs: list[Asked], known: tuple[str, ...]) -> dict[str, str]:
    """Parameters that may stand once each."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            raise unknown(name, known)
        if name in found:
            raise ValidationError(
                "unknown_parameter",
                f"{name!r} is given twice",
                details=[Fault(name, "repeated", "is given twice")],
                status=400,
            )
        found[name] = value
    return found


def read_deleted(text: str) -> Deleted:
    """`exclude`, `include` or `only`."""
    if text not in ("exclude", "include", "only"):
        raise BadValue("invalid_choice", "must be exclude, include or only", choices=["exclude", "include", "only"])
    return text  # type: ignore[return-value]  # just compared with all its values


def read_count(text: str) -> Any:
    """`exact`, `estimated` or `none`."""
    if text not in ("exact", "estimated", "none"):
        raise BadValue("invalid_choice", "must be exact, estimated or none", choices=["exact", "estimated", "none"])
    return text


def read_search(text: str) -> str:
    """Search text, 1 to 200 characters."""
    if not 0 < len(text.strip()) <= 200:
        raise BadValue("out_of_range", "must have 1 to 200 characters", maximum=200)
    return text.strip()


def field_of(resource: Resource, name: str) -> Field:
    """A field that reads may name. Hidden ones do not exist."""
    field = resource.fields.get(name)
    if field is None or not field.shown:
        shown = [f.name for f in resource.shown]
        close = get_close_matches(name, shown, n=1, cutoff=0.6)
        raise BadValue(
            "unknown_field",
            f"{name[:64]!r} is not a field here" + (f"; perhaps you meant {close[0]!r}" if close else ""),
        )
    return field


def read_fields(resource: Resource, text: str) -> tuple[str, ...]:
    """`a,b` -> the fields to show."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in names:
        if name not in resource.nested:
            field_of(resource, name)
    return names


def read_sort(resource: Resource, text: str) -> tuple[Order, ...]:
    """`-created_at,name:nullslast` -> sort keys."""
    orders = []
    for part in text.split(","):
        name, _, nulls = part.strip().partition(":")
        field = field_of(resource, name.lstrip("-+") if name[:1] in "-+" else name)
        if not field.sortable:
            raise BadValue("invalid_choice", f"{field.name!r} cannot be sorted by")
        if nulls not in ("", "nullsfirst", "nullslast"):
            raise BadValue("invalid_choice", f"after {field.name!r} comes nullsfirst or nullslast, not {nulls[:32]!r}")
        orders.append(Order(field.name, name[:1] == "-", nulls[5:] or None))  # type: ignore[arg-type]
    if len({order.field for order in orders}) != len(orders):
        raise BadValue("repeated", "names a field twice")
    return tuple(orders)


def _read_one(field: Field, text: str) -> str:
    kind = READERS.get(field.scalar.name, str)
    if field.scalar.name == "text":
        choices = getattr(field.type, "enums", None)
        if choices and text not in choices:
            raise BadValue("invalid_choice", f"must be one of {', '.join(choices)}", choices=list(choices))
        walk_json(text)
        return text
    try:
        # texts are read as bodies are; leniently `2026` would be a moment in 1970
        value = msgspec.convert(text, kind, strict=kind not in (bool, INT8, float))
    except msgspec.ValidationError:
        raise BadValue("invalid_format", f"is not a {field.scalar.name} value: {text[:64]!r}") from None
    return _canonical(field, value, text)


def _canonical(field: Field, value: Any, text: str) -> str:
    if isinstance(value, Decimal) and (not value.is_finite() or abs(value.adjusted()) > 1000):
        raise BadValue("out_of_range", "must be a finite number of at most 1000 digits")
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        raise BadValue("out_of_range", "must be a finite number")
    if isinstance(value, datetime) and value.tzinfo is None:
        raise BadValue("invalid_format", "needs a time zone, such as 2026-01-31T10:00:00Z (a + is written %2B)")
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, (datetime, date, time)) else str(value)


def _read_bool(text: str) -> str:
    if text not in ("true", "false"):
        raise BadValue("invalid_choice", "must be true or false", choices=["true", "false"])
    return text


def _read_list(field: Field, text: str) -> list[str]:
    parts = text.split(",")
    if len(parts) > MAX_CHOICES:
        raise BadValue("out_of_range", f"takes at most {MAX_CHOICES} values", maximum=MAX_CHOICES)
    return [_read_one(field, part) for part in parts]


def _read_two(field: Field, text: str) -> list[str]:
    values = _read_list(field, text)
    if len(values) != 2:
        raise BadValue("invalid_format", "takes two values with a comma between")
    return values


def _read_items(text: str) -> list[str]:
    parts = text.split(",")
    if len(parts) > MAX_CHOICES:
        raise BadValue("out_of_range", f"takes at most {MAX_CHOICES} values", maximum=MAX_CHOICES)
    return parts


TAKES: dict[str, Callable[[Field, Operator, str], Any]] = {
    "one": lambda field, _op, text: _read_one(field, text),
    "many": lambda field, _op, text: _read_list(field, text),
    "two": lambda field, _op, text: _read_two(field, text),
    "bool": lambda _field, _op, text: _read_bool(text),
    "text": lambda _field, op, text: op.prepare(text),
    "item": lambda _field, _op, text: text,
    "items": lambda _field, _op, text: _read_items(text),
    "node": lambda field, _op, text: _read_one(field, text),
}


def read_condition(resource: Resource, name: str, operator: str, text: str) -> Condition:
    """`filter[name][operator]=text`, checked against the field."""
    field = field_of(resource, name)
    allowed = field.operators
    if operator not in allowed:
        takes = ", ".join(allowed) or "no filter"
        raise BadValue("invalid_choice", f"{name!r} takes {takes}; not {operator[:32]!r}", operators=list(allowed))
    row = OPERATORS[operator]
    return Condition(name, operator, TAKES[row.takes](field, row, text))


class Reading:
    """Collects the parameters of one query, faults included."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self.found: dict[str, Any] = {}
        self.conditions: list[Condition] = []
        self.faults: list[Fault] = []

    def take(self, name: str, value: str) -> None:
        """Read one parameter. 400 for one that is unknown or repeated."""
        filtered = FILTER.fullmatch(name)
        try:
            if filtered:
                self._filter(filtered.group(1), filtered.group(2), value)
            elif name in PARAMETERS:
                self._once(name)
                self.found[PARAMETERS[name][0]] = PARAMETERS[name][1](self.resource, value)
            else:
                raise unknown(name, (*PARAMETERS, "filter"))
        except BadValue as bad:
            self.faults.append(Fault(name[:80], bad.code, str(bad), bad.params))

    def _once(self, name: str) -> None:
        if PARAMETERS[name][0] in self.found:
            raise ValidationError(
                "unknown_parameter",
                f"{name!r} is given twice",
                details=[Fault(name, "repeated", "is given twice")],
                status=400,
            )

    def _filter(self, field: str, operator: str | None, value: str) -> None:
        condition = read_condition(self.resource, field, "eq" if operator is None else operator, value)
        if any((c.field, c.operator) == (condition.field, condition.operator) for c in self.conditions):
            raise BadValue("repeated", "is given twice; `in` takes several values")
        if len(self.conditions) >= MAX_FILTERS:
            raise BadValue("out_of_range", f"at most {MAX_FILTERS} filters", maximum=MAX_FILTERS)
        self.conditions.append(condition)


Reader = Callable[[Resource, str], Any]
PARAMETERS: Mapping[str, tuple[str, Reader]] = {
    "page": ("page", lambda _r, text: read_page(text)),
    "page_size": ("page_size", lambda _r, text: read_page_size(text)),
    "count": ("count", lambda _r, text: read_count(text)),
    "sort": ("sort", read_sort),
    "fields": ("fields", read_fields),
    "q": ("search", lambda resource, text: _searchable(resource, text)),
    "deleted": ("deleted", lambda _r, text: read_deleted(text)),
}


def _searchable(resource: Resource, text: str) -> str:
    if not resource.entity.search:
        raise BadValue("unknown_parameter", "no field of this entity is searched")
    return read_search(text)


DEFAULT = Listing()


def read_listing(resource: Resource, raw: bytes) -> Listing:
    """The query of a list. Raises 400 for unknown or repeated parameters, 422 with every bad value."""
    if not raw:
        return DEFAULT
    reading = Reading(resource)
    for name, value in split_query(raw):
        reading.take(name, value)
    if reading.faults:
        raise invalid(reading.faults)
    return Listing(**reading.found, conditions=tuple(reading.conditions))


def _read_each(resource: Resource, raw: bytes, known: tuple[str, ...]) -> dict[str, Any]:
    faults: list[Fault] = []
    read: dict[str, Any] = {}
    for name, value in single(split_query(raw), known).items():
        try:
            read[PARAMETERS[name][0]] = PARAMETERS[name][1](resource, value)
        except BadValue as bad:
            faults.append(Fault(name, bad.code, str(bad), bad.params))
    if faults:
        raise invalid(faults)
    return read


def read_paging(resource: Resource, raw: bytes) -> Listing:
    """`page` and `page_size` alone, as a history takes them."""
    return Listing(**_read_each(resource, raw, ("page", "page_size"))) if raw else DEFAULT


def read_view(resource: Resource, raw: bytes) -> tuple[tuple[str, ...], Deleted]:
    """`fields` and `deleted` of a get."""
    if not raw:
        return (), "exclude"
    view = _read_each(resource, raw, ("fields", "deleted"))
    return view.get("fields", ()), view.get("deleted", "exclude")
