"""Pieces that reads and writes share: parameters, predicates, and the JSON document of a row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.sql import ColumnElement, FromClause

from engine.catalog import Resource
from engine.fields import Field
from engine.filters import OPERATORS, TEXTS
from engine.shapes import Condition, Statement

DIALECT = dialect()  # type: ignore[no-untyped-call]
UUID = pg.UUID(as_uuid=True)
# values as JSON on their way to the database
ENCODER = msgspec.json.Encoder(decimal_format="number")
Column = ColumnElement[Any]
# before a domain's name: the parameter that says whether the caller reads its masked columns; a statement may show several
UNMASKED = "unmasked_"

# PostgreSQL types of values that arrive as text or in a JSON record set, by `Scalar.record_type`
TYPES: dict[str, Any] = {
    "uuid": UUID,
    "bool": sa.Boolean(),
    "int8": sa.BigInteger(),
    "float8": sa.Double(),
    "numeric": sa.Numeric(),
    "text": sa.Text(),
    "date": sa.Date(),
    "timestamptz": sa.DateTime(timezone=True),
    "time": sa.Time(),
    "jsonb": pg.JSONB(),
}


def bind(name: str, type_: Any = None) -> Any:
    """A parameter of the statement."""
    return sa.bindparam(name, type_=type_ or sa.Text())


def constant(text: str) -> Any:
    """A text known at start-up, written into the statement."""
    return sa.literal_column("'" + text.replace("'", "''") + "'", sa.Text())


def compile_statement(statement: Any) -> Statement:
    """SQL text and parameter order. Every parameter must be one of `bind`; a stray literal is a fault of the builder."""
    compiled = statement.compile(dialect=DIALECT)
    stray = [name for name, value in compiled.params.items() if value is not None]
    if stray:
        raise AssertionError(f"literals where parameters or constants were meant: {stray} in {compiled.string}")
    return Statement(compiled.string, tuple(compiled.positiontup or ()))


def row_of(source: FromClause, field: Field) -> Column:
    """The stored column of a field, in an alias or CTE of its table."""
    return source.c[field.name]


def shown(resource: Resource, source: FromClause, field: Field, *, mask: bool = True) -> Column:
    """What a read shows of a field."""
    if field.virtual is not None:
        value = field.virtual.compute(source)
        return field.scalar.show(value) if field.scalar.show else value
    column = row_of(source, field)
    if field.masked and mask:
        document = field.scalar.name == "jsonb"
        value = column if document else sa.cast(column, sa.Text)
        hidden = sa.literal_column("""'"***"'::jsonb""", pg.JSONB()) if document else constant("***")
        return sa.case(
            (column.is_(None), None), (bind(UNMASKED + resource.entity.domain, sa.Boolean()), value), else_=hidden
        )
    return field.scalar.show(column) if field.scalar.show else column


def fields_to_show(resource: Resource, names: Iterable[str]) -> list[Field]:
    """The named fields, or all that reads show."""
    wanted = tuple(names)
    return [field for field in resource.shown if not wanted or field.name in wanted]


def key_predicate(resource: Resource, source: FromClause) -> Column:
    """The row whose key is in the parameters `key0`, `key1` ..."""
    return sa.and_(
        *(
            source.c[name] == sa.cast(bind(f"key{i}"), TYPES[resource.fields[name].scalar.record_type])
            for i, name in enumerate(resource.keys)
        )
    )


def given_keys(resource: Resource) -> Any:
    """The record set of the parameter `keys`, with the place of each key in `given_ord`."""
    columns = [sa.column(name, TYPES[resource.fields[name].scalar.record_type]) for name in resource.keys]
    records = sa.func.json_to_recordset(bind("keys", pg.JSON()))
    return records.table_valued(*columns, sa.column("given_ord", sa.Integer()), name="k").render_derived(
        with_types=True
    )


def same_key(resource: Resource, one: Any, other: Any) -> Column:
    """Whether two sources show the same row."""
    return sa.and_(*(one.c[name] == other.c[name] for name in resource.keys))


def entity_id(resource: Resource, source: FromClause) -> Column:
    """The uuid under which the change log knows a row: its uuid key, else a digest of the key's text."""
    if len(resource.keys) == 1 and resource.fields[resource.keys[0]].scalar.name == "uuid":
        return source.c[resource.keys[0]]
    text = sa.func.concat_ws(constant(","), *(source.c[name] for name in resource.keys))
    return sa.cast(sa.func.md5(constant(f"{resource.key}:").op("||")(text)), UUID)


def wall(resource: Resource, source: FromClause, on: bool) -> list[Column]:
    """The first of the two walls: the statement itself names the tenant."""
    return [source.c.tenant_id == bind("tenant", UUID)] if resource.scope.tenant_bound and on else []


def presence(source: FromClause, deleted: str) -> list[Column]:
    """Which rows count as there."""
    if deleted == "include":
        return []
    return [source.c.is_active if deleted == "exclude" else sa.not_(source.c.is_active)]


def _compared(field: Field) -> Any:
    """The type in which the values of a field, or its items, are compared; those of jsonb are texts."""
    one = field.item or field
    # of floats their own type counts: 0.1 of four bytes is not 0.1 of eight
    kind = one.type if field.item and one.scalar.name == "float" else TYPES[one.scalar.record_type]
    return sa.Text() if field.scalar.name == "jsonb" else kind


def _value(field: Field, takes: str, name: str) -> Any:
    target = _compared(field)
    if takes in ("many", "items"):
        values = bind(name, TEXTS)
        return values if isinstance(target, sa.Text) else sa.cast(values, pg.ARRAY(target))
    if takes == "bool":
        return sa.cast(bind(name), sa.Boolean())
    if takes == "two":
        return [_cast(bind(f"{name}a"), target), _cast(bind(f"{name}b"), target)]
    return bind(name) if takes == "text" else _cast(bind(name), target)


def _cast(value: Any, target: Any) -> Any:
    return value if isinstance(target, sa.Text) else sa.cast(value, target)


def condition(resource: Resource, source: FromClause, asked: Condition, name: str) -> Column:
    """The predicate of one filter; its value is the parameter `name` (`between`: `name`a and `name`b)."""
    field, operator = resource.fields[asked.field], OPERATORS[asked.operator]
    column = field.virtual.compute(source) if field.virtual else source.c[field.name]
    if field.item and operator.family == "items":
        # varchar[] and text[] do not compare; a cast to what it is already is none
        column = sa.cast(column, pg.ARRAY(_compared(field)))
    return operator.build(column, _value(field, operator.takes, name))
