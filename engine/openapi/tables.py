"""Files in and out, as the document describes them."""

from __future__ import annotations

from collections.abc import Sequence

from engine.catalog import Resource
from engine.formats import FORMATS
from engine.openapi.answers import headers
from engine.openapi.schemas import Schema, closed, ref
from engine.types import Op

# parameters of a list that an export takes as well, beside its filters
SHARED = frozenset({"sort", "q", "fields", "expand", "where", "deleted"})

_COUNT: Schema = {"type": "integer", "minimum": 0}
REPORT = closed(
    {
        "rows": {**_COUNT, "description": "Rows of the file"},
        "created": _COUNT,
        "updated": _COUNT,
        "failed": {**_COUNT, "description": "Rows that do not fit"},
        "faults": {**_COUNT, "description": "Everything that is wrong with them"},
        "errors": {"type": "array", "maxItems": 1000, "items": ref("ImportError")},
        "skipped": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Columns of the file that only the engine sets",
        },
    },
    ["rows", "created", "updated", "failed", "faults", "errors", "skipped"],
)
ERROR = closed(
    {
        "row": {"type": "integer", "minimum": 1, "description": "As a spreadsheet numbers it: the header is row 1"},
        "field": {"type": "string"},
        "code": {"type": "string"},
        "message": {"type": "string"},
        "params": {"type": "object"},
    },
    ["row", "field", "code", "message", "params"],
)
SCHEMAS: dict[str, Schema] = {"ImportReport": REPORT, "ImportError": ERROR}


def parameters_of(resource: Resource, op: Op, listed: Sequence[Schema]) -> list[Schema]:
    """The parameters of an import, or of an export; `listed` are those of the list."""
    if op is Op.EXPORT:
        names = {"type": "string", "enum": list(FORMATS)}
        form = {"name": "format", "in": "query", "description": "In place of Accept", "schema": names}
        members: Schema = {"type": "object", "properties": {f.name: {} for f in resource.shown if f.operators}}
        text = "Conditions as a list takes them: `filter[field]=value`, `filter[field][op]=value`"
        chosen = {"name": "filter", "in": "query", "style": "deepObject", "explode": True, "schema": members}
        return [*(one for one in listed if _name(one) in SHARED), {**chosen, "description": text}, form]
    titles = {"type": "object", "additionalProperties": {"type": "string", "enum": ["", *_fields(resource)]}}
    text = "`map[Title]=field` says which field a column is, `map[Title]=` leaves it out; else its title is the field's name"
    mode = {
        "name": "mode",
        "in": "query",
        "schema": {"type": "string", "enum": ["create", "upsert"], "default": "create"},
    }
    mapped = {
        "name": "map",
        "in": "query",
        "style": "deepObject",
        "explode": True,
        "description": text,
        "schema": titles,
    }
    keys = list(resource.unique_keys)
    if Op.UPSERT not in resource.ops or not keys:
        mode["schema"] = {"const": "create"}
        return [mode, mapped]
    known = {"name": "on", "in": "query", "description": "With mode=upsert", "schema": {"type": "string", "enum": keys}}
    return [mode, known, mapped]


def _name(parameter: Schema) -> str:
    name: str = parameter.get("name") or parameter["$ref"].rpartition("/")[2]
    return name


def _fields(resource: Resource) -> list[str]:
    return [*(field.name for field in resource.fields.values() if field.creatable), *resource.nested]


def files() -> Schema:
    """A media type for each format."""
    found: Schema = {}
    for form in FORMATS.values():
        kind = {"format": "binary"} if form.name == "xlsx" else {}
        found[form.media[0]] = {"schema": {"type": "string", "description": form.meaning, **kind}}
    return found


def file() -> Schema:
    """Every row, as a file."""
    text = "Every row, as a file; one that cannot be finished is cut off"
    return {"description": text, "headers": headers(), "content": files()}
