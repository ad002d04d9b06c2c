"""Many rows in one request: upsert, set-based update and delete, and lists whose items count by themselves."""

from __future__ import annotations

from engine.catalog import Resource
from engine.openapi.answers import answer
from engine.openapi.parameters import query, simple
from engine.openapi.schemas import NULL, SEARCHED, Schema, closed, name_of, ref
from engine.types import Op

ITEM = {"type": "integer", "minimum": 200, "maximum": 599, "description": "HTTP status of the item"}
BATCH: dict[str, Schema] = {
    "Operation": closed(
        {
            "id": {
                "type": "string",
                "pattern": "^[A-Za-z_][A-Za-z0-9_-]{0,63}$",
                "description": 'Its name: later ones write "$name.field" as a value and {$name.field} in a path',
            },
            "method": {"type": "string", "enum": ["GET", "POST", "PATCH", "PUT", "DELETE"]},
            "path": {"type": "string", "description": "With its query, in the scope of the batch"},
            "body": {"description": "As of the operation by itself"},
            "prefer": {"type": "string", "description": "Its header Prefer: each, max-affected=n, return=..."},
        },
        ["method", "path"],
    ),
    "Batch": closed(
        {
            "mode": {"type": "string", "enum": ["atomic", "each"], "default": "atomic"},
            "operations": {"type": "array", "items": ref("Operation"), "minItems": 1, "maxItems": 100},
        },
        ["operations"],
        examples=[{"operations": [{"method": "GET", "path": "/tenants/crm/customers?page_size=1"}]}],
    ),
    "BatchResults": {
        "type": "array",
        "items": closed(
            {
                "id": {"type": ["string", "null"]},
                "status": ITEM,
                "body": {"type": ["object", "null"], "description": "The answer of the operation, in its envelope"},
            },
            ["id", "status", "body"],
        ),
    },
}


def results(row: Schema) -> Schema:
    """What became of each item of a list."""
    item = {"status": ITEM, "data": {"anyOf": [row, NULL]}, "error": {"anyOf": [ref("Error"), NULL]}}
    return {"type": "array", "items": closed(item, list(item))}


def each(items: Schema) -> Schema:
    """207 of `Prefer: each`."""
    return answer("For `Prefer: each`: what became of each row of the list", items)


def counted(row: Schema) -> Schema:
    """200 with the number of rows that were written."""
    members: Schema = {
        "count": {"type": "integer", "minimum": 0},
        "items": {"type": "array", "items": row, "description": "For `Prefer: return=representation`"},
    }
    return {"200": answer("How many rows were written", closed(members, ["count"]))}


def upserted(row: Schema, items: Schema) -> Schema:
    """One row as it now stands, or what became of each of a list."""
    known = [("ETag", "etag")]
    one: Schema = {"oneOf": [row, NULL]}
    return {
        "200": answer(
            "The row was known and is updated; for a list its items say which", {"oneOf": [row, items]}, *known
        ),
        "201": answer("The row is new", one, *known, ("Location", "location")),
    }


def parameters_of(shared: dict[str, Schema], resource: Resource, op: Op) -> list[Schema]:
    """Which rows are meant; nothing for operations on one row. `shared`: the components, for what two operations have."""
    if op not in (Op.UPSERT, Op.UPDATE_MANY, Op.DELETE_MANY):
        return []
    if op is Op.UPSERT:
        schema: Schema = {"type": "string", "enum": list(resource.unique_keys)}
        return [{**query("on", schema, "The unique key by which a row is known"), "required": True}]
    names: Schema = {field.name: {} for field in resource.shown if field.operators}
    members: Schema = {"type": "object", "properties": names, "minProperties": 1}
    text = "Conditions as a list takes them, `filter[field][op]=value`; this, `where` or `q` has to be given"
    name = f"{name_of(resource)}_filter"
    shared[name] = query("filter", members, text, style="deepObject", explode=True)
    found = simple(name, "where", "deleted")
    if resource.entity.search:
        found.append(query("q", SEARCHED, "As of a list"))
    return found
