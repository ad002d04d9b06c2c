"""Documents that use what the ledger offers: currencies, periods, tax codes. A domain with such documents adds its own."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import func, literal, select, union_all

from engine.hooks import Moment, Row
from registry.tenants.apm import (
    Payment,
    PurchaseInvoice,
    PurchaseInvoiceLine,
    SalesInvoice,
    SalesInvoiceLine,
)
from registry.tenants.fim import CurrencyInUse, FiscalPeriod, JournalEntry, JournalLine


class Dated(NamedTuple):
    """A document with a currency: its plural name, its date, the states before it is booked, and those after it in which
    it still waits for something."""

    model: Any
    name: str
    day: str
    unbooked: tuple[str, ...]
    waiting: tuple[str, ...] = ()


class Taxed(NamedTuple):
    """Lines with a tax code, their header, its date, and the column that names the header."""

    line: Any
    header: Any
    day: str
    link: str


DATED = (
    Dated(JournalEntry, "journal entries", "entry_date", ("draft",)),
    Dated(SalesInvoice, "sales invoices", "invoice_date", ("draft",), ("posted",)),
    Dated(PurchaseInvoice, "purchase invoices", "invoice_date", ("draft", "match_exception"), ("posted",)),
    Dated(Payment, "payments", "payment_date", ("draft", "pending_approval")),
)
TAXED = (
    Taxed(JournalLine, JournalEntry, "entry_date", "journal_entry_id"),
    Taxed(SalesInvoiceLine, SalesInvoice, "invoice_date", "sales_invoice_id"),
    Taxed(PurchaseInvoiceLine, PurchaseInvoice, "invoice_date", "purchase_invoice_id"),
)


async def currencies_in_use(moment: Moment, currencies: Collection[UUID]) -> list[str]:
    """The codes of those of the currencies in which open documents are."""
    own = CurrencyInUse.__table__
    uses = []
    for document in DATED:
        table = document.model.__table__
        here = (own.c.tenant_id == table.c.tenant_id) & (own.c.code == table.c.currency)
        still_open = table.c.is_active & table.c.status.in_(document.unbooked + document.waiting)
        use = select(own.c.code).join_from(table, own, here).where(still_open, own.c.id.in_(currencies))
        uses.append(select(use.limit(1).subquery()))
    return [row["code"] for row in await moment.fetch(union_all(*uses))]


async def unbooked_in(moment: Moment, period: UUID) -> list[str]:
    """The plural names of documents dated inside a period that are still to be booked."""
    own = FiscalPeriod.__table__
    found = []
    for document in DATED:
        table = document.model.__table__
        inside = table.c[document.day].between(own.c.start_date, own.c.end_date)
        waiting = table.c.is_active & table.c.status.in_(document.unbooked)
        here = inside & (table.c.tenant_id == own.c.tenant_id)
        name = select(literal(document.name).label("name")).join_from(table, own, here)
        found.append(name.where(waiting, own.c.id == period).distinct())
    return [row["name"] for row in await moment.fetch(union_all(*found))]


async def last_uses(moment: Moment, tax_codes: Collection[UUID]) -> dict[UUID, date]:
    """Tax code -> date of the last document that has a line with it."""
    uses = []
    for taxed in TAXED:
        line, header = taxed.line.__table__, taxed.header.__table__
        used = line.c.is_active & header.c.is_active & line.c.tax_code_id.in_(tax_codes)
        dates = select(line.c.tax_code_id.label("id"), header.c[taxed.day].label("day"))
        uses.append(dates.join_from(line, header, line.c[taxed.link] == header.c.id).where(used))
    every = union_all(*uses).subquery()
    rows: list[Row] = await moment.fetch(select(every.c.id, func.max(every.c.day).label("day")).group_by(every.c.id))
    return {row["id"]: row["day"] for row in rows}
