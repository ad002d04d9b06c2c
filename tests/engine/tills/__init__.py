"""Sales at a till: what the tests of repeated and rehearsed writes are asked of. Rules number, refuse, wait, write elsewhere,
show something once, and end the process."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import date
from pathlib import Path
from typing import Literal

from sqlalchemy import String, UniqueConstraint
from sqlalchemy.orm import Mapped

from engine.entity import Entity, Virtual
from engine.hooks import Change, Moment, Point, Rules
from engine.types import DocumentNumber, Model, Name, Scope, column

done: list[str] = []
waiting: list[str] = []


class TillModel(Model, abstract=True):
    """Base of the test models."""


class Sale(TillModel, table="till.sales"):
    """What was sold. `place` is checked at the end of a transaction."""

    memo: Mapped[Name]
    clerk: Mapped[Name | None]
    number: Mapped[DocumentNumber | None]
    place: Mapped[int | None]
    receipt: Mapped[Literal["none", "paper"]] = column(default="none")
    __table_args__ = (UniqueConstraint("place", name="uq_sales_place", deferrable=True, initially="DEFERRED"),)


class Tag(TillModel, table="till.tags"):
    """No rule looks at these: a write is one statement."""

    memo: Mapped[Name]
    clerk: Mapped[Name | None]


class Drawer(TillModel, table="till.drawers"):
    """Has a secret that is shown at creation, and never again."""

    memo: Mapped[Name]


scopes = [Scope("till", TillModel.metadata)]
sales = Entity(Sale, label="memo", read_only=["number"], machine="open* paid : open>paid")
tags = Entity(Tag, label="memo")
drawers = Entity(Drawer, label="memo", virtual=[Virtual("pin", String(64), output=True)])
rules = Rules("till/till")


def die_once(change: Change, when: str) -> None:
    """End the process as a power cut would, the first time that a row of this memo comes by."""
    mark = Path(os.environ.get("TILL_MARK", "/nowhere"))
    if change["memo"] == f"dies {when}" and mark.parent.exists() and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


@rules.on("TILL-1", "sales", Point.BEFORE_CREATE, Point.BEFORE_UPDATE)
async def number(moment: Moment, changes: list[Change]) -> None:
    """A number without gaps, and a while of waiting for `slow`."""
    for change in changes:
        if change.old is None:
            change.values["number"] = await moment.number("SALE", date(2026, 1, 1))
        if change["memo"] == "slow":
            waiting.append(str(change["memo"]))
            await asyncio.sleep(1.0)


@rules.on("TILL-2", "sales", Point.AFTER_CREATE, Point.AFTER_UPDATE)
async def elsewhere(moment: Moment, changes: list[Change]) -> None:
    """`plan X` makes the plan X in the platform's own scope, in a transaction of its own."""
    for change in changes:
        die_once(change, "before the commit")
        if change["memo"].startswith("plan "):
            plan = {"code": change["memo"][5:], "name": "Plan", "interval": "month", "currency": "USD", "amount": 1}
            await (await moment.in_scope("manager")).create("bill.plans", [plan])


@rules.on("TILL-3", "sales", Point.DONE)
async def finish(_moment: Moment, changes: list[Change]) -> None:
    """After the commit, before the answer."""
    for change in changes:
        die_once(change, "after the commit")
        done.append(change["memo"])


@rules.on("TILL-4", "drawers", Point.AFTER_CREATE)
async def show(_moment: Moment, changes: list[Change]) -> None:
    """Shown this once."""
    for change in changes:
        change.output["pin"] = f"pin-of-{change['memo']}"
