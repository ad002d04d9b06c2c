"""The ground that all contestants stand on: one durable PostgreSQL, both databases, 20,000 users and contacts."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
from pydantic import SecretStr

from engine.clock import random_token
from engine.install import create_tenant, install
from engine.main import System
from engine.settings import Settings
from tenancy.embedded import EmbeddedServer, start_embedded
from tests.benchmarks.place import Place

ADMIN, PASSWORD = "admin@example.com", "Bench-Password-1"
PATIENCE = 60  # seconds until nothing is left to do

USERS = """
insert into idam.users (id, email, full_name, user_type, password_history, must_change_password, phone, locale,
    timezone, avatar_url, mfa_enabled, email_verified_at, failed_login_count, last_login_at, last_login_ip,
    status, created_at, updated_at)
select ids.id, 'user-' || lpad(i::text, 5, '0') || '@example.com', 'User Number ' || i,
    (array['staff', 'tenant'])[1 + i % 2], '[]', false, '+49301' || lpad(i::text, 6, '0'),
    (array['en', 'de', 'fr'])[1 + i % 3], 'Europe/Berlin', case when i % 4 = 0 then 'https://example.com/a/' || i end,
    false, timestamptz '2026-01-01 00:00+00' + i * interval '1 minute', 0,
    timestamptz '2026-03-01 12:00:00.25+00' + i * interval '1 second', '192.0.2.1', 'invited',
    timestamptz '2026-01-01 00:00+00', timestamptz '2026-01-01 00:00+00'
from unnest($1::uuid[]) with ordinality as ids (id, ord), lateral (select (ord - 1)::int as i) as n
"""
CUSTOMERS = """
insert into crm.customers (tenant_id, id, name, kind, currency, payment_terms_days, tags, tax_exempt, status, parent_id)
select $1, ids.id, 'Customer ' || ord, 'company', 'USD', 30, '[]', false, 'active', case when ord > 1 then ($2::uuid[])[1] end
from unnest($2::uuid[]) with ordinality as ids (id, ord)
"""
CONTACTS = """
insert into crm.contacts (tenant_id, id, customer_id, full_name, email, phone, position, is_primary, marketing_consent,
    notes)
select $1, ids.id, ($2::uuid[])[1 + (ord - 1) / 20], 'Contact ' || ord,
    'contact-' || ord || '@example.com', '+49301' || lpad(ord::text, 6, '0'),
    'Buyer', false, false, case when ord % 2 = 0 then 'Calls on Mondays' end
from unnest($3::uuid[]) with ordinality as ids (id, ord)
"""


@dataclass(frozen=True)
class Stage:
    """A prepared installation. `users`, `contacts` and `customers` (20 contacts each) are ids, `stranger` is a contact of
    another tenant."""

    data: Path
    server: EmbeddedServer
    place: Place
    users: Sequence[UUID]
    contacts: Sequence[UUID]
    customers: Sequence[UUID]
    stranger: UUID

    @property
    def told(self) -> Path:
        """File that holds the `Place`."""
        return self.data / "place.json"

    def ask(self, statement: str, *arguments: Any, database: str = "manager", tenant: UUID | None = None) -> list[Any]:
        """Rows of a statement on a database, run as its owner, who sees no row of any tenant; or bound to one."""

        async def run() -> list[Any]:
            role = "cxg_runtime" if tenant else "cxg_owner"
            connection = await asyncpg.connect(self.server.url(database, role), ssl=False)
            try:
                await connection.fetch("select set_config('app.tenant_id', $1, false)", str(tenant or ""))
                return list(await connection.fetch(statement, *arguments))
            finally:
                await connection.close()

        return asyncio.run(run())

    def settle(self) -> None:
        """Wait until every record of the change log is sealed, whoever wrote it: what one contestant has left must not be done
        while another is measured. RuntimeError after a minute."""
        deadline = time.monotonic() + PATIENCE
        while self.ask("select from audt.audit_logs where seq is null limit 1"):
            if time.monotonic() > deadline:
                raise RuntimeError("the records of the change log are not sealed")
            time.sleep(0.1)


def numbered(family: int, count: int) -> list[UUID]:
    """`count` ids in the form of version 7, in order, the same at every run."""
    return [UUID(f"0190{family:04x}-0000-7000-8000-{index:012x}") for index in range(count)]


def settings_for(data: Path, registries: Sequence[str] = ("registry",)) -> Settings:
    """Settings of an installation in `data`; what `CXG_*` or a cxg.toml say about databases does not count."""
    given: dict[str, Any] = {"manager_url": None, "tenants_url": None, "environment": "development"}
    return Settings(
        data=data,
        admin_email=ADMIN,
        admin_password=SecretStr(PASSWORD),
        bcrypt_rounds=4,
        registries=list(registries),
        **given,
    )


@contextmanager
def built(rows: int) -> Iterator[Stage]:
    """An installation in a temporary folder with `rows` users and contacts; gone after the block."""
    with tempfile.TemporaryDirectory(prefix="cxg-bench-") as folder:
        data = Path(folder)
        server = start_embedded(data / "postgres")
        try:
            system = System(settings_for(data))
            system.server = server
            system.locate()
            stage = asyncio.run(_fill(system, server, rows))
            stage.told.write_bytes(msgspec.json.encode(stage.place))
            yield stage
        finally:
            server.stop()


async def _fill(system: System, server: EmbeddedServer, rows: int) -> Stage:
    await system.prepare_databases()
    await install(system)
    tenants = []
    for slug in ("first", "second"):
        owner = {"owner_email": f"owner@{slug}.example", "owner_password": PASSWORD}
        tenants.append((await create_tenant(system, {"slug": slug, "name": slug.title(), **owner}))["id"])
    await system.close()
    users, contacts, strangers = numbered(1, rows), numbered(2, rows), numbered(3, 10)
    customers = numbered(4, rows // 20 + 1)
    owner_url, runtime = server.url("manager"), server.url("tenants", "cxg_runtime")
    await _run(owner_url, [(USERS, users)])
    # row security binds the owner too, so tenants' rows are written as requests write them
    for tenant, ids in zip(tenants, (contacts, strangers), strict=True):
        bind = ("select set_config('app.tenant_id', $1, false)", str(tenant))
        await _run(runtime, [bind, (CUSTOMERS, tenant, customers), (CONTACTS, tenant, customers, ids)])
    await _run(owner_url, [("vacuum analyze idam.users",)])
    await _run(server.url("tenants"), [("vacuum analyze crm.contacts",), ("vacuum analyze crm.customers",)])
    place = Place(server.url("manager", "cxg_runtime"), runtime, tenants[0], users[0], random_token(40))
    return Stage(system.settings.data, server, place, users, contacts, customers, strangers[0])


async def _run(url: str, statements: Sequence[tuple[Any, ...]]) -> None:
    connection = await asyncpg.connect(url, ssl=False)
    try:
        for statement, *arguments in statements:
            await connection.fetch(statement, *arguments)
    finally:
        await connection.close()
