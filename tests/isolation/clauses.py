"""Every clause in which a request can name a column, of an entity itself and from the entities that are related to it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from engine.catalog import Resource
from engine.clock import CLOCK
from engine.query import BRACKETS, PARAMETERS
from engine.types import Op


class Asked(NamedTuple):
    """A request. `names`: whether it names the column where only columns may stand."""

    method: str
    path: str
    body: Any = None
    names: bool = True
    kind: str = "application/json"


# parameter of a list -> values that name the column `{name}`; {value} is part of what may be in it
CLAUSES: Mapping[str, tuple[str, ...]] = {
    "fields": ("{name}", "id,{name}"),
    "sort": ("{name}", "-{name}:nullsfirst"),
    "where": (
        '{{"field":"{name}","op":"startswith","value":"{value}"}}',
        '{{"not":{{"field":"{name}","op":"isnull","value":true}}}}',
    ),
    "aggregate": ("n:max({name})", "n:count({name})", "n:sum({name})", "count_distinct({name}),n:count()"),
    "group": ("{name}", "n:{name}", "year({name})"),
    "facets": ("{name}", "id,{name}"),
}
# parameters that name no column
PLAIN = {"page", "page_size", "count", "q", "deleted", "expand", "cursor", "as_of"}
BRACKETED = {
    "filter": ("filter[{name}]", "filter[{name}][startswith]", "filter[{name}][isnull]"),
    "having": ("having[{name}][eq]", "having[{name}][isnull]"),
    "fields": (),
    "expand": (),
}


def assert_complete() -> None:
    """Every parameter that there is has its clauses."""
    assert set(PARAMETERS) <= set(CLAUSES) | PLAIN, set(PARAMETERS) - set(CLAUSES) - PLAIN
    assert {word for word, _ in BRACKETS} <= set(BRACKETED) | set(CLAUSES)
    assert {op.value for op in Op} <= KNOWN_OPS, {op.value for op in Op} - KNOWN_OPS


KNOWN_OPS = {
    *("create", "list", "get", "update", "replace", "delete", "status", "transitions", "history"),
    *("query", "update_many", "delete_many", "upsert", "export", "import"),
}


def naming(resource: Resource, key: str, name: str, value: str) -> Iterator[Asked]:
    """Requests of an entity that name its column."""
    path = f"/{resource.path}"
    lists = [f"{word}={_said(text, name, value)}" for word, texts in CLAUSES.items() for text in texts]
    lists += [f"{text.format(name=name)}={_value(text, value)}" for text in BRACKETED["filter"]]
    lists += [f"aggregate=n:count()&{text.format(name=name)}=1" for text in BRACKETED["having"]]
    lists += [f"aggregate=n:count()&{word}={name}" for word in ("group", "sort")]
    for query in lists:
        yield Asked("GET", f"{path}?{query}")
        yield Asked("GET", f"{path}/export?format=ndjson&{query}")
    yield Asked("GET", f"{path}/{key}?fields={name}")
    for query in (f"fields={name}", f"sort=-{name}", f"filter[{name}][startswith]={value}"):
        yield Asked("GET", f"{path}?{past()}&{query}")
    yield Asked("GET", f"{path}/{key}?{past()}&fields={name}")
    yield from _bodies(resource, name, value)


def _bodies(resource: Resource, name: str, value: str) -> Iterator[Asked]:
    path = f"/{resource.path}"
    leaf = {"field": name, "op": "startswith", "value": value}
    for body in ({"filter": {name: {"startswith": value}}}, {"where": leaf}, {"sort": [name]}, {"fields": [name]}):
        yield Asked("POST", f"{path}/query", body)
        yield Asked("QUERY", path, body)
    counted = {"aggregate": ["n:count()"]}
    for body in (
        {"aggregate": [f"n:max({name})"]},
        {**counted, "group": [name]},
        {**counted, "having": {name: {"startswith": value}}},
        {**counted, "sort": [name]},
        {"facets": [name]},
    ):
        yield Asked("POST", f"{path}/query", body)
    for query in (f"filter[{name}][startswith]={value}", f"where={_said(json.dumps(leaf), name, value, False)}"):
        yield Asked("PATCH", f"{path}?{query}", {})
        yield Asked("DELETE", f"{path}?{query}")
    yield Asked("POST", f"{path}/upsert?on={name}", [{name: value}])


def from_beside(catalog: Mapping[str, Resource], resource: Resource, name: str, value: str) -> Iterator[Asked]:
    """Requests of related entities that name the column from there."""
    for other in catalog.values():
        for relation in other.relations.values():
            if relation.target == resource.path:
                path, step = f"/{other.path}", relation.name
                for query in (
                    f"expand={step}&fields[{step}]={name}",
                    f"expand={step}&expand[{step}][sort]={name}",
                    f"expand={step}&expand[{step}][filter][{name}][startswith]={value}",
                    f"filter[{step}.{name}][startswith]={value}",
                    f"sort={step}.{name}",
                    f"aggregate=n:max({step}.{name})",
                    f"group={step}.{name}",
                    f"facets={step}.{name}",
                    "where="
                    + quote(json.dumps({"none": step, "where": {"field": name, "op": "isnull", "value": False}})),
                ):
                    yield Asked("GET", f"{path}?{query}")


def showing(catalog: Mapping[str, Resource], resource: Resource, key: str, value: str) -> Iterator[Asked]:
    """Requests that show rows of the entity as they are, without naming a column."""
    path = f"/{resource.path}"
    for query in (
        "",
        "?deleted=include&page_size=100",
        f"?q={value}",
        "?page_size=100&sort=-updated_at",
        "?count=estimated",
    ):
        yield Asked("GET", f"{path}{query}", names=False)
    for form in ("csv", "ndjson"):
        yield Asked("GET", f"{path}/export?format={form}&deleted=include", names=False)
    for tail in ("", "?deleted=include", "/history?page_size=100", "/transitions"):
        yield Asked("GET", f"{path}/{key}{tail}", names=False)
    yield Asked("POST", f"{path}/query", {"page_size": 100}, names=False)
    yield from showing_past(catalog, resource, key, past())
    yield Asked("GET", f"{path}/_meta", names=False)
    wanted = [{"method": "GET", "path": f"{path}/{key}"}, {"method": "GET", "path": f"{path}?page_size=100"}]
    yield Asked("POST", f"/{resource.scope.name}/batch", {"operations": wanted}, names=False)
    for other in catalog.values():
        for relation in other.relations.values():
            if relation.target == resource.path:
                yield Asked("GET", f"/{other.path}?page_size=100&sort=-updated_at&expand={relation.name}", names=False)


def past() -> str:
    """A moment that is over as soon as somebody asks."""
    return f"as_of={quote(CLOCK.now().isoformat())}"


def showing_past(catalog: Mapping[str, Resource], resource: Resource, key: str, moment: str) -> Iterator[Asked]:
    """Requests that show rows of the entity as they were, `as_of=` a moment."""
    path = f"/{resource.path}"
    yield Asked("GET", f"{path}?{moment}&deleted=include&page_size=100&sort=-updated_at", names=False)
    yield Asked("GET", f"{path}/{key}?{moment}&deleted=include", names=False)
    for form in ("csv", "ndjson"):
        yield Asked("GET", f"{path}/export?format={form}&{moment}&deleted=include", names=False)
    for other in catalog.values():
        for relation in other.relations.values():
            if relation.target == resource.path:
                query = f"page_size=100&sort=-updated_at&expand={relation.name}&{moment}"
                yield Asked("GET", f"/{other.path}?{query}", names=False)


def _said(text: str, name: str, value: str, fill: bool = True) -> str:
    return quote(text.format(name=name, value=value) if fill else text)


def _value(text: str, value: str) -> str:
    return "false" if "isnull" in text else value
