"""Rows of the catalogue to try things with."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from engine.hooks import Moment, Row
from registry.tenants.pim import Unit

UNITS: list[dict[str, Any]] = [
    {"code": "PCS", "name": "Piece", "dimension": "count", "factor": 1, "is_base": True},
    {"code": "DOZ", "name": "Dozen", "dimension": "count", "factor": 12},
    {"code": "KG", "name": "Kilogram", "dimension": "mass", "factor": 1, "is_base": True, "decimals": 3},
    {"code": "G", "name": "Gram", "dimension": "mass", "factor": Decimal("0.001")},
    {"code": "HOUR", "name": "Hour", "dimension": "time", "factor": 1, "is_base": True, "decimals": 2},
]
FABRIC = {"code": "fabric", "type": "option", "required": True, "options": ["cotton", "wool"]}


async def demo_pim(tenant: Moment) -> None:
    """Units, a tree of categories, products with and without variants, and a price list with a quantity break."""
    units = await _units(tenant)
    categories = await _categories(tenant)
    shirt = {"sku": "TEE", "name": "T-shirt", "category_id": categories["SHIRTS"], "attributes": {"fabric": "cotton"}}
    service = {"sku": "SETUP", "name": "Set-up", "category_id": categories["SERVICES"], "kind": "service"}
    products = await tenant.create(
        "pim.products",
        [
            {**shirt, "unit_id": units["PCS"], "list_price": Decimal("19.90"), "brand": "Nordwind"},
            {**service, "unit_id": units["HOUR"], "list_price": Decimal(120)},
        ],
    )
    await tenant.status("pim.products", [row["id"] for row in products], "active")
    await _prices(tenant, products[0])


async def _units(moment: Moment) -> dict[str, UUID]:
    """Code -> id; a new tenant may have some already."""
    codes = Unit.__table__.c.code
    known = {row["code"]: row["id"] for row in await moment.list("pim.units", codes.in_([u["code"] for u in UNITS]))}
    made = await moment.create("pim.units", [unit for unit in UNITS if unit["code"] not in known])
    return known | {row["code"]: row["id"] for row in made}


async def _categories(moment: Moment) -> dict[str, UUID]:
    tops: list[dict[str, Any]] = [
        {"code": "CLOTHES", "name": "Clothes", "attributes": [FABRIC]},
        {"code": "SERVICES", "name": "Services"},
    ]
    rows = await moment.create("pim.categories", tops)
    below = {"code": "SHIRTS", "name": "Shirts", "parent_id": rows[0]["id"]}
    rows += await moment.create("pim.categories", [below])
    return {row["code"]: row["id"] for row in rows}


async def _prices(moment: Moment, shirt: Row) -> None:
    variants = await moment.list("pim.product-variants", limit=100)
    first = next(row for row in variants if row["product_id"] == shirt["id"])
    await moment.update("pim.product-variants", [{"id": first["id"], "options": {"size": "M"}}])
    large = {"product_id": shirt["id"], "sku": "TEE-L", "options": {"size": "L"}, "barcode": "4006381333931"}
    await moment.create("pim.product-variants", [large])
    retail = {"code": "RETAIL", "name": "Retail", "currency": "USD", "valid_from": moment.today, "is_default": True}
    [prices] = await moment.create("pim.price-lists", [retail])
    await moment.status("pim.price-lists", [prices["id"]], "active")
    item = {"price_list_id": prices["id"], "variant_id": first["id"], "valid_from": moment.today}
    breaks = [{"unit_price": Decimal("19.90")}, {"unit_price": Decimal("17.50"), "min_qty": Decimal(12)}]
    await moment.create("pim.price-list-items", [{**item, **row} for row in breaks])
