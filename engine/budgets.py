"""What one caller's query may cost: seconds a statement by role, and a ceiling on the planner's price by tenant: of lists, of
the rows that a set-based write means, and of what its conditions add to an export.

The price is EXPLAIN's with the query's own values, and is believed for a while for every query of the same shape, tenant and
reach; a query that is too dear is priced anew each time, since other values of it may be cheap.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from msgspec.structs import replace

from engine.attempts import attempt
from engine.catalog import Catalog, Resource
from engine.errors import Fault, ValidationError
from engine.filters import OPERATORS
from engine.moment import UnitOfWork
from engine.shapes import Condition, Group, Listing, ListShape, Node, Statement, Through
from engine.store import Timed
from engine.types import Principal

Rows = tuple[ListShape, Mapping[str, Any]]
BELIEVED_SECONDS, MOST_KEPT = 60.0, 10_000
EQUAL, ORDERED = frozenset({"eq", "in", "isnull"}), frozenset({"gt", "gte", "lt", "lte", "between"})
# another time for the statements of a transaction; the former one
ALLOW = Statement(
    "with b as materialized (select current_setting('statement_timeout') as said)"
    " select said, set_config('statement_timeout', $1, true) from b",
    ("allowed",),
)
# operators that are asked of a related row as what must not hold: eq for ne
CONTRARY = {made[0]: name for name, row in OPERATORS.items() if (made := row.contrary("true"))}
# operators that an index of another kind serves
KINDS = {
    **dict.fromkeys(("contains", "icontains", "startswith", "istartswith", "endswith"), "trigram"),
    **dict.fromkeys(("has", "hasany", "hasall"), "gin"),
}
# settings that say what a query may cost
BUDGETS = (
    *("max_expand_depth", "max_filters", "max_in_values"),
    *("role_timeouts", "max_query_cost", "tenant_query_costs", "facet_timeout"),
)


class Budgets:
    """The budgets of one process. Nothing is asked or kept where no setting says anything."""

    def __init__(self, catalog: Catalog, settings: Mapping[str, Any]) -> None:
        self.catalog = catalog
        self.timeouts: Mapping[str, float] = settings.get("role_timeouts") or {}
        self.ceiling: float | None = settings.get("max_query_cost")
        self.ceilings: Mapping[str, float] = settings.get("tenant_query_costs") or {}
        self.facet_seconds: float = settings.get("facet_timeout", 0.25)
        self.priced: dict[Any, float] = {}

    def seconds(self, principal: Principal) -> float | None:
        """How long a caller's statements may take: the longest of his roles that have a time; None = as usual."""
        return max((self.timeouts[role] for role in principal.roles if role in self.timeouts), default=None)

    def timed(self, unit: UnitOfWork) -> UnitOfWork:
        """The unit, its statements under the time of its caller."""
        seconds = self.seconds(unit.principal) if self.timeouts else None
        if seconds is not None:
            unit.database = Timed(unit.database, seconds)
        return unit

    def most(self, principal: Principal) -> float | None:
        """The price that a caller's lists may have; None = any."""
        own = self.ceilings.get(principal.tenant.slug) if principal.tenant else None
        return own if own is not None else self.ceiling

    async def admit(
        self, unit: UnitOfWork, resource: Resource, asked: tuple[Listing, Hashable], query: tuple[Statement, Any]
    ) -> None:
        """422 `too_expensive` for a list whose price is above the ceiling. `asked`: what it asks for, and the statement's shape;
        `query`: the statement and its values."""
        statement, values = query
        explained = Statement(f"EXPLAIN (FORMAT JSON) {statement.text}", statement.order)
        await self._admit(unit, resource, asked, lambda: _price(unit, explained, values))

    async def admit_set(self, unit: UnitOfWork, resource: Resource, listing: Listing, query: Rows) -> None:
        """The same for all rows that a list means, each of which is to be written."""
        shape, values = query
        found = unit.shop.question("estimate", resource, shape)
        await self._admit(unit, resource, (listing, ("set", shape)), lambda: _price(unit, found, values))

    async def admit_export(self, unit: UnitOfWork, resource: Resource, listing: Listing, query: Rows) -> None:
        """The same for an export, whose price is what its conditions add to that of reading every row, which is never refused."""
        shape, values = query
        if not shape.conditions and not shape.search:
            return
        found, every = (
            unit.shop.question("estimate", resource, one) for one in (shape, shape._replace(conditions=(), search=0))
        )

        async def added() -> float:
            return await _price(unit, found, values) - await _price(unit, every, values)

        plain = replace(listing, sort=(), count="none")
        await self._admit(unit, resource, (plain, ("export", shape)), added)

    async def _admit(
        self,
        unit: UnitOfWork,
        resource: Resource,
        asked: tuple[Listing, Hashable],
        priced: Callable[[], Awaitable[float]],
    ) -> None:
        most = self.most(unit.principal)
        if most is None:
            return
        listing, shape = asked
        key = (unit.tenant, resource.path, shape, listing.page_size, len(str(listing.page)))
        if self.priced.get(key, 0.0) > time.monotonic():
            return
        price = await priced()
        if price > most:
            text = f"The query is priced at {price:.0f}; at most {most:.0f} is allowed here"
            raise ValidationError("too_expensive", text, details=reasons(self.catalog, resource, listing))
        if len(self.priced) >= MOST_KEPT:
            self.priced.pop(next(iter(self.priced)))
        self.priced[key] = time.monotonic() + BELIEVED_SECONDS

    async def hasty(self, unit: UnitOfWork, query: tuple[Statement, Mapping[str, Any]]) -> list[Any]:
        """Rows of a statement that may take `facet_seconds` at most; a transaction around it outlives its end."""
        statement, values = query
        seconds = min(self.facet_seconds, self.seconds(unit.principal) or self.facet_seconds)
        if unit.connection is None:
            return await unit.database.run(unit.tenant, statement.text, statement.arguments(values), seconds)
        async with attempt(unit):
            [before] = await unit.run(ALLOW, {"allowed": str(max(1, int(seconds * 1000)))})
            found = await unit.run(statement, values)
            await unit.run(ALLOW, {"allowed": before[0]})
        return found


async def _price(unit: UnitOfWork, explained: Statement, values: Mapping[str, Any]) -> float:
    plan = await unit.run(explained, values)
    return float(msgspec.json.decode(plan[0][0])[0]["Plan"]["Total Cost"])


# -- why a query costs so much


class Place(NamedTuple):
    """Where a condition stands: behind which relations, a dot after each; together with which others, in one `and`, that an
    index can serve at once (0 = by itself); whether it must not hold, and whether that is how `ne` of one row is asked."""

    path: str = ""
    beside: int = 1
    negated: bool = False
    contrary: bool = False


class Asked(NamedTuple):
    """A condition of a list, the entity whose column it compares, and where it stands."""

    resource: Resource
    condition: Condition
    place: Place


def reasons(catalog: Catalog, resource: Resource, listing: Listing) -> list[Fault]:
    """The filters that no index serves and the index that would serve each; without one the sort; else the count."""
    bunches = count(2)
    asked = [one for node in listing.conditions for one in _leaves(catalog, resource, (node, Place()), bunches)]
    found = [fault for one in asked if (fault := _filter(one, asked, listing))]
    if listing.search is not None:
        found.append(_fault("q", resource, list(resource.entity.search), "trigram"))
    if found or not (listing.sort or listing.count == "exact"):
        return found or [Fault("", "costly", "ask for fewer rows, by a filter that few of them meet")]
    return _sort(resource, listing) or [_count(listing)]


def _leaves(
    catalog: Catalog, resource: Resource, standing: tuple[Node, Place], bunches: Iterator[int]
) -> Iterator[Asked]:
    node, place = standing
    if isinstance(node, Condition):
        yield Asked(resource, node, place)
    elif isinstance(node, Through):
        relation = resource.relations[node.relation]
        below = Place(
            f"{place.path}{node.relation}.",
            next(bunches) if place.beside else 0,
            place.negated or node.match != "some",
            place.contrary or (node.match == "none" and not relation.many),
        )
        yield from _leaves(catalog, catalog.resources[relation.target], (node.part, below), bunches)
    elif isinstance(node, Group):
        beside, negated = place.beside if node.kind == "and" else 0, place.negated or node.kind == "not"
        for part in node.parts:
            yield from _leaves(catalog, resource, (part, place._replace(beside=beside, negated=negated)), bunches)


def _filter(one: Asked, asked: Sequence[Asked], listing: Listing) -> Fault | None:
    resource, (field, operator, _), (path, beside, negated, contrary) = one
    name = f"filter[{path}{field}][{CONTRARY.get(operator, operator) if contrary else operator}]"
    if negated:
        text = "no index finds the rows of which something does not hold; add a filter that few rows meet"
        return Fault(name, "not_indexed", text)
    if operator in KINDS:
        return _fault(name, resource, [field], KINDS[operator])
    if operator not in EQUAL | ORDERED:
        return Fault(name, "not_indexed", "no index serves this operator; add a filter that few rows meet")
    if indexed(resource, field):
        return None
    if not beside:
        return _fault(name, resource, [field], "btree")
    equal = [a.condition.field for a in asked if a.place == one.place and a.condition.operator in EQUAL]
    last = [field] if operator in ORDERED else [] if path else _sorted_columns(listing)
    return _fault(name, resource, list(dict.fromkeys([*equal, *last])), "btree")


def _fault(name: str, resource: Resource, columns: list[str], kind: str) -> Fault:
    said = f"{', '.join(columns)} of {resource.key}"
    kinds = {"btree": "an index", "trigram": "a trigram index (pg_trgm)", "gin": "a GIN index"}
    params = {"entity": resource.key, "columns": columns, "kind": kind}
    return Fault(name, "not_indexed", f"has no index; {kinds[kind]} on {said} would serve it", params)


def _sorted_columns(listing: Listing) -> list[str]:
    return [order.field for order in listing.sort if "." not in order.field]


def _sort(resource: Resource, listing: Listing) -> list[Fault]:
    if not listing.sort or ("." not in listing.sort[0].field and indexed(resource, listing.sort[0].field)):
        return []
    columns = _sorted_columns(listing)
    if not columns or "." in listing.sort[0].field:
        return [
            Fault("sort", "costly", "sorts by a related row's column, which no index serves; narrow the list first")
        ]
    return [_fault("sort", resource, columns, "btree")]


def _count(listing: Listing) -> Fault:
    if listing.count == "exact":
        return Fault("count", "costly", "counts every row that fits; count=estimated or count=none costs less")
    return Fault("", "costly", "ask for fewer rows, by a filter that few of them meet")


def indexed(resource: Resource, column: str) -> bool:
    """Whether an index over all active rows begins with the column (after the tenant)."""
    keys = [tuple(c.name for c in resource.table.primary_key.columns)]
    for index in resource.table.indexes:
        where = index.dialect_options["postgresql"].get("where")
        if where is None or str(where).strip("() ") == "is_active":
            keys.append(tuple(c.name if isinstance(c, sa.Column) else "" for c in index.expressions))
    return any(next((name for name in key if name != "tenant_id"), "") == column for key in keys)
