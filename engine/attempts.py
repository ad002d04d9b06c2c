"""A part of a transaction that may fail by itself: what it wrote is undone, the rest stands."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from engine.observe import Observer
from engine.store import Connection

if TYPE_CHECKING:
    from engine.moment import UnitOfWork

MARK = "cxg_attempt"


@asynccontextmanager
async def attempt(unit: UnitOfWork) -> AsyncIterator[None]:
    """Savepoints in every database that the unit has reached, and in those that the block reaches."""
    remembered = len(unit.done)
    await _send(reached(unit), f"savepoint {MARK}")
    unit.attempts += 1
    try:
        yield
    except Exception as error:
        Observer.noted(unit.request_id, error)
        await _send(reached(unit), f"rollback to savepoint {MARK}")
        del unit.done[remembered:]
        unit.written.clear()  # some of them may not be any more
        for shared in unit.shared.values():
            shared.tenant = None  # the binding went back as well
        await _end(unit)
        raise
    await _end(unit)


async def join(unit: UnitOfWork, connection: Connection | None) -> None:
    """Take a transaction that was just opened into the attempts that are under way."""
    assert connection is not None, "it was just opened"
    for _ in range(unit.attempts):
        await connection.fetch(f"savepoint {MARK}", ())


async def _end(unit: UnitOfWork) -> None:
    unit.attempts -= 1
    await _send(reached(unit), f"release savepoint {MARK}")


def reached(unit: UnitOfWork) -> list[Connection]:
    """The transactions that the unit has opened, its own first."""
    assert unit.connection is not None, "an attempt is inside a transaction"
    others = [other.connection for other in unit.elsewhere.values() if other.connection is not None]
    return [unit.connection, *others, *(shared.connection for shared in unit.shared.values())]


async def _send(connections: list[Connection], text: str) -> None:
    for connection in connections:
        await connection.fetch(text, ())
