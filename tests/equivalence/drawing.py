"""Random rows of the market and random questions about them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from tests.equivalence.model import (
    COLUMNS,
    OWN,
    RELATIONS,
    SEARCHED,
    TAKES,
    TREES,
    Branch,
    Leaf,
    Logic,
    Match,
    Query,
    Row,
    Rows,
    Sort,
)

SELLERS = (UUID(int=0xA1), UUID(int=0xA2))
BORN = datetime(2026, 1, 1, tzinfo=UTC)
SEEN = (BORN, datetime(2026, 1, 1, 0, 0, 0, 123456, tzinfo=UTC), datetime(2025, 6, 30, 23, 59, tzinfo=UTC))
TEXTS = (
    "",
    "a",
    "A",
    "ab",
    "aB",
    "a%b",
    "a_b",
    "a\\b",
    "Éa",
    "éA",
    "ж",
    "Ж,1",
    "ß",
    "日本",
    "o'k",
    '"q"',
    " a ",
    "b\n",
)
NEEDLES = (*TEXTS, "%", "_", "\\", "b", "É", "é", "1", ",", "'", "*")
# `q=`: words, of which a row needs all
SOUGHT = (*(needle for needle in NEEDLES if needle.strip()), "a b", "B  a", "a é", "k o'", "% a", "_ b a", " 1 ж ")
# few values of each kind, so that rows tie and questions meet them
POOL: dict[str, tuple[Any, ...]] = {
    "text": TEXTS,
    "masked": ("+49-MASK", "+1-MASK"),
    "hidden": ("4242.4242",),
    "choice": ("firm", "person", "state"),
    "int": (-1, 0, 1, 2, 2**31 - 1),
    "bigint": (-(2**53) - 1, 0, 1, 2**63 - 1),
    "numeric": (Decimal("-2.25"), Decimal(0), Decimal("1.5"), Decimal("10.0001"), Decimal("999999999999999.9999")),
    "float": (-0.5, 0.0, 0.25, 1e20),
    "date": (date(2025, 12, 31), date(2026, 1, 1), date(2026, 2, 28)),
    "moment": SEEN,
    "time": (time(0, 0), time(10, 30), time(10, 30, 0, 123456)),
    "bool": (True, False),
    "list": ((), ("a",), ("a", "b"), ("b", "%"), ("a,b",)),
}
SIZES = {"shop/regions": 4, "shop/buyers": 5, "shop/orders": 6, "shop/items": 6, "vault/cards": 3}
PAGE_SIZES = (20, 100, 1, 2, 3)


def key(entity: str, number: int, *, foreign: bool = False) -> UUID:
    """The id of a row."""
    return UUID(int=(list(OWN).index(entity) + 1) << 64 | (1 << 32 if foreign else 0) | number)


@st.composite
def rows_of(draw: st.DrawFn) -> Rows:
    """The rows of a tenant."""
    counts = {entity: draw(st.sampled_from((most, most - 1, 1))) for entity, most in SIZES.items()}
    return {
        entity: [row for number in range(counts[entity]) for row in _row(draw, entity, number, counts)]
        for entity in OWN
    }


def _row(draw: st.DrawFn, entity: str, number: int, counts: dict[str, int]) -> list[Row]:
    row: Row = {
        "id": key(entity, number),
        "is_active": draw(st.integers(0, 6)) > 0,
        "version": draw(st.integers(1, 2)),
        "created_at": BORN,
        "updated_at": draw(st.sampled_from(SEEN)),
        "created_by": draw(st.sampled_from((None, *SELLERS))),
        "updated_by": None,
    }
    targets = {relation.local: relation.target for relation in RELATIONS[entity].values() if not relation.many}
    for name, kind in OWN[entity].items():
        if name in targets:
            # a node's parent was there before it
            known = number if targets[name] == entity else counts[targets[name]]
            choice = draw(st.integers(0, known - 1)) if known and draw(st.integers(0, 3)) else -1
            row[name] = key(targets[name], choice) if choice >= 0 else None
        elif name == "seller_id":
            row[name] = draw(st.sampled_from((None, *SELLERS)))
        else:
            value = draw(st.sampled_from((None, *POOL[kind])))
            row[name] = list(value) if isinstance(value, tuple) else value
    needed = {"shop/items": "order_id", "vault/cards": "buyer_id"}.get(entity)
    return [] if needed and row[needed] is None else [row]


# -- questions


def filterable(entity: str) -> list[str]:
    """Columns that conditions may name."""
    return [name for name, kind in COLUMNS[entity].items() if kind not in ("masked", "hidden", "tenant")]


@st.composite
def leaves(draw: st.DrawFn, entity: str, steps: int = 2) -> Leaf:
    """A single condition on the entity or behind its relations."""
    path: tuple[str, ...] = ()
    while len(path) < steps and draw(st.integers(0, 2)) == 0:
        name = draw(st.sampled_from(sorted(RELATIONS[entity])))
        path, entity = (*path, name), RELATIONS[entity][name].target
    name = draw(st.sampled_from(filterable(entity)))
    kind = COLUMNS[entity][name]
    tree = ("under",) if entity in TREES and name == "id" else ()
    op = draw(st.sampled_from((*TAKES[kind], "isnull", *tree)))
    return Leaf((*path, name), op, draw(asked_of(entity, name, op)))


def asked_of(entity: str, name: str, op: str) -> st.SearchStrategy[Any]:
    """Values that a condition compares a column with."""
    kind = COLUMNS[entity][name]
    one = _ids(entity, name) if kind == "uuid" else st.sampled_from(POOL[kind] if kind != "list" else ())
    if op == "isnull":
        return st.booleans()
    if op in ("contains", "icontains", "startswith", "istartswith", "endswith"):
        return st.sampled_from(NEEDLES)
    if op in ("has", "hasany", "hasall"):
        item = st.sampled_from(("a", "b", "%", "a,b", "x"))
        return item if op == "has" else st.lists(item, min_size=1, max_size=2).map(tuple)
    if op in ("in", "nin"):
        return st.lists(one, min_size=1, max_size=3).map(tuple)
    return st.tuples(one, one) if op == "between" else one


def _ids(entity: str, name: str) -> st.SearchStrategy[UUID]:
    if name in ("seller_id", "created_by", "updated_by"):
        return st.sampled_from((*SELLERS, UUID(int=1)))
    targets = {relation.local: relation.target for relation in RELATIONS[entity].values() if not relation.many}
    target = targets.get(name, entity)
    return st.builds(lambda n, foreign: key(target, n, foreign=foreign), st.integers(0, SIZES[target]), st.just(False))


@st.composite
def nodes(draw: st.DrawFn, entity: str, depth: int = 3, steps: int = 3) -> Any:
    """Nested conditions; `steps`: relations that they may go through."""
    known = ("leaf", "leaf", "and", "or", "not", *(("match", "match") if steps else ()))
    kind = draw(st.sampled_from(known if depth else ("leaf",)))
    if kind in ("and", "or"):
        return Logic(kind, tuple(draw(nodes(entity, depth - 1, steps)) for _ in range(draw(st.integers(1, 2)))))
    if kind == "not":
        return Logic(kind, (draw(nodes(entity, depth - 1, steps)),))
    if kind == "match":
        relation = draw(st.sampled_from(sorted(RELATIONS[entity])))
        part = draw(nodes(RELATIONS[entity][relation].target, depth - 1, steps - 1))
        return Match(draw(st.sampled_from(("some", "none", "every"))), relation, part)
    return draw(leaves(entity, min(2, steps)))


@st.composite
def sorts(draw: st.DrawFn, entity: str) -> tuple[Sort, ...]:
    """Up to three sort keys, each on another path."""
    found: dict[tuple[str, ...], Sort] = {}
    for _ in range(draw(st.integers(0, 3))):
        at, path = entity, ()
        while len(path) < 2 and draw(st.integers(0, 2)) == 0:
            names = sorted(name for name, relation in RELATIONS[at].items() if not relation.many)
            if not names:
                break
            name = draw(st.sampled_from(names))
            path, at = (*path, name), RELATIONS[at][name].target
        named = draw(st.sampled_from([n for n in filterable(at) if COLUMNS[at][n] != "list"]))
        nulls = draw(st.sampled_from((None, "first", "last")))
        found[(*path, named)] = Sort((*path, named), draw(st.booleans()), nulls)
    return tuple(found.values())


def shown(entity: str) -> st.SearchStrategy[tuple[str, ...]]:
    """Which columns to show; none = all."""
    names = [name for name, kind in COLUMNS[entity].items() if kind != "hidden"]
    return st.just(()) | st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True).map(tuple)


@st.composite
def branches(draw: st.DrawFn, entity: str, depth: int = 3) -> tuple[Branch, ...]:
    """A tree of expansions."""
    names = sorted(RELATIONS[entity])
    chosen = draw(st.lists(st.sampled_from(names), max_size=2, unique=True)) if draw(st.booleans()) else ()
    found = []
    for name in chosen:
        target = RELATIONS[entity][name].target
        filters = draw(st.lists(leaves(target, 1), max_size=1))
        parts = draw(branches(target, depth - 1)) if depth > 1 else ()
        limit, sort = draw(st.sampled_from((None, 1, 2))) or 100, draw(sorts(target))
        many = RELATIONS[entity][name].many
        limited = (sort, limit) if many else ((), None)
        found.append(Branch(name, draw(shown(target)), tuple(filters), *limited, parts))
    return tuple(found)


@st.composite
def queries(draw: st.DrawFn) -> Query:
    """A list of any entity."""
    entity = draw(st.sampled_from(list(OWN)))
    searched = entity in SEARCHED and draw(st.integers(0, 3)) == 0
    return Query(
        entity,
        filters=tuple(draw(leaves(entity)) for _ in range(draw(st.sampled_from((0, 0, 1))))),
        where=draw(nodes(entity)) if draw(st.booleans()) else None,
        sort=draw(sorts(entity)) if not searched or draw(st.booleans()) else (),
        page=draw(st.sampled_from((1, 1, 1, 1, 1, 2))),
        page_size=draw(st.sampled_from(PAGE_SIZES)),
        count=draw(st.sampled_from(("exact", "exact", "estimated", "none"))),
        deleted=draw(st.sampled_from(("exclude", "exclude", "include", "only"))),
        fields=draw(shown(entity)),
        expand=draw(branches(entity)),
        q=draw(st.sampled_from(SOUGHT)) if searched else None,
    )


def leaves_in(node: Any) -> Sequence[Leaf]:
    """The single conditions of a tree."""
    if node is None or isinstance(node, Leaf):
        return [node] if node else []
    parts = node.parts if isinstance(node, Logic) else (node.part,)
    return [leaf for part in parts for leaf in leaves_in(part)]


def fits(query: Query, more: int = 0) -> bool:
    """Whether the question stays within what a request may ask; `more`: conditions beside its own."""
    conditions = len(query.filters) + len(leaves_in(query.where)) + _filters(query.expand) + more
    return conditions <= 20 and _count(query.expand) <= 20


def _filters(parts: Sequence[Branch]) -> int:
    return sum(len(part.filters) + _filters(part.parts) for part in parts)


def _count(parts: Sequence[Branch]) -> int:
    return sum(1 + _count(part.parts) for part in parts)
