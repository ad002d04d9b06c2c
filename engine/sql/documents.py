"""The JSON document of a row as PostgreSQL renders it: its own fields, nested children, and whatever is expanded in it, in the
one statement. The predicates of conditions stand here too, since an expansion has its own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import count
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql import FromClause

from engine.catalog import Catalog, Resource
from engine.fields import Field
from engine.relations import Relation
from engine.shapes import NO_RULES, Condition, Expansion, Group, Node, Order, RowRule, Through
from engine.sql.keyset import Term, ordering
from engine.sql.parts import Column, bind, compared_as, comparing, condition, fields_to_show, presence, shown, wall
from engine.sql.past import Past

NO_ROWS: Any = sa.literal_column("'[]'::json")


class Scene:
    """What the parts of one statement share: the catalogue, the walls, and the numbers of its values.

    `own`: rules of the entities of which only some rows exist for the caller. `past`: rows are those of the moment `as_of`.
    """

    def __init__(
        self, catalog: Catalog, *, walled: bool, own: Collection[RowRule] = NO_RULES, past: bool = False
    ) -> None:
        self.catalog, self.walled, self.own = catalog, walled, own
        self.names: Iterator[str] = (f"f{number}" for number in count())
        self.past = Past(catalog, walled=walled) if past else None

    def source(self, resource: Resource, name: str | None = None, *, narrow: bool = False) -> FromClause:
        """An alias of an entity's table, now or as it was. `narrow`: single rows of it are asked for by their key."""
        return self.past.source(resource, name, narrow=narrow) if self.past else resource.table.alias(name)

    # -- conditions

    def predicate(self, resource: Resource, source: FromClause, node: Node) -> Column:
        """What a condition asks of a row. Values are numbered in the order of `engine.conditions.leaves`."""
        if isinstance(node, Condition):
            return condition(resource, source, node, next(self.names))
        if isinstance(node, Through):
            return self._through(resource, source, node)
        parts = [self.predicate(resource, source, part) for part in node.parts]
        joined: Column = JOINED[node.kind](parts)
        return joined

    def _through(self, resource: Resource, source: FromClause, node: Through) -> Column:
        relation = resource.relations[node.relation]
        target, row, where = self.behind(resource, source, relation)
        asked = self.predicate(target, row, node.part)
        if node.match == "every":
            asked = sa.not_(sa.func.coalesce(asked, sa.false()))
        found = sa.exists(sa.select(sa.literal_column("1")).where(*where, asked).correlate(source))
        return found if node.match == "some" else sa.not_(found)

    def behind(
        self, resource: Resource, source: FromClause, relation: Relation, *, narrow: bool = False
    ) -> tuple[Resource, Any, list[Column]]:
        """The entity behind a relation, an alias of it, and which of its rows are meant."""
        target = self.catalog.resources[relation.target]
        row = self.source(target, narrow=narrow)
        where = [row.c[remote] == source.c[local] for local, remote in relation.pairs]
        where += presence(target, row, "exclude")
        if resource.scope.tenant_bound:
            where.append(row.c.tenant_id == source.c.tenant_id)
        return target, row, [*where, *wall(target, row, self.walled), *self.owned(target, row)]

    # -- rows of the caller's own

    def owned(self, resource: Resource, source: FromClause) -> list[Column]:
        """The rows that exist for the caller, of an entity of which others do not."""
        rules = [rule for rule in self.own if rule.path == resource.path]
        return [self._ruled(source, rule) for rule in sorted(rules, key=lambda rule: (rule.names, rule.known))]

    def _ruled(self, source: FromClause, rule: RowRule) -> Column:
        if rule.otherwise:
            return sa.or_(*(self._ruled(source, one) for one in (rule._replace(otherwise=()), *rule.otherwise)))
        # a rule looks where the caller may not: at hidden columns, and at rows that do not exist for him
        plain = Scene(self.catalog.whole, walled=self.walled)
        plain.past, plain.names = self.past, iter(rule.names)
        asked = plain.predicate(plain.catalog.resources[rule.path], source, rule.node)
        return sa.and_(bind(rule.known, sa.Boolean()), asked) if rule.known else asked

    # -- order

    def order(self, resource: Resource, source: FromClause, sort: Sequence[Order]) -> list[Any]:
        """ORDER BY; the key is always appended, so that the order is total."""
        return ordering(self.terms(resource, source, sort))

    def terms(self, resource: Resource, source: FromClause, sort: Sequence[Order]) -> list[Term]:
        """The keys of an order, the row's own key last."""
        terms = []
        for order in ordered_by(resource, sort):
            value, field, nullable = self.value_at(resource, source, order.field.split("."))
            first = order.nulls == "first" if order.nulls else order.descending
            # of floats their own type counts: 0.1 of four bytes is not 0.1 of eight
            kind = field.type if field.scalar.name == "float" else compared_as(field)
            terms.append(Term(value, kind, order.descending, first, nullable))
        return terms

    def value_at(self, resource: Resource, source: FromClause, path: list[str]) -> tuple[Any, Field, bool]:
        """The value behind a path, the field that it is of, and whether it can be null."""
        if len(path) == 1:
            field = resource.fields[path[0]]
            return comparing(field, source), field, field.nullable
        target, row, where = self.behind(resource, source, resource.relations[path[0]], narrow=True)
        inner, field, _ = self.value_at(target, row, path[1:])
        return sa.select(inner).where(*where).correlate(source).scalar_subquery(), field, True

    # -- documents

    def columns(
        self, resource: Resource, source: FromClause, names: tuple[str, ...], expand: Sequence[Expansion] = ()
    ) -> list[Any]:
        """What a read shows of a row, by name; expansions last."""
        found: list[Any] = [
            self._shown(resource, source, field).label(field.name) for field in fields_to_show(resource, names)
        ]
        return [*found, *(self._expanded(resource, source, part) for part in expand)]

    def _shown(self, resource: Resource, source: FromClause, field: Field) -> Any:
        value = shown(resource, source, field)
        return self.past.computed(value) if self.past and field.virtual else value

    def nested(self, resource: Resource, names: tuple[str, ...], expand: Sequence[Expansion]) -> list[Expansion]:
        """The nested children of a whole document as expansions, where the caller does not say more of them."""
        named = {part.relation for part in expand}
        return [
            Expansion(nested.key, sort=_line_order(self.catalog.find(resource.scope.name, nested.entity)), limit=0)
            for nested in resource.entity.nested
            if (not names or nested.key in names) and nested.key not in named
        ]

    def document(
        self, resource: Resource, source: FromClause, names: tuple[str, ...] = (), expand: Sequence[Expansion] = ()
    ) -> Column:
        """The row with its nested children as JSON text."""
        parts = [*self.nested(resource, names, expand), *expand]
        row = sa.select(*self.columns(resource, source, names, parts)).correlate(source).subquery()
        return sa.cast(sa.select(sa.func.row_to_json(row.table_valued())).scalar_subquery(), sa.Text)

    def _expanded(self, resource: Resource, source: FromClause, part: Expansion) -> Any:
        relation = self._relation(resource, part.relation)
        target, row, where = self.behind(resource, source, relation, narrow=not relation.many)
        where += [self.predicate(target, row, node) for node in part.conditions]
        rows: Any = sa.select(*self.columns(target, row, part.fields, part.parts)).where(*where)
        if relation.many:
            rows = rows.order_by(*self.order(target, row, part.sort))
            rows = rows.limit(sa.literal_column(str(part.limit))) if part.limit else rows
        inner = rows.correlate(source).subquery()
        one = sa.func.row_to_json(inner.table_valued())
        shown_as = sa.func.coalesce(sa.func.json_agg(one), NO_ROWS) if relation.many else one
        return sa.select(shown_as).scalar_subquery().label(part.relation)

    def _relation(self, resource: Resource, name: str) -> Relation:
        """A relation, or the children that a header nests under the name (their reference may be hidden)."""
        if name in resource.relations:
            return resource.relations[name]
        nested = resource.nested[name]
        child = self.catalog.find(resource.scope.name, nested.entity)
        return Relation(name, child.path, "id", nested.link(child.entity), many=True)


def ordered_by(resource: Resource, sort: Sequence[Order]) -> tuple[Order, ...]:
    """The sort keys of a list, and the row's own key, which makes the order total; of rows without one all that sorts."""
    named = {order.field for order in sort}
    last = resource.keys or [field.name for field in resource.shown if field.sortable]
    return (*sort, *(Order(name) for name in last if name not in named))


def shows_place(resource: Resource, sort: Sequence[Order], fields: Collection[str]) -> bool:
    """Whether a row of a list shows all that its order goes by."""
    names = [order.field for order in ordered_by(resource, sort)]
    plain = {field.name for field in resource.shown if not field.masked and field.scalar.name != "bytes"}
    return set(names) <= plain and (not fields or set(names) <= set(fields))


JOINED: dict[str, Any] = {
    "and": lambda parts: sa.and_(*parts),
    "or": lambda parts: sa.or_(*parts),
    # what is unknown (a null) is not so
    "not": lambda parts: sa.not_(sa.func.coalesce(parts[0], sa.false())),
}


def _line_order(child: Resource) -> tuple[Order, ...]:
    return (Order("position"),) if "position" in child.fields else ()


__all__ = ["Group", "Scene"]
