"""Workers over a real database: one in this process beat by beat with a clock that stands still, and real processes that are
stopped and killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from engine.clock import CLOCK
from engine.operations import Operations
from engine.testing.harness import Live, serving, settings_for_tests
from engine.types import Principal
from engine.worker import Worker, queue_of
from tenancy.presence import Presence
from tests.calls import Body, Caller

JOBS, RUNS, MARKS = "manager/auto/jobs", "manager/auto/job-runs", "chore/chore/marks"
REGISTRIES = ["registry", "tests.engine.chores"]
PATIENCE = 30.0
LEADER = """select a.application_name as name from pg_locks l join pg_stat_activity a using (pid)
where l.locktype = 'advisory' and l.granted
  and ((l.classid::bigint << 32) | l.objid::bigint) = hashtextextended('cxg.scheduler', 0)"""
NOBODY = UUID(int=0)


@pytest.fixture(scope="module")
def chores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with serving(settings_for_tests(tmp_path_factory.mktemp("workers")), REGISTRIES) as live:
        # the program's own jobs keep out of the way
        live.run_sql("manager", "update auto.jobs set status = 'paused', next_run_at = null")
        yield live


def anybody(live: Live) -> Caller:
    """Somebody who may do everything, without a token that would not live through a clock put elsewhere."""
    return Caller(live.lend(Principal(UUID(int=7), everything=True)))


@pytest.fixture
def admin(chores: Live) -> Iterator[Caller]:
    """The administrator, on a day of his own; what is left undone by the test is canceled after it."""
    yield anybody(chores)
    CLOCK.at(None)
    chores.run_sql("manager", "update auto.jobs set status = 'paused', next_run_at = null")
    chores.run_sql(
        "manager", "update auto.job_runs set status = 'canceled', finished_at = now() where finished_at is null"
    )


def make_job(admin: Caller, seconds: float = 0, **values: Any) -> Body:
    """A schedule of a handler that leaves a mark, far from being due."""
    code = f"CHORE-{time.monotonic_ns()}"
    usual = {"handler": "leave_mark", "schedule_kind": "interval", "interval_seconds": 86_400, "concurrency": "allow"}
    return admin.make(JOBS, **{"code": code, "name": code, "payload": {"seconds": seconds}, **usual, **values})


def runs(admin: Caller, job: Body) -> list[Body]:
    return admin.list(RUNS, f"filter[job_id]={job['id']}&sort=scheduled_for,attempt")


def marks(live: Live, run: Body) -> int:
    rows = anybody(live).list(MARKS, "sort=-created_at")
    return sum(datetime.fromisoformat(row["run_for"]) == datetime.fromisoformat(run["scheduled_for"]) for row in rows)


def beat(live: Live, *, slots: int = 4, between: Callable[[], object] | None = None) -> None:
    """A worker of this process takes what is due and finishes it; `between` happens while the runs are in hand."""

    async def work(operations: Operations) -> None:
        queue = queue_of(operations.shop.catalog)
        assert queue is not None
        worker = Worker(operations, Presence(live.system.places["manager"].runtime, "in-process"), slots, queue)
        try:
            await worker.beat()
            if between is not None:
                await asyncio.to_thread(between)
                await worker.beat()
            await asyncio.gather(*worker.in_hand.values())
        finally:
            await worker.presence.close()

    live.beside.run(work)


def test_a_due_run_is_done_and_tells_its_output(chores: Live, admin: Caller) -> None:
    job = make_job(admin)
    run = admin.make(RUNS, job_id=job["id"])
    beat(chores)
    done = admin.get(RUNS, run["id"])
    assert (done["status"], done["worker"], done["output"], done["error"]) == (
        "succeeded",
        "in-process",
        {"left": 1},
        None,
    )
    assert marks(chores, run) == 1
    beat(chores)
    assert marks(chores, run) == 1
    assert admin.get(JOBS, job["id"])["last_status"] == "succeeded"


def test_only_as_many_runs_as_there_are_slots(chores: Live, admin: Caller) -> None:
    job = make_job(admin)
    for _ in range(3):
        admin.make(RUNS, job_id=job["id"])
    beat(chores, slots=2)
    assert [run["status"] for run in runs(admin, job)] == ["succeeded", "succeeded", "queued"]


def test_the_leader_queues_what_is_due(chores: Live, admin: Caller) -> None:
    now = datetime(2031, 5, 1, 10, 0, tzinfo=UTC)
    CLOCK.at(now)
    job = make_job(admin, schedule_kind="cron", cron="0 * * * *", interval_seconds=None)
    beat(chores)
    assert runs(admin, job) == []
    for minutes in (61, 61, 62):
        CLOCK.at(now + timedelta(minutes=minutes))
        beat(chores)
    [run] = runs(admin, job)
    assert (run["status"], run["scheduled_for"]) == ("succeeded", "2031-05-01T11:00:00+00:00")
    assert marks(chores, run) == 1


def test_a_failed_run_is_tried_again_when_its_pause_is_over(chores: Live, admin: Caller) -> None:
    now = datetime(2031, 5, 2, 10, 0, tzinfo=UTC)
    CLOCK.at(now)
    job = make_job(admin, payload={"fails": True}, max_retries=1)
    admin.make(RUNS, job_id=job["id"])
    states = []
    for minutes in (0, 1, 2, 3, 60):
        CLOCK.at(now + timedelta(minutes=minutes))
        beat(chores)
        states.append([run["status"] for run in runs(admin, job)])
    assert states == [["failed", "queued"], ["failed", "queued"], ["failed"] * 2, ["failed"] * 2, ["failed"] * 2]
    assert {run["error"] for run in runs(admin, job)} == {"chore_failed: as it was told to"}
    assert admin.get(JOBS, job["id"])["consecutive_failures"] == 2


def test_a_run_that_takes_too_long_is_ended(chores: Live, admin: Caller) -> None:
    job = make_job(admin, seconds=60, timeout_seconds=1, max_retries=0)
    run = admin.make(RUNS, job_id=job["id"])
    beat(chores)
    done = admin.get(RUNS, run["id"])
    assert done["status"] == "timed_out" and done["error"] == "timed_out: it took longer than 1 seconds"
    assert marks(chores, run) == 0


def test_a_canceled_run_is_let_go(chores: Live, admin: Caller) -> None:
    job = make_job(admin, seconds=60)
    run = admin.make(RUNS, job_id=job["id"])
    beat(chores, between=lambda: admin.move(RUNS, run["id"], "canceled"))
    done = admin.get(RUNS, run["id"])
    assert (done["status"], done["error"]) == ("canceled", None)
    assert marks(chores, run) == 0


def test_a_run_without_handler_fails(chores: Live, admin: Caller) -> None:
    job = make_job(admin, max_retries=0)
    run = admin.make(RUNS, job_id=job["id"])
    chores.run_sql("manager", "update auto.jobs set handler = 'gone' where id = $1", UUID(job["id"]))
    beat(chores)
    assert admin.get(RUNS, run["id"])["error"].startswith("unknown_handler: No handler gone")


def test_a_job_of_tenants_tells_each(chores: Live, admin: Caller) -> None:
    job = make_job(admin, handler="count_customers", payload={"fails_for": "first"}, max_retries=0)
    run = admin.make(RUNS, job_id=job["id"])
    beat(chores)
    done = admin.get(RUNS, run["id"])
    assert done["status"] == "failed" and done["error"] == "tenants_failed: count_customers failed for first"
    assert set(done["output"]["tenants"]) == {"second"} and set(done["output"]["tenants_failed"]) == {"first"}


# -- real processes


@contextmanager
def workers(live: Live, count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes of `cxg worker`."""
    command = [sys.executable, "-m", "engine", "worker", "--data", str(live.system.settings.data.resolve())]
    flags = [part for name in REGISTRIES for part in ("--registry", name)]
    environment = {**os.environ, "CXG_BCRYPT_ROUNDS": "4"}
    started = [subprocess.Popen([*command, *flags], env=environment, stderr=subprocess.PIPE) for _ in range(count)]
    try:
        for process in started:
            assert process.stderr is not None
            for line in process.stderr:
                if b"waits for runs" in line:
                    break
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()
            if process.stderr is not None:
                process.stderr.close()


def until(condition: Callable[[], Any]) -> Any:
    """What the condition says as soon as it holds."""
    patient = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < patient, "it does not come about"
        time.sleep(0.1)
    return found


def pid_of(worker: str) -> int:
    """The process behind a worker's name."""
    return int(worker.rsplit("-", 2)[1])


def leader(live: Live) -> int | None:
    found = live.run_sql("manager", LEADER, tenant=NOBODY)
    return pid_of(found[0]["name"]) if found else None


def test_two_workers_do_each_run_once(chores: Live, admin: Caller) -> None:
    job = make_job(admin, seconds=0.3)
    queued = [admin.make(RUNS, job_id=job["id"]) for _ in range(30)]
    with workers(chores, 2):
        until(lambda: all(run["status"] == "succeeded" for run in runs(admin, job)))
    taken = Counter(run["worker"] for run in runs(admin, job))
    assert len(taken) == 2 and sum(taken.values()) == 30
    found = Counter(row["run_for"] for row in admin.list(MARKS, "sort=-created_at"))
    assert [found[run["scheduled_for"]] for run in queued] == [1] * 30


def test_when_the_leader_is_killed_another_schedules(chores: Live, admin: Caller) -> None:
    job = make_job(admin)
    due = "update auto.jobs set next_run_at = now() where id = $1"
    with workers(chores, 2) as processes:
        first = until(lambda: leader(chores))
        chores.run_sql("manager", due, UUID(job["id"]))
        until(lambda: [run["status"] for run in runs(admin, job)] == ["succeeded"])
        next(process for process in processes if process.pid == first).send_signal(signal.SIGKILL)
        chores.run_sql("manager", due, UUID(job["id"]))
        until(lambda: [run["status"] for run in runs(admin, job)] == ["succeeded"] * 2)
        second = until(lambda: leader(chores))
        assert {first, second} == {process.pid for process in processes}


def test_the_run_of_a_killed_worker_is_taken_up_again(chores: Live, admin: Caller) -> None:
    job = make_job(admin, seconds=120)
    run = admin.make(RUNS, job_id=job["id"])
    with workers(chores, 2):
        owner = until(lambda: admin.get(RUNS, run["id"])["worker"])
        os.kill(pid_of(owner), signal.SIGKILL)
        lost = until(lambda: (row := admin.get(RUNS, run["id"]))["status"] == "failed" and row)
        assert lost["error"].startswith("worker_lost")
        again = runs(admin, job)[-1]
        assert (again["status"], again["attempt"], again["trigger"]) == ("queued", 2, "retry")
        admin.change(JOBS, job["id"], payload={})
        chores.run_sql(
            "manager", "update auto.job_runs set scheduled_for = now() where id = $1::uuid", UUID(again["id"])
        )
        taken = until(lambda: (row := admin.get(RUNS, again["id"]))["status"] == "succeeded" and row)
        assert taken["worker"] != owner


def test_a_worker_that_is_told_to_stop_finishes_first(chores: Live, admin: Caller) -> None:
    job = make_job(admin, seconds=2)
    run = admin.make(RUNS, job_id=job["id"])
    with workers(chores, 1) as [process]:
        until(lambda: admin.get(RUNS, run["id"])["status"] == "running")
        late = admin.make(RUNS, job_id=job["id"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    assert admin.get(RUNS, run["id"])["status"] == "succeeded" and marks(chores, run) == 1
    # it may have been taken just before the signal, but is never left half done
    assert admin.get(RUNS, late["id"])["status"] in ("queued", "succeeded")


def test_a_worker_that_is_told_twice_ends_its_runs(chores: Live, admin: Caller) -> None:
    job = make_job(admin, seconds=120, max_retries=0)
    run = admin.make(RUNS, job_id=job["id"])
    with workers(chores, 1) as [process]:
        until(lambda: admin.get(RUNS, run["id"])["status"] == "running")
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    done = admin.get(RUNS, run["id"])
    assert done["status"] == "failed" and done["error"].startswith("stopped")


# -- the command


def cxg(live: Live, *words: str) -> subprocess.CompletedProcess[str]:
    """What `cxg jobs ...` answers."""
    place = ["--data", str(live.system.settings.data.resolve())] if words[0] == "run" else []
    flags = [part for name in REGISTRIES for part in ("--registry", name)]
    command = [sys.executable, "-m", "engine", "jobs", *words, *place, *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_jobs_are_listed(chores: Live) -> None:
    done = cxg(chores, "list")
    assert done.returncode == 0
    [line] = [line for line in done.stdout.splitlines() if "run_dunning" in line]
    assert "manager" in line and "daily" in line


def test_a_job_is_run_by_hand_for_a_time(chores: Live, admin: Caller) -> None:
    done = cxg(chores, "run", "leave_mark", "--now", "2033-01-02T03:04")
    assert done.returncode == 0 and "left" in done.stdout, done.stderr
    assert "2033-01-02T03:04:00+00:00" in {row["run_for"] for row in admin.list(MARKS, "sort=-run_for")}


def test_a_job_is_run_by_hand_for_a_tenant(chores: Live) -> None:
    done = cxg(chores, "run", "count_customers", "--tenant", "second")
    assert done.returncode == 0 and "second" in done.stdout and "first" not in done.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [(("leave_mrk",), "perhaps 'leave_mark'"), (("count_customers", "--tenant", "nobody"), "No tenant in use")],
)
def test_a_wrong_word_is_told(chores: Live, words: tuple[str, ...], told: str) -> None:
    done = cxg(chores, "run", *words)
    assert done.returncode == 1 and told in done.stderr, done.stderr


def test_failed_steps_are_shown(chores: Live) -> None:
    done = cxg(chores, "run", "three_steps")
    assert done.returncode == 0 and "failed two: internal_error: KeyError" in done.stdout
