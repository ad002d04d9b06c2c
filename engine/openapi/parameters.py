"""Parameters of the operations: the key in the path, the query of a list with typed filters, conditional headers."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from engine.catalog import Catalog, Resource
from engine.fields import Field
from engine.filters import OPERATORS, Operator
from engine.openapi import grouping, tables
from engine.openapi.schemas import SEARCHED, VERSION, Schema, choice_of, closed, name_of, plain, ref
from engine.paging import DEFAULT_PAGE_SIZE, MAX_CURSOR, MAX_OFFSET, MAX_PAGE_SIZE
from engine.past import log_of
from engine.preconditions import MATCHING
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
    "bytes": {"type": "string", "contentEncoding": "base64"},
}
# of other people's tables, which have values beyond those: infinity, before Christ, not a number
BEYOND: dict[str, Schema] = {
    f"open_{kind}": {"anyOf": [VALUES[kind], {"type": "string", "pattern": pattern}]}
    for kind, pattern in (
        ("float", "^(NaN|-?Infinity)$"),
        ("numeric", "^(NaN|-?Infinity)$"),
        ("date", "^(-?infinity|[0-9]{4,7}-.* BC|[0-9]{5,7}-.*)$"),
        ("timestamptz", "^(-?infinity|[0-9]{4,7}-.* BC|[0-9]{5,7}-.*)$"),
    )
}


def query(name: str, schema: Schema, text: str = "", **extra: Any) -> Schema:
    """A query parameter."""
    return {"name": name, "in": "query", **({"description": text} if text else {}), "schema": schema, **extra}


def header(name: str, text: str, schema: Schema) -> Schema:
    """A request header."""
    return {"name": name, "in": "header", "description": text, "schema": schema}


TAG = '"([0-9]{1,9}|[0-9a-f]{32})(-[0-9a-f]{16})?"'
ONE_TAG: Schema = {"type": "string", "pattern": rf"^(\*|{TAG})$"}
TAGS: Schema = {"type": "string", "pattern": rf"^(\*|(W/)?{TAG}(, (W/)?{TAG})*)$"}


COMMA: Schema = {"style": "form", "explode": False}
AS_OF = {"type": "string", "format": "date-time", "examples": ["2026-01-31T10:00:00Z"]}
PAST = "The rows, and all that they are related to, as they were at this moment, which is over"
SCHEMAS: dict[str, Schema] = {
    "Deleted": {"type": "string", "enum": ["exclude", "include", "only"]},
    "Count": {"type": "string", "enum": ["exact", "estimated", "none"]},
    "Deletion": closed({"version": VERSION}),
}
EXPAND = (
    "Related rows shown inside the row. A path such as `lines.product` goes on, three levels deep unless set; each may have "
    "`fields[path]=a,b` and `expand[path][filter][a][op]=value`, and where it leads to many rows `expand[path][limit]=5` (100 "
    "unless given) and `expand[path][sort]=-a`"
)
REPEAT = (
    "A name of the request, such as a fresh UUID. A request that comes again with it within 24 hours has no second effect and gets "
    "the first answer, with `Idempotent-Replayed: true`; 409 while the first is on its way, 422 for another body or path"
)
PREFER = (
    "`dry-run`: everything but the commit. `return=minimal`: no data. `merge=disjoint`: a stale version does no harm where the "
    "edits touch different fields. `respond-async`: an import or export goes on after its answer. `handling=strict`: 400 for a "
    "preference that is not known, which is ignored else; a misspelt one, or a value that it cannot have, is always 400. "
    "`Preference-Applied` names those that were followed"
)
PREFERENCE = (
    "(dry-run|return=(minimal|representation)|merge=disjoint|each|respond-async|handling=(strict|lenient)|"
    "max-affected=[0-9]{1,9})"
)
# a text: generators of clients take no list for a header
PREFERENCES: Schema = {"type": "string", "pattern": f"^{PREFERENCE}(, ?{PREFERENCE})*$", "examples": ["return=minimal"]}
LAST_PAGE = MAX_OFFSET // MAX_PAGE_SIZE
MANY = 3  # entities that have the same field, so that they share its filters
# what is left out is said in words: generated clients send a `default`, and `page` beside a cursor is an error
SIMPLE: dict[str, Schema] = {
    "page": query("page", {"type": "integer", "minimum": 1, "maximum": LAST_PAGE}, "1 unless given"),
    "page_size": query(
        "page_size", {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE}, f"{DEFAULT_PAGE_SIZE} unless given"
    ),
    "cursor": query(
        "cursor",
        {"type": "string", "minLength": 1, "maxLength": MAX_CURSOR},
        "The `next_cursor` of a page, for the page after it. Not together with `page`; sort and filters stay the same",
    ),
    "count": query(
        "count",
        ref("Count"),
        "Whether `total` is counted: `exact` unless given, with a cursor `none`; `estimated` asks the planner above 10,000 rows",
    ),
    "where": query(
        "where",
        {"type": "string", "maxLength": 16384, "examples": ['{"or":[{"field":"version","op":"gt","value":1}]}']},
        "Conditions as JSON: field (or a path through relations), op and value; and, or, not; some, none, every of a relation "
        "with where",
    ),
    "having": query("having", grouping.RESULTS, grouping.HAVING, style="deepObject", explode=True),
    "deleted": query("deleted", ref("Deleted"), "Whether deleted rows are shown; `exclude` unless given"),
    "as_of": query("as_of", AS_OF, PAST),
    "version": query("version", {"type": "integer", "minimum": 0, "maximum": 999_999_999}, "The version that was read"),
    "if_match": header(
        "If-Match",
        "ETag of the row as it was read, one and strong, or `*`; 412 when the row has moved on. 422 beside another `version`",
        ONE_TAG,
    ),
    "idempotency_key": header("Idempotency-Key", REPEAT, {"type": "string", "pattern": "^[!-~]{1,255}$"}),
    "prefer": header("Prefer", PREFER, PREFERENCES),
    "if_none_match": header("If-None-Match", "ETags of what is known, or `*`; 304 when one still stands", TAGS),
}


def simple(*names: str) -> list[Schema]:
    """References to shared parameters."""
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


class Parameters:
    """Makes parameters; what is shared goes into `components` (parameters) and `values` (schemas of filter values)."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.components: dict[str, Schema] = dict(SIMPLE)
        self.values: dict[str, Schema] = {}
        self.fields = Counter(_kind(field) for r in catalog.resources.values() for field in r.shown)

    def of(self, resource: Resource, op: Op) -> list[Schema]:
        """The parameters of an operation beside the key."""
        if op is Op.LIST:
            return self._list(resource)
        if op is Op.GET:
            shown = [self._fields(resource, nested=True), *self._related(resource)]
            return [*shown, *simple(*_deleted(resource), "if_none_match"), *self._past(resource)]
        if op is Op.HISTORY:
            return simple("page", "page_size", "cursor")
        if op in (Op.EXPORT, Op.IMPORT):
            return tables.parameters_of(resource, op, self._moved(resource, op))
        if op in (Op.UPDATE_MANY, Op.DELETE_MANY):
            return [*self._equal(resource), *simple("where"), *self._search(resource)]
        if op is Op.UPSERT:
            return [{**self._unique(resource), "required": True}]
        if op is Op.DELETE:
            return simple(*(("version",) if resource.versioned else ()), "if_match")
        return simple("if_match") if op in MATCHING else []

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
        filters = (made for field in resource.shown for made in self._filters(resource, field))
        return [*self._words(resource), *grouping.parameters_of(resource, _listed), *simple("having"), *filters]

    def _moved(self, resource: Resource, op: Op) -> list[Schema]:
        """What a file needs of the list or of the upsert."""
        if op is Op.EXPORT:
            return [*self._words(resource), *self._equal(resource)]
        return [self._unique(resource)] if Op.UPSERT in resource.ops and resource.unique_keys else []

    def _words(self, resource: Resource) -> list[Schema]:
        """The parameters of a list beside its filters."""
        found = [
            *simple("page", "page_size", *(("cursor",) if resource.keys else ()), "count", *_deleted(resource)),
            *self._sort(resource),
            self._fields(resource, nested=False),
            *self._related(resource),
            simple("where")[0],
            *self._past(resource),
        ]
        return [*found, *self._search(resource)]

    def _search(self, resource: Resource) -> list[Schema]:
        """`q`, where some fields are declared searchable."""
        if not resource.entity.search:
            return []
        text = f"Words, any case, each of which one of {', '.join(resource.entity.search)} holds; best first without `sort`"
        return [query("q", SEARCHED, text)]

    def _unique(self, resource: Resource) -> Schema:
        """`on`: the unique key by which a row is known."""
        keys = self._choice(f"{name_of(resource)}_key", list(resource.unique_keys))
        return query("on", keys, "The unique key by which a row is known")

    def _past(self, resource: Resource) -> list[Schema]:
        """`as_of`, where a change log tells of it."""
        return simple("as_of") if log_of(self.catalog, resource) else []

    def _sort(self, resource: Resource) -> list[Schema]:
        names = [f.name for f in resource.shown if f.sortable]
        if not names:
            return []
        item = {"type": "string", "pattern": f"^[+-]?({'|'.join(map(_literal, names))})(:nulls(first|last))?$"}
        schema = joined(item, uniqueItems=True, examples=[[names[0]]])
        return [query("sort", schema, "`-` descending; `:nullsfirst` or `:nullslast` may follow a name", **COMMA)]

    def _fields(self, resource: Resource, *, nested: bool) -> Schema:
        names = [*(f.name for f in resource.shown), *(resource.nested if nested else ())]
        one = self._choice(f"{name_of(resource)}_{'view_' if nested and resource.nested else ''}field", names)
        return query("fields", joined(one), "The fields to show; all when left out", **COMMA)

    def _related(self, resource: Resource) -> list[Schema]:
        """`expand`, where there is something behind a relation."""
        if not resource.relations:
            return []
        one = self._choice(f"{name_of(resource)}_relation", sorted(resource.relations))
        return [query("expand", joined(one, uniqueItems=True), EXPAND, **COMMA)]

    def _choice(self, name: str, choices: list[str]) -> Schema:
        self.values.setdefault(name, {"type": "string", "enum": choices})
        return ref(name)

    # -- filters

    def _equal(self, resource: Resource) -> list[Schema]:
        """The filters that say what a field is equal to: enough for many, beside `where`, and a tenth of them all."""
        fields = (field for field in resource.shown if "eq" in field.operators)
        return [self._filter(resource, field, "", OPERATORS["eq"]) for field in fields]

    def _filters(self, resource: Resource, field: Field) -> list[Schema]:
        found = []
        for name in field.operators:
            if name == "eq":
                found.append(self._filter(resource, field, "", OPERATORS[name]))
            found.append(self._filter(resource, field, f"[{name}]", OPERATORS[name]))
        return found

    def _filter(self, resource: Resource, field: Field, tail: str, operator: Operator) -> Schema:
        """Entities that have a field of the same name and type share its filters, where that makes the document shorter."""
        several: Schema = COMMA if operator.takes in ("many", "two", "items") else {}
        made = query(f"filter[{field.name}]{tail}", self._value(resource, field, operator), **several)
        own = choice_of(resource, field.item or field) is not None
        if tail and (own or self.fields[_kind(field)] < MANY):
            return made
        stem = f"{name_of(resource)}_filter_{plain(field.name)}" if own else f"filter_{'_'.join(_kind(field))}"
        key = stem + tail.replace("[", "_").replace("]", "")
        self.components.setdefault(key, made)
        return simple(key)[0]

    def _value(self, resource: Resource, field: Field, operator: Operator) -> Schema:
        said = field.item or field
        of_items = ("item", "items") if field.item else ()
        if (choice := choice_of(resource, said)) and operator.takes in ("one", "many", *of_items):
            return _taking(operator, self._choice(choice[0], choice[1]["enum"]))
        kind = _spoken(said) if operator.takes in ("one", "many", "two", "node", *of_items) else "text"
        name = f"filter_{kind}_{operator.name}"
        self.values.setdefault(
            name,
            {
                "description": operator.meaning,
                **_taking(operator, BEYOND.get(kind) or VALUES.get(kind, VALUES["text"])),
            },
        )
        return ref(name)


def _kind(field: Field) -> tuple[str, str]:
    return (plain(field.name), f"{_spoken(field.item)}_list" if field.item else _spoken(field))


def _spoken(field: Field) -> str:
    """What values of a field are called; those with values beyond the usual are others."""
    return f"open_{field.scalar.name}" if field.scalar.beyond else field.scalar.name


def _deleted(resource: Resource) -> tuple[str, ...]:
    """Where deleted rows stay, they can be shown."""
    return ("deleted",) if resource.soft else ()


def _literal(name: str) -> str:
    """The name in a regular expression of ECMAScript, which takes no backslash before what has no meaning."""
    return re.sub(r"([\\^$.|?*+()\[\]{}/])", r"\\\1", name)


def _taking(operator: Operator, one: Schema) -> Schema:
    """The schema of what an operator takes, given that of one value."""
    if operator.takes == "bool":
        return {"type": "boolean"}
    if operator.takes == "two":
        return joined(one, minItems=2, maxItems=2)
    if operator.takes in ("many", "items"):
        return joined(one, maxItems=MAX_CHOICES)
    return one


def _listed(name: str, item: Schema, text: str, most: int) -> Schema:
    return query(name, joined(item, uniqueItems=True, maxItems=most), text, **COMMA)


def joined(item: Schema, **extra: Any) -> Schema:
    """A list that travels as one text with commas. It may be given as that text: some generated clients can only repeat a
    parameter for each item, which is refused."""
    array = {"type": "array", "items": item, "minItems": 1, **extra}
    # without a `type` of its own Swagger UI shows a line and no page to type it in; `items` tells readers that look no deeper
    return {"anyOf": [array, {"type": "string", "minLength": 1}], "items": {}}
