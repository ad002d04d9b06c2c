"""One live server a test process: PostgreSQL, both databases, the bundled registry."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from engine.testing.harness import Live, serving, settings_for_tests
from tests.mutation.switch import VARIABLE, Switch, switch_off

if VARIABLE in os.environ:
    switch_off(Switch.read(os.environ[VARIABLE]))


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The bundled registry, served. Tests make rows of their own and do not rely on others'."""
    with serving(settings_for_tests(tmp_path_factory.mktemp("cxg"))) as running:
        yield running
