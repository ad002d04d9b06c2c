"""People to call as, and a clock that can stand still."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

import pytest

from engine.clock import CLOCK
from engine.testing.harness import Live
from tests.calls import World


@pytest.fixture(scope="session")
def world(live: Live) -> World:
    """The live server with its people."""
    return World(live)


@pytest.fixture
def freeze() -> Iterator[Callable[[datetime | None], None]]:
    """Stop the server's clock at a moment; it runs again after the test."""
    yield CLOCK.at
    CLOCK.at(None)
