"""Lines of journal entries: what they are booked on, whether they can be, and their amounts in base currency."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import select

from engine.errors import Fault
from engine.hooks import Change, Moment, Row, refuse
from registry.money import WIDE, to_places
from registry.tenants.fim import Account, JournalLine
from registry.tenants.posting import account_of, allowed_rest
from registry.tenants.rates import base_currency

ZERO = Decimal(0)
Lines = dict[UUID, list[Row]]
# who has to be named on a line of the account with this role
PARTIES = {"ar": "customer_id", "ap": "supplier_id"}
COPIED = ("position", "account_id", "description", "cost_center_id", "customer_id", "supplier_id", "tax_code_id")
SWAPPED = {"debit": "credit", "credit": "debit", "base_debit": "base_credit", "base_credit": "base_debit"}


async def lines_of(moment: Moment, changes: list[Change]) -> Lines:
    """Entry -> its lines in order, each with what its account is."""
    lines, accounts = JournalLine.__table__, Account.__table__.c
    known = (accounts.code, accounts.is_group, accounts.allow_manual, accounts.system_role)
    labelled = (accounts.currency.label("account_currency"), accounts.is_active.label("account_active"))
    names = ("id", "journal_entry_id", *COPIED, *SWAPPED)
    statement = (
        select(*(lines.c[name] for name in names), *known, *labelled)
        .join_from(lines, Account.__table__, lines.c.account_id == accounts.id)
        .where(lines.c.journal_entry_id.in_([change.key for change in changes]), lines.c.is_active)
        .order_by(lines.c.position, lines.c.id)
    )
    found: Lines = {change.key: [] for change in changes}
    for row in await moment.fetch(statement):
        found[row["journal_entry_id"]].append(row)
    return found


def faults(entry: Change, line: Row, place: int) -> Iterator[Fault]:
    """What stands against posting a line."""
    # what a document books is in base currency, whatever the account's own currency is
    strange = entry["source_type"] is None and line["account_currency"] not in (None, entry["currency"])
    manual = entry["kind"] == "manual" and not line["allow_manual"]
    if strange or manual or line["is_group"] or not line["account_active"]:
        why = "is kept in another currency" if strange else "takes no manual entries" if manual else "is no active leaf"
        yield Fault(f"lines[{place}].account_id", "account_not_postable", f"Account {line['code']} {why}")
    party = PARTIES.get(line["system_role"])
    if party is not None and line[party] is None:
        yield Fault(f"lines[{place}].{party}", "party_required", f"A line on account {line['code']} needs {party}")


async def convert(moment: Moment, entries: list[Change], lines: Lines) -> None:
    """Bring the base columns up to date and even out what rounding leaves over."""
    places = await moment.places(await base_currency(moment)) if entries else 0
    stale: list[dict[str, Any]] = []
    rests: list[dict[str, Any]] = []
    for entry in entries:
        rest = ZERO
        for line in lines[entry.key]:
            base = {
                f"base_{side}": to_places(WIDE.multiply(line[side], entry["exchange_rate"]), places)
                for side in ("debit", "credit")
            }
            rest += base["base_debit"] - base["base_credit"]
            if any(line[name] != value for name, value in base.items()):
                stale.append({"id": line["id"], **base})
        if abs(rest) > allowed_rest(len(lines[entry.key]), places):
            raise refuse(entry, "lines", "unbalanced_entry", f"In base currency {rest} is left over")
        rests += await _even_out(moment, entry, rest, len(lines[entry.key])) if rest else ()
    await moment.update("fim.journal-lines", stale)
    await moment.create("fim.journal-lines", rests)


async def _even_out(moment: Moment, entry: Change, rest: Decimal, count: int) -> list[dict[str, Any]]:
    """Lines that take `rest` (base debit - credit). They are two, a smallest unit on either side, since every line has an
    amount in the entry's currency, in which nothing is left over."""
    account = (await account_of(moment, "rounding"))["id"]
    unit = Decimal(1).scaleb(-await moment.places(entry["currency"]))
    taken = {"debit": max(-rest, ZERO), "credit": max(rest, ZERO)}
    return [
        {"journal_entry_id": entry.key, "position": count + n, "account_id": account, "description": "Rounding"}
        | {side: unit, f"base_{side}": taken[side]}
        for n, side in enumerate(("debit", "credit"), start=1)
    ]
