"""Handlers of jobs: how they are declared, and one run of a handler over a real database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from engine.errors import ConflictError, NotFoundError, generic
from engine.jobs import CADENCES, Jobs, cron_fault, last_time, next_time
from engine.moment import UnitOfWork
from engine.operations import Operations
from engine.runner import JobFailed, Runner
from engine.testing.harness import Live, serving, settings_for_tests
from engine.types import ENGINE
from tests.calls import Caller

NOW = datetime(2031, 3, 5, 9, 30, tzinfo=UTC)
SCHEDULE = {"handler": "three_steps", "schedule_kind": "interval", "interval_seconds": 60}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture(scope="module")
def chores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with serving(settings_for_tests(tmp_path_factory.mktemp("chores")), ["registry", "tests.engine.chores"]) as live:
        yield live


def run(live: Live, name: str, **payload: Any) -> dict[str, Any]:
    """The output of a handler that is given a payload."""

    async def work(operations: Operations) -> dict[str, Any]:
        return await Runner(operations).run(operations.shop.handlers[name], NOW, payload=payload)

    output: dict[str, Any] = live.beside.run(work)
    return output


def marks(live: Live, job: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = Caller(live.client("chore")).list("chore/chore/marks", f"filter[job]={job}")
    return rows


@pytest.mark.parametrize("word", CADENCES)
def test_cadence_words_are_cron_texts(word: str) -> None:
    jobs = Jobs("manager")

    @jobs.on("sweep", word)
    async def sweep(_job: Any) -> None:
        """Sweeps.

        More."""

    [handler] = jobs.handlers
    assert handler.cron == CADENCES[word] and cron_fault(handler.cron) is None
    assert handler.description == "Sweeps."


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("* * * * * *", "five fields"),
        ("61 * * * *", "minute"),
        ("* * 30 2 *", "day"),
        ("* * * * MON#9", "day-of-week"),
        ("x * * * *", "minute"),
    ],
)
def test_a_wrong_cron_text_is_told(cron: str, words: str) -> None:
    fault = cron_fault(cron)
    assert fault is not None and words in fault


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        ("0 0 * * *", "UTC", "2026-05-01T00:00:00", "2026-05-02T00:00:00"),
        ("0 0 * * *", "UTC", "2026-04-30T23:59:59.999", "2026-05-01T00:00:00"),
        ("0 9 * * *", "Europe/Berlin", "2026-05-01T07:30:00", "2026-05-02T07:00:00"),
        # 02:30 does not exist on this day in Berlin: it comes when clocks have gone on
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00", "2026-03-29T01:00:00"),
        # 02:30 comes twice on this day: once
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00", "2026-10-26T01:30:00"),
        ("0 0 29 2 *", "UTC", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
    ],
)
def test_the_next_time_of_a_cron_text(cron: str, zone: str, after: str, expected: str) -> None:
    assert next_time(cron, zone, at(after)) == at(expected)


@pytest.mark.parametrize(
    ("cron", "zone", "until", "expected"),
    [
        ("0 0 * * *", "UTC", "2026-05-01T00:00:00", "2026-05-01T00:00:00"),
        ("0 0 * * *", "UTC", "2026-05-01T00:00:00.5", "2026-05-01T00:00:00"),
        ("0 0 * * *", "UTC", "2026-05-01T23:59:59", "2026-05-01T00:00:00"),
        ("0 9 * * *", "Europe/Berlin", "2026-05-01T06:59:59", "2026-04-30T07:00:00"),
    ],
)
def test_the_last_time_of_a_cron_text(cron: str, zone: str, until: str, expected: str) -> None:
    assert last_time(cron, zone, at(until)) == at(expected)


def test_the_last_time_is_the_one_before_the_next() -> None:
    for minutes in range(0, 3000, 7):
        until = at("2026-03-28T00:00:00") + timedelta(minutes=minutes)
        last = last_time("15 */2 * * *", "Europe/Berlin", until)
        assert last <= until < next_time("15 */2 * * *", "Europe/Berlin", last)


def test_a_failed_step_is_undone_noted_and_not_the_end(chores: Live) -> None:
    output = run(chores, "three_steps")
    assert sorted(row["label"] for row in marks(chores, "three_steps")) == ["one", "three"]
    assert (output["steps"], output["failed"], output["tried"], output["note"]) == (3, 1, 3, "all three were tried")
    # what failed is named, never with a value of a row
    assert output["failures"] == [{"step": "two", "code": "internal_error", "message": "KeyError"}]


def test_a_failed_transaction_ends_the_run(chores: Live) -> None:
    with pytest.raises(ConflictError, match="as it was told to"):
        run(chores, "leave_mark", fails=True)


def test_a_run_stands_at_its_time_in_every_scope(chores: Live) -> None:
    output = run(chores, "across_scopes")
    assert output["clocks"] == [NOW.isoformat()] * 2 and output["today"] == "2031-03-05"
    run(chores, "leave_mark")
    [mark] = marks(chores, "leave_mark")
    assert mark["run_for"] == mark["created_at"] and mark["created_at"].startswith("2031-03-05T09:30:00")


def test_hooks_after_commit_run_for_jobs_too(chores: Live) -> None:
    assert {row["followed"] for row in marks(chores, "three_steps")} == {True}


def test_a_job_of_tenants_runs_for_each_in_use_and_sees_its_rows_only(chores: Live) -> None:
    first, second = Caller(chores.client("tenants")), Caller(chores.other_tenant())
    mine, theirs = str(uuid4()), str(uuid4())
    first.make("tenants/crm/customers", name=mine)
    second.make("tenants/crm/customers", name=theirs)
    output = run(chores, "count_customers")
    assert mine in output["tenants"]["first"]["names"] and theirs in output["tenants"]["second"]["names"]
    assert theirs not in output["tenants"]["first"]["names"] and mine not in output["tenants"]["second"]["names"]
    assert output["customers"] == sum(told["customers"] for told in output["tenants"].values())


def test_a_tenant_that_fails_does_not_keep_the_others_from_their_run(chores: Live) -> None:
    with pytest.raises(JobFailed, match="count_customers failed for first") as failure:
        run(chores, "count_customers", fails_for="first")
    output = failure.value.output
    assert "second" in output["tenants"] and "first" not in output["tenants"]
    [told] = output["tenants_failed"]["first"]["failures"]
    assert told["code"] == "chore_failed"


def test_a_job_runs_for_one_tenant_by_its_slug(chores: Live) -> None:
    assert set(chores.run_job("count_customers", NOW, tenant="second")["tenants"]) == {"second"}
    with pytest.raises(NotFoundError, match="No tenant in use"):
        chores.run_job("count_customers", NOW, tenant="nobody")


@pytest.mark.parametrize(("status", "runs"), [("suspended", True), ("closing", False)])
def test_a_suspended_tenant_is_worked_for_a_closing_one_is_not(chores: Live, status: str, runs: bool) -> None:
    chores.run_sql("manager", "update tnnt.tenants set status = $1 where slug = 'second'", status)
    try:
        assert ("second" in run(chores, "count_customers")["tenants"]) is runs
    finally:
        chores.run_sql("manager", "update tnnt.tenants set status = 'active' where slug = 'second'")


def test_a_day_is_a_day_of_the_tenant(chores: Live) -> None:
    zone = "update tnnt.tenants set timezone = $1 where slug = 'second'"
    chores.run_sql("manager", zone, "Pacific/Auckland")
    try:
        output = chores.run_job("count_customers", datetime(2031, 3, 5, 20, tzinfo=UTC))
        assert [output["tenants"][slug]["today"] for slug in ("first", "second")] == ["2031-03-05", "2031-03-06"]
    finally:
        chores.run_sql("manager", zone, "UTC")


def test_an_attempt_fails_by_itself(chores: Live) -> None:
    async def work(operations: Operations) -> None:
        async with UnitOfWork(operations, "chore", ENGINE) as unit:
            other = await unit.in_scope("manager")
            await unit.create("chore.marks", [{"job": "attempt", "run_for": NOW, "label": "before"}])
            with pytest.raises(NotFoundError):
                async with unit.attempt():
                    await unit.create("chore.marks", [{"job": "attempt", "run_for": NOW, "label": "undone"}])
                    await other.create("auto.jobs", [{"code": "UNDONE", "name": "U", **SCHEDULE}])
                    raise generic("not_found")
            async with unit.attempt():
                await unit.create("chore.marks", [{"job": "attempt", "run_for": NOW, "label": "kept"}])
                await other.create("auto.jobs", [{"code": "KEPT", "name": "K", **SCHEDULE}])

    chores.beside.run(work)
    assert sorted(row["label"] for row in marks(chores, "attempt")) == ["before", "kept"]
    known = Caller(chores.client("manager")).list("manager/auto/jobs", "filter[handler]=three_steps")
    assert "KEPT" in {row["code"] for row in known} and "UNDONE" not in {row["code"] for row in known}


def test_an_attempt_undoes_what_it_wrote_to_a_scope_that_it_opened(chores: Live) -> None:
    async def work(operations: Operations) -> None:
        async with UnitOfWork(operations, "chore", ENGINE) as unit:
            with pytest.raises(NotFoundError):
                async with unit.attempt(), unit.attempt():
                    other = await unit.in_scope("manager")
                    await other.create("auto.jobs", [{"code": "HALF", "name": "H", **SCHEDULE}])
                    raise generic("not_found")
            await other.create("auto.jobs", [{"code": "WHOLE", "name": "W", **SCHEDULE}])

    chores.beside.run(work)
    known = Caller(chores.client("manager")).list("manager/auto/jobs", "filter[handler]=three_steps")
    codes = {row["code"] for row in known}
    assert "WHOLE" in codes and "HALF" not in codes
