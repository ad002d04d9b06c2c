"""Every answer that is not a success, as a class with a code and an HTTP status.

The tree::

    StartupFault                      a person must act before the server can run
    ApiError
    +-- UnauthorizedError  401
    +-- ForbiddenError     403
    +-- NotFoundError      404 (405)
    +-- ConflictError      409 (412, 423)
    +-- ValidationError    422 (400, 408, 413, 414, 415, 428, 431)
    +-- UnavailableError   503 (429, 504, 500)

`CODES` lists the generic codes once; a domain adds its own by raising a family with a code of the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec


class StartupFault(Exception):
    """The program cannot start; the message says what to do about it."""


class Fault(msgspec.Struct, frozen=True):
    """One thing wrong with a request: `field` is a path such as `lines[2].qty`, `params` what the code compares with."""

    field: str
    code: str
    message: str
    params: Mapping[str, Any] = {}

    def under(self, prefix: str) -> Fault:
        """The same fault, its path below `prefix`."""
        dot = "." if self.field and prefix and not self.field.startswith("[") else ""
        return Fault(f"{prefix}{dot}{self.field}", self.code, self.message, self.params)


class ApiError(Exception):
    """An answer of one of the six families. Raised anywhere in the road; rendered at one place."""

    http_status: ClassVar[int] = 500
    families: ClassVar[dict[str, type[ApiError]]] = {}

    def __init_subclass__(cls) -> None:
        ApiError.families[cls.__name__] = cls

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        details: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
        status: int | None = None,
    ) -> None:
        """`status` overrides the code's own HTTP number (a stale `If-Match` is 412, a stale `version` 409)."""
        generic = CODES.get(code)
        super().__init__(message or (generic[2] if generic else code))
        self.code = code
        self.message = str(self)
        self.details = tuple(details)
        self.headers = dict(headers or {})
        self.status = status or (generic[1] if generic else self.http_status)
        # what `engine.clashes` knows of the rows that it is said of
        self.clash: Any = None

    def again(self, details: Sequence[Fault], message: str = "") -> ApiError:
        """The same error, its faults said otherwise."""
        made = type(self)(self.code, message or self.message, details=details, headers=self.headers, status=self.status)
        made.clash = self.clash
        return made


class UnauthorizedError(ApiError):
    """Who are you? No token, or one that does not count."""

    http_status = 401


class ForbiddenError(ApiError):
    """You are known, but may not."""

    http_status = 403


class NotFoundError(ApiError):
    """There is no such thing for you: absent, invisible and another tenant's answer alike."""

    http_status = 404


class ConflictError(ApiError):
    """Right in itself, but not in the present state of the data."""

    http_status = 409


class ValidationError(ApiError):
    """The request itself is wrong."""

    http_status = 422


class UnavailableError(ApiError):
    """Not now; `Retry-After` says when."""

    http_status = 503


# code -> (family, HTTP status, default message)
CODES: dict[str, tuple[str, int, str]] = {
    "not_authenticated": ("UnauthorizedError", 401, "A bearer token is needed; POST /auth/token gives one"),
    "invalid_token": ("UnauthorizedError", 401, "The token is not valid, has expired or was revoked; sign in again"),
    "invalid_credentials": ("UnauthorizedError", 401, "The credentials are not right"),
    "permission_denied": ("ForbiddenError", 403, "The caller lacks the permission for this"),
    "wrong_scope": ("ForbiddenError", 403, "The token belongs to another scope"),
    "not_found": ("NotFoundError", 404, "There is no such row"),
    "route_not_found": ("NotFoundError", 404, "There is no such route; /openapi.json lists them"),
    "method_not_allowed": ("NotFoundError", 405, "The route does not take this method; see Allow"),
    "duplicate": ("ConflictError", 409, "Another row already has this value"),
    "in_use": ("ConflictError", 409, "Active rows still refer to this one"),
    "overlapping_period": ("ConflictError", 409, "The period overlaps another row's"),
    "invalid_transition": ("ConflictError", 409, "The status cannot go there from here"),
    "reserved_transition": ("ConflictError", 409, "Only the system makes this transition"),
    "document_locked": ("ConflictError", 409, "The document has left its first state and no longer changes"),
    "not_draft": ("ConflictError", 409, "Only a document in its first state can be deleted"),
    "append_only": ("ConflictError", 409, "Rows of this log never change"),
    "version_conflict": ("ConflictError", 409, "The row has changed since it was read; read it again"),
    "idempotency_in_progress": (
        "ConflictError",
        409,
        "The first request with this Idempotency-Key is still on its way",
    ),
    "idempotency_key_reused": ("ValidationError", 422, "The Idempotency-Key was given to another request"),
    "serialization_conflict": ("ConflictError", 409, "Another request changed the same rows at once; try again"),
    "resource_locked": ("ConflictError", 409, "Another request holds the row; try again"),
    "rejected_by_database": (
        "ConflictError",
        409,
        "The database itself refuses this, by a rule or trigger of its own; the server's log has the reason",
    ),
    "conflict": ("ConflictError", 409, "The change does not fit the present data"),
    "too_many_rows": ("ConflictError", 409, "More rows match than Prefer: max-affected allows; nothing was written"),
    "tree_cycle": ("ValidationError", 422, "A node cannot lie below itself"),
    "tree_too_deep": ("ValidationError", 422, "The tree is at most 10 levels deep"),
    "validation_error": ("ValidationError", 422, "The request does not fit; see details"),
    "invalid_json": ("ValidationError", 400, "The body is not valid JSON"),
    "unknown_parameter": ("ValidationError", 400, "The query has a parameter that is not known here"),
    "bad_request": ("ValidationError", 400, "The request is malformed"),
    "invalid_reference": ("ValidationError", 422, "The row refers to one that does not exist"),
    "too_complex": ("ValidationError", 422, "The request is too complex"),
    "invalid_cursor": ("ValidationError", 422, "The cursor was not made for this list; begin without it"),
    "too_expensive": ("ValidationError", 422, "The query would cost too much; see details for what makes it so"),
    "filter_required": ("ValidationError", 400, "A write of many rows needs a filter, such as filter[status]=draft"),
    "max_affected_required": ("ValidationError", 400, "Send Prefer: max-affected=n, the most rows that may change"),
    "request_timeout": ("ValidationError", 408, "The request took too long to come"),
    "url_too_long": ("ValidationError", 414, "The URL has more than 65535 bytes; send the query as a body, by QUERY"),
    "headers_too_large": ("ValidationError", 431, "The headers are too large or too many"),
    "payload_too_large": ("ValidationError", 413, "The body is too large"),
    "not_acceptable": ("ValidationError", 406, "The answer has none of the media types that Accept names"),
    "unsupported_media_type": ("ValidationError", 415, "Send the body as application/json"),
    "version_required": ("ValidationError", 428, "Send If-Match or version"),
    "weak_password": ("ValidationError", 422, "The password is too weak"),
    "rate_limited": ("UnavailableError", 429, "Too many requests; wait as Retry-After says"),
    "db_unavailable": ("UnavailableError", 503, "The database cannot be reached; try again"),
    "pool_exhausted": ("UnavailableError", 503, "All connections are busy; try again"),
    "schema_changed": (
        "UnavailableError",
        503,
        "The tables are not as they were read; `cxg reload` reads them anew, `cxg migrate` brings own ones up to date",
    ),
    "read_only": ("UnavailableError", 503, "The database is read-only at the moment; try again"),
    "storage_full": ("UnavailableError", 503, "The database has no room left"),
    "outcome_unknown": (
        "UnavailableError",
        503,
        "The connection broke while committing; read the row to see the outcome",
    ),
    "issuer_unavailable": ("UnavailableError", 503, "The issuer's keys cannot be read at the moment; try again"),
    "interrupted": (
        "UnavailableError",
        503,
        "The server that carried it out has ended and nothing of it stays; send it again",
    ),
    "query_timeout": ("UnavailableError", 504, "The query took too long; narrow it"),
    "internal_error": ("UnavailableError", 500, "Something went wrong here; quote the request id"),
}

# codes that appear only in details[].code
FAULT_CODES: dict[str, str] = {
    "required": "a value must be given",
    "too_long": "longer than the column",
    "too_short": "shorter than allowed",
    "out_of_range": "below or above what the column takes",
    "invalid_format": "not of the form or type that the field takes",
    "invalid_choice": "not one of the listed values",
    "permission_denied": "a row that the caller may not have",
    "check_failed": "a rule over several fields does not hold",
    "field_not_allowed": "unknown, or set by the engine alone",
    "write_once": "may only be given at creation",
    "invalid_reference": "refers to a row that does not exist",
    "duplicate": "another row already has this value",
    "unknown_parameter": "not a parameter of this route",
    "unknown_field": "not a field of this entity",
    "unknown_column": "a cell that stands under no title",
    "too_many_cells": "a row has more cells than titles",
    "too_few_cells": "a row has fewer cells than titles",
    "repeated": "given more than once",
    "exclusive": "cannot be given together with another one",
    "invalid_cursor": "made up, changed, or made for another list",
    "not_indexed": "has no index; the message names the one that would serve it",
    "costly": "what makes the query cost too much",
    "too_complex": "goes through too many relations, or is nested too deep",
    "too_many_rows": "more rows match than may be written; params hold both numbers",
    "in_use": "rows refer to it; params name their entity and how many, where the caller may read them",
    "outside_key": "the condition of the unique key that an upsert names does not hold of the row",
    "changed": "another request changed it since the version that was read",
}


def generic(
    code: str, message: str = "", *, details: Sequence[Fault] = (), headers: Mapping[str, str] | None = None
) -> ApiError:
    """The error of a generic code, as an object of its family."""
    return ApiError.families[CODES[code][0]](code, message, details=details, headers=headers)


def invalid(details: Sequence[Fault]) -> ApiError:
    """422 with every fault found."""
    first = details[0]
    return ValidationError(
        "validation_error", f"{first.field}: {first.message}" if first.field else first.message, details=details
    )
