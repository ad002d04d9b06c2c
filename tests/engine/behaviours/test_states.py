"""Frozen fields, needed values, guarded edges and fields, four eyes and stamps, over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from engine.clock import CLOCK
from engine.testing.harness import Live
from tests.calls import Body, Caller
from tests.engine.behaviours.conftest import somebody

DEALS = "desk/desk/deals"
RIGHTS = tuple(f"desk.deals.{right}" for right in ("read", "create", "update", "delete", "status"))


@pytest.fixture
def deal(admin: Caller) -> Body:
    return admin.make(DEALS, title="Ten pumps", lost_reason="Too dear")


@pytest.fixture
def other(desk: Live) -> Caller:
    return somebody(desk, *RIGHTS, "desk.deals.close", "desk.deals.ceiling")


def test_frozen_fields_stay_in_their_state_and_others_move(deal: Body, admin: Caller, other: Caller) -> None:
    other.move(DEALS, deal["id"], "won")
    admin.expect_refusal("409:deal_won", "PATCH", f"{DEALS}/{deal['id']}", {"title": "Eleven pumps"})
    # what is sent back unchanged is no change
    admin.change(DEALS, deal["id"], title="Ten pumps", lost_reason="None")
    admin.move(DEALS, deal["id"], "open", reason="A mistake")
    assert admin.change(DEALS, deal["id"], title="Eleven pumps")["title"] == "Eleven pumps"


def test_a_row_frozen_as_a_whole_neither_changes_nor_goes(deal: Body, admin: Caller) -> None:
    admin.move(DEALS, deal["id"], "lost")
    admin.expect_refusal("409:document_locked", "PATCH", f"{DEALS}/{deal['id']}", {"title": "x"})
    admin.expect_refusal("409:document_locked", "PUT", f"{DEALS}/{deal['id']}", {"title": "x"})
    admin.expect_refusal("409:document_locked", "DELETE", f"{DEALS}/{deal['id']}")
    admin.move(DEALS, deal["id"], "open")
    admin.drop(DEALS, deal["id"])


def test_all_but_the_named_fields_are_frozen(deal: Body, admin: Caller, other: Caller) -> None:
    other.move(DEALS, deal["id"], "won", "closed")
    assert admin.change(DEALS, deal["id"], ceiling="5")["ceiling"] == "5.0000"
    admin.expect_refusal("409:document_locked", "PATCH", f"{DEALS}/{deal['id']}", {"ceiling": "6", "title": "x"})


def test_an_edge_asks_for_the_field_it_needs(admin: Caller) -> None:
    deal = admin.make(DEALS, title="No reason yet")
    error = admin.stays("422:reason_required", DEALS, deal["id"], "lost")
    assert [fault["field"] for fault in error["details"]] == ["lost_reason"]
    admin.change(DEALS, deal["id"], lost_reason="Too dear")
    admin.move(DEALS, deal["id"], "lost")


def test_an_edge_asks_for_the_reason_of_the_body_and_keeps_it(deal: Body, admin: Caller, other: Caller) -> None:
    other.move(DEALS, deal["id"], "won")
    admin.stays("422:why_needed", DEALS, deal["id"], "open")
    assert admin.move(DEALS, deal["id"], "open", reason="Signed by mistake")["why"] == "Signed by mistake"


def test_guards_ask_for_their_permission(desk: Live, deal: Body, other: Caller) -> None:
    plain = somebody(desk, *RIGHTS)
    plain.expect_refusal("403:permission_denied", "PATCH", f"{DEALS}/{deal['id']}", {"ceiling": "7"})
    assert plain.change(DEALS, deal["id"], title="Free")["title"] == "Free"
    other.change(DEALS, deal["id"], ceiling="7")
    # the same value is no change
    plain.change(DEALS, deal["id"], ceiling="7")
    plain.move(DEALS, deal["id"], "won")
    plain.stays("403:permission_denied", DEALS, deal["id"], "closed")
    other.move(DEALS, deal["id"], "closed")


def test_who_made_it_does_not_win_it(deal: Body, admin: Caller, other: Caller) -> None:
    admin.stays("403:four_eyes", DEALS, deal["id"], "won")
    assert admin.get(DEALS, deal["id"]) == deal
    assert other.move(DEALS, deal["id"], "won")["status"] == "won"


def test_states_are_stamped_and_stamps_cleared(deal: Body, admin: Caller, other: Caller) -> None:
    CLOCK.at(datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC))
    try:
        other.move(DEALS, deal["id"], "won")
        closed = other.move(DEALS, deal["id"], "closed")
    finally:
        CLOCK.at(None)
    assert (closed["closed_at"], closed["closed_on"]) == ("2026-05-06T07:08:09+00:00", "2026-05-06")
    assert closed["closed_by"] == closed["updated_by"] is not None


def test_a_stamp_is_in_the_trail(deal: Body, admin: Caller, other: Caller) -> None:
    other.move(DEALS, deal["id"], "won", "closed")
    newest = admin.list(f"{DEALS}/{deal['id']}/history")[0]
    assert newest["action"] == "status" and {"status", "closed_at", "closed_by"} <= newest["changes"].keys()
