"""Roll-up drift, planted by SQL and mended: `engine.rollups` and the command over it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from engine.main import System
from engine.rollups import Drift, computing, drifts, mend
from engine.testing.harness import Live, serving, settings_for_tests
from tests.calls import Body, Caller

DEALS = "desk/desk/deals"
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    settings = settings_for_tests(tmp_path_factory.mktemp("drift"))
    with serving(settings, ["registry", "tests.engine.desk"]) as live:
        yield live


def look(desk: Live, *, repair: bool) -> tuple[list[Drift], int]:
    """What has drifted on the desk, and how many rows were mended."""

    async def work() -> tuple[list[Drift], int]:
        system = System(desk.system.settings)
        system.server = desk.system.server
        system.locate()
        found: list[Drift] = []
        rows = 0
        try:
            for resource in computing(system.catalog, "desk"):
                async with system.unit("desk") as unit:
                    here = [drift async for drift in drifts(unit, resource)]
                    rows += await mend(unit, resource, here) if repair and here else 0
                    found += here
        finally:
            await system.close()
        return found, rows

    return asyncio.run(work())


def deal(caller: Caller) -> Body:
    lines = [{"quantity": "2", "unit_price": "10"}, {"quantity": "1", "unit_price": "5", "kind": "extra"}]
    return caller.make(DEALS, title="Drifting", lines=lines)


def test_drift_is_found_and_mended_with_a_record(desk: Live) -> None:
    admin = Caller(desk.client("manager"))
    sound, broken, child = deal(admin), deal(admin), deal(admin)
    assert look(desk, repair=False) == ([], 0)
    plant = "update desk.deals set subtotal = 7, total = 99 where id = $1 returning id"
    desk.run_sql("manager", plant, UUID(broken["id"]))
    line = UUID(child["lines"][0]["id"])
    desk.run_sql("manager", "update desk.deal_lines set quantity = 3 where id = $1 returning id", line)
    found, rows = look(desk, repair=True)
    said = {(str(drift.id), drift.column): (drift.stored, drift.right) for drift in found}
    assert said[(broken["id"], "subtotal")] == (7, 25) and said[(broken["id"], "total")] == (99, 27)
    assert said[(str(line), "net")] == (20, 30) and said[(str(line), "tax")] == (2, 3)
    assert sound["id"] not in {key for key, _ in said}
    # mending the line brings its deal along in the same transaction: one round mends all
    assert rows >= 2 and look(desk, repair=False) == ([], 0)
    mended = admin.get(DEALS, child["id"])
    assert [Decimal(mended[name]) for name in ("subtotal", "tax_total", "total")] == [35, 3, 38]
    newest = admin.list(f"{DEALS}/{broken['id']}/history")[0]
    assert newest["actor_id"] is None and newest["changes"]["subtotal"] == ["7.0000", "25.0000"]
    assert admin.get(DEALS, sound["id"])["version"] == sound["version"]


def command(desk: Live, *words: str) -> subprocess.CompletedProcess[str]:
    """`cxg rollups ...` as an operator runs it, beside the serving process."""
    flags = ["--data", str(desk.system.settings.data), "--registry", "registry", "--registry", "tests.engine.desk"]
    whole = [sys.executable, "-m", "engine", "rollups", *words, *flags]
    return subprocess.run(whole, capture_output=True, text=True, cwd=ROOT, timeout=60)


def test_the_command_finds_and_mends(desk: Live) -> None:
    admin = Caller(desk.client("manager"))
    broken = deal(admin)
    plant = "update desk.deals set line_count = 5 where id = $1 returning id"
    desk.run_sql("manager", plant, UUID(broken["id"]))
    found = command(desk, "check")
    assert found.returncode == 1 and broken["id"] in found.stdout and "line_count" in found.stdout, found.stderr
    mended = command(desk, "rebuild")
    assert mended.returncode == 0 and "1 rows mended" in mended.stdout, mended.stderr
    sound = command(desk, "check")
    assert sound.returncode == 0 and "0 values have drifted" in sound.stdout, sound.stderr
    assert admin.get(DEALS, broken["id"])["line_count"] == 2
