"""Behaviour of sales invoices and credit notes: proposed from orders, posted, credited, written off."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from engine.errors import ConflictError
from engine.hooks import Change, Moment, Point, Rules
from registry.locks import lock_by_id
from registry.tenants.apm import SalesInvoice
from registry.tenants.credit_notes import may_credit, noted
from registry.tenants.invoice_booking import BOOKING, post_invoices, require_lines, revenue, settle
from registry.tenants.order_lines import count_invoiced, invoiceable, invoiced_with, lines_of_orders
from registry.tenants.posting import Posting, Source, post_entry
from registry.tenants.subledgers import NOTHING, SALES, lines_of, products_of, rows_of

rules = Rules("tenants/apm")

ZERO = Decimal(0)


@rules.on("APM-S1", "sales-invoices", Point.AFTER_CREATE)
async def propose_lines(moment: Moment, changes: list[Change]) -> None:
    """An invoice of an order that brings no lines gets the quantities that are open to invoice."""
    silent = [change for change in changes if change["sales_order_id"] is not None and change["kind"] == "invoice"]
    if not silent:
        return
    present = await lines_of(SALES, moment, silent)
    empty = [change for change in silent if not present[change.key]]
    found = await lines_of_orders(SALES, moment, [change["sales_order_id"] for change in empty])
    limits = await invoiceable(moment, found)
    open_ones = [line for line in found if limits[line["id"]] > line["qty_invoiced"]]
    lines: list[dict[str, Any]] = []
    for change in empty:
        own = [line for line in open_ones if line["sales_order_id"] == change["sales_order_id"]]
        for position, line in enumerate(own, start=1):
            place = {"sales_invoice_id": change.key, "sales_order_line_id": line["id"], "position": position}
            lines.append({**place, "qty": limits[line["id"]] - line["qty_invoiced"]})
    await moment.create(SALES.lines, lines)


@rules.on(
    "APM-S2", "sales-invoices", Point.BEFORE_STATUS, edges="draft>posted", raises="422:no_lines 409:over_invoiced"
)
async def check_quantities(moment: Moment, changes: list[Change]) -> None:
    """There are lines; no order line is invoiced beyond what was delivered (or ordered, as the policy says)."""
    lines = await lines_of(SALES, moment, changes)
    require_lines(changes, lines)
    asked = [line for change in changes if change["kind"] == "invoice" for line in lines[change.key]]
    orders = await rows_of(moment, SALES.order_lines, [line["sales_order_line_id"] for line in asked], lock=True)
    limits, invoiced = await invoiceable(moment, orders.values()), invoiced_with(SALES, asked, orders)
    for key, quantity in invoiced.items():
        if quantity > limits[key]:
            raise ConflictError("over_invoiced", f"Of this order line {limits[key]} may be invoiced in all")
    await count_invoiced(SALES, moment, invoiced)


@rules.on("APM-S3", "sales-invoices", Point.AFTER_STATUS, edges="draft>posted", raises=BOOKING)
async def book_sales(moment: Moment, changes: list[Change]) -> None:
    """Dr ar, Cr revenue per line (account of the line, of its category, of the role), Cr tax; a credit note swapped."""
    lines = await lines_of(SALES, moment, changes)
    products = await products_of(moment, [line["variant_id"] for own in lines.values() for line in own])
    items = {
        key: [revenue(line, products.get(line["variant_id"], NOTHING)) for line in own] for key, own in lines.items()
    }
    await post_invoices(SALES, moment, changes, lines, items)


@rules.on("APM-S4", "sales-invoices", Point.AFTER_STATUS, edges="draft>posted", raises="409:credit_exceeds_invoice")
async def credit_originals(moment: Moment, changes: list[Change]) -> None:
    """A credit note takes at most what is left of its original's total. As much as is still due there is credited to both;
    the rest of the note waits for a refund."""
    notes = [change for change in changes if change["kind"] == "credit_note"]
    if not notes:
        return
    originals = await lock_by_id(moment, SalesInvoice, {note["original_invoice_id"] for note in notes})
    totals = await noted(moment, originals)
    credited = {key: row["amount_credited"] for key, row in originals.items()}
    rows: list[dict[str, Any]] = []
    for note in notes:
        key = note["original_invoice_id"]
        if not may_credit(note, originals.get(key)) or totals[key] > originals[key]["total"]:
            raise ConflictError(
                "credit_exceeds_invoice", "The credit note exceeds what is left of its original invoice"
            )
        due = originals[key]["amount_due"] - (credited[key] - originals[key]["amount_credited"])
        part = min(note["total"], due)
        credited[key] += part
        rows.append({"id": note.key, "amount_credited": part})
    rows += [{"id": key, "amount_credited": amount} for key, amount in credited.items()]
    await settle(moment, SALES.invoices, await moment.update(SALES.invoices, rows))


@rules.on("APM-S5", "sales-invoices", Point.AFTER_STATUS, edges="posted>written_off", raises=BOOKING)
async def write_off(moment: Moment, changes: list[Change]) -> None:
    """What is due is lost: Dr bad_debt Cr ar, today."""
    for change in changes:
        due = -change["amount_due"] if change["kind"] == "credit_note" else change["amount_due"]
        what = (SALES.invoices, change.key, "written_off", moment.today, "sales", change["number"])
        lines = [Posting("bad_debt", None, due, ZERO), Posting("ar", None, ZERO, due, change["customer_id"])]
        await post_entry(moment, Source(*what, rate=change["exchange_rate"]), lines)
