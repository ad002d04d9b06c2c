"""The tax rate of a day: a code keeps its name while its rate changes from row to row."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from uuid import UUID

from sqlalchemy import or_

from engine.hooks import Moment, Row
from registry.tenants.fim import TaxCode


async def tax_on(moment: Moment, tax_code_ids: Collection[UUID | None], on: date) -> dict[UUID, Row]:
    """For each of the ids (None is passed over) the row of the same code that is valid on the day. An id whose code has no
    rate on that day, or that names no active row, is absent."""
    codes = TaxCode.__table__.c
    wanted = {key for key in tax_code_ids if key is not None}
    if not wanted:
        return {}
    named = await moment.list("fim.tax-codes", codes.id.in_(wanted), limit=len(wanted))
    valid = await moment.list(
        "fim.tax-codes",
        codes.code.in_({row["code"] for row in named}),
        codes.valid_from <= on,
        or_(codes.valid_until.is_(None), codes.valid_until >= on),
        limit=len(named),
    )
    by_code = {row["code"]: row for row in valid}
    return {row["id"]: by_code[row["code"]] for row in named if row["code"] in by_code}
