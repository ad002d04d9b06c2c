"""What sales credit notes may take of their originals, and have taken."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from uuid import UUID

from sqlalchemy import func, select

from engine.hooks import Change, Moment, Row
from registry.tenants.apm import SalesInvoice

CREDITABLE = ("posted", "paid", "credited")


async def noted(moment: Moment, originals: Collection[UUID]) -> dict[UUID, Decimal]:
    """Invoice -> total of its posted credit notes."""
    notes = SalesInvoice.__table__.c
    statement = select(notes.original_invoice_id, func.sum(notes.total).label("total")).where(
        notes.original_invoice_id.in_(originals), notes.is_active, notes.status != "draft"
    )
    rows = await moment.fetch(statement.group_by(notes.original_invoice_id))
    return {row["original_invoice_id"]: row["total"] for row in rows}


def may_credit(note: Change, original: Row | None) -> bool:
    """Whether the original is a posted invoice to the same customer in the same currency."""
    if original is None or original["kind"] != "invoice" or original["status"] not in CREDITABLE:
        return False
    return all(note[name] == original[name] for name in ("customer_id", "currency"))
