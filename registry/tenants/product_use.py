"""Whether products are in use. Every rule that asks it asks here, so that a domain which uses products has one place to
say so."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import func, or_, select

from engine.errors import ConflictError
from engine.hooks import Moment
from registry.tenants.pim import Product, ProductVariant

RETIRED = ("discontinued", "archived")


class Use(NamedTuple):
    """`moved`: stock of the product has moved at some time. `held`: something is still to be done with it."""

    moved: bool
    held: bool


async def use_of(moment: Moment, products: Collection[UUID]) -> dict[UUID, Use]:
    """Product -> its use; one that never had a variant is missing.

    Read from the variants, deleted ones too: a quantity or a cost other than zero came by a stock move, and stock on hand
    holds a product. Not asked yet, for want of their tables: the stock moves themselves (ivm), which also tell of stock that
    came and went at cost zero, and open order lines (srm, psm), which hold a product as well.
    """
    variants = ProductVariant.__table__.c
    moved = func.bool_or(or_(variants.on_hand != 0, variants.avg_cost != 0)).label("moved")
    held = func.bool_or(variants.on_hand != 0).label("held")
    question = select(variants.product_id, moved, held).where(variants.product_id.in_(products))
    rows = await moment.fetch(question.group_by(variants.product_id))
    return {row["product_id"]: Use(row["moved"], row["held"]) for row in rows}


async def require_orderable(moment: Moment, variants: Collection[UUID]) -> None:
    """PIM-P4, for the rules of order lines: 409 product_not_sellable when a product is discontinued or archived."""
    product, variant = Product.__table__.c, ProductVariant.__table__.c
    retired = (
        select(product.sku)
        .where(product.id == variant.product_id, variant.id.in_(variants), product.status.in_(RETIRED))
        .distinct()
        .order_by(product.sku)
    )
    if rows := await moment.fetch(retired):
        names = ", ".join(row["sku"] for row in rows)
        raise ConflictError("product_not_sellable", f"Not in the programme any more: {names}")
