"""Behaviour of journal entries: what may be posted, in which period, at which rate, and how it is taken back."""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import select

from engine.errors import ConflictError, ValidationError, generic
from engine.hooks import Change, Moment, Point, Rules, refuse
from registry.locks import lock_by_id
from registry.tenants.entry_lines import COPIED, SWAPPED, convert, faults, lines_of
from registry.tenants.fim import JournalEntry, JournalLine
from registry.tenants.periods import closed, open_periods, periods_of
from registry.tenants.rates import base_currency, take_rates

rules = Rules("tenants/fim")

ZERO = Decimal(0)


@rules.on(
    "FIM-J3",
    "journal-entries",
    Point.BEFORE_CREATE,
    watches="reversal_of_id",
    writes="currency exchange_rate kind",
    raises="409:already_reversed",
)
async def begin_reversals(moment: Moment, changes: list[Change]) -> None:
    """A correction reverses a posted entry, once, at its rate."""
    wanted = {change["reversal_of_id"] for change in changes} - {None}
    entries = JournalEntry.__table__.c
    found = await moment.list("fim.journal-entries", entries.id.in_(wanted), limit=len(wanted)) if wanted else []
    originals = await lock_by_id(moment, JournalEntry, {row["id"] for row in found})
    begun = await moment.list("fim.journal-entries", entries.reversal_of_id.in_(originals)) if originals else []
    taken = {row["reversal_of_id"] for row in begun}
    for change in changes:
        original = originals.get(change["reversal_of_id"])
        if original is None:  # an unknown one is refused by the reference itself
            continue
        if original["id"] in taken or original["status"] == "reversed":
            raise ConflictError("already_reversed", f"{original['number']} is reversed already")
        if original["status"] != "posted":
            raise refuse(change, "reversal_of_id", "invalid_reference", "Only a posted entry is reversed")
        change.values.update(kind="reversal", currency=original["currency"], exchange_rate=original["exchange_rate"])


@rules.on(
    "FIM-J2",
    "journal-entries",
    Point.BEFORE_CREATE,
    Point.BEFORE_UPDATE,
    watches="entry_date",
    writes="period_id",
    raises="409:period_closed",
)
async def find_periods(moment: Moment, changes: list[Change]) -> None:
    """An entry lies in the period of its date; a draft may wait for a closed one to reopen."""
    periods = await periods_of(moment, {change["entry_date"] for change in changes})
    for change in changes:
        if change["entry_date"] not in periods:
            raise closed(change["entry_date"])
        change.values["period_id"] = periods[change["entry_date"]]["id"]


@rules.on(
    "G12",
    "journal-entries",
    Point.BEFORE_CREATE,
    Point.BEFORE_UPDATE,
    watches="entry_date",
    reads="currency",
    writes="currency exchange_rate",
    raises="422:no_exchange_rate",
)
async def look_up_rates(moment: Moment, changes: list[Change]) -> None:
    """The currency is the base currency unless said otherwise; the rate is that of the entry's date. A reversal keeps the
    one of its original."""
    silent = [change for change in changes if change["currency"] is None]
    base = await base_currency(moment) if silent else ""
    for change in silent:
        change.values["currency"] = base
    await take_rates(moment, (change for change in changes if change["reversal_of_id"] is None), "entry_date")


@rules.on("FIM-J3", "journal-entries", Point.AFTER_CREATE, watches="reversal_of_id")
async def copy_swapped_lines(moment: Moment, changes: list[Change]) -> None:
    """The lines of a reversal are its original's with debit and credit swapped, to the cent."""
    heads = {change["reversal_of_id"]: change.key for change in changes if change["reversal_of_id"] is not None}
    lines = await moment.list("fim.journal-lines", JournalLine.__table__.c.journal_entry_id.in_(heads), limit=100_000)
    copies = [
        {"journal_entry_id": heads[line["journal_entry_id"]]}
        | {name: line[name] for name in COPIED}
        | {name: line[other] for name, other in SWAPPED.items()}
        for line in lines
    ]
    await moment.create("fim.journal-lines", copies)


@rules.on(
    "FIM-J3",
    "journal-lines",
    *(Point.BEFORE_CREATE, Point.BEFORE_UPDATE, Point.BEFORE_DELETE, Point.BEFORE_STATUS),
    raises="409:document_locked",
)
async def keep_copies(moment: Moment, changes: list[Change]) -> None:
    """Lines of a reversal are copies; nobody writes them."""
    heads = {change["journal_entry_id"] for change in changes if not change.by_engine}
    entries = JournalEntry.__table__.c
    copied = select(entries.id).where(entries.id.in_(heads), entries.reversal_of_id.is_not(None))
    if heads and await moment.fetch(copied):
        raise generic("document_locked", "The lines of a reversal are those of its original")


@rules.on(
    "FIM-J2",
    "journal-entries",
    Point.BEFORE_STATUS,
    edges="draft>posted",
    raises="409:period_closed 422:account_not_postable 422:party_required",
)
async def check_postings(moment: Moment, changes: list[Change]) -> None:
    """The date falls in an open period; accounts take the lines; receivables and payables say whose they are."""
    periods = await open_periods(moment, {change["entry_date"] for change in changes})
    lines = await lines_of(moment, changes)
    for change in changes:
        change.values["period_id"] = periods[change["entry_date"]]["id"]
        found = [fault for place, line in enumerate(lines[change.key]) for fault in faults(change, line, place)]
        if found:
            raise ValidationError(found[0].code, found[0].message, details=found)


@rules.on(
    "FIM-J4",
    "journal-entries",
    Point.BEFORE_STATUS,
    edges="draft>posted",
    raises="409:reverse_at_source 409:already_reversed",
)
async def check_originals(moment: Moment, changes: list[Change]) -> None:
    """An entry with a source is reversed by its source document alone, and any entry once."""
    originals = await lock_by_id(moment, JournalEntry, {change["reversal_of_id"] for change in changes})
    for change in changes:
        original = originals.get(change["reversal_of_id"])
        if original is None:
            continue
        if original["status"] != "posted":
            raise ConflictError("already_reversed", f"{original['number']} is reversed already")
        if any(original[name] != change[name] for name in ("source_type", "source_id")):
            raise ConflictError("reverse_at_source", f"{original['number']} is reversed where it comes from")


@rules.on(
    "FIM-J1",
    "journal-entries",
    Point.BEFORE_STATUS,
    edges="draft>posted",
    raises="422:unbalanced_entry 422:too_few_lines 409:account_not_configured 422:no_exchange_rate",
)
async def balance_entries(moment: Moment, changes: list[Change]) -> None:
    """At least two lines, debit = credit > 0; base columns follow at the rate, the rest goes to the account for it."""
    lines = await lines_of(moment, changes)
    for change in changes:
        if len(lines[change.key]) < 2:
            raise refuse(change, "lines", "too_few_lines", "An entry has at least two lines")
        debit, credit = (sum((line[side] for line in lines[change.key]), ZERO) for side in ("debit", "credit"))
        if debit != credit or not debit:
            raise refuse(change, "lines", "unbalanced_entry", f"Debit {debit} and credit {credit} are not in balance")
    # a reversal has its original's base columns
    fresh = [change for change in changes if change["reversal_of_id"] is None]
    await take_rates(moment, fresh, "entry_date")
    await convert(moment, fresh, lines)


@rules.on("FIM-J3", "journal-entries", Point.AFTER_STATUS, edges="draft>posted")
async def mark_reversed(moment: Moment, changes: list[Change]) -> None:
    """Posting a reversal moves the first entry to reversed."""
    rows = [
        {"id": change["reversal_of_id"], "reversed_by_id": change.key}
        for change in changes
        if change["reversal_of_id"] is not None
    ]
    await moment.update("fim.journal-entries", rows)
    await moment.status("fim.journal-entries", [row["id"] for row in rows], "reversed")
