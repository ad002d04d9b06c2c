"""A process that relays and does nothing else, for a test to kill. Settings come from the environment."""

from __future__ import annotations

import asyncio

from engine.main import System
from engine.settings import Settings


async def relay() -> None:
    """Until killed."""
    system = System(Settings())
    system.locate()
    assert system.operations.shop and system.relay is not None
    await system.relay.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(relay())
