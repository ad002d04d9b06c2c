"""Exchange rates (G12) and the base currency of a tenant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal

from sqlalchemy import or_, select

from engine.errors import ValidationError
from engine.hooks import Change, Moment, Row
from registry.money import WIDE, to_places
from registry.tenants.fim import CurrencyInUse, ExchangeRate

ONE = Decimal(1)
RATE_PLACES = 8


async def base_currency(moment: Moment) -> str:
    """The code of the currency that the ledger is kept in; while there is none in fim.currencies, as the setting says."""
    rows = await moment.list("fim.currencies", CurrencyInUse.__table__.c.is_base, limit=1)
    code = rows[0]["code"] if rows else await moment.setting("base_currency")
    return str(code)


async def exchange_rate(moment: Moment, currency: str, on: date) -> Decimal:
    """Base units for one unit of `currency`: the last rate on or before the day, else the inverse of the last one the other
    way round. 422 no_exchange_rate."""
    base = await base_currency(moment)
    if currency == base:
        return ONE
    rates = ExchangeRate.__table__.c
    ways = or_(
        (rates.from_currency == currency) & (rates.to_currency == base),
        (rates.from_currency == base) & (rates.to_currency == currency),
    )
    direct_first = ((rates.from_currency == currency).desc(), rates.rate_date.desc())
    asked = select(rates.from_currency, rates.rate).where(ways, rates.is_active, rates.rate_date <= on)
    for row in await moment.fetch(asked.order_by(*direct_first).limit(1)):
        direct = row["from_currency"] == currency
        return Decimal(row["rate"]) if direct else to_places(WIDE.divide(ONE, row["rate"]), RATE_PLACES)
    raise ValidationError("no_exchange_rate", f"There is no rate between {currency} and {base} on or before {on}")


async def take_rates(moment: Moment, changes: Iterable[Change], day: str) -> None:
    """exchange_rate of documents as it stood on their date, which is in column `day`. 422 no_exchange_rate."""
    known: dict[tuple[str, date], Decimal] = {}
    for change in changes:
        asked = (change["currency"], change[day])
        if asked not in known:
            known[asked] = await exchange_rate(moment, *asked)
        change.values["exchange_rate"] = known[asked]


async def fill_currencies(moment: Moment, changes: Sequence[Change], sources: Sequence[Row]) -> None:
    """G21: an omitted currency is that of the document's source, in the same place of `sources`, else the base currency."""
    silent = [
        (change, source.get("currency"))
        for change, source in zip(changes, sources, strict=True)
        if change["currency"] is None
    ]
    base = await base_currency(moment) if any(currency is None for _, currency in silent) else ""
    for change, currency in silent:
        change.values["currency"] = currency or base
