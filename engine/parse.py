"""Body bytes -> rows. Pure.

Two roads with one verdict. The quick one decodes into the type made from the columns and gives up at anything odd;
the thorough one then looks at each field by itself, with the same annotation and the same `finish`, and reports every fault.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence, Sized
from decimal import Decimal
from difflib import get_close_matches
from functools import cached_property
from typing import Annotated, Any, Literal, TypedDict

import msgspec

from engine.catalog import Catalog, Resource
from engine.errors import ApiError, Fault, generic, invalid
from engine.fields import Field
from engine.scalars import MAX_DEPTH, MAX_NODES, BadValue, explain
from engine.shapes import Incoming, StatusChange

# of one list
MAX_ROWS = 10_000
Purpose = Literal["create", "update", "replace"]

# what the quick road must not decide: NUL, surrogates, more than six digits of a second
SUSPECT = re.compile(rb"\\u0000|\\u[dD][89a-fA-F]|:\d\d\.\d{7}").search
KEYS = re.compile(rb'"\s*:').findall
VERSION = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


def printable(name: Any) -> str:
    """A name from a request as it may stand in an answer."""
    return str(name)[:64].encode("utf-8", "replace").decode()


def hint(name: str, known: Any) -> str:
    """` (perhaps you meant ...)`, or nothing."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; perhaps you meant {close[0]!r}" if close else ""


def count_keys(value: Any) -> int:
    """Number of object keys inside a decoded jsonb value."""
    if isinstance(value, dict):
        return len(value) + sum(count_keys(item) for item in value.values())
    return sum(count_keys(item) for item in value) if isinstance(value, list) else 0


class BodyReader:
    """Reads the bodies of one entity for one purpose. Built at first use, kept for the life of the process."""

    def __init__(self, catalog: Catalog, resource: Resource, purpose: Purpose, *, under: str | None = None) -> None:
        """`under` is the column that a nested child takes from its header, so a body may not give it."""
        self.resource, self.purpose, self.under = resource, purpose, under
        self.versioned = purpose != "create" and resource.versioned
        self.fields: dict[str, Field] = {
            name: field
            for name, field in resource.fields.items()
            if name != under and (field.creatable if purpose == "create" else field.updatable)
        }
        self.required = () if purpose == "update" else tuple(n for n, f in self.fields.items() if f.required)
        # the annotation of plain jsonb takes null, whatever its column says
        self.never_null = frozenset(n for n, f in self.fields.items() if not f.nullable and f.annotation is Any)
        wanted = "c" if purpose == "create" else "u"
        self.nested = {
            n.key: BodyReader(
                catalog,
                catalog.find(resource.scope.name, n.entity),
                "create",
                under=n.link(catalog.find(resource.scope.name, n.entity).entity),
            )
            for n in resource.entity.nested
            if wanted in n.on
        }

    @cached_property
    def shape(self) -> Any:
        """The type of a body: every member optional, so that absent and null stay apart. A TypedDict lets unknown members pass;
        the count of keys finds them (`_quick`)."""
        members: dict[str, Any] = {name: field.annotation for name, field in self.fields.items()}
        members |= {key: list[child.shape] for key, child in self.nested.items()}  # type: ignore[name-defined]
        if self.versioned:
            members["version"] = VERSION | None
        return TypedDict(f"{self.resource.key}.{self.purpose}", members, total=False)  # type: ignore[operator]

    @cached_property
    def shapes(self) -> Any:
        """Type of a list of bodies."""
        return list[self.shape]  # type: ignore[name-defined]

    @cached_property
    def one(self) -> msgspec.json.Decoder[Any]:
        """Decoder of a single body."""
        return msgspec.json.Decoder(self.shape, float_hook=Decimal)

    @cached_property
    def many(self) -> msgspec.json.Decoder[Any]:
        """Decoder of a list of bodies."""
        return msgspec.json.Decoder(self.shapes, float_hook=Decimal)

    @cached_property
    def finishers(self) -> dict[str, Any]:
        """Field -> what makes of a decoded value the one that is kept, where there is something to do."""
        return {name: field.finish for name, field in self.fields.items() if field.finish is not None}

    @cached_property
    def virtual(self) -> frozenset[str]:
        """Fields without a column."""
        return frozenset(name for name, field in self.fields.items() if field.column is None)

    @cached_property
    def documents(self) -> frozenset[str]:
        """Fields whose value has keys of its own."""
        return frozenset(name for name, field in self.fields.items() if field.scalar.name in ("jsonb", "json"))

    def read(self, body: bytes) -> tuple[list[Incoming], bool]:
        """The rows of a body, and whether it was a list. Raises 400 and 422 with every fault."""
        many = body.lstrip()[:1] == b"["
        if many and self.purpose != "create":
            raise generic("validation_error", "one object is expected here, not a list")
        rows = self._quick(body, many)
        if rows is None:
            rows = self._thorough(body)
        return rows, many

    def read_items(self, items: Sequence[Mapping[str, Any]]) -> list[Incoming] | None:
        """Rows that are decoded already; None when one of them has to be looked at by itself (`read_item`)."""
        try:
            pairs = [self._finish(given) for given in msgspec.convert(items, self.shapes)]
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        whole = all(keys == count_keys(item) for (_, keys), item in zip(pairs, items, strict=True))
        return [row for row, _ in pairs] if whole else None

    def read_item(self, item: Mapping[str, Any]) -> Incoming:
        """One row that is decoded already. Raises 422 with every fault."""
        faults: list[Fault] = []
        row = self._row(item, faults, "")
        if faults:
            raise invalid(faults)
        return row

    def read_each(self, body: bytes) -> list[Incoming | ApiError]:
        """The rows of a list, and in the place of each that does not fit what is wrong with it."""
        rows = self._quick(body, True)
        if rows is not None:
            return list(rows)
        found: list[Incoming | ApiError] = []
        for item in few(load_json(body)):
            faults: list[Fault] = []
            row = self._row(item, faults, "")
            found.append(invalid(faults) if faults else row)
        return found

    def _quick(self, body: bytes, many: bool) -> list[Incoming] | None:
        if SUSPECT(body):
            return None
        try:
            decoded = (self.many if many else self.one).decode(body)
            few(decoded if many else ())
            keys = 0
            rows = []
            for given in decoded if many else (decoded,):
                row, count = self._finish(given)
                rows.append(row)
                keys += count
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        return rows if keys == len(KEYS(body)) else None

    def _finish(self, given: dict[str, Any]) -> tuple[Incoming, int]:
        """The row of a decoded body, which becomes its values; and how many keys the body has."""
        row, keys, finishers = Incoming(given), len(given), self.finishers
        if self.versioned and "version" in given:
            row.version = given.pop("version")
        if self.nested:
            keys += self._finish_nested(row)
        for name, value in given.items():
            if value is None:
                if name in self.never_null:
                    raise BadValue("required", name)
            elif name in finishers:
                given[name] = finishers[name](value)
        for name in self.documents:
            if name in given:
                keys += count_keys(given[name])
        for name in self.required:
            if name not in given:
                raise BadValue("required", name)
        if not self.virtual.isdisjoint(given):
            row.inputs = {name: given.pop(name) for name in self.virtual & given.keys()}
        return row, keys

    def _finish_nested(self, row: Incoming) -> int:
        keys = 0
        for key, child in self.nested.items():
            if key in row.values:
                pairs = [child._finish(item) for item in row.values.pop(key)]
                row.nested[key] = [pair[0] for pair in pairs]
                keys += sum(pair[1] for pair in pairs)
        return keys

    def _thorough(self, body: bytes) -> list[Incoming]:
        document = load_json(body)
        many = isinstance(document, list) and self.purpose == "create"
        few(document if many else ())
        faults: list[Fault] = []
        rows = [
            self._row(item, faults, f"[{index}]" if many else "")
            for index, item in enumerate(document if many else [document])
        ]
        if faults:
            raise invalid(faults)
        return rows

    def _row(self, item: Any, faults: list[Fault], path: str) -> Incoming:
        row = Incoming({})
        if not isinstance(item, dict):
            faults.append(Fault(path, "invalid_format", "must be an object"))
            return row
        dot = f"{path}." if path else ""
        for name, value in item.items():
            if name in self.fields:
                self._value(row, name, value, faults, dot)
            elif name in self.nested:
                self._children(row, name, value, faults, dot)
            elif name == "version" and self.versioned:
                row.version = read_version(value, faults)
            else:
                faults.append(self._refused(name, dot))
        for name in self.required:
            if name not in item:
                faults.append(Fault(dot + name, "required", "must be given"))
        return row

    def _value(self, row: Incoming, name: str, value: Any, faults: list[Fault], dot: str) -> None:
        field = self.fields[name]
        try:
            read = read_value(field, value)
        except BadValue as bad:
            faults.append(Fault(dot + name, bad.code, str(bad), bad.params))
            return
        (row.values if field.column is not None else row.inputs)[name] = read

    def _children(self, row: Incoming, name: str, value: Any, faults: list[Fault], dot: str) -> None:
        if not isinstance(value, list):
            faults.append(Fault(dot + name, "invalid_format", "must be a list of objects"))
            return
        child = self.nested[name]
        row.nested[name] = [child._row(item, faults, f"{dot}{name}[{index}]") for index, item in enumerate(value)]

    def _refused(self, name: str, dot: str) -> Fault:
        shown = printable(name)
        field = self.resource.fields.get(name)
        if field is None or field.concealed or name == self.under:
            return Fault(
                dot + shown, "field_not_allowed", "is not a field here" + hint(shown, (*self.fields, *self.nested))
            )
        if field.once and self.purpose != "create":
            return Fault(dot + shown, "write_once", "can only be given at creation")
        if field.barred:
            return Fault(dot + shown, "field_not_allowed", "may not be set with your roles")
        return Fault(dot + shown, "field_not_allowed", "is set by the engine")


def few(items: Sized) -> Any:
    """The list; 413 when it is too long."""
    if len(items) > MAX_ROWS:
        raise generic("payload_too_large", f"A list has at most {MAX_ROWS} rows; send several")
    return items


def read_value(field: Field, value: Any) -> Any:
    """One JSON value as its column takes it. Raises BadValue."""
    if value is None and not field.nullable:
        raise BadValue("required", "must not be null")
    if isinstance(value, Decimal) and field.scalar.name == "float":
        value = float(value)
    if isinstance(value, str) and field.scalar.name == "timestamptz" and re.search(r"\.\d{7}", value):
        raise BadValue("invalid_format", "must have at most six digits of a second")
    try:
        read = msgspec.convert(value, field.annotation)
    except (msgspec.ValidationError, UnicodeEncodeError) as wrong:
        raise BadValue(explain(str(wrong)), _sentence(field, str(wrong)), **_limits(field)) from None
    return read if read is None or field.finish is None else field.finish(read)


def _sentence(field: Field, message: str) -> str:
    choices = getattr(field.type, "enums", None)
    if choices:
        return f"must be one of {', '.join(choices)}"
    return message.split(" - at ")[0].replace("Expected", "expected").replace("`", "")


def _limits(field: Field) -> dict[str, Any]:
    if getattr(field.type, "enums", None):
        return {"choices": list(field.type.enums)}
    length = getattr(field.type, "length", None)
    return {"max_length": length} if length else {}


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise generic("invalid_json", f"The key {printable(twice)!r} stands twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise generic("invalid_json", f"{name} is not JSON")


def load_json(body: bytes) -> Any:
    """Decode strictly: UTF-8, no duplicate keys, no NaN, exact numbers, bounded depth and size."""
    try:
        document = json.loads(body.decode(), object_pairs_hook=_pairs, parse_float=Decimal, parse_constant=_no_constant)
    except (UnicodeDecodeError, RecursionError, ValueError) as wrong:
        where = f" (line {wrong.lineno}, column {wrong.colno})" if isinstance(wrong, json.JSONDecodeError) else ""
        raise generic("invalid_json", f"The body is not valid JSON{where}") from None
    if _size(document, 0) > MAX_NODES * 50:
        raise generic("too_complex", "The body has too many values")
    return document


def _size(value: Any, depth: int) -> int:
    if depth > MAX_DEPTH:
        raise generic("too_complex", f"The body is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        return 1 + sum(_size(item, depth + 1) for item in value.values())
    return 1 + sum(_size(item, depth + 1) for item in value) if isinstance(value, list) else 1


def read_version(value: Any, faults: list[Fault]) -> int | None:
    """A row version out of a body."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31):
        return value
    faults.append(Fault("version", "invalid_format", "must be the version that was read, a whole number from 1"))
    return None


def read_members(body: bytes, known: Mapping[str, bool]) -> dict[str, Any]:
    """A small fixed object: `known` says for each member whether it is required."""
    document = load_json(body)
    if not isinstance(document, dict):
        raise invalid([Fault("", "invalid_format", "must be an object")])
    faults = [
        Fault(printable(n), "field_not_allowed", "is not a field here" + hint(printable(n), known))
        for n in document
        if n not in known
    ]
    faults += [
        Fault(name, "required", "must be given") for name, needed in known.items() if needed and name not in document
    ]
    if faults:
        raise invalid(faults)
    return document


STATUS = msgspec.json.Decoder(dict[Literal["status", "version", "reason"], str | int | None])


def _quick_status(body: bytes) -> dict[Any, Any] | None:
    """The members of an ordinary status body; None for anything that has to be looked at closely."""
    try:
        given = STATUS.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    plain = isinstance(given.get("status"), str) and len(given) == len(KEYS(body)) and not SUSPECT(body)
    return given if plain else None


def read_status(body: bytes, states: tuple[str, ...], *, versioned: bool = True) -> StatusChange:
    """`{"status", "version"?, "reason"?}`."""
    known = {"status": True, "version": False, "reason": False} if versioned else {"status": True, "reason": False}
    given = (_quick_status(body) if versioned else None) or read_members(body, known)
    faults: list[Fault] = []
    version = read_version(given.get("version"), faults)
    if given["status"] not in states:
        faults.append(
            Fault("status", "invalid_choice", f"must be one of {', '.join(states)}", {"choices": list(states)})
        )
    reason = given.get("reason")
    if reason is not None and (
        not isinstance(reason, str) or len(reason) > 500 or "\x00" in reason or not reason.isprintable()
    ):
        faults.append(Fault("reason", "invalid_format", "must be a text of at most 500 printable characters"))
    if faults:
        raise invalid(faults)
    return StatusChange(given["status"], version, reason)
