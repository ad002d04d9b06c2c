"""The body of the method QUERY: the words of a list's query string as JSON members. One schema for every entity."""

from __future__ import annotations

from engine.expansions import DEFAULT_LIMIT, MAX_LIMIT
from engine.openapi import grouping
from engine.openapi.parameters import AS_OF, LAST_PAGE, PAST
from engine.openapi.schemas import SEARCHED, Schema, closed, ref
from engine.paging import DEFAULT_PAGE_SIZE, MAX_CURSOR, MAX_PAGE_SIZE

TEXT: Schema = {"type": "string", "minLength": 1}
TEXTS: Schema = {"oneOf": [TEXT, {"type": "array", "items": TEXT, "minItems": 1}]}
SCALAR: Schema = {"type": ["string", "number", "boolean"]}
VALUE: Schema = {"oneOf": [SCALAR, {"type": "array", "items": SCALAR}]}
FILTER: Schema = {
    "type": "object",
    "description": "By field, or a path through relations: a value, or operators with values. All of them hold",
    "additionalProperties": {
        "oneOf": [SCALAR, {"type": "object", "minProperties": 1, "additionalProperties": VALUE}],
    },
    "examples": [{"version": {"gte": 1}}],
}
_NODE, _NODES = ref("QueryWhere"), {"type": "array", "items": ref("QueryWhere"), "minItems": 1}
# one object for every kind of condition: generators of clients make of it one type that holds itself
WHERE = closed(
    {
        "and": {**_NODES, "description": "All hold"},
        "or": {**_NODES, "description": "One holds"},
        "not": {**_NODE, "description": "It does not hold"},
        "some": {**TEXT, "description": "Name of a relation, of whose rows one meets `where`"},
        "none": {**TEXT, "description": "Name of a relation, of whose rows none meets `where`"},
        "every": {**TEXT, "description": "Name of a relation, whose rows all meet `where`"},
        "where": {**_NODE, "description": "Beside some, none, every"},
        "field": {**TEXT, "description": "A field, or a path through relations"},
        "op": {**TEXT, "description": "An operator that the field takes; `eq` unless given"},
        "value": VALUE,
    },
    [],
    description="One of: field, op and value; and; or; not; some, none or every with where",
    minProperties=1,
    maxProperties=3,
    dependentRequired={
        **{match: ["where"] for match in ("some", "none", "every")},
        "field": ["value"],
        "value": ["field"],
        "op": ["field"],
    },
    examples=[{"or": [{"field": "version", "op": "gt", "value": 1}, {"not": {"field": "version", "value": 1}}]}],
)
EXPAND: Schema = {
    "type": "object",
    "description": "By relation: true, or what is said of its rows",
    "additionalProperties": {"oneOf": [{"const": True}, ref("QueryBranch")]},
}
BRANCH = closed(
    {
        "fields": TEXTS,
        "limit": {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_LIMIT,
            "description": f"{DEFAULT_LIMIT} unless given; of relations to many rows, as `sort` is",
        },
        "sort": TEXTS,
        "filter": ref("QueryFilter"),
        "where": ref("QueryWhere"),
        "expand": {"oneOf": [TEXT, {"type": "array", "items": TEXT, "minItems": 1}, ref("QueryExpand")]},
    },
    [],
)
# as the query string has them; what else a list takes is a text or a list of texts
WORDS: dict[str, Schema] = {
    **grouping.WORDS,
    "page": {"type": "integer", "minimum": 1, "maximum": LAST_PAGE, "description": "1 unless given"},
    "page_size": {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_PAGE_SIZE,
        "description": f"{DEFAULT_PAGE_SIZE} unless given",
    },
    "cursor": {"type": "string", "minLength": 1, "maxLength": MAX_CURSOR, "description": "Not together with `page`"},
    "count": ref("Count"),
    "sort": TEXTS,
    "fields": TEXTS,
    "q": SEARCHED,
    "deleted": ref("Deleted"),
    "as_of": {**AS_OF, "description": PAST},
    "filter": ref("QueryFilter"),
    "where": {"oneOf": [ref("QueryWhere"), {"type": "string", "maxLength": 16384}]},
    "expand": {"oneOf": [TEXT, {"type": "array", "items": TEXT, "minItems": 1}, ref("QueryExpand")]},
}
SCHEMAS: dict[str, Schema] = {
    "Query": closed(WORDS, []),
    "QueryBranch": BRANCH,
    "QueryFilter": FILTER,
    "QueryWhere": WHERE,
    "QueryExpand": EXPAND,
}
