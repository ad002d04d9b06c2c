"""(method, path) -> Resource, Op, key: one look-up, the same cost for ten entities and ten thousand."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, unquote_to_bytes
from uuid import UUID

from engine.catalog import Resource
from engine.errors import ApiError, NotFoundError, generic
from engine.types import Op


class Route(NamedTuple):
    """One row of the table of routes. `tail` follows `/<scope>/<domain>/<entity>`."""

    method: str
    tail: str
    op: Op
    summary: str


ROUTES: tuple[Route, ...] = (
    Route("POST", "", Op.CREATE, "Create one (object) or many (array, all or nothing)"),
    Route("GET", "", Op.LIST, "List"),
    Route("GET", "/{id}", Op.GET, "Get one"),
    Route("PATCH", "/{id}", Op.UPDATE, "Update: absent fields keep their value, null clears"),
    Route("PUT", "/{id}", Op.REPLACE, "Replace: absent fields get their default"),
    Route("DELETE", "/{id}", Op.DELETE, "Soft delete"),
    Route("PATCH", "/{id}/status", Op.STATUS, "Move along the status machine"),
    Route("GET", "/{id}/transitions", Op.TRANSITIONS, "What may happen now, and why the rest may not"),
    Route("GET", "/{id}/history", Op.HISTORY, "The change log of the row"),
    Route("QUERY", "", Op.QUERY, "List; the query is a JSON body"),
    Route(
        "POST", "/query", Op.QUERY, "List; the query is a JSON body, as of the method QUERY on the entity (RFC 10008)"
    ),
    Route("PATCH", "", Op.UPDATE_MANY, "Update the rows that a filter finds, as one set"),
    Route("DELETE", "", Op.DELETE_MANY, "Soft delete the rows that a filter finds, as one set"),
    Route("GET", "/export", Op.EXPORT, "Every row of a list as CSV, NDJSON or XLSX"),
    Route("POST", "/import", Op.IMPORT, "Create or update rows from a CSV, NDJSON or XLSX file"),
    Route("POST", "/upsert", Op.UPSERT, "Create rows, or update those that have the same unique key"),
)


# words that stand where a key does
WORDS = frozenset(route.tail[1:] for route in ROUTES if route.tail and "{id}" not in route.tail)


def key_path(key: Sequence[Any]) -> str:
    """The last part of a row's address; a key that is one of our words is encoded further than it must be."""
    if len(key) == 1 and isinstance(key[0], UUID):  # needs no quotes and is no word
        return str(key[0])
    said = (b64encode(part).decode() if isinstance(part, bytes) else str(part) for part in key)
    text = ",".join(quote(part, safe="") for part in said)
    return f"%{ord(text[0]):X}{text[1:]}" if text in WORDS else text


def canonical_path(raw_path: bytes) -> bytes:
    """The path with the names of schema and table as they are registered: a name can be percent-encoded in several ways."""
    parts = raw_path.split(b"/", 4)
    names = (quote(unquote_to_bytes(part), safe="").replace(".", "%2E").encode() for part in parts[2:4])
    return b"/".join((*parts[:2], *names, *parts[4:]))


class Target(NamedTuple):
    """What a request is aimed at."""

    resource: Resource
    op: Op
    key: tuple[str, ...]


class Router:
    """Finds the target of a request."""

    def __init__(self, resources: Mapping[str, Resource]) -> None:
        self.entities = {path.encode(): resource for path, resource in resources.items()}
        self.tails: dict[bytes, dict[str, Op]] = {}
        for route in ROUTES:
            tail = route.tail.replace("/{id}", "/") if "{id}" in route.tail else route.tail.replace("/", "")
            self.tails.setdefault(tail.encode(), {})[route.method] = route.op

    def find(self, method: str, raw_path: bytes) -> Target:
        """404 for no route, 405 with Allow for a route that does not take the method."""
        try:
            return self._find(method, raw_path)
        except NotFoundError:
            if (canonical := canonical_path(raw_path)) == raw_path:
                raise
        return self._find(method, canonical)

    def _find(self, method: str, raw_path: bytes) -> Target:
        parts = raw_path.split(b"/", 4)
        if len(parts) == 5:
            key, slash, tail = parts[4].partition(b"/")
            resource = self.entities.get(raw_path[1 : -len(parts[4]) - 1])
            methods = self.tails.get(b"/" + slash + tail) if key else None
            # a word that follows the entity, where it cannot be the key of a row
            if key and (word := self.tails.get(parts[4])) and (method in word or (resource and resource.by_uuid)):
                key, methods = b"", word
        else:
            key = b""
            resource = self.entities.get(raw_path[1:])
            methods = self.tails[b""]
        if resource is None or methods is None:
            raise generic("route_not_found")
        op = methods.get(method)
        if op is None or op not in resource.ops:
            raise self._not_offered(resource, methods)
        return Target(resource, op, self._key(key) if key else ())

    def _not_offered(self, resource: Resource, methods: Mapping[str, Op]) -> ApiError:
        allowed = ", ".join(name for name, known in methods.items() if known in resource.ops)
        if not allowed and not resource.foreign:
            return generic("route_not_found")
        return generic("method_not_allowed", headers={"Allow": allowed})

    def _key(self, raw: bytes) -> tuple[str, ...]:
        try:
            if b"%" not in raw and b"," not in raw:
                return (raw.decode("ascii"),)
            return tuple(unquote(part, errors="strict") for part in raw.decode("ascii").split(","))
        except UnicodeDecodeError:
            raise generic("not_found") from None
