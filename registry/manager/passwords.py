"""The default password policy (IDAM-U1), and what a password is stored as."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from engine.hooks import Moment

MINIMUM_CHARACTERS = 12
MAXIMUM_BYTES = 72  # bcrypt reads no further
HISTORY = 5
CLASSES = 3


def storable(text: str) -> bool:
    """Whether PostgreSQL takes the text: valid UTF-8 without NUL."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def hashable(password: str) -> bool:
    """Whether bcrypt sees all of the password."""
    return storable(password) and len(password.encode()) <= MAXIMUM_BYTES


def weakness(password: str, email: str) -> str | None:
    """What the policy has against the password, or None."""
    if not hashable(password):
        return f"must be at most {MAXIMUM_BYTES} bytes of UTF-8 without NUL"
    if len(password) < MINIMUM_CHARACTERS:
        return f"must have at least {MINIMUM_CHARACTERS} characters"
    if _classes(password) < CLASSES:
        return f"must mix at least {CLASSES} of: small letters, capitals, digits, other characters"
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
