"""Groups in the place of rows, and counts of values beside them, as the document describes both."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from engine.aggregates import FUNCTIONS, parts_of
from engine.catalog import Resource
from engine.fields import Field
from engine.grouping import MAX_AGGREGATES, MAX_FACETS, MAX_GROUPS, MAX_NAME
from engine.openapi.schemas import NULL, Schema, closed, opened, ref
from engine.shapes import MOST_VALUES

AGGREGATE = (
    "Groups in the place of rows, in `groups`: `sum(total)`, or `name:sum(total)`; `x-functions` has the functions"
)
GROUP = "With `aggregate`: by what. A period of time is called by its start in UTC. `sort` and `having` take names of results"
HAVING = "With `aggregate`: which groups. `having[n]=5`, `having[n][gt]=5` with the operators of the result's type"
FACETS = "Fields whose values are counted, in `facets`, without the field's own filter"
NAME = f"([A-Za-z_][A-Za-z0-9_]{{0,{MAX_NAME - 1}}}:)?"
_TEXT: Schema = {"type": "string"}
# `having[n]=5` and `having[n][gt]=5`
RESULTS: Schema = {
    "type": "object",
    "additionalProperties": {
        "anyOf": [_TEXT, {"type": "object", "minProperties": 1, "additionalProperties": _TEXT}],
    },
    "examples": [{"n": {"gt": "5"}}],
}
VALUE: Schema = {"type": ["string", "number", "boolean", "null"]}
GROUPS: Schema = {
    "type": "array",
    "items": ref("Group"),
    "description": "Only there with `aggregate`, in the place of rows; pages and totals are of groups then",
}
COUNTS: Schema = {
    "type": "object",
    "description": "Only there with `facets`: values by field, the most frequent first; null where counting them took too long",
    "additionalProperties": {"oneOf": [{"type": "array", "maxItems": MOST_VALUES, "items": ref("FacetValue")}, NULL]},
}
SCHEMAS: dict[str, Schema] = {
    "Group": {
        "type": "object",
        "description": "Results by name: what the rows of the group have in common, and the aggregates of them",
        "additionalProperties": VALUE,
    },
    "Facets": COUNTS,
    "FacetValue": closed({"value": VALUE, "count": {"type": "integer", "minimum": 1}}, ["value", "count"]),
}
# beside the rows of a list
MEMBERS: Schema = {"groups": GROUPS, "facets": ref("Facets")}
# which function takes and gives what
ROWS: Schema = {r.name: {"takes": r.takes, "gives": r.gives, "meaning": r.meaning} for r in FUNCTIONS.values()}
# of the body of a query
_LIST: Schema = {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1}
_TEXTS: Schema = {"oneOf": [{"type": "string", "minLength": 1}, _LIST]}
WORDS: dict[str, Schema] = {
    "aggregate": {**_TEXTS, "examples": [["n:count()"]]},
    "group": _TEXTS,
    "having": opened("By name of a result: a value, or operators with values"),
    "facets": _TEXTS,
}


def parameters_of(resource: Resource, listed: Callable[[str, Schema, str, int], Schema]) -> list[Schema]:
    """Those of a list that take several values; `listed` makes one of a name, a value's schema, a text, and how many at most."""
    shown = [field for field in resource.shown if field.functions]
    values = [field for field in shown if field.groupable]
    found = [listed("aggregate", _item(_aggregates(shown)), AGGREGATE, MAX_AGGREGATES)]
    if values:
        found.append(listed("group", _item(_groups(values)), GROUP, MAX_GROUPS))
        found.append(listed("facets", _item(f"({'|'.join(_names(values))})"), FACETS, MAX_FACETS))
    return found


def _item(pattern: str) -> Schema:
    return {"type": "string", "pattern": f"^{pattern}$"}


def _names(fields: Iterable[Field]) -> list[str]:
    return [str(field.name) for field in fields]


def _aggregates(fields: list[Field]) -> str:
    """A pattern of every function over the fields that it takes."""
    ways = "|".join((r"count\(\)", *_calls((field, field.functions) for field in fields)))
    return f"{NAME}({ways})"


def _groups(fields: list[Field]) -> str:
    """A pattern of the fields, and of every period of time."""
    periods = _calls((field, parts) for field in fields if (parts := parts_of(field.scalar.name)))
    ways = "|".join((*_names(fields), *periods))
    return f"{NAME}({ways})"


def _calls(taken: Iterable[tuple[Field, tuple[str, ...]]]) -> list[str]:
    """Fields that take the same words stand together: `(min|max)\\((a|b)\\)`."""
    fields: dict[str, list[str]] = {}
    for field, words in taken:
        fields.setdefault("|".join(words), []).append(field.name)
    return [rf"({words})\(({'|'.join(names)})\)" for words, names in fields.items()]
