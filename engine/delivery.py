"""Handing events to their subscribers: in the order of each row, at least once, a failing handler asked again with growing
pauses and given up after five tries, for that event only."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple
from uuid import UUID

import msgspec

from engine import chain
from engine.events import Entry, Event, Events, Subscription, caused_by, entered, events_of
from engine.moment import Caller, UnitOfWork
from engine.observe import LOG
from engine.store import Connection
from engine.types import TenantRef

TRIES = 5
# seconds before tries 2 to 5
PAUSES = (0.1, 0.3, 1.0, 3.0)
# seconds that one call of a handler may take, and that one batch may spend on handlers that fail
PATIENCE, BUDGET = 10.0, 20.0
MARK = "cxg_event"


class GuardedUnit(UnitOfWork):
    """A unit of work whose last step can be undone, in every database that it reached."""

    guarding = False
    remembered = 0

    async def in_scope(self, scope: str, tenant: TenantRef | None = None) -> UnitOfWork:
        known = self.reached()
        other = await super().in_scope(scope, tenant)
        if self.guarding:
            await _send([connection for connection in self.reached() if connection not in known], f"savepoint {MARK}")
        return other

    def reached(self) -> list[Connection]:
        """The transactions that the unit has opened."""
        assert self.connection is not None, "a guarded unit is inside its transaction"
        others = [unit.connection for unit in self.elsewhere.values() if unit.connection is not None]
        return [self.connection, *others, *(shared.connection for shared in self.shared.values())]

    async def guard(self, caller: Caller) -> None:
        """Begin a step, which writes as `caller`."""
        self.guarding, self.remembered = True, len(self.done)
        for unit in (self, *self.elsewhere.values(), *self.hosted.values()):
            unit.caller = caller
        await _send(self.reached(), f"savepoint {MARK}")

    async def settle(self, *, keep: bool) -> None:
        """End the step: keep what it wrote, or undo it."""
        self.guarding = False
        if not keep:
            await _send(self.reached(), f"rollback to savepoint {MARK}")
            del self.done[self.remembered :]
            for shared in self.shared.values():
                shared.tenant = None  # the binding went back as well
        await _send(self.reached(), f"release savepoint {MARK}")


async def _send(connections: Sequence[Connection], text: str) -> None:
    for connection in connections:
        await connection.fetch(text, ())


class Record:
    """A record of a change log. What it tells is read when somebody listens."""

    __slots__ = ("_entry", "_events", "id", "row", "scope", "values")

    def __init__(self, values: chain.Record, scope: str) -> None:
        """`scope` is that of the row that changed."""
        self.values, self.scope = values, scope
        self.id: UUID = values["id"]
        # the record itself where it is about no row
        self.row: UUID = values["entity_id"] or self.id
        self._entry: Entry | None = None
        self._events: list[Event] | None = None

    @property
    def entry(self) -> Entry | None:
        """What it holds. None where it cannot be read: whoever could write into the log by hand may have left anything there,
        and the relay goes on."""
        if self._entry is None:
            try:
                self._entry = msgspec.json.decode(chain.canonical(self.values), type=Entry)
            except msgspec.MsgspecError as error:
                LOG.error("a record of a change log tells nothing", id=str(self.id), cause=str(error)[:200])
        return self._entry

    @property
    def events(self) -> list[Event]:
        """What it tells."""
        if self._events is None:
            self._events = events_of(self.entry, self.scope) if self.entry else []
        return self._events

    @property
    def version(self) -> int:
        """The version that the change made; 0 where it says none."""
        version = entered(self.entry.changes, "version") if self.entry else None
        return version if isinstance(version, int) else 0


def in_row_order(records: Sequence[Record]) -> list[Record]:
    """Records by id, those of one row by version: an id is made before the row's lock is had, so that ids alone may tell an
    earlier change later."""
    by_id = sorted(records, key=lambda record: record.id)
    if len({record.row for record in by_id}) == len(by_id):
        return by_id
    waiting: dict[UUID, list[Record]] = {}
    for record in sorted(by_id, key=lambda record: record.version, reverse=True):
        waiting.setdefault(record.row, []).append(record)
    return [waiting[record.row].pop() for record in by_id]


class Told(NamedTuple):
    """An event on its way, with the record that tells it."""

    record: Record
    event: Event


Owed = tuple[UUID, str]


@dataclass
class Round:
    """What came of one batch. It counts once the batch is committed."""

    served: set[Owed] = field(default_factory=set)
    unserved: set[UUID] = field(default_factory=set)
    blocked: set[tuple[UUID, str]] = field(default_factory=set)

    def finished(self, records: Sequence[Record]) -> list[Record]:
        """The records that nobody waits for; after the first of a row that is not finished, none of that row."""
        if not self.unserved:
            return list(records)
        found, stuck = [], set()
        for record in records:
            if record.id in self.unserved:
                stuck.add(record.row)
            elif record.row not in stuck:
                found.append(record)
        return found


class Delivery:
    """Knows the subscriptions, and what is still owed to whom. What it knows lives as long as the process that delivers;
    another begins anew with records that are not sealed."""

    def __init__(self, events: Sequence[Events], scopes: Mapping[str, str]) -> None:
        """`scopes`: `domain.entity` -> scope, of all that is written into the log."""
        self.scopes = scopes
        known = set(scopes.values())
        self.subscriptions = [(e.scope, s) for e in events if e.scope in known for s in e.subscriptions]
        self.tries: dict[Owed, int] = {}
        self.served: set[Owed] = set()
        # row -> when to try again, in the loop's seconds
        self.held: dict[UUID, float] = {}

    def waiting(self) -> list[UUID]:
        """Rows whose time has not come. Those whose time has come are let go."""
        now = asyncio.get_running_loop().time()
        self.held = {row: due for row, due in self.held.items() if due > now}
        return list(self.held)

    def read(self, records: Sequence[chain.Record]) -> list[Record]:
        """Records of the log in the order in which they are told."""
        scopes = self.scopes
        return in_row_order([Record(v, scopes.get(f"{v['domain']}.{v['entity']}", "")) for v in records])

    async def hand_out(self, unit: GuardedUnit, records: Sequence[Record]) -> Round:
        """Ask every subscriber; failures are undone and noted."""
        done = Round()
        until = asyncio.get_running_loop().time() + BUDGET
        for scope, subscription in self.subscriptions:
            wanted = await self._wanted(unit, scope, subscription)
            told = [
                Told(record, event)
                for record in (records if wanted is None or wanted else ())
                for event in record.events
                if event.scope == scope
                and (wanted is None or event.name in wanted)
                and subscription.listens(event.name)
                and (event.id, subscription.name) not in self.served
            ]
            for _, group in groupby(told, lambda one: one.event.depth):
                await self._serve(unit, subscription, list(group), done, until)
        return done

    async def _wanted(self, unit: GuardedUnit, scope: str, subscription: Subscription) -> Collection[str] | None:
        """The names that a subscription is interested in; None = all. One that cannot say is asked about each event."""
        if subscription.among is None:
            return None
        await unit.guard(unit.caller)
        wanted: Collection[str] | None = None
        try:
            async with asyncio.timeout(PATIENCE):
                wanted = await subscription.among(await unit.in_scope(scope))
        except Exception as failure:
            LOG.error("subscription cannot say what it wants", handler=subscription.name, cause=repr(failure)[:500])
        await unit.settle(keep=wanted is not None)
        return wanted

    def keep(self, done: Round, finished: Sequence[Record]) -> None:
        """The batch is committed: remember who was served, as far as somebody else still waits for the record."""
        self.served |= done.served
        if not (self.served or self.tries):
            return
        for event in (event for record in finished for event in record.events):
            for _, subscription in self.subscriptions:
                owed = (event.id, subscription.name)
                self.served.discard(owed)
                self.tries.pop(owed, None)

    async def _serve(
        self, unit: GuardedUnit, subscription: Subscription, told: Sequence[Told], done: Round, until: float
    ) -> None:
        """All at once; one by one when that fails, to find the event that it fails for. Rows with an event that failed before
        come by themselves."""
        name = subscription.name
        done.unserved.update(one.record.id for one in told if (one.record.row, name) in done.blocked)
        free = [one for one in told if (one.record.row, name) not in done.blocked]
        suspects = {one.record.row for one in free if (one.event.id, name) in self.tries}
        company = [one for one in free if one.record.row not in suspects]
        if len(company) > 1 and await self._ask(unit, subscription, company) is None:
            done.served.update((one.event.id, name) for one in company)
            free = [one for one in free if one.record.row in suspects]
        for one in free:
            late = asyncio.get_running_loop().time() > until
            if late or (one.record.row, name) in done.blocked or not await self._serve_one(unit, subscription, one):
                done.blocked.add((one.record.row, name))
                done.unserved.add(one.record.id)
            else:
                done.served.add((one.event.id, name))

    async def _serve_one(self, unit: GuardedUnit, subscription: Subscription, one: Told) -> bool:
        """Whether the subscriber has the event, or will never have it."""
        failure = await self._ask(unit, subscription, [one])
        return failure is None or self._give_up(subscription, one, failure)

    def _give_up(self, subscription: Subscription, one: Told, failure: Exception) -> bool:
        owed = (one.event.id, subscription.name)
        tries = self.tries[owed] = self.tries.get(owed, 0) + 1
        if tries < TRIES:
            pause = PAUSES[tries - 1]
            self.held[one.record.row] = asyncio.get_running_loop().time() + pause
            return False
        known = {"handler": subscription.name, "told": one.event.name, "id": str(one.event.id), "tries": tries}
        LOG.error("event given up", **known, cause=repr(failure)[:500])
        return True

    async def _ask(self, unit: GuardedUnit, subscription: Subscription, told: Sequence[Told]) -> Exception | None:
        """What the handler raised; then nothing of its work stands."""
        await unit.guard(Caller(request_id=caused_by(told[0].event)))
        try:
            async with asyncio.timeout(PATIENCE):
                moment = await unit.in_scope(told[0].event.scope)
                await subscription.run(moment, [one.event for one in told])
        except Exception as failure:
            await unit.settle(keep=False)
            return failure
        await unit.settle(keep=True)
        return None
