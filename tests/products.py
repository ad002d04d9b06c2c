"""Products to test with: makers of categories, units, products and variants."""

from __future__ import annotations

from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID

from engine.testing.harness import Live
from tests.calls import Body, Caller

CATEGORIES, UNITS = "tenants/pim/categories", "tenants/pim/units"
PRODUCTS, VARIANTS = "tenants/pim/products", "tenants/pim/product-variants"
NUMBERS = count(1)


def name(stem: str) -> str:
    """A code that no other row has."""
    return f"{stem}-P{next(NUMBERS)}"


def make_category(caller: Caller, *attributes: Body, **values: Any) -> Body:
    """A category that defines attributes."""
    return caller.make(CATEGORIES, **{"code": name("CAT"), "name": "Goods", "attributes": list(attributes), **values})


def make_unit(caller: Caller, **values: Any) -> Body:
    """A unit of count."""
    return caller.make(UNITS, **{"code": name("U"), "name": "Piece", "dimension": "count", "factor": "1", **values})


def product_body(caller: Caller, **values: Any) -> Body:
    """What a product needs."""
    given = values.keys()
    needs = {} if "category_id" in given else {"category_id": make_category(caller)["id"]}
    needs |= {} if "unit_id" in given else {"unit_id": make_unit(caller)["id"]}
    return {"sku": name("SKU"), "name": "Shirt", **needs, **values}


def make_product(caller: Caller, *variants: Body, **values: Any) -> Body:
    """A product, with variants where some are given."""
    nested = {"variants": list(variants)} if variants else {}
    return caller.make(PRODUCTS, **product_body(caller, **nested, **values))


def variant(size: str, **values: Any) -> Body:
    """A nested variant with one option."""
    return {"sku": name("VAR"), "options": {"size": size}, **values}


def variants_of(caller: Caller, product: Body) -> list[Body]:
    """The variants of a product, in the order of their making."""
    return caller.list(VARIANTS, f"filter[product_id]={product['id']}&sort=created_at,id")


def defaults(caller: Caller, product: Body) -> list[str]:
    """The skus of a product's default variants."""
    return [row["sku"] for row in variants_of(caller, product) if row["is_default"]]


def put_stock(live: Live, row: Body, on_hand: str, avg_cost: str = "0") -> None:
    """Stock of a variant. No domain moves stock yet: put into the database."""
    values = (Decimal(on_hand), Decimal(avg_cost), UUID(row["id"]))
    sql = "update pim.product_variants set on_hand = $1, avg_cost = $2 where id = $3 returning id"
    assert live.run_sql("tenants", sql, *values, tenant=live.tenant(live.client("tenants")))
