"""In which order the rules of one point run: as declared, but whoever reads a column after whoever writes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter

from engine.errors import StartupFault
from engine.hooks import Rule


def in_order(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The rules of one entity at one point. StartupFault names rules that wait for each other."""
    waiting = list(rules)
    sorter: TopologicalSorter[int] = TopologicalSorter()
    for place, rule in enumerate(waiting):
        before = [p for p, other in enumerate(waiting) if p != place and other.writes & rule.reads]
        sorter.add(place, *before)
    try:
        sorter.prepare()
    except CycleError as cycle:
        raise StartupFault(_said([waiting[place] for place in cycle.args[1]])) from None
    return tuple(_stable(sorter, waiting))


def _stable(sorter: TopologicalSorter[int], waiting: Sequence[Rule]) -> Iterable[Rule]:
    """Of all that may run next, always the first declared."""
    ready: list[int] = []
    while sorter.is_active():
        ready = sorted([*ready, *sorter.get_ready()])
        place = ready.pop(0)
        yield waiting[place]
        sorter.done(place)


def _said(circle: Sequence[Rule]) -> str:
    steps = " -> ".join(f"{rule.id} ({rule.run.__name__})" for rule in circle)
    return f"{circle[0].entity}: rules wait for each other's columns: {steps}; drop one of reads= or writes="
