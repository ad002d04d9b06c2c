"""A relay that is killed in the middle of a batch loses nothing; the command that verifies says what is wrong."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from engine.commands.audit import verify_logs
from engine.main import System
from engine.moment import UnitOfWork
from engine.operations import Operations
from engine.relay import renew_signatures
from engine.testing.harness import Beside, Live, prepare, settings_for_tests
from engine.types import ENGINE
from tests.calls import soon

REGISTRIES = ["registry", "tests.engine.post"]
PARCELS = 300  # more than a batch


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Databases that nobody relays."""
    settings = settings_for_tests(tmp_path_factory.mktemp("quiet")).model_copy(update={"registries": REGISTRIES})
    system = prepare(settings)
    yield Live(system, "")
    assert system.server is not None
    system.server.stop()


@contextmanager
def relaying(live: Live, notes: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that relays."""
    own = {"CXG_DATA": str(live.system.settings.data), "CXG_REGISTRIES": '["registry", "tests.engine.post"]'}
    environment = {**os.environ, **own, "POST_NOTES": str(notes)}
    process = subprocess.Popen([sys.executable, "-m", "tests.engine.post"], env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def noted(notes: Path, word: str) -> list[str]:
    """The rows of which a subscriber noted `begun` or `done`."""
    lines = notes.read_text().splitlines() if notes.exists() else []
    return [line.split()[1] for line in lines if line.startswith(word)]


def unsealed(live: Live) -> int:
    """Records without a seal."""
    return int(live.run_sql("manager", "select count(*) as n from audt.audit_logs where seq is null")[0]["n"])


def test_a_kill_in_mid_batch_loses_nothing(quiet: Live, tmp_path: Path) -> None:
    """G18: at least once; what was begun and not committed comes again, and the chain is whole."""
    beside, notes = Beside(quiet.system), tmp_path / "notes"

    async def write(operations: Operations) -> list[str]:
        async with UnitOfWork(operations, "post", ENGINE) as unit:
            rows = await unit.create("post.parcels", [{"code": f"K-{n}", "weight": n} for n in range(PARCELS)])
        return [str(row["id"]) for row in rows]

    written: list[str] = beside.run(write)
    beside.close()
    with relaying(quiet, notes) as process:
        soon(lambda: noted(notes, "begun"), 30)
        os.kill(process.pid, signal.SIGKILL)
    begun, done = set(noted(notes, "begun")), set(noted(notes, "done"))
    assert begun - done and unsealed(quiet) > 0
    with relaying(quiet, notes):
        soon(lambda: not unsealed(quiet), 30)
    assert set(noted(notes, "done")) == set(written)
    assert set(noted(notes, "begun")[len(begun) :]) >= begun - done
    assert cxg(quiet, "audit", "verify").returncode == 0


def with_keys(live: Live, *keys: str) -> Beside:
    """The same databases, with the first key as the current one."""
    own = {"secret_key": SecretStr(keys[0]), "secret_keys_before": [SecretStr(key) for key in keys[1:]]}
    system = System(live.system.settings.model_copy(update=own))
    system.server = live.system.server
    system.locate()
    return Beside(system)


def test_heads_are_signed_anew_with_a_new_key(quiet: Live) -> None:
    """After `cxg secrets rotate` the old key can go; without it every head would look forged."""
    old = (quiet.system.settings.data / "secret.key").read_text()
    both, new = with_keys(quiet, "the new key", old), with_keys(quiet, "the new key")
    assert {"not signed" in str(found.fault) for found in new.run(verify_logs)} == {True}
    prefix = both.operations.shop.vault.ring.prefix  # type: ignore[attr-defined]
    renewed = both.run(lambda operations: renew_signatures(operations, prefix))
    assert renewed == (3, 0)  # the platform's and two tenants'
    assert both.run(lambda operations: renew_signatures(operations, prefix)) == (0, 0)
    assert [found.fault for found in new.run(verify_logs)] == [None] * 3
    back = with_keys(quiet, old, "the new key")
    prefix = back.operations.shop.vault.ring.prefix  # type: ignore[attr-defined]
    assert back.run(lambda operations: renew_signatures(operations, prefix)) == (3, 0)
    for beside in (both, new, back):
        beside.close()


def cxg(live: Live, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, over these databases."""
    environment = {**os.environ, "CXG_DATA": str(live.system.settings.data), "CXG_REGISTRIES": '["registry"]'}
    return subprocess.run(
        [sys.executable, "-m", "engine", *arguments], env=environment, capture_output=True, text=True, check=False
    )


def test_the_command_names_the_row_that_was_changed(quiet: Live) -> None:
    """AUDT-L1: exit code 1 and the row's id; an unknown tenant is said to be none."""
    row: Any = quiet.run_sql("manager", "select id from audt.audit_logs where seq = 5")[0]
    quiet.run_sql("manager", "alter table audt.audit_logs disable trigger all")
    quiet.run_sql("manager", "update audt.audit_logs set domain = 'x' where seq = 5")
    quiet.run_sql("manager", "alter table audt.audit_logs enable trigger all")
    told = cxg(quiet, "audit", "verify")
    assert told.returncode == 1 and str(row["id"]) in told.stdout and "whole" not in told.stdout
    alone = cxg(quiet, "audit", "verify", "--tenant", "first")
    assert alone.returncode == 0 and re.fullmatch(r"tenants/sys/audit-logs of first: \d+ rows, whole\n", alone.stdout)
    assert cxg(quiet, "audit", "verify", "--tenant", "nobody").returncode == 1
