"""Encrypted columns: what lies in the database, who reads it, and what becomes of it when the key changes."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any
from uuid import UUID

import pytest
import structlog
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr
from rich.console import Console

from engine.clock import CLOCK
from engine.commands.secrets import rotate_secrets, tell
from engine.errors import StartupFault
from engine.main import System
from engine.rotation import Rotated
from engine.testing.harness import Live, served, serving, settings_for_tests
from engine.types import Principal
from tests.calls import Caller

KEEPERS, NOTES, BOXES = "room/room/keepers", "room/room/notes", "boxes/box/boxes"
SENSITIVE = "room.sensitive.read"
OLD, NEW = "the-old-key", "the-new-key"


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server that encrypts with the old key."""
    settings = settings_for_tests(tmp_path_factory.mktemp("secrets"), secret_key=SecretStr(OLD))
    with serving(settings, ["registry", "tests.engine.strongroom"]) as live:
        yield live


@pytest.fixture(scope="module")
def admin(room: Live) -> Caller:
    """Somebody who may see everything."""
    return Caller(room.client("room"))


@pytest.fixture(scope="module")
def clerk(room: Live) -> Caller:
    """Somebody who may do everything but see what is masked."""
    return Caller(room.lend(Principal(CLOCK.new_id(), permissions=room.catalog.permissions[False] - {SENSITIVE})))


def stored(live: Live, table: str, key: str, tenant: UUID | None = None) -> str:
    """The row as it lies in the database."""
    database = "tenants" if tenant else "manager"
    [row] = live.run_sql(database, f"select t::text from {table} t where id = $1", UUID(key), tenant=tenant)
    return str(row[0])


def with_keys(live: Live, current: str, *before: str) -> System:
    """A system over the same databases that knows these keys."""
    given = {"secret_key": SecretStr(current), "secret_keys_before": [SecretStr(key) for key in before]}
    system = System(live.system.settings.model_copy(update=given))
    system.server = live.system.server
    system.locate()
    return system


def run(system: System, work: Callable[[System], Coroutine[Any, Any, Any]]) -> Any:
    async def bounded() -> Any:
        try:
            return await work(system)
        finally:
            await system.close()

    return asyncio.run(bounded())


def test_no_way_of_writing_leaves_clear_text(room: Live, admin: Caller) -> None:
    secret = {"pin": "CANARY-1", "papers": {"title": "CANARY-2"}, "oath": "CANARY-3"}
    made = admin.make(KEEPERS, name="one", **secret, notes=[{"words": "CANARY-4"}])
    bulk = admin.send(201, "POST", KEEPERS, [{"name": "two", **secret}, {"name": "three"}])
    for row in (made, *bulk):
        admin.change(KEEPERS, row["id"], oath="CANARY-5")
        text = stored(room, "room.keepers", row["id"])
        assert "CANARY" not in text and text.count("v2:") == (3 if row["pin"] else 1)
    note = admin.make(NOTES, keeper_id=made["id"], words="CANARY-6")
    admin.change(NOTES, note["id"], words="CANARY-7")
    for row in admin.list(NOTES, f"filter[keeper_id]={made['id']}"):
        assert "CANARY" not in stored(room, "room.notes", row["id"])
    owner = Caller(room.client("boxes"))
    box = owner.make(BOXES, name="box", code="CANARY-8")
    owner.change(BOXES, box["id"], code="CANARY-9")
    text = stored(room, "box.boxes", box["id"], room.tenant(room.client("boxes")))
    assert "CANARY" not in text and "v2:" in text


def test_what_the_engine_writes_itself_is_encrypted(room: Live, admin: Caller) -> None:
    async def work(system: System) -> str:
        async with system.unit("room") as unit:
            [row] = await unit.create("room.keepers", [{"name": "inside", "oath": "CANARY-1"}])
            [changed] = await unit.update("room.keepers", [{"id": row["id"], "papers": {"title": "CANARY-2"}}])
            assert (row["oath"], changed["oath"], changed["papers"]) == ("CANARY-1", "CANARY-1", {"title": "CANARY-2"})
            return str(row["id"])

    key = run(with_keys(room, OLD), work)
    text = stored(room, "room.keepers", key)
    assert "CANARY" not in text and text.count("v2:") == 2


def test_rules_see_clear_text(admin: Caller) -> None:
    row = admin.make(KEEPERS, name="seen", pin="1234", papers={"title": "Passport"}, oath="I swear")
    assert row["seen"] == "14 P8 I7"
    assert admin.change(KEEPERS, row["id"], pin="56789")["seen"] == "55 P8 I7 14 14 14"
    assert admin.change(KEEPERS, row["id"], papers=None, oath=None)["seen"] == "55 - - 55 55 55"


def test_masked_values_are_read_with_the_permission_alone(admin: Caller, clerk: Caller) -> None:
    secret = {"pin": "1234", "papers": {"title": "Passport"}}
    made = admin.make(KEEPERS, name="masked", **secret, notes=[{"words": "under the mat"}])
    changed = admin.change(KEEPERS, made["id"], name="masked one")
    [listed] = admin.list(KEEPERS, f"filter[id]={made['id']}")
    for row in (made, changed, listed, admin.get(KEEPERS, made["id"])):
        assert {name: row[name] for name in secret} == secret and "oath" not in row
        assert [note["words"] for note in row["notes"]] == ["under the mat"] if "notes" in row else row is listed
    [bulk] = admin.send(201, "POST", KEEPERS, [{"name": "bulk", **secret}])
    assert bulk["pin"] == "1234"
    seen = clerk.get(KEEPERS, made["id"])
    assert (seen["pin"], seen["papers"], seen["notes"][0]["words"]) == ("***", "***", "***")
    assert clerk.change(KEEPERS, made["id"], pin="4321")["pin"] == "***"
    assert admin.get(KEEPERS, made["id"])["pin"] == "4321"


def test_the_length_is_that_of_the_text(admin: Caller) -> None:
    assert admin.make(KEEPERS, name="long", pin="ä" * 12)["pin"] == "ä" * 12
    admin.expect_refusal("422:too_long", "POST", KEEPERS, {"name": "longer", "pin": "1" * 13})


@pytest.mark.parametrize("source", ["oath", "'v2:00000000:AAAA'", "'clear text'"])
def test_what_is_no_cipher_of_the_column_is_refused(room: Live, admin: Caller, source: str) -> None:
    row = admin.make(KEEPERS, name="moved", pin="1234", oath="4321")
    room.run_sql("manager", f"update room.keepers set pin = {source} where id = $1", UUID(row["id"]))
    error = admin.expect_refusal("500:internal_error", "GET", f"{KEEPERS}/{row['id']}")
    assert "4321" not in str(error)
    admin.expect_refusal("500:internal_error", "PATCH", f"{KEEPERS}/{row['id']}", {"oath": "x"})
    room.run_sql("manager", "delete from room.keepers where id = $1", UUID(row["id"]))


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the server logs during the test, tracebacks included."""
    lines = io.StringIO()
    processors = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    logger = structlog.wrap_logger(structlog.PrintLogger(lines), processors=processors)
    monkeypatch.setattr("engine.observe.LOG", logger)
    return lines


def test_a_secret_is_in_no_answer_log_or_history(room: Live, admin: Caller, clerk: Caller, log: io.StringIO) -> None:
    canary = "CANARY-log"
    row = clerk.make(KEEPERS, name="canary", pin=canary, oath=canary, papers={"title": canary})
    changed = clerk.change(KEEPERS, row["id"], pin=canary + "2", oath=canary + "2")
    answers = [str(row), str(changed), str(clerk.list(KEEPERS))]
    faulty = ({"oath": [canary]}, {"papers": {"title": [canary]}}, {"pin": canary * 3}, {"papers": canary})
    for body in faulty:
        answers.append(clerk.client.patch(f"/{KEEPERS}/{row['id']}", json=body).text)
    answers.append(clerk.client.get(f"/{KEEPERS}", params={"filter[oath]": canary}).text)
    history = admin.client.get(f"/{KEEPERS}/{row['id']}/history").text
    # the encrypted one is told of, the hidden one does not exist
    assert '"pin":["***","***"]' in history.replace(" ", "") and "oath" not in history
    answers += [history, admin.client.get("/manager/audt/audit-logs?page_size=100").text]
    room.run_sql("manager", "update room.keepers set pin = oath where id = $1", UUID(row["id"]))
    answers.append(admin.client.get(f"/{KEEPERS}/{row['id']}").text)
    room.run_sql("manager", "delete from room.keepers where id = $1", UUID(row["id"]))
    written = log.getvalue()
    assert "request failed" in written and canary not in written
    assert [text for text in answers if canary in text] == []


def first_form(key: str, text: str) -> str:
    """A cipher as it was before keys had names."""
    derived = HKDF(SHA256(), 32, None, b"cxg column encryption").derive(key.encode())
    nonce = os.urandom(12)
    return "v1:" + base64.b64encode(nonce + AESGCM(derived).encrypt(nonce, text.encode(), None)).decode()


def oaths(live: Live, system: System, keys: list[str]) -> list[str]:
    """What rules of a system read."""

    async def work(system: System) -> list[str]:
        async with system.unit("room") as unit:
            rows = [await unit.get("room.keepers", UUID(key)) for key in keys]
            return [row["oath"] for row in rows if row is not None]

    found: list[str] = run(system, work)
    return found


def test_after_rotation_the_old_key_can_go(room: Live, admin: Caller) -> None:
    rows = admin.send(
        201, "POST", KEEPERS, [{"name": "r", "oath": f"oath {n}", "papers": {"n": "x"}} for n in range(450)]
    )
    keys = [row["id"] for row in rows]
    gone = admin.make(KEEPERS, name="gone", oath="oath of the dead")
    admin.drop(KEEPERS, gone["id"])
    early = admin.make(KEEPERS, name="early", oath="x")
    text = "update room.keepers set oath = $1 where id = $2"
    room.run_sql("manager", text, first_form(OLD, "early oath"), UUID(early["id"]))
    second = Caller(room.other_tenant())
    box = second.make(BOXES, name="far", code="tenant's own")
    suspend = "update tnnt.tenants set status = $1 where slug = 'second'"
    room.run_sql("manager", suspend, "suspended")
    version, history = rows[0]["version"], len(admin.list(f"{KEEPERS}/{keys[0]}/history"))

    done = run(with_keys(room, NEW, OLD), rotate_secrets)

    room.run_sql("manager", suspend, "active")
    assert done[KEEPERS].renewed >= 2 * 450 + 2 and done[KEEPERS].unreadable == 0
    assert done[BOXES].renewed >= 1
    assert oaths(room, with_keys(room, NEW), [*keys, early["id"]]) == [*(f"oath {n}" for n in range(450)), "early oath"]
    with pytest.raises(ValueError, match="not known"):
        oaths(room, with_keys(room, OLD), keys[:1])
    prefixes = {
        str(row[0])[:12] for row in room.run_sql("manager", "select oath from room.keepers where oath is not null")
    }
    assert prefixes == {with_keys(room, NEW).vault.ring.prefix}
    assert with_keys(room, NEW).vault.ring.prefix in stored(
        room, "box.boxes", box["id"], room.tenant(room.other_tenant())
    )

    again = run(with_keys(room, NEW, OLD), rotate_secrets)
    assert {(counts.renewed, counts.unreadable) for counts in again.values()} == {(0, 0)}
    with served(with_keys(room, NEW)) as anew:
        row = Caller(anew.client("room")).get(KEEPERS, keys[0])
        assert (row["version"], row["papers"]) == (version, {"n": "x"})
        assert len(Caller(anew.client("room")).list(f"{KEEPERS}/{keys[0]}/history")) == history
    run(with_keys(room, OLD, NEW), rotate_secrets)


def test_servers_write_while_keys_rotate(room: Live, admin: Caller) -> None:
    rows = admin.send(201, "POST", KEEPERS, [{"name": f"b{n}", "oath": "before"} for n in range(300)])
    keys = [row["id"] for row in rows]
    with served(with_keys(room, NEW, OLD)) as busy:
        caller = Caller(busy.client("room"))

        def write() -> None:
            for key in reversed(keys):
                caller.change(KEEPERS, key, oath=f"after {key}")

        writer = threading.Thread(target=write)
        writer.start()
        run(with_keys(room, NEW, OLD), rotate_secrets)
        writer.join()
    assert oaths(room, with_keys(room, NEW), keys) == [f"after {key}" for key in keys]
    run(with_keys(room, OLD, NEW), rotate_secrets)


def test_what_no_key_opens_is_counted_and_stays(room: Live, admin: Caller) -> None:
    row = admin.make(KEEPERS, name="lost", pin="1234", oath="readable")
    lost = first_form("a key that nobody has", "x")
    room.run_sql("manager", "update room.keepers set pin = $1 where id = $2", lost, UUID(row["id"]))
    done = run(with_keys(room, NEW, OLD), rotate_secrets)
    assert done[KEEPERS].unreadable == 1 and lost in stored(room, "room.keepers", row["id"])
    room.run_sql("manager", "delete from room.keepers where id = $1", UUID(row["id"]))
    run(with_keys(room, OLD, NEW), rotate_secrets)


def test_the_command_tells_counts_and_fails_for_what_stayed() -> None:
    console = Console(file=io.StringIO(), record=True, width=100)
    tell({KEEPERS: Rotated(31, 0)}, console)
    told = console.export_text()
    assert KEEPERS in told and "31" in told
    with pytest.raises(StartupFault, match="2 values"):
        tell({KEEPERS: Rotated(3, 2)}, console)
