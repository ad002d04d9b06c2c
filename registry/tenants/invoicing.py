"""What invoices of both kinds share: currency, rate and due date, prices and taxes of lines, posting, settling."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from engine.hooks import Change, Moment, Point, Row, Rules, refuse
from registry.tenants.posting import Posting, Source, post_entry
from registry.tenants.prices import Wanted, prices_of
from registry.tenants.rates import base_currency, exchange_rate
from registry.tenants.subledgers import Side, both, lines_of, rows_of
from registry.tenants.taxes import tax_on

rules = Rules("tenants/apm")

ZERO = Decimal(0)
USUAL_TERMS = 30
NOTHING: Row = {}
# what a booking may be refused for
BOOKING = "409:period_closed 409:account_not_configured 422:account_not_postable 422:unbalanced_entry"
NO_RATE, NO_TAX = "422:no_exchange_rate", "422:invalid_reference"
# what a line takes from its order line unless it says otherwise
COPIED = ("variant_id", "description", "unit_price", "discount_pct", "tax_code_id")


def days_after(day: date, days: int) -> date:
    """A later day, the last of the calendar at most."""
    return date.fromordinal(min(day.toordinal() + days, date.max.toordinal()))


@both(rules, "G21", "invoices", Point.BEFORE_CREATE, writes="currency due_date")
async def fill_heads(side: Side, moment: Moment, changes: list[Change]) -> None:
    """An omitted currency is that of the order or original invoice, else the party's, else the base currency; an omitted
    due date is the invoice date and the payment terms of order or party."""
    orders = await rows_of(moment, side.orders, [change[side.order] for change in changes])
    originals = await rows_of(moment, "apm.sales_invoices", [change["original_invoice_id"] for change in changes])
    parties = await rows_of(moment, side.parties, [change[side.party] for change in changes])
    for change in changes:
        order, party = orders.get(change[side.order], NOTHING), parties.get(change[side.party], NOTHING)
        if change["currency"] is None:
            source = order or originals.get(change["original_invoice_id"]) or party
            change.values["currency"] = source.get("currency") or await base_currency(moment)
        if change["due_date"] is None:
            terms = (order or party).get("payment_terms_days", USUAL_TERMS)
            change.values["due_date"] = days_after(change["invoice_date"], terms)


@both(rules, "G12", "invoices", Point.BEFORE_CREATE, reads="currency", writes="exchange_rate", raises=NO_RATE)
@both(rules, "G12", "invoices", Point.BEFORE_UPDATE, watches="invoice_date", writes="exchange_rate", raises=NO_RATE)
async def take_rates(_side: Side, moment: Moment, changes: list[Change]) -> None:
    """The exchange rate of the invoice date."""
    await take_rates_of(moment, changes, "invoice_date")


async def take_rates_of(moment: Moment, changes: Iterable[Change], day: str) -> None:
    """exchange_rate of documents as it stood on their date, which is in column `day`. 422 no_exchange_rate."""
    known: dict[tuple[str, date], Decimal] = {}
    for change in changes:
        asked = (change["currency"], change[day])
        if asked not in known:
            known[asked] = await exchange_rate(moment, *asked)
        change.values["exchange_rate"] = known[asked]


async def _heads(side: Side, moment: Moment, changes: Iterable[Change]) -> Mapping[UUID, Row]:
    return await rows_of(moment, str(side.model.__table__.fullname), [change[side.link] for change in changes])


@both(
    *(rules, "G11", "lines", Point.BEFORE_CREATE),
    writes="variant_id description unit_price discount_pct tax_code_id",
    raises="422:no_price",
)
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
    prices = await _prices(side, moment, [change for change in silent if change["variant_id"] is not None])
    for change in silent:
        if prices.get(change.index) is None:
            raise refuse(change, "unit_price", "no_price", "There is no price for this; give one")
        change.values["unit_price"] = prices[change.index]


async def _prices(side: Side, moment: Moment, changes: Sequence[Change]) -> dict[int, Decimal | None]:
    """Index of the change -> price of its variant in the invoice's currency, by the price list of the party."""
    heads = await _heads(side, moment, changes)
    asked = [(change, heads[change[side.link]]) for change in changes if change[side.link] in heads]
    parties = await rows_of(moment, side.parties, [head[side.party] for _, head in asked])
    wanted = []
    for change, head in asked:
        list_id = parties.get(head[side.party], NOTHING).get("price_list_id")
        wanted.append(Wanted(change["variant_id"], head["currency"], change["qty"], head["invoice_date"], list_id))
    prices = await prices_of(moment, wanted) if wanted else []
    return {change.index: price for (change, _), price in zip(asked, prices, strict=True)}


@both(rules, "G11", "lines", Point.BEFORE_CREATE, reads="tax_code_id", writes="tax_pct", raises=NO_TAX)
@both(rules, "G11", "lines", Point.BEFORE_UPDATE, watches="tax_code_id", writes="tax_pct", raises=NO_TAX)
async def copy_tax(side: Side, moment: Moment, changes: list[Change]) -> None:
    """tax_pct is the rate that the tax code has on the invoice date. 422 where it has none."""
    heads = await _heads(side, moment, changes)
    for day in {head["invoice_date"] for head in heads.values()}:
        own = [change for change in changes if heads.get(change[side.link], NOTHING).get("invoice_date") == day]
        rates = await tax_on(moment, [change["tax_code_id"] for change in own], day)
        for change in own:
            code = change["tax_code_id"]
            if code is not None and code not in rates:
                raise refuse(change, "tax_code_id", "invalid_reference", f"names no tax code valid on {day}")
            change.values["tax_pct"] = rates[code]["rate"] if code is not None else ZERO


@both(rules, "G11", "invoices", Point.AFTER_UPDATE, watches="invoice_date", raises=NO_TAX)
async def follow_date(side: Side, moment: Moment, changes: list[Change]) -> None:
    """Taxes are those of the new date."""
    lines = await lines_of(side, moment, changes)
    taxed = [
        {"id": line["id"], "tax_code_id": line["tax_code_id"]}
        for change in changes
        for line in lines[change.key]
        if change.old is not None and change.old["invoice_date"] != change["invoice_date"] and line["tax_code_id"]
    ]
    if taxed:
        await moment.update(side.lines, taxed)


def require_lines(changes: Iterable[Change], lines: Mapping[UUID, Sequence[Row]]) -> None:
    """422 for an invoice over nothing."""
    for change in changes:
        if not lines[change.key]:
            raise refuse(change, "lines", "no_lines", "An invoice without lines is not posted")


async def post_invoices(
    side: Side,
    moment: Moment,
    changes: Iterable[Change],
    lines: Mapping[UUID, Sequence[Row]],
    items: Mapping[UUID, Sequence[Posting]],
) -> None:
    """Book each invoice on its date: total against its `items` (what is debited on the payable side) and taxes. A credit
    note is booked the other way round."""
    rows: list[dict[str, Any]] = []
    for change in changes:
        sign = -side.sign if change["kind"] == "credit_note" else side.sign
        total = Posting(side.role, None, sign * change["total"], ZERO, **{side.party: change[side.party]})
        others = [*items[change.key], *await _taxes(side, moment, change, lines[change.key])]
        booked = [total, *(replace(item, debit=-sign * item.debit) for item in others)]
        step = Source(side.invoices, change.key, "posted", change["invoice_date"], side.kind)
        step = replace(step, memo=change["number"], rate=change["exchange_rate"])
        entry = await post_entry(moment, step, booked) if change["total"] else None
        rows.append({"id": change.key, "journal_entry_id": entry, "posted_at": moment.now})
    await settle(moment, side.invoices, await moment.update(side.invoices, rows))


async def _taxes(side: Side, moment: Moment, invoice: Change, lines: Sequence[Row]) -> list[Posting]:
    """The tax of each code on its account, else on the role's."""
    sums: dict[UUID, Decimal] = {}
    for line in lines:
        if line["tax_amount"]:
            sums[line["tax_code_id"]] = sums.get(line["tax_code_id"], ZERO) + line["tax_amount"]
    codes = await tax_on(moment, list(sums), invoice["invoice_date"])
    accounts = {key: codes[key]["account_id"] if key in codes else None for key in sums}
    return [
        Posting(None if accounts[key] else side.tax_role, accounts[key], amount, ZERO, tax_code_id=key)
        for key, amount in sums.items()
    ]


async def settle(moment: Moment, entity: str, invoices: Iterable[Row]) -> None:
    """Move posted invoices on which nothing is due to paid, or to credited when credit notes took it all; paid ones on
    which something is due again back to posted."""
    moves: dict[str, list[UUID]] = {}
    for row in invoices:
        taken = row.get("amount_credited") or ZERO
        state = "posted" if row["amount_due"] > 0 else "credited" if 0 < row["total"] <= taken else "paid"
        if row["status"] in ("posted", "paid") and row["status"] != state:
            moves.setdefault(state, []).append(row["id"])
    for state, keys in moves.items():
        await moment.status(entity, keys, state)
