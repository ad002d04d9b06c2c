"""`as_of=`: rows as they were at a moment, rebuilt from the change log. Which entities have such a past, and how the moment is
read. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec

from engine.catalog import Catalog, Resource
from engine.clock import CLOCK
from engine.errors import Fault
from engine.scalars import BadValue
from engine.types import Principal

WORD = "as_of"
# what every registered table has, and what a foreign one may lack
NEEDED = frozenset({"created_at", "is_active", "version"})
MOMENT = Annotated[datetime, msgspec.Meta(tz=True)]


def log_of(catalog: Catalog, resource: Resource) -> Resource | None:
    """The change log that tells the past of an entity; None when there is none. The log itself has no past: it only grows."""
    log = catalog.roles.get((resource.scope.name, "change_log"))
    # others write past the engine into tables that are not its own, so their log tells half of it
    own = log is not None and (log.path == resource.path or resource.foreign)
    return None if own or not set(resource.table.c.keys()) >= NEEDED else log


def read_moment(catalog: Catalog, resource: Resource, text: str) -> datetime:
    """A moment that is over, in UTC, with microseconds."""
    if log_of(catalog, resource) is None:
        raise BadValue("unknown_parameter", f"no change log tells the past of {resource.key}")
    try:
        moment = msgspec.convert(text, MOMENT).astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        known = "must be a date and time with a zone, such as 2026-01-31T10:00:00Z (a + is written %2B)"
        raise BadValue("invalid_format", known) from None
    if moment > CLOCK.now():
        raise BadValue("out_of_range", "lies in the future")
    return moment


def without_past(catalog: Catalog, used: Iterable[str]) -> list[Fault]:
    """A fault for each related entity whose past cannot be told."""
    lost = [catalog.resources[path] for path in used if log_of(catalog, catalog.resources[path]) is None]
    return [Fault(WORD, "unknown_parameter", f"no change log tells the past of {other.key}") for other in lost]


def day_of(moment: datetime, who: Principal) -> date:
    """The day of a moment where the caller's tenant is."""
    return moment.astimezone(ZoneInfo(who.tenant.timezone if who.tenant else "UTC")).date()


# parameters of statements that are told when they are asked for, of the unit of work and the other parameters
TIMES: dict[str, Callable[[Any, Any], Any]] = {
    "now": lambda unit, _values: unit.now,
    "today": lambda unit, _values: unit.today,
    "as_of_day": lambda unit, values: day_of(values["as_of"], unit.principal),
}
