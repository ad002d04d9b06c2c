"""Behaviour that declarations imply, as rules at the same points as a domain's own.

A row of `BEHAVIOURS` says which entities it concerns and what it makes for them; the rules run before the domain's, unless
what they read and write says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from engine.behaviours.approval import after_waiting, approval_rules
from engine.behaviours.computed import computed_rules, rollup_rules
from engine.behaviours.known import Known
from engine.behaviours.money import money_rules
from engine.behaviours.outside import outside_rules
from engine.behaviours.parts import part_rules
from engine.behaviours.states import state_rules
from engine.behaviours.trees import tree_rules
from engine.entity import Entity
from engine.hooks import Rule

BEHAVIOURS: tuple[Callable[[Known, str, Entity], list[Rule]], ...] = (
    state_rules,
    tree_rules,
    outside_rules,
    money_rules,
    computed_rules,
    rollup_rules,
    part_rules,
)


def implied_rules(known: Known, path: str, entity: Entity) -> tuple[Rule, ...]:
    """The rules that a declaration implies. Some belong to another entity (a header's roll-up to its lines)."""
    return tuple(rule for make in BEHAVIOURS for rule in make(known, path, entity))


def with_implied(known: Known, own: Iterable[Rule]) -> list[Rule]:
    """All rules of all entities: what declarations imply, the domains' own ones, and approval, which has the last word."""
    found: dict[str, list[Rule]] = {}
    implied = (rule for path, entity in known.items() for rule in implied_rules(known, path, entity))
    closing = (rule for path, entity in known.items() for rule in approval_rules(known, path, entity))
    for rule in (*implied, *own, *closing):
        found.setdefault(rule.entity, []).append(rule)
    return [
        rule
        for path, rules in found.items()
        for rule in (after_waiting(known[path], rules) if path in known else rules)
    ]
