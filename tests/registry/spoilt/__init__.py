"""Two rules more than the registry has: they refuse the postings that a test marks, after the number was drawn."""

from __future__ import annotations

from uuid import UUID

from engine.errors import ConflictError
from engine.hooks import Change, Moment, Point, Rules

marked: set[UUID] = set()
entries, invoices = Rules("tenants/fim"), Rules("manager/bill")


@entries.on("SPOILT", "journal-entries", Point.AFTER_STATUS, edges="draft>posted", raises="409:spoilt")
@invoices.on("SPOILT", "invoices", Point.AFTER_STATUS, edges="draft>open", raises="409:spoilt")
async def refuse_marked(_moment: Moment, changes: list[Change]) -> None:
    """A number was drawn, and goes back."""
    for change in changes:
        assert change["number"] is not None
        if change.key in marked:
            raise ConflictError("spoilt", "The test wants this to fail")
