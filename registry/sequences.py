"""What both databases ask of a change to a number sequence."""

from __future__ import annotations

from engine.errors import ConflictError
from engine.hooks import Change


def keep_counting(changes: list[Change]) -> None:
    """409 when a counter would go back, or when a gapless one that has given numbers would move at all."""
    for change in changes:
        if change.old is None or not change.changes("next_value"):
            continue
        used = change.old["gapless"] and change.old["current_year"] is not None
        if used or change["next_value"] < change.old["next_value"]:
            raise ConflictError("sequence_in_use", "Numbers that were given are not given again, nor left out")
