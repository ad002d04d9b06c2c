"""Transfers in hand: a few at a time, each a task of its own that tells once a second how far it is.

A process that ends takes its transfers with it: stopped in order it says so, killed it is not heard of any more. Either way they
are `failed` with the code `interrupted`; an import is one transaction, of which nothing stays then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

from engine.encode import error_of
from engine.errors import ApiError, generic
from engine.moment import Workshop
from engine.observe import LOG
from engine.store import translate
from engine.transfers.ledger import Ledger, Outcome, Overtaken, Transfer

# at once, and those that wait; each holds a connection while it runs, and an import a file while it waits
SLOTS, MOST = 2, 16
BEAT_SECONDS = 1.0
# carries a transfer out; what it returns is told of it, None = it was told already
Work = Callable[[Transfer], Awaitable[Outcome | None]]


class Carrier:
    """Those of one process."""

    def __init__(self, shop: Workshop) -> None:
        self.shop, self.ledger = shop, Ledger(shop)
        self.slots = asyncio.Semaphore(SLOTS)
        self.tasks: dict[UUID, asyncio.Task[None]] = {}

    def require_room(self) -> None:
        """429 when too many wait."""
        if len(self.tasks) >= MOST:
            raise generic(
                "rate_limited", "Too many imports and exports are under way here", headers={"Retry-After": "30"}
            )

    def begin(self, transfer: Transfer, work: Work, request_id: str) -> None:
        """Carry out a transfer that is written down."""
        self.tasks[transfer.id] = asyncio.create_task(self._carry(transfer, work, request_id))

    def cancel(self, key: UUID) -> None:
        """End one, if it is in hand here."""
        if key in self.tasks:
            self.tasks[key].cancel()

    async def stop(self) -> None:
        """End all of them."""
        tasks = list(self.tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry(self, transfer: Transfer, work: Work, request_id: str) -> None:
        task = asyncio.current_task()
        assert task is not None, "it is one"
        beat = asyncio.create_task(self._beat(transfer, task))
        try:
            async with self.slots:
                await self.ledger.start(transfer)
                outcome = await work(transfer)
                if outcome is not None:
                    await self.ledger.end(transfer, "done" if outcome.error is None else "failed", outcome)
        except asyncio.CancelledError:
            # one that was canceled by its caller is over already
            await self._fail(transfer, generic("interrupted"), request_id)
        except Overtaken:
            pass
        except Exception as error:
            refusal = translate(error, transfer.resource, writing=transfer.kind == "import")
            if refusal.status >= 500:
                LOG.error(f"{transfer.kind} failed", code=refusal.code, request_id=request_id, cause=repr(error)[:500])
            await self._fail(transfer, refusal, request_id)
        finally:
            beat.cancel()
            transfer.close()
            self.tasks.pop(transfer.id, None)

    async def _fail(self, transfer: Transfer, refusal: ApiError, request_id: str) -> None:
        try:
            await self.ledger.end(transfer, "failed", Outcome(error=error_of(refusal, request_id)))
        except Overtaken:
            return
        except Exception as broken:  # it will be given up for lost
            LOG.error("the end of a transfer cannot be written down", request_id=request_id, cause=repr(broken)[:500])

    async def _beat(self, transfer: Transfer, task: asyncio.Task[None]) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                await self.ledger.seen(transfer)
            except Overtaken:
                task.cancel()
                return
            except Exception as error:
                LOG.warning("a transfer cannot say that it goes on", cause=repr(error)[:200])
