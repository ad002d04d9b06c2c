"""Grouped lists, and the counts of values beside a list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from engine.call import Call
from engine.conditions import leaves, without_values
from engine.encode import ENCODER, Answer, page
from engine.questions import named_values
from engine.shapes import Condition, FacetShape, Grouping, GroupShape, Listing, ListShape, Node, Through
from engine.store import translate

# why facets are null: the list stands without them
LATE = frozenset({"query_timeout", "pool_exhausted", "too_expensive"})


async def answer_groups(
    call: Call, listing: Listing, grouping: Grouping, query: tuple[ListShape, dict[str, Any]]
) -> Answer:
    """One page of groups, in one statement. `query`: which rows, and the values of their conditions."""
    rows, values = query
    asked = tuple(one._replace(value=None) for one in grouping.having)
    shape = GroupShape(rows._replace(fields=(), expand=()), grouping._replace(having=asked))
    values.update(named_values("h", grouping.having))
    statement = call.service.shop.question("grouped", call.resource, shape)
    # groups have no index to be sorted or counted by
    plain = replace(listing, sort=(), count="none")
    await call.service.budgets.admit(call.unit, call.resource, (plain, shape), (statement, values))
    groups, total = (await call.unit.run(statement, values))[0]
    return page(None, listing, total, more=(f'"groups":[{",".join(groups or ())}]',))


async def facets_of(call: Call, listing: Listing, rows: ListShape, given: Mapping[str, Any]) -> tuple[str, ...]:
    """The member `facets` of a list, where it asks for some. Each is counted without the conditions on its own field; all are
    null when that takes too long. `given`: the values of the list."""
    if not listing.facets:
        return ()
    kept = {path: [node for node in listing.conditions if _field(node) != path] for path in listing.facets}
    plain = rows._replace(sort=(), fields=(), expand=(), counting="none", after=())
    shape = FacetShape(
        tuple((path, plain._replace(conditions=tuple(map(without_values, nodes)))) for path, nodes in kept.items())
    )
    values = call.values()
    values.update(given)
    values.update(named_values("f", (leaf for nodes in kept.values() for node in nodes for leaf in leaves(node))))
    statement = call.service.shop.question("facets", call.resource, shape)
    try:
        await call.service.budgets.admit(call.unit, call.resource, (listing, shape), (statement, values))
        text = (await call.service.budgets.hasty(call.unit, (statement, values)))[0][0]
    except Exception as error:
        if translate(error, None, writing=False).code not in LATE:
            raise
        text = ENCODER.encode(dict.fromkeys(listing.facets)).decode()
    return (f'"facets":{text}',)


def _field(node: Node) -> str:
    """The path of a single condition; empty for nested ones."""
    if isinstance(node, Through) and node.match != "every":
        inner = _field(node.part)
        return f"{node.relation}.{inner}" if inner else ""
    return node.field if isinstance(node, Condition) else ""
