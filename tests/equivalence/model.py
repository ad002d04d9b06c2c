"""The market as plain Python: rows in lists, conditions as functions, and what a list or a get of them should answer.

Nothing here knows the engine: columns, relations and rules are written down once more, by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

Row = dict[str, Any]
Rows = dict[str, list[Row]]

COMMON = {
    "id": "uuid",
    "is_active": "bool",
    "version": "int",
    "created_at": "moment",
    "updated_at": "moment",
    "created_by": "uuid",
    "updated_by": "uuid",
    "tenant_id": "tenant",
}
OWN: dict[str, dict[str, str]] = {
    "shop/regions": {"parent_id": "uuid", "name": "text", "rank": "int"},
    "shop/buyers": {
        "region_id": "uuid",
        "name": "text",
        "nick": "text",
        "kind": "choice",
        "credit": "numeric",
        "big": "bigint",
        "weight": "float",
        "since": "date",
        "seen": "moment",
        "wakes": "time",
        "vip": "bool",
        "tags": "list",
        "phone": "masked",
        "secret": "hidden",
    },
    "shop/orders": {
        "buyer_id": "uuid",
        "seller_id": "uuid",
        "total": "numeric",
        "placed": "date",
        "note": "text",
    },
    "shop/items": {"order_id": "uuid", "position": "int", "sku": "text", "price": "numeric", "margin": "hidden"},
    "vault/cards": {"buyer_id": "uuid", "label": "text", "number": "masked"},
}
COLUMNS = {entity: {**COMMON, **own} for entity, own in OWN.items()}
SEARCHED = {
    "shop/regions": ("name",),
    "shop/buyers": ("name", "nick"),
    "shop/orders": ("note",),
    "shop/items": ("sku",),
}
TREES = {"shop/regions": "parent_id"}
OWNERS = {"shop/orders": "seller_id"}
NESTED = {"shop/orders": ("items", "position")}


class Relation(NamedTuple):
    """From `local` of a row to the rows of `target` whose `remote` is the same."""

    target: str
    local: str
    remote: str
    many: bool


RELATIONS: dict[str, dict[str, Relation]] = {
    "shop/regions": {
        "parent": Relation("shop/regions", "parent_id", "id", False),
        "children": Relation("shop/regions", "id", "parent_id", True),
        "buyers": Relation("shop/buyers", "id", "region_id", True),
    },
    "shop/buyers": {
        "region": Relation("shop/regions", "region_id", "id", False),
        "orders": Relation("shop/orders", "id", "buyer_id", True),
        "cards": Relation("vault/cards", "id", "buyer_id", True),
    },
    "shop/orders": {
        "buyer": Relation("shop/buyers", "buyer_id", "id", False),
        "items": Relation("shop/items", "id", "order_id", True),
    },
    "shop/items": {"order": Relation("shop/orders", "order_id", "id", False)},
    "vault/cards": {"buyer": Relation("shop/buyers", "buyer_id", "id", False)},
}


class Person(NamedTuple):
    """Who asks. `sees_all`: others' orders too; `unmasked`: domains whose masked columns he reads."""

    name: str
    id: UUID
    sees_all: bool
    unmasked: frozenset[str]


# -- what is asked


class Leaf(NamedTuple):
    """A path through relations to a column, an operator and a value."""

    path: tuple[str, ...]
    op: str
    value: Any


class Logic(NamedTuple):
    """and, or, not."""

    kind: str
    parts: tuple[Any, ...]


class Match(NamedTuple):
    """some, none, every row behind a relation."""

    kind: str
    relation: str
    part: Any


class Sort(NamedTuple):
    """A path through to-one relations to a column."""

    path: tuple[str, ...]
    descending: bool
    nulls: str | None


class Branch(NamedTuple):
    """Rows shown inside a row."""

    relation: str
    fields: tuple[str, ...]
    filters: tuple[Leaf, ...]
    sort: tuple[Sort, ...]
    limit: int | None
    parts: tuple[Any, ...]


@dataclass(frozen=True)
class Query:
    """A list. `where` None = no nested conditions."""

    entity: str
    filters: tuple[Leaf, ...] = ()
    where: Any = None
    sort: tuple[Sort, ...] = ()
    page: int = 1
    page_size: int = 20
    count: str = "exact"
    deleted: str = "exclude"
    fields: tuple[str, ...] = ()
    expand: tuple[Branch, ...] = ()
    q: str | None = None


# -- operators: what is empty satisfies none but the three that say so


def _filled(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda value, asked: value is not None and test(value, asked)


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": _filled(lambda value, asked: value == asked),
    "ne": lambda value, asked: value != asked,
    "gt": _filled(lambda value, asked: value > asked),
    "gte": _filled(lambda value, asked: value >= asked),
    "lt": _filled(lambda value, asked: value < asked),
    "lte": _filled(lambda value, asked: value <= asked),
    "in": _filled(lambda value, asked: value in asked),
    "nin": lambda value, asked: value not in asked,
    "between": _filled(lambda value, asked: asked[0] <= value <= asked[1]),
    "isnull": lambda value, asked: (value is None) == asked,
    "contains": _filled(lambda value, asked: asked in value),
    "icontains": _filled(lambda value, asked: asked.lower() in value.lower()),
    "startswith": _filled(lambda value, asked: value.startswith(asked)),
    "istartswith": _filled(lambda value, asked: value.lower().startswith(asked.lower())),
    "endswith": _filled(lambda value, asked: value.endswith(asked)),
    "has": _filled(lambda value, asked: asked in value),
    "hasany": _filled(lambda value, asked: bool(set(value) & set(asked))),
    "hasall": _filled(lambda value, asked: set(asked) <= set(value)),
}
EQUAL, ORDER = ("eq", "ne", "in", "nin"), ("gt", "gte", "lt", "lte", "between")
TEXT = ("contains", "icontains", "startswith", "istartswith", "endswith")
TAKES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("uuid", "int", "bigint", "numeric", "float", "date", "moment", "time"), (*EQUAL, *ORDER)),
    **dict.fromkeys(("text", "choice"), (*EQUAL, *ORDER, *TEXT)),
    "bool": EQUAL,
    "list": ("has", "hasany", "hasall"),
}


class Market:
    """The rows of one tenant, as one person sees them."""

    def __init__(self, rows: Rows, person: Person) -> None:
        self.rows, self.person = rows, person

    def owned(self, entity: str) -> list[Row]:
        """The rows that exist for the person, deleted ones included."""
        owner = OWNERS.get(entity)
        everything = self.rows[entity]
        return (
            everything
            if owner is None or self.person.sees_all
            else [r for r in everything if r[owner] == self.person.id]
        )

    def behind(self, entity: str, row: Row, name: str) -> tuple[str, list[Row]]:
        """The active rows behind a relation."""
        relation = RELATIONS[entity][name]
        mine = row[relation.local]
        found = [
            r for r in self.owned(relation.target) if r["is_active"] and mine is not None and r[relation.remote] == mine
        ]
        return relation.target, found

    # -- conditions

    def holds(self, entity: str, row: Row, node: Any) -> bool:
        """Whether a row meets a condition."""
        if isinstance(node, Logic):
            told = [self.holds(entity, row, part) for part in node.parts]
            return {"and": all(told), "or": any(told), "not": not told[0]}[node.kind]
        if isinstance(node, Match):
            target, rows = self.behind(entity, row, node.relation)
            told = [self.holds(target, other, node.part) for other in rows]
            return {"some": any(told), "none": not any(told), "every": all(told)}[node.kind]
        return self.leaf_holds(entity, row, node)

    def leaf_holds(self, entity: str, row: Row, leaf: Leaf) -> bool:
        """Whether a row, or some row behind its relations, meets a single condition."""
        name, *rest = leaf.path
        if rest and self.crowded(entity, leaf.path):
            target, rows = self.behind(entity, row, name)
            return any(self.leaf_holds(target, other, leaf._replace(path=tuple(rest))) for other in rows)
        # through relations to one row there is one value, which is empty where there is no row
        value = self.value_at(entity, row, leaf.path)
        if leaf.op == "under":
            for step in leaf.path[:-1]:
                entity = RELATIONS[entity][step].target
            return value in self.below(entity, leaf.value)
        return OPERATORS[leaf.op](value, leaf.value)

    def crowded(self, entity: str, path: Sequence[str]) -> bool:
        """Whether a relation of a path leads to many rows."""
        name, *rest = path
        if not rest:
            return False
        relation = RELATIONS[entity][name]
        return relation.many or self.crowded(relation.target, rest)

    def below(self, entity: str, top: UUID) -> set[UUID]:
        """The node and all below it."""
        found = {row["id"] for row in self.rows[entity] if row["id"] == top}
        while more := {r["id"] for r in self.rows[entity] if r[TREES[entity]] in found} - found:
            found |= more
        return found

    def chosen(self, query: Query) -> list[Row]:
        """The rows that a list is about."""
        present = {"exclude": (True,), "include": (True, False), "only": (False,)}[query.deleted]
        rows = [row for row in self.owned(query.entity) if row["is_active"] in present]
        nodes = [*query.filters, *([query.where] if query.where is not None else [])]
        rows = [row for row in rows if all(self.holds(query.entity, row, node) for node in nodes)]
        if query.q is not None:
            fields = SEARCHED[query.entity]
            rows = [
                r for r in rows if all(any(OPERATORS["icontains"](r[n], w) for n in fields) for w in query.q.split())
            ]
        return rows

    # -- order

    def ordered(self, entity: str, rows: Iterable[Row], sort: Sequence[Sort]) -> list[Row]:
        """Rows in order; what is empty comes last, descending first, unless said otherwise; the key decides ties."""
        found = list(rows)
        for key in reversed((*sort, Sort(("id",), False, None))):
            valued = [(self.value_at(entity, row, key.path), row) for row in found]
            filled = sorted((p for p in valued if p[0] is not None), key=lambda p: p[0], reverse=key.descending)
            empty = [pair for pair in valued if pair[0] is None]
            first = key.nulls == "first" or (key.nulls is None and key.descending)
            found = [row for _, row in ([*empty, *filled] if first else [*filled, *empty])]
        return found

    def value_at(self, entity: str, row: Row, path: Sequence[str]) -> Any:
        """The value at the end of a path of to-one relations."""
        name, *rest = path
        if not rest:
            return row[name]
        target, rows = self.behind(entity, row, name)
        return self.value_at(target, rows[0], rest) if rows else None

    # -- answers

    def listed(self, query: Query) -> dict[str, Any]:
        """The data of a list."""
        chosen = self.ordered(query.entity, self.chosen(query), query.sort)
        if query.q is not None and not query.sort:
            asked, fields = query.q.split(), SEARCHED[query.entity]
            chosen.sort(key=lambda row: rank([row[name] for name in fields if row[name] is not None], asked))
        start = (query.page - 1) * query.page_size
        total = None if query.count == "none" else len(chosen)
        return {
            "items": [self.shown(query.entity, r, query) for r in chosen[start : start + query.page_size]],
            "page": query.page,
            "page_size": query.page_size,
            "total": total,
            "total_pages": None if total is None else -(-total // query.page_size),
        }

    def got(self, query: Query, key: UUID) -> dict[str, Any] | None:
        """The data of a get, nested rows included; None when there is no such row."""
        present = {"exclude": (True,), "include": (True, False), "only": (False,)}[query.deleted]
        rows = [row for row in self.owned(query.entity) if row["id"] == key and row["is_active"] in present]
        if not rows:
            return None
        found = self.shown(query.entity, rows[0], query)
        if query.entity in NESTED and (not query.fields or NESTED[query.entity][0] in query.fields):
            name, line_order = NESTED[query.entity]
            lines = Branch(name, (), (), (Sort((line_order,), False, None),), None, ())
            found.setdefault(name, self.branch(query.entity, rows[0], lines))
        return found

    def shown(self, entity: str, row: Row, view: Query | Branch) -> dict[str, Any]:
        """A row as JSON has it."""
        columns = {n: kind for n, kind in COLUMNS[entity].items() if kind != "hidden"}
        found = {
            name: self.json_of(entity, kind, row[name])
            for name, kind in columns.items()
            if not view.fields or name in view.fields
        }
        parts = view.expand if isinstance(view, Query) else view.parts
        return found | {part.relation: self.branch(entity, row, part) for part in parts}

    def branch(self, entity: str, row: Row, part: Branch) -> Any:
        """What is expanded in a row."""
        target, rows = self.behind(entity, row, part.relation)
        rows = [other for other in rows if all(self.holds(target, other, leaf) for leaf in part.filters)]
        if not RELATIONS[entity][part.relation].many:
            return self.shown(target, rows[0], part) if rows else None
        return [self.shown(target, other, part) for other in self.ordered(target, rows, part.sort)[: part.limit]]

    def json_of(self, entity: str, kind: str, value: Any) -> Any:
        """A value as JSON has it."""
        if value is None:
            return None
        if kind == "masked":
            return value if entity.split("/")[0] in self.person.unmasked else "***"
        return JSON.get(kind, lambda same: same)(value)


def rank(texts: Sequence[str], words: Sequence[str]) -> tuple[int, int, int]:
    """How far searched texts are from words: the whole first, then each word, then the shortest text with the first word."""
    whole = min(level(text, " ".join(words)) for text in texts)
    single = sum(min(level(text, word) for text in texts) for word in words) if len(words) > 1 else 0
    return whole, single, min(len(text) for text in texts if words[0].lower() in text.lower())


def level(text: str, asked: str) -> int:
    """0 the same, 1 begins with it, 2 a word begins with it, 3 holds it, 4 does not."""
    held, sought = text.lower(), asked.lower()
    words = [" " + one.translate(BETWEEN) for one in (held, sought)]
    ways = (held == sought, held.startswith(sought), words[1] in words[0], sought in held)
    return next((place for place, found in enumerate(ways) if found), 4)


BETWEEN = {ord(mark): " " for mark in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ \t\n\r\v\f"}
JSON: dict[str, Callable[[Any], Any]] = {
    "uuid": str,
    "tenant": str,
    "bigint": str,
    "numeric": lambda value: f"{value:.4f}",
    "date": date.isoformat,
    "moment": datetime.isoformat,
    "time": time.isoformat,
}


def written(value: Any) -> str:
    """A value as a query string has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (date, time)):
        return value.isoformat()
    return format(value, "f") if isinstance(value, Decimal) else str(value)
