"""The live document, whole or cut down to a few entities: a generator of clients takes half a minute for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx

from engine.testing.harness import Live

ENTITIES = ("manager/bill/plans", "tenants/crm/customers", "tenants/crm/contacts")
Document = dict[str, Any]


def document_of(live: Live) -> Document:
    """What the server says of itself."""
    answer = httpx.get(f"{live.url}/openapi.json")
    assert answer.status_code == 200, answer.text
    document: Document = answer.json()
    return document


def reduced(document: Document, entities: tuple[str, ...] = ENTITIES) -> Document:
    """The routes of some entities and those beside all of them, with the components that they reach."""
    starts = tuple(f"/{entity}" for entity in entities)
    paths = {
        path: item
        for path, item in document["paths"].items()
        if path.startswith(starts) or path.startswith(("/auth/", "/health/", "/{scope}"))
    }
    reached: set[str] = set()
    waiting = set(_references(paths))
    while waiting:
        reached |= waiting
        waiting = {inner for name in waiting for inner in _references(_found(document, name))} - reached
    components: Document = {"securitySchemes": document["components"]["securitySchemes"]}
    for name in sorted(reached):
        kind, key = name.split("/")[2:]
        components.setdefault(kind, {})[key] = _found(document, name)
    return {**document, "paths": paths, "components": components}


def _found(document: Document, name: str) -> Any:
    _, _, kind, key = name.split("/")
    return document["components"][kind][key]


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inner in part.values():
            yield from _references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _references(inner)
