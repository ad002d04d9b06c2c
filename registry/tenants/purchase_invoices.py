"""Behaviour of supplier invoices: matched against order and receipt, overridden, posted; the assets that they buy."""

from __future__ import annotations

from typing import Any

from engine.hooks import Change, Moment, Point, Rules
from registry.tenants.invoice_booking import BOOKING, post_invoices, require_lines
from registry.tenants.matching import Tolerance, conclusion, judge
from registry.tenants.order_lines import count_invoiced, invoiced_with, ordered_by
from registry.tenants.purchase_costs import asset_drafts, bought_with, costs
from registry.tenants.rates import base_currency
from registry.tenants.subledgers import PURCHASES, lines_of

rules = Rules("tenants/apm")

POSTING = "draft>posted match_exception>posted"


@rules.on("APM-P1", "purchase-invoices", Point.BEFORE_STATUS, edges="draft>posted", raises="422:no_lines")
async def match_lines(moment: Moment, changes: list[Change]) -> None:
    """Goods are matched against receipts, other order lines against the order; a miss leads to match_exception instead."""
    lines = await lines_of(PURCHASES, moment, changes)
    require_lines(changes, lines)
    orders = await ordered_by(moment, (line for own in lines.values() for line in own))
    invoiced = {key: order["qty_invoiced"] for key, order in orders.items()}
    tolerance = Tolerance(*[await moment.setting(f"apm.match_{what}_tolerance_pct") for what in ("qty", "price")])
    stale: list[dict[str, Any]] = []
    for change in changes:
        own = lines[change.key]
        states = judge(own, orders, invoiced, tolerance)
        change.values |= conclusion(states)
        judged = zip(own, states, strict=True)
        stale += [{"id": line["id"], "match_state": state} for line, state in judged if line["match_state"] != state]
    if stale:
        await moment.update(PURCHASES.lines, stale)


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
    """Dr what the lines are for, Dr tax_input, Cr ap; the order lines count what is invoiced."""
    lines = await lines_of(PURCHASES, moment, changes)
    every = [line for own in lines.values() for line in own]
    orders = await ordered_by(moment, every)
    bought = await bought_with(moment, every, orders)
    places = await moment.places(await base_currency(moment))
    items = {
        change.key: [item for line in lines[change.key] for item in costs(change, bought[line["id"]], places)]
        for change in changes
    }
    await post_invoices(PURCHASES, moment, changes, lines, items)
    await count_invoiced(PURCHASES, moment, invoiced_with(PURCHASES, every, orders))


@rules.on("APM-P4", "purchase-invoices", Point.AFTER_STATUS, edges=POSTING)
async def draft_assets(moment: Moment, changes: list[Change]) -> None:
    """Each whole unit of a line that is capital is a draft asset."""
    lines = await lines_of(PURCHASES, moment, changes)
    every = [line for own in lines.values() for line in own]
    bought = await bought_with(moment, every, await ordered_by(moment, every))
    places = await moment.places(await base_currency(moment))
    drafts = [
        draft
        for change in changes
        for line in lines[change.key]
        for draft in asset_drafts(change, bought[line["id"]], places)
    ]
    if drafts:
        await moment.create("fam.assets", drafts)
