"""The three-way match of supplier invoices: what was invoiced against what was ordered and what came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from engine.hooks import Row

MISSES = ("qty_over", "price_off")


class Tolerance(NamedTuple):
    """By how many per cent quantity and price of an invoice may exceed the order's."""

    quantity: Any
    price: Any


def judge(
    lines: Sequence[Row], orders: Mapping[UUID, Row], invoiced: dict[UUID, Decimal], tolerance: Tolerance
) -> list[str]:
    """How each line stands to its order line (as `order_lines.ordered_by` gives them). `invoiced` of the order lines goes up
    on the way, so that several lines, and several invoices, for one of them add up."""
    states: list[str] = []
    for line in lines:
        key = line["purchase_order_line_id"]
        if key in orders:
            invoiced[key] += line["qty"]
        states.append(_state(line, orders[key], invoiced[key], tolerance) if key in orders else "none")
    return states


def _state(line: Row, order: Row, invoiced: Decimal, tolerance: Tolerance) -> str:
    """Goods are held to what was received, anything else to what was ordered."""
    goods = order["product"].get("kind") == "goods"
    if invoiced > order["qty_received" if goods else "qty"] * (1 + Decimal(tolerance.quantity) / 100):
        return "qty_over"
    off = abs(line["unit_price"] - order["unit_price"]) > order["unit_price"] * Decimal(tolerance.price) / 100
    return "price_off" if off else "matched"


def conclusion(states: Sequence[str]) -> dict[str, Any]:
    """The columns of an invoice whose lines stand so; a miss keeps it from being posted."""
    misses = [f"line {n}: {state}" for n, state in enumerate(states, start=1) if state in MISSES]
    if misses:
        return {"status": "match_exception", "match_state": "exception", "match_note": "; ".join(misses)[:500]}
    return {"match_state": "matched" if "matched" in states else "none", "match_note": None}
