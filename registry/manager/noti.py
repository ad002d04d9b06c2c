"""Notification: templates, channels, queue, preferences."""

from __future__ import annotations

from datetime import datetime, time
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import String
from sqlalchemy.orm import Mapped

from engine.entity import Entity, Owner, Unique
from engine.types import Code, Shaped, SmallInt, Text, check, column, now, reference
from registry.manager import ManagerModel


class Variable(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A value that a message is filled with: `{{ name }}` in subject and body."""

    name: Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]*$", max_length=64)]
    type: Literal["string", "number", "bool", "date", "datetime"] = "string"
    required: bool = True


class Template(ManagerModel, table="noti.templates"):
    """Message text with variables per channel and language."""

    code: Mapped[Code]
    channel_kind: Mapped[Literal["email", "sms", "push", "in_app", "webhook"]]
    locale: Mapped[str] = column(String(10), default="en")
    category: Mapped[Literal["security", "billing", "product", "support", "system"]] = column(default="system")
    subject: Mapped[str | None] = column(String(200))
    body: Mapped[Text]
    variables: Mapped[list[Variable]] = column(Shaped(list[Variable]), default=list)
    revision: Mapped[int] = column(default=1)


templates = Entity(
    Template,
    kind="config",
    label="code",
    unique=[Unique(("code", "channel_kind", "locale", "revision"))],
    search=["code", "subject"],
    once=["code", "channel_kind", "locale"],
    read_only=["revision"],
    machine="draft* published archived : draft>published; published>archived; published~>archived",
    info={"example": {"subject": "Welcome"}},
)


class Channel(ManagerModel, table="noti.channels"):
    """Configured way out (mail server, SMS gateway, push, chat hook)."""

    code: Mapped[Code]
    kind: Mapped[Literal["email", "sms", "push", "in_app", "webhook"]]
    from_address: Mapped[str | None] = column(String(254))
    config: Mapped[dict[str, Any]] = column(Shaped(dict[str, Any]), default=dict)  # host,port,user,secret,url
    rate_limit_per_minute: Mapped[int] = column(default=60, above=0)
    is_default: Mapped[bool] = column(default=False)


channels = Entity(
    Channel,
    kind="config",
    label="code",
    unique=["code", Unique(("kind",), where="is_default")],
    search=["code"],
    once=["code", "kind"],
    hidden=["config"],
    encrypted=["config"],
)


class Notification(ManagerModel, table="noti.notifications"):
    """One message to one recipient, queued and delivered."""

    template_id: Mapped[UUID] = reference("noti.templates")
    channel_id: Mapped[UUID | None] = reference("noti.channels")
    user_id: Mapped[UUID | None] = reference("idam.users", "cascade")
    address: Mapped[str | None] = column(String(254))
    tenant_id: Mapped[UUID | None] = reference("tnnt.tenants", "cascade")
    variables: Mapped[dict[str, Any]] = column(Shaped(dict[str, Any]), default=dict)
    dedupe_key: Mapped[str | None] = column(String(120))
    scheduled_at: Mapped[datetime] = column(default=now)
    rendered_subject: Mapped[str | None] = column(String(200))
    rendered_body: Mapped[Text | None]
    attempts: Mapped[SmallInt] = column(default=0)
    next_attempt_at: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    read_at: Mapped[datetime | None]
    error: Mapped[str | None] = column(String(500))
    __table_args__ = (check("user_id is not null or address is not null"),)


notifications = Entity(
    Notification,
    kind="log",
    operations="cgls",
    search=["address"],
    once=[
        *("template_id", "channel_id", "user_id", "address", "tenant_id", "variables", "dedupe_key"),
        *("scheduled_at",),
    ],
    read_only=["rendered_subject", "rendered_body", "attempts", "next_attempt_at", "sent_at", "read_at", "error"],
    stamps={"sent": {"sent_at": "now"}, "read": {"read_at": "now"}},
    machine="queued* sent delivered read failed skipped canceled : queued~>sent,failed,skipped; queued>canceled; "
    "sent~>delivered,failed; sent>read; delivered>read",
)


class Preference(ManagerModel, table="noti.preferences"):
    """Opt-in or opt-out of a user per category and channel."""

    user_id: Mapped[UUID] = reference("idam.users", "cascade")
    category: Mapped[Literal["security", "billing", "product", "support", "system"]]
    channel_kind: Mapped[Literal["email", "sms", "push", "in_app", "webhook"]]
    enabled: Mapped[bool] = column(default=True)
    quiet_from: Mapped[time | None]
    quiet_to: Mapped[time | None]
    __table_args__ = (check("(quiet_from is null) = (quiet_to is null)"),)


preferences = Entity(
    Preference,
    kind="config",
    unique=[Unique(("user_id", "category", "channel_kind"))],
    once=["user_id", "category", "channel_kind"],
    owner=Owner("user_id", unless="noti.preferences.manage"),
    permissions=["noti.preferences.manage"],
)
