"""AUDT-L1, SYS-L1: whatever somebody with all rights over the database does to a sealed log is found."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import asyncpg
import pytest

from engine.chain import GENESIS, Head, Log, canonical, logs_of, row_hash
from engine.commands.audit import verify_logs
from engine.testing.harness import Live, serving, settings_for_tests
from engine.verify import Verifier
from tenancy.embedded import SUPERUSER
from tests.calls import Caller, soon

TAMPERINGS = 100  # of each log
CUSTOMERS, ROLES = "tenants/crm/customers", "manager/idam/roles"
EDITED = {
    "changes": """'{"name": ["a", "b"]}'::jsonb""",
    "actor_id": "gen_random_uuid()",
    "occurred_at": "occurred_at + interval '1 microsecond'",
    "entity_id": "gen_random_uuid()",
    "action": "case action when 'other' then 'create' else 'other' end",
    "domain": "case domain when 'x' then 'y' else 'x' end",
    "request_id": "coalesce(request_id, '') || '!'",
    "is_active": "not is_active",
    "version": "version + 1",
    "created_at": "created_at - interval '1 day'",
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server of its own, with sealed records in both logs."""
    with serving(settings_for_tests(tmp_path_factory.mktemp("archive"))) as running:
        owner, admin = Caller(running.client("tenants")), Caller(running.client("manager"))
        for number in range(12):
            row = owner.make(CUSTOMERS, name=f"Customer {number}")
            owner.change(CUSTOMERS, row["id"], name=f"Changed {number}")
            admin.make(ROLES, code=f"R{number}", name="Role", permissions=[])
            soon(lambda: not unsealed(running))
        yield running


def unsealed(live: Live) -> int:
    """Records without a seal, in both logs."""
    tenant = live.tenant(live.client("tenants"))
    text = "select count(*) as n from {} where {} is null"
    found = live.run_sql("manager", text.format("audt.audit_logs", "seq"))
    found += live.run_sql("tenants", text.format("sys.audit_logs", "seal"), tenant=tenant)
    return sum(row["n"] for row in found)


@dataclass
class Vandal:
    """A superuser in a transaction that is rolled back: triggers off, row security off."""

    live: Live
    log: Log
    tenant: UUID | None
    connection: Any
    platform: Any
    dice: random.Random

    async def do(self, text: str, *arguments: Any) -> list[Any]:
        return list(await self.connection.fetch(text, *arguments))

    async def sealed(self) -> list[Any]:
        """The sealed rows in their order, or nearly."""
        order = "seq" if self.log.chained else "id"
        wall = "$1::uuid is null" if self.tenant is None else "tenant_id = $1"
        return await self.do(
            f"select * from {self.log.table} where {wall} and {self.log.mark} is not null order by {order}", self.tenant
        )

    async def fault(self) -> str | None:
        """What verification finds, of what this transaction sees."""

        async def rows(text: str, arguments: Any) -> list[Any]:
            return await self.do(text, *arguments)

        async def heads(text: str, arguments: Any) -> list[Any]:
            return list(await self.platform.fetch(text, *arguments))

        return await Verifier(self.log, self.live.system.vault, rows, heads).verify(self.tenant)

    async def read(self, key: UUID) -> Any:
        """A row of a chained log as it is hashed."""
        return (await self.do(f"select {self.log.columns}, seq from {self.log.table} t where id = $1", key))[0]

    async def rehash(self, rows: list[Any], changed: int) -> None:
        """Make the chain whole again from a changed row on, as somebody who knows the recipe would."""
        for row in rows[changed:]:
            now = await self.read(row["id"])
            [before] = await self.do(f"select row_hash from {self.log.table} where seq = $1 - 1", now["seq"]) or [
                {"row_hash": GENESIS}
            ]
            made = row_hash(before["row_hash"], canonical(now, now["seq"]))
            await self.do(
                f"update {self.log.table} set prev_hash = $2, row_hash = $3 where id = $1",
                *(row["id"], before["row_hash"], made),
            )


Tampering = Callable[[Vandal, list[Any]], Coroutine[Any, Any, Any]]


async def edit(vandal: Vandal, rows: list[Any]) -> None:
    """One column of one row."""
    name = vandal.dice.choice(list(EDITED))
    row = vandal.dice.choice(rows)
    await vandal.do(f"update {vandal.log.table} set {name} = {EDITED[name]} where id = $1", row["id"])


async def delete(vandal: Vandal, rows: list[Any]) -> None:
    """One row."""
    await vandal.do(f"delete from {vandal.log.table} where id = $1", vandal.dice.choice(rows)["id"])


async def reorder(vandal: Vandal, rows: list[Any]) -> None:
    """Two rows trade their places: number and hashes, or batch."""
    one = vandal.dice.choice(rows)
    mark = vandal.log.mark
    other = vandal.dice.choice([row for row in rows if row[mark] != one[mark]])
    for row, place in ((one, None), (other, one), (one, other)):
        values = [place[name] if place else None for name in vandal.log.sealed]
        names = ", ".join(f"{name} = ${number}" for number, name in enumerate(vandal.log.sealed, start=2))
        await vandal.do(f"update {vandal.log.table} set {names} where id = $1", row["id"], *values)


async def trade_ids(vandal: Vandal, rows: list[Any]) -> None:
    """Two rows trade their ids."""
    one, other = vandal.dice.sample(rows, 2)
    for old, new in ((one["id"], spare := uuid4()), (other["id"], one["id"]), (spare, other["id"])):
        await vandal.do(f"update {vandal.log.table} set id = $2 where id = $1", old, new)


async def insert(vandal: Vandal, rows: list[Any]) -> None:
    """A copy of a row with an id and a place of its own."""
    row = dict(vandal.dice.choice(rows))
    row["id"] = uuid4()
    if vandal.log.chained:
        last = rows[-1]
        row |= {"seq": last["seq"] + 1, "prev_hash": last["row_hash"], "row_hash": None}
    values = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    await vandal.do(f"insert into {vandal.log.table} ({', '.join(row)}) values ({values})", *row.values())
    if vandal.log.chained:
        made = row_hash(last["row_hash"], canonical(await vandal.read(row["id"]), row["seq"]))
        await vandal.do(f"update {vandal.log.table} set row_hash = $2 where id = $1", row["id"], made)


async def cut(vandal: Vandal, rows: list[Any]) -> None:
    """The last rows; of a log with seals, the last batches."""
    if vandal.log.chained:
        first = rows[-vandal.dice.randint(1, 5)]["seq"]
        await vandal.do(f"delete from {vandal.log.table} where seq >= $1", first)
        return
    batches = list(dict.fromkeys(row["seal"] for row in rows))
    await vandal.do(f"delete from {vandal.log.table} where seal = any($1)", batches[-vandal.dice.randint(1, 4) :])


async def forge(vandal: Vandal, rows: list[Any]) -> None:
    """An edit, and every hash after it anew; or all seals taken off, so that the relay would seal anew."""
    if not vandal.log.chained:
        await vandal.do(f"update {vandal.log.table} set seal = null where id = $1", vandal.dice.choice(rows)["id"])
        return
    place = vandal.dice.randrange(max(0, len(rows) - 25), len(rows))
    await vandal.do(f"update {vandal.log.table} set domain = 'z' where id = $1", rows[place]["id"])
    await vandal.rehash(rows, place)


KINDS: list[Tampering] = [edit, delete, reorder, trade_ids, insert, cut, forge]


def superuser(live: Live, database: str) -> str:
    """The URL of the one whom no right holds back; he comes in by the socket only."""
    server = live.system.server
    assert server is not None
    password = json.loads((server.data / "cxg_roles.json").read_text())[SUPERUSER]
    socket = f"host={quote(str(server.data), safe='')}&port={server.port}&user={SUPERUSER}&password={password}"
    return f"postgresql:///{database}?{socket}"


def tamper(live: Live, log: Log, tenant: UUID | None) -> list[str]:
    """The tamperings that were not found."""

    async def run() -> list[str]:
        connection = await asyncpg.connect(superuser(live, log.resource.scope.stored_in))
        platform = await asyncpg.connect(superuser(live, "manager")) if log.bound else connection
        vandal = Vandal(live, log, tenant, connection, platform, random.Random(7))
        missed = []
        try:
            await connection.execute("begin; set local session_replication_role = replica")
            assert await vandal.fault() is None
            rows = await vandal.sealed()
            for number in range(TAMPERINGS):
                kind = KINDS[number % len(KINDS)]
                await connection.execute("savepoint before")
                await kind(vandal, rows)
                missed += [] if await vandal.fault() else [f"{number} {kind.__name__}"]
                await connection.execute("rollback to savepoint before")
            assert await vandal.fault() is None
        finally:
            await connection.close()
            await platform.close()
        return missed

    return asyncio.run(run())


@pytest.mark.parametrize("path", ["manager/audt/audit-logs", "tenants/sys/audit-logs"])
def test_every_tampering_is_found(archive: Live, path: str) -> None:
    """Edited, deleted, moved, inserted rows, a cut tail, and hashes made anew."""
    [log] = [log for log in logs_of(archive.catalog) if log.name == path]
    tenant = archive.tenant(archive.client("tenants")) if log.bound else None
    assert tamper(archive, log, tenant) == []


def test_the_chain_of_the_platform(archive: Live) -> None:
    """AUDT-L1: seq has no gap, each row names the hash of the one before, the first 64 zeros."""
    rows = archive.run_sql("manager", "select * from audt.audit_logs where seq is not null order by seq")
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert [row["prev_hash"] for row in rows] == ["0" * 64, *(row["row_hash"] for row in rows[:-1])]


def test_a_head_that_is_not_signed_is_found(archive: Live) -> None:
    """A head written by somebody without the server's key."""

    async def faults(head: Head, signature: str) -> str | None:
        async def none(_text: str, _arguments: Any) -> list[Any]:
            return []

        async def heads(_text: str, _arguments: Any) -> list[Any]:
            return [{"rows": head.rows, "seal": head.seal, "signature": signature, "pending_seal": None}]

        log = next(log for log in logs_of(archive.catalog) if log.chained)
        return await Verifier(log, archive.system.vault, none, heads).verify()

    log = next(log for log in logs_of(archive.catalog) if log.chained)
    signed = Head().sign(archive.system.vault, log.name, None)
    assert asyncio.run(faults(Head(), signed)) is None
    for head, signature in ((Head(3, "1" * 64), signed), (Head(), ""), (Head(), "v2:00000000:AAAA")):
        assert "not signed" in str(asyncio.run(faults(head, signature)))


def test_the_command_verifies_every_log(archive: Live) -> None:
    """`cxg audit verify`: the platform's log and each tenant's, or one tenant's alone."""

    every = archive.beside.run(verify_logs)
    one = archive.beside.run(lambda operations: verify_logs(operations, "first"))
    assert {(verdict.log, verdict.tenant) for verdict in every} == {
        ("manager/audt/audit-logs", None),
        ("tenants/sys/audit-logs", "first"),
        ("tenants/sys/audit-logs", "second"),
    }
    assert [verdict.tenant for verdict in one] == ["first"]
    assert [verdict.fault for verdict in (*every, *one)] == [None] * 4
    assert all(verdict.rows > 0 for verdict in every)
