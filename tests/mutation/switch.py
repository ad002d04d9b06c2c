"""Take one rule, or one job, out of whatever registry is loaded. `tests/conftest.py` does it when WITHOUT_RULE is set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from engine import catalog, load
from engine.hooks import Rule
from engine.jobs import Handler
from engine.load import Registry

VARIABLE = "WITHOUT_RULE"


class Switch(NamedTuple):
    """What is switched off: a rule's entity path, id and function, or a job's scope, `job` and name."""

    place: str
    id: str
    name: str

    def __str__(self) -> str:
        return "|".join(self)

    @classmethod
    def read(cls, text: str) -> Switch:
        """The switch whose text this is."""
        return cls(*text.split("|"))

    @classmethod
    def of_rule(cls, rule: Rule) -> Switch:
        """The switch of a rule."""
        return cls(rule.entity, rule.id, rule.run.__name__)


async def _nothing(_job: Any) -> Mapping[str, Any]:
    return {}


def switch_off(switch: Switch) -> None:
    """From now on registries load without it. LookupError at loading when there is no such rule or job."""
    if switch.id == "job":
        _switch_off_job(switch)
    else:
        _switch_off_rule(switch)


def _switch_off_rule(switch: Switch) -> None:
    gather = catalog._rules_by_entity

    def without(rules: Iterable[Rule]) -> dict[str, tuple[Rule, ...]]:
        found = gather(rules)
        if switch.place in found:
            kept = tuple(rule for rule in found[switch.place] if Switch.of_rule(rule) != switch)
            if kept == found[switch.place]:
                raise LookupError(f"no rule {switch}")
            found[switch.place] = kept
        return found

    catalog._rules_by_entity = without


def _switch_off_job(switch: Switch) -> None:
    add = Registry.add

    def without(self: Registry, module: Any) -> None:
        add(self, module)
        for jobs in self.jobs:
            for place, handler in enumerate(jobs.handlers):
                if jobs.scope == switch.place and handler.name == switch.name:
                    jobs.handlers[place] = replace(handler, run=_nothing)

    load.Registry.add = without  # type: ignore[method-assign]


def handlers(registry: Registry) -> list[tuple[str, Handler]]:
    """(scope, handler) of every job."""
    return [(jobs.scope, handler) for jobs in registry.jobs for handler in jobs.handlers]
