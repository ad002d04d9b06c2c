"""Approval (G20): an edge that somebody may have to approve first.

Taking the edge of an entity's `Approval` leads to the state `waiting` instead while an approval rule of that document type,
whose band holds the document's amount, is not satisfied; a request of the lowest such level is made. Approving it opens the
next level, and after the last one the document takes its edge, whose rules run once more. A rejection sends it to `refused`;
leaving `waiting` any way at all cancels what is still open. What was approved before a rejection or a withdrawal counts for
nothing afterwards: the document may have been changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from engine.behaviours.known import Known, playing
from engine.entity import Approval, Entity
from engine.errors import ForbiddenError, StartupFault
from engine.hooks import Change, Hook, Moment, Point, Row, Rule

# who asked, where a job took a document that nobody made
NOBODY = UUID(int=0)
ALL = 100_000
DECISIONS = frozenset({"pending>approved", "pending>rejected"})


@dataclass(frozen=True)
class Desk:
    """Where approval is kept in one scope: its rules, its requests, and the documents by type."""

    rules: Entity
    requests: Entity
    documents: Mapping[str, Entity]


@dataclass
class Standing:
    """How far the approval of one document has come: approved levels of the present round, and whether a request is open."""

    passed: set[int]
    waits: bool = False


def approval_rules(known: Known, path: str, entity: Entity) -> list[Rule]:
    """The rules of a document that may need approval, and of the requests themselves."""
    desk = _desk(known, path)
    if entity.approval is not None:
        return _document_rules(path, entity, entity.approval, _required(desk, entity))
    if desk is None or entity is not desk.requests:
        return []
    return _request_rules(path, desk)


def _desk(known: Known, path: str) -> Desk | None:
    rules, requests = playing(known, path, "approval_rules"), playing(known, path, "approval_requests")
    if rules is None or requests is None:
        return None
    scope = path.split("/")[0]
    beside = (entity for other, entity in known.items() if other.split("/")[0] == scope)
    return Desk(rules, requests, {entity.approval.document: entity for entity in beside if entity.approval})


def _required(desk: Desk | None, entity: Entity) -> Desk:
    """The desk, once the declaration is seen to be in order."""
    if desk is None:
        raise StartupFault(
            f"{entity.key}: approval needs entities with the roles approval_rules and approval_requests in its scope"
        )
    if missing := _missing_edges(entity):
        raise StartupFault(f"{entity.key}: approval needs the edges {', '.join(missing)} in the machine")
    return desk


def _missing_edges(entity: Entity) -> list[str]:
    approval, machine = entity.approval, entity.life
    assert approval is not None
    source, target = approval.edge.split(">")
    needed = [(source, target), (source, approval.waiting), (approval.waiting, target)]
    edges = {*machine.edges, *machine.reserved, *((state, state) for state in machine.states)}
    return [
        f"{start}>{end}" for start, end in [*needed, (approval.waiting, approval.refused)] if (start, end) not in edges
    ]


def after_waiting(entity: Entity, rules: Iterable[Rule]) -> list[Rule]:
    """Rules of the approval's edge run as well when the document takes it out of the waiting state."""
    approval = entity.approval
    if approval is None:
        return list(rules)
    late = _late_edge(approval)
    return [replace(rule, edges=rule.edges | {late}) if approval.edge in rule.edges else rule for rule in rules]


def _late_edge(approval: Approval) -> str:
    return f"{approval.waiting}>{approval.edge.split('>')[1]}"


def _document_rules(path: str, entity: Entity, approval: Approval, desk: Desk) -> list[Rule]:
    machine = entity.life
    leaving = {f"{a}>{b}" for a, b in machine.edges | machine.reserved if a == approval.waiting}
    return [
        Rule("G20", path, (Point.BEFORE_STATUS,), _hold_back(entity, approval, desk), frozenset({approval.edge})),
        Rule("G20", path, (Point.AFTER_STATUS,), _withdraw(approval, desk), frozenset(leaving)),
    ]


def _request_rules(path: str, desk: Desk) -> list[Rule]:
    before, after = (Point.BEFORE_STATUS,), (Point.AFTER_STATUS,)
    codes = ((403, "four_eyes"),)
    return [
        Rule("G20", path, before, _ask_somebody_else(desk), DECISIONS, codes),
        Rule("G20", path, after, _go_on(desk), frozenset({"pending>approved"})),
        Rule("G20", path, after, _turn_back(desk), frozenset({"pending>rejected"})),
    ]


def _hold_back(entity: Entity, approval: Approval, desk: Desk) -> Hook:
    async def hold_back(moment: Moment, changes: list[Change]) -> None:
        """The last rule of its edge: what the others have written for the state that is not entered yet is dropped."""
        amounts = {change.key: change[approval.amount] or Decimal(0) for change in changes}
        standings = await _standings(moment, desk, approval.document, amounts)
        steps = await _next_steps(moment, desk, approval.document, (amounts, standings))
        requests = []
        for change in changes:
            if change.key not in steps:
                continue
            if not standings[change.key].waits:
                asker = moment.principal.user_id or change["created_by"] or NOBODY
                number = change[entity.number.column] if entity.number else None
                about = {"document_id": change.key, "document_number": number, "amount": amounts[change.key]}
                requests.append(_request(moment, steps[change.key], {**about, "requested_by": asker}))
            change.values.clear()
            change.values["status"] = approval.waiting
        await moment.create(desk.requests.key, requests)

    return hold_back


def _request(moment: Moment, rule: Row, about: Mapping[str, Any]) -> dict[str, Any]:
    due = moment.now + timedelta(hours=rule["due_hours"])
    step = {name: rule[name] for name in ("document_type", "level", "approver_role_id")}
    return {**about, **step, "due_at": due}


async def _standings(moment: Moment, desk: Desk, document: str, keys: Iterable[UUID]) -> dict[UUID, Standing]:
    """How far each document has come. Ids of requests follow their making."""
    standings = {key: Standing(set()) for key in keys}
    requests = desk.requests.table.c
    own = (requests.document_type == document, requests.document_id.in_(standings))
    for row in await moment.list(desk.requests.key, *own, limit=ALL):
        standing = standings[row["document_id"]]
        if row["status"] == "approved":
            standing.passed.add(row["level"])
        elif row["status"] == "pending":
            standing.waits = True
        else:
            standing.passed.clear()
    return standings


async def _next_steps(
    moment: Moment, desk: Desk, document: str, papers: tuple[Mapping[UUID, Decimal], Mapping[UUID, Standing]]
) -> dict[UUID, Row]:
    """Document -> the rule of its lowest level that is not satisfied; documents that need nothing more are left out."""
    amounts, standings = papers
    rules = await moment.list(desk.rules.key, desk.rules.table.c.document_type == document, limit=ALL)
    steps = {}
    for key, amount in amounts.items():
        open_rules = [r for r in rules if _holds(r, amount) and r["level"] not in standings[key].passed]
        if open_rules:
            steps[key] = min(open_rules, key=lambda rule: int(rule["level"]))
    return steps


def _holds(rule: Row, amount: Decimal) -> bool:
    """Whether an amount lies in the band of a rule: from min_amount up to, but not including, max_amount."""
    return bool(rule["min_amount"] <= amount and (rule["max_amount"] is None or amount < rule["max_amount"]))


def _withdraw(approval: Approval, desk: Desk) -> Hook:
    async def cancel_open_requests(moment: Moment, changes: list[Change]) -> None:
        requests = desk.requests.table.c
        own = requests.document_id.in_([change.key for change in changes])
        found = await moment.list(
            desk.requests.key, requests.document_type == approval.document, own, requests.status == "pending", limit=ALL
        )
        await moment.status(desk.requests.key, [row["id"] for row in found], "canceled")

    return cancel_open_requests


def _by_document(desk: Desk, changes: Sequence[Change]) -> list[tuple[Entity, list[Change]]]:
    """The requests of each kind of document."""
    types = {change["document_type"] for change in changes} & desk.documents.keys()
    return [(desk.documents[name], [c for c in changes if c["document_type"] == name]) for name in sorted(types)]


def _ask_somebody_else(desk: Desk) -> Hook:
    async def keep_four_eyes(moment: Moment, changes: list[Change]) -> None:
        """Neither who asked nor who made the document decides."""
        asked = [change for change in changes if not change.by_engine]
        who = moment.principal.user_id
        mine = any(change["requested_by"] == who for change in asked)
        for entity, requests in _by_document(desk, asked):
            table = entity.table
            made = sa.select(table.c.id).where(table.c.id.in_([r["document_id"] for r in requests]))
            mine = mine or bool(await moment.fetch(made.where(table.c.created_by == who)))
        if mine:
            raise ForbiddenError("four_eyes", "Somebody else than the requester and the author has to decide")

    return keep_four_eyes


def _go_on(desk: Desk) -> Hook:
    async def open_next_level(moment: Moment, changes: list[Change]) -> None:
        for entity, requests in _by_document(desk, changes):
            assert entity.approval is not None
            amounts = {change["document_id"]: change["amount"] for change in requests}
            standings = await _standings(moment, desk, entity.approval.document, amounts)
            steps = await _next_steps(moment, desk, entity.approval.document, (amounts, standings))
            kept = ("document_id", "document_number", "amount", "requested_by")
            following = [
                _request(moment, steps[change["document_id"]], {name: change[name] for name in kept})
                for change in requests
                if change["document_id"] in steps
            ]
            await moment.create(desk.requests.key, following)
            done = [key for key in amounts if key not in steps]
            await moment.status(entity.key, done, entity.approval.edge.split(">")[1])

    return open_next_level


def _turn_back(desk: Desk) -> Hook:
    async def turn_back(moment: Moment, changes: list[Change]) -> None:
        for entity, requests in _by_document(desk, changes):
            assert entity.approval is not None
            for reason in dict.fromkeys(change.reason for change in requests):
                keys = [change["document_id"] for change in requests if change.reason == reason]
                await moment.status(entity.key, keys, entity.approval.refused, reason)

    return turn_back
