"""Files in and out, as the document describes them."""

from __future__ import annotations

from collections.abc import Sequence

from engine.catalog import Resource
from engine.formats import FORMATS
from engine.openapi.answers import headers
from engine.openapi.schemas import Schema, closed, opened, ref
from engine.types import Op

# parameters of a list that an export does not take
PAGED = frozenset({"page", "page_size", "cursor", "count"})

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
            "description": "Columns that are left out: what only the engine sets, in child rows too (`lines.id`), and related rows",
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
        "params": opened("What the code compares with"),
    },
    ["row", "field", "code", "message", "params"],
)
SCHEMAS: dict[str, Schema] = {
    "ImportReport": REPORT,
    "ImportError": ERROR,
    "ImportMode": {"type": "string", "enum": ["create", "upsert"]},
    "FileFormat": {"type": "string", "enum": list(FORMATS)},
}


def parameters_of(resource: Resource, op: Op, listed: Sequence[Schema]) -> list[Schema]:
    """The parameters of an import, or of an export; `listed` are those of the list, or that which names a unique key."""
    if op is Op.EXPORT:
        form = {"name": "format", "in": "query", "description": "In place of Accept", "schema": ref("FileFormat")}
        return [*(one for one in listed if _name(one) not in PAGED), form]
    field = {"type": "string", "pattern": f"^({'|'.join(_fields(resource))})?$"}
    titles = {"type": "object", "additionalProperties": field}
    text = "`map[Title]=field` says which field a column is, `map[Title]=` leaves it out; else its title is the field's name"
    mode = {"name": "mode", "in": "query", "description": "`create` unless given", "schema": ref("ImportMode")}
    mapped = {
        "name": "map",
        "in": "query",
        "style": "deepObject",
        "explode": True,
        "description": text,
        "schema": titles,
    }
    if not listed:
        mode["schema"] = {"const": "create"}
    text = "Of a workbook with several filled sheets, the name of the one to import; for no other format"
    sheet = {"name": "sheet", "in": "query", "description": text, "schema": {"type": "string"}}
    return [mode, *listed, mapped, sheet]


def _name(parameter: Schema) -> str:
    name: str = parameter.get("name") or parameter["$ref"].rpartition("/")[2]
    return name


def _fields(resource: Resource) -> list[str]:
    return [*(field.name for field in resource.fields.values() if field.creatable), *resource.nested]


def files(*, sent: bool = False) -> Schema:
    """A media type for each format. What is sent is bytes, so that clients open a file for it."""
    found: Schema = {}
    for form in FORMATS.values():
        kind = {"format": "binary"} if sent or form.name == "xlsx" else {}
        found[form.media[0]] = {"schema": {"type": "string", "description": form.meaning, **kind}}
    return found


def file() -> Schema:
    """Every row, as a file."""
    text = "Every row, as a file; one that cannot be finished is cut off"
    return {"description": text, "headers": headers(), "content": files()}
