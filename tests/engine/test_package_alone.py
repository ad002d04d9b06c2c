"""What an operator of a package alone asks of it: its sums, its log, its secrets, its migrations."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from engine.commands.audit import verify_logs
from engine.commands.rollups import _find
from engine.commands.secrets import rotate_secrets
from engine.console import tenants_of
from engine.errors import StartupFault
from engine.main import System
from engine.testing.harness import Live, served, serving, settings_for_tests
from tests.calls import soon

PACKAGE = """
from sqlalchemy import Column, ForeignKey, MetaData, Numeric, String, Table, Text, Uuid
from engine import Entity, RollUp, Scope

metadata = MetaData()
scopes = [Scope("stall", metadata, database="stall")]
bill = Table(
    "bills", metadata, Column("code", String(32), nullable=False), Column("oath", Text), Column("sum", Numeric(19, 4)),
    schema="till",
)
line = Table(
    "lines", metadata, Column("bill_id", Uuid, ForeignKey("till.bills.id"), nullable=False),
    Column("amount", Numeric(19, 4), nullable=False), schema="till",
)
sums = [RollUp("sum", "till.lines", sum="amount")]
bills = Entity(bill, label="code", encrypted=["oath"], masked=["oath"], read_only=["sum"], rollups=sums)
lines = Entity(line, kind="line", parent=("till.bills", "bill_id"))
"""
BILLS = "/stall/till/bills"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("packages") / "stall"
    place.mkdir()
    (place / "__init__.py").write_text(PACKAGE)
    before = list(sys.path)
    yield place
    sys.path[:] = before
    for name in [name for name in sys.modules if name.split(".")[0] == "stall"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def stall(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    settings = settings_for_tests(tmp_path_factory.mktemp("stall"), secret_key=SecretStr("old"))
    with serving(settings, [str(folder)]) as live:
        yield live


def again(live: Live, **options: Any) -> System:
    """A system of the same databases."""
    system = System(live.system.settings.model_copy(update=options))
    system.server = live.system.server
    system.locate()
    return system


def test_its_sums_its_log_and_its_secrets_have_their_commands(stall: Live) -> None:
    client = stall.client("stall")
    bill = client.post(BILLS, json={"code": "B1", "oath": "silence"}).json()["data"]
    line = client.post("/stall/till/lines", json={"bill_id": bill["id"], "amount": "2"})
    assert line.status_code == 201, line.text

    async def drifts() -> list[Any]:
        system = again(stall)
        try:
            return await _find(system, None)
        finally:
            await system.close()

    assert asyncio.run(drifts()) == []
    stall.run_sql("stall", "update till.bills set sum = 7")
    assert [drift.column for _, drift in asyncio.run(drifts())] == ["sum"]

    def verdicts() -> list[Any]:
        return [(v.log, v.tenant, v.fault) for v in stall.beside.run(verify_logs) if v.rows >= 3]

    assert soon(verdicts) == [("stall/log/changes", None, None)]

    async def rotated() -> int:
        system = again(stall, secret_key=SecretStr("new"), secret_keys_before=[SecretStr("old")])
        try:
            return (await rotate_secrets(system))["stall/till/bills"].renewed
        finally:
            await system.close()

    assert asyncio.run(rotated()) == 1
    with served(again(stall, secret_key=SecretStr("new"))) as running:
        assert running.client("stall").get(f"{BILLS}/{bill['id']}").json()["data"]["oath"] == "silence"


def test_a_tenant_that_nobody_lists_is_named(stall: Live) -> None:
    with pytest.raises(StartupFault, match="no tenant 'acme': the registry that lists them"):
        stall.beside.run(lambda operations: tenants_of(operations, "acme"))


def test_migrations_over_tables_of_development_are_told_apart(stall: Live, folder: Path) -> None:
    async def work() -> None:
        system = again(stall)
        await system.make_migrations("first")
        with pytest.raises(StartupFault, match=r"development made the tables.*--stamp"):
            await system.upgrade()
        assert await system.upgrade(stamped=True) == {"stall": ["0001_first"]}
        assert await system.upgrade() == await system.upgrade(stamped=True) == {"stall": []}
        await system.close()
        # and production goes on from there
        production = again(stall, environment="production", identity="key")
        await production.prepare_databases()
        await production.close()

    asyncio.run(work())
