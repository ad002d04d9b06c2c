"""A worker for registries in which no entity keeps jobs: each handler runs at the times of its cadence, and the log tells.

Of the workers over one database one leads and does all of the work. What was due while none ran is not made up for, and a
handler that is still running when its next time comes misses that one.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

from engine.clock import CLOCK
from engine.hands import Hands, Presence
from engine.jobs import Handler, next_time
from engine.observe import LOG
from engine.operations import Operations
from engine.runner import JobFailed, told_of


class Clockwork(Hands[str]):
    """One such worker; what it has in hand are handlers by their names."""

    def __init__(self, operations: Operations, presence: Presence, slots: int) -> None:
        super().__init__(operations, presence, slots)
        self.next: dict[str, datetime] = {}

    async def beat(self) -> None:
        """Be alive, lead if nobody does, and run what is due."""
        if not await self.presence.keep():
            # another one may lead by now
            self.let_go(set(self.in_hand))
            self.next.clear()
        if self.stopping:
            await self.presence.resign()
        elif await self.presence.leads():
            self._take(CLOCK.now())
        else:
            self.next.clear()

    def _take(self, now: datetime) -> None:
        for name, handler in self.handlers.items():
            due = self.next.setdefault(name, next_time(handler.cron, "UTC", now))
            if due > now or (len(self.in_hand) >= self.slots and name not in self.in_hand):
                continue
            self.next[name] = next_time(handler.cron, "UTC", now)
            if name in self.in_hand:
                LOG.warning("job is still running, so this time is left out", job=name, due=due.isoformat())
                continue
            self.in_hand[name] = asyncio.create_task(self._carry_out(handler, due))

    async def _carry_out(self, handler: Handler, due: datetime) -> None:
        told = {"job": handler.name, "due": due.isoformat()}
        try:
            async with asyncio.timeout(handler.timeout):
                output = await self.runner.run(handler, due)
            LOG.info("job done", **told, output=output)
        except JobFailed as failed:
            LOG.error("job failed", **told, output=failed.output, message=str(failed))
        except TimeoutError:
            LOG.error("job failed", **told, code="timed_out", message=f"it took longer than {handler.timeout} seconds")
        except asyncio.CancelledError:
            LOG.error("job failed", **told, code="stopped", message="the worker was stopped, or lost its lead")
        except Exception as error:
            LOG.error("job failed", **told, **told_of(error), exc_info=error)
        finally:
            self.done_with(handler.name)
