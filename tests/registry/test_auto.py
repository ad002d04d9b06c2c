"""Behaviour of automation: schedules and their runs, over HTTP and by the scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from engine.moment import UnitOfWork
from engine.operations import Operations
from engine.testing.harness import Live
from engine.types import ENGINE
from tests.calls import Body, Caller, World

JOBS, RUNS = "manager/auto/jobs", "manager/auto/job-runs"
# later than any schedule that the program brings, so that only jobs of these tests are looked at
NOW = datetime(2040, 5, 1, 12, 0, 30, tzinfo=UTC)

Freeze = Callable[[datetime | None], None]


def after(**length: float) -> datetime:
    return NOW + timedelta(**length)


def told(when: datetime) -> str:
    """A time as an answer has it."""
    return when.isoformat()


@pytest.fixture
def admin(world: World, freeze: Freeze) -> Iterator[Caller]:
    """The administrator, at `NOW`; jobs made by the test are gone after it."""
    freeze(NOW)
    before = {row["id"] for row in world.admin.list(JOBS)}
    yield world.admin
    for row in world.admin.list(JOBS):
        if row["id"] not in before:
            world.admin.drop(JOBS, row["id"])


@pytest.fixture
def make(world: World, admin: Caller) -> Callable[..., Body]:
    """A schedule of a handler that does nothing in an empty database."""

    def made(**values: Any) -> Body:
        usual = {"code": world.name("JOB").upper(), "name": "Sweep", "handler": "expire_credentials"}
        kind = {"schedule_kind": "interval", "interval_seconds": 3600}
        return admin.make(JOBS, **{**usual, **(kind if "schedule_kind" not in values else {}), **values})

    return made


def move(live: Live, run: Body, *states: str) -> None:
    """A run goes through states as workers move it."""

    async def work(operations: Operations) -> None:
        for state in states:
            async with UnitOfWork(operations, "manager", ENGINE) as unit:
                await unit.status("auto.job-runs", [UUID(run["id"])], state)

    live.beside.run(work)


def schedule(live: Live, when: datetime) -> None:
    live.run_job("schedule_jobs", when)


def runs(admin: Caller, job: Body) -> list[Body]:
    """Runs of a job, oldest first."""
    return admin.list(RUNS, f"filter[job_id]={job['id']}&sort=scheduled_for,attempt")


def test_a_handler_must_be_registered(admin: Caller) -> None:
    """AUTO-J1: an unknown handler is refused."""
    body = {"code": "NOBODY", "name": "N", "handler": "nobody", "schedule_kind": "cron", "cron": "* * * * *"}
    admin.expect_refusal("422:unknown_handler", "POST", JOBS, body)


@pytest.mark.parametrize(
    "given",
    [
        {"schedule_kind": "cron"},
        {"schedule_kind": "cron", "cron": "* * * *"},
        {"schedule_kind": "cron", "cron": "61 * * * *"},
        {"schedule_kind": "cron", "cron": "0 0 31 2 *"},
        {"schedule_kind": "cron", "cron": "0 0 * * *", "interval_seconds": 60},
        {"schedule_kind": "interval", "cron": "0 0 * * *"},
        {"schedule_kind": "interval", "interval_seconds": 60, "run_at": told(NOW)},
        {"schedule_kind": "once"},
        {"schedule_kind": "once", "run_at": told(NOW), "interval_seconds": 60},
    ],
)
def test_a_schedule_has_exactly_the_field_of_its_kind(admin: Caller, given: Body) -> None:
    """AUTO-J1: exactly the field of schedule_kind is set, and a cron text parses."""
    body = {"code": "WRONG", "name": "N", "handler": "expire_credentials", **given}
    admin.expect_refusal("422:bad_schedule", "POST", JOBS, body)


def test_a_change_of_the_schedule_is_checked_too(admin: Caller, make: Callable[..., Body]) -> None:
    """AUTO-J1: at update as at create; the next time follows."""
    job = make(schedule_kind="cron", cron="0 0 * * *")
    admin.expect_refusal("422:bad_schedule", "PATCH", f"{JOBS}/{job['id']}", {"cron": "x"})
    admin.expect_refusal("422:bad_schedule", "PATCH", f"{JOBS}/{job['id']}", {"interval_seconds": 60})
    assert admin.change(JOBS, job["id"], cron="0 15 * * *")["next_run_at"] == "2040-05-01T15:00:00+00:00"
    assert admin.change(JOBS, job["id"], timezone="Europe/Berlin")["next_run_at"] == "2040-05-01T13:00:00+00:00"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"schedule_kind": "cron", "cron": "0 9 * * *"}, "2040-05-02T09:00:00+00:00"),
        ({"schedule_kind": "cron", "cron": "0 9 * * *", "timezone": "Europe/Berlin"}, "2040-05-02T07:00:00+00:00"),
        ({"schedule_kind": "interval", "interval_seconds": 90}, told(after(seconds=90))),
        ({"schedule_kind": "once", "run_at": "2040-06-01T00:00:00+00:00"}, "2040-06-01T00:00:00+00:00"),
    ],
)
def test_the_next_run_is_computed_in_the_time_zone_of_the_job(
    make: Callable[..., Body], given: Body, expected: str
) -> None:
    """AUTO-J1: next_run_at by kind of schedule."""
    assert make(**given)["next_run_at"] == expected


def test_a_paused_job_has_no_next_run(admin: Caller, make: Callable[..., Body], freeze: Freeze) -> None:
    """AUTO-J1: next_run_at is null while paused, also after a change, and computed anew when the job goes on."""
    job = make()
    assert admin.move(JOBS, job["id"], "paused")["next_run_at"] is None
    assert admin.change(JOBS, job["id"], interval_seconds=7200)["next_run_at"] is None
    freeze(after(days=1))
    assert admin.move(JOBS, job["id"], "active")["next_run_at"] == told(after(days=1, hours=2))


def test_every_handler_has_its_schedule(live: Live, admin: Caller) -> None:
    """The program brings a schedule for each registered handler."""
    known = {row["handler"] for row in admin.list(JOBS)}
    assert set(live.system.operations.shop.handlers) <= known
    [row] = admin.list(JOBS, "filter[code]=RUN_DUNNING")
    assert (row["schedule_kind"], row["cron"], row["status"]) == ("cron", "0 0 * * *", "active")


def test_a_due_job_gets_one_run_for_its_time(live: Live, admin: Caller, make: Callable[..., Body]) -> None:
    """AUTO-J2: one queued run for the scheduled time, however often the scheduler looks."""
    job = make(concurrency="allow")
    schedule(live, after(minutes=59))
    assert runs(admin, job) == []
    for _ in range(2):
        schedule(live, after(minutes=61))
    [run] = runs(admin, job)
    assert (run["status"], run["trigger"], run["attempt"]) == ("queued", "schedule", 1)
    assert run["scheduled_for"] == told(after(hours=1))
    assert admin.get(JOBS, job["id"])["next_run_at"] == told(after(hours=2))


HOURLY = {"schedule_kind": "cron", "cron": "0 * * * *"}
ONCE = {"schedule_kind": "once", "run_at": "2040-05-01T13:00:00+00:00"}


@pytest.mark.parametrize(
    ("given", "times"),
    [
        ({}, (told(after(hours=5)), told(after(hours=6)))),
        (HOURLY, ("2040-05-01T17:00:00+00:00", "2040-05-01T18:00:00+00:00")),
        (ONCE, ("2040-05-01T13:00:00+00:00", None)),
    ],
    ids=["interval", "cron", "once"],
)
def test_missed_times_are_skipped_except_the_last(
    live: Live, admin: Caller, make: Callable[..., Body], given: Body, times: tuple[str, str | None]
) -> None:
    """AUTO-J2: after a long silence one run, for the last time that was missed."""
    job = make(concurrency="allow", **given)
    schedule(live, after(hours=5, minutes=10))
    [run] = runs(admin, job)
    assert (run["scheduled_for"], admin.get(JOBS, job["id"])["next_run_at"]) == times


def test_a_job_that_is_still_running_is_not_queued_again(live: Live, admin: Caller, make: Callable[..., Body]) -> None:
    """AUTO-J2, AUTO-R1: with concurrency forbid a time passes by while a run is queued or running."""
    job = make()
    schedule(live, after(hours=1))
    schedule(live, after(hours=2))
    assert len(runs(admin, job)) == 1
    assert admin.get(JOBS, job["id"])["next_run_at"] == told(after(hours=3))
    move(live, runs(admin, job)[0], "running", "succeeded")
    schedule(live, after(hours=3))
    assert [run["status"] for run in runs(admin, job)] == ["succeeded", "queued"]


def test_paused_and_deleted_jobs_are_not_queued(live: Live, admin: Caller, make: Callable[..., Body]) -> None:
    """AUTO-J2: only active jobs are due."""
    paused, deleted = make(), make()
    admin.move(JOBS, paused["id"], "paused")
    admin.drop(JOBS, deleted["id"])
    schedule(live, after(hours=2))
    assert runs(admin, paused) == [] and runs(admin, deleted) == []


def test_ten_failures_in_a_row_pause_the_job(
    live: Live, admin: Caller, make: Callable[..., Body], freeze: Freeze
) -> None:
    """AUTO-J2: counted by runs that failed or timed out; resuming forgives them."""
    job = make(max_retries=0)
    for place in range(10):
        assert admin.get(JOBS, job["id"])["status"] == "active"
        freeze(after(seconds=place))
        run = admin.make(RUNS, job_id=job["id"])
        move(live, run, "running", "failed" if place % 2 else "timed_out")
        if place == 8:
            schedule(live, NOW)
            assert admin.get(JOBS, job["id"])["status"] == "active"
    schedule(live, NOW)
    row = admin.get(JOBS, job["id"])
    assert (row["status"], row["consecutive_failures"], row["next_run_at"]) == ("paused", 10, None)
    again = admin.move(JOBS, job["id"], "active")
    assert again["consecutive_failures"] == 0 and again["next_run_at"] is not None


def test_a_run_by_hand_is_for_now(admin: Caller, make: Callable[..., Body]) -> None:
    """AUTO-R1: create = run by hand."""
    run = admin.make(RUNS, job_id=make()["id"])
    assert (run["trigger"], run["status"], run["scheduled_for"]) == ("manual", "queued", told(NOW))


@pytest.mark.parametrize("running", [False, True])
def test_forbid_refuses_a_second_run(live: Live, admin: Caller, make: Callable[..., Body], running: bool) -> None:
    """AUTO-R1: beside a queued or running run; one that is over does not count."""
    job = make(concurrency="forbid")
    first = admin.make(RUNS, job_id=job["id"])
    if running:
        move(live, first, "running")
    admin.expect_refusal("409:already_running", "POST", RUNS, {"job_id": job["id"]})
    admin.move(RUNS, first["id"], "canceled")
    assert admin.get(RUNS, first["id"])["finished_at"] == told(NOW)


def test_forbid_counts_runs_of_one_body(admin: Caller, make: Callable[..., Body]) -> None:
    """AUTO-R1: two runs of a job in one request are one too many."""
    job = make(concurrency="forbid")
    admin.expect_refusal("409:already_running", "POST", RUNS, [{"job_id": job["id"]}, {"job_id": job["id"]}])


@pytest.mark.parametrize("running", [False, True])
def test_replace_cancels_the_other_run(
    live: Live, admin: Caller, make: Callable[..., Body], freeze: Freeze, running: bool
) -> None:
    """AUTO-R1: concurrency replace."""
    job = make(concurrency="replace")
    first = admin.make(RUNS, job_id=job["id"])
    if running:
        move(live, first, "running")
    freeze(after(seconds=1))
    second = admin.make(RUNS, job_id=job["id"])
    assert admin.get(RUNS, first["id"])["status"] == "canceled"
    assert admin.get(RUNS, second["id"])["status"] == "queued"


def test_allow_lets_runs_be_side_by_side(admin: Caller, make: Callable[..., Body], freeze: Freeze) -> None:
    """AUTO-R1: concurrency allow."""
    job = make(concurrency="allow")
    admin.make(RUNS, job_id=job["id"])
    freeze(after(seconds=1))
    admin.make(RUNS, job_id=job["id"])
    assert [run["status"] for run in runs(admin, job)] == ["queued", "queued"]


def test_failures_are_tried_again_with_growing_pauses(
    live: Live, admin: Caller, make: Callable[..., Body], freeze: Freeze
) -> None:
    """AUTO-R2: attempt + 1 is queued after 2^attempt minutes, max_retries times."""
    job = make(max_retries=2)
    run = admin.make(RUNS, job_id=job["id"])
    for attempt, (status, minutes) in enumerate([("failed", 2), ("timed_out", 4)], start=1):
        move(live, run, "running", status)
        run = runs(admin, job)[-1]
        assert (run["attempt"], run["trigger"], run["status"]) == (attempt + 1, "retry", "queued")
        assert run["scheduled_for"] == told(after(minutes=minutes))
    move(live, run, "running", "failed")
    assert [row["status"] for row in runs(admin, job)] == ["failed", "timed_out", "failed"]


@pytest.mark.parametrize("states", [("running", "succeeded"), ("running", "canceled"), ("canceled",)])
def test_what_did_not_fail_is_not_tried_again(
    live: Live, admin: Caller, make: Callable[..., Body], states: tuple[str, ...]
) -> None:
    """AUTO-R2: only failed and timed_out runs are."""
    job = make()
    move(live, admin.make(RUNS, job_id=job["id"]), *states)
    assert len(runs(admin, job)) == 1


def test_a_retry_steps_back_for_a_run_that_is_there(
    live: Live, admin: Caller, make: Callable[..., Body], freeze: Freeze
) -> None:
    """AUTO-R1, AUTO-R2: a job that is replaced has no second run queued for it."""
    job = make(concurrency="allow")
    first = admin.make(RUNS, job_id=job["id"])
    move(live, first, "running")
    freeze(after(seconds=1))
    admin.make(RUNS, job_id=job["id"])
    admin.change(JOBS, job["id"], concurrency="forbid")
    move(live, first, "failed")
    assert [run["status"] for run in runs(admin, job)] == ["failed", "queued"]


def test_the_job_follows_its_runs(live: Live, admin: Caller, make: Callable[..., Body], freeze: Freeze) -> None:
    """AUTO-R2: last_run_at, last_status and consecutive_failures; a success ends the row of failures."""
    job = make(max_retries=0)
    seen = []
    for minutes, status in enumerate(["failed", "timed_out", "canceled", "succeeded", "failed"]):
        freeze(after(minutes=minutes))
        move(live, admin.make(RUNS, job_id=job["id"]), "running", status)
        row = admin.get(JOBS, job["id"])
        assert row["last_run_at"] == told(after(minutes=minutes))
        seen.append((row["last_status"], row["consecutive_failures"]))
    assert seen == [("failed", 1), ("timed_out", 2), ("canceled", 2), ("succeeded", 0), ("failed", 1)]


def test_a_run_tells_how_long_it_took(live: Live, admin: Caller, make: Callable[..., Body], freeze: Freeze) -> None:
    """AUTO-R2: duration_ms from start to end."""
    run = admin.make(RUNS, job_id=make()["id"])
    move(live, run, "running")
    freeze(after(seconds=2))
    move(live, run, "succeeded")
    row = admin.get(RUNS, run["id"])
    assert (row["started_at"], row["finished_at"]) == (told(NOW), told(after(seconds=2)))
    assert row["duration_ms"] == 2000
