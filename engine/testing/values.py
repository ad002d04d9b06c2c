"""Values that fit a field, by metadata alone: examples that never repeat, what a shown value means, and which CHECK
rules a row keeps."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID, uuid5

import msgspec
import sqlalchemy as sa

from engine.catalog import Resource
from engine.fields import Field
from engine.types import FORMATS, Formatted, Shaped

# one run of a test process has databases of its own, so a running number makes every value new
NUMBERS = itertools.count(1)
SPACE = UUID("5b0e0a52-7d5c-4f0b-9a39-6f1b1f0c7a11")
ZONES = ("UTC", "Europe/Berlin", "Asia/Tokyo", "America/Lima")
FORMS: dict[str, Callable[[int], str]] = {
    "code": lambda n: f"C{n}",
    "slug": lambda n: f"s{n}",
    "key": lambda n: f"k.{n}",
    "email": lambda n: f"u{n}@example.com",
    "phone": lambda n: f"+4930{n}",
    "currency": lambda n: ("USD", "EUR", "JPY", "GBP")[n % 4],
    "country": lambda n: ("DE", "FR", "US", "JP")[n % 4],
    "timezone": lambda n: ZONES[n % len(ZONES)],
    "url": lambda n: f"https://example.com/{n}",
    "ip": lambda n: f"192.0.2.{n % 256}",
    "sha256": lambda n: f"{n:064x}",
}


def example(field: Field, n: int) -> Any:
    """A JSON value that the field takes; another `n` gives another one where the type has as many."""
    return EXAMPLES[field.scalar.name](field, field.type, n)


def _text(field: Field, kind: Any, n: int) -> str:
    if isinstance(kind, sa.Enum):
        return str(kind.enums[n % len(kind.enums)])
    if isinstance(kind, Formatted):
        return FORMS[kind.format](n) if kind.format in FORMS else FORMATS[kind.format].example
    text = f"{field.name} {n}"
    return text[-kind.length :] if kind.length else text


def limits(field: Field) -> tuple[int, int]:
    """Smallest and largest whole number that the field takes."""
    kind, bounds = field.type, field.bounds
    if field.scalar.name == "numeric":
        high = 10 ** ((kind.precision or 20) - (kind.scale or 0)) - 1
        low = -high
    else:
        bits = 15 if isinstance(kind, sa.SmallInteger) else 63 if isinstance(kind, sa.BigInteger) else 31
        low, high = -(2**bits), 2**bits - 1
    low = max(
        low,
        *(limit for limit in (bounds.minimum, None if bounds.above is None else bounds.above + 1) if limit is not None),
        low,
    )
    return low, high if bounds.maximum is None else min(high, bounds.maximum)


def _whole(field: Field, _kind: Any, n: int) -> int:
    low, high = limits(field)
    start = max(low, 1) if high >= 1 else low
    return start + n % min(high - start + 1, 1000)


def _shape(_field: Field, kind: Any, n: int) -> Any:
    shape = kind.shape if isinstance(kind, Shaped) else None
    return shaped(msgspec.inspect.type_info(shape), n) if shape is not None else {"n": n}


def shaped(info: Any, n: int) -> Any:
    """A JSON value of a msgspec type."""
    name = type(info).__name__
    if name in ("StructType", "TypedDictType", "DataclassType"):
        return {f.encode_name: shaped(f.type, n) for f in info.fields if f.required}
    if name in ("ListType", "SetType", "VarTupleType"):
        return [shaped(info.item_type, n)]
    if name == "DictType":
        return {f"k{n}": shaped(info.value_type, n)}
    if name == "UnionType":
        return shaped(info.types[0], n)
    if name == "LiteralType":
        return info.values[0]
    if name == "StrType":
        return "DE" if info.pattern == "^[A-Z]{2}$" else f"t{n}"
    return {"BoolType": bool(n % 2), "NoneType": None, "FloatType": n + 0.5}.get(name, n)


EXAMPLES: dict[str, Callable[[Field, Any, int], Any]] = {
    "uuid": lambda _f, _k, n: str(uuid5(SPACE, str(n))),
    "boolean": lambda _f, _k, n: n % 2 == 1,
    "bigint": lambda f, k, n: str(_whole(f, k, n)),
    "integer": _whole,
    "float": lambda _f, _k, n: n + 0.5,
    "numeric": lambda f, k, n: str(_whole(f, k, n)),
    "text": _text,
    "date": lambda _f, _k, n: (date(2030, 1, 1) + timedelta(days=n % 3000)).isoformat(),
    "timestamptz": lambda _f, _k, n: (datetime(2030, 1, 1, tzinfo=UTC) + timedelta(minutes=n)).isoformat(),
    "time": lambda _f, _k, n: time(n % 24, n % 60).isoformat(),
    "jsonb": _shape,
    "bytes": lambda _f, _k, n: ("YQ==", "Yg==", "Yw==")[n % 3],
    "array": lambda f, k, n: [EXAMPLES["text" if isinstance(k.item_type, sa.String) else "integer"](f, k.item_type, n)],
}


def meaning(field: Field, value: Any) -> Any:
    """What a JSON value of the field says, however it is written: `1.50` and `1.5` are one number."""
    if value is None or not isinstance(value, (str, int, float)) or isinstance(value, bool):
        return value
    name = field.scalar.name
    if name in ("numeric", "bigint", "float"):
        return Decimal(str(value))
    if name == "timestamptz":
        return datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    if name in ("date", "time"):
        return date.fromisoformat(str(value)) if name == "date" else time.fromisoformat(str(value))
    if name == "uuid":
        return str(value).lower()
    normalise = FORMATS[field.type.format].normalise if isinstance(field.type, Formatted) else None
    return normalise(str(value)) if normalise else value


def same(field: Field, given: Any, shown: Any) -> bool:
    """Whether a shown value is the given one."""
    return bool(meaning(field, given) == meaning(field, shown))


# SQL -> Python, enough for the rules that models usually state; what does not translate is left to recipes
WORDS = (
    (r"\bis\s+not\s+null\b", "is not None"),
    (r"\bis\s+null\b", "is None"),
    ("<>", "!="),
    (r"(?<![<>!=])=(?!=)", "=="),
)
Holds = Callable[[Mapping[str, Any]], bool]


def _translated(sql: str, names: set[str]) -> Holds | None:
    for pattern, word in WORDS:
        sql = re.sub(pattern, word, sql, flags=re.IGNORECASE)
    try:
        tree = ast.parse(sql, mode="eval")
    except SyntaxError:
        return None
    if any(
        isinstance(node, ast.Call) or (isinstance(node, ast.Name) and node.id not in names) for node in ast.walk(tree)
    ):
        return None
    code = compile(tree, "<check>", "eval")

    def holds(values: Mapping[str, Any]) -> bool:
        try:
            return bool(eval(code, {"__builtins__": {}}, dict(values)))
        except TypeError:  # a comparison with null is unknown, and what is unknown passes
            return True

    return holds


@cache
def rules_of(resource: Resource) -> tuple[tuple[frozenset[str], Holds], ...]:
    """The rules over several columns: which columns, and whether a row keeps the rule."""
    found = []
    for rule in sorted(
        filter(lambda c: isinstance(c, sa.CheckConstraint), resource.table.constraints), key=lambda c: str(c.name)
    ):
        words = frozenset(rule.info.get("words", ())) & set(resource.table.c.keys())
        holds = _translated(str(rule.sqltext), set(words)) if len(words) > 1 else None  # type: ignore[attr-defined]
        if holds is not None:
            found.append((words, holds))
    return tuple(found)


def completed(resource: Resource, body: Mapping[str, Any]) -> dict[str, Any]:
    """Every column as it will stand, in meanings: given, else its default, else None."""
    return {
        f.name: meaning(f, body[f.name]) if f.name in body else f.default() if f.default else None
        for f in resource.columns
    }


def holds(resource: Resource, body: Mapping[str, Any]) -> bool:
    """Whether a row of these values keeps every rule that could be read."""
    row = completed(resource, body)
    return all(rule(row) for _, rule in rules_of(resource))


def _options(field: Field) -> list[Any]:
    empty: list[Any] = [None] if field.nullable else []
    choices = getattr(field.type, "enums", None)
    return empty + (list(choices) if choices else [example(field, 1)])


@cache
def patterns(resource: Resource) -> tuple[dict[str, Any], ...]:
    """Ways to fill the columns that rules compare, fewest filled first: column -> a value, or None for none."""
    names = sorted({name for words, _ in rules_of(resource) for name in words if resource.fields[name].creatable})
    ways = itertools.islice(itertools.product(*(_options(resource.fields[name]) for name in names)), 4096)
    kept = [way for way in (dict(zip(names, values, strict=True)) for values in ways) if holds(resource, way)]
    return tuple(sorted(kept, key=lambda way: sum(value is not None for value in way.values()))) or ({},)
