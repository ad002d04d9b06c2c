"""Purchasing: suppliers, what was ordered from them, and how much of it came."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from sqlalchemy import String
from sqlalchemy.orm import Mapped

from engine.entity import Entity
from engine.types import Currency, Name, Percent, Price, Quantity, Rate, SmallInt, check, column, reference
from registry.tenants import TenantModel

ZERO = Decimal(0)


class Supplier(TenantModel, table="psm.suppliers"):
    """Company we buy from."""

    name: Mapped[Name]
    currency: Mapped[Currency]
    payment_terms_days: Mapped[SmallInt] = column(default=30, minimum=0, maximum=365)
    bank_verified: Mapped[bool] = column(default=False)


suppliers = Entity(
    Supplier,
    label="name",
    search=["name"],
    machine="pending* approved on_hold blocked : pending>approved,blocked; approved>on_hold,blocked; "
    "on_hold>approved,blocked; blocked>pending",
)


class PurchaseOrder(TenantModel, table="psm.purchase_orders"):
    """Order to a supplier."""

    supplier_id: Mapped[UUID] = reference("psm.suppliers")
    payment_terms_days: Mapped[SmallInt]
    currency: Mapped[Currency]
    exchange_rate: Mapped[Rate] = column(default=Decimal(1))


purchase_orders = Entity(
    PurchaseOrder,
    kind="document",
    once=["supplier_id", "currency"],
    read_only=["exchange_rate"],
    machine="draft* pending_approval approved sent closed canceled : draft>approved,canceled; draft~>pending_approval; "
    "pending_approval~>approved; pending_approval>draft; approved>sent,canceled; approved~>closed; "
    "sent>closed,canceled; sent~>closed",
)


class PurchaseOrderLine(TenantModel, table="psm.purchase_order_lines"):
    """Ordered item, service or asset."""

    purchase_order_id: Mapped[UUID] = reference("psm.purchase_orders", "cascade")
    variant_id: Mapped[UUID | None] = reference("pim.product_variants")
    asset_category_id: Mapped[UUID | None] = reference("fam.asset_categories")
    account_id: Mapped[UUID | None] = reference("fim.accounts")
    description: Mapped[str | None] = column(String(255))
    qty: Mapped[Quantity] = column(above=0)
    unit_price: Mapped[Price] = column(minimum=0)
    discount_pct: Mapped[Percent] = column(default=ZERO)
    tax_code_id: Mapped[UUID | None] = reference("fim.tax_codes")
    qty_received: Mapped[Quantity] = column(default=ZERO)
    qty_invoiced: Mapped[Quantity] = column(default=ZERO)
    __table_args__ = (
        check(
            "(variant_id is not null)::int + (asset_category_id is not null)::int + (account_id is not null)::int = 1"
        ),
    )


purchase_order_lines = Entity(
    PurchaseOrderLine,
    kind="line",
    parent=("psm.purchase-orders", "purchase_order_id"),
    once=["purchase_order_id"],
    read_only=["qty_received", "qty_invoiced"],
)
