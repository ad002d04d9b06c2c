"""The market, served; its rows are put into the database as they are, so that each example begins with other ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from engine.main import System
from engine.testing.harness import Live, prepare, served, settings_for_tests
from engine.types import Principal, TenantRef
from tests.equivalence.drawing import SELLERS
from tests.equivalence.model import OWN, RELATIONS, Person, Row, Rows, written

PEOPLE = (
    Person("chief", SELLERS[1], True, frozenset({"shop", "vault"})),
    Person("seller", SELLERS[0], False, frozenset()),
    Person("auditor", SELLERS[1], True, frozenset({"vault"})),
    Person("clerk", SELLERS[1], False, frozenset({"shop"})),
)
FOREIGN = 1 << 32


class Stand:
    """The served market. `tenants`: whose rows are asked for, and who has their doubles."""

    def __init__(self, live: Live, runner: asyncio.Runner, connection: Any, tenants: tuple[UUID, UUID]) -> None:
        self.live, self.runner, self.connection, self.tenants = live, runner, connection, tenants
        self.clients = {p.name: live.lend(principal(live, p, tenants[0])) for p in PEOPLE}

    def ask(self, person: Person, path: str) -> httpx.Response:
        """The answer to a GET."""
        return self.clients[person.name].get(f"/market/{path}")

    def fill(self, rows: Rows) -> None:
        """Put the rows in the place of all others, and their doubles into another tenant."""
        self.runner.run(self._fill(rows))

    async def _fill(self, rows: Rows) -> None:
        for tenant, foreign in zip(self.tenants, (False, True), strict=True):
            parts = [f"delete from {table(entity)}" for entity in reversed(OWN)]
            await self.connection.execute("select set_config('app.tenant_id', $1, false)", str(tenant))
            await self.connection.execute(";".join(parts))
            for entity in OWN:
                given = [double(row) if foreign else row for row in reversed(rows[entity])]
                for row in given:
                    row["tenant_id"] = tenant
                if given:
                    text = json.dumps(given, default=written)
                    names = ", ".join(given[0])
                    await self.connection.execute(
                        f"insert into {table(entity)} ({names}) "
                        f"select {names} from jsonb_populate_recordset(null::{table(entity)}, $1::jsonb)",
                        text,
                    )


def double(row: Row) -> Row:
    """The row as another tenant has it."""
    own = {"id", *(relation.local for relations in RELATIONS.values() for relation in relations.values())}
    return {n: UUID(int=v.int | FOREIGN) if n in own and isinstance(v, UUID) else v for n, v in row.items()}


def table(entity: str) -> str:
    return entity.replace("/", ".").replace("-", "_")


@pytest.fixture(scope="session")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """The market with four people."""
    # the model knows no hurry: a machine that is busy may take longer over facets than callers are made to wait
    chosen = {"registries": ["registry", "tests.equivalence.market"], "facet_timeout": 30.0}
    prepared = prepare(settings_for_tests(tmp_path_factory.mktemp("market"), **chosen))
    assert prepared.server is not None
    try:
        # what trigrams say of two texts is no business of the model
        Live(prepared, "").run_sql("tenants", "drop extension if exists pg_trgm")
        yield from standing(prepared)
    finally:
        prepared.server.stop()


def standing(prepared: System) -> Iterator[Stand]:
    """The stand over prepared databases."""
    system = System(prepared.settings)
    system.server = prepared.server
    system.locate()
    with asyncio.Runner() as runner, served(system) as live:
        first, second = (live.tenant(client) for client in (live.client("market"), live.other_tenant()))
        connection = runner.run(asyncpg.connect(live.system.places["tenants"].runtime, ssl=False))
        yield Stand(live, runner, connection, (first, second))
        runner.run(connection.close())


def principal(live: Live, person: Person, tenant: UUID) -> Principal:
    """The person, with the permissions that fit him."""
    resources = [r for r in live.catalog.resources.values() if r.scope.name == "market"]
    held = {code for r in resources for code in r.permissions.values()}
    held |= {f"{domain}.sensitive.read" for domain in person.unmasked}
    held |= {"shop.orders.manage"} if person.sees_all else set()
    return Principal(person.id, tenant=TenantRef(tenant, "first"), permissions=frozenset(held))
