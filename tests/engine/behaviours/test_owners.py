"""Rows of one's own over HTTP: lists, gets, writes, and a permission that lifts the limit."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import pytest

from engine.clock import CLOCK
from engine.testing.harness import Live
from engine.types import Principal
from tests.calls import Body, Caller

NOTES = "desk/desk/notes"
RIGHTS = frozenset(f"desk.notes.{right}" for right in ("read", "create", "update", "delete", "status"))


@dataclass
class Person:
    caller: Caller
    id: str
    note: Body


@pytest.fixture
def ann(desk: Live, admin: Caller) -> Person:
    return _person(desk, admin)


@pytest.fixture
def bob(desk: Live, admin: Caller) -> Person:
    return _person(desk, admin)


def _person(desk: Live, admin: Caller) -> Person:
    email = f"n{CLOCK.new_id()}@desk.example"
    user = admin.make("manager/idam/users", email=email, full_name="N")
    caller = Caller(desk.lend(Principal(UUID(user["id"]), permissions=RIGHTS)))
    return Person(caller, user["id"], caller.make(NOTES, text="mine", user_id=user["id"]))


def test_others_rows_do_not_exist(ann: Person, bob: Person) -> None:
    assert [row["id"] for row in ann.caller.list(NOTES)] == [ann.note["id"]]
    answer = ann.caller.send(200, "GET", f"{NOTES}?count=exact")
    assert answer["total"] == 1
    for method, tail, body in (
        ("GET", "", None),
        ("GET", "/history", None),
        ("GET", "/transitions", None),
        ("PATCH", "", {"text": "taken"}),
        ("PUT", "", {"text": "taken"}),
        ("PATCH", "/status", {"status": "inactive"}),
        ("DELETE", "", None),
    ):
        theirs = f"{NOTES}/{bob.note['id']}{tail}"
        ann.caller.expect_refusal("404:not_found", method, theirs, body)
    assert bob.caller.get(NOTES, bob.note["id"])["text"] == "mine"


def test_own_rows_live_as_usual(ann: Person) -> None:
    changed = ann.caller.change(NOTES, ann.note["id"], text="still mine")
    assert changed["text"] == "still mine" and ann.caller.list(f"{NOTES}/{ann.note['id']}/history")
    ann.caller.drop(NOTES, ann.note["id"])
    assert ann.caller.list(NOTES) == []
    assert [row["id"] for row in ann.caller.list(NOTES, "deleted=only")] == [ann.note["id"]]


def test_nobody_writes_for_another(ann: Person, bob: Person) -> None:
    ann.caller.expect_refusal("403:permission_denied", "POST", NOTES, {"text": "x", "user_id": bob.id})
    bulk = [{"text": "x", "user_id": ann.id, "tag": "a"}, {"text": "y", "user_id": bob.id, "tag": "b"}]
    ann.caller.expect_refusal("403:permission_denied", "POST", NOTES, bulk)
    ann.caller.expect_refusal("403:permission_denied", "PATCH", f"{NOTES}/{ann.note['id']}", {"user_id": bob.id})


def test_the_permission_shows_all(desk: Live, ann: Person, bob: Person) -> None:
    manager = Caller(desk.lend(Principal(CLOCK.new_id(), permissions=RIGHTS | {"desk.notes.manage"})))
    found = {row["id"] for row in manager.list(NOTES)}
    assert {ann.note["id"], bob.note["id"]} <= found
    assert manager.change(NOTES, ann.note["id"], text="read")["text"] == "read"


def test_a_set_holds_ones_own_rows_alone(ann: Person, bob: Person) -> None:
    few = {"Prefer": "max-affected=50"}
    path = f"/{NOTES}?filter[text]=mine"
    changed = ann.caller.client.patch(path, json={"tag": "set"}, headers=few)
    assert changed.json()["data"] == {"count": 1}, changed.text
    assert ann.caller.client.delete(f"{path}&filter[id]={bob.note['id']}", headers=few).json()["data"] == {"count": 0}
    assert bob.caller.get(NOTES, bob.note["id"])["version"] == 1
    given = ann.caller.client.patch(path, json={"user_id": bob.id}, headers=few)
    assert given.status_code == 403 and ann.caller.get(NOTES, ann.note["id"])["user_id"] == ann.id
    rows = [{"text": "x", "user_id": ann.id, "tag": "c"}, {"text": "y", "user_id": bob.id, "tag": "d"}]
    each = ann.caller.client.post(f"/{NOTES}", json=rows, headers={"Prefer": "each"})
    assert [item["status"] for item in each.json()["data"]] == [201, 403]
