"""A header's version counts what happens to the rows of its nested sets: whoever replaces a set has seen all of it."""

from __future__ import annotations

from engine.behaviours.known import Known, beside
from engine.entity import Entity
from engine.hooks import Change, Hook, Moment, Point, Rule

POINTS = (Point.AFTER_CREATE, Point.AFTER_UPDATE, Point.AFTER_DELETE, Point.AFTER_STATUS)


def part_rules(known: Known, path: str, entity: Entity) -> list[Rule]:
    """A rule of each child entity whose rows the header's body replaces."""
    rules = []
    for nested in entity.nested:
        child = beside(known, path, nested.entity)
        if child is not None and "u" in nested.on:
            place = f"{path.split('/')[0]}/{child.domain}/{child.name}"
            rules.append(Rule("parts", place, POINTS, _renew(entity.key, nested.link(child))))
    return rules


def _renew(header: str, link: str) -> Hook:
    async def renew(moment: Moment, changes: list[Change]) -> None:
        mine = [change for change in changes if not change.by_engine]
        keys = {change[link] for change in mine} | {change.old[link] for change in mine if change.old is not None}
        if keys - {None}:
            await moment.renew(header, keys - {None})

    return renew
