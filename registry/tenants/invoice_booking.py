"""Invoices of both kinds in the ledger, and what follows from what is due on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from engine.hooks import Change, Moment, Row, refuse
from registry.tenants.posting import Posting, Source, post_entry
from registry.tenants.subledgers import Side
from registry.tenants.taxes import tax_on

ZERO = Decimal(0)
# what a booking may be refused for
BOOKING = "409:period_closed 409:account_not_configured 422:account_not_postable 422:unbalanced_entry"


def require_lines(changes: Iterable[Change], lines: Mapping[UUID, Sequence[Row]]) -> None:
    """422 for an invoice over nothing."""
    for change in changes:
        if not lines[change.key]:
            raise refuse(change, "lines", "no_lines", "An invoice without lines is not posted")


def revenue(line: Row, product: Row) -> Posting:
    """What a sales line is booked on: its account, that of its category, else the role's."""
    account = line["account_id"] or product.get("revenue_account_id")
    shown = {"cost_center_id": line["cost_center_id"], "description": line["description"]}
    return Posting(None if account else "revenue", account, line["net_amount"], ZERO, **shown)


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
