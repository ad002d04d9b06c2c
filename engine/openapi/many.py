"""Many rows in one request: what upsert, set-based writes and lists whose items count by themselves answer."""

from __future__ import annotations

from engine.openapi.answers import answer
from engine.openapi.schemas import NULL, Schema, closed, opened, ref

ITEM = {"type": "integer", "minimum": 200, "maximum": 599, "description": "HTTP status of the item"}
BATCH: dict[str, Schema] = {
    "Operation": closed(
        {
            "id": {
                "type": "string",
                "pattern": "^[A-Za-z_][A-Za-z0-9_-]{0,63}$",
                "description": 'Its name: later ones write "$name.field" as a value and {$name.field} in a path',
            },
            "method": {"type": "string", "enum": ["GET", "QUERY", "POST", "PATCH", "PUT", "DELETE"]},
            "path": {"type": "string", "description": "With its query, in the scope of the batch"},
            "body": {
                "description": "As of the operation by itself; a row's version stands here, DELETE included. A text that looks "
                "like a reference and is none has one $ more: `$$a.id` is the text `$a.id`"
            },
            "prefer": {"type": "string", "description": "Its header Prefer: each, max-affected=n, return=..."},
        },
        ["method", "path"],
    ),
    "Batch": closed(
        {
            "mode": {"type": "string", "enum": ["atomic", "each"], "description": "`atomic` unless given"},
            "operations": {"type": "array", "items": ref("Operation"), "minItems": 1, "maxItems": 100},
        },
        ["operations"],
        examples=[{"operations": [{"method": "GET", "path": "/tenants/crm/customers?page_size=1"}]}],
    ),
    "BatchResult": closed(
        {
            "id": {"type": ["string", "null"]},
            "status": ITEM,
            "body": {"anyOf": [opened("The answer of the operation, in its envelope"), NULL]},
        },
        ["id", "status", "body"],
    ),
    "BatchResults": {"type": "array", "items": ref("BatchResult")},
}


def result(row: Schema) -> Schema:
    """What became of an item of a list."""
    item = {"status": ITEM, "data": {"anyOf": [row, NULL]}, "error": {"anyOf": [ref("Error"), NULL]}}
    return closed(item, list(item))


def each(items: Schema) -> Schema:
    """207 of `Prefer: each`."""
    return answer("For `Prefer: each`: what became of each row of the list", items)


def count(row: Schema) -> Schema:
    """The number of rows that were written."""
    members: Schema = {
        "count": {"type": "integer", "minimum": 0},
        "items": {"type": "array", "items": row, "description": "For `Prefer: return=representation`"},
    }
    return closed(members, ["count"])


def upserted(known: Schema, new: Schema) -> Schema:
    """One row as it now stands, or what became of each of a list."""
    etag = ("ETag", "etag")
    return {
        "200": answer("The row was known and is updated; for a list its items say which", known, etag),
        "201": answer("The row is new", new, etag, ("Location", "location")),
    }
