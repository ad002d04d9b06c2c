"""Get, list, transitions, history."""

from __future__ import annotations

from typing import Any

import msgspec

from engine.call import Call
from engine.catalog import Resource
from engine.cursors import binding_of, head_of
from engine.encode import ESTIMATED, Answer, etag, page, success, success_of
from engine.handlers.grouping import answer_groups, facets_of
from engine.handlers.pages import Turn
from engine.preconditions import known
from engine.query import read_paging, read_view
from engine.query_body import read_query
from engine.questions import Question, asked_values, list_shape, question_of, shape_of
from engine.records import key_values
from engine.shapes import GetShape, Listing
from engine.sql.read import ESTIMATE_ABOVE, LOG_ORDER
from engine.types import Op


async def list_rows(call: Call) -> Answer:
    """One page of rows."""
    return await answer_question(call, call.service.questions.read(call.resource, call.request.query))


async def query(call: Call) -> Answer:
    """One page of rows; the query is the body."""
    listing = read_query(call.catalog, call.resource, await call.body(), call.service.limits)
    call.no_parameters()
    return await answer_question(call, question_of(call.resource, listing))


async def answer_question(call: Call, question: Question) -> Answer:
    """The rows or groups that a list asks for, in one statement; facets in another."""
    shop, resource, listing, rows = call.service.shop, call.resource, question.listing, question.shape
    own, values = call.own(listing), call.values(question.values)
    if listing.grouping is not None:
        return await answer_groups(call, listing, listing.grouping, (rows._replace(own=own), values))
    turn = Turn(call, listing, question.names, question.binding)
    values.update(turn.values)
    made = question.statements.get((own, turn.nulls))
    if made is None:
        shape = rows._replace(own=own, after=turn.nulls)
        made = question.statements[own, turn.nulls] = shape, shop.statement(resource, shape)
    shape, statement = made
    await call.service.budgets.admit(call.unit, resource, (listing, shape), (statement, values))
    record = (await call.unit.run(statement, values))[0]
    total, items, cursor = record[0], record[1], turn.following(record)
    if items and resource.path in shop.revealing:
        items = shop.readable(resource, items.decode()).encode()
    more = await facets_of(call, listing, rows._replace(own=own), values) if listing.facets else ()
    if listing.count == "estimated" and total > ESTIMATE_ABOVE:
        plan = await call.unit.run(shop.question("estimate", resource, shape), values)
        # so many were counted, whatever the planner believes of conditions that it has no statistics for
        expected = max(ESTIMATE_ABOVE + 1, int(msgspec.json.decode(plan[0][0])[0]["Plan"]["Plan Rows"]))
        return page(items, listing, expected, cursor=cursor, more=(ESTIMATED, *more))
    return page(items, listing, total, cursor=cursor, more=more)


async def get(call: Call) -> Answer:
    """One row."""
    view = read_view(call.catalog, call.resource, call.request.query, call.service.limits)
    shape = GetShape(view.fields, view.deleted, shape_of(view.expand), call.own(view), view.as_of is not None)
    version, text = await call.read(shape, asked_values(view))
    shown = call.service.shop.readable(call.resource, text)
    tag = etag(version, shown if shows_more(call.service.shown_beside(call.resource), view) else None)
    if call.request.header(b"if-none-match") is not None and known(call.request.every(b"if-none-match"), tag[1]):
        return Answer(304, (tag,), b"")
    return success(shown, 200, (tag,))


def shows_more(beside: frozenset[str], view: Listing) -> bool:
    """Whether a row shows what changes without its version; `beside`: the entity's fields that do."""
    return bool(view.expand) or bool(beside and (not view.fields or not beside.isdisjoint(view.fields)))


async def transitions(call: Call) -> Answer:
    """What may happen now, and why the rest may not."""
    call.no_parameters()
    resource = call.resource
    active = resource.marks.active
    names = ("status", active) if resource.stateful else (active,)
    # where there is no machine, the status brings a deleted row back
    row = msgspec.json.decode((await call.read(GetShape(names, "exclude" if resource.stateful else "include")))[1])
    state = row["status"] if resource.stateful else "active" if resource.marks.living(row) else "inactive"
    allowed = call.unit.principal.may(resource.permissions[Op.STATUS])
    ways = [_way(resource, state, to, allowed) for to in resource.machine.states if to != state]
    return success_of({"status": state, "transitions": ways})


def _way(resource: Resource, state: str, to: str, allowed: bool) -> dict[str, Any]:
    reason = None
    if (state, to) not in resource.machine.edges:
        reason = "reserved_transition" if (state, to) in resource.machine.reserved else "invalid_transition"
    elif not allowed:
        reason = "permission_denied"
    return {"status": to, "allowed": reason is None, "reason": reason}


async def history(call: Call) -> Answer:
    """One page of the change log of a row, newest first."""
    listing = read_paging(call.catalog, call.resource, call.request.query)
    log = call.catalog.roles.get((call.resource.scope.name, "change_log"))
    await call.read(GetShape(call.resource.keys, "include"))
    if log is None:
        return page(None, listing, 0)
    values = call.values(key_values(call.target.key))
    path = f"{call.resource.path}/{','.join(call.target.key)}/history"
    turn = Turn(call, listing, [name for name, _ in LOG_ORDER], binding_of(head_of(listing, path), listing))
    values.update(turn.values)
    shape = list_shape(listing)._replace(after=turn.nulls)
    record = (await call.unit.run(call.service.shop.question("history", call.resource, log, shape), values))[0]
    return page(record[1], listing, record[0], cursor=turn.following(record))
