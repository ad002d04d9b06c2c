"""The demo tenant has rows in every entity, and making them twice changes nothing."""

from __future__ import annotations

import asyncio

import pytest

from engine.install import demo
from engine.main import System
from engine.testing.harness import Live

pytestmark = pytest.mark.usefixtures("no_policies_ahead")


def total(live: Live, path: str, token: str | None = None) -> int:
    scope = path.split("/")[0]
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = live.client(scope).get(f"/{path}", params={"page_size": 1, "deleted": "include"}, headers=headers)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["data"]["total"])


def make_demo(live: Live) -> None:
    system = System(live.system.settings)
    system.server = live.system.server
    system.locate()

    async def work() -> None:
        await demo(system)
        await system.close()

    asyncio.run(work())


def test_every_entity_has_rows_and_a_second_run_adds_none(live: Live) -> None:
    make_demo(live)
    password = (live.system.settings.data / "demo-password.txt").read_text()
    owner = live.token("owner@demo.example", password, "demo")
    assert live.client("manager") and live.client(
        "tenants"
    )  # signed in before rows are counted: a sign-in is a session
    paths = [(path, owner if r.scope.tenant_bound else None) for path, r in live.catalog.resources.items()]
    before = {path: total(live, path, token) for path, token in paths}
    assert {path for path, rows in before.items() if rows == 0} == set()
    make_demo(live)
    assert {path: total(live, path, token) for path, token in paths} == before
