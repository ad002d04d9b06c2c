"""A registry of somebody who uses the engine: two scopes of his own, three entities, one rule. The contract kit is
tried on it, sound and with planted faults."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal
from uuid import UUID

from sqlalchemy import Numeric, String
from sqlalchemy.orm import Mapped

from engine.entity import Entity
from engine.errors import ConflictError
from engine.hooks import Change, Moment, Point, Rules
from engine.types import Code, Model, Name, Scope, Text, check, column, reference


class ShelfModel(Model, abstract=True):
    """Base of what everybody shares."""


class DeskModel(Model, abstract=True):
    """Base of what belongs to one tenant."""


class Book(ShelfModel, table="lib.books"):
    """A book that can be lent."""

    code: Mapped[Code]
    title: Mapped[Name]
    language: Mapped[Literal["en", "de"]] = column(default="en")
    pages: Mapped[int | None] = column(minimum=1, maximum=9000)
    price: Mapped[Decimal | None] = column(Numeric(9, 2), minimum=0)
    shelf_mark: Mapped[str | None] = column(String(20))
    loans: Mapped[int] = column(default=0)
    appraisal: Mapped[str | None] = column(String(80))


class Project(DeskModel, table="todo.projects"):
    """What tasks belong to."""

    name: Mapped[Name]
    goal: Mapped[Text | None]


class Task(DeskModel, table="todo.tasks"):
    """A thing to do; urgent ones say until when or why."""

    project_id: Mapped[UUID] = reference("todo.projects")
    subject: Mapped[str] = column(String(120))
    notes: Mapped[Text | None]
    effort: Mapped[int] = column(default=1, minimum=0)
    urgent: Mapped[bool] = column(default=False)
    reason: Mapped[str | None] = column(String(60))
    private_note: Mapped[str | None] = column(String(80))
    __table_args__ = (check("not urgent or reason is not null"),)


scopes = [
    Scope("shelf", ShelfModel.metadata, description="Shared by all."),
    Scope("desk", DeskModel.metadata, tenant_bound=True, description="One tenant's own."),
]

books = Entity(
    Book,
    label="title",
    unique=["code"],
    search=["code", "title"],
    once=["code"],
    read_only=["loans", "appraisal"],
    hidden=["appraisal"],
    info={"example": {"language": "de", "shelf_mark": lambda maker: f"{len(maker.live.url)}"}},
    machine="new* here lent gone : new>here; here>lent,gone; lent>here; here~>new; lent~>gone",
)
projects = Entity(Project, label="name", search=["name"])
tasks = Entity(Task, label="subject", search=["subject"], once=["project_id"], hidden=["private_note"])

rules = Rules("shelf/lib")


@rules.on("LIB-1", "books", Point.BEFORE_STATUS, edges="here>lent", raises="409:too_thin")
async def lend_thick_books(moment: Moment, changes: list[Change]) -> None:
    """Books without pages are not lent."""
    if any(change["pages"] is None for change in changes):
        raise ConflictError("too_thin", "The book has no pages")
