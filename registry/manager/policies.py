"""Security policies in force: what a policy of each kind says, which of two is stricter, and what counts for a user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any
from uuid import UUID

import msgspec
from sqlalchemy import or_, select

from engine.hooks import Moment, Row
from registry.manager.audt import Policy
from registry.manager.passwords import PasswordPolicy
from registry.manager.tnnt import TenantMember

Count = Annotated[int, msgspec.Meta(ge=1)]
Network = IPv4Network | IPv6Network


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a policy says; every key is given."""


class PasswordParameters(Parameters, frozen=True):
    """How passwords are made. `history`: so many former ones do not come again, of the five that are kept. `max_age_days`: then
    the user has to choose another; null = never."""

    min_length: Annotated[int, msgspec.Meta(ge=8, le=72)]
    classes: Annotated[int, msgspec.Meta(ge=1, le=4)]
    history: Annotated[int, msgspec.Meta(ge=0, le=5)]
    max_age_days: Count | None


class SessionParameters(Parameters, frozen=True):
    """How long a session may rest."""

    idle_minutes: Count


class MfaParameters(Parameters, frozen=True):
    """Whether a second factor must stay."""

    required: bool


class AllowlistParameters(Parameters, frozen=True):
    """Networks from which one may come; none = from anywhere."""

    cidrs: list[str]


class RetentionParameters(Parameters, frozen=True):
    """How long records are kept at least."""

    days: Count


def _networks(parameters: Any) -> list[Network]:
    return [ip_network(text) for text in parameters.cidrs]


def _inside(own: Any, platform: Any) -> bool:
    """Whether every network lies in one of the platform's."""
    allowed = _networks(platform)
    inner = [
        any(type(one) is type(other) and one.subnet_of(other) for other in allowed)  # type: ignore[arg-type]
        for one in _networks(own)
    ]
    return not allowed or (bool(inner) and all(inner))


def _no_older(own: Any, platform: Any) -> bool:
    limit = platform.max_age_days
    return limit is None or (own.max_age_days is not None and own.max_age_days <= limit)


SHAPES: dict[str, type[Parameters]] = {
    "password": PasswordParameters,
    "session": SessionParameters,
    "mfa": MfaParameters,
    "ip_allowlist": AllowlistParameters,
    "retention": RetentionParameters,
}
# parameter -> whether the first policy is at least as strict as the second
STRICTER: dict[str, Callable[[Any, Any], bool]] = {
    "min_length": lambda own, platform: own.min_length >= platform.min_length,
    "classes": lambda own, platform: own.classes >= platform.classes,
    "history": lambda own, platform: own.history >= platform.history,
    "max_age_days": _no_older,
    "idle_minutes": lambda own, platform: own.idle_minutes <= platform.idle_minutes,
    "required": lambda own, platform: own.required or not platform.required,
    "cidrs": _inside,
    "days": lambda own, platform: own.days >= platform.days,
}
DEFAULTS = {"password": dict(PasswordPolicy()._asdict())}


def read_parameters(kind: str, parameters: Any) -> Parameters:
    """What a policy says. ValueError when keys or values do not fit the kind."""
    read = msgspec.convert(parameters, SHAPES[kind])
    if isinstance(read, AllowlistParameters):
        _networks(read)
    return read


def weaker_parameter(kind: str, own: Any, platform: Any) -> str | None:
    """The first parameter in which `own` is not as strict as `platform`."""
    one, other = read_parameters(kind, own), read_parameters(kind, platform)
    return next((name for name in one.__struct_fields__ if not STRICTER[name](one, other)), None)


async def platform_parameters(moment: Moment, kind: str, start: date, end: date | None) -> list[dict[str, Any]]:
    """What the platform's active policies of a kind say on any of these days; for passwords the default where none does."""
    policies = Policy.__table__.c
    during = or_(policies.valid_until.is_(None), policies.valid_until >= start)
    conditions = [policies.kind == kind, policies.tenant_id.is_(None), policies.status == "active", during]
    if end is not None:
        conditions.append(policies.valid_from <= end)
    found = [row["parameters"] for row in await moment.list("audt.policies", *conditions)]
    return found or ([DEFAULTS[kind]] if kind in DEFAULTS else [])


async def policies_for(moment: Moment, kind: str, user_id: UUID | None) -> Sequence[Row]:
    """(parameters, tenant_id) of the policies that count for a user today: the platform's, and those of each tenant whose
    member he is."""
    policies, members = Policy.__table__.c, TenantMember.__table__.c
    own = select(members.tenant_id).where(members.user_id == user_id, members.is_active, members.status == "active")
    return await moment.fetch(
        select(policies.parameters, policies.tenant_id).where(
            policies.is_active,
            policies.kind == kind,
            policies.status == "active",
            policies.valid_from <= moment.today,
            or_(policies.valid_until.is_(None), policies.valid_until >= moment.today),
            or_(policies.tenant_id.is_(None), policies.tenant_id.in_(own)),
        )
    )


async def password_policy(moment: Moment, user_id: UUID | None) -> PasswordPolicy:
    """The strictest of the password policies that count for a user (None = somebody new); the default where the platform says
    nothing."""
    found = await policies_for(moment, "password", user_id)
    said = [PasswordPolicy(**row["parameters"]) for row in found]
    if all(row["tenant_id"] is not None for row in found):
        said.append(PasswordPolicy())
    ages = [policy.max_age_days for policy in said if policy.max_age_days is not None]
    return PasswordPolicy(
        max(policy.min_length for policy in said),
        max(policy.classes for policy in said),
        max(policy.history for policy in said),
        min(ages, default=None),
    )


async def mfa_is_mandatory(moment: Moment, user_id: UUID) -> bool:
    """Whether a policy asks for the user's second factor."""
    return any(row["parameters"]["required"] for row in await policies_for(moment, "mfa", user_id))
