"""NOTI-N2: the queue of messages. A message is claimed in one transaction, sent outside of any, and settled in another: one
whose worker dies in between is tried again, as if sending had failed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import func, or_, select, tuple_

from engine.hooks import Moment, Row
from engine.jobs import Job, Jobs
from registry.locks import lock_rows
from registry.manager.idam import User
from registry.manager.noti import Channel, Notification, Preference, Template
from registry.manager.rendering import render
from registry.manager.senders import Message, Undeliverable, send

jobs = Jobs("manager")

BATCH, AT_ONCE = 100, 10
# a run that comes upon more than this leaves the rest to the next minute
MOST_BATCHES = 50
NOTIFICATIONS = "noti.notifications"
Outcomes = list[tuple[Message, str | None]]


@jobs.on("send_notifications", "minute", timeout=900)
async def send_notifications(job: Job) -> dict[str, int]:
    """Sends what is due: not to who opted out (but always about security), not in quiet hours, not above a channel's rate.
    What fails is tried again after setting:noti.retry_minutes, then given up."""
    counts: Counter[str] = Counter(sent=0, failed=0, retried=0, skipped=0, postponed=0)
    full: set[UUID] = set()
    for _ in range(MOST_BATCHES):
        async with job.transaction() as moment:
            batch = await _claim(moment, full)
        outcomes = await _send_all(batch.messages)
        async with job.transaction() as moment:
            counts.update(await _settle(moment, outcomes))
        counts.update(skipped=len(batch.skipped), postponed=len(batch.postponed))
        if batch.taken < BATCH and not batch.filled:
            break
    return dict(counts)


@dataclass
class Batch:
    """What became of the messages that were due."""

    taken: int = 0
    filled: bool = False
    messages: list[Message] = field(default_factory=list)
    claimed: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[UUID] = field(default_factory=list)
    postponed: list[dict[str, Any]] = field(default_factory=list)


async def _claim(moment: Moment, full: set[UUID]) -> Batch:
    """Take due messages into hand. An attempt counts, and the next one is fixed, before the message goes out. `full`: the
    channels that have sent what they may in this minute; those that become so are added."""
    retries = await moment.setting("noti.retry_minutes")
    rows = await moment.fetch(_due(moment.now, full))
    batch = Batch(taken=len(rows))
    known = await _Surroundings.of(moment, rows)
    for row in rows:
        if known.opted_out(row):
            batch.skipped.append(row["id"])
        elif (later := known.after_quiet_hours(row, moment.now)) is not None:
            batch.postponed.append({"id": row["id"], "scheduled_at": later})
        elif known.has_room(row):
            batch.messages.append(known.message(row))
            batch.claimed.append(_attempt(row, batch.messages[-1], moment.now, retries))
        else:
            full.add(row["channel"])
            batch.filled = True
    await moment.update(NOTIFICATIONS, [*batch.claimed, *batch.postponed])
    await moment.status(NOTIFICATIONS, batch.skipped, "skipped", "opted out")
    return batch


def _due(now: datetime, full: Iterable[UUID]) -> Any:
    """SELECT of due messages, the oldest first, with their template and the channel that they take. Rows that another
    worker holds are left to it."""
    rows, templates, default = Notification.__table__, Template.__table__, Channel.__table__.alias("standard")
    channel = func.coalesce(rows.c.channel_id, default.c.id)
    usual = (default.c.kind == templates.c.channel_kind) & default.c.is_default & default.c.is_active
    parts = ("channel_kind", "category", "subject", "body")
    return (
        select(rows, channel.label("channel"), *(templates.c[name] for name in parts))
        .join_from(rows, templates, rows.c.template_id == templates.c.id)
        .join(default, usual, isouter=True)
        .where(rows.c.is_active, rows.c.status == "queued", rows.c.scheduled_at <= now)
        .where(or_(rows.c.next_attempt_at.is_(None), rows.c.next_attempt_at <= now))
        .where(or_(channel.is_(None), channel.not_in(list(full))))
        .order_by(rows.c.scheduled_at, rows.c.id)
        .limit(BATCH)
        .with_for_update(of=rows, skip_locked=True)
    )


@dataclass
class _Surroundings:
    """What the messages of a batch need: their users, preferences and channels, and how much a channel may still send."""

    users: Mapping[UUID, Row]
    preferences: Mapping[tuple[Any, ...], Row]
    channels: Mapping[UUID, Row]
    room: Counter[UUID]

    @classmethod
    async def of(cls, moment: Moment, rows: list[Row]) -> _Surroundings:
        people = {row["user_id"] for row in rows} - {None}
        users = await moment.list("idam.users", User.__table__.c.id.in_(people), limit=BATCH) if people else []
        columns = Preference.__table__.c
        asked = {(row["user_id"], row["category"], row["channel_kind"]) for row in rows if row["user_id"]}
        own = tuple_(columns.user_id, columns.category, columns.channel_kind).in_(asked)
        preferences = await moment.list("noti.preferences", own, limit=BATCH) if asked else []
        used = {row["channel"] for row in rows} - {None}
        channels = await moment.list("noti.channels", Channel.__table__.c.id.in_(used), limit=BATCH) if used else []
        room = Counter({row["id"]: row["rate_limit_per_minute"] for row in channels})
        room.subtract(await _sent_lately(moment, used) if used else {})
        return cls(
            {row["id"]: row for row in users},
            {(row["user_id"], row["category"], row["channel_kind"]): row for row in preferences},
            {row["id"]: row for row in channels},
            room,
        )

    def _preference(self, row: Row) -> Row | None:
        return self.preferences.get((row["user_id"], row["category"], row["channel_kind"]))

    def opted_out(self, row: Row) -> bool:
        """Whether the user does not want such messages. About security he gets them all the same."""
        preference = self._preference(row)
        return preference is not None and not preference["enabled"] and row["category"] != "security"

    def after_quiet_hours(self, row: Row, now: datetime) -> datetime | None:
        """When the user's quiet hours end, if it is quiet now."""
        preference = self._preference(row)
        if preference is None or preference["quiet_from"] is None:
            return None
        return end_of_quiet(
            now, preference["quiet_from"], preference["quiet_to"], self.users[row["user_id"]]["timezone"]
        )

    def has_room(self, row: Row) -> bool:
        """Whether the channel may send one more in this minute; if so it is counted."""
        if row["channel"] is None:
            return True
        self.room[row["channel"]] -= 1
        return self.room[row["channel"]] >= 0

    def message(self, row: Row) -> Message:
        """The message as it goes out."""
        user, channel = self.users.get(row["user_id"]), self.channels.get(row["channel"])
        usual = {"email": "email", "sms": "phone"}.get(row["channel_kind"], "id")
        to = row["address"] or (str(user[usual]) if user and user[usual] else None)
        return Message(
            id=row["id"],
            kind=row["channel_kind"],
            to=to,
            subject=render(row["subject"] or "", row["variables"]),
            body=render(row["body"], row["variables"]),
            sender=channel["from_address"] if channel else None,
            config=channel["config"] if channel else None,
        )


async def _sent_lately(moment: Moment, channels: set[UUID]) -> dict[UUID, int]:
    """How many messages each channel has tried to send in the last minute."""
    rows = Notification.__table__.c
    counted = (
        select(rows.channel_id, func.count().label("sent"))
        .where(rows.channel_id.in_(channels), rows.sent_at > moment.now - timedelta(minutes=1))
        .group_by(rows.channel_id)
    )
    return {row["channel_id"]: row["sent"] for row in await moment.fetch(counted)}


def end_of_quiet(now: datetime, start: time, end: time, timezone: str) -> datetime | None:
    """When quiet hours end in which `now` lies; None outside of them. They may go over midnight, in the user's own time."""
    zone = ZoneInfo(timezone)
    local = now.astimezone(zone)
    clock = local.time()
    quiet = start <= clock < end if start <= end else clock >= start or clock < end
    if not quiet:
        return None
    day = local.date() if clock < end else local.date() + timedelta(days=1)
    return datetime.combine(day, end, zone).astimezone(now.tzinfo)


def _attempt(row: Row, message: Message, now: datetime, retries: list[int]) -> dict[str, Any]:
    """What a claimed row says. Should nobody settle it, it is due again when the next attempt would be."""
    delay = retries[min(row["attempts"], len(retries) - 1)] if retries else 1
    return {
        "id": row["id"],
        "channel_id": row["channel"],
        "attempts": row["attempts"] + 1,
        "next_attempt_at": now + timedelta(minutes=delay),
        "rendered_subject": message.subject[:200] or None,
        "rendered_body": message.body,
    }


async def _send_all(messages: list[Message]) -> Outcomes:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(message: Message) -> tuple[Message, str | None]:
        async with gate:
            try:
                await send(message)
            except Undeliverable as fault:
                return message, str(fault)
            return message, None

    return list(await asyncio.gather(*(one(message) for message in messages)))


async def _settle(moment: Moment, outcomes: Outcomes) -> dict[str, int]:
    """Write down what became of the messages. One that was cancelled while it went out stays cancelled."""
    retries = await moment.setting("noti.retry_minutes")
    told = {message.id: (message, fault) for message, fault in outcomes}
    rows = Notification.__table__.c
    alive = await lock_rows(moment, Notification, rows.id.in_(told), rows.status == "queued") if told else []
    done = [row["id"] for row in alive if told[row["id"]][1] is None]
    tried = [row for row in alive if told[row["id"]][1] is not None]
    over = [row["id"] for row in tried if row["attempts"] > len(retries)]
    await moment.status(NOTIFICATIONS, done, "sent")
    await moment.status(NOTIFICATIONS, [key for key in done if told[key][0].kind == "in_app"], "delivered")
    await moment.update(NOTIFICATIONS, [{"id": row["id"], "error": told[row["id"]][1]} for row in tried])
    await moment.status(NOTIFICATIONS, over, "failed", "given up")
    return {"sent": len(done), "failed": len(over), "retried": len(tried) - len(over)}
