"""The body of the method QUERY: the words of a list's query string as JSON members. One schema for every entity."""

from __future__ import annotations

from engine.openapi.parameters import COUNT, DELETED, LAST_PAGE
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
WHERE: Schema = {
    "type": "object",
    "description": "Nested conditions: field, op and value; and, or, not; some, none, every of a relation with where",
    "examples": [{"or": [{"field": "version", "op": "gt", "value": 1}]}],
}
EXPAND: Schema = {
    "type": "object",
    "description": "By relation: true, or what is said of its rows",
    "additionalProperties": {"oneOf": [{"const": True}, ref("QueryBranch")]},
}
BRANCH = closed(
    {
        "fields": TEXTS,
        "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
        "sort": TEXTS,
        "filter": FILTER,
        "where": WHERE,
        "expand": {"oneOf": [TEXT, {"type": "array", "items": TEXT, "minItems": 1}, EXPAND]},
    },
    [],
)
# as the query string has them; what else a list takes is a text or a list of texts
WORDS: dict[str, Schema] = {
    "page": {"type": "integer", "minimum": 1, "maximum": LAST_PAGE, "default": 1},
    "page_size": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": DEFAULT_PAGE_SIZE},
    "cursor": {"type": "string", "minLength": 1, "maxLength": MAX_CURSOR, "description": "Not together with `page`"},
    "count": COUNT,
    "sort": TEXTS,
    "fields": TEXTS,
    "q": SEARCHED,
    "deleted": DELETED,
    "filter": FILTER,
    "where": {"oneOf": [WHERE, {"type": "string", "maxLength": 16384}]},
    "expand": {"oneOf": [TEXT, {"type": "array", "items": TEXT, "minItems": 1}, EXPAND]},
}
SCHEMAS: dict[str, Schema] = {"Query": closed(WORDS, []), "QueryBranch": BRANCH}
