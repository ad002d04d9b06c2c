"""What happened, told after commit: a registry subscribes to events by name.

    events = Events("manager")

    @events.on("bill.invoices.paid", "tnnt.*")
    async def thank(moment: Moment, happened: list[Event]) -> None: ...

Each write is an event `<domain>.<entity>.created|updated|deleted`, each change of state also `<domain>.<entity>.<state>`. A
handler gets them at least once, those of one row in the order of its versions, in a transaction of its own scope: what it
writes there stands when the events count as delivered. One that raises is undone and asked again later. `among=` names a
function that tells which names are of interest just now, so that nobody reads a record in vain.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any
from uuid import UUID, uuid5

import msgspec

from engine.hooks import Moment

VERBS = {"create": "created", "update": "updated", "status": "updated", "delete": "deleted"}
# begins the request id of what a handler writes; no caller's X-Request-Id can hold it
CAUSED = "~"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one row. `id` is the log record's (of two events of one record the second has an id that
    follows from it), `key` the row's uuid (another key's digest), `changes` column -> (old, new) with secrets as `***`,
    `depth` how many handlers stand between it and a caller's own write."""

    id: UUID
    name: str
    scope: str
    tenant_id: UUID | None
    entity: str
    key: UUID
    changes: Mapping[str, Any]
    actor_id: UUID | None
    occurred_at: datetime
    request_id: str | None
    depth: int = 0


Handler = Callable[[Moment, list[Event]], Awaitable[None]]
Among = Callable[[Moment], Awaitable[Collection[str]]]


@dataclass(frozen=True)
class Subscription:
    """A handler and the names that it listens to. `among`: which of them are of interest just now; None = all."""

    patterns: tuple[str, ...]
    run: Handler
    among: Among | None = None

    @property
    def name(self) -> str:
        """What logs call it."""
        return f"{self.run.__module__}.{self.run.__qualname__}"

    def listens(self, name: str) -> bool:
        """Whether an event of this name is handed to it."""
        return any(fnmatchcase(name, pattern) for pattern in self.patterns)


@dataclass
class Events:
    """The subscriptions to one scope's events, as a registry file declares them."""

    scope: str
    subscriptions: list[Subscription] = field(default_factory=list)

    def on(self, *patterns: str, among: Among | None = None) -> Callable[[Handler], Handler]:
        """Subscribe to names such as `bill.invoices.paid`; `*` stands for any text. `among` is asked once for many events."""

        def bind(run: Handler) -> Handler:
            self.subscriptions.append(Subscription(patterns, run, among))
            return run

        return bind


def caused_by(event: Event) -> str:
    """The request id of what is written on account of an event."""
    return f"{CAUSED}{event.depth + 1}{CAUSED}{event.id}"


def depth_of(request_id: str | None) -> int:
    """How many handlers stand behind a write, from its request id."""
    return int(request_id.split(CAUSED)[1]) if request_id and request_id.startswith(CAUSED) else 0


class Entry(msgspec.Struct, frozen=True):
    """A record of a change log, as far as events need it. `changes` as the database holds them: column -> [old, new]."""

    id: UUID
    action: str
    domain: str
    entity: str
    occurred_at: datetime
    entity_id: UUID | None = None
    changes: Any = {}
    tenant_id: UUID | None = None
    actor_id: UUID | None = None
    request_id: str | None = None


def events_of(entry: Entry, scope: str) -> list[Event]:
    """The events of a record: none for what is no write, such as a sign-in."""
    verb = VERBS.get(entry.action)
    if verb is None or entry.entity_id is None:
        return []
    entity = f"{entry.domain}.{entry.entity}"
    changes = entry.changes if isinstance(entry.changes, dict) else {}
    words = [verb] if entry.action == "create" else [verb, *_entered(changes, entry.action)]
    known = (scope, entry.tenant_id, entity, entry.entity_id, changes, entry.actor_id)
    return [
        Event(
            entry.id if place == 0 else uuid5(entry.id, word),
            f"{entity}.{word}",
            *known,
            entry.occurred_at,
            entry.request_id,
            depth_of(entry.request_id),
        )
        for place, word in enumerate(words)
    ]


def _entered(changes: Mapping[str, Any], action: str) -> list[str]:
    """The state that a change led to; without a status column, active or inactive."""
    state, active = entered(changes, "status"), entered(changes, "is_active")
    if state is not None:
        return [str(state)]
    if active is not None and action == "status":
        return ["active" if active else "inactive"]
    return []


def entered(changes: Any, name: str) -> Any:
    """The new value of a column in a record's changes. None where there is none: whoever could write into the log by hand may
    have left anything there, and the relay goes on."""
    pair = changes.get(name) if isinstance(changes, dict) else None
    return pair[1] if isinstance(pair, list) and len(pair) == 2 else None
