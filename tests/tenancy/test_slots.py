"""Slots: in the order of asking, for a time, and none is lost."""

from __future__ import annotations

import asyncio

import pytest

from tenancy.slots import Slots

pytestmark = pytest.mark.anyio


async def settle() -> None:
    """Let everybody run who can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_asked_first_is_served_first() -> None:
    slots, served = Slots(2, 5), list[int]()

    async def work(number: int) -> None:
        await slots.take()
        served.append(number)

    tasks = [asyncio.create_task(work(number)) for number in range(5)]
    await settle()
    assert served == [0, 1]
    for expected in ([0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4]):
        slots.give()
        await settle()
        assert served == expected
    for _ in range(2):
        slots.give()
    await asyncio.gather(*tasks)
    assert slots.free == 2 and not slots.waiting
    slots.close()


async def test_each_waits_as_long_as_it_may() -> None:
    slots, loop = Slots(1, 0.1), asyncio.get_running_loop()
    await slots.take()

    async def patience(pause: float) -> float:
        await asyncio.sleep(pause)
        start = loop.time()
        with pytest.raises(TimeoutError):
            await slots.take()
        return loop.time() - start

    times = await asyncio.gather(patience(0), patience(0.05))
    assert all(0.09 < waited < 0.4 for waited in times)
    slots.give()
    assert slots.free == 1 and not slots.waiting and slots.timer is None


@pytest.mark.parametrize("given", [False, True], ids=["while it waits", "as it is given"])
async def test_a_slot_is_not_lost_with_who_is_cancelled(given: bool) -> None:
    slots = Slots(1, 5)
    await slots.take()
    first, second = (asyncio.create_task(slots.take()) for _ in range(2))
    await settle()
    if given:
        slots.give()
        first.cancel()
    else:
        first.cancel()
        slots.give()
    await settle()
    assert first.cancelled() and second.done() and not second.cancelled()
    slots.give()
    assert slots.free == 1
    slots.close()
