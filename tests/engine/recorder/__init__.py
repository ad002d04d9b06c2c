"""A registry for tests of hooks: one entity whose rules write down when they run, and can be told to misbehave."""

from __future__ import annotations

import asyncio
from uuid import UUID

from sqlalchemy.orm import Mapped

from engine.entity import Entity, Number
from engine.errors import ConflictError
from engine.hooks import Change, Moment, Point, Rules
from engine.types import DocumentNumber, Model, Name, Scope, column, reference

seen: list[tuple[str, int]] = []
mood: dict[str, bool] = {}


class RecorderModel(Model, abstract=True):
    """Base of the test models."""


class Note(RecorderModel, table="rec.notes"):
    """What was noted."""

    title: Mapped[Name]
    shout: Mapped[Name | None]
    number: Mapped[DocumentNumber | None]


class Remark(RecorderModel, table="rec.remarks"):
    """A remark on a note."""

    note_id: Mapped[UUID] = reference("rec.notes", "cascade")
    text: Mapped[Name]
    seen_by: Mapped[UUID | None] = reference("rec.notes", "setnull")
    stars: Mapped[int] = column(default=1, minimum=0, maximum=5)


scopes = [Scope("rec", RecorderModel.metadata)]
notes = Entity(
    Note,
    label="title",
    search=["title"],
    read_only=["shout", "number"],
    machine="open* held closed : open>closed; open~>held; held>closed; closed>open",
    number=Number("NOTE", at="closed", gapless=True),
)
remarks = Entity(Remark, label="text", search=["text"])
rules = Rules("rec/rec")


@rules.on("REC-1", "notes", *Point)
async def write_down(_moment: Moment, changes: list[Change]) -> None:
    """Note every point, with the number of rows."""
    seen.append(("any", len(changes)))


for point in Point:

    @rules.on(f"REC-{point}", "notes", point)
    async def write_point(_moment: Moment, changes: list[Change], point: Point = point) -> None:
        """Note this point."""
        seen.append((point.value, len(changes)))


@rules.on("REC-2", "notes", Point.BEFORE_CREATE, Point.BEFORE_UPDATE)
async def shout(_moment: Moment, changes: list[Change]) -> None:
    """BEFORE may set values."""
    for change in changes:
        if change.changes("title"):
            change.values["shout"] = change["title"].upper()[:160]


@rules.on("REC-3", "notes", Point.AFTER_CREATE, raises="409:bad_mood")
async def be_moody(moment: Moment, changes: list[Change]) -> None:
    """A rule that refuses, fails, hangs, or writes elsewhere first."""
    if mood.get("writes"):
        await moment.create("rec.remarks", [{"note_id": change.key, "text": "by a rule"} for change in changes])
    if mood.get("refuses"):
        raise ConflictError("bad_mood", "not today")
    if mood.get("fails"):
        raise KeyError("secret-value-of-a-row")
    if mood.get("hangs"):
        await asyncio.sleep(30)
