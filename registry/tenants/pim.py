"""Product information management: catalogue, variants, units, price lists."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import Numeric, String
from sqlalchemy.orm import Mapped

from engine.entity import Entity, Nested, Period, Unique
from engine.types import (
    Code,
    Currency,
    Name,
    Percent,
    Price,
    Quantity,
    Shaped,
    SmallInt,
    Text,
    check,
    column,
    reference,
)
from registry.tenants import TenantModel

ZERO = Decimal(0)

# few and short enough for the unique key that holds them; a name is a word such as size, a value its text or number
OptionName = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
OptionValue = Annotated[str, msgspec.Meta(max_length=60)] | Annotated[int, msgspec.Meta(ge=-(10**9), le=10**9)]
Options = Annotated[dict[OptionName, OptionValue], msgspec.Meta(max_length=6)]


class AttributeDefinition(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What products of a category and of those below it say; `type` is text, int, number, bool, date or option."""

    code: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    type: str
    required: bool = False
    options: list[str] | None = None


class Category(TenantModel, table="pim.categories"):
    """Product tree with default ledger accounts and attribute definitions."""

    code: Mapped[Code]
    name: Mapped[Name]
    parent_id: Mapped[UUID | None] = reference("pim.categories")
    path: Mapped[str] = column(String(512))  # codes joined by /
    depth: Mapped[SmallInt]
    attributes: Mapped[list[dict[str, Any]]] = column(Shaped(list[AttributeDefinition]), default=list)
    revenue_account_id: Mapped[UUID | None] = reference("fim.accounts")
    cogs_account_id: Mapped[UUID | None] = reference("fim.accounts")
    inventory_account_id: Mapped[UUID | None] = reference("fim.accounts")
    expense_account_id: Mapped[UUID | None] = reference("fim.accounts")
    sort_order: Mapped[int] = column(default=0)


categories = Entity(
    Category,
    kind="config",
    label="name",
    tree="parent_id",
    unique=["code"],
    search=["code", "name"],
    once=["code"],
    read_only=["path", "depth"],
)


class Unit(TenantModel, table="pim.units"):
    """Unit of measure with a factor to the base unit of its dimension."""

    code: Mapped[Code]
    name: Mapped[Name]
    dimension: Mapped[Literal["count", "mass", "length", "area", "volume", "time"]]
    factor: Mapped[Decimal] = column(Numeric(20, 10), above=0)
    is_base: Mapped[bool] = column(default=False)
    decimals: Mapped[SmallInt] = column(default=0, minimum=0, maximum=4)
    __table_args__ = (check("not is_base or factor = 1"),)


units = Entity(
    Unit,
    kind="config",
    label="code",
    unique=["code", Unique(("dimension",), where="is_base")],
    search=["code"],
    once=["code", "dimension", "factor", "is_base"],
)


class Product(TenantModel, table="pim.products"):
    """Sellable, purchasable or internal item; variants carry the stock."""

    sku: Mapped[Code]
    name: Mapped[Name]
    description: Mapped[Text | None]
    category_id: Mapped[UUID] = reference("pim.categories")
    kind: Mapped[Literal["goods", "service", "consumable"]] = column(default="goods")
    unit_id: Mapped[UUID] = reference("pim.units")
    tracking: Mapped[Literal["none", "lot", "serial"]] = column(default="none")
    valuation: Mapped[Literal["average", "standard"]] = column(default="average")
    sale_tax_code: Mapped[str | None] = column(String(32))  # code of fim.tax-codes, resolved by date
    purchase_tax_code: Mapped[str | None] = column(String(32))
    list_price: Mapped[Price] = column(default=ZERO, minimum=0)
    standard_cost: Mapped[Price | None] = column(minimum=0)
    brand: Mapped[str | None] = column(String(120))
    weight_kg: Mapped[Quantity | None] = column(minimum=0)
    warranty_months: Mapped[SmallInt] = column(default=0, minimum=0, maximum=240)
    attributes: Mapped[dict[str, Any]] = column(Shaped(dict[str, Any]), default=dict)  # code:value
    can_sell: Mapped[bool] = column(default=True)
    can_buy: Mapped[bool] = column(default=True)
    __table_args__ = (
        check("valuation = 'average' or standard_cost is not null"),
        check("kind = 'goods' or tracking = 'none'"),
    )


products = Entity(
    Product,
    label="name",
    nested=[Nested("variants", "pim.product-variants", "c", via="product_id")],
    unique=["sku"],
    search=["sku", "name", "description", "brand"],
    once=["sku", "kind"],
    machine="draft* active discontinued archived : draft>active; active>discontinued; discontinued>active,archived",
)


class ProductVariant(TenantModel, table="pim.product_variants"):
    """Stock-keeping variant of a product."""

    product_id: Mapped[UUID] = reference("pim.products", "cascade")
    sku: Mapped[Code]
    name: Mapped[Name]
    options: Mapped[dict[str, Any]] = column(Shaped(Options), default=dict)
    barcode: Mapped[str | None] = column(String(14))
    list_price: Mapped[Price | None] = column(minimum=0)  # null = product price
    is_default: Mapped[bool] = column(default=False)
    avg_cost: Mapped[Price] = column(default=ZERO)  # company-wide moving average, base currency
    on_hand: Mapped[Quantity] = column(default=ZERO)  # all warehouses


product_variants = Entity(
    ProductVariant,
    label="name",
    unique=["sku", "barcode", Unique(("product_id",), where="is_default"), Unique(("product_id", "options"))],
    search=["sku", "name", "barcode"],
    once=["product_id", "sku"],
    read_only=["avg_cost", "on_hand"],
    auto=["name"],
)


class PriceList(TenantModel, table="pim.price_lists"):
    """Named set of prices in one currency."""

    code: Mapped[Code]
    name: Mapped[Name]
    kind: Mapped[Literal["sale", "purchase"]] = column(default="sale")
    currency: Mapped[Currency]
    valid_from: Mapped[date]
    valid_until: Mapped[date | None]
    is_default: Mapped[bool] = column(default=False)
    __table_args__ = (check("valid_until is null or valid_until >= valid_from"),)


price_lists = Entity(
    PriceList,
    kind="config",
    label="code",
    nested=[Nested("items", "pim.price-list-items")],
    unique=["code", Unique(("kind", "currency"), where="is_default")],
    search=["code", "name"],
    once=["code", "kind", "currency"],
    machine="draft* active expired : draft>active; active>expired; active~>expired; expired>active",
)


class PriceListItem(TenantModel, table="pim.price_list_items"):
    """Price of a variant from a quantity on, for a time."""

    price_list_id: Mapped[UUID] = reference("pim.price_lists", "cascade")
    variant_id: Mapped[UUID] = reference("pim.product_variants", "cascade")
    min_qty: Mapped[Quantity] = column(default=Decimal(1), above=0)
    unit_price: Mapped[Price] = column(minimum=0)
    discount_pct: Mapped[Percent] = column(default=ZERO)
    valid_from: Mapped[date]
    valid_until: Mapped[date | None]
    __table_args__ = (check("valid_until is null or valid_until >= valid_from"),)


price_list_items = Entity(
    PriceListItem,
    kind="line",
    parent=("pim.price-lists", "price_list_id"),
    periods=[Period(("price_list_id", "variant_id", "min_qty"), "valid_from", "valid_until")],
    once=["price_list_id", "variant_id", "min_qty"],
)
