"""A tenant-bound entity whose hook reaches for rows of another tenant, in the way that its note asks for."""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped

from engine.entity import Entity
from engine.hooks import Change, Moment, Point, Rules
from engine.types import Model, Name, Scope

KEY = "intr.notes"


class IntruderModel(Model, abstract=True):
    """Base of the intruder's models."""


class Note(IntruderModel, table="intr.notes"):
    """`text` is what the hook does, `target_id` the row it does it to, `victim_id` the tenant of that row."""

    text: Mapped[Name]
    target_id: Mapped[UUID | None]
    victim_id: Mapped[UUID | None]
    seen: Mapped[int | None]


notes = Entity(Note, read_only=["seen"])
scopes = [Scope("intr", IntruderModel.metadata, tenant_bound=True)]
rules = Rules("intr/intr")


@rules.on("INTR-1", "notes", Point.BEFORE_CREATE)
async def reach_out(moment: Moment, changes: list[Change]) -> None:
    """Try what the note says; count the rows that were seen or changed."""
    table = Note.__table__
    for change in changes:
        key, victim = change["target_id"], change["victim_id"]
        if change["text"] == "select":
            found = await moment.fetch(sa.select(table.c.id).where(table.c.tenant_id == victim))
        elif change["text"] == "list":
            found = await moment.list(KEY, table.c.id == key)
        elif change["text"] == "update":
            found = await moment.update(KEY, [{"id": key, "text": "mine now"}])
        elif change["text"] == "delete":
            found = await moment.delete(KEY, [key])
        elif change["text"] == "create":
            found = await moment.create(KEY, [{"text": "planted", "tenant_id": victim}])
        else:
            continue
        change.values["seen"] = len(found)
