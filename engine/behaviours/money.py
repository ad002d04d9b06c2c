"""Money (G10): each amount is rounded half up to the places of its currency, wherever it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

import sqlalchemy as sa

from engine.behaviours.known import Known, beside
from engine.entity import Entity
from engine.hooks import Change, Moment, Point, Row, Rule

BASE = "base"
# the product of a quantity and a price has more digits than the default context keeps
WIDE = Context(prec=60, rounding=ROUND_HALF_UP)


def is_money(type_: Any) -> bool:
    """Whether a column holds an amount of some currency: numeric(19,4), the type `Money`."""
    return isinstance(type_, sa.Numeric) and (type_.precision, type_.scale) == (19, 4)


def rounded(value: Any, places: int) -> Decimal:
    """`value` half up to so many decimal places."""
    return Decimal(value).quantize(Decimal(1).scaleb(-places), context=WIDE)


class Purse:
    """Which currency rounds which column of an entity: its own, its header's, or the base currency."""

    def __init__(self, known: Known, path: str, entity: Entity) -> None:
        self.entity, self.currency = entity, entity.currency
        self.header = beside(known, path, entity.parent[0]) if entity.parent and not entity.currency else None
        if self.header is not None:
            self.currency = self.header.currency
        self.columns = tuple(c.name for c in entity.table.c if is_money(c.type)) if self.currency else ()

    async def places(self, moment: Moment, rows: Sequence[Any]) -> list[dict[str, int]]:
        """For each row (anything that answers row["column"]): decimal places of each money column."""
        if not self.columns:
            return [{} for _ in rows]
        codes = await self._codes(moment, rows)
        needs_base = self.entity.base_money or self.currency == BASE
        base = await moment.places(await moment.setting("base_currency")) if needs_base else 0
        places = {code: await moment.places(code) for code in dict.fromkeys(codes) if code}
        return [
            {
                name: base if name in self.entity.base_money or self.currency == BASE else places.get(code, 2)
                for name in self.columns
            }
            for code in codes
        ]

    async def _codes(self, moment: Moment, rows: Sequence[Any]) -> list[Any]:
        if self.currency == BASE:
            return [None for _ in rows]
        if self.header is None:
            return [row[self.currency] for row in rows]
        assert self.entity.parent is not None
        via, table = self.entity.parent[1], self.header.table
        keys = {row[via] for row in rows}
        found = await moment.fetch(sa.select(table.c.id, table.c[str(self.currency)]).where(table.c.id.in_(keys)))
        by_id: Mapping[Any, Row] = {row["id"]: row for row in found}
        # a header that does not exist is refused by the reference itself
        return [by_id[row[via]][str(self.currency)] if row[via] in by_id else None for row in rows]


def money_rules(known: Known, path: str, entity: Entity) -> list[Rule]:
    """Round what is given. Computed amounts are rounded where they are computed."""
    purse = Purse(known, path, entity)
    given = frozenset(purse.columns) - {computed.column for computed in entity.computed}
    if not given:
        return []

    async def round_money(moment: Moment, changes: list[Change]) -> None:
        finer = [change for change in changes if any(_fine(change.values.get(name)) for name in given)]
        for change, places in zip(finer, await purse.places(moment, finer), strict=True):
            for name in given:
                if change.values.get(name) is not None:
                    change.values[name] = rounded(change.values[name], places[name])

    points = (Point.BEFORE_CREATE, Point.BEFORE_UPDATE)
    return [Rule("G10", path, points, round_money, watches=given, writes=given)]


def _fine(value: Any) -> bool:
    """Whether an amount is no whole number, so that a currency may cut it."""
    return value is not None and Decimal(value) % 1 != 0
