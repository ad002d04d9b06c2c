"""A database of somebody else's without the bundled registry: who may enter, what is made there, and what is said when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from engine import Engine, Principal, StartupFault
from engine.cli import app
from engine.entrance import check_entrance
from engine.main import System
from engine.reflection import Wish, reflect
from engine.settings import Settings
from engine.testing.harness import Live, served
from tests.engine.reflection.conftest import Database
from tests.engine.reflection.somebody import ask

NOTES = "create table notes (id int primary key, text text); insert into notes values (1, 'one')"


def settings_of(url: str, data: Path, **options: Any) -> Settings:
    given = {"database": SecretStr(url), "scope": "erp", "registries": [], "data": data}
    return Settings(**{**given, **options})


@contextmanager
def alone(settings: Settings) -> Iterator[Live]:
    """A server of the database and of nothing else."""
    system = System(settings)
    check_entrance(settings, system.catalog)
    system.locate()
    asyncio.run(system.prepare_databases())
    assert system.server is None
    with served(system) as running:
        yield running


@pytest.mark.parametrize("options", [{}, {"identity": "key"}, {"identity": "key", "environment": "production"}])
def test_a_database_alone_is_served_to_who_has_the_key(
    database: Database, tmp_path: Path, options: dict[str, Any]
) -> None:
    url = database(f"alone_{len(options)}", NOTES)
    with alone(settings_of(url, tmp_path, write=True, audit_schema="cxg", **options)) as live:
        assert set(live.catalog.scopes) == {"erp"}
        assert httpx.get(f"{live.url}/erp/public/notes").status_code == 401
        client = live.client("erp")
        assert client.get("/erp/public/notes/1").json()["data"] == {"id": 1, "text": "one"}
        made = client.post("/erp/public/notes", json={"id": 2}, headers={"Idempotency-Key": "k"})
        assert made.status_code == 201, made.text
        assert client.get(f"{made.headers['location']}/history").json()["data"]["total"] == 1
        assert {path.split("/")[1] for path in client.get("/openapi.json").json()["paths"]} >= {"erp"}


def test_in_production_somebody_is_let_in_by_name(database: Database, tmp_path: Path) -> None:
    settings = settings_of(database("shut", NOTES), tmp_path, environment="production", audit_schema="cxg")
    with pytest.raises(StartupFault, match='identity = "key"'):
        check_entrance(settings, System(settings).catalog)


@pytest.mark.parametrize("flags", [["--no-registry"], ["--registry", ""]])
def test_the_command_can_leave_every_registry_out(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    monkeypatch.setenv("CXG_DATABASE", database(f"commanded_{len(flags)}", NOTES))
    monkeypatch.setenv("CXG_REGISTRIES", "[]")
    if flags == ["--no-registry"]:
        app(["check", *flags], result_action="return_value")
        assert "1 entities in 1 scopes" in capsys.readouterr().out
        monkeypatch.delenv("CXG_DATABASE")
    with pytest.raises(StartupFault, match="name a registry" if len(flags) == 1 else "--no-registry"):
        app(["check", *flags], result_action="return_value")


def test_a_host_serves_it_too(database: Database, tmp_path: Path) -> None:
    url = database("hosted", NOTES)
    given = {"database": url, "scope": "erp", "write": True, "audit_schema": "cxg", "data": tmp_path}
    engine = Engine(authenticate=lambda _: Principal(None, everything=True), settings=given)
    assert set(engine.entities) == {"erp/public/notes", "erp/cxg/audit-logs"}

    async def work() -> None:
        await engine.synchronise()
        async with engine, engine.moment("erp") as moment:
            assert await moment.create("public.notes", {"id": 5, "text": "x"}) == {"id": 5, "text": "x"}

    asyncio.run(work())
    assert len(ask(url, "select 1 from cxg.audit_logs")) == 1
    with pytest.raises(StartupFault, match="not in `databases`"):
        Engine(databases={"erp": url}, settings=given)


# -- the engine's own schema


@pytest.mark.parametrize(
    "script",
    [
        "create schema mine; create table mine.things (id int primary key)",
        "create schema mine; create table mine.audit_logs (id int primary key, happened text)",
    ],
)
def test_a_schema_of_theirs_is_not_taken_for_the_log(database: Database, script: str) -> None:
    url = database(f"taken_{len(script)}", script)
    with pytest.raises(StartupFault, match=r"is not the engine's.*Name a schema that is empty"):
        reflect(Wish(url, "shop", audit_schema="mine"))
    assert len(ask(url, "select 1 from pg_tables where schemaname = 'mine'")) == 1


def test_tables_that_were_made_beforehand_are_enough(live: Live, database: Database, tmp_path: Path) -> None:
    url = database("beforehand", NOTES, "grant select, insert on notes to cxg_runtime")
    server = live.system.server
    assert server is not None
    clerk = settings_of(server.url("beforehand", "cxg_runtime"), tmp_path, write=True, audit_schema="cxg log")
    system = System(clerk)
    system.locate()
    with pytest.raises(StartupFault, match="as an owner run this") as fault:
        asyncio.run(system.prepare_databases())
    script = str(fault.value).partition(":\n")[2]
    ask(url, script)
    ask(url, 'grant usage on schema "cxg log" to cxg_runtime')
    ask(url, 'grant select, insert, update, delete on all tables in schema "cxg log" to cxg_runtime')
    with alone(clerk) as running:
        made = running.client("erp").post("/erp/public/notes", json={"id": 2}, headers={"Idempotency-Key": "k"})
        assert made.status_code == 201, made.text


def test_nothing_is_made_for_a_server_that_cannot_start(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = database("unmade", NOTES)
    for name, value in {"DATABASE": url, "ENVIRONMENT": "production", "WRITE": "true", "DATA": str(tmp_path)}.items():
        monkeypatch.setenv(f"CXG_{name}", value)
    monkeypatch.setenv("CXG_REGISTRIES", "[]")
    monkeypatch.setenv("CXG_AUDIT_SCHEMA", "cxg")
    with pytest.raises(StartupFault, match="who may enter"):
        app(["serve", "--no-registry"], result_action="return_value")
    assert ask(url, "select 1 from pg_namespace where nspname = 'cxg'") == []


# -- what is said of a database that cannot be read


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (
            "postgresql://me:tell-nobody@no.such.host.invalid/erp",
            "'erp' at no.such.host.invalid:5432, as 'me'.*spelled",
        ),
        ("postgresql://me:tell-nobody@127.0.0.1:1/erp", "'erp' at 127.0.0.1:1, as 'me'.*does the server run"),
        ("postgresql://me:tell-nobody/@127.0.0.1/erp", "%2F"),
        ("mysql://me:tell-nobody@127.0.0.1/erp", "postgresql://user"),
    ],
)
def test_a_database_that_cannot_be_read_is_named_with_the_way_out(address: str, said: str) -> None:
    with pytest.raises(StartupFault, match=said) as fault:
        reflect(Wish(address, "shop"))
    assert "tell-nobody" not in str(fault.value) and fault.value.__cause__ is None


def test_each_cause_has_its_advice(database: Database) -> None:
    url = database("advised", NOTES)
    head, _, tail = url.rpartition("@")
    for address, said in (
        (url.replace("/advised", "/nowhere"), "no database of this name"),
        (f"{head}x@{tail}", "does not let this user in"),
        (f"{url}?sslmode=require", "sslmode=disable"),
    ):
        with pytest.raises(StartupFault, match=said):
            reflect(Wish(address, "shop"))


def test_an_empty_database_says_why(database: Database) -> None:
    assert reflect(Wish(database("full", NOTES), "shop")).empty == ""
    empty = reflect(Wish(database("empty"), "shop", audit_schema="cxg")).empty
    assert "0 tables of database 'empty'" in empty and "grant select" in empty
