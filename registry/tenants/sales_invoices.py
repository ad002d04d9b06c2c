"""Behaviour of sales invoices and credit notes: proposed from orders, posted, credited, written off."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import func, select

from engine.errors import ConflictError
from engine.hooks import Change, Moment, Point, Row, Rules
from registry.locks import lock_by_id
from registry.tenants.apm import SalesInvoice
from registry.tenants.invoicing import BOOKING, ZERO, post_invoices, require_lines, settle
from registry.tenants.posting import Posting, Source, post_entry
from registry.tenants.subledgers import SALES, lines_of, products_of, rows_of

rules = Rules("tenants/apm")


async def _invoiceable(moment: Moment, order_lines: Collection[Row]) -> dict[UUID, Decimal]:
    """Order line -> quantity that may be invoiced in all: of goods what was delivered, unless the policy says ordered."""
    products = await products_of(moment, [line["variant_id"] for line in order_lines])
    ordered = await moment.setting("srm.invoice_policy") == "ordered" if order_lines else True
    return {
        line["id"]: line["qty" if ordered or products[line["variant_id"]]["kind"] != "goods" else "qty_delivered"]
        for line in order_lines
    }


@rules.on("APM-S1", "sales-invoices", Point.AFTER_CREATE)
async def propose_lines(moment: Moment, changes: list[Change]) -> None:
    """An invoice of an order that brings no lines gets the quantities that are open to invoice."""
    table = SalesInvoice.metadata.tables.get(SALES.order_lines)
    silent = [change for change in changes if change["sales_order_id"] is not None and change["kind"] == "invoice"]
    if table is None or not silent:
        return
    present = await lines_of(SALES, moment, silent)
    empty = [change for change in silent if not present[change.key]]
    orders = [change["sales_order_id"] for change in empty]
    found = await moment.fetch(
        select(table).where(table.c.sales_order_id.in_(orders), table.c.is_active).order_by(table.c.position)
    )
    limits = await _invoiceable(moment, found)
    lines: list[dict[str, Any]] = []
    for change in empty:
        own = [line for line in found if line["sales_order_id"] == change["sales_order_id"]]
        open_ones = [line for line in own if limits[line["id"]] > line["qty_invoiced"]]
        for position, line in enumerate(open_ones, start=1):
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
    invoices = [change.key for change in changes if change["kind"] == "invoice"]
    asked = [line for key in invoices for line in lines[key]]
    found = await rows_of(moment, SALES.order_lines, [line["sales_order_line_id"] for line in asked], lock=True)
    limits, invoiced = await _invoiceable(moment, found.values()), {k: row["qty_invoiced"] for k, row in found.items()}
    for line in asked:
        key = line["sales_order_line_id"]
        if key in found:
            invoiced[key] += line["qty"]
            if invoiced[key] > limits[key]:
                raise ConflictError("over_invoiced", f"Of this order line {limits[key]} may be invoiced in all")
    if invoiced:
        rows = [{"id": key, "qty_invoiced": quantity} for key, quantity in invoiced.items()]
        await moment.update("srm.sales-order-lines", rows)


@rules.on("APM-S3", "sales-invoices", Point.AFTER_STATUS, edges="draft>posted", raises=BOOKING)
async def book_sales(moment: Moment, changes: list[Change]) -> None:
    """Dr ar, Cr revenue per line (account of the line, of its category, of the role), Cr tax; a credit note swapped."""
    lines = await lines_of(SALES, moment, changes)
    products = await products_of(moment, [line["variant_id"] for own in lines.values() for line in own])
    items = {
        key: [_revenue(line, products.get(line["variant_id"] or key, {})) for line in own] for key, own in lines.items()
    }
    await post_invoices(SALES, moment, changes, lines, items)


def _revenue(line: Row, product: Row) -> Posting:
    account = line["account_id"] or product.get("revenue_account_id")
    shown = {"cost_center_id": line["cost_center_id"], "description": line["description"]}
    return Posting(None if account else "revenue", account, line["net_amount"], ZERO, **shown)


@rules.on("APM-S4", "sales-invoices", Point.AFTER_STATUS, edges="draft>posted", raises="409:credit_exceeds_invoice")
async def credit_originals(moment: Moment, changes: list[Change]) -> None:
    """A credit note takes at most what is left of its original's total. As much as is still due there is credited to both;
    the rest of the note waits for a refund."""
    notes = [change for change in changes if change["kind"] == "credit_note"]
    if not notes:
        return
    originals = await lock_by_id(moment, SalesInvoice, {note["original_invoice_id"] for note in notes})
    noted = await _noted(moment, originals)
    credited = {key: row["amount_credited"] for key, row in originals.items()}
    rows: list[dict[str, Any]] = []
    for note in notes:
        key = note["original_invoice_id"]
        if not _may_credit(note, originals.get(key)) or noted[key] > originals[key]["total"]:
            raise ConflictError(
                "credit_exceeds_invoice", "The credit note exceeds what is left of its original invoice"
            )
        due = originals[key]["amount_due"] - (credited[key] - originals[key]["amount_credited"])
        part = min(note["total"], due)
        credited[key] += part
        rows.append({"id": note.key, "amount_credited": part})
    rows += [{"id": key, "amount_credited": amount} for key, amount in credited.items()]
    await settle(moment, SALES.invoices, await moment.update(SALES.invoices, rows))


async def _noted(moment: Moment, originals: Collection[UUID]) -> dict[UUID, Decimal]:
    """Invoice -> total of its posted credit notes."""
    notes = SalesInvoice.__table__.c
    statement = select(notes.original_invoice_id, func.sum(notes.total).label("total")).where(
        notes.original_invoice_id.in_(originals), notes.is_active, notes.status != "draft"
    )
    rows = await moment.fetch(statement.group_by(notes.original_invoice_id))
    return {row["original_invoice_id"]: row["total"] for row in rows}


def _may_credit(note: Change, original: Row | None) -> bool:
    """Whether the original is a posted invoice to the same customer in the same currency."""
    if original is None or original["kind"] != "invoice" or original["status"] not in ("posted", "paid", "credited"):
        return False
    return all(note[name] == original[name] for name in ("customer_id", "currency"))


@rules.on("APM-S5", "sales-invoices", Point.AFTER_STATUS, edges="posted>written_off", raises=BOOKING)
async def write_off(moment: Moment, changes: list[Change]) -> None:
    """What is due is lost: Dr bad_debt Cr ar, today."""
    for change in changes:
        due = -change["amount_due"] if change["kind"] == "credit_note" else change["amount_due"]
        what = (SALES.invoices, change.key, "written_off", moment.today, "sales", change["number"])
        lines = [Posting("bad_debt", None, due, ZERO), Posting("ar", None, ZERO, due, change["customer_id"])]
        await post_entry(moment, Source(*what, rate=change["exchange_rate"]), lines)
