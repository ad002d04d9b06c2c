"""Start-up rules about declared behaviour: what it names exists, and formulas do not wait for each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from graphlib import CycleError

import sqlalchemy as sa

from engine.behaviours import implied_rules
from engine.behaviours.computed import in_dependency_order
from engine.behaviours.money import BASE
from engine.declared import Declared, columns_of, each, machine_of, near, overall, unknown_columns
from engine.entity import Entity, RollUp
from engine.errors import StartupFault
from engine.hooks import Point, Rule
from engine.ordering import in_order


def _edges(entity: Entity) -> Iterator[tuple[str, str]]:
    """(option, edge) of every edge that a declaration names."""
    yield from (("needed", edge) for needed in entity.needed for edge in needed.edges.split())
    yield from (("guards", edge) for name in entity.guards if ">" in name for edge in name.split())
    yield from (("four_eyes", edge) for edges in entity.four_eyes for edge in edges.split())
    if entity.approval is not None:
        target = entity.approval.edge.partition(">")[2]
        yield from (("approval", edge) for edge in (entity.approval.edge, f"{entity.approval.waiting}>{target}"))


def _states(entity: Entity) -> Iterator[tuple[str, str]]:
    """(option, state) of every state that a declaration names."""
    yield from (("frozen", state) for frozen in entity.frozen for state in frozen.states.split())
    yield from (("stamps", state) for state in entity.stamps)
    if entity.approval is not None:
        yield from (("approval", state) for state in (entity.approval.waiting, entity.approval.refused))


def _named(entity: Entity) -> Iterable[tuple[str, str]]:
    """(option, column) of every column that a declaration names."""
    pairs = [("periods", name) for period in entity.periods for name in (*period.columns, period.start, period.end)]
    pairs += [("frozen", name) for frozen in entity.frozen for name in (*frozen.fields, *frozen.but)]
    pairs += [("needed", needed.field) for needed in entity.needed if needed.field != "reason"]
    pairs += [("stamps", name) for stamps in entity.stamps.values() for name in stamps]
    pairs += [("guards", name) for name in entity.guards if ">" not in name]
    pairs += [("four_eyes", name) for name in entity.four_eyes.values()]
    pairs += [("currency", entity.currency)] if entity.currency and entity.currency != BASE else []
    pairs += [("base_money", name) for name in entity.base_money]
    pairs += [("computed", name) for computed in entity.computed for name in (computed.column, *computed.reads.split())]
    pairs += [("rollups", rollup.column) for rollup in entity.rollups]
    pairs += [("approval", entity.approval.amount)] if entity.approval else []
    # a path is looked at where relations are known (E060)
    return pairs + [("owner", name) for name in (entity.owner.columns if entity.owner else ()) if "." not in name]


@overall("E034")
def rules_can_be_ordered(declared: Declared) -> Iterator[str]:
    """Rules of one point do not wait for each other's columns."""
    known = {declared.path_of(entity): entity for entity in declared.entities}
    implied = [rule for path, entity in known.items() for rule in implied_rules(known, path, entity)]
    rules: dict[str, list[Rule]] = {}
    for rule in (*implied, *(rule for domain in declared.rules for rule in domain.rules)):
        rules.setdefault(rule.entity, []).append(rule)
    for own in rules.values():
        for point in Point:
            try:
                in_order(rule for rule in own if point in rule.points)
            except StartupFault as circle:
                yield str(circle)


@each("E039")
def behaviour_names_columns(_declared: Declared, entity: Entity) -> Iterator[str]:
    """Each column that a declared behaviour names is one."""
    yield from unknown_columns(entity, _named(entity))


@each("E040")
def behaviour_names_states_and_edges(_declared: Declared, entity: Entity) -> Iterator[str]:
    """Each state and edge that a declared behaviour names is in the machine."""
    machine = machine_of(entity)
    states = machine.states if machine else ()
    edges = {f"{a}>{b}" for a, b in machine.edges | machine.reserved} if machine else set[str]()
    for option, state in _states(entity):
        if state not in states:
            yield f"{option} names the state {state!r}, which the machine does not have{near(state, states)}"
    for option, edge in _edges(entity):
        if edge not in edges:
            yield f"{option} names the edge {edge!r}, which the machine does not have{near(edge, edges)}"


@each("E041")
def rollups_have_children(declared: Declared, entity: Entity) -> Iterator[str]:
    """A roll-up's child is an entity that refers to the header, and what it sums is a column."""
    for rollup in entity.rollups:
        child = declared.find(entity, rollup.child)
        if child is None:
            known = [other.key for other in declared.entities]
            yield f"rollups names {rollup.child!r}, which is no entity of its scope{near(rollup.child, known)}"
        else:
            yield from _misfits(entity, rollup, child)


def _misfits(entity: Entity, rollup: RollUp, child: Entity) -> Iterator[str]:
    via = rollup.via or (child.parent[1] if child.parent else "")
    keys = child.table.c[via].foreign_keys if via in child.table.c else ()
    if not any(str(key.target_fullname) == f"{entity.table.fullname}.id" for key in keys):
        yield f"rollups: {child.key} does not refer to it by {via!r}; say via="
    if rollup.sum and rollup.sum not in columns_of(child):
        yield f"rollups sums {rollup.sum!r}, which {child.key} does not have{near(rollup.sum, columns_of(child))}"


@each("E042")
def formulas_end(_declared: Declared, entity: Entity) -> Iterator[str]:
    """Computed columns do not wait for each other, and callers cannot set them."""
    try:
        in_dependency_order(entity)
    except CycleError as cycle:
        yield f"computed columns wait for each other: {' -> '.join(cycle.args[1])}"
    derived = [computed.column for computed in entity.computed] + [rollup.column for rollup in entity.rollups]
    for name in (name for name in derived if name not in entity.read_only):
        yield f"{name!r} is computed; list it in read_only"


@each("E043")
def periods_have_days(_declared: Declared, entity: Entity) -> Iterator[str]:
    """A period's ends are dates, or both are timestamps."""
    for period in entity.periods:
        ends = [entity.table.c[name].type for name in (period.start, period.end) if name in entity.table.c]
        kinds = {type(end) for end in ends}
        if not all(isinstance(end, (sa.Date, sa.DateTime)) for end in ends) or len(kinds) > 1:
            yield f"the period {period.start!r}..{period.end!r} needs two dates or two timestamps"
