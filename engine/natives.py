"""Types that only other people's databases have, a row each, as `engine.scalars` has the engine's own.

Their values are texts as PostgreSQL writes them (intervals as ISO 8601 durations, which the connections ask for), checked by a
pattern here and by the type's own input function there; arrays are JSON lists. A type without a row goes in and out as text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from ipaddress import ip_interface, ip_network
from typing import Annotated, Any, Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.types import TypeEngine

from engine.scalars import (
    ORDERED,
    SORTED,
    WORDS,
    BadValue,
    Finish,
    Native,
    Scalar,
    as_text,
    decimal_finish,
    described,
    explain,
    no_nul,
    plain,
    scalar_of,
    walk_json,
)
from engine.types import Bounds

EQUAL = frozenset({"equal"})
NOTHING = frozenset({"null"})
MAX_DIMENSIONS = 6
TIME = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,DIGITS})?)?"
MIDNIGHT = r"24:00:00"
DAY = r"-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
DATE = f"[0-9]{{4}}{DAY}"
# years of five digits and more, those before Christ, and no end
LONG = f"[0-9]{{5,7}}{DAY}"
EVER = "-?infinity"
ZONE = r"(Z|[+-][0-9]{2}(:?[0-9]{2}){0,2})"
WHOLE = r"-?[0-9]{1,9}"
DURATION = (
    f"^P(?=.)({WHOLE}Y)?({WHOLE}M)?({WHOLE}W)?({WHOLE}D)?"
    rf"(T(?=.)(-?[0-9]{{1,10}}H)?({WHOLE}M)?(-?[0-9]{{1,9}}(\.[0-9]{{1,DIGITS}})?S)?)?$|^{EVER}$"
)
# a text that these shapes have can stand in a range's bounds; the rest is PostgreSQL's to say
RANGE = r"^(empty|[\[(].*,.*[\])])$"
MULTIRANGE = r"^\{.*\}$"


def _said(pattern: str, type_: Any) -> str:
    """The pattern, with as many digits of a second as the column keeps."""
    digits = 6 if type_.length is None else type_.length
    return pattern.replace(r"(\.[0-9]{1,DIGITS})?", "") if digits == 0 else pattern.replace("DIGITS", str(digits))


@dataclass(frozen=True)
class Form:
    """A type whose values are texts of one pattern. `check` looks closer; `show` makes the text where JSON has another."""

    name: str
    pattern: str = ""
    example: str = ""
    families: frozenset[str] = ORDERED
    check: Callable[[str], object] | None = None
    show: Callable[[Any], Any] | None = None
    record_type: str = "native"

    @property
    def scalar(self) -> Scalar:
        """The row."""
        keep = (lambda value, type_: sa.cast(value, type_)) if self.record_type != "native" else None
        return Scalar(
            self.name,
            (),
            self.record_type,
            self.families,
            self._annotation,
            self._schema,
            lambda _type, _bounds: self._read,
            self.show,
            keep,
        )

    def _annotation(self, type_: Any, _bounds: Bounds) -> Any:
        if type_.enums:
            return Literal[type_.enums]
        if self.pattern:
            return Annotated[str, msgspec.Meta(pattern=_said(self.pattern, type_))]
        return Annotated[str, msgspec.Meta(max_length=type_.length)] if type_.length else str

    def _schema(self, type_: Any, _bounds: Bounds) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "string"}
        if type_.enums:
            return {**schema, "enum": list(type_.enums)}
        if self.pattern:
            return {**schema, "pattern": _said(self.pattern, type_), "examples": [self.example]}
        return {**schema, "maxLength": type_.length} if type_.length else schema

    def _read(self, text: str) -> str:
        no_nul(text)
        if self.check is not None:
            try:
                self.check(text)
            except ValueError:
                raise BadValue("invalid_format", f"is not {self.name}, such as {self.example}") from None
        return text


def _money(type_: Any, bounds: Bounds) -> Finish:
    numeric: TypeEngine[Any] = sa.Numeric(19, 2)
    finish = scalar_of(numeric).finish(numeric, bounds)
    assert finish is not None
    return finish


def _json(_type: Any, _bounds: Bounds) -> Finish:
    def read(value: Any) -> Any:
        walk_json(value)
        return value

    return read


FORMS = (
    Form("enum"),
    Form("char", families=WORDS, show=as_text),
    Form("citext", families=WORDS),
    Form("name", families=WORDS),
    Form("timestamp", f"^({DATE}|{LONG})[T ]{TIME}( BC)?$|^{EVER}$", "2026-01-31T10:00:00"),
    Form("timestamptz", f"^({DATE}|{LONG})[T ]{TIME}{ZONE}( BC)?$|^{EVER}$", "2026-01-31T10:00:00+00:00"),
    Form("time", f"^({TIME}|{MIDNIGHT})$", "10:00:00"),
    Form("timetz", f"^({TIME}|{MIDNIGHT}){ZONE}$", "10:00:00+02"),
    Form("interval", DURATION, "P1DT2H"),
    Form("inet", r"^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$", "192.0.2.1", check=ip_interface),
    Form("cidr", r"^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$", "192.0.2.0/24", check=ip_network),
    Form("macaddr", r"^[0-9A-Fa-f]{2}([:-]?[0-9A-Fa-f]{2}){5}$", "08:00:2b:01:02:03", SORTED),
    Form("macaddr8", r"^[0-9A-Fa-f]{2}([:-]?[0-9A-Fa-f]{2}){5,7}$", "08:00:2b:01:02:03:04:05", SORTED),
    Form("range", RANGE, "empty", SORTED),
    Form("multirange", MULTIRANGE, "{}", SORTED),
    Form("bits", r"^[01]*$", "101", SORTED),
    Form("hex", r"^\\x([0-9A-Fa-f]{2})*$", "\\x00", SORTED),
    Form("letter", r"^([ -~]|\\[0-7]{3})?$", "x", SORTED, show=as_text, record_type="text"),
    Form("ltree", r"^[A-Za-z0-9_.-]*$", "top.science", SORTED, show=as_text, record_type="text"),
    Form("document", families=NOTHING, show=as_text, record_type="text"),
)
KNOWN: dict[str, Scalar] = {form.name: form.scalar for form in FORMS}
KNOWN["money"] = Scalar(
    "money",
    (),
    "numeric",
    ORDERED,
    plain(Decimal),
    described(type="string", pattern=r"^-?[0-9]{1,17}(\.[0-9]{1,2})?$", examples=["1"]),
    _money,
    lambda column: sa.cast(sa.cast(column, sa.Numeric), sa.Text),
    lambda value, type_: sa.cast(value, type_),
)
KNOWN["json"] = Scalar("json", (), "native", NOTHING, plain(Any), described(), _json)
# PostgreSQL's name of a type -> the row that serves it
BY_NAME: dict[str, str] = {
    "char": "letter",
    "bpchar": "char",
    "citext": "citext",
    "name": "name",
    "money": "money",
    "timestamp": "timestamp",
    "timestamptz": "timestamptz",
    "time": "time",
    "timetz": "timetz",
    "interval": "interval",
    "inet": "inet",
    "cidr": "cidr",
    "macaddr": "macaddr",
    "macaddr8": "macaddr8",
    "json": "json",
    "bit": "bits",
    "varbit": "bits",
    "ltree": "ltree",
}


def _open(name: str, values: TypeEngine[Any], ordinary: str, beyond: str, example: str) -> Scalar:
    """A row of `SCALARS` whose values may be beyond those that Python has."""
    row = scalar_of(values)
    kind, known = row.annotate(values, Bounds()), re.compile(beyond).fullmatch
    read_more = row.finish(values, Bounds())

    def read(text: str) -> Any:
        if known(text):
            return text
        try:
            value = msgspec.convert(text, kind)
        except msgspec.ValidationError:
            raise BadValue("invalid_format", f"is not a {name} value, such as {example}") from None
        return value if read_more is None else read_more(value)

    more = {"anyOf": [row.schema(values, Bounds()), {"type": "string", "pattern": f"^({beyond})$"}]}
    annotation = Annotated[str, msgspec.Meta(pattern=f"^({ordinary}|{beyond})$")]
    made = (plain(annotation), described(**more), lambda _type, _bounds: read)
    return replace(row, annotate=made[0], schema=made[1], finish=made[2], beyond=known)


def _open_numeric(type_: Any, bounds: Bounds) -> Finish:
    finite = decimal_finish(type_, bounds)

    def read(value: Decimal) -> Any:
        # checks of the database say whether it takes them
        return str(value) if ENDLESS(str(value)) else finite(value)

    return read


def _open_numeric_schema(type_: Any, bounds: Bounds) -> dict[str, Any]:
    schema = scalar_of(sa.Numeric()).schema(type_, bounds)
    finite = str(schema["pattern"]).removeprefix("^").removesuffix("$")
    return {**schema, "pattern": f"^({finite}|{NO_NUMBER})$"}


MOMENT = TIME.replace("DIGITS", "6")
NO_NUMBER = "NaN|-?Infinity"
ENDLESS = re.compile(NO_NUMBER).fullmatch
OPEN: dict[str, Scalar] = {
    "date": _open("date", sa.Date(), DATE, f"{EVER}|({DATE}|{LONG}) BC|{LONG}", "2026-01-31"),
    "timestamptz": _open(
        "timestamptz",
        sa.DateTime(timezone=True),
        f"{DATE}[T ]{MOMENT}{ZONE}",
        f"{EVER}|({DATE}|{LONG})[T ]{MOMENT}{ZONE} BC|{LONG}[T ]{MOMENT}{ZONE}",
        "2026-01-31T10:00:00Z",
    ),
    "float": replace(
        scalar_of(sa.Double()),
        annotate=plain(float | Literal["NaN", "Infinity", "-Infinity"]),
        schema=described(anyOf=[{"type": "number"}, {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}]),
        beyond=ENDLESS,
    ),
    "numeric": replace(scalar_of(sa.Numeric()), finish=_open_numeric, schema=_open_numeric_schema, beyond=ENDLESS),
}


class Date(sa.Date):
    """A date of somebody else's: infinity, before Christ and after 9999 too."""

    scalar = OPEN["date"]


class Moment(sa.DateTime):
    """The same of a timestamptz."""

    scalar = OPEN["timestamptz"]


class Numeric(sa.Numeric[Any]):
    """A numeric of somebody else's: NaN and infinity too."""

    scalar = OPEN["numeric"]


class Real(sa.REAL[Any]):
    """The same of four bytes."""

    scalar = OPEN["float"]


class Double(sa.Double[Any]):
    """The same of eight bytes."""

    scalar = OPEN["float"]


# types without a row, by what PostgreSQL can say of two of their values
DOCUMENT = {found: replace(KNOWN["document"], families=found) for found in (NOTHING, EQUAL, SORTED)}


def document_type(name: str, families: frozenset[str]) -> Native:
    """The type called `name`, of which nothing is known but how far its values compare."""
    return Native(name, DOCUMENT[families])


class Bytes(sa.LargeBinary):
    """Bytes that are compared."""

    scalar = replace(scalar_of(sa.LargeBinary()), families=SORTED)


def text_type(name: str, row: str = "document", *, enums: tuple[str, ...] = (), length: int | None = None) -> Native:
    """The type called `name`, of a row of this file."""
    return Native(name, KNOWN[row], enums=enums, length=length)


def list_of(name: str, item: TypeEngine[Any]) -> Native:
    """An array type, its items of a type that has a row."""
    one = scalar_of(item)
    if one.name in ("jsonb", "json"):
        return Native(name, DOCUMENTS, item=item)
    exact = one.show is not None
    made = Scalar(
        "list",
        (),
        "native",
        frozenset({"items"}) if "equal" in one.families else NOTHING,
        plain(list[Any]),
        lambda type_, bounds: {"type": "array", "items": _item_schema(type_.item, bounds)},
        lambda type_, bounds: _reader(type_.item, bounds),
        (lambda column: sa.cast(column, pg.ARRAY(sa.Text))) if exact else None,
    )
    return Native(name, made, item=item)


def _documents(value: Any, type_: Any) -> Any:
    items = sa.func.jsonb_array_elements(value).column_valued("item")
    listed = sa.func.array(sa.select(sa.cast(items, type_.item)).scalar_subquery())
    return sa.case((value.is_(None), None), else_=sa.cast(listed, type_))


# an array of documents, of which any may be a list: it has one dimension
DOCUMENTS = Scalar(
    "list",
    (),
    "jsonb",
    NOTHING,
    plain(list[Any]),
    described(type="array", items={}),
    _json,
    keep=_documents,
)


def _item_schema(item: Any, bounds: Bounds) -> dict[str, Any]:
    """Of an item, which may be null, or a list of them in an array of several dimensions."""
    schema = {key: value for key, value in scalar_of(item).schema(item, bounds).items() if key != "examples"}
    return {"anyOf": [schema, {"type": "null"}, {"type": "array"}]} if schema else {}


def _reader(item: Any, bounds: Bounds) -> Finish:
    """Reads the items of an array, each as its type does."""
    scalar = scalar_of(item)
    annotation, finish = scalar.annotate(item, bounds), scalar.finish(item, bounds)

    def read_item(value: Any) -> Any:
        if value is None:
            return None
        given = float(value) if isinstance(value, Decimal) and scalar.name == "float" else value
        try:
            read = msgspec.convert(given, annotation)
        except (msgspec.ValidationError, UnicodeEncodeError) as wrong:
            raise BadValue(explain(str(wrong)), f"holds an item that does not fit: {wrong}") from None
        return read if finish is None else finish(read)

    def read(value: list[Any]) -> Any:
        _shape(value)
        return _each(value, read_item)

    return read


def _each(value: Any, read: Callable[[Any], Any]) -> Any:
    return [_each(item, read) for item in value] if isinstance(value, list) else read(value)


def _shape(value: Any, depth: int = 1) -> tuple[int, ...]:
    """The lengths of an array in each dimension; PostgreSQL's are rectangular, and empty in all of them or in none."""
    if not isinstance(value, list):
        return ()
    shapes = {_shape(item, depth + 1) for item in value}
    if depth > MAX_DIMENSIONS or len(shapes) > 1 or (depth > 1 and not value):
        text = f"must be a list, or lists of equal length in it, {MAX_DIMENSIONS} deep at most"
        raise BadValue("invalid_format", text, dimensions=MAX_DIMENSIONS)
    return (len(value), *next(iter(shapes), ()))
