"""A question of the model as the query string that asks the engine the same."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

from tests.equivalence.model import Branch, Leaf, Logic, Match, Query, Sort, written

Pairs = list[tuple[str, str]]
SEVERAL = ("in", "nin", "between", "hasany", "hasall")


def query_string(query: Query) -> str:
    """The parameters of a list."""
    given: Pairs = [("page", str(query.page)), ("page_size", str(query.page_size)), ("count", query.count)]
    where: list[Any] = [] if query.where is None else [where_of(query.where)]
    for leaf in query.filters:
        if in_where(leaf):
            where.append(where_of(leaf))
        else:
            given.append((f"filter[{'.'.join(leaf.path)}][{leaf.op}]", value_text(leaf)))
    if query.sort:
        given.append(("sort", sort_text(query.sort)))
    if where:
        whole = where[0] if len(where) == 1 else {"and": where}
        given.append(("where", json.dumps(whole, ensure_ascii=False)))
    if query.q is not None:
        given.append(("q", query.q))
    return urlencode([*given, *view_pairs(query)], quote_via=quote)


def view_string(query: Query) -> str:
    """The parameters of a get."""
    return urlencode(view_pairs(query), quote_via=quote)


def view_pairs(query: Query) -> Pairs:
    """What lists and gets both take."""
    given: Pairs = [("deleted", query.deleted)]
    if query.fields:
        given.append(("fields", ",".join(query.fields)))
    if paths := [path for part in query.expand for path in expand_paths(part)]:
        given.append(("expand", ",".join(paths)))
    for part in query.expand:
        given += branch_pairs(part, part.relation)
    return given


def expand_paths(part: Branch, above: str = "") -> list[str]:
    """The paths of an expansion and all below it."""
    path = f"{above}{part.relation}"
    return [path, *(below for inner in part.parts for below in expand_paths(inner, f"{path}."))]


def branch_pairs(part: Branch, path: str) -> Pairs:
    """What is said of an expansion."""
    given: Pairs = [] if part.limit is None else [(f"expand[{path}][limit]", str(part.limit))]
    if part.fields:
        given.append((f"fields[{path}]", ",".join(part.fields)))
    if part.sort:
        given.append((f"expand[{path}][sort]", sort_text(part.sort)))
    for leaf in part.filters:
        if not in_where(leaf):
            given.append((f"expand[{path}][filter][{'.'.join(leaf.path)}][{leaf.op}]", value_text(leaf)))
    for inner in part.parts:
        given += branch_pairs(inner, f"{path}.{inner.relation}")
    return given


def in_where(leaf: Leaf) -> bool:
    """Whether only JSON can hold the value: a list with a comma in an item."""
    return leaf.op in SEVERAL and any("," in written(item) for item in leaf.value)


def sayable(parts: tuple[Branch, ...]) -> bool:
    """Whether the filters of expansions can be written; they have no JSON form."""
    return all(not any(map(in_where, part.filters)) and sayable(part.parts) for part in parts)


def value_text(leaf: Leaf) -> str:
    """The value as the query string has it."""
    return ",".join(map(written, leaf.value)) if leaf.op in SEVERAL else written(leaf.value)


def sort_text(sort: tuple[Sort, ...]) -> str:
    """The sort keys."""
    return ",".join(
        f"{'-' if key.descending else ''}{'.'.join(key.path)}{f':nulls{key.nulls}' if key.nulls else ''}"
        for key in sort
    )


def where_of(node: Any) -> Any:
    """Nested conditions as JSON."""
    if isinstance(node, Logic):
        return (
            {"not": where_of(node.parts[0])} if node.kind == "not" else {node.kind: [where_of(p) for p in node.parts]}
        )
    if isinstance(node, Match):
        return {node.kind: node.relation, "where": where_of(node.part)}
    return {"field": ".".join(node.path), "op": node.op, "value": json_value(node.value)}


def json_value(value: Any) -> Any:
    """Numbers and booleans as such, the rest as texts."""
    if isinstance(value, tuple):
        return [json_value(item) for item in value]
    return value if isinstance(value, (bool, int, float, str)) else written(value)
