"""Statements that write. One statement changes the rows, writes their audit records and returns what is to be shown.

Rows travel as one JSON record set, so that one row and ten thousand use the same text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.sql import FromClause

from engine.catalog import Catalog, Resource
from engine.fields import Field
from engine.scalars import Native
from engine.shapes import NO_RULES, ChangeShape, InsertShape, RowRule, Statement
from engine.sql.documents import Scene
from engine.sql.parts import (
    DIALECT,
    DIGEST,
    LEFT,
    UUID,
    Column,
    bind,
    compile_statement,
    constant,
    entity_id,
    kept,
    key_predicate,
    living,
    locked,
    presence,
    same_key,
    stored,
    travels,
    version_of,
    wall,
)
from engine.sql.read import Reads

SECRET = "***"
# by `Marks.gone`: what the column of soft delete holds of a row that is there, and of one that is not (else the time)
THERE: dict[str, Any] = {"false": sa.true(), "true": sa.false(), "time": sa.null()}
GONE: dict[str, Any] = {"false": sa.false(), "true": sa.true()}
TABLE_NAME = DIALECT.identifier_preparer.format_table
# a function of PostgreSQL takes a hundred arguments at most
PER_CALL = 90
# columns that a creation's record says with its own columns
SAID_BY_THE_RECORD = frozenset({"created_at", "created_by", "updated_at", "updated_by", "is_active"})


class Writes:
    """Builders of writing statements."""

    def __init__(self, catalog: Catalog, reads: Reads, *, walled: bool = True) -> None:
        self.catalog, self.reads, self.walled = catalog, reads, walled

    def insert(self, resource: Resource, shape: InsertShape) -> Statement:
        """Insert the rows of `rows` whose references name active rows; returns (version, document), or all columns."""
        names = shape.columns if resource.foreign else (*resource.keys, *shape.columns)
        given = self._input(resource, names, "cxg_ord", "cxg_log", *((LEFT,) if resource.silent else ()))
        values: dict[str, Any] = {name: _filled(resource.fields[name], given.c[name]) for name in names}
        for name in resource.silent & values.keys():
            values[name] = _unless_left(resource.fields[name], given, values[name])
        values |= self._engine_values(resource, values)
        source = sa.select(*values.values()).select_from(given).where(*_as_one(self._alive(resource, given, shape)))
        source = source.order_by(given.c.cxg_ord) if resource.foreign else source
        columns = [resource.table.c[name] for name in values]
        insert = sa.insert(resource.table).from_select(columns, source, include_defaults=False)
        new: Any = insert.returning(*resource.table.c).cte("new")
        if resource.foreign:
            # keys may be made by defaults and triggers: rows come back in the order in which they went
            place = sa.func.row_number().over().label("cxg_place")
            new = sa.select(*new.c, place).cte("placed")
            joined = new.join(given, new.c.cxg_place == given.c.cxg_ord + sa.literal_column("1"))
        else:
            joined = new.join(given, same_key(resource, new, given))
        log = self._log(resource, "create", None, (new, given, joined))
        return self._answer(resource, new, joined, (given, log, shape))

    def _engine_values(self, resource: Resource, known: Collection[str]) -> dict[str, Any]:
        """What a new row has beside what is given."""
        marks = resource.marks
        given: dict[str, Any] = {
            marks.created_at: _now(resource, marks.created_at),
            marks.created_by: _actor(resource, marks.created_by),
            **self._touched(resource),
        }
        if resource.scope.tenant_bound:
            given["tenant_id"] = bind("tenant", UUID)
        if resource.stateful:
            given["status"] = constant(resource.machine.initial)
        if resource.foreign:
            given |= {marks.version: sa.literal_column("1"), marks.active: THERE[marks.gone]}
        return {name: value for name, value in given.items() if name and name not in known}

    def _touched(self, resource: Resource) -> dict[str, Any]:
        """Who wrote the row, and when."""
        marks = resource.marks
        given = {
            marks.updated_at: _now(resource, marks.updated_at),
            marks.updated_by: _actor(resource, marks.updated_by),
        }
        return {name: value for name, value in given.items() if name}

    def change(self, resource: Resource, shape: ChangeShape) -> Statement:
        """Change the active rows of `rows` that meet the guards; the old ones are locked first, so that the record of
        each change starts where the previous one ended."""
        table, marks = resource.table, resource.marks
        left = (LEFT,) if resource.silent else ()
        given = self._input(resource, (*resource.keys, *shape.columns), "cxg_ord", "cxg_log", "cxg_expected", *left)
        row = table.alias("t")
        going = shape.action == "delete"
        changed = (*shape.columns, *((marks.active,) if going and marks.active else ()))
        needed = dict.fromkeys((*resource.keys, *changed, *((marks.version,) if marks.version else ())))
        version = () if marks.version else (version_of(resource, row).label(DIGEST),)
        old = sa.select(*(row.c[name] for name in needed), *version).where(
            *self._chosen(resource, row, given, single=shape.single), *self._guards(resource, row, shape)
        )
        old = locked(old, resource, going=going).cte("old")
        known = old.c[marks.version or DIGEST]
        where = [
            same_key(resource, table, old),
            same_key(resource, given, old),
            sa.or_(given.c.cxg_expected.is_(None), given.c.cxg_expected == known),
        ]
        where += [*wall(resource, table, self.walled), *self._alive(resource, given, shape)]
        # what came with a row and what it was come out with it: joined again, ten thousand rows may be compared with each other,
        # since PostgreSQL expects one of them
        beside = [given.c.cxg_ord, given.c.cxg_log]
        if going and not resource.soft:
            new = sa.delete(table).where(*where).returning(*table.c, *beside).cte("new")
            log = self._log(resource, shape.action, None, (None, new, new), new)
            return self._answer(resource, new, new, (new, log, shape))
        values = self._changed(resource, shape, given, known)
        called = {name: f"cxg_was_{place}" for place, name in enumerate(needed)}
        beside += [old.c[name].label(label) for name, label in called.items()]
        new = sa.update(table).values(values).where(*where).returning(*table.c, *beside).cte("new")
        was = SimpleNamespace(c={name: new.c[label] for name, label in called.items()})
        log = self._log(resource, shape.action, changed, (new, new, new), was)
        return self._answer(resource, new, new, (new, log, shape))

    def misfits(self, resource: Resource, rules: frozenset[RowRule]) -> Statement:
        """(cxg_ord) of the rows of `rows` that, as they are going to stand, do not meet the rules."""
        names = tuple(sorted({name for rule in rules for name in rule.columns}))
        given = self._input(resource, names, "cxg_ord")
        tenant = [bind("tenant", UUID).label("tenant_id")] if resource.scope.tenant_bound else []
        row = sa.select(given.c.cxg_ord, *(given.c[name] for name in names), *tenant).subquery("t")
        fits = sa.func.coalesce(sa.and_(*self._scene(rules).owned(resource, row)), sa.false())
        return compile_statement(sa.select(row.c.cxg_ord).where(sa.not_(fits)))

    def _changed(self, resource: Resource, shape: ChangeShape, given: Any, known: Any) -> dict[str, Any]:
        """What the columns become. `known` is the version before."""
        marks = resource.marks
        values: dict[str, Any] = {name: _filled(resource.fields[name], given.c[name]) for name in shape.columns}
        for name in resource.silent & values.keys():
            values[name] = _unless_left(resource.fields[name], given, values[name])
        values |= {marks.version: known + sa.literal_column("1")} if marks.version else {}
        values |= self._touched(resource)
        if shape.action == "delete":
            values[marks.active] = GONE.get(marks.gone, _now(resource, marks.active))
        if not values:
            # a body that says nothing still answers the row
            name = next((field.name for field in resource.columns if field.updatable), resource.keys[0])
            values[name] = resource.table.c[name]
        return values

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
            "active": lambda: living(resource, row),
            "inactive": lambda: sa.not_(living(resource, row)),
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
            there = [*presence(target, parent, "exclude"), *wall(target, parent, self.walled)]
            there += self._scene(shape.seen).owned(target, parent)
            alive: Any = sa.select(sa.literal_column("1")).where(link, *there)
            if (
                resource.entity.parent
                and resource.entity.parent[1] == name
                and target.stateful
                and target.entity.kind == "document"
            ):
                alive = alive.where(parent.c.status == constant(target.machine.initial))
            found.append(sa.or_(given.c[name].is_(None), sa.exists(alive.correlate(given))))
        return found

    def _input(self, resource: Resource, names: tuple[str, ...], *extra: str) -> Any:
        """The record set of the rows, as their columns have them. A key that the database makes is drawn here, so that the audit
        record has it."""
        numbered = "cxg_log" in extra and "cxg_expected" not in extra and not resource.foreign
        types: dict[str, Any] = {"cxg_ord": sa.Integer(), "cxg_log": UUID, LEFT: pg.JSONB()}
        types["cxg_expected"] = sa.Integer() if resource.versioned else sa.Text()
        types = {name: types[name] for name in extra}
        columns = [sa.column(name, travels(resource.fields[name])) for name in dict.fromkeys(names)]
        columns += [sa.column(name, type_) for name, type_ in types.items()]
        rows = sa.func.json_to_recordset(bind("rows", pg.JSON(none_as_null=True)))
        given = rows.table_valued(*columns, name="i").render_derived(with_types=True)
        kept_as = {n: kept(resource.fields[n], c).label(n) if n in names else c for n, c in given.c.items()}
        return sa.select(*(_drawn(resource, n, c) if numbered else c for n, c in kept_as.items())).cte("given")

    def _answer(
        self, resource: Resource, new: Any, joined: Any, parts: tuple[Any, Any, InsertShape | ChangeShape]
    ) -> Statement:
        given, log, shape = parts
        if shape.internal is None:
            statement: Any = sa.select(sa.literal_column("1")).select_from(new)
        else:
            whole = stored(resource, new)
            shown = [version_of(resource, new), self._scene(shape.seen).document(resource, new)]
            statement = sa.select(*(whole if shape.internal else shown))
            statement = statement.select_from(joined).order_by(given.c.cxg_ord)
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
        version = resource.marks.version
        changes = self._changes(resource, dict.fromkeys((*names, *((version,) if version else ()))), new, old)
        values = {
            **self._circumstances(resource, old if new is None else new),
            "id": given.c.cxg_log,
            "action": constant(action),
            "changes": changes,
        }
        values = {name: value for name, value in values.items() if name in log.table.c}
        source = sa.select(*values.values()).select_from(joined)
        return sa.insert(log.table).from_select(list(values), source, include_defaults=False).cte("log")

    def _told(self, resource: Resource) -> tuple[str, ...]:
        """Columns of a creation's record."""
        if resource.foreign:
            return tuple(field.name for field in resource.columns)
        return tuple(field.name for field in resource.columns if field.name not in SAID_BY_THE_RECORD)

    def _circumstances(self, resource: Resource, new: Any) -> dict[str, Any]:
        """What a record says beside the change: who, when, from where, and which row."""
        stamp = bind("now", sa.DateTime(timezone=True))
        return {
            "occurred_at": stamp,
            "created_at": stamp,
            "updated_at": stamp,
            "created_by": bind("actor", UUID),
            "scope": constant(resource.scope.side),
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
            return _first([(name, self._logged(resource.fields[name], new)) for name in names])
        if new is None:
            pairs = [(n, sa.func.jsonb_build_array(self._logged(resource.fields[n], old), sa.null())) for n in names]
            return _merged([_object(pairs[start : start + 40]) for start in range(0, len(pairs), 40)])
        parts = []
        for name in names:
            field = resource.fields[name]
            pair = sa.func.jsonb_build_array(self._logged(field, old), self._logged(field, new))
            same = _comparable(field, old).is_not_distinct_from(_comparable(field, new))
            parts.append(sa.case((same, sa.literal_column("'{}'::jsonb")), else_=_object([(name, pair)])))
        return _merged(parts)

    def _logged(self, field: Field, source: Any) -> Any:
        column = source.c[field.name]
        if field.hidden or field.encrypted:
            return sa.case((column.is_(None), None), else_=constant(SECRET))
        return field.scalar.show(column) if field.scalar.show else column


def _as_one(conditions: list[Column]) -> list[Column]:
    """The conditions as one, so that PostgreSQL does not expect of each that it keeps half of the rows out."""
    return [sa.case((sa.and_(*conditions), sa.true()), else_=sa.false())] if len(conditions) > 1 else conditions


def _object(pairs: list[tuple[str, Any]]) -> Any:
    return sa.func.jsonb_build_object(
        *(part for name, value in pairs for part in (constant(name), value)), type_=pg.JSONB
    )


def _first(pairs: list[tuple[str, Any]]) -> Column:
    """The record of a creation, `{name: [null, value]}`. Put together as a text and read once, since building it of jsonb values
    costs PostgreSQL twice as much."""
    parts: list[Any] = []
    for place, (name, value) in enumerate(pairs):
        shown = sa.func.coalesce(sa.cast(sa.func.to_json(value), sa.Text), constant("null"))
        parts += [constant(f"{'],' if place else '{'}{json.dumps(name, ensure_ascii=False)}:[null,"), shown]
    texts = [sa.func.concat(*parts[start : start + PER_CALL]) for start in range(0, len(parts), PER_CALL)]
    return sa.cast(sa.func.concat(*texts, constant("]}")), pg.JSONB)


def _comparable(field: Field, source: Any) -> Any:
    """A column to be compared: not every type of other people's databases knows what is equal."""
    column = source.c[field.name]
    return sa.cast(column, sa.Text) if isinstance(field.type, Native) else column


def _merged(parts: list[Any]) -> Column:
    merged: Column = parts[0] if parts else sa.literal_column("'{}'::jsonb")
    for part in parts[1:]:
        merged = merged.op("||")(part)
    return merged


def _filled(field: Field, value: Any) -> Any:
    # what the database computes or numbers by itself has no expression to repeat here
    server = getattr(field.column.server_default, "arg", None) if field.column is not None else None
    return sa.func.coalesce(value, server) if server is not None and not field.nullable else value


def _unless_left(field: Field, given: Any, value: Any) -> Any:
    """The value; the column's own default in a row that does not give it."""
    default: Any = field.column.server_default if field.column is not None else None
    return sa.case((given.c[LEFT].op("?", is_comparison=True)(constant(field.name)), default.arg), else_=value)


def _now(resource: Resource, name: str) -> Any:
    """The moment of the request, as the column takes it."""
    moment = bind("now", sa.DateTime(timezone=True))
    kind = resource.table.c[name].type if resource.foreign and name else None
    return moment if kind is None else sa.cast(moment, kind)


def _actor(resource: Resource, name: str) -> Any:
    """The caller: his id, or his address in somebody else's column of texts."""
    kind = resource.table.c[name].type if resource.foreign and name else UUID
    return bind("actor", UUID) if isinstance(kind, sa.Uuid) else bind("actor_email")


def _drawn(resource: Resource, name: str, column: Any) -> Any:
    if name not in resource.keys or not resource.fields[name].generated:
        return column
    sequence = sa.func.pg_get_serial_sequence(constant(TABLE_NAME(resource.table)), constant(name))
    return sa.func.coalesce(column, sa.func.nextval(sa.cast(sequence, pg.REGCLASS))).label(name)
