"""References into the other database, over HTTP."""

from __future__ import annotations

from engine.clock import CLOCK
from engine.testing.harness import Live
from tests.calls import Caller

DEALS = "desk/desk/deals"


def test_a_caller_names_only_rows_that_are_there(desk: Live, admin: Caller) -> None:
    user = admin.make("manager/idam/users", email="watcher@desk.example", full_name="Watcher")
    deal = admin.make(DEALS, title="Watched", watcher_id=user["id"])
    assert deal["watcher_id"] == user["id"]
    nobody = str(CLOCK.new_id())
    for method, path, body in (
        ("POST", DEALS, {"title": "x", "watcher_id": nobody}),
        ("PATCH", f"{DEALS}/{deal['id']}", {"watcher_id": nobody}),
    ):
        error = admin.expect_refusal("422:invalid_reference", method, path, body)
        assert [fault["field"] for fault in error["details"]] == ["watcher_id"]
    both = [{"title": "x"}, {"title": "y", "watcher_id": nobody}]
    error = admin.expect_refusal("422:invalid_reference", "POST", DEALS, both)
    assert [fault["field"] for fault in error["details"]] == ["[1].watcher_id"]
    admin.drop("manager/idam/users", user["id"])
    admin.expect_refusal("422:invalid_reference", "POST", DEALS, {"title": "x", "watcher_id": user["id"]})
    # what was there when it was named stays, also when the row is sent back
    assert admin.change(DEALS, deal["id"], watcher_id=user["id"], title="Still watched")["watcher_id"] == user["id"]
