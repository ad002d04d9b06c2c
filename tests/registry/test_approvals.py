"""Approval rules and requests of a tenant, over HTTP: bands, who decides, and what becomes of the document."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest

from tests.calls import Body
from tests.registry.homes import PAYMENTS, Home, Person

RULES, REQUESTS = "tenants/sys/approval-rules", "tenants/sys/approval-requests"


def band(home: Home, low: str, high: str | None, **values: Any) -> Body:
    """The body of an approval rule."""
    role = values.pop("role", None) or home.system_role("ADMIN")
    usual = {"name": "Big ones", "document_type": "payment", "approver_role_id": role["id"]}
    return {**usual, "min_amount": low, "max_amount": high, **values}


@pytest.mark.parametrize(("low", "high"), [("0", None), ("199", "201"), ("150", "160"), ("0", "100.01"), ("50", "500")])
def test_bands_do_not_overlap(home: Home, low: str, high: str | None) -> None:
    """SYS-AR1: at create, in one body, at change and when a rule comes back."""
    owner = home.owner.caller
    owner.make(RULES, **band(home, "100", "200"))
    owner.expect_refusal("409:overlapping_band", "POST", RULES, band(home, low, high))
    twins = [band(home, low, high, level=3), band(home, "100", "200", level=3)]
    owner.expect_refusal("409:overlapping_band", "POST", RULES, twins)
    beside = owner.make(RULES, **band(home, low, high, level=2))
    owner.expect_refusal("409:overlapping_band", "PATCH", f"{RULES}/{beside['id']}", {"level": 1})
    owner.move(RULES, beside["id"], "inactive")
    owner.make(RULES, **band(home, "100", "200", level=2))
    owner.stays("409:overlapping_band", RULES, beside["id"], "active")


def test_bands_may_touch(home: Home) -> None:
    """SYS-AR1: the upper end is not part of the band; other types and levels are other bands."""
    owner = home.owner.caller
    owner.make(RULES, **band(home, "100", "200"))
    for body in (
        band(home, "0", "100"),
        band(home, "200", None),
        band(home, "0", None, level=2),
        band(home, "0", None, document_type="sales_order"),
    ):
        assert owner.make(RULES, **body)["is_active"] is True


@dataclass
class Approval:
    """A payment that waits, whoever asked for it, and somebody who may decide."""

    home: Home
    asker: Person
    boss: Person
    role: Body
    payment: Body

    def requests(self) -> list[tuple[int, str]]:
        """(level, status) of the requests, in their order."""
        rows = self.home.owner.caller.list(REQUESTS, f"filter[document_id]={self.payment['id']}&sort=id")
        return [(row["level"], row["status"]) for row in rows]

    def open(self) -> Body:
        """The request that waits."""
        [row] = self.home.owner.caller.list(
            REQUESTS, f"filter[document_id]={self.payment['id']}&filter[status]=pending"
        )
        return row

    def status(self) -> str:
        """The state of the payment."""
        return str(self.home.owner.caller.get(PAYMENTS, self.payment["id"])["status"])


@pytest.fixture
def waiting(home: Home) -> Approval:
    """Two levels of approval, the second from 500 on, for a payment of 600."""
    role, asker, boss = home.role(), home.join(), home.join()
    home.grant(boss, role)
    for level, low in ((1, "0"), (2, "500")):
        home.owner.caller.make(RULES, **band(home, low, None, level=level, role=role))
    draft = home.payment(asker.caller, "600")
    assert asker.caller.move(PAYMENTS, draft["id"], "posted")["status"] == "pending_approval"
    return Approval(home, asker, boss, role, draft)


def test_only_approvers_decide(waiting: Approval) -> None:
    """SYS-A1: the role counts today and by itself; the owner of the tenant does not hold it."""
    request, owner = waiting.open()["id"], waiting.home.owner.caller
    other = waiting.home.join()
    yesterday = str(date.today() - timedelta(days=1))
    waiting.home.grant(other, waiting.role, valid_from=yesterday, valid_until=yesterday)
    for caller in (owner, other.caller):
        for status in ("approved", "rejected"):
            body = {"status": status, "reason": "because"}
            caller.expect_refusal("403:not_approver", "PATCH", f"{REQUESTS}/{request}/status", body)
    assert waiting.requests() == [(1, "pending")]


def test_neither_requester_nor_author_decides(waiting: Approval) -> None:
    """SYS-A1: though they hold the role."""
    home = waiting.home
    home.grant(waiting.asker, waiting.role)
    waiting.asker.caller.stays("403:four_eyes", REQUESTS, waiting.open()["id"], "approved")
    draft = home.payment(waiting.boss.caller, "600")
    waiting.asker.caller.move(PAYMENTS, draft["id"], "posted")
    [request] = home.owner.caller.list(REQUESTS, f"filter[document_id]={draft['id']}")
    waiting.boss.caller.stays("403:four_eyes", REQUESTS, request["id"], "approved")
    assert waiting.requests() == [(1, "pending")] and waiting.status() == "pending_approval"
    assert home.owner.caller.get(REQUESTS, request["id"]) == request


def test_levels_follow_and_then_the_payment_is_posted(waiting: Approval) -> None:
    """SYS-A2: the next level whose band holds the amount, and after the last one the edge with its rules."""
    boss = waiting.boss.caller
    first = boss.move(REQUESTS, waiting.open()["id"], "approved", reason="fine")
    assert (first["decided_by"], first["reason"]) == (waiting.boss.identity, "fine") and first["decided_at"]
    assert (waiting.requests(), waiting.status()) == ([(1, "approved"), (2, "pending")], "pending_approval")
    boss.move(REQUESTS, waiting.open()["id"], "approved")
    posted = waiting.home.owner.caller.get(PAYMENTS, waiting.payment["id"])
    assert posted["status"] == "posted" and posted["number"] and posted["journal_entry_id"]


def test_a_failure_of_the_edge_leaves_the_request_pending(waiting: Approval) -> None:
    """SYS-A2: the rules of the edge run when the last level is approved, and what they refuse is not approved."""
    boss, owner = waiting.boss.caller, waiting.home.owner.caller
    boss.move(REQUESTS, waiting.open()["id"], "approved")
    day = waiting.payment["payment_date"]
    periods = owner.list("tenants/fim/fiscal-periods", f"filter[start_date][lte]={day}&filter[end_date][gte]={day}")
    sql = "update fim.fiscal_periods set status = 'closed' where id = $1::uuid"
    tenant = UUID(waiting.home.tenant["id"])
    waiting.home.world.live.run_sql("tenants", sql, UUID(periods[0]["id"]), tenant=tenant)
    boss.stays("409:period_closed", REQUESTS, waiting.open()["id"], "approved")
    assert (waiting.requests(), waiting.status()) == ([(1, "approved"), (2, "pending")], "pending_approval")


def test_a_rejection_says_why_and_sends_the_payment_back(waiting: Approval) -> None:
    """SYS-A3: 422 without a reason; the payment is a draft again."""
    boss, request = waiting.boss.caller, waiting.open()["id"]
    boss.stays("422:reason_required", REQUESTS, request, "rejected")
    row = boss.move(REQUESTS, request, "rejected", reason="not ours")
    assert (row["reason"], row["decided_by"]) == ("not ours", waiting.boss.identity)
    assert (waiting.requests(), waiting.status()) == ([(1, "rejected")], "draft")


def test_a_payment_taken_back_needs_no_decision(waiting: Approval) -> None:
    """SYS-A3: open requests are canceled, by the engine alone."""
    waiting.boss.caller.stays("409:reserved_transition", REQUESTS, waiting.open()["id"], "canceled")
    waiting.boss.caller.move(REQUESTS, waiting.open()["id"], "approved")
    waiting.asker.caller.move(PAYMENTS, waiting.payment["id"], "draft")
    assert waiting.requests() == [(1, "approved"), (2, "canceled")]
