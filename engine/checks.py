"""Start-up rules, numbered. All faults are reported at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from engine.entity import Entity
from engine.errors import StartupFault
from engine.hooks import Rules
from engine.types import Scope

Check = Callable[[Sequence[Scope], Sequence[Entity], Sequence[Rules]], Iterator[str]]


def check_declarations(scopes: Sequence[Scope], entities: Sequence[Entity], rules: Sequence[Rules]) -> None:
    """Run every rule. StartupFault lists what was found, a line each."""
    faults = [f"{number} {fault}" for number, check in CHECKS.items() for fault in check(scopes, entities, rules)]
    if faults:
        raise StartupFault("The declarations do not fit:\n" + "\n".join(faults))


def _unknown(entity: Entity, names: Iterable[Any], known: set[str]) -> list[str]:
    return [str(name) for name in names if name not in known]


def names_are_columns(_scopes: Sequence[Scope], entities: Sequence[Entity], _rules: Sequence[Rules]) -> Iterator[str]:
    """Each name in search, once, read_only, hidden, masked, encrypted, live and auto is a column."""
    for entity in entities:
        known = set(entity.table.c.keys())
        for option in ("search", "once", "read_only", "hidden", "masked", "encrypted", "live", "auto"):
            for name in _unknown(entity, getattr(entity, option), known):
                yield f"{entity.key}: {option} names {name!r}, which is no column"


CHECKS: dict[str, Check] = {"E001": names_are_columns}
