"""A live server with the sales desk of `tests.engine.desk` beside the bundled registry."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.clock import CLOCK
from engine.testing.harness import Live, serving, settings_for_tests
from engine.types import Principal
from tests.calls import Caller


@pytest.fixture(scope="package")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The server."""
    settings = settings_for_tests(tmp_path_factory.mktemp("desk"))
    with serving(settings, ["registry", "tests.engine.desk"]) as live:
        yield live


@pytest.fixture(scope="package")
def admin(desk: Live) -> Caller:
    """A caller who may do everything."""
    return Caller(desk.client("manager"))


def somebody(desk: Live, *permissions: str) -> Caller:
    """A caller who holds these permissions alone."""
    return Caller(desk.lend(Principal(CLOCK.new_id(), permissions=frozenset(permissions))))
