"""What workers have in common: they look for work every second, hold some in hand, and finish it before they end."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable
from typing import Generic, Protocol, TypeVar

from engine.observe import LOG
from engine.operations import Operations
from engine.runner import Runner, told_of

POLL_SECONDS = 1.0
# seconds to wait after a beat that failed, as when the database is away
PAUSE_SECONDS = 2.0
Key = TypeVar("Key", bound=Hashable)


class Presence(Protocol):
    """How workers know of each other."""

    name: str

    async def keep(self) -> bool:
        """Make sure that this worker counts as alive; False when it did not for a while."""

    async def leads(self) -> bool:
        """Whether this worker is the leader; it becomes the leader when there is none."""

    async def gone(self, names: Collection[str]) -> set[str]:
        """Those of the workers that are not alive."""

    async def resign(self) -> None:
        """Let another worker lead."""

    async def close(self) -> None:
        """Count as alive no longer."""


class Hands(ABC, Generic[Key]):
    """Work in hand, by a key. `slots`: pieces of work at the same time."""

    def __init__(self, operations: Operations, presence: Presence, slots: int) -> None:
        self.operations, self.presence, self.slots = operations, presence, slots
        self.runner = Runner(operations)
        self.handlers = operations.shop.handlers
        self.in_hand: dict[Key, asyncio.Task[None]] = {}
        self.lost: set[Key] = set()
        self.stopping = False
        self.wake = asyncio.Event()

    @abstractmethod
    async def beat(self) -> None:
        """What happens every second."""

    def stop(self) -> None:
        """Take no more and end when what is in hand is done; asked again, end that too, as failed."""
        if self.stopping:
            for task in self.in_hand.values():
                task.cancel("stopped")
        self.stopping = True
        self.wake.set()

    async def work(self) -> None:
        """Until `stop`."""
        try:
            while not self.stopping or self.in_hand:
                pause = POLL_SECONDS
                try:
                    await self.beat()
                except Exception as error:
                    LOG.error("worker cannot go on for now", worker=self.presence.name, **told_of(error))
                    pause = PAUSE_SECONDS
                await self._rest(pause)
        finally:
            for task in self.in_hand.values():
                task.cancel("stopped")
            await asyncio.gather(*self.in_hand.values(), return_exceptions=True)
            await self.presence.close()

    async def _rest(self, seconds: float) -> None:
        self.wake.clear()
        if self.stopping and not self.in_hand:
            return
        try:
            async with asyncio.timeout(seconds):
                await self.wake.wait()
        except TimeoutError:
            return

    def let_go(self, keys: Collection[Key]) -> None:
        """End what another worker may have taken up."""
        for key in set(keys) & self.in_hand.keys() - self.lost:
            self.lost.add(key)
            self.in_hand[key].cancel("taken away")

    def done_with(self, key: Key) -> None:
        """It is in hand no more."""
        self.lost.discard(key)
        self.in_hand.pop(key, None)
        self.wake.set()
