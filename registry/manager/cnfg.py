"""Configuration: platform settings, feature flags, number sequences."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import String
from sqlalchemy.orm import Mapped

from engine.entity import Entity, Unique
from engine.types import BigInt, Code, Json, Key, Name, Percent, Shaped, SmallInt, Text, check, column, reference
from registry.manager import ManagerModel

ZERO = Decimal(0)


class Setting(ManagerModel, table="cnfg.settings"):
    """Typed platform setting, with optional value per tenant."""

    key: Mapped[Key]
    tenant_id: Mapped[UUID | None] = reference("tnnt.tenants", "cascade")
    value: Mapped[Json | None]
    # what a secret one holds: its `value` says *** alone
    secret_value: Mapped[Json | None]
    value_type: Mapped[Literal["string", "int", "number", "bool", "json"]]
    schema: Mapped[dict[str, Any] | None] = column(Shaped(dict[str, Any]))
    description: Mapped[str | None] = column(String(255))
    is_secret: Mapped[bool] = column(default=False)
    is_public: Mapped[bool] = column(default=False)


settings = Entity(
    Setting,
    kind="config",
    label="key",
    unique=[Unique(("key", "tenant_id"), nulls_equal=True)],
    search=["key"],
    once=["key", "tenant_id", "value_type", "is_secret"],
    read_only=["secret_value"],
    hidden=["secret_value"],
    encrypted=["secret_value"],
    role="settings",
)


class FeatureFlag(ManagerModel, table="cnfg.feature_flags"):
    """Switch for a feature with gradual rollout."""

    key: Mapped[Key]
    name: Mapped[Name]
    description: Mapped[Text | None]
    kind: Mapped[Literal["release", "ops", "experiment", "permission"]] = column(default="release")
    default_on: Mapped[bool] = column(default=False)
    rollout_pct: Mapped[Percent] = column(default=ZERO)
    owner_id: Mapped[UUID | None] = reference("idam.users", "setnull")
    review_on: Mapped[date | None]


feature_flags = Entity(
    FeatureFlag,
    kind="config",
    label="key",
    unique=["key"],
    search=["key"],
    once=["key"],
    machine="active* archived : active>archived; archived>active",
)


class FlagOverride(ManagerModel, table="cnfg.flag_overrides"):
    """Fixed answer of a flag for one tenant or user."""

    flag_id: Mapped[UUID] = reference("cnfg.feature_flags", "cascade")
    tenant_id: Mapped[UUID | None] = reference("tnnt.tenants", "cascade")
    user_id: Mapped[UUID | None] = reference("idam.users", "cascade")
    value: Mapped[bool]
    expires_at: Mapped[datetime | None]
    reason: Mapped[str | None] = column(String(255))
    __table_args__ = (check("(tenant_id is null) <> (user_id is null)"),)


flag_overrides = Entity(
    FlagOverride,
    kind="config",
    unique=[Unique(("flag_id", "tenant_id", "user_id"), nulls_equal=True)],
    once=["flag_id", "tenant_id", "user_id"],
)


class NumberSequence(ManagerModel, table="cnfg.number_sequences"):
    """Counter for manager document numbers (INV, CN, INC, TCK, RST, DSR)."""

    code: Mapped[Code]
    prefix: Mapped[str] = column(String(12))
    padding: Mapped[SmallInt] = column(default=5, minimum=3, maximum=10)
    reset: Mapped[Literal["never", "yearly"]] = column(default="yearly")
    gapless: Mapped[bool] = column(default=False)
    current_year: Mapped[SmallInt | None]
    next_value: Mapped[BigInt] = column(default=1)


number_sequences = Entity(
    NumberSequence,
    kind="config",
    operations="cglud",
    label="code",
    unique=["code"],
    search=["code"],
    once=["code", "reset", "gapless"],
    read_only=["current_year"],
    role="number_sequences",
)
