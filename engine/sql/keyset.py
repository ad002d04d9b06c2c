"""Pages of an order, and the rows after a place in it: the predicate of a cursor, for any mix of directions, nulls and ties.

A place is in the parameters `c0`, `c1` ..., as texts; which of them are null is part of the statement's shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from engine.scalars import Native
from engine.sql.parts import WHOLE, Column, bind

# of a page, the last row that is shown
LAST = bind("last", sa.Integer())


class Term(NamedTuple):
    """One key of an order. `value`: the SQL expression; `type`: what its texts are cast to; `nullable`: whether it can be null."""

    value: Any
    type: Any
    descending: bool
    nulls_first: bool
    nullable: bool

    def ordered(self, column: Any) -> Any:
        """ORDER BY of a column that holds the value."""
        term = column.desc() if self.descending else column.asc()
        if self.nulls_first == self.descending:  # as PostgreSQL does it
            return term
        return term.nulls_first() if self.nulls_first else term.nulls_last()

    def after(self, place: Any) -> Column:
        """Whether a row comes strictly later by this key; `place` None = the place is null."""
        if place is None:
            found: Column = self.value.is_not(None) if self.nulls_first else sa.false()
            return found
        later: Column = self.value < place if self.descending else self.value > place
        return later if self.nulls_first or not self.nullable else sa.or_(later, self.value.is_(None))

    def same(self, place: Any) -> Column:
        """Whether a row ties by this key."""
        tie: Column = self.value.is_(None) if place is None else self.value == place
        return tie

    def bound(self, place: Any) -> list[Column]:
        """What holds for this and every later row, where an index can use it."""
        if place is None:
            return [] if self.nulls_first else [self.value.is_(None)]
        if self.nullable and not self.nulls_first:
            return []
        return [self.value <= place if self.descending else self.value >= place]


def after(terms: Sequence[Term], nulls: Sequence[bool]) -> Column:
    """Whether a row comes after the place. `nulls`: which values of the place are null."""
    places = [
        None if null else sa.cast(bind(f"c{i}"), term.type)
        for i, (term, null) in enumerate(zip(terms, nulls, strict=True))
    ]
    if _plain(terms, nulls):
        row, place = sa.tuple_(*(term.value for term in terms)), sa.tuple_(*places)
        return row < place if terms[0].descending else row > place
    ways = [
        sa.and_(*(terms[tied].same(places[tied]) for tied in range(i)), term.after(places[i]))
        for i, term in enumerate(terms)
    ]
    return sa.and_(*terms[0].bound(places[0]), sa.or_(*ways))


def _plain(terms: Sequence[Term], nulls: Sequence[bool]) -> bool:
    """Whether one comparison of rows says it, which an index answers: one direction, and no null comes later."""
    alike = len({term.descending for term in terms}) == 1 and not any(nulls)
    return alike and all(term.nulls_first or not term.nullable for term in terms)


def ordering(terms: Sequence[Term]) -> list[Any]:
    """ORDER BY."""
    return [term.ordered(term.value) for term in terms]


def cut(query: Any, terms: Sequence[Term], nulls: Sequence[bool]) -> Any:
    """The page of a query: `limit` rows, after the place `c0` ... where `nulls` tells of one, else from `offset` on."""
    page = query.order_by(*ordering(terms)).limit(bind("limit", sa.BigInteger()))
    return page.where(after(terms, nulls)) if nulls else page.offset(bind("offset", sa.BigInteger()))


def rendered(page: Any, terms: Sequence[Term], *, placed: bool) -> Any:
    """The rows of a page, in the order of its query: the JSON texts of the first `last` with commas between, as UTF-8, how many
    rows there are, and the place of row `last`, null where it is none of them: its values as texts (`placed`), or the row, where
    it shows its place. PostgreSQL joins the texts, since a hundred of them cost a driver more than one."""
    if not placed:
        found = sa.select(texts_of(page.subquery(WHOLE)).label("items")).subquery("cxg_l")
        return found, [*_joined(found.c["items"]), found.c["items"][LAST]]
    names = [column.name for column in page.selected_columns]
    sorted_by = [term.value.label(f"cxg_{i}") for i, term in enumerate(terms)]
    rows = page.add_columns(*sorted_by).subquery("cxg_p")
    # the row without its place: PostgreSQL makes one scan of both
    shown = sa.select(*(rows.c[name] for name in names)).correlate(rows).lateral(WHOLE)
    place = pg.array([_last(rows.c[column.name]) for column in sorted_by], type_=sa.Text())
    found = sa.select(texts_of(shown).label("items"), place.label("place")).select_from(rows, shown).subquery("cxg_l")
    return found, [*_joined(found.c["items"]), found.c.place]


def _joined(items: Any) -> list[Any]:
    first = sa.func.array_to_string(items[sa.literal_column("1") : LAST], sa.literal_column("','"))
    return [sa.func.convert_to(first, sa.literal_column("'UTF8'")), sa.func.cardinality(items)]


def texts_of(rows: Any) -> Any:
    """The rows of a query as JSON texts, in its order."""
    return sa.func.array_agg(sa.cast(sa.func.row_to_json(rows.table_valued()), sa.Text), type_=pg.ARRAY(sa.Text))


def _last(column: Any) -> Any:
    """The value of row `last` as text, dates as JSON writes them, whatever the server's style of dates."""
    # of parts, which JSON would take apart, the text
    whole = isinstance(column.type, Native) and column.type.scalar.record_type == "text"
    value = sa.func.array_agg(sa.cast(column, sa.Text) if whole else column, type_=pg.ARRAY(column.type))[LAST]
    return sa.func.to_json(value).op("#>>")(sa.literal_column("'{}'"))
