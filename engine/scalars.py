"""Column types, one row each: how a value is read, kept, shown, filtered and described.

A row of `SCALARS` serves the SQLAlchemy types it names and their subclasses. Reading is done by msgspec with an annotation
made from the column; `finish` adds what an annotation cannot say. Values travel to PostgreSQL as JSON text, so that
PostgreSQL's own input functions refuse what does not fit.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.sql import ColumnElement
from sqlalchemy.types import TypeEngine, UserDefinedType

from engine.types import FORMATS, Bounded, Bounds, Format, Formatted, Shaped

Finish = Callable[[Any], Any]


class BadValue(ValueError):
    """A value that its column refuses: a fault code, a sentence, and the limits compared with."""

    def __init__(self, code: str, message: str, **params: Any) -> None:
        super().__init__(message)
        self.code, self.params = code, params


@dataclass(frozen=True)
class Scalar:
    """One column type. `families` says which operators and functions take it; `show` turns the column into what JSON shows;
    `keep` turns the incoming JSON value into the stored one; `annotate` and `finish` read; `schema` describes. `beyond`: whether
    a text is a value that Python has none of, such as infinity, and travels as it is."""

    name: str
    types: tuple[type[TypeEngine[Any]], ...]
    record_type: str
    families: frozenset[str]
    annotate: Callable[[Any, Bounds], Any]
    schema: Callable[[Any, Bounds], dict[str, Any]]
    finish: Callable[[Any, Bounds], Finish | None] = lambda _type, _bounds: None
    show: Callable[[ColumnElement[Any]], ColumnElement[Any]] | None = None
    keep: Callable[[ColumnElement[Any], Any], ColumnElement[Any]] | None = None
    beyond: Callable[[str], object] | None = None


def no_nul(text: str) -> str:
    if "\x00" in text:
        raise BadValue("invalid_format", "must not contain the NUL character")
    if not text.isascii() and any("\ud800" <= ch <= "\udfff" for ch in text):
        raise BadValue("invalid_format", "must not contain half a surrogate pair")
    return text


def _text_annotation(type_: Any, _bounds: Bounds) -> Any:
    if isinstance(type_, sa.Enum):
        return Literal[tuple(type_.enums)]
    return Annotated[str, msgspec.Meta(max_length=type_.length)] if type_.length else str


def _text_finish(type_: Any, _bounds: Bounds) -> Finish | None:
    if isinstance(type_, sa.Enum):
        return None
    return _formatted(FORMATS[type_.format]) if isinstance(type_, Formatted) else no_nul


def _formatted(form: Format) -> Finish:
    matches = re.compile(form.pattern).fullmatch if form.pattern else None
    article = "an" if form.name[0] in "aeiou" else "a"

    def read(text: str) -> str:
        value = form.normalise(no_nul(text)) if form.normalise else no_nul(text)
        if (matches and not matches(value)) or (form.accepts and not form.accepts(value)):
            raise BadValue("invalid_format", f"is not {article} {form.name}, such as {form.example}", format=form.name)
        return value

    return read


def _text_schema(type_: Any, _bounds: Bounds) -> dict[str, Any]:
    if isinstance(type_, sa.Enum):
        return {"type": "string", "enum": list(type_.enums)}
    schema: dict[str, Any] = {"type": "string"}
    if type_.length:
        schema["maxLength"] = type_.length
    if isinstance(type_, Formatted):
        form = FORMATS[type_.format]
        schema |= {"examples": [form.example]}
        if form.pattern and not form.normalise:
            schema["pattern"] = f"^(?:{form.pattern})$"
        if form.name in ("email", "url"):
            schema["format"] = {"email": "email", "url": "uri"}[form.name]
    return schema


def _int_limits(type_: Any, bounds: Bounds) -> tuple[int, int]:
    bits = 15 if isinstance(type_, sa.SmallInteger) else 63 if isinstance(type_, sa.BigInteger) else 31
    low, high = -(2**bits), 2**bits - 1
    low = low if bounds.minimum is None else max(low, bounds.minimum)
    low = low if bounds.above is None else max(low, bounds.above + 1)
    return low, high if bounds.maximum is None else min(high, bounds.maximum)


def _int_annotation(type_: Any, bounds: Bounds) -> Any:
    low, high = _int_limits(type_, bounds)
    return Annotated[int, msgspec.Meta(ge=low, le=high)]


def _int_schema(type_: Any, bounds: Bounds) -> dict[str, Any]:
    low, high = _int_limits(type_, bounds)
    return {"type": "integer", "minimum": low, "maximum": high}


def _bigint_finish(type_: Any, bounds: Bounds) -> Finish:
    low, high = _int_limits(type_, bounds)

    def read(value: int | str) -> int:
        number = int(value)
        if not low <= number <= high:
            raise BadValue("out_of_range", f"must be from {low} to {high}", minimum=str(low), maximum=str(high))
        return number

    return read


def _decimal_bounds(type_: Any, bounds: Bounds) -> Bounds:
    return Bounds(type_.minimum, type_.maximum, type_.above) if isinstance(type_, Bounded) else bounds


def decimal_finish(type_: Any, bounds: Bounds) -> Finish:
    bounds = _decimal_bounds(type_, bounds)
    scale = type_.scale if type_.scale is not None else 16383
    whole = (type_.precision - scale) if type_.precision is not None else 1000

    def read(value: Decimal) -> Decimal:
        _, digits, exponent = value.as_tuple()
        if not isinstance(exponent, int):
            raise BadValue("invalid_format", "must be a finite number")
        if exponent < -scale and any(digits[exponent + scale :]):
            raise BadValue("out_of_range", f"must have at most {scale} decimal places", decimal_places=scale)
        if len(digits) + exponent > whole and any(digits):
            raise BadValue("out_of_range", f"must have at most {whole} digits before the point", whole_digits=whole)
        if bounds.minimum is not None and value < bounds.minimum:
            raise BadValue("out_of_range", f"must be at least {bounds.minimum}", minimum=str(bounds.minimum))
        if bounds.maximum is not None and value > bounds.maximum:
            raise BadValue("out_of_range", f"must be at most {bounds.maximum}", maximum=str(bounds.maximum))
        if bounds.above is not None and value <= bounds.above:
            raise BadValue("out_of_range", f"must be above {bounds.above}", above=str(bounds.above))
        return value if exponent >= -scale else value.quantize(Decimal(1).scaleb(-scale))

    return read


def _decimal_schema(type_: Any, bounds: Bounds) -> dict[str, Any]:
    places = "(\\.[0-9]+)?" if type_.scale is None else f"(\\.[0-9]{{1,{type_.scale}}})?" if type_.scale else ""
    whole = max((type_.precision or 1000) - (type_.scale or 0), 1)
    return {"type": "string", "pattern": f"^-?[0-9]{{1,{whole}}}{places}$", "examples": ["1"]}


def _utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise BadValue("out_of_range", "must lie between the years 1 and 9999") from None


# one decoder a shape reads jsonb; floats stay exact
MAX_DEPTH, MAX_NODES = 32, 10_000


def walk_json(value: Any, depth: int = 0) -> int:
    """Number of nodes of a decoded JSON value; refuses NUL, too deep and non-finite values."""
    if depth > MAX_DEPTH:
        raise BadValue("invalid_format", f"must be at most {MAX_DEPTH} levels deep", depth=MAX_DEPTH)
    if isinstance(value, str):
        no_nul(value)
        return 1
    if isinstance(value, dict):
        return 1 + sum(walk_json(k, depth + 1) + walk_json(v, depth + 1) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return 1 + sum(walk_json(item, depth + 1) for item in value)
    if isinstance(value, msgspec.Struct):
        return walk_json(msgspec.structs.asdict(value), depth)
    if isinstance(value, Decimal) and (not value.is_finite() or value.adjusted() > 1000 or value.adjusted() < -1000):
        raise BadValue("out_of_range", "holds a number beyond 1000 digits")
    if isinstance(value, int) and value.bit_length() > 3000:
        raise BadValue("out_of_range", "holds a number beyond 900 digits")
    return 1


def _json_finish(type_: Any, _bounds: Bounds) -> Finish:
    shape = type_.shape if isinstance(type_, Shaped) and type_.shape is not None else Any

    def read(value: Any) -> Any:
        if walk_json(value) > MAX_NODES:
            raise BadValue("invalid_format", f"must have at most {MAX_NODES} values", nodes=MAX_NODES)
        try:
            msgspec.convert(value, shape)
        except msgspec.ValidationError as wrong:
            raise BadValue(explain(str(wrong)), str(wrong)) from None
        return value

    return read


def _json_schema(type_: Any, _bounds: Bounds) -> dict[str, Any]:
    shape = type_.shape if isinstance(type_, Shaped) else None
    if shape is None:
        return {}
    schema = msgspec.json.schema(shape)
    return dict(_inlined(schema, schema.pop("$defs", {})))


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """The schema without references; a shape that holds itself is any value there."""
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    name = schema.get("$ref", "").rpartition("/")[2]
    if name:
        others = {key: value for key, value in definitions.items() if key != name}
        return _inlined(definitions[name], others) if name in definitions else {}
    # titles are names of our classes; generators of clients would give one name to several structures
    found = {
        key: _inlined(value, definitions) for key, value in schema.items() if key != "title" or isinstance(value, dict)
    }
    return (
        {**found, "items": {}} if found.get("type") == "array" and not {"items", "prefixItems"} & set(found) else found
    )


def _array_of(value: ColumnElement[Any]) -> ColumnElement[Any]:
    items = sa.func.jsonb_array_elements_text(value).column_valued("item")
    return sa.case((value.is_(None), None), else_=sa.func.array(sa.select(items).scalar_subquery()))


def as_text(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return sa.cast(column, sa.Text)


def plain(annotation: Any) -> Callable[[Any, Bounds], Any]:
    return lambda _type, _bounds: annotation


def described(**schema: Any) -> Callable[[Any, Bounds], dict[str, Any]]:
    return lambda _type, _bounds: dict(schema)


BASE64: ColumnElement[Any] = sa.literal_column("'base64'")
SORTED = frozenset({"equal", "order"})
# those of which PostgreSQL has a least and a greatest
ORDERED = SORTED | {"least"}
WORDS = ORDERED | {"text"}
BIG = Annotated[int, msgspec.Meta()] | Annotated[str, msgspec.Meta(pattern=r"^-?[0-9]{1,19}$")]

SCALARS: tuple[Scalar, ...] = (
    Scalar("uuid", (sa.Uuid, pg.UUID), "uuid", SORTED, plain(UUID), described(type="string", format="uuid")),
    Scalar("boolean", (sa.Boolean,), "bool", frozenset({"equal"}), plain(bool), described(type="boolean")),
    Scalar(
        "bigint",
        (sa.BigInteger,),
        "int8",
        ORDERED,
        plain(BIG),
        described(type="string", pattern="^-?[0-9]{1,19}$"),
        _bigint_finish,
        as_text,
    ),
    Scalar("integer", (sa.Integer,), "int8", ORDERED, _int_annotation, _int_schema),
    Scalar("float", (sa.Float,), "float8", ORDERED, plain(float), described(type="number")),
    Scalar("numeric", (sa.Numeric,), "numeric", ORDERED, plain(Decimal), _decimal_schema, decimal_finish, as_text),
    Scalar("text", (sa.String,), "text", WORDS, _text_annotation, _text_schema, _text_finish),
    Scalar("date", (sa.Date,), "date", ORDERED, plain(date), described(type="string", format="date")),
    Scalar(
        "timestamptz",
        (sa.DateTime,),
        "timestamptz",
        ORDERED,
        plain(Annotated[datetime, msgspec.Meta(tz=True)]),
        described(type="string", format="date-time"),
        lambda _type, _bounds: _utc,
    ),
    Scalar(
        "time",
        (sa.Time,),
        "time",
        ORDERED,
        plain(Annotated[time, msgspec.Meta(tz=False)]),
        described(type="string", pattern="^[0-9:.]+$"),
    ),
    Scalar("jsonb", (sa.JSON,), "jsonb", frozenset({"items"}), plain(Any), _json_schema, _json_finish),
    Scalar(
        "bytes",
        (sa.LargeBinary,),
        "text",
        frozenset({"null"}),
        plain(bytes),
        described(type="string", contentEncoding="base64"),
        show=lambda column: sa.func.translate(
            sa.func.encode(column, BASE64), sa.literal_column("E'\\n'"), sa.literal_column("''")
        ),
        keep=lambda value, _type: sa.func.decode(value, BASE64),
    ),
    Scalar(
        "array",
        (sa.ARRAY,),
        "jsonb",
        frozenset({"items"}),
        lambda type_, bounds: list[scalar_of(type_.item_type).annotate(type_.item_type, bounds)],  # type: ignore[misc]
        lambda type_, bounds: {"type": "array", "items": scalar_of(type_.item_type).schema(type_.item_type, bounds)},
        keep=lambda value, type_: sa.cast(_array_of(value), type_),
    ),
)


class Native(UserDefinedType[Any]):
    """A type of somebody else's database, under PostgreSQL's own name for it. It brings its scalar along; a record type
    `native` of that means that PostgreSQL reads the JSON value by itself."""

    cache_ok = True

    def __init__(
        self, name: str, scalar: Scalar, *, enums: tuple[str, ...] = (), length: int | None = None, item: Any = None
    ) -> None:
        """`enums`: its words; `length`: the longest text, or the digits of a second; `item`: of an array, its items' type."""
        self.name, self.scalar, self.enums, self.length, self.item = name, scalar, enums, length, item

    def get_col_spec(self, **_options: Any) -> str:
        """The name in SQL."""
        return self.name


def scalar_of(type_: TypeEngine[Any]) -> Scalar:
    """The row of `SCALARS` for a SQLAlchemy type. KeyError names a type that has none."""
    own: Scalar | None = getattr(type_, "scalar", None)
    if own is not None:
        return own
    for scalar in SCALARS:
        if isinstance(type_, scalar.types):
            return scalar
    raise KeyError(f"no scalar for column type {type_!r}; add a row to SCALARS in engine/scalars.py")


# msgspec's sentence -> our code; a test holds every row against the pinned msgspec
MESSAGES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), code)
    for pattern, code in (
        (r"of length <=", "too_long"),
        (r"of length >=", "too_short"),
        (r"(Expected `\w+` (<=|>=|<|>|that's))|Number out of range", "out_of_range"),
        (r"Invalid enum value|Invalid value '", "invalid_choice"),
        (r"missing required field", "required"),
        (r"contains unknown field", "field_not_allowed"),
        (r"", "invalid_format"),
    )
)


def explain(message: str) -> str:
    """The fault code of a msgspec message."""
    return next(code for pattern, code in MESSAGES if pattern.search(message))
