"""A bounded number of slots, handed out in the order of asking."""

from __future__ import annotations

import asyncio
from collections import deque


class Slots:
    """`size` slots; who waits longer than `seconds` for one gets a TimeoutError. One timer for all who wait: `asyncio.timeout`
    around each costs 3 us a request as soon as there are more callers than slots."""

    def __init__(self, size: int, seconds: float) -> None:
        self.free, self.seconds = size, seconds
        # when each gives up, in the loop's seconds; all wait equally long, so the first gives up first
        self.waiting: deque[tuple[float, asyncio.Future[None]]] = deque()
        self.timer: asyncio.TimerHandle | None = None

    async def take(self) -> None:
        """Have a slot."""
        if self.free:  # then nobody waits
            self.free -= 1
        else:
            await self._wait()

    def give(self) -> None:
        """Give a slot back: it goes to whoever has waited longest."""
        while self.waiting:
            turn = self.waiting.popleft()[1]
            if not turn.done():
                turn.set_result(None)
                return
        self.free += 1

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        until = loop.time() + self.seconds
        self.waiting.append((until, turn))
        if self.timer is None:
            self.timer = loop.call_at(until, self._give_up)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.give()  # it came at the moment of the cancellation
            raise

    def _give_up(self) -> None:
        """Those whose time is over, and when to look again."""
        loop = asyncio.get_running_loop()
        while self.waiting and (self.waiting[0][0] <= loop.time() or self.waiting[0][1].done()):
            turn = self.waiting.popleft()[1]
            if not turn.done():
                turn.set_exception(TimeoutError())
        self.timer = loop.call_at(self.waiting[0][0], self._give_up) if self.waiting else None

    def close(self) -> None:
        """Watch nobody's time any more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
