"""What a variant costs: by the breaks of a price list, else by its own price."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from uuid import UUID

from sqlalchemy import and_, func, or_, select

from engine.hooks import Moment, Row
from registry.money import WIDE, to_places
from registry.tenants.pim import PriceList, PriceListItem, Product, ProductVariant

PLACES = 6


@dataclass(frozen=True)
class Wanted:
    """A price to look up. Without `list_id` the default sale list of the currency is asked."""

    variant_id: UUID
    currency: str
    quantity: Decimal
    on: date
    list_id: UUID | None = None


async def price_of(  # budget: six facts make a price, and callers name them
    moment: Moment, variant_id: UUID, *, list_id: UUID | None, currency: str, quantity: Decimal, on: date
) -> Decimal | None:
    """The unit price of one variant. For many lines ask `prices_of` once."""
    [price] = await prices_of(moment, [Wanted(variant_id, currency, quantity, on, list_id)])
    return price


async def prices_of(moment: Moment, wanted: Sequence[Wanted]) -> list[Decimal | None]:
    """The unit price of each, six places: of the list's items valid on the day the one with the largest min_qty that the
    quantity reaches, less its discount; else the list price of the variant or its product, which is in base currency.
    None when there is no price in the currency."""
    items = await _items(moment, wanted)
    prices = [_best(want, items) for want in wanted]
    open_ones = {want.variant_id for want, price in zip(wanted, prices, strict=True) if price is None}
    if not open_ones:
        return prices
    own, base = await _own_prices(moment, open_ones), await moment.setting("base_currency")
    return [
        own.get(want.variant_id) if price is None and want.currency == base else price
        for want, price in zip(wanted, prices, strict=True)
    ]


async def _items(moment: Moment, wanted: Sequence[Wanted]) -> list[Row]:
    """Items of the active lists that may be asked, with list, currency and days of both."""
    lists, items = PriceList.__table__, PriceListItem.__table__
    named = {want.list_id for want in wanted if want.list_id is not None}
    silent = {want.currency for want in wanted if want.list_id is None}
    default = and_(lists.c.kind == "sale", lists.c.is_default, lists.c.currency.in_(silent))
    return await moment.fetch(
        select(
            *(items.c.price_list_id, items.c.variant_id, items.c.min_qty, items.c.unit_price, items.c.discount_pct),
            *(lists.c.currency, lists.c.kind, lists.c.is_default),
            func.greatest(items.c.valid_from, lists.c.valid_from).label("first_day"),
            func.least(items.c.valid_until, lists.c.valid_until).label("last_day"),
        )
        .join_from(items, lists, items.c.price_list_id == lists.c.id)
        .where(items.c.variant_id.in_({want.variant_id for want in wanted}), items.c.is_active)
        .where(lists.c.is_active, lists.c.status == "active", or_(lists.c.id.in_(named), default))
    )


def _best(want: Wanted, items: Iterable[Row]) -> Decimal | None:
    fitting = [item for item in items if _offers(item, want) and item["min_qty"] <= want.quantity]
    return _net(max(fitting, key=lambda item: item["min_qty"])) if fitting else None


def _offers(item: Row, want: Wanted) -> bool:
    """Whether the item belongs to the list asked for, in the currency and on the day."""
    by_default = item["is_default"] and item["kind"] == "sale"
    asked = by_default if want.list_id is None else item["price_list_id"] == want.list_id
    same = item["variant_id"] == want.variant_id and item["currency"] == want.currency
    ended = item["last_day"] is not None and item["last_day"] < want.on
    return asked and same and item["first_day"] <= want.on and not ended


def _net(item: Row) -> Decimal:
    hundredfold = WIDE.multiply(item["unit_price"], 100 - item["discount_pct"])
    return to_places(WIDE.divide(hundredfold, Decimal(100)), PLACES)


async def _own_prices(moment: Moment, variants: Iterable[UUID]) -> Mapping[UUID, Decimal]:
    """The list prices of variants: their own, else their product's."""
    variant, product = ProductVariant.__table__, Product.__table__
    rows = await moment.fetch(
        select(variant.c.id, func.coalesce(variant.c.list_price, product.c.list_price).label("price"))
        .join_from(variant, product, variant.c.product_id == product.c.id)
        .where(variant.c.id.in_(set(variants)))
    )
    return {row["id"]: row["price"] for row in rows}
