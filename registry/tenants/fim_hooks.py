"""Behaviour of currencies, rates, accounts and tax codes: what the ledger stands on stays as long as it is stood on."""

from __future__ import annotations

from engine.errors import ConflictError
from engine.hooks import Change, Moment, Point, Rules, refuse
from registry.tenants.dated_documents import currencies_in_use, last_uses
from registry.tenants.fim import Account, CurrencyInUse
from registry.tenants.periods import closed, periods_of

rules = Rules("tenants/fim")

# system role -> the types of account that can play it, the usual one first
ROLE_TYPES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("bank", "ar", "inventory", "tax_input"), ("asset",)),
    **dict.fromkeys(("ap", "grni", "tax_output", "payroll_payable", "payroll_tax_payable"), ("liability",)),
    **dict.fromkeys(("cogs", "expense", "inventory_adjustment", "payroll_expense", "bad_debt"), ("expense",)),
    **dict.fromkeys(("price_variance", "fx_gain_loss", "disposal_gain_loss", "rounding"), ("expense", "income")),
    "revenue": ("income",),
    "retained_earnings": ("equity",),
}


def retired(changes: list[Change]) -> list[Change]:
    """The rows that a deletion or a status change takes out of use."""
    return [change for change in changes if not change.values.get("is_active")]


@rules.on("FIM-C1", "currencies", Point.BEFORE_DELETE, Point.BEFORE_STATUS, raises="409:in_use")
async def keep_used_currencies(moment: Moment, changes: list[Change]) -> None:
    """The base currency, and one used by an open document, stay."""
    leaving = retired(changes)
    if any(change["is_base"] for change in leaving):
        raise ConflictError("in_use", "The base currency stays")
    if leaving and (used := await currencies_in_use(moment, [change.key for change in leaving])):
        raise ConflictError("in_use", f"Open documents are in {used[0]}")


@rules.on("FIM-X1", "exchange-rates", Point.BEFORE_CREATE, raises="422:unknown_currency")
async def know_both_currencies(moment: Moment, changes: list[Change]) -> None:
    """Both codes are active currencies."""
    codes = {change[name] for change in changes for name in ("from_currency", "to_currency")}
    rows = await moment.list("fim.currencies", CurrencyInUse.__table__.c.code.in_(codes), limit=len(codes))
    known = {row["code"] for row in rows}
    for change in changes:
        for name in ("from_currency", "to_currency"):
            if change[name] not in known:
                raise refuse(change, name, "unknown_currency", f"{change[name]} is not a currency in use")


@rules.on(
    "FIM-X1",
    "exchange-rates",
    *(Point.BEFORE_CREATE, Point.BEFORE_UPDATE, Point.BEFORE_DELETE, Point.BEFORE_STATUS),
    raises="409:period_closed",
)
async def freeze_rates(moment: Moment, changes: list[Change]) -> None:
    """Rates in a closed period are frozen."""
    for day, period in (await periods_of(moment, {change["rate_date"] for change in changes})).items():
        if period["status"] != "open":
            raise closed(day)


@rules.on(
    "FIM-A1",
    "accounts",
    Point.BEFORE_CREATE,
    Point.BEFORE_UPDATE,
    watches="parent_id system_role",
    raises="422:account_parent 422:account_role",
)
async def fit_accounts(moment: Moment, changes: list[Change]) -> None:
    """The parent is a group of the same type; system_role fits the type and is never on a group."""
    keys = {change["parent_id"] for change in changes if change["parent_id"] is not None}
    rows = await moment.list("fim.accounts", Account.__table__.c.id.in_(keys), limit=len(keys)) if keys else []
    parents = {row["id"]: row for row in rows}
    for change in changes:
        parent = parents.get(change["parent_id"])  # an unknown one is refused by the reference itself
        if parent is not None and not (parent["is_group"] and parent["type"] == change["type"]):
            raise refuse(change, "parent_id", "account_parent", f"The parent is no group of type {change['type']}")
        role = change["system_role"]
        if role is not None and (change["is_group"] or change["type"] not in ROLE_TYPES[role]):
            wanted = " or ".join(ROLE_TYPES[role])
            raise refuse(change, "system_role", "account_role", f"{role} is played by an account of type {wanted}")


@rules.on("FIM-A2", "accounts", Point.BEFORE_DELETE, Point.BEFORE_STATUS, raises="409:in_use")
async def keep_role_accounts(moment: Moment, changes: list[Change]) -> None:
    """An account with a system_role stays; with lines or children it stays as any row that others refer to."""
    for change in retired(changes):
        if change["system_role"] is not None:
            raise ConflictError("in_use", f"The account plays the role {change['system_role']}")


@rules.on("FIM-T1", "tax-codes", Point.BEFORE_UPDATE, watches="valid_until", raises="409:tax_in_use")
async def cover_taxed_documents(moment: Moment, changes: list[Change]) -> None:
    """valid_until is not before the last document that used the row."""
    ending = [change for change in changes if change.changes("valid_until") and change["valid_until"] is not None]
    last = await last_uses(moment, [change.key for change in ending]) if ending else {}
    for change in ending:
        if change.key in last and change["valid_until"] < last[change.key]:
            raise ConflictError("tax_in_use", f"A document of {last[change.key]} uses this rate")
