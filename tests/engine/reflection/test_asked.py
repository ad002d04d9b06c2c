"""Nothing is written to somebody else's database unless asked: not a row, not a schema; and what is asked is done."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from engine.errors import StartupFault
from engine.main import System, load
from engine.reflection import Wish, reflect
from engine.testing.harness import Live
from tests.engine.reflection.conftest import Database
from tests.engine.reflection.somebody import ask, over

TABLES = """
create schema own;
create table own.notes (
    id int generated always as identity primary key, text text not null, rev int not null default 1, removed_on timestamptz,
    made timestamp, made_by text, touched timestamptz, touched_by uuid
);
create table own.flags (id int primary key, archived boolean, parent_id int references own.flags);
create table own.actives (id int primary key, enabled boolean not null default true);
create table own.remarks (id int primary key, note_id int references own.notes, text text);
create table own.marks (note_id int, no int, removed_on timestamptz, text text, primary key (note_id, no),
    foreign key (note_id) references own.notes on delete cascade);
create table own.spots (id int primary key, note_id int, no int, removed_on timestamptz,
    foreign key (note_id, no) references own.marks on delete set null);
create table own.strokes (id int primary key, note_id int, no int,
    foreign key (note_id, no) references own.marks on delete cascade);
create table own.numbered (id serial primary key, text text);
create table own.plain (id int primary key, text text);
create table own.bare (text text);
insert into own.plain values (1, 'one');
"""
PARTS = {
    **{"soft_delete": "removed_on", "version": "rev", "created_at": "made", "created_by": "made_by"},
    **{"updated_at": "touched", "updated_by": "touched_by"},
    **{"own.flags.soft_delete": "archived", "own.actives.soft_delete": "enabled"},
}
# what a database holds, and how often anything in it was written
STATE = """
select (select count(*) from pg_class), (select count(*) from pg_namespace), (select count(*) from pg_proc),
       (select sum(n_tup_ins + n_tup_upd + n_tup_del) from pg_stat_all_tables), (select count(*) from pg_roles)
"""


def data(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()["data"]


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.fixture(scope="module")
def owned(database: Database) -> str:
    return database("owned", TABLES)


@pytest.fixture(scope="module")
def mapped(live: Live, owned: str) -> Iterator[Live]:
    with over(live, owned, write=True, audit_schema="cxg log", columns=PARTS) as running:
        yield running


@pytest.fixture
def client(mapped: Live) -> httpx.Client:
    return mapped.client("shop")


def test_it_is_only_read_by_default(live: Live, database: Database) -> None:
    url = database("untouched", TABLES)
    [before] = ask(url, STATE)
    with over(live, url) as running:
        client = running.client("shop")
        for method, path in (
            *(("POST", "own/plain"), ("PATCH", "own/plain/1"), ("PUT", "own/plain/1"), ("DELETE", "own/plain/1")),
            *(
                ("PATCH", "own/plain"),
                ("DELETE", "own/plain"),
                ("POST", "own/plain/upsert"),
                ("POST", "own/plain/import"),
            ),
            ("PATCH", "own/plain/1/status"),
        ):
            answer = client.request(method, f"/shop/{path}", json={"id": 2})
            assert code(answer) == (405, "method_not_allowed"), (method, path)
        assert data(client.get("/shop/own/plain"))["total"] == 1
        assert client.get("/shop/own/plain/export", params={"format": "csv"}).status_code == 200
        # behind the routes the connections themselves refuse
        with pytest.raises(Exception, match="read-only"):
            asyncio.run(written(running.system))
    assert ask(url, STATE) == [before]


async def written(system: System) -> None:
    pool = system.new_pools()["shop"]
    try:
        await pool.run(None, "insert into own.plain values (9, 'x')", ())
    finally:
        await pool.close()


def test_soft_delete_version_and_stamps_have_their_columns(client: httpx.Client) -> None:
    made = client.post("/shop/own/notes", json={"text": "a"})
    row, place = data(made, 201), made.headers["location"]
    assert made.headers["etag"] == '"1"'
    assert (row["rev"], row["removed_on"], row["made_by"]) == (1, None, "admin@example.com")
    assert row["made"] and row["touched"] and row["touched_by"]
    changed = data(client.patch(place, json={"text": "b", "version": 1}))
    assert (changed["rev"], changed["text"], changed["made"]) == (2, "b", row["made"])
    assert code(client.patch(place, json={"text": "c", "version": 1})) == (409, "version_conflict")
    assert code(client.patch(place, json={"text": "c"}, headers={"If-Match": '"1"'})) == (412, "version_conflict")
    gone = data(client.delete(place))
    assert gone["removed_on"] and gone["rev"] == 3
    assert code(client.get(place)) == (404, "not_found")
    assert data(client.get(place, params={"deleted": "only"}))["rev"] == 3
    assert data(client.get(f"{place}/transitions"))["status"] == "inactive"
    back = data(client.patch(f"{place}/status", json={"status": "active", "version": 3}))
    assert (back["removed_on"], back["rev"]) == (None, 4)
    for name in ("rev", "removed_on", "made", "touched_by"):
        assert code(client.patch(place, json={name: None})) == (422, "validation_error")


@pytest.mark.parametrize(("table", "name", "gone"), [("flags", "archived", True), ("actives", "enabled", False)])
def test_a_flag_says_what_is_removed(client: httpx.Client, table: str, name: str, gone: bool) -> None:
    made = client.post(f"/shop/own/{table}", json={"id": 1})
    assert data(made, 201)[name] is not gone
    tag = client.get(made.headers["location"]).headers["etag"]
    assert data(client.delete(made.headers["location"], headers={"If-Match": tag}))[name] is gone
    assert data(client.get(f"/shop/own/{table}"))["total"] == 0
    assert data(client.get(f"/shop/own/{table}?deleted=only"))["total"] == 1
    assert data(client.patch(f"{made.headers['location']}/status", json={"status": "active"}))[name] is not gone


def test_references_name_rows_that_are_there(client: httpx.Client) -> None:
    note = data(client.post("/shop/own/notes", json={"text": "a"}), 201)["id"]
    data(client.post("/shop/own/remarks", json={"id": 1, "note_id": note}), 201)
    assert code(client.delete(f"/shop/own/notes/{note}")) == (409, "in_use")
    data(client.delete("/shop/own/remarks/1"))
    data(client.delete(f"/shop/own/notes/{note}"))
    assert code(client.post("/shop/own/remarks", json={"id": 2, "note_id": note})) == (422, "invalid_reference")


def test_what_can_come_back_follows_and_nothing_else(client: httpx.Client) -> None:
    note = data(client.post("/shop/own/notes", json={"text": "a"}), 201)["id"]
    mark = {"note_id": note, "no": 1}
    data(client.post("/shop/own/marks", json=[mark, {**mark, "no": 2}]), 201)
    data(client.post("/shop/own/spots", json={"id": 1, **mark}), 201)
    data(client.post("/shop/own/strokes", json={"id": 1, **mark}), 201)
    data(client.delete(f"/shop/own/notes/{note}"))
    assert data(client.get("/shop/own/marks"))["total"] == 0
    assert data(client.get("/shop/own/marks?deleted=only"))["total"] == 2
    spot = data(client.get("/shop/own/spots/1"))
    assert (spot["note_id"], spot["no"], spot["removed_on"]) == (None, None, None)
    # a row that cannot come back stays, for what it belongs to can
    assert data(client.get("/shop/own/strokes/1"))["no"] == 1


def test_each_change_is_in_the_engines_own_log(client: httpx.Client, owned: str) -> None:
    place = client.post("/shop/own/plain", json={"id": 7, "text": "a"}).headers["location"]
    data(client.patch(place, json={"text": "b"}))
    log = data(client.get(f"{place}/history"))["items"]
    assert [(entry["action"], entry["changes"]) for entry in log] == [
        ("update", {"text": ["a", "b"]}),
        ("create", {"id": [None, 7], "text": [None, "a"]}),
    ]
    data(client.delete(place))
    records = data(
        client.get("/shop/cxg%20log/audit-logs", params={"filter[entity]": "plain", "sort": "-occurred_at"})
    )["items"]
    assert (records[0]["action"], records[0]["changes"]) == ("delete", {"id": [7, None], "text": ["b", None]})
    assert (records[0]["actor_email"], records[0]["scope"]) == ("admin@example.com", "shop")
    assert client.get("/shop/own/plain/export", params={"format": "csv"}).status_code == 200
    [row] = ask(owned, """select count(*) from "cxg log".audit_logs where action = 'export'""")
    assert row[0] == 1


def test_a_request_with_a_key_has_one_effect(client: httpx.Client) -> None:
    once = [client.post("/shop/own/notes", json={"text": "once"}, headers={"Idempotency-Key": "k"}) for _ in range(3)]
    assert {answer.text for answer in once} == {once[0].text} and once[2].headers["idempotent-replayed"] == "true"
    assert data(client.get("/shop/own/notes", params={"filter[text]": "once"}))["total"] == 1
    assert code(client.post("/shop/own/notes", json={"text": "x"}, headers={"Idempotency-Key": "k"})) == (
        422,
        "idempotency_key_reused",
    )


def test_a_rehearsal_changes_nothing(client: httpx.Client) -> None:
    answer = client.post("/shop/own/plain", json={"id": 50}, headers={"Prefer": "dry-run"})
    assert data(answer, 201)["id"] == 50
    assert code(client.get("/shop/own/plain/50")) == (404, "not_found")


def test_only_the_engines_schema_was_made(client: httpx.Client, owned: str) -> None:
    tables = "select relname, nspname from pg_class c join pg_namespace n on n.oid = relnamespace where relkind = 'r'"
    found = ask(owned, f"{tables} and nspname !~ '^pg_' and nspname not in ('information_schema', 'own')")
    assert {tuple(row) for row in found} == {("audit_logs", "cxg log"), ("cxg_idempotency_shop", "cxg log")}


def test_the_role_may_do_what_its_own_rights_are(live: Live, owned: str, database: Database) -> None:
    url = database("rights", TABLES, "grant usage on schema own to cxg_runtime")
    rights = ("select, insert on own.plain", "select (id, text), update (text) on own.notes")
    for right in (*rights, "select, update, delete on own.flags", "select, insert on own.numbered"):
        ask(url, f"grant {right} to cxg_runtime")
    server = live.system.server
    assert server is not None
    with over(live, server.url("rights", "cxg_runtime"), write=True) as running:
        client = running.client("shop")
        paths = {path for path in running.catalog.resources if path.startswith("shop/")}
        assert paths == {"shop/own/plain", "shop/own/notes", "shop/own/flags", "shop/own/numbered"}
        assert set(running.resource("shop/own/notes").fields) == {"id", "text"}
        data(client.post("/shop/own/plain", json={"id": 2, "text": "x"}), 201)
        # the table is his, the sequence behind its key is not
        assert code(client.post("/shop/own/numbered", json={"text": "x"})) == (403, "permission_denied")
        assert code(client.patch("/shop/own/plain/2", json={"text": "y"})) == (405, "method_not_allowed")
        ask(url, "insert into own.notes (text) values ('n'); insert into own.flags values (1)")
        assert data(client.patch("/shop/own/notes/1", json={"text": "y"}))["text"] == "y"
        assert code(client.post("/shop/own/notes", json={"text": "y"})) == (405, "method_not_allowed")
        assert data(client.delete("/shop/own/flags/1"))["id"] == 1


def test_the_schemas_can_be_chosen(url: str) -> None:
    chosen = reflect(Wish(url, "shop", schemas=("trade",)))
    assert {entity.domain for entity in chosen.entities} == {"trade"}
    with pytest.raises(StartupFault, match="no schema 'nowhere'"):
        reflect(Wish(url, "shop", schemas=("nowhere",)))


def test_a_schema_that_changed_is_built_anew(database: Database) -> None:
    url = database("changing", "create table public.one (id int primary key)")
    first = reflect(Wish(url, "shop"))
    assert first.fresh() is None
    ask(url, "insert into one values (1); analyze one")
    assert first.fresh() is None
    ask(url, "alter table one add column two text")
    second = first.fresh()
    assert second is not None and list(second.entities[0].table.c.keys()) == ["id", "two"]
    assert second.fingerprint != first.fingerprint


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"deleted": "x"}, "no part"),
        ({"own.notes.version": "nothing"}, "has no column"),
        ({"own.notes.version": "text"}, "cannot be its version"),
        ({"soft_delete": "text"}, "cannot be its soft_delete"),
        (
            {"soft_delete": "removed_no"},
            "no table has a column 'removed_no' to be its soft_delete; perhaps 'removed_on'",
        ),
        ({"own.note.version": "rev"}, "said of a table that is not served here; perhaps 'own.notes'"),
        ({"own.bare.version": "text"}, "no column of own.bare can be its version"),
        ({"own.notes.key": "text"}, "own.notes has a primary key"),
    ],
)
def test_parts_that_do_not_fit_are_start_up_faults(owned: str, parts: dict[str, str], said: str) -> None:
    with pytest.raises(StartupFault, match=said):
        reflect(Wish(owned, "shop", parts=parts))


@pytest.mark.parametrize("scope", ["manager", "tenants", "auth", "Shop", "a/b"])
def test_the_name_of_the_scope_is_free(owned: str, scope: str) -> None:
    with pytest.raises(StartupFault, match="is taken, or cannot"):
        load(["registry"], reflect(Wish(owned, scope)))


def test_a_password_is_never_told(owned: str) -> None:
    secret = owned.split(":")[2].split("@")[0]
    wish = Wish(owned.replace("/owned", "/nowhere"), "shop")
    with pytest.raises(StartupFault) as fault:
        reflect(wish)
    assert secret not in str(fault.value) and secret not in repr(wish) and fault.value.__cause__ is None
