"""The statement of an export: every row that a list would show, one text a row, rendered by PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.sql import FromClause

from engine.catalog import Resource
from engine.fields import Field
from engine.scalars import Native
from engine.shapes import ListShape
from engine.sql.documents import Scene
from engine.sql.parts import WHOLE, Column, constant, fields_to_show

Rendering = Literal["json", "csv"]

# a cell that begins so is taken for a formula by spreadsheets; the apostrophe before it is taken off again at import
FORMULA: Column = sa.literal_column(r"""E'^\'*[-=+@\t\r\n]'""")
# a function of PostgreSQL takes a hundred arguments at most
PER_CALL = 90


def rows_of(
    scene: Scene,
    resource: Resource,
    shape: ListShape,
    source: tuple[FromClause, Sequence[Any], Sequence[Any]],
    rendering: Rendering,
) -> Any:
    """SELECT of the rows as texts, in order; `source`: the alias of the table, which of its rows, and their order."""
    row, where, order = source
    columns = scene.columns(resource, row, shape.fields, shape.expand)
    # a query of its own, so that each value is made once
    rows = sa.select(*columns).where(*where).order_by(*order).subquery(WHOLE)
    if rendering == "json":
        return sa.select(sa.cast(sa.func.row_to_json(rows.table_valued()), sa.Text).label("line"))
    shown = fields_to_show(resource, shape.fields)
    cells = [_cell(field, rows.c[field.name]) for field in shown]
    cells += [_document(rows.c[part.relation]) for part in shape.expand]
    return sa.select(_joined(cells).label("line"))


def _cell(field: Field, value: Any) -> Column:
    """A value as it stands in a CSV file; null where the cell is empty."""
    if field.masked:
        return _text(sa.cast(value, sa.Text))
    # the words of a choice are known at start-up
    words = getattr(field.type, "enums", ())
    if words and all(re.fullmatch(r"\w+", word) for word in words):
        return _plain(value)
    if isinstance(field.type, Native):
        return NATIVE_CELLS.get(field.scalar.name, _said)(value)
    return CELLS.get(field.scalar.name, _plain)(value)


def _plain(value: Any) -> Column:
    """What needs no quotes: numbers, keys, days."""
    return sa.cast(value, sa.Text)


def _text(value: Any) -> Column:
    return _quoted(_harmless(value))


def _said(value: Any) -> Column:
    """The text that JSON has."""
    return _text(sa.func.to_json(value).op("#>>")(sa.literal_column("'{}'")))


def _document(value: Any) -> Column:
    return _quoted(sa.cast(value, sa.Text))


def _listed(value: Any) -> Column:
    return _quoted(sa.cast(sa.func.to_json(value), sa.Text))


def _moment(value: Any) -> Column:
    """As JSON has it, quotes and all."""
    return sa.cast(sa.func.to_json(value), sa.Text)


CELLS: dict[str, Callable[[Any], Column]] = {
    "text": _text,
    "bytes": _plain,
    "jsonb": _document,
    "array": _listed,
    "timestamptz": _moment,
}
# of other people's types, whose values are texts as a rule
NATIVE_CELLS: dict[str, Callable[[Any], Column]] = {"list": _listed, "json": _document}


def _harmless(value: Any) -> Column:
    mark = constant("'")
    return sa.case((value.regexp_match(FORMULA), mark.op("||")(value)), else_=value)


def _quoted(value: Any) -> Column:
    quote = constant('"')
    made: Column = quote.op("||")(sa.func.replace(value, quote, constant('""'))).op("||")(quote)
    return made


def _joined(cells: Sequence[Any]) -> Column:
    """One line: empty cells for nulls."""
    comma, parts = constant(","), list[Any]()
    for place, one in enumerate(cells):
        parts += [comma, one] if place else [one]
    while len(parts) > PER_CALL:
        parts = [sa.func.concat(*parts[start : start + PER_CALL]) for start in range(0, len(parts), PER_CALL)]
    return sa.func.concat(*parts)
