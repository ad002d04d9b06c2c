"""Order lines as invoices see them: how much of each may be invoiced, and how much is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import select

from engine.hooks import Moment, Row
from registry.tenants import TenantModel
from registry.tenants.subledgers import NOTHING, PURCHASES, Side, products_of, rows_of


async def lines_of_orders(side: Side, moment: Moment, orders: Collection[Any]) -> list[Row]:
    """The lines of orders in their order; none for a domain that is not registered (yet)."""
    table = TenantModel.metadata.tables.get(side.order_lines)
    if table is None or not orders:
        return []
    own = select(table).where(table.c[side.order].in_(orders), table.c.is_active)
    return await moment.fetch(own.order_by(table.c.position))


async def invoiceable(moment: Moment, lines: Collection[Row]) -> dict[UUID, Decimal]:
    """Line of a sales order -> quantity that may be invoiced in all: of goods what was delivered, unless the policy says
    ordered."""
    if not lines:
        return {}
    products = await products_of(moment, [line["variant_id"] for line in lines])
    ordered = await moment.setting("srm.invoice_policy") == "ordered"
    return {
        line["id"]: line["qty" if ordered or products[line["variant_id"]]["kind"] != "goods" else "qty_delivered"]
        for line in lines
    }


async def ordered_by(moment: Moment, lines: Iterable[Row]) -> dict[UUID, Row]:
    """The purchase order lines that invoice lines name, held still, each with `product` of its variant and exchange rate
    `order_rate` of its order."""
    found = await rows_of(moment, PURCHASES.order_lines, [line["purchase_order_line_id"] for line in lines], lock=True)
    products = await products_of(moment, [row["variant_id"] for row in found.values()])
    orders = await rows_of(moment, PURCHASES.orders, [row["purchase_order_id"] for row in found.values()])
    return {
        key: {
            **row,
            "product": products.get(row["variant_id"], NOTHING),
            "order_rate": orders[row["purchase_order_id"]]["exchange_rate"],
        }
        for key, row in found.items()
    }


def invoiced_with(side: Side, lines: Iterable[Row], orders: Mapping[UUID, Row]) -> dict[UUID, Decimal]:
    """Order line -> what is invoiced of it once the invoice lines count."""
    invoiced = {key: order["qty_invoiced"] for key, order in orders.items()}
    for line in lines:
        if line[side.order_line] in invoiced:
            invoiced[line[side.order_line]] += line["qty"]
    return invoiced


async def count_invoiced(side: Side, moment: Moment, invoiced: Mapping[UUID, Decimal]) -> None:
    """qty_invoiced of the order lines follows."""
    if invoiced:
        rows = [{"id": key, "qty_invoiced": quantity} for key, quantity in invoiced.items()]
        await moment.update(side.order_lines.replace("_", "-"), rows)
