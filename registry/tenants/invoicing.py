"""Behaviour that invoices of both kinds share: currency, rate and due date, prices and taxes of lines."""

from __future__ import annotations

from decimal import Decimal

from engine.hooks import Change, Moment, Point, Rules, refuse
from registry.tenants.documents import days_after
from registry.tenants.rates import fill_currencies
from registry.tenants.rates import take_rates as take_rates_on
from registry.tenants.subledgers import NOTHING, Side, both, heads_of, line_prices, lines_of, rows_of
from registry.tenants.taxes import tax_on

rules = Rules("tenants/apm")

USUAL_TERMS = 30
NO_RATE, NO_TAX = "422:no_exchange_rate", "422:invalid_reference"
# what a line takes from its order line unless it says otherwise
COPIED = ("variant_id", "description", "unit_price", "discount_pct", "tax_code_id")


@both(rules, "G21", "invoices", Point.BEFORE_CREATE, writes="currency due_date")
async def fill_heads(side: Side, moment: Moment, changes: list[Change]) -> None:
    """An omitted currency is that of the order or original invoice, else the party's, else the base currency; an omitted
    due date is the invoice date and the payment terms of order or party."""
    orders = await rows_of(moment, side.orders, [change[side.order] for change in changes])
    originals = await rows_of(moment, "apm.sales_invoices", [change["original_invoice_id"] for change in changes])
    parties = await rows_of(moment, side.parties, [change[side.party] for change in changes])
    sources = []
    for change in changes:
        order, party = orders.get(change[side.order], NOTHING), parties.get(change[side.party], NOTHING)
        sources.append(order or originals.get(change["original_invoice_id"]) or party)
        if change["due_date"] is None:
            terms = (order or party).get("payment_terms_days", USUAL_TERMS)
            change.values["due_date"] = days_after(change["invoice_date"], terms)
    await fill_currencies(moment, changes, sources)


@both(rules, "G12", "invoices", Point.BEFORE_CREATE, reads="currency", writes="exchange_rate", raises=NO_RATE)
@both(rules, "G12", "invoices", Point.BEFORE_UPDATE, watches="invoice_date", writes="exchange_rate", raises=NO_RATE)
async def take_rates(_side: Side, moment: Moment, changes: list[Change]) -> None:
    """The exchange rate of the invoice date."""
    await take_rates_on(moment, changes, "invoice_date")


@both(rules, "G11", "lines", Point.BEFORE_CREATE, writes=" ".join(COPIED), raises="422:no_price")
async def fill_lines(side: Side, moment: Moment, changes: list[Change]) -> None:
    """What a line leaves out is that of its order line; a price that is still missing is the one of its variant."""
    orders = await rows_of(moment, side.order_lines, [change[side.order_line] for change in changes])
    for change in changes:
        order = orders.get(change[side.order_line], NOTHING)
        own = side.line_model.__table__.c
        change.values |= {
            name: order[name] for name in COPIED if name in own and name in order and name not in change.given
        }
    silent = [change for change in changes if change["unit_price"] is None]
    prices = await line_prices(side, moment, [change for change in silent if change["variant_id"] is not None])
    for change in silent:
        if prices.get(change.index) is None:
            raise refuse(change, "unit_price", "no_price", "There is no price for this; give one")
        change.values["unit_price"] = prices[change.index]


@both(rules, "G11", "lines", Point.BEFORE_CREATE, reads="tax_code_id", writes="tax_pct", raises=NO_TAX)
@both(rules, "G11", "lines", Point.BEFORE_UPDATE, watches="tax_code_id", writes="tax_pct", raises=NO_TAX)
async def copy_tax(side: Side, moment: Moment, changes: list[Change]) -> None:
    """tax_pct is the rate that the tax code has on the invoice date. 422 where it has none."""
    heads = await heads_of(side, moment, changes)
    for day in {head["invoice_date"] for head in heads.values()}:
        own = [change for change in changes if heads.get(change[side.link], NOTHING).get("invoice_date") == day]
        rates = await tax_on(moment, [change["tax_code_id"] for change in own], day)
        for change in own:
            code = change["tax_code_id"]
            if code is not None and code not in rates:
                raise refuse(change, "tax_code_id", "invalid_reference", f"names no tax code valid on {day}")
            change.values["tax_pct"] = rates[code]["rate"] if code is not None else Decimal(0)


@both(rules, "G11", "invoices", Point.AFTER_UPDATE, watches="invoice_date", raises=NO_TAX)
async def follow_date(side: Side, moment: Moment, changes: list[Change]) -> None:
    """Taxes are those of the new date."""
    moved = [change for change in changes if change.old is not None and change.changes("invoice_date")]
    lines = await lines_of(side, moment, moved)
    taxed = [line for own in lines.values() for line in own if line["tax_code_id"]]
    if taxed:
        await moment.update(side.lines, [{name: line[name] for name in ("id", "tax_code_id")} for line in taxed])
