"""A real server once a session, a fresh database a test, and small models to put into it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest
from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import TSTZRANGE, ExcludeConstraint
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tenancy.embedded import OWNER, RUNTIME, SUPERUSER, EmbeddedServer, start_embedded
from tenancy.migrate import MigrationOptions, changes
from tenancy.policies import find_violations
from tenancy.shape import bind_to_tenant, index_foreign_keys

NUMBERS = count(1)


@dataclass(frozen=True)
class ScratchDatabase:
    """URLs of one empty database, by who comes in."""

    owner: str
    runtime: str
    superuser: str


class Ask:
    """What tests ask of a database and do to it."""

    async def difference(self, url: str, metadata: MetaData, options: MigrationOptions) -> list[str]:
        engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"), poolclass=NullPool)
        async with engine.connect() as connection:
            return await changes(connection, metadata, options)

    async def violations(self, url: str, metadata: MetaData) -> list[str]:
        connection = await asyncpg.connect(url)
        found = await find_violations(connection, metadata)
        await connection.close()
        return found

    async def execute(self, url: str, sql: str) -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()


@pytest.fixture(scope="session")
def ask() -> Ask:
    return Ask()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    server = start_embedded(tmp_path_factory.mktemp("pg") / "data", durable=False)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def new_database(postgres: EmbeddedServer) -> Callable[[], Awaitable[ScratchDatabase]]:
    """Makes an empty database. It is left behind: the whole server goes with the session."""

    async def make() -> ScratchDatabase:
        name = f"scratch_{next(NUMBERS)}"
        await postgres.ensure_database(name)
        password = json.loads((postgres.data / "cxg_roles.json").read_text())[SUPERUSER]
        # the superuser comes in by the socket only
        socket = f"host={quote(str(postgres.data), safe='')}&port={postgres.port}&user={SUPERUSER}&password={password}"
        return ScratchDatabase(postgres.url(name, OWNER), postgres.url(name, RUNTIME), f"postgresql:///{name}?{socket}")

    return make


@pytest.fixture
async def scratch_database(new_database: Callable[[], Awaitable[ScratchDatabase]]) -> ScratchDatabase:
    return await new_database()


@pytest.fixture(scope="session")
def models() -> Callable[[], MetaData]:
    """Tables as a registry writes them, before anything is rewritten: a new MetaData at each call."""
    return shop


@pytest.fixture(scope="session")
def bound() -> Callable[[], MetaData]:
    """The same, bound to a tenant."""

    def make() -> MetaData:
        metadata = shop()
        bind_to_tenant(metadata)
        index_foreign_keys(metadata)
        return metadata

    return make


@pytest.fixture
def options(tmp_path: Path) -> MigrationOptions:
    return MigrationOptions("tenants", tenant_bound=True, runtime_role=RUNTIME, folder=tmp_path / "versions")


def shop() -> MetaData:
    """A circle of foreign keys, a shared table, every kind of key and index, an append-only table."""
    metadata = MetaData()
    Table(
        "currencies", metadata, Column("id", Uuid, primary_key=True), Column("code", String(3)), schema="ref",
        info={"shared": True},
    )  # fmt: skip
    Table(
        "customers", metadata,
        Column("id", Uuid, primary_key=True),
        Column("number", String(20), nullable=False),
        Column("name", Text, nullable=False),
        Column("currency_id", ForeignKey("ref.currencies.id")),
        Column("main_order_id", ForeignKey("sale.orders.id", use_alter=True, ondelete="SET NULL")),
        Column("is_active", Boolean, nullable=False, server_default=text("true")),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
        UniqueConstraint("name", "currency_id", postgresql_nulls_not_distinct=True),
        Index("ux_customers_number", "number", unique=True, postgresql_where=text("is_active")),
        Index("ix_customers_name_prefix", "name", postgresql_ops={"name": "text_pattern_ops"}),
        schema="sale",
    )  # fmt: skip
    Table(
        "orders", metadata,
        Column("id", Uuid, primary_key=True),
        Column("customer_id", ForeignKey("sale.customers.id", ondelete="CASCADE"), nullable=False),
        Column("parent_id", ForeignKey("sale.orders.id"), index=True),
        Column("status", String(24), nullable=False, server_default=text("'draft'")),
        Column("total", Numeric(19, 4), nullable=False, server_default=text("0")),
        CheckConstraint("status IN ('draft', 'open')", name="ck_orders_status"),
        CheckConstraint("total >= 0"),
        schema="sale",
    )  # fmt: skip
    add_stays(metadata)
    return metadata


def add_stays(metadata: MetaData) -> None:
    Table(
        "bookings", metadata,
        Column("id", Uuid, primary_key=True),
        Column("room", Text, nullable=False),
        Column("during", TSTZRANGE, nullable=False),
        ExcludeConstraint(("room", "="), ("during", "&&"), name="ex_bookings_room"),
        schema="stay",
    )  # fmt: skip
    Table(
        "events", metadata,
        Column("id", Uuid, primary_key=True), Column("body", Text), Column("seal", Text),
        schema="stay", info={"append_only": True, "sealed_columns": ("seal",)},
    )  # fmt: skip
