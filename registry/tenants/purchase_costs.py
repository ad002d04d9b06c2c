"""What the lines of a supplier invoice are for: the accounts that they debit (APM-P3) and the assets that they buy (APM-P4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from engine.hooks import Change, Moment, Row
from registry.money import WIDE, to_places
from registry.tenants.posting import Posting
from registry.tenants.subledgers import NOTHING, rows_of

ZERO = Decimal(0)


class Bought(NamedTuple):
    """A line with its order line (empty where it has none) and the asset category that either of them names."""

    line: Row
    order: Row
    category: Row | None


async def bought_with(moment: Moment, lines: Iterable[Row], orders: Mapping[UUID, Row]) -> dict[UUID, Bought]:
    """Line -> what is known of it; `orders` as `order_lines.ordered_by` gives them."""
    known = [(line, orders.get(line["purchase_order_line_id"], NOTHING)) for line in lines]
    named: list[Any] = [line["asset_category_id"] or order.get("asset_category_id") for line, order in known]
    categories = await rows_of(moment, "fam.asset_categories", named)
    return {
        line["id"]: Bought(line, order, categories.get(key)) for (line, order), key in zip(known, named, strict=True)
    }


def capital_cost(invoice: Change, bought: Bought, places: int) -> Decimal | None:
    """The net value of a unit in base currency where it reaches the threshold of its category; None for an expense, as less
    than a whole unit is."""
    line, _, category = bought
    if category is None or line["qty"] < 1:
        return None
    cost = to_places(WIDE.divide(line["net_amount"] * invoice["exchange_rate"], line["qty"]), places)
    return cost if cost >= category["threshold"] else None


def asset_drafts(invoice: Change, bought: Bought, places: int) -> list[dict[str, Any]]:
    """A draft asset for each whole unit of a line that is capital."""
    line, _, category = bought
    cost = capital_cost(invoice, bought, places)
    if category is None or cost is None:
        return []
    asset = {
        "name": line["description"] or category["name"],
        "category_id": category["id"],
        "purchase_invoice_line_id": line["id"],
        "acquisition_date": invoice["invoice_date"],
        "cost": cost,
        "cost_center_id": line["cost_center_id"],
    }
    return [asset] * int(line["qty"])


def costs(invoice: Change, bought: Bought, places: int) -> list[Posting]:
    """What a line debits: as capital the cost account of its category, else its own account or the order line's, for goods
    grni at the order's price and rate with the difference as a price variance, else an expense."""
    line, order, category = bought
    net, product = line["net_amount"], order.get("product", NOTHING)
    shown = {"cost_center_id": line["cost_center_id"], "description": line["description"]}
    account = line["account_id"] or order.get("account_id")
    if category is not None and capital_cost(invoice, bought, places) is not None:
        account = category["cost_account_id"]
    if account is None and product.get("kind") == "goods":
        price = order["unit_price"] * (1 - order["discount_pct"] / 100)
        cost = to_places(WIDE.multiply(line["qty"] * price, order["order_rate"]), places)
        received = WIDE.divide(cost, invoice["exchange_rate"])
        parts = {"grni": received, "price_variance": net - received}
        return [Posting(role, None, amount, ZERO, **shown) for role, amount in parts.items()]
    account = account or product.get("expense_account_id")
    return [Posting(None if account else "expense", account, net, ZERO, **shown)]
