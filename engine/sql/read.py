"""Statements that read: get, list, history, and the questions asked when a write found no row."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from engine.catalog import Catalog, Reference, Resource
from engine.entity import Period, Unique
from engine.filters import TEXTS
from engine.scalars import Native
from engine.shapes import NO_RULES, FacetShape, GetShape, GroupShape, Limited, ListShape, RowRule, Statement
from engine.sql import groups, sets
from engine.sql.documents import Scene, shows_place
from engine.sql.exports import Rendering, rows_of
from engine.sql.keyset import Term, cut, ordering, rendered
from engine.sql.parts import (
    TYPES,
    UNMASKED,
    UUID,
    bind,
    compared_as,
    compile_statement,
    constant,
    entity_id,
    given_keys,
    key_predicate,
    living,
    locked,
    presence,
    same_key,
    stored,
    version_of,
    wall,
)
from engine.sql.search import by_rank, matches, rank_of

FREE = Limited()
ESTIMATE_ABOVE = 10_000
# of the change log: a column and its type
LOG_ORDER = (("occurred_at", "timestamptz"), ("id", "uuid"))


class Reads:
    """Builders of reading statements. `walled` False is the isolation tests' switch for the first wall."""

    def __init__(self, catalog: Catalog, *, walled: bool = True) -> None:
        self.catalog, self.walled = catalog, walled
        # scopes whose database compares texts by their trigrams; the door asks them before the first request
        self.similar: Collection[str] = ()

    def get(self, resource: Resource, shape: GetShape) -> Statement:
        """(version, document) of one row."""
        scene = self._scene(shape.own, past=shape.past)
        row = scene.source(resource, "t", narrow=True)
        statement = sa.select(version_of(resource, row), scene.document(resource, row, shape.fields, shape.expand))
        return compile_statement(
            statement.where(
                key_predicate(resource, row),
                *wall(resource, row, self.walled),
                *presence(resource, row, shape.deleted),
                *scene.owned(resource, row),
            )
        )

    def reread(self, resource: Resource, seen: frozenset[RowRule] = NO_RULES) -> Statement:
        """(version, document) of the rows of `keys`, in that order: what a write with hooks answers."""
        row = resource.table.alias("t")
        rendered = self._scene(seen).document(resource, row)
        statement = sa.select(version_of(resource, row), rendered).where(*wall(resource, row, self.walled))
        if not resource.by_uuid:
            given = given_keys(resource)
            return compile_statement(statement.join(given, same_key(resource, given, row)).order_by(given.c.cxg_given))
        keys = sa.func.unnest(bind("keys", pg.ARRAY(UUID)))
        placed = keys.table_valued(sa.column("id", UUID), with_ordinality="place", name="k").render_derived()
        return compile_statement(statement.join(placed, placed.c.id == row.c.id).order_by(placed.c.place))

    def listing(self, resource: Resource, shape: ListShape) -> Statement:
        """(total or null, and what `rendered` gives) of one page: `limit` rows from `offset` on, or after the place `c0` ..."""
        scene = self._scene(shape.own, past=shape.past)
        row = scene.source(resource, "t")
        where = self._where(resource, row, shape, scene)
        terms = self._terms(resource, row, shape, scene)
        total = self._total(row, where, shape)
        placed = by_rank(shape) or not shows_place(resource, shape.sort, shape.fields)
        if shape.expand:
            # relations are looked up for the rows of the page alone, not for those that OFFSET skips
            row = cut(sa.select(row).where(*where), terms, shape.after).subquery("p")
            terms = self._terms(resource, row, shape, scene)
            page = sa.select(*scene.columns(resource, row, shape.fields, shape.expand))
            source, columns = rendered(page.order_by(*ordering(terms)), terms, placed=placed)
        else:
            query = sa.select(*scene.columns(resource, row, shape.fields)).where(*where)
            source, columns = rendered(cut(query, terms, shape.after), terms, placed=placed)
        return compile_statement(sa.select(total, *columns).select_from(source))

    def export(self, resource: Resource, shape: ListShape, rendering: Rendering) -> Statement:
        """(text,) of every row of a list, without page or total; a cursor called `export` gives them."""
        scene = self._scene(shape.own, past=shape.past)
        row = scene.source(resource, "t")
        where = self._where(resource, row, shape, scene)
        order = ordering(self._terms(resource, row, shape, scene))
        plain = compile_statement(rows_of(scene, resource, shape, (row, where, order), rendering))
        return Statement(f"DECLARE export NO SCROLL CURSOR FOR {plain.text}", plain.order)

    def grouped(self, resource: Resource, shape: GroupShape) -> Statement:
        """(groups as JSON texts, how many there are or null) of one page."""
        scene = self._scene(shape.rows.own, past=shape.rows.past)
        row = scene.source(resource, "t")
        where = self._where(resource, row, shape.rows, scene)
        return compile_statement(groups.grouped(scene, resource, shape, (row, where)))

    def facets(self, resource: Resource, shape: FacetShape) -> Statement:
        """(JSON text,) of how often each value of some fields occurs. The conditions of all of them are numbered on."""
        scene = self._scene(shape.parts[0][1].own, past=shape.parts[0][1].past)
        parts = []
        for place, (path, rows) in enumerate(shape.parts):
            row = scene.source(resource, f"t{place}")
            parts.append((path, (row, self._where(resource, row, rows, scene))))
        return compile_statement(groups.facets(scene, resource, parts))

    def _total(self, row: Any, where: list[Any], shape: ListShape) -> Any:
        if shape.counting == "none":
            return sa.null()
        if shape.counting == "exact":
            return sa.select(sa.func.count()).select_from(row).where(*where).scalar_subquery()
        some: Any = (
            sa.select(sa.literal_column("1"))
            .select_from(row)
            .where(*where)
            .limit(sa.literal_column(str(ESTIMATE_ABOVE + 1)))
        )
        return sa.select(sa.func.count()).select_from(some.subquery()).scalar_subquery()

    def estimate(self, resource: Resource, shape: ListShape) -> Statement:
        """EXPLAIN of the list without page or order; its plan says how many rows PostgreSQL expects."""
        scene = self._scene(shape.own, past=shape.past)
        row = scene.source(resource, "t")
        plain = compile_statement(
            sa.select(sa.literal_column("1")).select_from(row).where(*self._where(resource, row, shape, scene))
        )
        return Statement(f"EXPLAIN (FORMAT JSON) {plain.text}", plain.order)

    def _scene(self, own: Collection[RowRule] = NO_RULES, *, past: bool = False) -> Scene:
        return Scene(self.catalog, walled=self.walled, own=own, past=past)

    def _where(self, resource: Resource, row: Any, shape: ListShape, scene: Scene) -> list[Any]:
        there = presence(resource, row, shape.deleted)
        where = [*wall(resource, row, self.walled), *there, *scene.owned(resource, row)]
        where += [scene.predicate(resource, row, node) for node in shape.conditions]
        return [*where, *matches(resource, row, shape.search)]

    def _terms(self, resource: Resource, row: Any, shape: ListShape, scene: Scene) -> list[Term]:
        """The keys of a list's order."""
        terms = scene.terms(resource, row, shape.sort)
        if not by_rank(shape):
            return terms
        return [rank_of(resource, row, shape.search, similar=resource.scope.name in self.similar), *terms]

    # -- sets

    def chosen(self, resource: Resource, shape: ListShape, going: bool) -> Statement:
        """All columns of the rows that a filter means, locked; at most `limit`."""
        row = resource.table.alias("t")
        return sets.chosen(resource, row, self._where(resource, row, shape, self._scene(shape.own)), going=going)

    def counted(self, resource: Resource, shape: ListShape) -> Statement:
        """How many rows a filter means."""
        row = resource.table.alias("t")
        where = self._where(resource, row, shape, self._scene(shape.own))
        return compile_statement(sa.select(sa.func.count()).select_from(row).where(*where))

    def states(self, resource: Resource, references: tuple[Reference, ...], limits: Limited = FREE) -> Statement:
        """Of the rows of `keys`: the key, whether active rows other than these refer to it, its header's status, and whether the
        row meets the rules of `limits`."""
        row = resource.table.alias("t")
        statement = sa.select(
            *(row.c[name] for name in resource.keys),
            self.referred(resource, row, references, together=True).label("cxg_referred"),
            self.header_status(resource, row).label("cxg_header"),
            *self._limited(resource, row, limits),
        ).where(*wall(resource, row, self.walled))
        return compile_statement(sets.among(resource, row, statement))

    def covered(self, resource: Resource, key: Unique) -> Statement:
        """Which of `rows` a unique key concerns."""
        return sets.covered(resource, key)

    def clashing(self, resource: Resource, key: Unique | Period, active: bool) -> Statement:
        """Which of the new rows `rows` have the key of an earlier one, or of a stored row (`active`: one that is)."""
        row = resource.table.alias("t")
        there = presence(resource, row, "exclude" if active else "include")
        return sets.clashing(resource, row, key, [*wall(resource, row, self.walled), *there])

    def same_unique(self, resource: Resource, key: Unique, once: tuple[str, ...], own: frozenset[RowRule]) -> Statement:
        """The stored rows that have the unique key of one of `rows`, locked; and which columns of `once` are said otherwise."""
        row = resource.table.alias("t")
        where = [*wall(resource, row, self.walled), *self._scene(own).owned(resource, row)]
        return sets.same_unique(resource, row, key, once, where)

    def _limited(self, resource: Resource, row: Any, limits: Limited) -> list[Any]:
        """Whether the row exists for the caller (`cxg_seen`), and whether he may write it (`cxg_own`)."""
        return [
            sa.func.coalesce(sa.and_(*asked), sa.false()).label(name) if asked else sa.true().label(name)
            for name, rules in zip(("cxg_seen", "cxg_own"), limits, strict=True)
            for asked in (self._scene(rules).owned(resource, row),)
        ]

    def plain_rows(self, resource: Resource) -> Statement:
        """All columns of the rows of `keys`, for hooks."""
        return compile_statement(self._rows(resource, resource.table.alias("t")))

    def locked_rows(self, resource: Resource, going: bool) -> Statement:
        """The same, and other writers wait until the end of the transaction. For rows that are `going` those wait too who
        only refer to them; else they need not, or two lines of one header would wait for each other."""
        row = resource.table.alias("t")
        return compile_statement(locked(self._rows(resource, row), resource, going=going, of=row))

    def _rows(self, resource: Resource, row: Any) -> Any:
        statement = sa.select(*stored(resource, row)).where(*wall(resource, row, self.walled))
        if not resource.by_uuid:
            given = given_keys(resource)
            statement = statement.add_columns(given.c.cxg_given).join(given, same_key(resource, given, row))
            return statement.order_by(*(row.c[name] for name in resource.keys))
        return statement.where(row.c.id == sa.any_(bind("keys", pg.ARRAY(UUID)))).order_by(row.c.id)

    def moved(self, resource: Resource, log: Resource) -> Statement:
        """(version, actor_id, names) of the changes after version `since`, oldest first."""
        row, source = log.table.alias("t"), resource.table.alias("s")
        wanted = sa.select(entity_id(resource, source)).where(
            key_predicate(resource, source), *wall(resource, source, self.walled)
        )
        version = sa.cast(row.c.changes.op("->")(constant("version")).op("->>")(sa.literal_column("1")), sa.Integer)
        names = sa.select(sa.func.array_agg(sa.func.jsonb_object_keys(row.c.changes).column_valued("name")))
        statement = sa.select(version.label("version"), row.c.actor_id, names.scalar_subquery().label("names")).where(
            row.c.domain == constant(resource.entity.domain),
            row.c.entity == constant(resource.entity.name),
            row.c.entity_id == wanted.scalar_subquery(),
            version > bind("since", sa.Integer()),
            *wall(log, row, self.walled),
        )
        return compile_statement(statement.order_by(version).limit(sa.literal_column("20")))

    def history(self, resource: Resource, log: Resource, shape: ListShape) -> Statement:
        """As `listing`, of the change log of one row, newest first; of the shape `counting` and `after` count."""
        row, source = log.table.alias("t"), resource.table.alias("s")
        wanted = sa.select(entity_id(resource, source)).where(
            key_predicate(resource, source), *wall(resource, source, self.walled)
        )
        where = [
            row.c.domain == constant(resource.entity.domain),
            row.c.entity == constant(resource.entity.name),
            row.c.entity_id == wanted.scalar_subquery(),
            *wall(log, row, self.walled),
        ]
        names = [
            n for n in ("id", "occurred_at", "actor_id", "actor_email", "action", "changes", "request_id") if n in row.c
        ]
        terms = [Term(row.c[name], TYPES[kind], True, True, False) for name, kind in LOG_ORDER]
        told = [_changes_seen(resource, row) if name == "changes" else row.c[name] for name in names]
        source, columns = rendered(cut(sa.select(*told).where(*where), terms, shape.after), terms, placed=False)
        return compile_statement(sa.select(self._total(row, where, shape), *columns).select_from(source))

    def state(self, resource: Resource, references: tuple[Reference, ...], limits: Limited = FREE) -> Statement:
        """Why a write may have found no row: presence, version, status, whether active rows refer to it, the header's status,
        whether it meets the rules of `limits`."""
        row = resource.table.alias("t")
        status = row.c.status if resource.stateful else sa.null()
        statement = sa.select(
            living(resource, row).label("is_active"),
            version_of(resource, row).label("version"),
            status.label("status"),
            self.referred(resource, row, references).label("cxg_referred"),
            self.header_status(resource, row).label("cxg_header"),
            *self._limited(resource, row, limits),
        )
        return compile_statement(statement.where(key_predicate(resource, row), *wall(resource, row, self.walled)))

    def referred(
        self, resource: Resource, row: Any, references: tuple[Reference, ...], *, together: bool = False
    ) -> Any:
        """Whether an active row refers to this one through a restricting reference; `together`: one that is not of `keys`."""
        one: Any = sa.literal_column("1")
        found = [
            sa.exists(self._referring(resource, row, (reference,), one, together=together)) for reference in references
        ]
        return sa.or_(*found) if found else sa.false()

    def referrers(self, resource: Resource, references: tuple[Reference, ...]) -> Statement:
        """Of the rows of `keys`: the key, and for each entity in its order (`cxg_0` ...) how many active rows other than these
        refer to it."""
        row = resource.table.alias("t")
        by_child: dict[str, tuple[Reference, ...]] = {}
        for reference in references:
            by_child[reference.child] = (*by_child.get(reference.child, ()), reference)
        counts = [
            self._referring(resource, row, same, sa.func.count(), together=True).scalar_subquery().label(f"cxg_{place}")
            for place, same in enumerate(by_child.values())
        ]
        keys = (row.c[name] for name in resource.keys)
        statement = sa.select(*keys, *counts).where(*wall(resource, row, self.walled))
        return compile_statement(sets.among(resource, row, statement))

    def _referring(
        self, resource: Resource, row: Any, references: tuple[Reference, ...], what: Any, *, together: bool
    ) -> Any:
        """`what` of the active rows of one entity that refer to a row."""
        behind = self.catalog.resources[references[0].child]
        child = behind.table.alias()
        links = [
            sa.and_(*(child.c[column] == row.c[target] for column, target in reference.pairs))
            for reference in references
        ]
        same = [child.c.tenant_id == row.c.tenant_id] if resource.scope.tenant_bound else []
        query = sa.select(what).select_from(child).where(sa.or_(*links), *presence(behind, child, "exclude"), *same)
        if together and resource.by_uuid and behind.path == resource.path:
            query = query.where(child.c.id != sa.all_(bind("keys", pg.ARRAY(UUID))))
        return query.correlate(row)

    def header_status(self, resource: Resource, row: Any) -> Any:
        """Status of the header of a line; null for what is no line."""
        if resource.entity.parent is None:
            return sa.null()
        header = self.catalog.find(resource.scope.name, resource.entity.parent[0])
        if not header.stateful:
            return sa.null()
        top = header.table.alias()
        same = [top.c.tenant_id == row.c.tenant_id] if resource.scope.tenant_bound else []
        return (
            sa.select(top.c.status)
            .where(top.c.id == row.c[resource.entity.parent[1]], *same)
            .correlate(row)
            .scalar_subquery()
        )

    def missing_references(
        self, resource: Resource, names: tuple[str, ...], seen: frozenset[RowRule] = NO_RULES
    ) -> Statement:
        """For each reference column, the given ids (`r_<column>`) that name no active row that exists for the caller."""
        columns = []
        for name in names:
            target = self.catalog_table(resource, name)
            parent = target.table.alias()
            field = resource.fields[name]
            kind = compared_as(field)
            ids = bind(f"r_{name}", TEXTS) if isinstance(kind, Native) else bind(f"r_{name}", pg.ARRAY(kind))
            listed = sa.cast(ids, pg.ARRAY(kind)) if isinstance(kind, Native) else ids
            given = sa.func.unnest(listed).column_valued(f"g_{name}")
            there = [parent.c[field.target] == given, *presence(target, parent, "exclude")]
            there += wall(target, parent, self.walled)
            there += self._scene(seen).owned(target, parent)
            alive: Any = sa.select(sa.literal_column("1")).where(*there)
            columns.append(
                sa.select(sa.func.array_agg(given)).where(sa.not_(sa.exists(alive))).scalar_subquery().label(name)
            )
        return compile_statement(sa.select(*columns))

    def catalog_table(self, resource: Resource, column: str) -> Resource:
        """The resource that a reference column names. KeyError when its table is not registered."""
        wanted = resource.fields[column].references
        return next(
            r for r in self.catalog.resources.values() if r.scope is resource.scope and r.table.fullname == wanted
        )


def _changes_seen(resource: Resource, row: Any) -> Any:
    """What a record says of the fields that the caller sees; of masked ones without the permission, that they changed."""
    unseen = [constant(str(field.name)) for field in resource.columns if field.concealed]
    masked = [constant(str(field.name)) for field in resource.columns if field.masked and not field.concealed]
    changes: Any = sa.cast(row.c.changes, pg.JSONB)
    if masked:
        plain = bind(UNMASKED + resource.entity.domain, sa.Boolean())
        changes = sa.case((plain, changes), else_=changes.op("||")(_masked_pairs(changes, masked)))
    if unseen:
        changes = changes.op("-")(pg.array(unseen, type_=sa.Text()))
    return changes.label("changes") if masked or unseen else row.c.changes


def _masked_pairs(changes: Any, names: list[Any]) -> Any:
    """Column -> (old, new) of these columns as far as the record has them, values that are not null as `***`."""
    pair = sa.func.jsonb_each(changes).table_valued(
        sa.column("key", sa.Text()), sa.column("value", pg.JSONB()), name="m"
    )
    null, stars = sa.literal_column("'null'::jsonb", pg.JSONB()), sa.literal_column("""'"***"'::jsonb""", pg.JSONB())
    sides = [pair.c.value.op("->")(sa.literal_column(side)) for side in "01"]
    shown_as = sa.func.jsonb_build_array(*(sa.case((side == null, null), else_=stars) for side in sides))
    found = sa.select(sa.func.jsonb_object_agg(pair.c.key, shown_as)).where(pair.c.key.in_(names))
    return sa.func.coalesce(found.scalar_subquery(), sa.literal_column("'{}'::jsonb"))
