"""A database of somebody else's, asked past the engine, and servers over it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
from pydantic import SecretStr

from engine.main import System
from engine.testing.harness import Live, served


def ask(url: str, text: str, *arguments: Any, **settings: str) -> list[Any]:
    """Rows of a statement, or a script without arguments, as the database's owner."""

    async def run() -> list[Any]:
        connection = await asyncpg.connect(url, ssl=False, server_settings={"TimeZone": "UTC", **settings})
        try:
            if arguments or text.lstrip()[:6].lower() == "select":
                return list(await connection.fetch(text, *arguments))
            await connection.execute(text)
            return []
        finally:
            await connection.close()

    return asyncio.run(run())


@contextmanager
def over(live: Live, url: str, **options: Any) -> Iterator[Live]:
    """A server of the bundled registry with the database beside it, at `/shop`."""
    given = {"database": SecretStr(url), "scope": "shop", **options}
    system = System(live.system.settings.model_copy(update=given))
    system.server = live.system.server
    system.locate()
    assert system.reflected is not None
    asyncio.run(system.reflected.make_schema())
    with served(system) as running:
        yield running
