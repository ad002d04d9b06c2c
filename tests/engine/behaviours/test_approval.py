"""Approval over HTTP (G20): documents of `tests.engine.papers` that wait, go on, turn back and are taken back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from engine.behaviours.approval import approval_rules
from engine.clock import CLOCK
from engine.entity import Entity
from engine.errors import StartupFault
from engine.testing.harness import Live, serving, settings_for_tests
from engine.types import Principal
from tests.calls import Body, Caller
from tests.engine import papers

RULES, REQUESTS = "paper/paper/approval-rules", "paper/paper/approval-requests"
BILLS, ERRANDS, ENTRIES, BATCHES = (
    "paper/paper/bills",
    "paper/paper/errands",
    "paper/paper/entries",
    "paper/paper/batches",
)
NAMES = count(1)


@dataclass
class Office:
    """A caller who makes documents, and one who decides."""

    clerk: Caller
    boss: Caller

    def rule(self, **values: Any) -> Body:
        """An approval rule; without values every bill needs one level."""
        return self.boss.make(RULES, **{"document_type": "bill", "approver_role_id": str(uuid4()), **values})

    def bill(self, amount: str = "100", **values: Any) -> Body:
        """A draft."""
        return self.clerk.make(BILLS, **{"title": f"bill {next(NAMES)}", "amount": amount, **values})

    def post(self, bill: Body) -> Body:
        """The bill after its maker posted it, or wanted to."""
        return self.clerk.move(BILLS, bill["id"], "posted")

    def requests(self, document: Body) -> list[tuple[int, str]]:
        """(level, status) of the requests of a document, in the order in which they were made."""
        rows = self.boss.list(REQUESTS, f"filter[document_id]={document['id']}&sort=id")
        return [(row["level"], row["status"]) for row in rows]

    def open_request(self, document: Body) -> Body:
        """The one request that waits."""
        [row] = self.boss.list(REQUESTS, f"filter[document_id]={document['id']}&filter[status]=pending")
        return row

    def decide(self, document: Body, status: str = "approved", reason: str | None = None) -> Body:
        """The open request after the boss decided it."""
        return self.boss.move(REQUESTS, self.open_request(document)["id"], status, reason=reason)

    def said(self, bill: Body) -> list[str]:
        """What the rules of the edge wrote down."""
        return sorted(row["said"] for row in self.boss.list(ENTRIES, f"filter[bill_id]={bill['id']}"))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    settings = settings_for_tests(tmp_path_factory.mktemp("papers"))
    with serving(settings, ["registry", "tests.engine.papers"]) as live:
        yield live


@pytest.fixture
def office(served: Live) -> Iterator[Office]:
    """Two people; the rules that a test makes end with it."""
    ready = Office(*(Caller(served.lend(Principal(CLOCK.new_id(), everything=True))) for _ in range(2)))
    yield ready
    for row in ready.boss.list(RULES):
        ready.boss.drop(RULES, row["id"])


def test_without_a_rule_the_edge_is_taken_at_once(office: Office) -> None:
    bill = office.post(office.bill())
    assert bill["status"] == "posted" and bill["number"] and bill["text"] == "posted by rule"
    assert (office.requests(bill), office.said(bill)) == ([], ["after", "before"])


def test_a_document_in_the_band_waits(office: Office) -> None:
    rule = office.rule(due_hours=5)
    waiting = office.post(office.bill("80.5"))
    assert waiting["status"] == "pending_approval"
    # nothing of the state that is not entered yet: no number, no stamp, nothing that the edge's rules wrote for it
    assert [waiting[name] for name in ("number", "posted_at", "posted_by", "text")] == [None] * 4
    request = office.open_request(waiting)
    assert (request["level"], request["amount"], request["approver_role_id"]) == (
        1,
        "80.5000",
        rule["approver_role_id"],
    )
    assert (request["document_type"], request["requested_by"]) == ("bill", waiting["created_by"])
    due = datetime.fromisoformat(request["due_at"]) - datetime.fromisoformat(request["created_at"])
    assert due == timedelta(hours=5) and office.said(waiting) == ["before"]


@pytest.mark.parametrize(("amount", "held"), [("99.99", False), ("100", True), ("199.9999", True), ("200", False)])
def test_a_band_holds_its_lower_end_and_not_its_upper_one(office: Office, amount: str, held: bool) -> None:
    office.rule(min_amount="100", max_amount="200")
    assert (office.post(office.bill(amount))["status"] == "pending_approval") is held


def test_a_rule_of_another_type_or_a_deleted_one_holds_nothing(office: Office) -> None:
    office.rule(document_type="errand")
    office.boss.drop(RULES, office.rule()["id"])
    assert office.post(office.bill())["status"] == "posted"


def test_approval_lets_the_document_take_its_edge(office: Office) -> None:
    office.rule()
    bill = office.post(office.bill())
    office.decide(bill)
    posted = office.boss.get(BILLS, bill["id"])
    assert posted["status"] == "posted" and posted["number"] and posted["posted_at"] and posted["text"]
    # the edge's rules ran once before and once after; what follows it came once
    assert office.said(bill) == ["after", "before", "before"]
    assert office.requests(bill) == [(1, "approved")]


def test_levels_come_one_after_the_other(office: Office) -> None:
    office.rule(level=3, min_amount="50")
    office.rule(level=1)
    office.rule(level=2, min_amount="1000")
    bill = office.post(office.bill("500"))
    assert office.requests(bill) == [(1, "pending")]
    first = office.decide(bill)
    assert office.requests(bill) == [(1, "approved"), (3, "pending")]
    second = office.open_request(bill)
    assert (second["requested_by"], second["amount"]) == (first["requested_by"], first["amount"])
    assert office.boss.get(BILLS, bill["id"])["status"] == "pending_approval"
    office.decide(bill)
    assert office.boss.get(BILLS, bill["id"])["status"] == "posted"


def test_a_caller_cannot_go_around_approval(office: Office) -> None:
    office.rule()
    bill = office.post(office.bill())
    office.clerk.stays("409:reserved_transition", BILLS, bill["id"], "posted")
    office.clerk.expect_refusal("409:document_locked", "PATCH", f"{BILLS}/{bill['id']}", {"amount": "1"})


def test_the_edges_own_rules_come_first_and_again(office: Office) -> None:
    office.rule()
    bad = office.bill(title="bad from the start")
    office.clerk.stays("409:not_now", BILLS, bad["id"], "posted")
    assert office.requests(bad) == []
    bill = office.post(office.bill())
    office.clerk.change(BILLS, bill["id"], title="bad in the meantime")
    request = office.open_request(bill)
    office.boss.stays("409:not_now", REQUESTS, request["id"], "approved")
    # a failure leaves the request pending
    assert office.requests(bill) == [(1, "pending")]
    assert office.boss.get(BILLS, bill["id"])["status"] == "pending_approval"


def test_neither_requester_nor_author_decides(office: Office, served: Live) -> None:
    office.rule()
    own = office.post(office.bill())
    author = office.boss.make(BILLS, title="Of the boss", amount="5")
    office.clerk.move(BILLS, author["id"], "posted")
    for status in ("approved", "rejected"):
        office.clerk.stays("403:four_eyes", REQUESTS, office.open_request(own)["id"], status)
        office.boss.stays("403:four_eyes", REQUESTS, office.open_request(author)["id"], status)
    assert [office.requests(bill) for bill in (own, author)] == [[(1, "pending")]] * 2


def test_a_rejection_sends_the_document_back(office: Office) -> None:
    office.rule(level=1)
    office.rule(level=2)
    bill = office.post(office.bill())
    office.decide(bill)
    office.decide(bill, "rejected", "too dear")
    assert office.boss.get(BILLS, bill["id"])["status"] == "draft"
    assert office.requests(bill) == [(1, "approved"), (2, "rejected")]


def test_a_document_taken_back_by_hand_cancels_what_is_open(office: Office) -> None:
    office.rule()
    bill, other = office.post(office.bill()), office.post(office.bill())
    office.clerk.move(BILLS, bill["id"], "draft")
    assert (office.requests(bill), office.requests(other)) == ([(1, "canceled")], [(1, "pending")])


@pytest.mark.parametrize("back", ["by hand", "rejected"])
def test_what_was_approved_before_it_came_back_counts_no_more(office: Office, back: str) -> None:
    office.rule(level=1)
    office.rule(level=2)
    bill = office.post(office.bill("10"))
    office.decide(bill)
    if back == "by hand":
        office.clerk.move(BILLS, bill["id"], "draft")
    else:
        office.decide(bill, "rejected", "no")
    office.clerk.change(BILLS, bill["id"], amount="1000000")
    assert office.post(bill)["status"] == "pending_approval"
    assert office.requests(bill)[2:] == [(1, "pending")]
    assert office.open_request(bill)["amount"] == "1000000.0000"


def test_a_rule_that_posts_many_is_held_back_row_by_row(office: Office) -> None:
    office.rule(min_amount="100")
    title = f"batch {next(NAMES)}"
    small, large, huge = (office.bill(amount, title=title) for amount in ("5", "500", "5000"))
    office.clerk.make(BATCHES, title=title)
    states = [office.boss.get(BILLS, bill["id"]) for bill in (small, large, huge)]
    assert [row["status"] for row in states] == ["posted", "pending_approval", "pending_approval"]
    assert [bool(row["number"]) for row in states] == [True, False, False]
    assert [office.requests(bill) for bill in (small, large, huge)] == [[], [(1, "pending")], [(1, "pending")]]
    assert [office.said(bill) for bill in (small, large)] == [["after", "before"], ["before"]]


def test_a_document_may_wait_where_it_was_handed_in(office: Office) -> None:
    office.rule(document_type="errand", min_amount="100")
    free, held, refused = (office.clerk.make(ERRANDS, title="Pens", amount=a) for a in ("5", "500", "600"))
    for errand in (free, held, refused):
        office.clerk.move(ERRANDS, errand["id"], "submitted")
    states = [office.boss.get(ERRANDS, errand["id"])["status"] for errand in (free, held, refused)]
    assert states == ["approved", "submitted", "submitted"]
    office.decide(held)
    office.decide(refused, "rejected", "no need")
    states = [office.boss.get(ERRANDS, errand["id"])["status"] for errand in (held, refused)]
    assert states == ["approved", "rejected"]
    back = office.clerk.make(ERRANDS, title="Pens", amount="700")
    office.clerk.move(ERRANDS, back["id"], "submitted", "draft")
    assert office.requests(back) == [(1, "canceled")]


def known_with(entity: Entity) -> dict[str, Entity]:
    """The test registry's declarations with `entity` for the bills."""
    return {
        "paper/paper/bills": entity,
        "paper/paper/approval-rules": papers.approval_rules,
        "paper/paper/approval-requests": papers.approval_requests,
    }


def test_a_declaration_that_cannot_work_stops_the_start() -> None:
    lost = replace(papers.bills, machine="draft* pending_approval posted : draft>posted; pending_approval>draft")
    with pytest.raises(StartupFault, match="draft>pending_approval, pending_approval>posted"):
        approval_rules(known_with(lost), "paper/paper/bills", lost)
    with pytest.raises(StartupFault, match="roles approval_rules and approval_requests"):
        approval_rules({"paper/paper/bills": papers.bills}, "paper/paper/bills", papers.bills)
