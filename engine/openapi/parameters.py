"""Parameters of the operations: the key in the path, the query of a list with typed filters, conditional headers."""

from __future__ import annotations

from typing import Any

from engine.catalog import Resource
from engine.fields import ENGINE_SET, Field
from engine.filters import OPERATORS, Operator
from engine.openapi import tables
from engine.openapi.schemas import SEARCHED, Schema, ref
from engine.paging import DEFAULT_PAGE_SIZE, MAX_CURSOR, MAX_OFFSET, MAX_PAGE_SIZE
from engine.shapes import LIMITS
from engine.types import Op

MAX_CHOICES = LIMITS.choices
INT8 = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}
# how a filter value of each scalar is written; the column's own bounds do not apply to what it is compared with
VALUES: dict[str, Schema] = {
    "uuid": {"type": "string", "format": "uuid"},
    "boolean": {"type": "boolean"},
    "integer": INT8,
    "bigint": INT8,
    "float": {"type": "number"},
    "numeric": {"type": "string", "pattern": "^-?[0-9]{1,30}(\\.[0-9]{1,20})?$", "examples": ["10.5"]},
    "text": {"type": "string"},
    "date": {"type": "string", "format": "date"},
    "timestamptz": {"type": "string", "format": "date-time"},
    "time": {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]$"},
}
# fields that most entities have with the same type: their filters are parameters that entities share
SHARED = ENGINE_SET - {"status", "tenant_id"} | {"id"}


def query(name: str, schema: Schema, text: str = "", **extra: Any) -> Schema:
    """A query parameter."""
    return {"name": name, "in": "query", **({"description": text} if text else {}), "schema": schema, **extra}


def header(name: str, text: str, schema: Schema | None = None) -> Schema:
    """A request header; without a schema, one that holds an ETag."""
    etag: Schema = {"type": "string", "pattern": '^(\\*|"[0-9]{1,9}")$'}
    return {"name": name, "in": "header", "description": text, "schema": schema or etag}


COMMA: Schema = {"style": "form", "explode": False}
DELETED = {"type": "string", "enum": ["exclude", "include", "only"], "default": "exclude"}
COUNT = {"type": "string", "enum": ["exact", "estimated", "none"], "default": "exact"}
EXPAND = (
    "Related rows shown inside the row. A path such as `lines.product` goes on, three levels deep unless set; each may have "
    "`fields[path]=a,b`, `expand[path][limit]=5`, `expand[path][sort]=-a` and `expand[path][filter][a][op]=value`"
)
REPEAT = (
    "A name of the request, such as a fresh UUID. A request that comes again with it within 24 hours has no second effect and gets "
    "the first answer, with `Idempotent-Replayed: true`; 409 while the first is on its way, 422 for another body or path"
)
PREFER = (
    "`dry-run`: everything but the commit. `return=minimal`: no data. `merge=disjoint`: a stale version does no harm where the "
    "edits touch different fields. `Preference-Applied` names those that were followed"
)
PREFERENCE = "(dry-run|return=(minimal|representation)|merge=disjoint|each|max-affected=[0-9]{1,9})"
# a text: generators of clients take no list for a header
PREFERENCES: Schema = {"type": "string", "pattern": f"^{PREFERENCE}(, ?{PREFERENCE})*$", "examples": ["return=minimal"]}
LAST_PAGE = MAX_OFFSET // MAX_PAGE_SIZE
SIMPLE: dict[str, Schema] = {
    "page": query("page", {"type": "integer", "minimum": 1, "maximum": LAST_PAGE, "default": 1}),
    "page_size": query(
        "page_size", {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": DEFAULT_PAGE_SIZE}
    ),
    "cursor": query(
        "cursor",
        {"type": "string", "minLength": 1, "maxLength": MAX_CURSOR},
        "The `next_cursor` of a page, for the page after it. Not together with `page`; sort and filters stay the same",
    ),
    "count": query(
        "count",
        COUNT,
        "Whether `total` is counted; `estimated` asks the planner above 10,000 rows. With a cursor `none` unless given",
    ),
    "where": query(
        "where",
        {"type": "string", "maxLength": 16384, "examples": ['{"or":[{"field":"version","op":"gt","value":1}]}']},
        "Nested conditions as JSON: field, op and value; and, or, not; some, none, every of a relation with where",
    ),
    "deleted": query("deleted", DELETED, "Whether deleted rows are shown"),
    "version": query("version", {"type": "integer", "minimum": 0, "maximum": 999_999_999}, "The version that was read"),
    "if_match": header("If-Match", "ETag of the version that was read; 412 when the row has moved on"),
    "idempotency_key": header("Idempotency-Key", REPEAT, {"type": "string", "pattern": "^[!-~]{1,255}$"}),
    "prefer": header("Prefer", PREFER, PREFERENCES),
    "if_none_match": header("If-None-Match", "ETag of the version that is known; 304 when it still stands"),
}


def simple(*names: str) -> list[Schema]:
    """References to shared parameters."""
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


class Parameters:
    """Makes parameters; what is shared goes into `components` (parameters) and `values` (schemas of filter values)."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = dict(SIMPLE)
        self.values: dict[str, Schema] = {}

    def of(self, resource: Resource, op: Op) -> list[Schema]:
        """The parameters of an operation beside the key."""
        if op is Op.LIST:
            return self._list(resource)
        if op is Op.GET:
            shown = [self._fields(resource, nested=True), *self._related(resource)]
            return [*shown, *simple("deleted", "if_none_match")]
        if op is Op.HISTORY:
            return simple("page", "page_size", "cursor")
        if op in (Op.EXPORT, Op.IMPORT):
            return tables.parameters_of(resource, op, self._words(resource) if op is Op.EXPORT else ())
        if op is Op.DELETE:
            return simple("version", "if_match")
        return simple("if_match") if op in (Op.UPDATE, Op.REPLACE, Op.STATUS) else []

    def key(self, resource: Resource) -> Schema:
        """The key in the path."""
        if len(resource.keys) == 1:
            field = resource.fields[resource.keys[0]]
            schema = field.scalar.schema(field.type, field.bounds)
            return {"name": "id", "in": "path", "required": True, "schema": schema}
        text = f"{', '.join(resource.keys)}, joined by commas"
        pattern = "^[^,/]+" + ",[^,/]+" * (len(resource.keys) - 1) + "$"
        return {
            "name": "id",
            "in": "path",
            "required": True,
            "description": text,
            "schema": {"type": "string", "pattern": pattern},
        }

    def _list(self, resource: Resource) -> list[Schema]:
        filters = (made for field in resource.shown for made in self._filters(field))
        return [*self._words(resource), *filters]

    def _words(self, resource: Resource) -> list[Schema]:
        """The parameters of a list beside its filters."""
        found = [
            *simple("page", "page_size", "cursor", "count", "deleted"),
            self._sort(resource),
            self._fields(resource, nested=False),
            *self._related(resource),
            simple("where")[0],
        ]
        if resource.entity.search:
            text = f"Words, any case, each of which one of {', '.join(resource.entity.search)} holds; best first without `sort`"
            found.append(query("q", SEARCHED, text))
        return found

    def _sort(self, resource: Resource) -> Schema:
        names = [f.name for f in resource.shown if f.sortable]
        item = {"type": "string", "pattern": f"^[+-]?({'|'.join(names)})(:nulls(first|last))?$"}
        schema = {"type": "array", "items": item, "minItems": 1, "uniqueItems": True, "examples": [[names[0]]]}
        return query("sort", schema, "`-` descending; `:nullsfirst` or `:nullslast` may follow a name", **COMMA)

    def _fields(self, resource: Resource, *, nested: bool) -> Schema:
        names = [*(f.name for f in resource.shown), *(resource.nested if nested else ())]
        schema = {"type": "array", "items": {"type": "string", "enum": names}, "minItems": 1}
        return query("fields", schema, "The fields to show; all when left out", **COMMA)

    def _related(self, resource: Resource) -> list[Schema]:
        """`expand`, where there is something behind a relation."""
        if not resource.relations:
            return []
        item = {"type": "string", "enum": sorted(resource.relations)}
        schema = {"type": "array", "items": item, "minItems": 1, "uniqueItems": True}
        return [query("expand", schema, EXPAND, **COMMA)]

    # -- filters

    def _filters(self, field: Field) -> list[Schema]:
        found = []
        for name in field.operators:
            if name == "eq":
                found.append(self._filter(field, f"filter[{field.name}]", OPERATORS[name]))
            found.append(self._filter(field, f"filter[{field.name}][{name}]", OPERATORS[name]))
        return found

    def _filter(self, field: Field, name: str, operator: Operator) -> Schema:
        several: Schema = COMMA if operator.takes in ("many", "two", "items") else {}
        made = query(name, self._value(field, operator), **several)
        if field.name not in SHARED:
            return made
        key = name.replace("][", "_").replace("[", "_").replace("]", "")
        if self.components.setdefault(key, made) != made:
            return made
        return simple(key)[0]

    def _value(self, field: Field, operator: Operator) -> Schema:
        said = field.item or field
        choices = getattr(said.type, "enums", None)
        if choices and operator.takes in ("one", "many", "item", "items"):
            return _taking(operator, {"type": "string", "enum": list(choices)})
        typed = ("one", "many", "two", "node", *(("item", "items") if field.item else ()))
        kind = said.scalar.name if operator.takes in typed else "text"
        name = f"filter_{kind}_{operator.name}"
        self.values.setdefault(
            name, {"description": operator.meaning, **_taking(operator, VALUES.get(kind, VALUES["text"]))}
        )
        return ref(name)


def _taking(operator: Operator, one: Schema) -> Schema:
    """The schema of what an operator takes, given that of one value."""
    if operator.takes == "bool":
        return {"type": "boolean"}
    if operator.takes == "two":
        return {"type": "array", "items": one, "minItems": 2, "maxItems": 2}
    if operator.takes in ("many", "items"):
        return {"type": "array", "items": one, "minItems": 1, "maxItems": MAX_CHOICES}
    return one
