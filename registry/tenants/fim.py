"""Financial management: accounts, periods, journals, tax, currencies, cost centres, budgets."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from sqlalchemy import Numeric, String, Table, and_, case, cast, func, literal_column, select
from sqlalchemy.orm import Mapped
from sqlalchemy.sql import ColumnElement

from engine.entity import Entity, Nested, Number, Period, RollUp, Unique, Virtual
from engine.types import (
    Code,
    Country,
    Currency,
    DocumentNumber,
    Money,
    Name,
    Percent,
    Rate,
    SmallInt,
    check,
    column,
    outside,
    reference,
)
from registry.tenants import TenantModel

ZERO = Decimal(0)
SystemRole = Literal[
    "bank",
    "ar",
    "ap",
    "inventory",
    "grni",
    "cogs",
    "revenue",
    "expense",
    "tax_output",
    "tax_input",
    "price_variance",
    "inventory_adjustment",
    "payroll_expense",
    "payroll_payable",
    "payroll_tax_payable",
    "fx_gain_loss",
    "disposal_gain_loss",
    "rounding",
    "bad_debt",
    "retained_earnings",
]
EntryKind = Literal[
    "manual", "sales", "purchase", "payment", "inventory", "payroll", "asset", "fx", "reversal", "closing"
]

# entries that count: a reversed one is outweighed by its reversal
IN_THE_BOOKS: tuple[ColumnElement[str], ...] = tuple(literal_column(f"'{status}'") for status in ("posted", "reversed"))


def booked(*where: ColumnElement[bool]) -> ColumnElement[Decimal]:
    """Debit - credit in base currency of the lines in the books that meet the conditions. They stand in a query over
    fim.journal_lines, fim.journal_entries and fim.fiscal_periods."""
    lines, entries, periods = JournalLine.__table__, JournalEntry.__table__, FiscalPeriod.__table__
    amount = func.coalesce(func.sum(lines.c.base_debit - lines.c.base_credit), literal_column("0"))
    statement = (
        select(cast(amount, Numeric(19, 4)))
        .join_from(lines, entries, lines.c.journal_entry_id == entries.c.id)
        .join(periods, entries.c.period_id == periods.c.id)
        .where(lines.c.is_active, entries.c.is_active, entries.c.status.in_(IN_THE_BOOKS), *where)
    )
    return statement.correlate_except(lines, entries, periods).scalar_subquery()


def balance(accounts: Table) -> ColumnElement[Decimal]:
    """What an account holds in base currency: debit positive for asset and expense, else credit positive."""
    lines = JournalLine.__table__
    own = booked(lines.c.tenant_id == accounts.c.tenant_id, lines.c.account_id == accounts.c.id)
    debit_side = accounts.c.type.in_([literal_column("'asset'"), literal_column("'expense'")])
    return case((debit_side, own), else_=-own)


def actual(budgets: Table) -> ColumnElement[Decimal]:
    """Posted base debit - credit of the budget's account, cost centre (none = lines without one) and month."""
    lines, periods = JournalLine.__table__, FiscalPeriod.__table__
    return booked(
        lines.c.tenant_id == budgets.c.tenant_id,
        lines.c.account_id == budgets.c.account_id,
        lines.c.cost_center_id.is_not_distinct_from(budgets.c.cost_center_id),
        and_(
            periods.c.fiscal_year == budgets.c.fiscal_year,
            periods.c.number == budgets.c.period_number,
        ),
    )


def committed(budgets: Table) -> ColumnElement[Decimal]:
    """Approved order values not yet invoiced. There are no orders before domain psm."""
    return cast(literal_column("0"), Numeric(19, 4))


class CurrencyInUse(TenantModel, table="fim.currencies"):
    """Currencies in use."""

    code: Mapped[Currency]
    name: Mapped[Name]
    symbol: Mapped[str | None] = column(String(8))
    decimal_places: Mapped[SmallInt] = column(default=2, minimum=0, maximum=4)
    is_base: Mapped[bool] = column(default=False)


currencies = Entity(
    CurrencyInUse,
    kind="config",
    label="code",
    unique=["code", Unique(("is_base",), where="is_base")],
    search=["code", "name"],
    once=["code", "decimal_places", "is_base"],
    role="currencies",
)


class ExchangeRate(TenantModel, table="fim.exchange_rates"):
    """Rate of a day; 1 from = rate to."""

    from_currency: Mapped[Currency]
    to_currency: Mapped[Currency]
    rate_date: Mapped[date]
    rate: Mapped[Rate]
    source: Mapped[str] = column(String(32), default="manual")
    __table_args__ = (check("from_currency <> to_currency"),)


exchange_rates = Entity(
    ExchangeRate,
    kind="config",
    unique=[Unique(("from_currency", "to_currency", "rate_date"))],
    once=["from_currency", "to_currency", "rate_date"],
    info={"example": {"from_currency": "EUR", "to_currency": "USD", "rate": "1.08"}},
)


class Account(TenantModel, table="fim.accounts"):
    """Chart of accounts."""

    code: Mapped[str] = column(String(20))
    name: Mapped[Name]
    type: Mapped[Literal["asset", "liability", "equity", "income", "expense"]]
    parent_id: Mapped[UUID | None] = reference("fim.accounts")
    is_group: Mapped[bool] = column(default=False)
    currency: Mapped[Currency | None]  # null = any
    system_role: Mapped[SystemRole | None]
    allow_manual: Mapped[bool] = column(default=True)


accounts = Entity(
    Account,
    kind="config",
    label="name",
    tree="parent_id",
    unique=["code", Unique(("system_role",), where="system_role is not null")],
    search=["code", "name"],
    once=["code", "type", "is_group", "currency"],
    virtual=[Virtual("balance", Numeric(19, 4), compute=balance)],
)


class FiscalPeriod(TenantModel, table="fim.fiscal_periods"):
    """Month of a fiscal year."""

    code: Mapped[str] = column(String(16))  # 2026-04
    fiscal_year: Mapped[SmallInt]
    number: Mapped[SmallInt] = column(minimum=1, maximum=13)
    start_date: Mapped[date]
    end_date: Mapped[date]
    closed_at: Mapped[datetime | None]
    closed_by: Mapped[UUID | None] = outside("manager/idam.users")
    __table_args__ = (check("end_date >= start_date"),)


fiscal_periods = Entity(
    FiscalPeriod,
    kind="config",
    label="code",
    unique=["code", Unique(("fiscal_year", "number"))],
    periods=[Period((), "start_date", "end_date")],
    search=["code"],
    once=["code", "fiscal_year", "number", "start_date", "end_date"],
    read_only=["closed_at", "closed_by"],
    machine="open* closed locked : open>closed; closed>open,locked",
    stamps={
        "closed": {"closed_at": "now", "closed_by": "actor"},
        "open": {"closed_at": "null", "closed_by": "null"},
    },
    guards={"closed>open": "fim.fiscal-periods.reopen"},
    permissions=["fim.fiscal-periods.reopen"],
    info={"example": {"code": "2027-01", "fiscal_year": 2027, "start_date": "2027-01-01", "end_date": "2027-01-31"}},
)


class CostCenter(TenantModel, table="fim.cost_centers"):
    """Place costs are collected."""

    code: Mapped[Code]
    name: Mapped[Name]
    parent_id: Mapped[UUID | None] = reference("fim.cost_centers")
    manager_id: Mapped[UUID | None] = outside("tenants/hrm.employees")
    valid_from: Mapped[date | None]
    valid_until: Mapped[date | None]
    __table_args__ = (check("valid_until is null or valid_from is null or valid_until >= valid_from"),)


cost_centers = Entity(
    CostCenter,
    kind="config",
    label="name",
    tree="parent_id",
    unique=["code"],
    search=["code", "name"],
    once=["code"],
)


class TaxCode(TenantModel, table="fim.tax_codes"):
    """Effective-dated tax rate; a new rate is a new row with the same code."""

    code: Mapped[Code]
    name: Mapped[Name]
    kind: Mapped[Literal["sales", "purchase", "both"]] = column(default="both")
    rate: Mapped[Percent]
    valid_from: Mapped[date]
    valid_until: Mapped[date | None]
    account_id: Mapped[UUID | None] = reference("fim.accounts")  # default role tax_output or tax_input
    country: Mapped[Country | None]


tax_codes = Entity(
    TaxCode,
    kind="config",
    label="code",
    periods=[Period(("code",), "valid_from", "valid_until")],
    search=["code", "name"],
    once=["code", "kind", "rate", "valid_from"],
)


class JournalEntry(TenantModel, table="fim.journal_entries"):
    """Double-entry booking."""

    number: Mapped[DocumentNumber | None]
    entry_date: Mapped[date]
    period_id: Mapped[UUID] = reference("fim.fiscal_periods")
    kind: Mapped[EntryKind] = column(default="manual")
    memo: Mapped[str | None] = column(String(255))
    currency: Mapped[Currency]
    exchange_rate: Mapped[Rate] = column(default=Decimal(1))
    source_type: Mapped[str | None] = column(String(64))
    source_id: Mapped[UUID | None]
    source_key: Mapped[str | None] = column(String(40))
    total_debit: Mapped[Money] = column(default=ZERO)
    total_credit: Mapped[Money] = column(default=ZERO)
    reversal_of_id: Mapped[UUID | None] = reference("fim.journal_entries")
    reversed_by_id: Mapped[UUID | None] = reference("fim.journal_entries")
    posted_at: Mapped[datetime | None]
    posted_by: Mapped[UUID | None] = outside("manager/idam.users")


journal_entries = Entity(
    JournalEntry,
    kind="document",
    label="number",
    number=Number("JE", at="posted", gapless=True, date="entry_date"),
    nested=[Nested("lines", "fim.journal-lines")],
    unique=["number", Unique(("reversal_of_id",)), Unique(("source_type", "source_id", "source_key"))],
    search=["number", "memo"],
    once=["currency", "reversal_of_id"],
    read_only=[
        *("number", "period_id", "kind", "exchange_rate", "source_type", "source_id", "source_key"),
        *("total_debit", "total_credit", "reversed_by_id", "posted_at", "posted_by"),
    ],
    auto=["currency"],
    currency="currency",
    rollups=[
        RollUp("total_debit", "fim.journal-lines", sum="debit"),
        RollUp("total_credit", "fim.journal-lines", sum="credit"),
    ],
    stamps={"posted": {"posted_at": "now", "posted_by": "actor"}},
    machine="draft* posted reversed : draft>posted; posted~>reversed",
)


class JournalLine(TenantModel, table="fim.journal_lines"):
    """Debit or credit on one account."""

    journal_entry_id: Mapped[UUID] = reference("fim.journal_entries", "cascade")
    position: Mapped[int] = column(default=0)
    account_id: Mapped[UUID] = reference("fim.accounts")
    description: Mapped[str | None] = column(String(255))
    debit: Mapped[Money] = column(default=ZERO, minimum=0)
    credit: Mapped[Money] = column(default=ZERO, minimum=0)
    base_debit: Mapped[Money] = column(default=ZERO)
    base_credit: Mapped[Money] = column(default=ZERO)
    cost_center_id: Mapped[UUID | None] = reference("fim.cost_centers")
    customer_id: Mapped[UUID | None] = reference("crm.customers")
    supplier_id: Mapped[UUID | None] = outside("tenants/psm.suppliers")
    tax_code_id: Mapped[UUID | None] = reference("fim.tax_codes")
    __table_args__ = (check("(debit = 0) <> (credit = 0)"),)


journal_lines = Entity(
    JournalLine,
    kind="line",
    parent=("fim.journal-entries", "journal_entry_id"),
    search=["description"],
    once=["journal_entry_id"],
    read_only=["base_debit", "base_credit"],
    base_money=["base_debit", "base_credit"],
)


class Budget(TenantModel, table="fim.budgets"):
    """Planned amount per account, cost centre and month."""

    fiscal_year: Mapped[SmallInt]
    period_number: Mapped[SmallInt] = column(minimum=1, maximum=12)
    account_id: Mapped[UUID] = reference("fim.accounts")
    cost_center_id: Mapped[UUID | None] = reference("fim.cost_centers")
    amount: Mapped[Money] = column(minimum=0)
    control: Mapped[Literal["none", "warn", "block"]] = column(default="warn")


budgets = Entity(
    Budget,
    kind="config",
    unique=[Unique(("fiscal_year", "period_number", "account_id", "cost_center_id"), nulls_equal=True)],
    once=["fiscal_year", "period_number", "account_id", "cost_center_id"],
    currency="base",
    virtual=[
        Virtual("actual", Numeric(19, 4), compute=actual),
        Virtual("committed", Numeric(19, 4), compute=committed),
    ],
)
