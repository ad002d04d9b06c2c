"""Pieces that reads and writes share: parameters, predicates, and the JSON document of a row."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects.postgresql.asyncpg import PGCompiler_asyncpg, PGDialect_asyncpg
from sqlalchemy.sql import ColumnElement, FromClause

from engine.catalog import Resource
from engine.entity import ONLY
from engine.fields import Field
from engine.filters import OPERATORS, TEXTS
from engine.scalars import BASE64, Native
from engine.shapes import Condition, Statement


class Compiler(PGCompiler_asyncpg):
    """Reads and changes the rows of a table itself, not of those that inherit from it: its keys say nothing of them."""

    def visit_table(self, table: Any, asfrom: Any = False, **options: Any) -> str:  # type: ignore[override]
        """The table's name in FROM, UPDATE and DELETE."""
        name: str = super().visit_table(table, asfrom=asfrom, **options)  # type: ignore[no-untyped-call]
        return f"ONLY {name}" if asfrom and table.info.get(ONLY) else name


class Dialect(PGDialect_asyncpg):
    """asyncpg's PostgreSQL."""

    statement_compiler = Compiler
    supports_statement_cache = True


# names have as many bytes as PostgreSQL's have; SQLAlchemy cuts off those that are less than six below the length that it is told
DIALECT = Dialect(label_length=63 + 6)  # type: ignore[no-untyped-call]
UUID = pg.UUID(as_uuid=True)
# values as JSON on their way to the database
ENCODER = msgspec.json.Encoder(decimal_format="number")
Column = ColumnElement[Any]
# before a domain's name: the parameter that says whether the caller reads its masked columns; a statement may show several
UNMASKED = "unmasked_"
# the column of a stored row that holds its digest, where rows have no version
DIGEST = "cxg_version"
# of a row of a record set: the columns that it leaves to the defaults of somebody else's table
LEFT = "cxg_left"

# what a subquery is called whose rows are rendered whole: a column of that name would be taken for the row
WHOLE = "cxg row"

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


def travels(field: Field) -> Any:
    """The type of a value in a JSON record set."""
    return field.type if field.scalar.record_type == "native" else TYPES[field.scalar.record_type]


def kept(field: Field, value: Any) -> Any:
    """A value of a JSON record set as its column has it."""
    return field.scalar.keep(value, field.type) if field.scalar.keep else value


def compared_as(field: Field) -> Any:
    """The type in which the values of a field, or its items, are compared; those of jsonb are texts."""
    one = field.item or field
    # of floats their own type counts: 0.1 of four bytes is not 0.1 of eight
    own = isinstance(one.type, (Native, sa.REAL, sa.LargeBinary)) or (
        field.item is not None and one.scalar.name == "float"
    )
    kind = one.type if own else TYPES[one.scalar.record_type]
    return sa.Text() if field.scalar.name == "jsonb" else kind


def comparing(field: Field, source: FromClause) -> Column:
    """The column of a field as operators take it: those of enums know no domain over one."""
    return compared_alike(field, source.c[field.name])


def compared_alike(field: Field, column: Any) -> Column:
    """The same of any column that has the field's type."""
    domain = field.column is not None and field.column.info.get("domain")
    return sa.cast(column, field.type) if domain and getattr(field.type, "enums", ()) else column


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
    """The named fields as far as reads show them, in their order; or all that reads show."""
    wanted = {name: place for place, name in enumerate(names)}
    shown = [field for field in resource.shown if not wanted or field.name in wanted]
    return sorted(shown, key=lambda field: wanted[field.name]) if wanted else shown


def key_predicate(resource: Resource, source: FromClause) -> Column:
    """The row whose key is in the parameters `key0`, `key1` ..."""
    return sa.and_(
        *(
            comparing(resource.fields[name], source) == _typed(bind(f"key{i}"), compared_as(resource.fields[name]))
            for i, name in enumerate(resource.keys)
        )
    )


def given_keys(resource: Resource) -> Any:
    """The record set of the parameter `keys`, with the place of each key in `cxg_given`."""
    columns = [sa.column(name, travels(resource.fields[name])) for name in resource.keys]
    records = sa.func.json_to_recordset(bind("keys", pg.JSON()))
    given = records.table_valued(*columns, sa.column("cxg_given", sa.Integer()), name="k").render_derived(
        with_types=True
    )
    if not any(resource.fields[name].scalar.keep for name in resource.keys):
        return given
    keys = (kept(resource.fields[name], given.c[name]).label(name) for name in resource.keys)
    return sa.select(*keys, given.c.cxg_given).subquery("kept")


def same_key(resource: Resource, one: Any, other: Any) -> Column:
    """Whether two sources show the same row."""
    fields = (resource.fields[name] for name in resource.keys)
    return sa.and_(*(comparing(field, one) == comparing(field, other) for field in fields))


def entity_id(resource: Resource, source: FromClause) -> Column:
    """The uuid under which the change log knows a row: its uuid key, else a digest of the key's text."""
    if len(resource.keys) == 1 and resource.fields[resource.keys[0]].scalar.name == "uuid":
        return source.c[resource.keys[0]]
    text = sa.func.concat_ws(constant(","), *(source.c[name] for name in resource.keys))
    return sa.cast(sa.func.md5(constant(f"{resource.key}:").op("||")(text)), UUID)


# before anything else in a transaction: what has changed since then cannot be changed by it
ONE_MOMENT = "set transaction isolation level repeatable read"


def locked(statement: Any, resource: Resource, *, going: bool, of: Any = None) -> Any:
    """The rows of a statement are held until the end of the transaction; for those that are `going` those wait too who only
    refer to them. Views that triggers write cannot be locked: their transactions see one moment, and fail at what moved."""
    return statement if resource.triggered else statement.with_for_update(of=of, key_share=not going)


def wall(resource: Resource, source: FromClause, on: bool) -> list[Column]:
    """The first of the two walls: the statement itself names the tenant."""
    return [source.c.tenant_id == bind("tenant", UUID)] if resource.scope.tenant_bound and on else []


LIVING: dict[str, Callable[[Any], Column]] = {
    "false": lambda column: column,
    "true": lambda column: sa.func.coalesce(sa.not_(column), sa.true()),
    "time": lambda column: column.is_(None),
}


def living(resource: Resource, source: FromClause) -> Column:
    """Whether a row counts as there."""
    marks = resource.marks
    found: Column = LIVING[marks.gone](source.c[marks.active]) if marks.active else sa.true()
    return found


def presence(resource: Resource, source: FromClause, deleted: str) -> list[Column]:
    """Which rows count as there."""
    if deleted == "include" or not resource.soft:
        return []
    there = living(resource, source)
    return [there if deleted == "exclude" else sa.not_(there)]


def stored(resource: Resource, source: FromClause) -> list[Any]:
    """All columns of a row, as rules and the engine itself see it."""
    columns: list[Any] = [_told(resource, source.c[field.name], field) for field in resource.columns]
    return columns if resource.versioned else [*columns, version_of(resource, source).label(DIGEST)]


def _told(resource: Resource, column: Any, field: Field) -> Any:
    """A column of a row; of somebody else's table as text, where Python or JSON has no such values: months, years before Christ."""
    if not resource.foreign:
        return column
    if field.scalar.name == "money" and field.scalar.show:  # its own text is that of the server's language
        return field.scalar.show(column).label(field.name)
    exact = isinstance(field.type, Native) or field.scalar.beyond or field.scalar.name in ("time", "array")
    return (sa.cast(column, sa.Text) if exact else column).label(field.name)


def version_of(resource: Resource, source: FromClause) -> Column:
    """What tells this state of a row from another: its version, or a digest of all that it holds. Of a locked row the digest
    is made after the lock is had, so that two writers who know the same state do not both succeed."""
    if resource.versioned:
        return source.c[resource.marks.version]
    row = sa.func.row(*(source.c[field.name] for field in resource.columns))
    found: Column = sa.func.md5(sa.cast(row, sa.Text))
    return found


def _value(field: Field, takes: str, name: str) -> Any:
    target = compared_as(field)
    if takes in ("many", "items"):
        values = bind(name, TEXTS)
        if isinstance(target, sa.LargeBinary):
            one = sa.func.unnest(values).column_valued("one")
            return sa.func.array(sa.select(_typed(one, target)).scalar_subquery())
        return values if isinstance(target, sa.Text) else sa.cast(values, pg.ARRAY(target))
    if takes == "bool":
        return sa.cast(bind(name), sa.Boolean())
    if takes == "two":
        return [_cast(bind(f"{name}a"), target), _cast(bind(f"{name}b"), target)]
    return bind(name) if takes == "text" else _cast(bind(name), target)


def _cast(value: Any, target: Any) -> Any:
    return value if isinstance(target, sa.Text) else _typed(value, target)


def _typed(value: Any, target: Any) -> Any:
    """A text as a value of a type."""
    if isinstance(target, sa.LargeBinary):
        return sa.func.decode(value, BASE64)
    if isinstance(target, Native) and target.scalar.record_type == "numeric":
        return sa.cast(sa.cast(value, sa.Numeric), target)
    return sa.cast(value, target)


def condition(resource: Resource, source: FromClause, asked: Condition, name: str) -> Column:
    """The predicate of one filter; its value is the parameter `name` (`between`: `name`a and `name`b)."""
    field = resource.fields[asked.field]
    return compared(field, field.virtual.compute(source) if field.virtual else comparing(field, source), asked, name)


def compared(field: Field, column: Any, asked: Condition, name: str) -> Column:
    """The same, of anything that has the field's type."""
    operator = OPERATORS[asked.operator]
    if field.item and operator.family == "items":
        # varchar[] and text[] do not compare; a cast to what it is already is none
        column = sa.cast(column, pg.ARRAY(compared_as(field)))
    return operator.build(column, _value(field, operator.takes, name))
