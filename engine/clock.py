"""The one clock and the one source of ids and randomness, so that every test can run twice and in any order."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, date, datetime
from uuid import UUID

import uuid_utils
from uuid_utils.compat import uuid7


class Clock:
    """What time it is, and what the next id is. Tests freeze it with `at`; nothing else reads the system's clock."""

    def __init__(self) -> None:
        self.frozen: datetime | None = None
        self.new_id: Callable[[], UUID] = uuid7

    def now(self) -> datetime:
        """The moment, in UTC, with microseconds."""
        return self.frozen or datetime.now(UTC)

    def today(self) -> date:
        """The day, in UTC."""
        return self.now().date()

    def at(self, moment: datetime | None) -> None:
        """Stop the clock at `moment`, or let it run again with None."""
        self.frozen = moment


CLOCK = Clock()


def id_text() -> str:
    """A new id as text, of a request or a record that nobody looks at before it is stored: half the cost of the object."""
    return str(uuid_utils.uuid7())


def random_token(length: int) -> str:
    """A secret of `length` letters and digits from the operating system's generator."""
    alphabet = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"
    return "".join(secrets.choice(alphabet) for _ in range(length))
