"""The relay: after commit it takes the records of each change log, hands their events to the subscribers, and seals them, a
batch in one transaction. A record is unsealed until all of that is done, so that nothing is lost whoever dies when.

One process relays at a time (a lease on the log's database); writers tell it by a hint, in the process or through the
database. A hint that got lost is made up for: the platform's log is looked at every second, the tenants' logs at every start
of a process and every ten minutes. Two relays at once do no harm: a batch holds a lock of its log and tenant.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal
from uuid import UUID

import msgspec

from engine.chain import (
    ANNOUNCE_HEAD,
    GENESIS,
    LIST_HEADS,
    LOCK_HEAD,
    NO_TENANT,
    SIGN_HEAD,
    TAKE_OVER,
    WRITE_HEAD,
    Head,
    Log,
    home_of,
    logs_of,
)
from engine.delivery import Delivery, GuardedUnit, Record
from engine.events import Events
from engine.moment import UnitOfWork
from engine.observe import LOG
from engine.operations import Operations
from engine.store import Database, Lease
from engine.types import ENGINE, TenantRef

BATCH = 1000
# records of one turn from which on writes come fast, and are gathered longer: a turn costs as much as 200 records
BUSY = 50
# seconds: how long writes are gathered, and when they come fast; how long nothing may be heard before the log is looked at;
# between sweeps over all tenants; between attempts to become the one that relays; after a failure
GATHER, GATHER_BUSY, LOOK, SWEEP, ATTEMPT, RECOVER = 0.05, 0.25, 1.0, 600.0, 2.0, 1.0
# seconds between sweeps behind a transaction pooler, where nothing is heard from other processes
DEAF_SWEEP = 15.0
EVERYBODY = "*"
TURN = "select pg_try_advisory_xact_lock(hashtextextended($1, 0)) as mine"
# stands where no signature can be given
UNSOUND = ""
Hint = TenantRef | None
# there may be more at once; some has to wait; nothing is left; it did not work
Outcome = Literal["more", "later", "done", "failed"]


def _ending() -> bool:
    """Whether somebody cancelled this task, whatever became of that on its way up."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class LogRelay:
    """Relays one change log."""

    def __init__(self, operations: Operations, log: Log, database: Database, events: Sequence[Events]) -> None:
        self.operations, self.log, self.database = operations, log, database
        self.shop = operations.shop
        roles = self.shop.catalog.roles
        written = (
            r for r in self.shop.catalog.resources.values() if roles.get((r.scope.name, "change_log")) is log.resource
        )
        self.delivery = Delivery(events, {resource.key: resource.scope.name for resource in written})
        self.home = home_of(self.shop.catalog) or log.resource.scope.name
        self.woken = asyncio.Event()
        self.hints: dict[UUID, Hint] = {}
        self.failing: set[UUID] = set()
        self.everybody = True
        # records that the last batch had
        self.found = 0

    @property
    def scope(self) -> str:
        """The scope of the log."""
        return self.log.resource.scope.name

    def wake(self, tenant: Hint) -> None:
        """Something was written."""
        if self.log.bound and tenant is None:
            return
        self.hints[tenant.id if tenant and self.log.bound else NO_TENANT] = tenant if self.log.bound else None
        self.woken.set()

    def hear(self, text: str) -> None:
        """A hint of another process."""
        if text == EVERYBODY:
            self.everybody = True
            self.woken.set()
        else:
            self.wake(msgspec.json.decode(text, type=TenantRef | None))

    async def run(self) -> None:
        """Relay, or wait for the turn to; until cancelled."""
        with suppress(Exception):
            await self.database.tell(self.log.name, [EVERYBODY])
        failing = False
        while True:
            try:
                lease = await self.database.elect(self.log.name, self.hear)
                if lease is not None:
                    try:
                        await self._lead(lease)
                    finally:
                        await lease.release()
                else:
                    await self._follow()
                failing = False
            except Exception as error:
                if _ending():
                    raise
                if not failing:
                    LOG.error("relay interrupted", log=self.log.name, cause=repr(error)[:500])
                failing = True
                await asyncio.sleep(RECOVER)

    async def _follow(self) -> None:
        """Pass hints on to whoever relays, until it is time to ask for the lease again."""
        until = asyncio.get_running_loop().time() + ATTEMPT
        while (left := until - asyncio.get_running_loop().time()) > 0:
            await self._heard(left)
            await self.pass_on()

    async def pass_on(self) -> None:
        """Tell whoever relays what was written here."""
        hints, self.hints = self.hints, {}
        if hints:
            try:
                await self.database.tell(self.log.name, [msgspec.json.encode(hint).decode() for hint in hints.values()])
            except BaseException:
                self.hints = hints | self.hints
                raise

    async def _heard(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.woken.wait()
                await asyncio.sleep(GATHER_BUSY if self.found > BUSY else GATHER)
        self.woken.clear()

    async def _lead(self, lease: Lease) -> None:
        """Relay whatever is hinted at, as long as the lease holds."""
        loop = asyncio.get_running_loop()
        swept = asked = loop.time()
        self.everybody = True
        while True:
            if self.everybody or loop.time() - swept > (SWEEP if lease.hears else DEAF_SWEEP):
                self.everybody, swept = False, loop.time()
                await self._sweep()
            hints, self.hints = self.hints, {}
            outcomes = {key: await self._attempt(tenant) for key, tenant in hints.items()}
            self.hints |= {key: hints[key] for key, outcome in outcomes.items() if outcome != "done"}
            if "failed" in outcomes.values():
                await asyncio.sleep(RECOVER)
            elif "more" not in outcomes.values():
                await self._heard(GATHER if self.hints else LOOK)
            if not self.log.bound:
                self.hints[NO_TENANT] = None
            if loop.time() - asked > ATTEMPT:
                asked = loop.time()
                if not await lease.holds():
                    return

    async def _attempt(self, tenant: Hint) -> Outcome:
        """A batch; what fails in one tenant's log does not stop the others, and is logged once until it works again."""
        key = tenant.id if tenant else NO_TENANT
        try:
            outcome = await self._batch(tenant)
        except Exception as error:
            if key not in self.failing:
                LOG.error("relay failed", log=self.log.name, tenant=str(key), cause=repr(error)[:500])
            self.failing.add(key)
            return "failed"
        self.failing.discard(key)
        return outcome

    async def _sweep(self) -> None:
        """Find the tenants with records to relay."""
        if not self.log.bound:
            self.wake(None)
            return
        identity = self.shop.catalog.identity
        if identity is None:
            return
        async with UnitOfWork(self.operations, identity.scope, ENGINE) as unit:
            tenants = await identity.all_tenants(unit)
        database = self.shop.databases[self.scope]
        for tenant in tenants:
            if await database.run(tenant.id, self.log.any_unsealed, [tenant.id]):
                self.wake(tenant)

    # -- one batch

    async def _batch(self, tenant: Hint) -> Outcome:
        """Relay the oldest records of a log."""
        known = tenant.id if tenant else None
        if not await self.shop.databases[self.scope].run(known, self.log.any_unsealed, [known]):
            return "done"
        unit = GuardedUnit(self.operations, self.scope, replace(ENGINE, tenant=tenant))
        head: Head | None = None
        async with unit:
            assert unit.connection is not None
            turn = await unit.connection.fetch(TURN, [f"cxg relay {self.log.name} {known or NO_TENANT}"])
            if not turn[0]["mine"]:
                return "later"
            found = await self._unsealed(unit, known)
            self.found = len(found)
            records = self.delivery.read(found)
            done = await self.delivery.hand_out(unit, records)
            finished = done.finished(records)
            if finished:
                head = await self._seal(unit, known, finished)
        self.delivery.keep(done, finished)
        await unit.after_commit()
        if head is not None and self.home != self.scope:
            await self.shop.databases[self.home].run(None, TAKE_OVER, [self.log.name, known or NO_TENANT, head.seal])
        if len(found) >= BATCH:
            return "more"
        return "done" if found and len(finished) == len(records) else "later"

    async def _unsealed(self, unit: UnitOfWork, tenant: UUID | None) -> list[Any]:
        """The oldest records; of a full batch also all others of its rows, since an earlier version may have the later id."""
        assert unit.connection is not None
        held = self.delivery.waiting()
        found = await unit.connection.fetch(self.log.unsealed, [tenant, held, BATCH])
        if len(found) == BATCH:
            rows = list({record["entity_id"] for record in found if record["entity_id"] is not None})
            ids = [record["id"] for record in found]
            found = [*found, *await unit.connection.fetch(self.log.unsealed_of, [tenant, rows, ids])]
        return found

    async def _seal(self, unit: UnitOfWork, tenant: UUID | None, records: Sequence[Record]) -> Head:
        """Write the seals, and the head that they lead to: at once beside them, announced where it is kept elsewhere."""
        platform = await unit.in_scope(self.home)
        assert unit.connection is not None and platform.connection is not None
        before, sound = await self._head(unit, platform, tenant)
        head, seals = self.log.seal(before, [record.values for record in records])
        await unit.connection.fetch(self.log.write_seals, [tenant, *seals])
        signature = head.sign(self.shop.vault, self.log.name, tenant) if sound else UNSOUND
        statement = WRITE_HEAD if platform is unit else ANNOUNCE_HEAD
        await platform.connection.fetch(statement, [self.log.name, tenant or NO_TENANT, *head, signature])
        return head

    async def _head(self, unit: UnitOfWork, platform: UnitOfWork, tenant: UUID | None) -> tuple[Head, bool]:
        """Where the log ends, locked, and whether that can be believed. A head that somebody changed or took away is gone on
        from without a signature, so that verification tells of it until an operator has looked."""
        assert unit.connection is not None and platform.connection is not None
        who = [self.log.name, tenant or NO_TENANT]
        stored = await platform.connection.fetch(LOCK_HEAD, who)
        if not stored:
            sealed = await unit.connection.fetch(self.log.counted, [tenant])
            head, sound = Head(sealed[0]["rows"], GENESIS), not sealed[0]["rows"]
            signature = head.sign(self.shop.vault, self.log.name, tenant) if sound else UNSOUND
            await platform.connection.fetch(WRITE_HEAD, [*who, *head, signature])
        else:
            head, sound = await self._resumed(unit, stored[0], tenant)
        if not sound:
            LOG.critical("the head of a change log is not ours", log=self.log.name, tenant=str(who[1]))
        return head, sound

    async def _resumed(self, unit: UnitOfWork, stored: Any, tenant: UUID | None) -> tuple[Head, bool]:
        """The stored head, or the announced one when its batch was committed and nobody was left to take it over."""
        assert unit.connection is not None
        head, signature = Head(stored["rows"], stored["seal"]), stored["signature"]
        announced = stored["pending_seal"]
        if announced and await unit.connection.fetch(self.log.holds, [tenant, announced]):
            head, signature = Head(stored["pending_rows"], announced), stored["pending_signature"]
        return head, head.is_signed(self.shop.vault, self.log.name, tenant, signature)


async def renew_signatures(operations: Operations, prefix: str) -> tuple[int, int]:
    """Sign heads with the current key, whose ciphers begin with `prefix`: how many were renewed, and how many have no signature
    that a known key can read. Those stay as they are."""
    home, signer = home_of(operations.shop.catalog), operations.shop.vault
    if home is None or not logs_of(operations.shop.catalog):
        return 0, 0
    database = operations.shop.databases[home]
    renewed = unreadable = 0
    for log, tenant in await database.run(None, LIST_HEADS, []):
        async with database.transaction(None) as connection:
            [stored] = await connection.fetch(LOCK_HEAD, [log, tenant])
            signatures = [stored["signature"], stored["pending_signature"]]
            if all(signature is None or signature.startswith(prefix) for signature in signatures):
                continue
            heads = [Head(stored["rows"], stored["seal"]), Head(stored["pending_rows"], stored["pending_seal"])]
            for place, (head, signature) in enumerate(zip(heads, signatures, strict=True)):
                if signature is not None and head.is_signed(signer, log, tenant, signature):
                    signatures[place] = head.sign(signer, log, tenant)
                    renewed += 1
                elif signature is not None:
                    unreadable += 1
            await connection.fetch(SIGN_HEAD, [log, tenant, *signatures])
    return renewed, unreadable


class Relay:
    """The relays of every change log that can be sealed, in a serving process or a worker."""

    def __init__(self, operations: Operations, events: Sequence[Events]) -> None:
        catalog = operations.shop.catalog
        logs = {log.name: log for log in logs_of(catalog)} if home_of(catalog) else {}
        self.relays = {
            name: LogRelay(operations, log, operations.shop.databases[log.resource.scope.name], events)
            for name, log in logs.items()
        }
        self.by_scope = {
            scope: self.relays[resource.path]
            for (scope, role), resource in catalog.roles.items()
            if role == "change_log" and resource.path in self.relays
        }
        self.loop: asyncio.AbstractEventLoop | None = None
        self.thread = 0
        self.tasks: list[asyncio.Task[None]] = []

    def wake(self, scope: str, tenant: Hint) -> None:
        """Something was written in a scope, in any thread of this process."""
        relay = self.by_scope.get(scope)
        if relay is None:
            return
        if self.loop is None or threading.get_ident() == self.thread:
            relay.wake(tenant)
        else:
            self.loop.call_soon_threadsafe(relay.wake, tenant)

    async def start(self) -> None:
        """Begin to relay in this event loop."""
        self.loop, self.thread = asyncio.get_running_loop(), threading.get_ident()
        self.tasks = [self.loop.create_task(relay.run()) for relay in self.relays.values()]

    async def stop(self) -> None:
        """End; what was written here since the last batch is told to whoever relays."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.loop, self.tasks = None, []
        for relay in self.relays.values():
            with suppress(Exception):
                await relay.pass_on()
