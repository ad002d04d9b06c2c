"""Quantities in other units (PIM-U1)."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from uuid import UUID

from engine.errors import ValidationError, generic
from engine.hooks import Moment, Row
from registry.money import WIDE, to_places
from registry.tenants.pim import Unit


async def units_of(moment: Moment, keys: Collection[UUID]) -> dict[UUID, Row]:
    """id -> unit. 422 invalid_reference when one is not there."""
    units = Unit.__table__.c
    found = {row["id"]: row for row in await moment.list("pim.units", units.id.in_(keys), limit=len(keys))}
    if len(found) < len(set(keys)):
        raise generic("invalid_reference")
    return found


def converted(quantity: Decimal, source: Row, target: Row) -> Decimal:
    """`quantity` of one unit in another: times factor / factor, rounded half up to the decimals of the target.
    422 unit_mismatch between dimensions."""
    if source["dimension"] != target["dimension"]:
        raise ValidationError(
            "unit_mismatch",
            f"{source['code']} measures {source['dimension']}, {target['code']} measures {target['dimension']}",
        )
    exact = WIDE.divide(WIDE.multiply(quantity, source["factor"]), target["factor"])
    return to_places(exact, target["decimals"])


async def convert(moment: Moment, quantity: Decimal, from_unit_id: UUID, to_unit_id: UUID) -> Decimal:
    """`converted` for one quantity, by the ids of its units. For many lines ask `units_of` once."""
    units = await units_of(moment, {from_unit_id, to_unit_id})
    return converted(quantity, units[from_unit_id], units[to_unit_id])
