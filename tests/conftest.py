"""One live server a test process: PostgreSQL, both databases, the bundled registry."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest

from engine.testing.harness import Live, serving, settings_for_tests
from tests.mutation.switch import VARIABLE, Switch, switch_off

if VARIABLE in os.environ:
    switch_off(Switch.read(os.environ[VARIABLE]))


# the live server, once a test has asked for it
RUNNING: list[Live] = []


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The bundled registry, served. Tests make rows of their own and do not rely on others'."""
    with serving(settings_for_tests(tmp_path_factory.mktemp("cxg"))) as running:
        RUNNING.append(running)
        yield running
        RUNNING.clear()


@pytest.fixture(scope="module", autouse=True)
def callers_are_signed_in() -> None:
    """What the tests of another file did to time has not ended the usual callers' sessions."""
    for running in RUNNING:
        running.sign_in_again()


@pytest.fixture(scope="module", autouse=True)
def what_is_over_is_let_go() -> Iterator[None]:
    """Each catalogue that is loaded is kept from the garbage collector, which is right for a server that loads one."""
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def no_policies_ahead(live: Live) -> None:
    """No policy that other tests left in force for days to come stands in the way of one without an end."""
    live.run_sql("manager", "update audt.policies set is_active = false where status = 'active' and valid_from > now()")
