"""Statements that write. One statement changes the rows, writes their audit records and returns what is to be shown.

Rows travel as one JSON record set, so that one row and ten thousand use the same text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.sql import FromClause

from engine.catalog import Catalog, Resource
from engine.fields import Field
from engine.shapes import NO_RULES, ChangeShape, InsertShape, RowRule, Statement
from engine.sql.documents import Scene
from engine.sql.parts import (
    DIALECT,
    TYPES,
    UUID,
    Column,
    bind,
    compile_statement,
    constant,
    entity_id,
    key_predicate,
    same_key,
    wall,
)
from engine.sql.read import Reads

SECRET = "***"
TABLE_NAME = DIALECT.identifier_preparer.format_table
# columns that a creation's record says with its own columns
SAID_BY_THE_RECORD = frozenset({"created_at", "created_by", "updated_at", "updated_by", "is_active"})


class Writes:
    """Builders of writing statements."""

    def __init__(self, catalog: Catalog, reads: Reads, *, walled: bool = True) -> None:
        self.catalog, self.reads, self.walled = catalog, reads, walled

    def insert(self, resource: Resource, shape: InsertShape) -> Statement:
        """Insert the rows of `rows` whose references name active rows; returns (version, document), or all columns."""
        given = self._input(resource, (*resource.keys, *shape.columns), "cxg_ord", "cxg_log", numbered=True)
        values: dict[str, Any] = {
            name: _kept(resource.fields[name], given.c[name]) for name in (*resource.keys, *shape.columns)
        }
        values |= self._engine_values(
            resource, {"created_at", "created_by", "updated_at", "updated_by", "tenant_id", "status"} - set(values)
        )
        source = sa.select(*values.values()).select_from(given).where(*self._alive(resource, given, shape))
        insert = sa.insert(resource.table).from_select(list(values), source, include_defaults=False)
        new = insert.returning(*resource.table.c).cte("new")
        joined = new.join(given, same_key(resource, new, given))
        log = self._log(resource, "create", None, (new, given, joined))
        return self._answer(resource, new, joined, (given, log, shape))

    def _engine_values(self, resource: Resource, names: set[str]) -> dict[str, Any]:
        given: dict[str, Any] = {
            "created_at": bind("now", sa.DateTime(timezone=True)),
            "created_by": bind("actor", UUID),
            "updated_at": bind("now", sa.DateTime(timezone=True)),
            "updated_by": bind("actor", UUID),
        }
        if resource.scope.tenant_bound:
            given["tenant_id"] = bind("tenant", UUID)
        if resource.stateful:
            given["status"] = constant(resource.machine.initial)
        return {name: value for name, value in given.items() if name in names}

    def change(self, resource: Resource, shape: ChangeShape) -> Statement:
        """Change the active rows of `rows` that meet the guards; the old ones are locked first, so that the record of
        each change starts where the previous one ended."""
        table = resource.table
        given = self._input(resource, (*resource.keys, *shape.columns), "cxg_ord", "cxg_log", "cxg_expected")
        row = table.alias("t")
        changed = (*shape.columns, *(("is_active",) if shape.action == "delete" else ()))
        needed = dict.fromkeys((*resource.keys, *changed, "version"))
        old = (
            sa.select(*(row.c[name] for name in needed))
            .where(*self._chosen(resource, row, given, single=shape.single), *self._guards(resource, row, shape))
            .with_for_update(key_share=shape.action != "delete")
            .cte("old")
        )
        values: dict[str, Any] = {name: _kept(resource.fields[name], given.c[name]) for name in shape.columns}
        values |= {
            "version": old.c.version + sa.literal_column("1"),
            "updated_at": bind("now", sa.DateTime(timezone=True)),
            "updated_by": bind("actor", UUID),
        }
        if shape.action == "delete":
            values["is_active"] = sa.false()
        where = [
            same_key(resource, table, old),
            same_key(resource, given, old),
            sa.or_(given.c.cxg_expected.is_(None), given.c.cxg_expected == old.c.version),
        ]
        where += [*wall(resource, table, self.walled), *self._alive(resource, given, shape)]
        new = sa.update(table).values(values).where(*where).returning(*table.c).cte("new")
        joined = new.join(given, same_key(resource, new, given)).join(old, same_key(resource, old, new))
        log = self._log(resource, shape.action, changed, (new, given, joined), old)
        return self._answer(resource, new, joined, (given, log, shape))

    def misfits(self, resource: Resource, rules: frozenset[RowRule]) -> Statement:
        """(cxg_ord) of the rows of `rows` that, as they are going to stand, do not meet the rules."""
        names = tuple(sorted({name for rule in rules for name in rule.columns}))
        given = self._input(resource, names, "cxg_ord")
        columns = [_kept(resource.fields[name], given.c[name]).label(name) for name in names]
        columns += [bind("tenant", UUID).label("tenant_id")] if resource.scope.tenant_bound else []
        row = sa.select(given.c.cxg_ord, *columns).subquery("t")
        fits = sa.func.coalesce(sa.and_(*self._scene(rules).owned(resource, row)), sa.false())
        return compile_statement(sa.select(row.c.cxg_ord).where(sa.not_(fits)))

    def _chosen(self, resource: Resource, row: Any, given: Any, *, single: bool) -> list[Column]:
        walls = wall(resource, row, self.walled)
        if single:
            return [key_predicate(resource, row), *walls]
        if resource.by_uuid:
            return [row.c.id == sa.any_(bind("keys", pg.ARRAY(UUID))), *walls]
        return [
            sa.exists(sa.select(sa.literal_column("1")).select_from(given).where(same_key(resource, given, row))),
            *walls,
        ]

    def _guards(self, resource: Resource, row: Any, shape: ChangeShape) -> list[Column]:
        available: dict[str, Callable[[], Column]] = {
            "active": lambda: row.c.is_active,
            "inactive": lambda: sa.not_(row.c.is_active),
            "from": lambda: row.c.status == sa.any_(bind("sources", pg.ARRAY(sa.Text))),
            "unlocked": lambda: row.c.status == constant(resource.machine.initial),
            "unreferenced": lambda: sa.not_(self.reads.referred(resource, row, self.restricting(resource))),
            "header": lambda: self._header_open(resource, row),
            "own": lambda: sa.and_(*self._scene(shape.own).owned(resource, row)),
        }
        return [available[name]() for name in shape.guards]

    def restricting(self, resource: Resource) -> tuple[Any, ...]:
        """References whose active rows forbid the deletion."""
        return tuple(
            r for r in self.catalog.incoming.get(resource.path, ()) if r.on_delete in ("RESTRICT", "NO ACTION")
        )

    def _header_open(self, resource: Resource, row: Any) -> Column:
        assert resource.entity.parent is not None
        header = self.catalog.find(resource.scope.name, resource.entity.parent[0])
        return self.reads.header_status(resource, row) == constant(header.machine.initial)  # type: ignore[no-any-return]

    def _scene(self, own: frozenset[RowRule] = NO_RULES) -> Scene:
        return Scene(self.catalog, walled=self.walled, own=own)

    def _alive(self, resource: Resource, given: FromClause, shape: InsertShape | ChangeShape) -> list[Column]:
        """Each reference is empty or names an active row of the same tenant that exists for the caller; a line's header is
        still open."""
        found = []
        for name in shape.checked:
            target = self.reads.catalog_table(resource, name)
            parent = target.table.alias()
            link = parent.c[resource.fields[name].target] == given.c[name]
            alive: Any = sa.select(sa.literal_column("1")).where(
                link,
                parent.c.is_active,
                *wall(target, parent, self.walled),
                *self._scene(shape.seen).owned(target, parent),
            )
            if (
                resource.entity.parent
                and resource.entity.parent[1] == name
                and target.stateful
                and target.entity.kind == "document"
            ):
                alive = alive.where(parent.c.status == constant(target.machine.initial))
            found.append(sa.or_(given.c[name].is_(None), sa.exists(alive.correlate(given))))
        return found

    def _input(self, resource: Resource, names: tuple[str, ...], *extra: str, numbered: bool = False) -> Any:
        """The record set of the rows; `numbered`: a key that the database makes is drawn here, so that the audit record has it."""
        types: dict[str, Any] = {"cxg_ord": sa.Integer(), "cxg_log": UUID, "cxg_expected": sa.Integer()}
        types = {name: types[name] for name in extra}
        columns = [sa.column(name, TYPES[resource.fields[name].scalar.record_type]) for name in dict.fromkeys(names)]
        columns += [sa.column(name, type_) for name, type_ in types.items()]
        rows = sa.func.json_to_recordset(bind("rows", pg.JSON(none_as_null=True)))
        given = rows.table_valued(*columns, name="i").render_derived(with_types=True)
        return sa.select(*(_drawn(resource, name, c) if numbered else c for name, c in given.c.items())).cte("given")

    def _answer(
        self, resource: Resource, new: Any, joined: Any, parts: tuple[Any, Any, InsertShape | ChangeShape]
    ) -> Statement:
        given, log, shape = parts
        columns = (
            [given.c.cxg_ord]
            if shape.internal is None
            else (
                [new.c[f.name] for f in resource.columns]
                if shape.internal
                else [new.c.version, self._scene(shape.seen).document(resource, new)]
            )
        )
        statement = sa.select(*columns).select_from(joined).order_by(given.c.cxg_ord)
        return compile_statement(statement.add_cte(log) if log is not None else statement)

    def _log(
        self,
        resource: Resource,
        action: str,
        changed: tuple[str, ...] | None,
        parts: tuple[Any, Any, Any],
        old: Any = None,
    ) -> Any:
        log = self.catalog.roles.get((resource.scope.name, "change_log"))
        if log is None or log is resource:
            return None
        new, given, joined = parts
        # a change may change nothing: then the record says the new version alone
        names = changed if changed is not None else self._told(resource)
        changes = self._changes(resource, dict.fromkeys((*names, "version")), new, old)
        values = {
            **self._circumstances(resource, new),
            "id": given.c.cxg_log,
            "action": constant(action),
            "changes": changes,
        }
        values = {name: value for name, value in values.items() if name in log.table.c}
        source = sa.select(*values.values()).select_from(joined)
        return sa.insert(log.table).from_select(list(values), source, include_defaults=False).cte("log")

    def _told(self, resource: Resource) -> tuple[str, ...]:
        """Columns of a creation's record."""
        return tuple(field.name for field in resource.columns if field.name not in SAID_BY_THE_RECORD)

    def _circumstances(self, resource: Resource, new: Any) -> dict[str, Any]:
        """What a record says beside the change: who, when, from where, and which row."""
        stamp = bind("now", sa.DateTime(timezone=True))
        return {
            "occurred_at": stamp,
            "created_at": stamp,
            "updated_at": stamp,
            "created_by": bind("actor", UUID),
            "scope": constant("tenant" if resource.scope.tenant_bound else "manager"),
            "tenant_id": self._tenant_of(resource, new),
            "actor_id": bind("actor", UUID),
            "actor_email": bind("actor_email"),
            "domain": constant(resource.entity.domain),
            "entity": constant(resource.entity.name),
            "entity_id": entity_id(resource, new),
            "outcome": constant("ok"),
            "ip": bind("ip"),
            "user_agent": bind("user_agent"),
            "request_id": bind("request_id"),
        }

    def _tenant_of(self, resource: Resource, new: Any) -> Any:
        if resource.scope.tenant_bound:
            return bind("tenant", UUID)
        return new.c.tenant_id if "tenant_id" in new.c else sa.null()

    def _changes(self, resource: Resource, names: Any, new: Any, old: Any) -> Column:
        if old is None:
            pairs = [
                (name, sa.func.jsonb_build_array(sa.null(), self._logged(resource.fields[name], new))) for name in names
            ]
            return _merged([_object(pairs[start : start + 40]) for start in range(0, len(pairs), 40)])
        parts = []
        for name in names:
            field = resource.fields[name]
            pair = sa.func.jsonb_build_array(self._logged(field, old), self._logged(field, new))
            same = old.c[name].is_not_distinct_from(new.c[name])
            parts.append(sa.case((same, sa.literal_column("'{}'::jsonb")), else_=_object([(name, pair)])))
        return _merged(parts)

    def _logged(self, field: Field, source: Any) -> Any:
        column = source.c[field.name]
        if field.hidden or field.encrypted:
            return sa.case((column.is_(None), None), else_=constant(SECRET))
        return field.scalar.show(column) if field.scalar.show else column


def _object(pairs: list[tuple[str, Any]]) -> Any:
    return sa.func.jsonb_build_object(
        *(part for name, value in pairs for part in (constant(name), value)), type_=pg.JSONB
    )


def _merged(parts: list[Any]) -> Column:
    merged: Column = parts[0]
    for part in parts[1:]:
        merged = merged.op("||")(part)
    return merged


def _kept(field: Field, value: Any) -> Any:
    kept = field.scalar.keep(value, field.type) if field.scalar.keep else value
    # what the database computes or numbers by itself has no expression to repeat here
    server = getattr(field.column.server_default, "arg", None) if field.column is not None else None
    return sa.func.coalesce(kept, server) if server is not None and not field.nullable else kept


def _drawn(resource: Resource, name: str, column: Any) -> Any:
    if name not in resource.keys or not resource.fields[name].generated:
        return column
    sequence = sa.func.pg_get_serial_sequence(constant(TABLE_NAME(resource.table)), constant(name))
    return sa.func.coalesce(column, sa.func.nextval(sa.cast(sequence, pg.REGCLASS))).label(name)
