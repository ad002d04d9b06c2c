"""Behaviour of the platform's number sequences."""

from __future__ import annotations

from engine.hooks import Change, Moment, Point, Rules
from registry.sequences import keep_counting

rules = Rules("manager/cnfg")


@rules.on("CNFG-N1", "number-sequences", Point.BEFORE_UPDATE, raises="409:sequence_in_use")
async def only_count_up(moment: Moment, changes: list[Change]) -> None:
    """next_value only grows, and never on a gapless sequence in use."""
    keep_counting(changes)
