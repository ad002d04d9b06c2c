"""What depends on a row's state: frozen fields, values that an edge needs, permissions of edges and fields, four eyes.

They hold for callers. What rules and jobs write has its own reasons.
"""

from __future__ import annotations

from engine.behaviours.known import Known
from engine.entity import Entity, Frozen, Needed
from engine.errors import ApiError, ConflictError, Fault, ForbiddenError, ValidationError, generic
from engine.hooks import Change, Hook, Moment, Point, Rule

WRITTEN = ("is_active", "version", "status")


def state_rules(_known: Known, path: str, entity: Entity) -> list[Rule]:
    """The rules of the states of one entity."""
    rules = [rule for frozen in entity.frozen for rule in _frozen_rules(path, entity, frozen)]
    rules += [_needed_rule(path, entity, needed) for needed in entity.needed]
    for name, permission in entity.guards.items():
        rules.append(_edge_guard(path, name, permission) if ">" in name else _field_guard(path, name, permission))
    for edges, column in entity.four_eyes.items():
        codes = ((403, "four_eyes"),)
        point = (Point.BEFORE_STATUS,)
        rules.append(Rule("four_eyes", path, point, _other_person(column), frozenset(edges.split()), codes))
    return rules


def _frozen_rules(path: str, entity: Entity, frozen: Frozen) -> list[Rule]:
    codes, states = ((409, frozen.code),), frozenset(frozen.states.split())
    own = frozenset(entity.table.c.keys()) - {*WRITTEN, "id"}
    fields = frozenset(frozen.fields) or own - frozenset(frozen.but)
    rules = [
        Rule("frozen", path, (Point.BEFORE_UPDATE,), _keep(states, fields, frozen.code), raises=codes, watches=fields)
    ]
    if not frozen.fields and not frozen.but:
        rules.append(Rule("frozen", path, (Point.BEFORE_DELETE,), _stay(states, frozen.code), raises=codes))
    return rules


def _locked(code: str, state: str) -> ApiError:
    message = f"This does not change any more in the state {state!r}"
    return generic(code) if code == "document_locked" else ConflictError(code, message)


def _keep(states: frozenset[str], fields: frozenset[str], code: str) -> Hook:
    async def keep_what_is_frozen(moment: Moment, changes: list[Change]) -> None:
        for change in changes:
            frozen = change.old is not None and change.old["status"] in states
            # a caller who sends back what he read changes nothing
            if frozen and not change.by_engine and any(change.changes(name) for name in fields & change.given):
                raise _locked(code, change["status"])

    return keep_what_is_frozen


def _stay(states: frozenset[str], code: str) -> Hook:
    async def keep_the_row(moment: Moment, changes: list[Change]) -> None:
        for change in changes:
            if change["status"] in states and not change.by_engine:
                raise _locked(code, change["status"])

    return keep_the_row


def _needed_rule(path: str, entity: Entity, needed: Needed) -> Rule:
    async def ask_for_it(moment: Moment, changes: list[Change]) -> None:
        for change in changes:
            given = change.reason if needed.field == "reason" else change[needed.field]
            if given in (None, "") and not change.by_engine:
                message = f"{needed.field} is needed to go to {change['status']!r}"
                raise ValidationError(needed.code, message, details=[Fault(needed.field, needed.code, message)])

    edges = frozenset(needed.edges.split())
    return Rule("needed", path, (Point.BEFORE_STATUS,), ask_for_it, edges, ((422, needed.code),))


def _refused(permission: str) -> ForbiddenError:
    return ForbiddenError("permission_denied", f"This needs the permission {permission}")


def _edge_guard(path: str, edges: str, permission: str) -> Rule:
    async def may_go(moment: Moment, changes: list[Change]) -> None:
        if not moment.principal.may(permission) and not all(change.by_engine for change in changes):
            raise _refused(permission)

    return Rule("guard", path, (Point.BEFORE_STATUS,), may_go, frozenset(edges.split()))


def _field_guard(path: str, name: str, permission: str) -> Rule:
    async def may_change(moment: Moment, changes: list[Change]) -> None:
        for change in changes:
            if change.changes(name) and not change.by_engine and not moment.principal.may(permission):
                raise _refused(permission)

    return Rule("guard", path, (Point.BEFORE_UPDATE,), may_change, watches=frozenset({name}))


def _other_person(column: str) -> Hook:
    async def ask_somebody_else(moment: Moment, changes: list[Change]) -> None:
        for change in changes:
            if not change.by_engine and change[column] is not None and change[column] == moment.principal.user_id:
                raise ForbiddenError("four_eyes", "Somebody else has to do this")

    return ask_somebody_else
