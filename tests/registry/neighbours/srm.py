"""Sales: what invoices are made of, and what wins an opportunity."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from sqlalchemy import String
from sqlalchemy.orm import Mapped

from engine.entity import Entity
from engine.types import Currency, Percent, Price, Quantity, SmallInt, check, column, reference
from registry.tenants import TenantModel

ZERO = Decimal(0)


class Quotation(TenantModel, table="srm.quotations"):
    """Offer to a customer."""

    customer_id: Mapped[UUID] = reference("crm.customers")
    opportunity_id: Mapped[UUID | None] = reference("crm.opportunities", "setnull")


quotations = Entity(
    Quotation,
    kind="document",
    once=["customer_id", "opportunity_id"],
    machine="draft* sent accepted rejected expired converted : draft>sent; sent>accepted,rejected,draft; "
    "sent~>expired; accepted~>converted",
)


class SalesOrder(TenantModel, table="srm.sales_orders"):
    """Customer order."""

    customer_id: Mapped[UUID] = reference("crm.customers")
    opportunity_id: Mapped[UUID | None] = reference("crm.opportunities", "setnull")
    payment_terms_days: Mapped[SmallInt]
    currency: Mapped[Currency]


sales_orders = Entity(
    SalesOrder,
    kind="document",
    once=["customer_id", "opportunity_id", "currency"],
    machine="draft* pending_approval confirmed on_hold completed canceled : draft>confirmed,canceled; "
    "draft~>pending_approval; pending_approval~>confirmed; pending_approval>draft; confirmed>on_hold,canceled; "
    "confirmed~>completed; on_hold>confirmed,canceled",
)


class SalesOrderLine(TenantModel, table="srm.sales_order_lines"):
    """Ordered item."""

    sales_order_id: Mapped[UUID] = reference("srm.sales_orders", "cascade")
    variant_id: Mapped[UUID] = reference("pim.product_variants")
    position: Mapped[int] = column(default=0)
    description: Mapped[str | None] = column(String(255))
    qty: Mapped[Quantity] = column(above=0)
    unit_price: Mapped[Price] = column(minimum=0)
    discount_pct: Mapped[Percent] = column(default=ZERO)
    tax_code_id: Mapped[UUID | None] = reference("fim.tax_codes")
    qty_delivered: Mapped[Quantity] = column(default=ZERO)
    qty_invoiced: Mapped[Quantity] = column(default=ZERO)
    __table_args__ = (check("qty_delivered >= 0"), check("qty_invoiced >= 0"))


sales_order_lines = Entity(
    SalesOrderLine,
    kind="line",
    parent=("srm.sales-orders", "sales_order_id"),
    once=["sales_order_id"],
    read_only=["qty_delivered", "qty_invoiced"],
)
