"""Behaviour of a tenant's number sequences."""

from __future__ import annotations

from engine.errors import ConflictError
from engine.hooks import Change, Moment, Point, Rules
from registry.sequences import keep_counting

rules = Rules("tenants/sys")


@rules.on("SYS-N1", "number-sequences", Point.BEFORE_UPDATE, raises="409:sequence_in_use")
async def only_count_up(moment: Moment, changes: list[Change]) -> None:
    """next_value only grows, and never on a gapless sequence in use; the prefix stays for the year."""
    keep_counting(changes)
    for change in changes:
        if change.old and change.changes("prefix") and change.old["current_year"] == moment.today.year:
            raise ConflictError("sequence_in_use", "The prefix of a sequence stays while its year lasts")
