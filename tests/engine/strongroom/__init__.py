"""A strong room with secrets of every kind, and a notebook in which a rule writes what it read: what the tests of encrypted
columns and of setting look-up ask is asked of it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import String
from sqlalchemy.orm import Mapped

from engine.entity import Entity, Nested
from engine.hooks import Change, Moment, Point, Rules
from engine.types import Json, Key, Model, Name, Scope, Shaped, Text, column, reference

SETTINGS = {"room.colour": "grey", "room.steps": [1, 2], "room.rate": 9.5}


class RoomModel(Model, abstract=True):
    """Base of what belongs to the platform."""


class BoxModel(Model, abstract=True):
    """Base of what belongs to tenants."""


scopes = [Scope("room", RoomModel.metadata), Scope("boxes", BoxModel.metadata, tenant_bound=True)]


class Keeper(RoomModel, table="room.keepers"):
    """Somebody with secrets."""

    name: Mapped[Name]
    pin: Mapped[str | None] = column(String(12))
    papers: Mapped[dict[str, Any] | None] = column(Shaped(dict[str, str]))
    oath: Mapped[Text | None]
    seen: Mapped[Text | None]


keepers = Entity(
    Keeper,
    label="name",
    hidden=["oath"],
    masked=["pin", "papers"],
    encrypted=["pin", "papers", "oath"],
    read_only=["seen"],
    nested=[Nested("notes", "room.notes")],
)


class Note(RoomModel, table="room.notes"):
    """What a keeper wrote down."""

    keeper_id: Mapped[UUID] = reference("room.keepers", "cascade")
    words: Mapped[Text]


notes = Entity(
    Note, kind="line", parent=("room.keepers", "keeper_id"), masked=["words"], encrypted=["words"], once=["keeper_id"]
)


class Reading(RoomModel, table="room.readings"):
    """A setting as a rule finds it; `before` is written into the platform's row first."""

    key: Mapped[Key]
    before: Mapped[Json | None]
    found: Mapped[Json | None]


readings = Entity(Reading, read_only=["found"])


class Box(BoxModel, table="box.boxes"):
    """A tenant's secret."""

    name: Mapped[Name]
    code: Mapped[str | None] = column(String(20))


boxes = Entity(Box, label="name", hidden=["code"], encrypted=["code"])


class TenantReading(BoxModel, table="box.readings"):
    """A setting as a rule finds it for a tenant."""

    key: Mapped[Key]
    before: Mapped[Json | None]
    found: Mapped[Json | None]


tenant_readings = Entity(TenantReading, read_only=["found"])

room_rules, box_rules = Rules("room/room"), Rules("boxes/box")


@room_rules.on("SEEN", "keepers", Point.BEFORE_CREATE, Point.BEFORE_UPDATE, Point.BEFORE_DELETE)
async def tell_what_is_seen(moment: Moment, changes: list[Change]) -> None:
    """Rules see clear text: in the row as it will stand, in the stored one, and in what they read themselves."""
    for change in changes:
        stored = await moment.get("room.keepers", change.key)
        listed = await moment.list("room.keepers", Keeper.__table__.c.id == change.key)
        old = [source["pin"] for source in (change.old, stored, *listed) if source is not None]
        papers = (change["papers"] or {}).get("title")
        change.values["seen"] = " ".join(_initial(text) for text in (change["pin"], papers, change["oath"], *old))


def _initial(text: str | None) -> str:
    return f"{text[0]}{len(text)}" if text else "-"


@room_rules.on("READ", "readings", Point.BEFORE_CREATE)
async def read_setting(moment: Moment, changes: list[Change]) -> None:
    """Write `before`, then read."""
    for change in changes:
        if change["before"] is not None:
            await write_setting(moment, change["key"], change["before"])
        change.values["found"] = await moment.setting(change["key"])


@box_rules.on("READ", "readings", Point.BEFORE_CREATE)
async def read_tenant_setting(moment: Moment, changes: list[Change]) -> None:
    """Write `before` into the platform's row, then read."""
    await read_setting(moment, changes)


async def write_setting(moment: Moment, key: str, value: Any) -> None:
    """The platform's row of a key."""
    manager = await moment.in_scope("manager")
    rows = [row for row in await manager.list("cnfg.settings") if row["key"] == key and row["tenant_id"] is None]
    if rows:
        await manager.update("cnfg.settings", [{"id": rows[0]["id"], "value": value}])
    else:
        await manager.create("cnfg.settings", [{"key": key, "value": value, "value_type": "json"}])
