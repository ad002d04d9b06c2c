"""Answers: the envelope, rows with their headers, and errors with the codes that an operation can give."""

from __future__ import annotations

from collections.abc import Iterable

from engine.catalog import Catalog, Resource
from engine.errors import CODES
from engine.hooks import Point
from engine.openapi.schemas import NULL, Schema, closed, opened, ref
from engine.preconditions import MATCHING
from engine.types import Op

JSON = "application/json"
TITLES = {
    400: "The request is malformed",
    401: "Who are you?",
    403: "You may not",
    404: "There is no such row for you",
    405: "The route does not take this method",
    406: "Accept names no media type of the answer",
    409: "Right in itself, but not in the present state of the data",
    412: "The row has moved on since the version in If-Match",
    413: "The body is too large",
    415: "The body is of another media type",
    422: "The request does not fit; `details` has every fault",
    428: "A version must be given",
    429: "Too many requests",
    500: "Something went wrong here",
    503: "Not now; `Retry-After` says when",
    504: "It took too long",
}
FAULT = closed(
    {
        "field": {"type": "string", "description": "A path such as lines[2].qty; empty = the whole"},
        "code": {"type": "string"},
        "message": {"type": "string"},
        "params": opened("What the code compares with"),
    },
    ["field", "code", "message", "params"],
)
ERROR = closed(
    {
        "code": {"type": "string"},
        "message": {"type": "string"},
        "details": {"type": "array", "items": ref("Fault")},
        "request_id": {"type": "string"},
    },
    ["code", "message", "details", "request_id"],
)
FAILURE = closed({"success": {"const": False}, "data": NULL, "error": ref("Error")}, ["success", "data", "error"])
SCHEMAS: dict[str, Schema] = {"Fault": FAULT, "Error": ERROR, "Failure": FAILURE}
HEADERS: dict[str, Schema] = {
    "request_id": {
        "description": "Id of the request in logs and in the audit record",
        "required": True,
        "schema": {"type": "string"},
    },
    "etag": {
        "description": "The row's version; where the answer shows more than the row's own columns (expansions, child rows, what is "
        "computed), a digest of it follows after a dash. `If-Match` takes both",
        "schema": {"type": "string", "pattern": '^"([0-9]+|[0-9a-f]{32})(-[0-9a-f]{16})?"$'},
    },
    "location": {"description": "Path of the created row, or of what goes on", "schema": {"type": "string"}},
    "idempotent_replayed": {
        "description": "There when the answer is that of the first request with this Idempotency-Key",
        "schema": {"const": "true"},
    },
    "preference_applied": {"description": "The preferences of Prefer that were followed", "schema": {"type": "string"}},
    "retry_after": {"description": "Seconds to wait", "schema": {"type": "string", "pattern": "^[0-9]+$"}},
    "allow": {"description": "Methods that the route takes", "schema": {"type": "string"}},
    "www_authenticate": {"description": "How to sign in", "required": True, "schema": {"type": "string"}},
}
ERROR_HEADERS = {
    401: ("WWW-Authenticate", "www_authenticate"),
    405: ("Allow", "allow"),
    429: ("Retry-After", "retry_after"),
}

ALWAYS = (
    *(
        "unknown_parameter",
        "bad_request",
        "not_authenticated",
        "invalid_token",
        "permission_denied",
        "wrong_scope",
        "validation_error",
    ),
    *("rate_limited", "internal_error", "db_unavailable", "schema_changed", "issuer_unavailable", "pool_exhausted"),
    "query_timeout",
)
BODY = ("invalid_json", "too_complex", "payload_too_large", "unsupported_media_type")
REPEATED = ("idempotency_in_progress", "idempotency_key_reused")
WRITE = (
    *("serialization_conflict", "resource_locked", "conflict", "rejected_by_database"),
    *("read_only", "storage_full", "outcome_unknown"),
)
EVERYWHERE = frozenset({*ALWAYS, *BODY, *REPEATED, *WRITE, "not_found"})
# what an operation on many rows does to each of them
LIKE: dict[Op, tuple[Op, ...]] = {
    Op.UPDATE_MANY: (Op.UPDATE,),
    Op.DELETE_MANY: (Op.DELETE,),
    Op.UPSERT: (Op.CREATE, Op.UPDATE),
    Op.IMPORT: (Op.CREATE, Op.UPDATE),
}
CHOOSING = frozenset({Op.UPDATE_MANY, Op.DELETE_MANY})
CHOSEN = ("filter_required", "max_affected_required", "too_many_rows", "too_expensive")
WRITES = frozenset({Op.CREATE, Op.UPDATE, Op.REPLACE, Op.DELETE, Op.STATUS, *LIKE})
BODIES = WRITES - {Op.DELETE_MANY}
LISTS = {
    Op.LIST: ("too_expensive", "invalid_cursor"),
    Op.QUERY: ("too_expensive", "invalid_cursor"),
    Op.HISTORY: ("invalid_cursor",),
    Op.EXPORT: ("too_expensive", "not_acceptable"),
}
POINTS: dict[Op, tuple[Point, ...]] = {
    Op.CREATE: (Point.BEFORE_CREATE, Point.AFTER_CREATE),
    Op.UPDATE: (Point.BEFORE_UPDATE, Point.AFTER_UPDATE),
    Op.REPLACE: (Point.BEFORE_UPDATE, Point.AFTER_UPDATE),
    Op.DELETE: (Point.BEFORE_DELETE, Point.AFTER_DELETE),
    Op.STATUS: (Point.BEFORE_STATUS, Point.AFTER_STATUS),
}
POINTS |= {op: tuple(point for like in likes for point in POINTS[like]) for op, likes in LIKE.items()}
OF_VERSIONS = ("version_conflict", "version_required")
Codes = dict[int, list[str]]


def headers(*pairs: tuple[str, str]) -> Schema:
    """Header references of an answer; each has a request id."""
    known = (("X-Request-Id", "request_id"), *pairs)
    return {name: {"$ref": f"#/components/headers/{key}"} for name, key in known}


def content(schema: Schema, kind: str = JSON) -> Schema:
    """One media type."""
    return {kind: {"schema": schema}}


def envelope(data: Schema) -> Schema:
    """The success envelope around `data`."""
    return closed({"success": {"const": True}, "data": data, "error": NULL}, ["success", "data", "error"])


def answer(text: str, data: Schema, *known: tuple[str, str]) -> Schema:
    """A success in its envelope."""
    return {"description": text, "headers": headers(*known), "content": content(envelope(data))}


def written(responses: dict[str, Schema]) -> dict[str, Schema]:
    """The successes of a write, with what its request headers add: 200 may be 204 instead."""
    found = dict(responses)
    for response in found.values():
        response.get("headers", {}).update(WISHED)
    if "200" in found:
        found["204"] = {"$ref": "#/components/responses/minimal"}
    return found


def minimal() -> Schema:
    """The answer without data."""
    return {
        "description": "Done, as `Prefer: return=minimal` wants it",
        "headers": {**headers(("ETag", "etag")), **WISHED},
    }


def page_of(item: Schema, more: Schema | None = None) -> Schema:
    """The data of a list; `more`: members that are not always there."""
    members: Schema = {
        "items": {"type": "array", "items": item},
        "page": {"type": ["integer", "null"], "minimum": 1, "description": "null for a page after a cursor"},
        "page_size": {"type": "integer", "minimum": 1},
        "total": {"type": ["integer", "null"], "minimum": 0, "description": "null when it was not asked for"},
        "total_pages": {"type": ["integer", "null"], "minimum": 0},
        "next_cursor": {"type": ["string", "null"], "description": "For the next page; null on the last one"},
        "total_is_estimate": {"type": "boolean", "description": "true, and only there when the total is an estimate"},
    }
    return closed({**members, **(more or {})}, [name for name in members if name != "total_is_estimate"])


WISHED = {
    "Idempotent-Replayed": {"$ref": "#/components/headers/idempotent_replayed"},
    "Preference-Applied": {"$ref": "#/components/headers/preference_applied"},
}


def error_responses() -> dict[str, Schema]:
    """One response component an HTTP status."""
    found = {}
    for status, text in TITLES.items():
        known = (
            [ERROR_HEADERS[status]]
            if status in ERROR_HEADERS
            else [("Retry-After", "retry_after")]
            if status == 503
            else []
        )
        found[f"error_{status}"] = {"description": text, "headers": headers(*known), "content": content(ref("Failure"))}
    return found


def failures(statuses: Iterable[int]) -> dict[str, Schema]:
    """References to the error answers."""
    return {str(status): {"$ref": f"#/components/responses/error_{status}"} for status in sorted(statuses)}


def generic_codes() -> dict[str, Schema]:
    """The table of generic codes."""
    return {code: {"status": status, "message": message} for code, (_, status, message) in CODES.items()}


def codes_of(catalog: Catalog, resource: Resource, op: Op) -> Codes:
    """HTTP status -> error codes that the operation can give: the engine's own, of constraints, and of rules."""
    names = [*ALWAYS, *(["rejected_by_database"] if resource.foreign else [])]
    names += BODY if op in BODIES or op is Op.QUERY else ()
    names += ("not_found",) if op not in (Op.CREATE, Op.LIST, Op.QUERY, Op.EXPORT, Op.IMPORT) else ()
    names += LISTS.get(op, ())
    found: Codes = {}
    names += ["interrupted"] if op in (Op.IMPORT, Op.EXPORT) else []
    if op in WRITES:
        names += [*WRITE, *REPEATED, *(CHOSEN if op in CHOOSING else ())]
        for like in LIKE.get(op, (op,)):
            told = _state_codes(catalog, resource, like)
            # nobody says a version of many rows
            names += told if op in MATCHING else [code for code in told if code not in OF_VERSIONS]
            names += _constraint_codes(resource, like)
    for name in dict.fromkeys(names):
        found.setdefault(CODES[name][1], []).append(name)
    if op in WRITES:
        _add_more(resource, op, found)
    return {status: found[status] for status in sorted(found)}


def _add_more(resource: Resource, op: Op, found: Codes) -> None:
    more = [(412, "version_conflict")] if op in MATCHING else []
    more += [(403, "tenant_closing")] if resource.scope.tenant_bound else []
    rules = [rule for point in POINTS[op] for rule in resource.hooks.get(point, ())]
    # a rule may write other entities, so what those refuse can come out here
    more += [(404, "not_found"), (409, "conflict"), (504, "hook_timeout")] if rules else []
    for status, code in (*more, *(pair for rule in rules for pair in rule.raises)):
        if code not in found.setdefault(status, []):
            found[status].append(code)


def _state_codes(catalog: Catalog, resource: Resource, op: Op) -> list[str]:
    """Codes of life cycle and locking."""
    document = resource.entity.kind == "document" and resource.stateful
    restricted = any(r.on_delete in ("RESTRICT", "NO ACTION") for r in catalog.incoming.get(resource.path, ()))
    changes = op is not Op.CREATE
    wanted = {
        "version_conflict": changes,
        "version_required": changes and resource.entity.require_version,
        "document_locked": (document and op in (Op.UPDATE, Op.REPLACE))
        or (resource.header is not None and op is not Op.STATUS),
        "not_draft": document and op is Op.DELETE,
        "in_use": restricted and (op is Op.DELETE or (op is Op.STATUS and not resource.stateful)),
        "invalid_transition": op is Op.STATUS and resource.stateful,
        "reserved_transition": op is Op.STATUS and bool(resource.machine.reserved),
        "append_only": changes and bool(resource.table.info.get("append_only")),
        "tree_cycle": bool(resource.entity.tree) and op in (Op.UPDATE, Op.REPLACE),
        "tree_too_deep": bool(resource.entity.tree) and op in BODIES - {Op.STATUS, Op.DELETE},
    }
    return [code for code, given in wanted.items() if given]


def _constraint_codes(resource: Resource, op: Op) -> list[str]:
    """Codes of unique keys, references and periods; a status change or a restored row can meet them too."""
    known = {code for code, _ in resource.constraints.values()}
    return sorted(known & set(CODES)) if op is not Op.DELETE else []
