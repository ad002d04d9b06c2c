"""From models to a database and back to no difference: at once in development, by files in production."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import (
    CheckConstraint,
    Column,
    Integer,
    MetaData,
    String,
    Table,
    Uuid,
)

from engine.errors import StartupFault
from tenancy import migrate
from tenancy.migrate import (
    MigrationOptions,
    NothingToWrite,
    make_migration,
    pending,
    synchronise,
    upgrade,
)

if TYPE_CHECKING:
    from tests.tenancy.conftest import Ask, ScratchDatabase

Models = Callable[[], MetaData]

pytestmark = pytest.mark.anyio


async def test_an_empty_database_becomes_the_models(
    scratch_database: ScratchDatabase, bound: Models, options: MigrationOptions, ask: Ask
) -> None:
    assert await synchronise(scratch_database.owner, bound(), options) is True
    assert await ask.violations(scratch_database.owner, bound()) == []
    assert await ask.difference(scratch_database.owner, bound(), options) == []
    assert await synchronise(scratch_database.owner, bound(), options) is False


async def test_nothing_is_read_when_the_fingerprint_matches(
    scratch_database: ScratchDatabase, bound: Models, options: MigrationOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    await synchronise(scratch_database.owner, bound(), options)
    monkeypatch.delattr(migrate, "find_difference")
    assert await synchronise(scratch_database.owner, bound(), options) is False


async def test_the_manager_side_has_triggers_and_no_policies(
    scratch_database: ScratchDatabase, models: Models, options: MigrationOptions, ask: Ask
) -> None:
    manager = replace(options, scope="manager", tenant_bound=False, triggers=True)
    assert await synchronise(scratch_database.owner, models(), manager)
    assert await ask.difference(scratch_database.owner, models(), manager) == []
    with pytest.raises(asyncpg.RestrictViolationError, match=r"stay\.events is append-only: TRUNCATE refused"):
        await ask.execute(scratch_database.owner, "TRUNCATE stay.events")
    await ask.execute(scratch_database.owner, "DROP TRIGGER append_only ON stay.events")
    (mended, _) = await ask.difference(scratch_database.owner, models(), manager)
    assert mended.startswith("CREATE OR REPLACE TRIGGER append_only BEFORE DELETE OR UPDATE OF body, ")


async def test_what_vanished_is_kept_and_told(
    scratch_database: ScratchDatabase, bound: Models, options: MigrationOptions, ask: Ask
) -> None:
    metadata, told = bound(), list[str]()
    Table("former", metadata, Column("tenant_id", Uuid, primary_key=True, info={"tenant": True}), schema="sale")
    metadata.tables["sale.orders"].append_column(Column("was_required", Integer, nullable=False))
    await synchronise(scratch_database.owner, metadata, options)
    assert await synchronise(scratch_database.owner, bound(), replace(options, say=told.append))
    lost = ["DROP TABLE sale.former", "ALTER TABLE sale.orders DROP COLUMN was_required"]
    assert sorted(told) == sorted(f"tenants: left undone, it would lose data: {loss}" for loss in lost)
    assert sorted(await ask.difference(scratch_database.owner, bound(), options)) == sorted(lost)
    connection = await asyncpg.connect(scratch_database.owner)
    nullable = "SELECT is_nullable FROM information_schema.columns WHERE column_name = 'was_required'"
    assert await connection.fetchval(nullable) == "YES"
    assert await connection.fetchval("SELECT to_regclass('sale.former')") == "sale.former"
    await connection.close()


async def test_a_failing_change_leaves_everything_as_it_was(
    scratch_database: ScratchDatabase, bound: Models, options: MigrationOptions, ask: Ask
) -> None:
    await synchronise(scratch_database.owner, bound(), options)
    await ask.execute(scratch_database.superuser, f"INSERT INTO ref.currencies VALUES ('{uuid4()}', 'EUR')")
    metadata = bound()
    metadata.tables["ref.currencies"].append_column(Column("required", Integer, nullable=False))
    metadata.tables["sale.orders"].append_column(Column("note", String(9)))
    with pytest.raises(StartupFault, match="there are rows already: give the column a server_default"):
        await synchronise(scratch_database.owner, metadata, options)
    metadata.tables["ref.currencies"].c.required.nullable = True
    metadata.tables["ref.currencies"].append_constraint(CheckConstraint("code = 'USD'", name="ck_usd"))
    with pytest.raises(StartupFault, match=r"refuses what the models ask for: .*ck_usd"):
        await synchronise(scratch_database.owner, metadata, options)
    assert await synchronise(scratch_database.owner, bound(), options) is False
    assert await ask.difference(scratch_database.owner, bound(), options) == []


async def test_two_programs_start_at_the_same_time(
    scratch_database: ScratchDatabase, bound: Models, options: MigrationOptions
) -> None:
    done = await asyncio.gather(*(synchronise(scratch_database.owner, bound(), options) for _ in range(3)))
    assert sorted(done) == [False, False, True]


async def test_two_scopes_share_a_database(
    scratch_database: ScratchDatabase, bound: Models, options: MigrationOptions
) -> None:
    manager, metadata = replace(options, scope="manager", tenant_bound=False), MetaData()
    Table("plans", metadata, Column("id", Integer, primary_key=True), schema="bill")
    assert await synchronise(scratch_database.owner, metadata, manager)
    assert await synchronise(scratch_database.owner, bound(), options)
    assert not await synchronise(scratch_database.owner, metadata, manager)


async def test_unbound_models_and_odd_scopes_are_refused(
    scratch_database: ScratchDatabase, models: Models, options: MigrationOptions
) -> None:
    with pytest.raises(StartupFault, match="neither bound to a tenant nor shared: sale"):
        await synchronise(scratch_database.owner, models(), options)
    with pytest.raises(ValueError, match="lower-case"):
        replace(options, scope="a; DROP TABLE b")


async def test_migrations_are_files_that_lead_to_the_models(
    scratch_database: ScratchDatabase, bound: Models, options: MigrationOptions, ask: Ask
) -> None:
    first = await make_migration(scratch_database.owner, bound(), options, "start")
    metadata = bound()
    metadata.tables["sale.orders"].append_column(Column("note", String(9)))
    second = await make_migration(scratch_database.owner, metadata, options, "add_note")
    assert [path.name for path in sorted(options.folder.iterdir()) if path.suffix] == [
        "0001_start.py", "0001_start.sql", "0002_add_note.py", "0002_add_note.sql",
    ]  # fmt: skip
    assert "CREATE TABLE sale.orders" in first.read_text()
    assert second.read_text() == "ALTER TABLE sale.orders ADD COLUMN note VARCHAR(9);\n"
    assert await pending(scratch_database.owner, options) == ["0002_add_note"]
    assert await upgrade(scratch_database.owner, options) == ["0002_add_note"]
    assert await pending(scratch_database.owner, options) == []
    assert await upgrade(scratch_database.owner, options) == []
    assert await ask.violations(scratch_database.owner, metadata) == []
    with pytest.raises(NothingToWrite, match="already lead to the models"):
        await make_migration(scratch_database.owner, metadata, options, "again")
    with pytest.raises(ValueError, match="lower-case"):
        await make_migration(scratch_database.owner, metadata, options, "../again")


async def test_a_written_migration_drops_what_vanished_last(
    scratch_database: ScratchDatabase, bound: Models, options: MigrationOptions, ask: Ask
) -> None:
    metadata = bound()
    metadata.tables["sale.orders"].append_column(Column("former", Integer, index=True))
    await make_migration(scratch_database.owner, metadata, options, "start")
    written = await make_migration(scratch_database.owner, bound(), options, "drop_old")
    assert written.read_text() == (
        "DROP INDEX sale.ix_sale_orders_former;\n\n-- takes data along\nALTER TABLE sale.orders DROP COLUMN former;\n"
    )
    await upgrade(scratch_database.owner, options)
    assert await ask.difference(scratch_database.owner, bound(), options) == []


async def test_a_synchronised_database_is_no_ground_for_migrations(
    scratch_database: ScratchDatabase, bound: Models, options: MigrationOptions
) -> None:
    await synchronise(scratch_database.owner, bound(), options)
    with pytest.raises(StartupFault, match="only migrations made"):
        await make_migration(scratch_database.owner, bound(), options, "start")


async def test_a_failing_migration_leaves_no_half(
    scratch_database: ScratchDatabase, bound: Models, options: MigrationOptions, ask: Ask
) -> None:
    await make_migration(scratch_database.owner, bound(), options, "start")
    await upgrade(scratch_database.owner, options)
    metadata = bound()
    metadata.tables["sale.orders"].append_column(Column("note", String(9)))
    written = await make_migration(scratch_database.owner, metadata, options, "add_note")
    written.write_text(written.read_text() + "SELECT 1/0;\n")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await upgrade(scratch_database.owner, options)
    assert await pending(scratch_database.owner, options) == ["0002_add_note"]
    assert await ask.difference(scratch_database.owner, bound(), options) == []


async def test_an_upgrade_gives_way_to_a_lock_and_comes_back(
    scratch_database: ScratchDatabase, bound: Models, options: MigrationOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "LOCK_TIMEOUT", 0.05)
    await make_migration(scratch_database.owner, bound(), options, "start")
    await upgrade(scratch_database.owner, options)
    metadata = bound()
    metadata.tables["sale.orders"].append_column(Column("note", String(9)))
    await make_migration(scratch_database.owner, metadata, options, "add_note")
    holder = await asyncpg.connect(scratch_database.owner)
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute("LOCK TABLE sale.orders IN ACCESS SHARE MODE")
    busy = asyncio.Event()
    waiting = asyncio.create_task(upgrade(scratch_database.owner, replace(options, say=lambda _: busy.set())))
    await asyncio.wait_for(busy.wait(), 5)
    await transaction.rollback()
    assert await waiting == ["0002_add_note"]
    await holder.close()


async def test_an_upgrade_gives_up_in_the_end(
    scratch_database: ScratchDatabase,
    bound: Models,
    options: MigrationOptions,
    monkeypatch: pytest.MonkeyPatch,
    ask: Ask,
) -> None:
    for name, value in {"LOCK_TIMEOUT": 0.02, "PAUSE": 0, "ATTEMPTS": 2}.items():
        monkeypatch.setattr(migrate, name, value)
    await make_migration(scratch_database.owner, bound(), options, "start")
    holder = await asyncpg.connect(scratch_database.superuser)
    await ask.execute(scratch_database.superuser, "CREATE TABLE public.busy (); GRANT ALL ON busy TO cxg_owner")
    (options.folder / "0001_start.sql").write_text("LOCK TABLE public.busy")
    async with holder.transaction():
        await holder.execute("LOCK TABLE public.busy")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await upgrade(scratch_database.owner, options)
    assert await upgrade(scratch_database.owner, options) == ["0001_start"]
    await holder.close()


async def test_a_database_that_is_ahead_of_the_files_says_so(
    scratch_database: ScratchDatabase, bound: Models, options: MigrationOptions, ask: Ask
) -> None:
    await make_migration(scratch_database.owner, bound(), options, "start")
    await upgrade(scratch_database.owner, options)
    await ask.execute(scratch_database.owner, "UPDATE public.cxg_version_tenants SET version_num = '0009'")
    with pytest.raises(StartupFault, match="the database is at 0009"):
        await upgrade(scratch_database.owner, options)
