"""Documents that somebody may have to approve, their rules and requests: what the tests of approval (G20) are asked of."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from sqlalchemy import String
from sqlalchemy.orm import Mapped

from engine.entity import Approval, Entity, Number, Unique
from engine.errors import ConflictError
from engine.hooks import Change, Moment, Point, Rules
from engine.types import DocumentNumber, Model, Money, Name, Scope, SmallInt, column, outside

ZERO = Decimal(0)


class PaperModel(Model, abstract=True):
    """Base of the test models."""


scopes = [Scope("paper", PaperModel.metadata)]
rules = Rules("paper/paper")


class ApprovalRule(PaperModel, table="paper.approval_rules"):
    """Who approves what from which amount."""

    document_type: Mapped[Literal["bill", "errand"]]
    min_amount: Mapped[Money] = column(default=ZERO)
    max_amount: Mapped[Money | None]
    level: Mapped[SmallInt] = column(default=1)
    approver_role_id: Mapped[UUID]
    due_hours: Mapped[int] = column(default=48)


approval_rules = Entity(ApprovalRule, kind="config", role="approval_rules")


class ApprovalRequest(PaperModel, table="paper.approval_requests"):
    """One step of one document."""

    document_type: Mapped[Literal["bill", "errand"]]
    document_id: Mapped[UUID]
    document_number: Mapped[str | None] = column(String(32))
    amount: Mapped[Money]
    level: Mapped[SmallInt]
    approver_role_id: Mapped[UUID]
    requested_by: Mapped[UUID] = outside("manager/idam.users")
    due_at: Mapped[datetime]


approval_requests = Entity(
    ApprovalRequest,
    kind="log",
    operations="gls",
    unique=[Unique(("document_type", "document_id", "level"), where="status = 'pending'")],
    read_only=[
        *("document_type", "document_id", "document_number", "amount", "level", "approver_role_id"),
        *("requested_by", "due_at"),
    ],
    machine="pending* approved rejected canceled : pending>approved,rejected; pending~>canceled",
    role="approval_requests",
)


class Bill(PaperModel, table="paper.bills"):
    """Something to pay; waits in a state of its own, and is numbered when it is posted."""

    title: Mapped[Name]
    number: Mapped[DocumentNumber | None]
    amount: Mapped[Money]
    posted_at: Mapped[datetime | None]
    posted_by: Mapped[UUID | None] = outside("manager/idam.users")
    text: Mapped[str | None] = column(String(40))


bills = Entity(
    Bill,
    kind="document",
    label="title",
    read_only=["number", "posted_at", "posted_by", "text"],
    live=["title"],
    number=Number("BILL", at="posted", gapless=True),
    machine="draft* pending_approval posted : draft>posted; draft~>pending_approval; pending_approval~>posted; "
    "pending_approval>draft",
    stamps={"posted": {"posted_at": "now", "posted_by": "actor"}},
    approval=Approval(edge="draft>posted", document="bill", amount="amount"),
)


class Entry(PaperModel, table="paper.entries"):
    """Written by the edge's own rules: how often each ran."""

    bill_id: Mapped[UUID]
    said: Mapped[Name]


entries = Entity(Entry)


class Errand(PaperModel, table="paper.errands"):
    """Something to buy; waits in the state in which it was handed in, and a refusal has a state of its own."""

    title: Mapped[Name]
    amount: Mapped[Money]


errands = Entity(
    Errand,
    kind="document",
    label="title",
    machine="draft* submitted approved rejected : draft>submitted; submitted~>approved,rejected; submitted>draft",
    approval=Approval("submitted>approved", "errand", "amount", waiting="submitted", refused="rejected"),
)


class Batch(PaperModel, table="paper.batches"):
    """Making one posts every draft bill of its title at once."""

    title: Mapped[Name]


batches = Entity(Batch)


@rules.on("PAPER-1", "bills", Point.BEFORE_STATUS, edges="draft>posted", raises="409:not_now")
async def refuse_bad_titles(moment: Moment, changes: list[Change]) -> None:
    """A rule of the edge itself, which writes for the state that it leads to."""
    for change in changes:
        if change["title"].startswith("bad"):
            raise ConflictError("not_now", "Bills with bad titles are not posted")
        change.values["text"] = "posted by rule"
    await moment.create("paper.entries", [{"bill_id": change.key, "said": "before"} for change in changes])


@rules.on("PAPER-2", "bills", Point.AFTER_STATUS, edges="draft>posted")
async def write_entries(moment: Moment, changes: list[Change]) -> None:
    """What posting brings about."""
    await moment.create("paper.entries", [{"bill_id": change.key, "said": "after"} for change in changes])


@rules.on("PAPER-3", "errands", Point.AFTER_STATUS, edges="draft>submitted")
async def approve_at_once(moment: Moment, changes: list[Change]) -> None:
    """An errand that needs nobody is approved as soon as it is handed in."""
    await moment.status("paper.errands", [change.key for change in changes], "approved")


@rules.on("PAPER-4", "batches", Point.AFTER_CREATE)
async def post_all(moment: Moment, changes: list[Change]) -> None:
    """One status write over several bills, made by a rule."""
    for change in changes:
        titled = Bill.__table__.c.title == change["title"]
        drafts = await moment.list("paper.bills", titled, Bill.__table__.c.status == "draft")
        await moment.status("paper.bills", [row["id"] for row in drafts], "posted")
