"""Bodies drawn by hypothesis from metadata: valid ones, ones with exactly one fault, and hostile bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple

import msgspec
import sqlalchemy as sa
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from engine.catalog import Resource
from engine.fields import Field
from engine.hooks import Point
from engine.testing.rows import Body, Recipe, unique_columns
from engine.testing.values import FORMS, NUMBERS, example, holds, limits, patterns
from engine.types import FORMATS, Formatted, Shaped

References = Callable[[], Mapping[str, Any]]
Purpose = Literal["create", "update"]
NOBODY = "00000000-0000-7000-8000-000000000000"
CHARACTERS = st.characters(codec="utf-8", exclude_characters="\x00")
WHOLE = st.integers(-(2**53), 2**53)


def text(length: int | None = None) -> SearchStrategy[str]:
    """Any text that PostgreSQL keeps: no NUL, no half surrogates."""
    return st.text(CHARACTERS, max_size=min(length or 200, 200))


JSON = st.recursive(
    st.none() | st.booleans() | WHOLE | text(20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text(8), inner, max_size=3),
    max_leaves=6,
)


def shape_values(info: Any) -> SearchStrategy[Any]:
    """JSON values of a msgspec type."""
    name = type(info).__name__
    if name in ("StructType", "TypedDictType", "DataclassType"):
        needed = {f.encode_name: shape_values(f.type) for f in info.fields if f.required}
        return st.fixed_dictionaries(
            needed, optional={f.encode_name: shape_values(f.type) for f in info.fields if not f.required}
        )
    if name in ("ListType", "SetType", "VarTupleType"):
        return st.lists(shape_values(info.item_type), max_size=3)
    if name == "DictType":
        return st.dictionaries(text(10), shape_values(info.value_type), max_size=3)
    if name == "UnionType":
        return st.one_of([shape_values(part) for part in info.types])
    if name == "LiteralType":
        return st.sampled_from(info.values)
    if name == "StrType":
        return (
            st.from_regex(info.pattern, fullmatch=True, alphabet=CHARACTERS) if info.pattern else text(info.max_length)
        )
    plain: dict[str, SearchStrategy[Any]] = {
        "BoolType": st.booleans(),
        "NoneType": st.none(),
        "IntType": WHOLE,
        "FloatType": WHOLE,
    }
    return plain.get(name, JSON)


def _formatted(kind: Formatted) -> SearchStrategy[str]:
    form = FORMATS[kind.format]
    if form.pattern is None:
        return st.integers(1, 999).map(FORMS[kind.format])
    drawn = st.from_regex(form.pattern, fullmatch=True, alphabet=CHARACTERS)
    return drawn.filter(lambda value: len(form.normalise(value) if form.normalise else value) <= form.length)


def _texts(field: Field) -> SearchStrategy[str]:
    kind = field.type
    if isinstance(kind, sa.Enum):
        return st.sampled_from(kind.enums)
    return _formatted(kind) if isinstance(kind, Formatted) else text(kind.length)


def _decimals(field: Field) -> SearchStrategy[str]:
    scale = field.type.scale or 0
    low, high = limits(field)
    step = Decimal(1).scaleb(-scale)
    lowest = (
        Decimal(low - 1) + step
        if field.bounds.above is not None or getattr(field.type, "above", None) is not None
        else Decimal(low)
    )
    return st.integers(int(lowest / step), int(Decimal(high) / step)).map(lambda n: str(n * step))


def _bytes(_field: Field) -> SearchStrategy[str]:
    return st.sampled_from(["", "YQ==", "YWI=", "YWJj", "AAECAw=="])


def _shaped(field: Field) -> SearchStrategy[Any]:
    shape = field.type.shape if isinstance(field.type, Shaped) else None
    return (
        JSON.filter(lambda value: value is not None)
        if shape is None
        else shape_values(msgspec.inspect.type_info(shape))
    )


VALUES: dict[str, Callable[[Field], SearchStrategy[Any]]] = {
    "uuid": lambda _f: st.uuids().map(str),
    "boolean": lambda _f: st.booleans(),
    "bigint": lambda f: st.integers(*limits(f)).map(str),
    "integer": lambda f: st.integers(*limits(f)),
    "float": lambda _f: WHOLE,
    "numeric": _decimals,
    "text": _texts,
    "date": lambda _f: st.dates().map(lambda day: day.isoformat()),
    "timestamptz": lambda _f: st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC)).map(
        lambda at: at.isoformat()
    ),
    "time": lambda _f: st.times().map(lambda at: at.isoformat()),
    "jsonb": _shaped,
    "bytes": _bytes,
    "array": lambda f: st.just(example(f, 1)),
}


def rounded(resource: Resource, field: Field) -> bool:
    """Whether a rule rounds the field to the places of a currency."""
    rules = resource.hooks.get(Point.BEFORE_CREATE, ())
    return any(rule.id == "G10" and field.name in rule.writes for rule in rules)


def values_of(resource: Resource, field: Field) -> SearchStrategy[Any]:
    """JSON values that the field takes; new ones where it is part of a unique key."""
    if rounded(resource, field):
        # what its currency makes of smaller parts is the business of its own tests
        low, high = limits(field)
        return st.integers(low, high).map(str)
    drawn = VALUES[field.scalar.name](field)
    if field.name not in unique_columns(resource) or getattr(field.type, "enums", None):
        return drawn
    if isinstance(field.type, sa.String) and not isinstance(field.type, Formatted):
        length = (field.type.length or 200) - 8
        return drawn.map(lambda value: f"{value[: max(length, 0)]}{next(NUMBERS)}")
    return st.builds(lambda: example(field, next(NUMBERS)))


@st.composite
def valid_body(draw: st.DrawFn, resource: Resource, references: References, recipe: Recipe | None = None) -> Body:
    """A body that a create takes: types, lengths, formats, bounds, choices, rules over several columns. `references`
    gives the rows that it may name and the recipe's values, new ones at each call; `recipe.fix` has the last word."""
    known = references()
    values = recipe.values if recipe else {}
    said = set(known) if callable(values) else set(values)
    # where columns exclude each other, what the recipe gives decides
    ways = [way for way in patterns(resource) if all((way[n] is None) == (known[n] is None) for n in said & set(way))]
    pattern = draw(st.sampled_from(ways or patterns(resource)))
    body: Body = {}
    for name, field in resource.fields.items():
        if not field.creatable or field.column is None:
            continue
        if name in known and (name in said or not field.references):
            body[name] = known[name]
        elif field.required or pattern.get(name) is not None or (name not in pattern and draw(st.booleans())):
            body[name] = _chosen(draw, resource, field, {"known": known, "pattern": pattern})
    if not holds(resource, body):  # an order between two dates or numbers
        body.update({name: value for name, value in pattern.items() if name in body and name not in known})
    if recipe and recipe.fix:
        recipe.fix(body)
    return body


def _chosen(draw: st.DrawFn, resource: Resource, field: Field, given: Mapping[str, Mapping[str, Any]]) -> Any:
    fixed = given["pattern"].get(field.name)
    if field.references:
        return given["known"].get(field.name)
    if fixed is not None and getattr(field.type, "enums", None):
        return fixed
    if field.nullable and fixed is None and draw(st.integers(0, 3)) == 0:
        return None
    return draw(values_of(resource, field))


class Faulty(NamedTuple):
    """A body with one fault, and what the answer must say of it."""

    kind: str
    body: Body
    code: str
    field: str


WRONG: dict[str, Any] = {
    "text": 17,
    "boolean": "yes",
    "integer": "many",
    "bigint": "many",
    "numeric": "much",
    "float": "much",
    "uuid": "x",
}
WRONG |= {"date": "2026-02-30", "timestamptz": "yesterday", "time": "25:00", "bytes": "*", "array": 1}
NO_VALUE = object()


def faults_of(resource: Resource, purpose: Purpose = "create") -> list[Faulty]:
    """Every way of going wrong that the metadata tells. `body` holds the one wrong field; a missing one is NO_VALUE."""
    found: list[Faulty] = [Faulty("unknown field", {"no_such_field": 1}, "field_not_allowed", "no_such_field")]
    for name, field in resource.fields.items():
        if field.creatable if purpose == "create" else field.updatable:
            found += _faults_of_field(field)
            if field.required and purpose == "create":
                found.append(Faulty("missing required", {name: NO_VALUE}, "required", name))
            if field.name in resource.reference_columns:
                found.append(Faulty("unknown reference", {name: NOBODY}, "invalid_reference", name))
        elif name == "version" and purpose == "update":
            found.append(Faulty("wrong type", {name: "1"}, "invalid_format", name))
        else:
            once = field.once and not field.hidden
            found.append(
                Faulty(
                    "write once" if once else "read-only",
                    {name: None},
                    "write_once" if once else "field_not_allowed",
                    name,
                )
            )
    return found


def _faults_of_field(field: Field) -> list[Faulty]:
    name, kind, scalar = field.name, field.type, field.scalar.name
    found = []
    if not field.nullable:
        found.append(Faulty("null", {name: None}, "required", name))
    if getattr(kind, "enums", None):
        return [*found, Faulty("invalid choice", {name: "no such choice"}, "invalid_choice", name)]
    if scalar in WRONG:
        found.append(Faulty("wrong type", {name: WRONG[scalar]}, "invalid_format", name))
    if scalar == "text" and getattr(kind, "length", None):
        found.append(Faulty("too long", {name: "x" * (kind.length + 1)}, "too_long", name))
    if isinstance(kind, Formatted):
        found.append(Faulty("wrong format", {name: "! !"[: kind.length]}, "invalid_format", name))
    if scalar in ("integer", "bigint", "numeric"):
        low, high = limits(field)
        for value in (high + 1, low - 2):
            found.append(
                Faulty("out of range", {name: value if scalar == "integer" else str(value)}, "out_of_range", name)
            )
    return found


@st.composite
def nearly_valid_body(
    draw: st.DrawFn,
    resource: Resource,
    references: References,
    recipe: Recipe | None = None,
    purpose: Purpose = "create",
) -> Faulty:
    """A body with exactly one fault of a known kind."""
    fault = draw(st.sampled_from(faults_of(resource, purpose)))
    body: Body = draw(valid_body(resource, references, recipe)) if purpose == "create" else {}
    for name, value in fault.body.items():
        if value is NO_VALUE:
            body.pop(name, None)
        else:
            body[name] = value
    return fault._replace(body=body)


# what takes the place of the first value of a body, as JSON text
HOSTILE_VALUES = (
    *(
        r'"a\u0000b"',
        r'"\ud800"',
        r'"\udc00\ud800"',
        "NaN",
        "Infinity",
        "-Infinity",
        "1e4000",
        "-1e999999999",
        "9" * 5000,
        "[" * 5000,
    ),
    *(
        "[" * 40 + "]" * 40,
        '{"a":' * 40 + "1" + "}" * 40,
        '{"a":1,"a":2}',
        "01",
        "+1",
        "0x10",
        "'a'",
        "tru",
        "\\",
        '"\n"',
        '"',
        "{",
        "undefined",
    ),
)
HOSTILE_BODIES = (
    *(
        b"",
        b" ",
        b"null",
        b"true",
        b"17",
        b'"text"',
        b"[1]",
        b"[null]",
        b'["x"]',
        b"[[]]",
        b"[{}, 1]",
        b"{",
        b"}",
        b"{]",
        b"[",
        b",",
        b"\x00",
    ),
    *(
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        b"{\x80:1}",
        b'{"\xc3":1}',
        b"{} {}",
        b"{}x",
        b'{"":1}',
        b'{"a\\u0000":1}',
        b'{"\\ud800":1}',
        b"/**/{}",
    ),
    *(
        b'{"no_such_field":1,"no_such_field":1}',
        b"{'a':1}",
        b'{"a":1,}',
        b"[" * 100_000,
        b'{"a":' * 20_000,
        "{}".encode("utf-16"),
        "{}".encode("utf-32"),
    ),
)


@st.composite
def hostile_body(draw: st.DrawFn, resource: Resource, valid: Body, purpose: Purpose = "create") -> bytes:
    """Raw bytes that no write may take: always a documented 4xx in the envelope, never a 5xx. `valid`: what stands
    around a hostile value."""
    if draw(st.booleans()):
        return draw(st.sampled_from(HOSTILE_BODIES))
    names = [name for name, f in resource.fields.items() if (f.creatable if purpose == "create" else f.updatable)] or [
        "no_such_field"
    ]
    name = draw(st.sampled_from(names))
    member = f"{json.dumps(name)}:{draw(st.sampled_from(HOSTILE_VALUES))}"
    rest = [f"{json.dumps(key)}:{json.dumps(value)}" for key, value in valid.items() if key != name]
    return f"{{{','.join([member, *rest])}}}".encode()
