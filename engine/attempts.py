"""A part of a transaction that may fail by itself: what it wrote is undone, the rest stands."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from engine.store import Connection

if TYPE_CHECKING:
    from engine.moment import UnitOfWork

MARK = "cxg_attempt"


@asynccontextmanager
async def attempt(unit: UnitOfWork) -> AsyncIterator[None]:
    """Savepoints in every database that the unit has reached. RuntimeError when the block reaches one more and fails: open
    it before."""
    begun, remembered = _reached(unit), len(unit.done)
    await _send(begun, f"savepoint {MARK}")
    try:
        yield
    except Exception as error:
        if len(_reached(unit)) > len(begun):
            raise RuntimeError("an attempt failed that opened a transaction elsewhere; open it before") from error
        await _send(begun, f"rollback to savepoint {MARK}")
        await _send(begun, f"release savepoint {MARK}")
        del unit.done[remembered:]
        for shared in unit.shared.values():
            shared.tenant = None  # the binding went back as well
        raise
    await _send(begun, f"release savepoint {MARK}")


def _reached(unit: UnitOfWork) -> list[Connection]:
    assert unit.connection is not None, "an attempt is inside a transaction"
    others = [other.connection for other in unit.elsewhere.values() if other.connection is not None]
    return [unit.connection, *others, *(shared.connection for shared in unit.shared.values())]


async def _send(connections: list[Connection], text: str) -> None:
    for connection in connections:
        await connection.fetch(text, ())
