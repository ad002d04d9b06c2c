"""A database of somebody else's on the session's server, and servers over it: reading, writing, with the engine's own schema."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from engine.testing.harness import Live
from tests.engine.reflection.somebody import ask, over

HERE = Path(__file__).parent
SCRIPTS = ("kinds", "trade", "names", "values")
NAME = "somebodys"


Database = Callable[..., str]


@pytest.fixture(scope="session")
def database(live: Live) -> Database:
    """Makes a database out of scripts; gives its URL."""

    def make(name: str, *scripts: str) -> str:
        server = live.system.server
        assert server is not None
        asyncio.run(server.ensure_database(name))
        url = server.url(name, "cxg_owner")
        for script in scripts:
            ask(url, script)
        return url

    return make


@pytest.fixture(scope="session")
def url(database: Database) -> str:
    """The three schemas in one database."""
    return database(NAME, *((HERE / f"{script}.sql").read_text() for script in SCRIPTS))


@pytest.fixture(scope="session")
def written(database: Database) -> str:
    """The same once more, to be written in."""
    return database(f"{NAME}_written", *((HERE / f"{script}.sql").read_text() for script in SCRIPTS))


@pytest.fixture(scope="session")
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture(scope="session")
def reading(live: Live, url: str, stack: ExitStack) -> Live:
    """Served as it is by default."""
    return stack.enter_context(over(live, url))


@pytest.fixture(scope="session")
def writing(live: Live, written: str, stack: ExitStack) -> Live:
    """Served with `--write`."""
    return stack.enter_context(over(live, written, write=True))
