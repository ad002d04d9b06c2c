"""Integration: event types, outside connections, webhooks and their deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import String
from sqlalchemy.orm import Mapped

from engine.entity import Entity
from engine.types import Key, Shaped, column
from registry.manager import ManagerModel


class EventType(ManagerModel, table="intg.event_types"):
    """Catalogue of events that webhooks and workflows may listen to; G18 events are seeded."""

    code: Mapped[Key]
    scope: Mapped[Literal["manager", "tenant"]]
    description: Mapped[str | None] = column(String(255))
    payload_schema: Mapped[dict[str, Any]] = column(Shaped(dict[str, Any]), default=dict)
    revision: Mapped[int] = column(default=1)
    deprecated_at: Mapped[datetime | None]


event_types = Entity(
    EventType,
    kind="config",
    label="code",
    unique=["code"],
    search=["code"],
    once=["code", "scope"],
    read_only=["revision"],
)
