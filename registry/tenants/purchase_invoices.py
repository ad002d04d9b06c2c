"""Behaviour of supplier invoices: matched against order and receipt, overridden, posted; what they buy as assets."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from engine.hooks import Change, Moment, Point, Row, Rules
from registry.money import WIDE, to_places
from registry.tenants import TenantModel
from registry.tenants.invoicing import BOOKING, NOTHING, ZERO, post_invoices, require_lines
from registry.tenants.posting import Posting
from registry.tenants.rates import base_currency
from registry.tenants.subledgers import PURCHASES, lines_of, products_of, rows_of

rules = Rules("tenants/apm")

POSTING = "draft>posted match_exception>posted"
Lines = Mapping[UUID, list[Row]]


async def _ordered(moment: Moment, lines: Lines) -> dict[UUID, Row]:
    """Order line -> its row, held still, with `product` of its variant and exchange rate `order_rate` of its order."""
    keys = [line["purchase_order_line_id"] for own in lines.values() for line in own]
    found = await rows_of(moment, PURCHASES.order_lines, keys, lock=True)
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


@rules.on("APM-P1", "purchase-invoices", Point.BEFORE_STATUS, edges="draft>posted", raises="422:no_lines")
async def match_lines(moment: Moment, changes: list[Change]) -> None:
    """Goods are matched against receipts, other order lines against the order; a miss leads to match_exception instead."""
    lines = await lines_of(PURCHASES, moment, changes)
    require_lines(changes, lines)
    orders = await _ordered(moment, lines)
    more = [await moment.setting(f"apm.match_{what}_tolerance_pct") for what in ("qty", "price")]
    invoiced = {key: order["qty_invoiced"] for key, order in orders.items()}
    stale: list[dict[str, Any]] = []
    for change in changes:
        states: list[str] = []
        for line in lines[change.key]:
            key = line["purchase_order_line_id"]
            if key in orders:
                invoiced[key] += line["qty"]
                states.append(_judged(line, orders[key], invoiced[key], more))
            else:
                states.append("none")
            if line["match_state"] != states[-1]:
                stale.append({"id": line["id"], "match_state": states[-1]})
        _conclude(change, states)
    if stale:
        await moment.update(PURCHASES.lines, stale)


def _judged(line: Row, order: Row, invoiced: Decimal, more: list[Any]) -> str:
    """How a line stands to its order line; `more` = per cent by which quantity and price may exceed."""
    goods = order["product"].get("kind") == "goods"
    if invoiced > order["qty_received" if goods else "qty"] * (1 + Decimal(more[0]) / 100):
        return "qty_over"
    off = abs(line["unit_price"] - order["unit_price"]) > order["unit_price"] * Decimal(more[1]) / 100
    return "price_off" if off else "matched"


def _conclude(change: Change, states: list[str]) -> None:
    misses = [f"line {n}: {state}" for n, state in enumerate(states, start=1) if state in ("qty_over", "price_off")]
    if misses:
        change.values.update(status="match_exception", match_state="exception", match_note="; ".join(misses)[:500])
    else:
        change.values.update(match_state="matched" if "matched" in states else "none", match_note=None)


@rules.on("APM-P2", "purchase-invoices", Point.BEFORE_STATUS, edges="match_exception>posted match_exception>draft")
async def leave_exception(moment: Moment, changes: list[Change]) -> None:
    """Whoever posts in spite of the misses has overridden them; back in draft nothing is matched yet."""
    for change in changes:
        if change["status"] == "posted":
            change.values["match_state"] = "overridden"
        else:
            change.values.update(match_state="none", match_note=None)


@rules.on("APM-P3", "purchase-invoices", Point.AFTER_STATUS, edges=POSTING, raises=BOOKING)
async def book_purchases(moment: Moment, changes: list[Change]) -> None:
    """Dr what the lines are for (APM-P3), Dr tax_input, Cr ap; the order lines count what is invoiced."""
    lines = await lines_of(PURCHASES, moment, changes)
    orders = await _ordered(moment, lines)
    categories = await rows_of(
        *(moment, "fam.asset_categories"), [_category(line, orders) for own in lines.values() for line in own]
    )
    places = await moment.places(await base_currency(moment))
    items: dict[UUID, list[Posting]] = {}
    assets: list[dict[str, Any]] = []
    for change in changes:
        items[change.key] = []
        for line in lines[change.key]:
            bought = _assets(change, line, categories.get(_category(line, orders)), places)
            assets += bought
            order = orders.get(line["purchase_order_line_id"], NOTHING)
            account = line["account_id"] or order.get("account_id")
            if bought:
                account = categories[_category(line, orders)]["cost_account_id"]
            items[change.key] += _costs(line, order, account, (change["exchange_rate"], places))
    await post_invoices(PURCHASES, moment, changes, lines, items)
    if assets:
        await moment.create("fam.assets", assets)
    await _count_invoiced(moment, lines, orders)


def _category(line: Row, orders: Mapping[UUID, Row]) -> Any:
    """The asset category that a line, or its order line, names."""
    return line["asset_category_id"] or orders.get(line["purchase_order_line_id"], NOTHING).get("asset_category_id")


def _costs(line: Row, order: Row, account: UUID | None, rate: tuple[Decimal, int]) -> list[Posting]:
    """What a line debits. Goods clear grni at the order's price and rate; the difference is a price variance."""
    net = line["net_amount"]
    shown = {"cost_center_id": line["cost_center_id"], "description": line["description"]}
    product = order.get("product", NOTHING)
    if account is None and product.get("kind") == "goods":
        price = order["unit_price"] * (1 - order["discount_pct"] / 100)
        cost = to_places(WIDE.multiply(line["qty"] * price, order["order_rate"]), rate[1])
        received = WIDE.divide(cost, rate[0])
        return [
            Posting("grni", None, received, ZERO, **shown),
            Posting("price_variance", None, net - received, ZERO, **shown),
        ]
    account = account or product.get("expense_account_id")
    return [Posting(None if account else "expense", account, net, ZERO, **shown)]


def _assets(invoice: Change, line: Row, category: Row | None, places: int) -> list[dict[str, Any]]:
    """APM-P4: a draft asset for each whole unit whose net value in base currency reaches the category's threshold."""
    if category is None or TenantModel.metadata.tables.get("fam.assets") is None:
        return []
    cost = to_places(WIDE.divide(line["net_amount"] * invoice["exchange_rate"], line["qty"]), places)
    asset = {
        "name": line["description"] or category["name"],
        "category_id": category["id"],
        "purchase_invoice_line_id": line["id"],
        "acquisition_date": invoice["invoice_date"],
        "cost": cost,
        "cost_center_id": line["cost_center_id"],
    }
    return [asset] * int(line["qty"]) if cost >= category["threshold"] else []


async def _count_invoiced(moment: Moment, lines: Lines, orders: Mapping[UUID, Row]) -> None:
    """qty_invoiced of the order lines follows."""
    invoiced = {key: order["qty_invoiced"] for key, order in orders.items()}
    for line in (line for own in lines.values() for line in own if line["purchase_order_line_id"] in orders):
        invoiced[line["purchase_order_line_id"]] += line["qty"]
    if invoiced:
        rows = [{"id": key, "qty_invoiced": quantity} for key, quantity in invoiced.items()]
        await moment.update("psm.purchase-order-lines", rows)
