"""A story of the catalogue: categories with attributes, a product with variants, prices by quantity, and the price found."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

from tests.calls import Body, Caller, World

CATEGORIES, UNITS, PRODUCTS = "tenants/pim/categories", "tenants/pim/units", "tenants/pim/products"
VARIANTS, LISTS, ITEMS = "tenants/pim/product-variants", "tenants/pim/price-lists", "tenants/pim/price-list-items"


def price_shown(caller: Caller, prices: Body, row: Body, quantity: int) -> Decimal:
    """The price of so many on 1 July, as a client reads it: of the valid items the one with the largest min_qty reached,
    less its discount, else the list price."""
    query = (
        f"filter[price_list_id]={prices['id']}&filter[variant_id]={row['id']}&filter[min_qty][lte]={quantity}"
        "&filter[valid_from][lte]=2026-07-01&sort=-min_qty"
    )
    valid = [item for item in caller.list(ITEMS, query) if (item["valid_until"] or "9999") >= "2026-07-01"]
    if valid:
        return Decimal(valid[0]["unit_price"]) * (100 - Decimal(valid[0]["discount_pct"])) / 100
    return Decimal(row["list_price"] or caller.get(PRODUCTS, row["product_id"])["list_price"])


def shirt_category(seller: Caller) -> Body:
    """CLOTHES with a fabric, and SHIRTS below with a weight."""
    fabric = {"code": "fabric", "type": "option", "options": ["cotton", "wool"], "required": True}
    clothes = seller.make(CATEGORIES, code="CLOTHES", name="Clothes", attributes=[fabric])
    weight = {"code": "weight_gsm", "type": "int"}
    shirts = seller.make(CATEGORIES, code="SHIRTS", name="Shirts", parent_id=clothes["id"], attributes=[weight])
    assert (shirts["path"], shirts["depth"]) == ("CLOTHES/SHIRTS", 2)
    seller.expect_refusal("422:tree_cycle", "PATCH", f"{CATEGORIES}/{clothes['id']}", {"parent_id": shirts["id"]})
    return shirts


def t_shirt(seller: Caller, category: Body) -> list[Body]:
    """The small and the large variant of a T-shirt on sale."""
    piece = seller.make(UNITS, code="SHIRTPC", name="Piece", dimension="count", factor="1")
    about = {"sku": "TEE", "name": "T-shirt", "category_id": category["id"], "unit_id": piece["id"]}
    small = {"sku": "TEE-S", "options": {"size": "S"}, "barcode": "4006381333931"}
    large = {"sku": "TEE-L", "options": {"size": "L"}, "list_price": "21.90"}
    body = {**about, "list_price": "19.90", "variants": [small, large]}
    seller.expect_refusal("422:attribute_invalid", "POST", PRODUCTS, body)
    tee = seller.make(PRODUCTS, **body, attributes={"fabric": "cotton", "weight_gsm": 180})
    rows = seller.list(VARIANTS, f"filter[product_id]={tee['id']}&sort=-sku")
    assert [(row["name"], row["is_default"]) for row in rows] == [("T-shirt S", True), ("T-shirt L", False)]
    assert [row["id"] for row in seller.list(VARIANTS, "q=4006381333931")] == [rows[0]["id"]]
    seller.move(PRODUCTS, tee["id"], "active")
    return rows


def retail_prices(seller: Caller, row: Body) -> Body:
    """A default list: 18 from July on, 17 for a dozen, 17 less 10 % for a gross."""
    item = {"variant_id": row["id"], "unit_price": "17.00", "valid_from": "2026-01-01"}
    breaks = [
        {**item, "unit_price": "19.00", "valid_until": "2026-06-30"},
        {**item, "unit_price": "18.00", "valid_from": "2026-07-01"},
        {**item, "min_qty": "12"},
        {**item, "min_qty": "144", "discount_pct": "10"},
    ]
    about = {"code": "RETAIL", "name": "Retail", "currency": "USD", "valid_from": "2026-01-01", "is_default": True}
    return seller.move(LISTS, seller.make(LISTS, **about, items=breaks)["id"], "active")


def test_catalogue_to_price(world: World, freeze: Callable[[datetime | None], None]) -> None:
    """What a merchant does before the first sale, and when the article goes."""
    freeze(datetime(2026, 6, 20, 9, tzinfo=UTC))
    tenant = world.tenant(name="Outfitters")
    seller = world.sign_in(world.owner(tenant), tenant)
    shirts = shirt_category(seller)
    small, large = t_shirt(seller, shirts)

    retail = retail_prices(seller, small)
    found = [price_shown(seller, retail, small, quantity) for quantity in (1, 11, 12, 143, 144)]
    assert found == [Decimal(text) for text in ("18", "18", "17", "17", "15.3")]
    assert price_shown(seller, retail, large, 144) == Decimal("21.9")
    sale = {"variant_id": small["id"], "unit_price": "15.00", "valid_from": "2026-06-20"}
    seller.change(LISTS, retail["id"], items=[sale])
    assert price_shown(seller, retail, small, 144) == 15

    summer = seller.make(CATEGORIES, code="SUMMER", name="Summer")
    seller.change(CATEGORIES, shirts["parent_id"], parent_id=summer["id"])
    assert seller.get(CATEGORIES, shirts["id"])["path"] == "SUMMER/CLOTHES/SHIRTS"
    seller.move(PRODUCTS, small["product_id"], "discontinued", "archived")
