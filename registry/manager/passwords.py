"""What a password must be (IDAM-U1), and what it is stored as."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from engine.hooks import Moment

MAXIMUM_BYTES = 72  # bcrypt reads no further
HISTORY = 5  # kept hashes


class PasswordPolicy(NamedTuple):
    """What a password must be, as long as no policy in audt.policies says otherwise. `history`: former ones that do not come
    again; `max_age_days`: None = it never grows too old."""

    min_length: int = 12
    classes: int = 3
    history: int = 5
    max_age_days: int | None = None


DEFAULT = PasswordPolicy()


def storable(text: str) -> bool:
    """Whether PostgreSQL takes the text: valid UTF-8 without NUL."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def hashable(password: str) -> bool:
    """Whether bcrypt sees all of the password."""
    return storable(password) and len(password.encode()) <= MAXIMUM_BYTES


def weakness(password: str, email: str, policy: PasswordPolicy = DEFAULT) -> str | None:
    """What the policy has against the password, or None."""
    if not hashable(password):
        return f"must be at most {MAXIMUM_BYTES} bytes of UTF-8 without NUL"
    if len(password) < policy.min_length:
        return f"must have at least {policy.min_length} characters"
    if _classes(password) < policy.classes:
        return f"must mix at least {policy.classes} of: small letters, capitals, digits, other characters"
    if password.lower() == email.partition("@")[0].lower():
        return "must not be the name in the e-mail address"
    return None


def _classes(password: str) -> int:
    kinds = {
        "lower" if letter.islower() else "upper" if letter.isupper() else "digit" if letter.isdigit() else "other"
        for letter in password
    }
    return len(kinds)


async def was_used(moment: Moment, password: str, history: Sequence[str]) -> bool:
    """Whether the password fits one of the kept hashes; they are tried side by side, since each takes long."""
    return any(await asyncio.gather(*(moment.check_password(password, hashed) for hashed in history)))


async def password_columns(moment: Moment, password: str, history: Sequence[str] = ()) -> dict[str, Any]:
    """The columns that a new password changes."""
    hashed = await moment.hash_password(password)
    return {
        "password_hash": hashed,
        "password_history": [hashed, *history][:HISTORY],
        "password_changed_at": moment.now,
    }
