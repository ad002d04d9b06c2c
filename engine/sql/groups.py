"""Groups in the place of rows: aggregates by the values of fields, and the counts of values beside a list. One statement each,
rendered to JSON by PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql import FromClause

from engine.aggregates import FUNCTIONS, PARTS, sorting, started
from engine.catalog import Resource
from engine.fields import Field
from engine.grouping import result_of
from engine.shapes import MOST_VALUES, GroupKey, GroupShape, Measure
from engine.sql.documents import Scene
from engine.sql.keyset import Term, texts_of
from engine.sql.parts import WHOLE, Column, bind, compared, constant

EMPTY: Any = sa.literal_column("'[]'::json")
Source = tuple[FromClause, Sequence[Any]]


class Made:
    """The results of a grouped list: each is a column of a subquery, called `r0`, `r1` ..., keys first."""

    def __init__(self, scene: Scene, resource: Resource, shape: GroupShape, row: FromClause) -> None:
        self.scene, self.resource, self.row = scene, resource, row
        self.keys, self.measures = shape.grouping.keys, shape.grouping.measures
        self.fields: list[Field] = []
        # of a row: what its results are made of
        self.parts: list[Any] = []
        for key in self.keys:
            self._key(key)
        for measure in self.measures:
            self._measure(measure)
        self.names = [*(key.name for key in self.keys), *(measure.name for measure in self.measures)]
        self.places = {name: place for place, name in enumerate(self.names)}

    def _key(self, key: GroupKey) -> None:
        value, field, _ = self.scene.value_at(self.resource, self.row, key.field.split("."))
        part = PARTS[key.part] if key.part else None
        self.parts.append(started(part, value, field.scalar.name) if part else value)
        self.fields.append(result_of(part, field))

    def _measure(self, measure: Measure) -> None:
        value, field = None, None
        if measure.field:
            value, field, _ = self.scene.value_at(self.resource, self.row, measure.field.split("."))
        self.parts.append(value)
        self.fields.append(result_of(FUNCTIONS[measure.function], field))

    def groups(self, where: Sequence[Any]) -> Any:
        """SELECT of the groups of the rows."""
        # a query of its own, so that a value behind a relation is looked up once a row
        made = [part.label(f"p{i}") for i, part in enumerate(self.parts) if part is not None]
        rows = sa.select(*(made or [sa.literal_column("1")])).select_from(self.row).where(*where).subquery("s")
        keys = [rows.c[f"p{i}"] for i in range(len(self.keys))]
        values = [
            FUNCTIONS[measure.function].build(rows.c[f"p{i}"] if measure.field else None)
            for i, measure in enumerate(self.measures, len(keys))
        ]
        columns = [value.label(f"r{i}") for i, value in enumerate((*keys, *values))]
        return sa.select(*columns).select_from(rows).group_by(*keys)


def grouped(scene: Scene, resource: Resource, shape: GroupShape, source: Source) -> Any:
    """(groups as JSON texts, how many there are or null) of one page: `limit` groups from `offset` on. Of conditions on results
    the values are the parameters `h0` ..."""
    row, where = source
    made = Made(scene, resource, shape, row)
    groups = made.groups(where)
    if shape.grouping.having:
        every = groups.subquery("e")
        groups = sa.select(every).where(
            *(
                compared(made.fields[place], every.c[f"r{place}"], asked, f"h{i}")
                for i, asked in enumerate(shape.grouping.having)
                for place in (made.places[asked.field],)
            )
        )
    found = groups.cte("g")
    columns = [_shown(field, found.c[f"r{i}"]).label(made.names[i]) for i, field in enumerate(made.fields)]
    page = sa.select(*columns).order_by(*_order(made, shape, found))
    page = page.limit(bind("limit", sa.BigInteger())).offset(bind("offset", sa.BigInteger()))
    total = sa.select(sa.func.count()).select_from(found).scalar_subquery()
    return sa.select(
        sa.select(texts_of(page.subquery(WHOLE))).scalar_subquery(),
        sa.null() if shape.rows.counting == "none" else total,
    )


def _order(made: Made, shape: GroupShape, found: Any) -> list[Any]:
    """As was asked; the keys are always appended, so that the order is total."""
    named = {order.field for order in shape.rows.sort}
    terms = []
    for order in shape.rows.sort:
        first = order.nulls == "first" if order.nulls else order.descending
        column = found.c[f"r{made.places[order.field]}"]
        terms.append(Term(column, None, order.descending, first, True).ordered(column))
    return [*terms, *(sorting(found.c[f"r{i}"]).asc() for i, key in enumerate(made.keys) if key.name not in named)]


def _shown(field: Field, column: Any) -> Column:
    return field.scalar.show(column) if field.scalar.show else column


def facets(scene: Scene, resource: Resource, parts: Sequence[tuple[str, Source]]) -> Any:
    """(JSON text,) of an object: path of a field -> its values with their counts, the most frequent first."""
    members: list[Any] = []
    for path, (row, where) in parts:
        value, field, _ = scene.value_at(resource, row, path.split("."))
        rows = sa.select(value.label("value")).where(*where).subquery("s")
        often = sa.func.count().label("count")
        counted = sa.select(rows.c.value, often).group_by(rows.c.value).order_by(often.desc(), sorting(rows.c.value))
        top = counted.limit(sa.literal_column(str(MOST_VALUES))).subquery("t")
        lines = sa.select(_shown(field, top.c.value).label("value"), top.c["count"])
        found = lines.order_by(top.c["count"].desc(), sorting(top.c.value)).subquery(WHOLE)
        told = sa.func.coalesce(sa.func.json_agg(sa.func.row_to_json(found.table_valued())), EMPTY)
        members += [constant(path), sa.select(told).scalar_subquery()]
    return sa.select(sa.cast(sa.func.json_build_object(*members), sa.Text))
