"""Behaviour that declarations imply, as rules at the same points as a domain's own.

A row of `BEHAVIOURS` says which entities it concerns and what it makes for them; the rules run before the domain's, unless
what they read and write says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.behaviours.known import Known
from engine.behaviours.trees import tree_rules
from engine.entity import Entity
from engine.hooks import Rule

BEHAVIOURS: tuple[Callable[[Known, str, Entity], list[Rule]], ...] = (tree_rules,)


def implied_rules(known: Known, path: str, entity: Entity) -> tuple[Rule, ...]:
    """The rules that a declaration implies. Some belong to another entity (a header's roll-up to its lines)."""
    return tuple(rule for make in BEHAVIOURS for rule in make(known, path, entity))
