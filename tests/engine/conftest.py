"""A real database for tests of single stages: the tables of `tests.engine.wares` on the session's server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy.schema import CreateIndex, CreateTable

from engine.sql.parts import DIALECT
from engine.testing.harness import Live, serving, settings_for_tests
from tests.engine.wares import SCOPE


class Bench:
    """One connection as the owner, used from plain functions."""

    def __init__(self, runner: asyncio.Runner, connection: Any) -> None:
        self.runner, self.connection = runner, connection

    def rows(self, text: str, *arguments: Any) -> list[Any]:
        """Rows of one statement."""
        return list(self.runner.run(self.connection.fetch(text, *arguments)))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def bench(live: Live) -> Iterator[Bench]:
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(live.system.places["manager"].owner, ssl=False))
        ready = Bench(runner, connection)
        ready.rows("create schema shop")
        for table in SCOPE.metadata.sorted_tables:
            ready.rows(str(CreateTable(table).compile(dialect=DIALECT)))
            for index in table.indexes:
                ready.rows(str(CreateIndex(index).compile(dialect=DIALECT)))
        yield ready
        runner.run(connection.close())


@pytest.fixture(scope="module")
def annals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server of `tests.engine.annals`."""
    with serving(settings_for_tests(tmp_path_factory.mktemp("annals")), ["registry", "tests.engine.annals"]) as live:
        yield live


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A live server with the market of `tests.equivalence.market` beside the bundled registry."""
    with serving(
        settings_for_tests(tmp_path_factory.mktemp("market")), ["registry", "tests.equivalence.market"]
    ) as live:
        yield live
