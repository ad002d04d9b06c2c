"""A hook that reaches for another tenant's rows finds none, changes none, and harms nobody else."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
import structlog

from engine.testing.harness import Live, serving, settings_for_tests
from tests.calls import Body, Caller

NOTES = "intr/intr/notes"


@pytest.fixture(scope="module", params=[True, False], ids=["both walls", "row security alone"])
def intruded(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Live]:
    settings = settings_for_tests(tmp_path_factory.mktemp("intruder"))
    with serving(settings, ["registry", "tests.isolation.intruder"]) as live:
        live.system.operations.shop.reads.walled = request.param
        live.system.operations.shop.writes.walled = request.param
        yield live


@pytest.fixture
def target(intruded: Live) -> Body:
    """A row of the other tenant."""
    return Caller(intruded.other_tenant()).make(NOTES, text="theirs")


def asked(intruded: Live, target: Body, what: str) -> Body:
    victim = str(intruded.tenant(intruded.other_tenant()))
    return {"text": what, "target_id": target["id"], "victim_id": victim}


@pytest.mark.parametrize("what", ["select", "list", "update", "delete"])
def test_a_hook_finds_no_row_of_another_tenant(intruded: Live, target: Body, what: str) -> None:
    mine = Caller(intruded.client("intr")).make(NOTES, **asked(intruded, target, what))
    assert mine["seen"] == 0
    assert Caller(intruded.other_tenant()).get(NOTES, target["id"]) == target


def test_a_hook_that_plants_a_row_is_rolled_back_and_named(
    intruded: Live, target: Body, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = io.StringIO()
    monkeypatch.setattr("engine.observe.LOG", structlog.wrap_logger(structlog.PrintLogger(log)))
    me, other = Caller(intruded.client("intr")), Caller(intruded.other_tenant())
    before, theirs = len(me.list(NOTES)), len(other.list(NOTES))
    me.expect_refusal("404:not_found", "POST", NOTES, asked(intruded, target, "create"))
    assert (len(me.list(NOTES)), len(other.list(NOTES))) == (before, theirs)
    assert "row security refused" in log.getvalue() and "INTR-1" in log.getvalue()
    assert other.make(NOTES, text="untouched")["text"] == "untouched"
