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


def test_catalogue_to_price(world: World, freeze: Callable[[datetime | None], None]) -> None:
    """What a merchant does before the first sale."""
    freeze(datetime(2026, 6, 20, 9, tzinfo=UTC))
    tenant = world.tenant(name="Outfitters")
    seller = world.sign_in(world.owner(tenant), tenant)

    clothes = seller.make(
        CATEGORIES,
        code="CLOTHES",
        name="Clothes",
        attributes=[{"code": "fabric", "type": "option", "options": ["cotton", "wool"], "required": True}],
    )
    shirts = seller.make(
        CATEGORIES,
        code="SHIRTS",
        name="Shirts",
        parent_id=clothes["id"],
        attributes=[{"code": "weight_gsm", "type": "int"}],
    )
    assert (shirts["path"], shirts["depth"]) == ("CLOTHES/SHIRTS", 2)
    seller.expect_refusal("422:tree_cycle", "PATCH", f"{CATEGORIES}/{clothes['id']}", {"parent_id": shirts["id"]})
    piece = seller.make(UNITS, code="SHIRTPC", name="Piece", dimension="count", factor="1")

    body = {"sku": "TEE", "name": "T-shirt", "category_id": shirts["id"], "unit_id": piece["id"], "list_price": "19.90"}
    sizes = [
        {"sku": "TEE-S", "options": {"size": "S"}, "barcode": "4006381333931"},
        {"sku": "TEE-L", "options": {"size": "L"}, "list_price": "21.90"},
    ]
    seller.expect_refusal("422:attribute_invalid", "POST", PRODUCTS, {**body, "variants": sizes})
    tee = seller.make(PRODUCTS, **body, attributes={"fabric": "cotton", "weight_gsm": 180}, variants=sizes)
    small, large = seller.list(VARIANTS, f"filter[product_id]={tee['id']}&sort=sku:nullslast&q=tee")[::-1]
    assert (small["name"], small["is_default"], large["is_default"]) == ("T-shirt S", True, False)
    assert [row["id"] for row in seller.list(VARIANTS, "q=4006381333931")] == [small["id"]]
    seller.move(PRODUCTS, tee["id"], "active")

    breaks = [
        {"variant_id": small["id"], "unit_price": "19.00", "valid_from": "2026-01-01", "valid_until": "2026-06-30"},
        {"variant_id": small["id"], "unit_price": "18.00", "valid_from": "2026-07-01"},
        {"variant_id": small["id"], "unit_price": "17.00", "min_qty": "12", "valid_from": "2026-01-01"},
        {
            "variant_id": small["id"],
            "unit_price": "17.00",
            "min_qty": "144",
            "discount_pct": "10",
            "valid_from": "2026-01-01",
        },
    ]
    prices = {"code": "RETAIL", "name": "Retail", "currency": "USD", "valid_from": "2026-01-01", "is_default": True}
    retail = seller.move(LISTS, seller.make(LISTS, **prices, items=breaks)["id"], "active")
    found = [price_shown(seller, retail, small, quantity) for quantity in (1, 11, 12, 143, 144)]
    assert found == [Decimal(text) for text in ("18", "18", "17", "17", "15.3")]
    assert price_shown(seller, retail, large, 144) == Decimal("21.9")

    sale = [{"variant_id": small["id"], "unit_price": "15.00", "valid_from": "2026-06-20"}]
    seller.change(LISTS, retail["id"], items=sale)
    assert price_shown(seller, retail, small, 144) == 15

    summer = seller.make(CATEGORIES, code="SUMMER", name="Summer")
    seller.change(CATEGORIES, clothes["id"], parent_id=summer["id"])
    assert seller.get(CATEGORIES, shirts["id"])["path"] == "SUMMER/CLOTHES/SHIRTS"
    seller.move(PRODUCTS, tee["id"], "discontinued", "archived")
