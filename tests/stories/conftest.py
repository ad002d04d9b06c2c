"""A server of its own, since stories count document numbers from 1; people to call as; a clock that can stand still."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

import pytest

from engine.clock import CLOCK
from engine.testing.harness import Live, serving, settings_for_tests
from tests.calls import World


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The bundled registry, served for the stories alone."""
    with serving(settings_for_tests(tmp_path_factory.mktemp("stories"))) as running:
        yield running


@pytest.fixture(scope="session")
def world(live: Live) -> World:
    """The live server with its people."""
    return World(live)


@pytest.fixture
def freeze() -> Iterator[Callable[[datetime | None], None]]:
    """Stop the server's clock at a moment; it runs again after the test."""
    yield CLOCK.at
    CLOCK.at(None)
