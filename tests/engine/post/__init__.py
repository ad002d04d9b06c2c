"""A registry for tests of the relay: parcels in the platform's database, and subscribers that do as a test tells them."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Mapped

from engine.entity import Entity
from engine.events import Event, Events
from engine.hooks import Moment
from engine.types import Code, Model, Name, Scope, column


class PostModel(Model, abstract=True):
    """Base of the test models."""


class Parcel(PostModel, table="post.parcels"):
    """Something on its way."""

    code: Mapped[Code]
    note: Mapped[Name | None]
    weight: Mapped[int] = column(default=1)


class Slip(PostModel, table="post.slips"):
    """What a subscriber wrote on account of an event."""

    event_id: Mapped[UUID]
    name: Mapped[Name]


scopes = [Scope("post", PostModel.metadata, database="manager")]
parcels = Entity(Parcel, label="code", machine="packed* sent lost : packed>sent; sent>lost")
slips = Entity(Slip, label="name")

events = Events("post")
of_tenants = Events("tenants")
# what each subscriber was told and kept, in order; and how often it still has to fail, by event name
HEARD: dict[str, list[Event]] = {"steady": [], "shaky": [], "tenants": []}
FAIL: Counter[str] = Counter()
HANG: Counter[str] = Counter()
CALLS: list[str] = []


@events.on("post.parcels.*")
async def steady(_moment: Moment, happened: list[Event]) -> None:
    """Never fails."""
    HEARD["steady"] += happened


@events.on("post.parcels.updated", "post.parcels.created", "post.parcels.sent")
async def shaky(moment: Moment, happened: list[Event]) -> None:
    """Writes a slip for each event, then fails as often as a test says; what it wrote must be gone then."""
    CALLS.extend(event.name for event in happened)
    await moment.create("post.slips", [{"event_id": event.id, "name": event.name} for event in happened])
    for event in happened:
        reason = str((event.changes.get("note") or (None, None))[1])
        if HANG[reason] > 0:
            HANG[reason] -= 1
            await moment.fetch(select(func.pg_sleep(4)))
        if FAIL[reason] > 0:
            FAIL[reason] -= 1
            raise RuntimeError(f"told to fail at {reason}")
    HEARD["shaky"] += happened


@of_tenants.on("crm.customers.*")
async def tell_platform(_moment: Moment, happened: list[Event]) -> None:
    """Hears of the customers of every tenant."""
    HEARD["tenants"] += happened


@events.on("post.parcels.created")
async def write_down(_moment: Moment, happened: list[Event]) -> None:
    """In a process that a test kills: notes what it begins and what it has done, with time to be killed in between."""
    path = os.environ.get("POST_NOTES")
    if path:
        with Path(path).open("a") as notes:
            notes.writelines(f"begun {event.key}\n" for event in happened)
            notes.flush()
        await asyncio.sleep(0.4)
        with Path(path).open("a") as notes:
            notes.writelines(f"done {event.key}\n" for event in happened)
