"""Gapless numbers (G9): fifty post at once, a third of them fails after the number was drawn; nothing is lost or doubled."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from uuid import UUID

import httpx
import pytest

from engine.clock import CLOCK
from engine.testing.harness import serving, settings_for_tests
from engine.types import TenantRef
from registry.tenants.fim_seed import seed_ledger
from tests.books import ENTRIES, Books
from tests.calls import Body, Caller, World
from tests.registry.spoilt import marked

INVOICES = "manager/bill/invoices"
POSTERS, DOCUMENTS = 50, 60


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The people of a server that refuses the postings that are marked, and lets everybody wait for his turn."""
    patience = {"pool_size": 25, "acquire_timeout": 60, "command_timeout": 60, "hook_timeout": 60}
    settings = settings_for_tests(tmp_path_factory.mktemp("gapless"), **patience)
    with serving(settings, ["registry", "tests.registry.spoilt"]) as live:
        yield World(live)


def post_at_once(caller: Caller, path: str, rows: Sequence[Body], status: str) -> list[httpx.Response]:
    """The answers to posting all rows, fifty at a time."""

    async def post(client: httpx.AsyncClient, turns: asyncio.Semaphore, row: Body) -> httpx.Response:
        async with turns:
            return await client.patch(f"/{path}/{row['id']}/status", json={"status": status})

    async def all_of_them() -> list[httpx.Response]:
        turns = asyncio.Semaphore(POSTERS)
        url, headers = caller.client.base_url, caller.client.headers
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=120) as client:
            return await asyncio.gather(*(post(client, turns, row) for row in rows))

    return asyncio.run(all_of_them())


def check_numbers(caller: Caller, path: str, rows: Sequence[Body], *, status: str, prefix: str) -> None:
    """Post all; the marked third fails and keeps no number, the rest is numbered from 1 on; then the third follows."""
    third = rows[::3]
    marked.update(UUID(row["id"]) for row in third)
    answers = post_at_once(caller, path, rows, status)
    assert Counter(answer.status_code for answer in answers) == {200: len(rows) - len(third), 409: len(third)}
    assert {answer.json()["error"]["code"] for answer in answers[::3]} == {"spoilt"}
    assert all(caller.get(path, row["id"])["number"] is None for row in third)
    marked.clear()
    answers += post_at_once(caller, path, third, status)
    numbers = sorted(answer.json()["data"]["number"] for answer in answers if answer.status_code == 200)
    assert numbers == [f"{prefix}-{CLOCK.today().year}-{n:05d}" for n in range(1, len(rows) + 1)]


def test_journal_entries_have_no_gap(crowd: World) -> None:
    """JE: given inside the posting's own transaction, and given back with it."""
    tenant = crowd.tenant()
    books = Books(crowd.live, TenantRef(UUID(tenant["id"]), tenant["slug"]))
    books.work(lambda moment: seed_ledger(moment, "USD"))
    lines = [books.line("bank", "5"), books.line("revenue", "-5")]
    day = CLOCK.today().isoformat()
    rows = books.caller.send(201, "POST", ENTRIES, [{"entry_date": day, "lines": lines} for _ in range(DOCUMENTS)])
    check_numbers(books.caller, ENTRIES, rows, status="posted", prefix="JE")
    assert books.balance("bank") == f"{5 * DOCUMENTS}.0000"


def test_platform_invoices_have_no_gap(crowd: World) -> None:
    """INV: the same on the Manager side."""
    line = {"kind": "one_off", "description": "Piece", "unit_amount": "5"}
    body = {"tenant_id": crowd.tenant()["id"], "currency": "USD", "lines": [line]}
    rows = crowd.admin.send(201, "POST", INVOICES, [body] * DOCUMENTS)
    check_numbers(crowd.admin, INVOICES, rows, status="open", prefix="INV")
