"""A server of its own, since stories count document numbers from 1; people to call as; a clock that can stand still."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.testing.harness import Live, serving, settings_for_tests
from tests.calls import freeze, world

__all__ = ["freeze", "live", "world"]


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The bundled registry, served for the stories alone."""
    with serving(settings_for_tests(tmp_path_factory.mktemp("stories"))) as running:
        yield running
