"""A table as it was at the moment `as_of`: its rows of today with every later change taken back. It is a source of rows like the
table itself, so that all else of a statement is built as it always is.

Rows without a later record in the change log are read as they stand, through the table's own indexes. The others are rebuilt: a
record holds the old and the new value of each column that changed, and of a row's later records the oldest that names a column
has the value it had. Their order is that of the versions: two writers may ask the clock in one order and write in the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.sql import FromClause, visitors

from engine.catalog import Catalog, Resource
from engine.fields import Field
from engine.past import log_of
from engine.sql.parts import UUID, Column, bind, constant, entity_id, wall

NULL: Column = sa.literal_column("'null'::jsonb", pg.JSONB())
OLD: Column = sa.literal_column("0")
NEW: Column = sa.literal_column("1")
VERSION = constant("version")
MOMENT = bind("as_of", sa.DateTime(timezone=True))
NEVER_CHANGED = frozenset({"tenant_id", "created_at"})
# what computed values take for the time at which they are asked for
THEN = {"now": MOMENT, "today": bind("as_of_day", sa.Date())}


class Past:
    """The past of the tables of one statement: each is described once, however often it is read."""

    def __init__(self, catalog: Catalog, *, walled: bool) -> None:
        self.catalog, self.walled = catalog, walled
        self.known: dict[tuple[str, bool], Any] = {}

    def source(self, resource: Resource, name: str | None = None, *, narrow: bool = False) -> FromClause:
        """An alias of the table as it was. `narrow`: a row at a time is asked for by its key, and its own records are looked
        up; else all later records are gone through, once a statement."""
        key = (resource.path, narrow)
        if key not in self.known:
            self.known[key] = self._table(resource, narrow=narrow)
        alias: Any = self.known[key].alias(name)
        # for those who look further into the table than at this row of it: trees
        alias.whole = self.known[key]
        return alias  # type: ignore[no-any-return]

    def _table(self, resource: Resource, *, narrow: bool) -> Any:
        log, number = log_of(self.catalog, resource), len(self.known)
        assert log is not None, "the reader of the query has made sure"
        rebuilding = _Rebuilding(resource, log, walled=self.walled)
        before = rebuilding.changed(narrow=narrow).cte(f"before_{number}")
        before = before.prefix_with("NOT MATERIALIZED" if narrow else "MATERIALIZED")
        whole: Any = rebuilding.unchanged().union_all(sa.select(*before.c)).cte(f"past_{number}")
        whole = whole.prefix_with("NOT MATERIALIZED")
        whole.info = resource.table.info
        return whole

    def computed(self, value: Any) -> Any:
        """A computed value as it was: the tables that it looks into, and its time, are those of the moment."""
        by_table = {resource.table: resource for resource in self.catalog.resources.values()}
        found: dict[Any, FromClause] = {}

        def past_of(source: Any) -> FromClause | None:
            table = source.element if isinstance(source, sa.Alias) else source
            resource = by_table.get(table) if isinstance(table, sa.Table) else None
            if resource is None or log_of(self.catalog, resource) is None:
                return None
            if source not in found:
                found[source] = self.source(resource)
            return found[source]

        def replace(element: Any, **_: Any) -> Any:
            if isinstance(element, sa.BindParameter):
                return THEN.get(element.key)
            if hasattr(element, "whole"):  # the row itself, as it was
                return element
            if isinstance(element, sa.Column):
                past = past_of(element.table)
                return None if past is None else past.c[element.name]
            return past_of(element) if isinstance(element, (sa.Table, sa.Alias)) else None

        return visitors.replacement_traverse(value, {}, replace)


class _Rebuilding:
    """The two halves of a table as it was."""

    def __init__(self, resource: Resource, log: Resource, *, walled: bool) -> None:
        self.resource, self.log, self.walled = resource, log, walled
        self.row = resource.table.alias("r")
        self.there = [self.row.c.created_at <= MOMENT, *wall(resource, self.row, walled)]

    def unchanged(self) -> Any:
        """The rows that stand as they stood."""
        later = self.log.table.alias("l")
        changed: Any = (
            sa.select(sa.literal_column("1")).where(*self._later(later), *self._of_row(later)).correlate(self.row)
        )
        columns = (self.row.c[field.name] for field in self.resource.columns)
        return sa.select(*columns).where(*self.there, sa.not_(sa.exists(changed)))

    def changed(self, *, narrow: bool) -> Any:
        """The rows that have changed since, as they were."""
        undone = self._undone(narrow=narrow)
        columns = [self._column(field, undone).label(field.name) for field in self.resource.columns]
        return sa.select(*columns).select_from(self.row, undone).where(*self.there, *self._of_row(undone))

    # -- records

    def _records(self, log: Any) -> list[Column]:
        return [
            log.c.domain == constant(self.resource.entity.domain),
            log.c.entity == constant(self.resource.entity.name),
            *wall(self.log, log, self.walled),
        ]

    def _later(self, log: Any) -> list[Column]:
        """Records of changes after the moment; what only tells of a row's beginning, or of an export, has no old version."""
        return [*self._records(log), log.c.occurred_at > MOMENT, _version(log, OLD).is_not(None)]

    def _of_row(self, source: Any) -> list[Column]:
        """Whether the log, or what is gathered from it, speaks of the row."""
        same = [source.c.entity_id == entity_id(self.resource, self.row)]
        return [*same, source.c.tenant_id == self.row.c.tenant_id] if self.resource.scope.tenant_bound else same

    def _undone(self, *, narrow: bool) -> Any:
        """By row: its version at the moment, the values that were replaced since, and who made that version, when."""
        first, log = self._first().subquery("s"), self.log.table.alias("l")
        each = sa.func.jsonb_each(log.c.changes).table_valued(
            sa.column("key", sa.Text()), sa.column("value", pg.JSONB()), name="e"
        )
        version = _version(log, NEW)
        since, made = version > first.c.version, version == first.c.version
        oldest_last = pg.aggregate_order_by(each.c.value.op("->")(OLD), version.desc())
        actor = log.c.actor_id if "actor_id" in log.c else sa.null()
        columns = [
            sa.func.jsonb_object_agg(each.c.key, oldest_last, type_=pg.JSONB()).filter(since).label("old"),
            sa.func.max(log.c.occurred_at).filter(made).label("made_at"),
            sa.func.array_agg(actor, type_=pg.ARRAY(UUID)).filter(made)[NEW].label("made_by"),
        ]
        same = [log.c[name] == first.c[name] for name in self._row_names()]
        # of the record that made the version, one line is enough
        wanted = sa.or_(since, sa.and_(made, each.c.key == VERSION))
        gathered = sa.select(*first.c, *columns).select_from(log, first, each).group_by(*first.c)
        gathered = gathered.where(*self._records(log), *same, wanted)
        if not narrow:
            return gathered.subquery("u")
        return gathered.where(*self._of_row(log)).correlate(self.row).lateral("u")

    def _first(self) -> Any:
        """By row with later records: the version that the oldest of them found."""
        log = self.log.table.alias("f")
        names = [log.c[name] for name in self._row_names()]
        oldest = sa.func.min(_version(log, OLD)).label("version")
        return sa.select(*names, oldest).where(*self._later(log)).group_by(*names)

    def _row_names(self) -> list[str]:
        return ["entity_id", "tenant_id"] if self.resource.scope.tenant_bound else ["entity_id"]

    # -- columns

    def _column(self, field: Field, undone: Any) -> Any:
        now = self.row.c[field.name]
        if field.name in SAID_OTHERWISE:
            return SAID_OTHERWISE[field.name](self.row, undone)
        if field.name in self.resource.keys or field.name in NEVER_CHANGED:
            return now
        old = undone.c.old
        if field.hidden and not field.encrypted:
            # the log keeps of them only whether there was a value: where one was replaced, today's stands in for it
            return sa.case((old.op("->")(constant(field.name)) == NULL, None), else_=now)
        return sa.case((old.op("?", is_comparison=True)(constant(field.name)), _restored(field, old)), else_=now)


def _version(log: Any, place: Column) -> Any:
    return sa.cast(log.c.changes.op("->")(VERSION).op("->>")(place), sa.Integer)


def _restored(field: Field, old: Any) -> Any:
    """A value as the log has it, as its column had it."""
    assert field.column is not None
    kept, name = field.scalar.keep or (lambda value, _type: value), constant(field.name)
    if field.scalar.record_type != "jsonb":
        return sa.cast(kept(sa.type_coerce(old.op("->>")(name), sa.Text()), field.type), field.column.type)
    value = old.op("->")(name)
    # what no write can leave empty was a null of JSON
    value = (
        value if field.scalar.name == "jsonb" and not field.nullable else sa.func.nullif(value, NULL, type_=pg.JSONB())
    )
    return sa.cast(kept(value, field.type), field.column.type)


# columns of which a record says something else than a pair of values
SAID_OTHERWISE: dict[str, Callable[[Any, Any], Any]] = {
    "version": lambda row, undone: undone.c.version,
    "updated_at": lambda row, undone: sa.func.coalesce(undone.c.made_at, row.c.created_at),
    "updated_by": lambda row, undone: sa.case((undone.c.made_at.is_(None), row.c.created_by), else_=undone.c.made_by),
}
