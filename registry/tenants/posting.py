"""Posting to the ledger (G13): what a document's hook books becomes one posted journal entry in base currency.

entry = await post_entry(
    moment,
    Source("apm.sales-invoices", invoice["id"], "posted", on=invoice["invoice_date"], kind="sales", rate=rate),
    [Posting("ar", None, total, ZERO, customer_id=customer), Posting("revenue", None, ZERO, net)],
)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from engine.errors import ConflictError, ValidationError
from engine.hooks import Moment, Row
from registry.money import WIDE, to_places
from registry.tenants.fim import Account, JournalEntry
from registry.tenants.periods import period_on
from registry.tenants.rates import base_currency

__all__ = ["Posting", "Source", "account_of", "allowed_rest", "period_on", "post_entry", "reverse_entry"]

ZERO = Decimal(0)
CENT = Decimal("0.01")


@dataclass(frozen=True)
class Posting:
    """One side of a booking, in the document's currency, on an account or on the one that plays a role. A negative amount
    counts on the other side; nothing is booked for zero."""

    role: str | None
    account_id: UUID | None
    debit: Decimal
    credit: Decimal
    customer_id: UUID | None = None
    supplier_id: UUID | None = None
    cost_center_id: UUID | None = None
    tax_code_id: UUID | None = None
    description: str | None = None


@dataclass(frozen=True)
class Source:
    """The step of a document that is booked: `type` is domain.entity, `key` the step (posted, paid, 2026-06 ...), `on` the
    day, `rate` base units for one unit of the document's currency."""

    type: str
    id: UUID
    key: str
    on: date
    kind: str
    memo: str | None = None
    rate: Decimal = Decimal(1)


async def account_of(moment: Moment, role: str) -> Row:
    """The account that plays a role. 409 account_not_configured."""
    return (await accounts_of(moment, {role}))[role]


async def accounts_of(moment: Moment, roles: Collection[str]) -> dict[str, Row]:
    """Role -> its account. 409 account_not_configured."""
    found = await moment.list("fim.accounts", Account.__table__.c.system_role.in_(roles)) if roles else []
    by_role = {row["system_role"]: row for row in found}
    if missing := sorted(set(roles) - by_role.keys()):
        raise ConflictError("account_not_configured", f"No account has the system_role {', '.join(missing)}")
    return by_role


def allowed_rest(lines: int, places: int) -> Decimal:
    """What rounding may leave over: a cent a line, or the smallest unit of a currency that has no cents."""
    return lines * max(CENT, Decimal(1).scaleb(-places))


async def post_entry(moment: Moment, source: Source, lines: Sequence[Posting]) -> UUID:
    """The posted entry of this step, made unless it is there already. 409 period_closed, 409 account_not_configured,
    422 unbalanced_entry."""
    known = await _entry_of(moment, source.type, source.id, source.key)
    if known is not None:
        return known
    base = await base_currency(moment)
    places = await moment.places(base)
    accounts = await accounts_of(moment, {line.role for line in lines if line.role is not None})
    booked = [row for line in lines if (row := _booked(line, accounts, source.rate, places)) is not None]
    booked += await _rest_of(moment, booked, places)
    head = {
        "entry_date": source.on,
        "kind": source.kind,
        "memo": source.memo,
        "currency": base,
        **_sums(booked),
        **_origin(source.type, source.id, source.key),
    }
    [entry] = await moment.create("fim.journal-entries", [head])
    rows = [{**row, "journal_entry_id": entry["id"], "position": n} for n, row in enumerate(booked, start=1)]
    await moment.create("fim.journal-lines", rows)
    return await _posted(moment, entry)


async def reverse_entry(moment: Moment, entry_id: UUID, on: date, key: str) -> UUID:
    """The posted reversal of an entry by its source document, made unless it is there already; `key` is the step that takes
    the booking back. 409 period_closed, 409 already_reversed."""
    entry = await moment.get("fim.journal-entries", entry_id)
    if entry is None:
        raise LookupError(f"there is no journal entry {entry_id}")
    known = await _entry_of(moment, entry["source_type"], entry["source_id"], key)
    if known is not None:
        return known
    head = {"entry_date": on, "reversal_of_id": entry_id, "memo": entry["memo"]}
    [reversal] = await moment.create(
        "fim.journal-entries", [{**head, **_origin(entry["source_type"], entry["source_id"], key)}]
    )
    return await _posted(moment, reversal)


def _origin(type: str, id: UUID, key: str) -> dict[str, Any]:
    return {"source_type": type, "source_id": id, "source_key": key}


async def _entry_of(moment: Moment, type: str, id: UUID, key: str) -> UUID | None:
    entries = JournalEntry.__table__.c
    same = (entries.source_type == type, entries.source_id == id, entries.source_key == key)
    found = await moment.list("fim.journal-entries", *same, limit=1)
    return found[0]["id"] if found else None


async def _posted(moment: Moment, entry: Row) -> UUID:
    key: UUID = entry["id"]
    await moment.status("fim.journal-entries", [key], "posted")
    return key


def _booked(line: Posting, accounts: dict[str, Row], rate: Decimal, places: int) -> dict[str, Any] | None:
    """The journal line of a posting; None when it rounds to nothing."""
    amount = to_places(WIDE.multiply(line.debit - line.credit, rate), places)
    if not amount:
        return None
    account = accounts[line.role]["id"] if line.role is not None else line.account_id
    names = ("customer_id", "supplier_id", "cost_center_id", "tax_code_id", "description")
    return {"account_id": account, **sides(amount), **{name: getattr(line, name) for name in names}}


def sides(amount: Decimal) -> dict[str, Decimal]:
    """A signed amount in base currency as the columns of a line: above zero is a debit."""
    debit, credit = max(amount, ZERO), max(-amount, ZERO)
    return {"debit": debit, "credit": credit, "base_debit": debit, "base_credit": credit}


def _sums(booked: Sequence[dict[str, Any]]) -> dict[str, Decimal]:
    return {f"total_{side}": sum((row[side] for row in booked), ZERO) for side in ("debit", "credit")}


async def _rest_of(moment: Moment, booked: Sequence[dict[str, Any]], places: int) -> list[dict[str, Any]]:
    """The line that takes what rounding left over."""
    rest = sum((row["debit"] - row["credit"] for row in booked), ZERO)
    if not rest:
        return []
    if abs(rest) > allowed_rest(len(booked), places):
        raise ValidationError("unbalanced_entry", f"The booking is out of balance by {rest}")
    account = await account_of(moment, "rounding")
    return [{"account_id": account["id"], **sides(-rest), "description": "Rounding"}]
