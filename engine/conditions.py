"""Conditions: from a path, an operator and a text, or from nested JSON, to the tree that statements are built from. Pure.

filter[customer.name][icontains]=acme          {"field": "customer.name", "op": "icontains", "value": "acme"}
filter[lines.qty][gt]=5    some line           {"some": "lines", "where": {"field": "qty", "op": "gt", "value": 5}}
                                               {"every": ...}, {"none": ...}, {"and": [...]}, {"or": [...]}, {"not": {...}}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

from engine.catalog import Catalog, Resource
from engine.fields import Field
from engine.filters import OPERATORS
from engine.operands import TAKES, Given, read_items
from engine.scalars import BadValue
from engine.shapes import LIMITS, Condition, Group, Limits, Node, Order, Through

# levels of and, or, not
MAX_NESTING = 8
MATCHES = ("some", "none", "every")


def field_of(resource: Resource, name: str) -> Field:
    """A field that reads may name. Hidden ones do not exist."""
    field = resource.fields.get(name)
    if field is None or not field.shown:
        shown = [f.name for f in resource.shown]
        close = get_close_matches(name, shown, n=1, cutoff=0.6)
        raise BadValue(
            "unknown_field",
            f"{name[:64]!r} is not a field here" + (f"; perhaps you meant {close[0]!r}" if close else ""),
        )
    return field


class Conditions:
    """Reads the conditions of one request over an entity; `used` gathers the entities that they look into."""

    def __init__(
        self, catalog: Catalog, resource: Resource, above: Conditions | None = None, limits: Limits = LIMITS
    ) -> None:
        self.catalog, self.resource = catalog, resource
        # relations that the condition which is being read has gone through
        self.steps = 0
        self.limits: Limits = above.limits if above else limits
        self.used: dict[str, None] = above.used if above else {}
        self.counts: list[None] = above.counts if above else []

    def below(self, resource: Resource) -> Conditions:
        """Conditions over a related entity in the same request: they count together."""
        return Conditions(self.catalog, resource, self)

    def behind(self, resource: Resource) -> Conditions:
        """Conditions over the rows behind one more relation."""
        deeper = self.below(resource)
        deeper.steps = self.steps + 1
        return deeper

    def read(self, path: str, operator: str, given: Given) -> Node:
        """`filter[path][operator]=text`, as `behind` says."""
        return self.reader(path, operator)(given)

    def reader(self, path: str, operator: str) -> Callable[[Given], Node]:
        """What makes that condition of its text."""
        self.counted()
        relations, resource, name = self.walk(path)
        field = field_of(resource, name)
        read = comparison((name, field), field.operators, operator, self.limits.choices)
        if not relations:
            return read
        alone = self.alone(relations)
        return lambda given: behind(relations, read(given), alone)

    def counted(self) -> None:
        """One more condition; too many are refused."""
        self.counts.append(None)
        most = self.limits.filters
        if len(self.counts) > most:
            raise BadValue("out_of_range", f"at most {most} filters", maximum=most)

    def walk(self, path: str) -> tuple[list[str], Resource, str]:
        """The relations of a dotted path, the entity that they lead to, and what is left: a field of it."""
        *steps, name = path.split(".")
        self._near(len(steps))
        resource = self.resource
        for step in steps:
            resource = self.follow(resource, step)
        return steps, resource, name

    def _near(self, more: int) -> None:
        """So many more relations; too many on one way are refused: each multiplies the rows that are looked at."""
        most = self.limits.steps
        if self.steps + more > most:
            raise BadValue("too_complex", f"goes through more than {most} relations", relations=most)

    def follow(self, resource: Resource, step: str) -> Resource:
        """The entity behind a relation."""
        target = self.catalog.resources[relation_of(resource, step).target]
        self.used[target.path] = None
        return target

    def many(self, steps: Sequence[str]) -> bool:
        """Whether a relation on the way leads to many rows."""
        return self.alone(steps) < len(steps)

    def alone(self, steps: Sequence[str]) -> int:
        """How many of the last relations lead to one row each."""
        resource, found = self.resource, 0
        for step in steps:
            relation = relation_of(resource, step)
            found = 0 if relation.many else found + 1
            resource = self.catalog.resources[relation.target]
        return found

    def read_where(self, given: Any) -> Node:
        """A tree of JSON."""
        return self._node(given, 0)

    def _node(self, given: Any, depth: int) -> Node:
        if depth > MAX_NESTING:
            raise BadValue("too_complex", f"is nested more than {MAX_NESTING} levels deep", levels=MAX_NESTING)
        if not isinstance(given, dict):
            raise BadValue("invalid_format", "must be an object with field and op, or and, or, not, some, none, every")
        members = set(given)
        for kind in ("and", "or"):
            if members == {kind}:
                return Group(kind, self._parts(given[kind], depth))
        if members == {"not"}:
            return Group("not", (self._node(given["not"], depth + 1),))
        for match in MATCHES:
            if members == {match, "where"}:
                return self._through(match, given, depth)
        return self._leaf(given)

    def _parts(self, given: Any, depth: int) -> tuple[Node, ...]:
        if not isinstance(given, list) or not given:
            raise BadValue("invalid_format", "and, or take a list of at least one condition")
        return tuple(self._node(part, depth + 1) for part in given)

    def _through(self, match: str, given: Mapping[str, Any], depth: int) -> Node:
        step = given[match]
        if not isinstance(step, str):
            raise BadValue("invalid_format", f"{match} names a relation")
        self._near(1)
        target = self.follow(self.resource, step)
        return Through(step, match, self.behind(target)._node(given["where"], depth + 1))  # type: ignore[arg-type]

    def _leaf(self, given: Mapping[str, Any]) -> Node:
        if not {"field", "value"} <= set(given) <= {"field", "op", "value"}:
            known = "field, op and value; and, or, not; or some, none, every with where"
            raise BadValue("invalid_format", f"takes {known}; not {', '.join(sorted(map(str, given)))[:80]}")
        path, operator = given["field"], given.get("op", "eq")
        if not isinstance(path, str) or not isinstance(operator, str):
            raise BadValue("invalid_format", "field and op are texts")
        return self.read(path, operator, as_given(given["value"]))


def behind(relations: Sequence[str], asked: Condition, alone: int) -> Node:
    """A condition on the field at the end of a path. Of many rows on the way some fit; through the last relations, of which
    `alone` lead to one row each, there is one value, and it is empty where there is no row, as in sort and groups."""
    contrary = OPERATORS[asked.operator].contrary(asked.value) if alone else None
    node: Node = asked if contrary is None else Condition(asked.field, *contrary)
    for place, relation in enumerate(reversed(relations), 1):
        node = Through(relation, "some" if contrary is None or place != alone else "none", node)
    return node


def relation_of(resource: Resource, step: str) -> Any:
    """A relation by its name."""
    relation = resource.relations.get(step)
    if relation is None:
        close = get_close_matches(step, list(resource.relations), n=1, cutoff=0.6)
        hint = f"; perhaps you meant {close[0]!r}" if close else ""
        raise BadValue("unknown_field", f"{step[:64]!r} is not a relation of {resource.key}{hint}")
    return relation


def read_condition(
    resource: Resource, name: str, operator: str, given: Given, choices: int = LIMITS.choices
) -> Condition:
    """`filter[name][operator]=given`, checked against the field. `choices`: the most values of one filter."""
    field = field_of(resource, name)
    return comparison((name, field), field.operators, operator, choices)(given)


def comparison(
    named: tuple[str, Field], allowed: Sequence[str], operator: str, choices: int = LIMITS.choices
) -> Callable[[Given], Condition]:
    """What makes of a value the comparison of what is called so, and is of the field's type, by one of the `allowed` operators."""
    name, field = named
    if operator not in allowed:
        takes = ", ".join(allowed) or "no filter"
        raise BadValue("invalid_choice", f"{name!r} takes {takes}; not {operator[:32]!r}", operators=list(allowed))
    row = OPERATORS[operator]
    take, several = TAKES[row.takes], row.takes in ("many", "items")

    def read(given: Given) -> Condition:
        if several and len(read_items(given)) > choices:
            raise BadValue("out_of_range", f"takes at most {choices} values", maximum=choices)
        return Condition(name, operator, take(field, row, given))

    return read


def read_names(text: str) -> tuple[str, ...]:
    """`a,b` -> names, each once."""
    names: dict[str, None] = {}
    for name in map(str.strip, text.split(",")):
        if name in names:
            raise BadValue("repeated", f"names {name[:64]!r} twice")
        names[name] = None
    return tuple(names)


def read_orders(text: str, check: Callable[[str], object]) -> tuple[Order, ...]:
    """`-created_at,name:nullslast` -> sort keys; `check` refuses names."""
    orders = []
    for part in text.split(","):
        name, colon, nulls = part.strip().partition(":")
        path = name[1:] if name.startswith(("-", "+")) else name
        check(path)
        if colon and nulls not in ("nullsfirst", "nullslast"):
            raise BadValue("invalid_choice", f"after {path!r} comes nullsfirst or nullslast, not {nulls[:32]!r}")
        orders.append(Order(path, name[:1] == "-", nulls[5:] or None))  # type: ignore[arg-type]
    if len({order.field for order in orders}) != len(orders):
        raise BadValue("repeated", "names a field twice")
    return tuple(orders)


def as_given(value: Any) -> Given:
    """A JSON value as conditions take it."""
    return [_as_text(item) for item in value] if isinstance(value, list) else _as_text(value)


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float, Decimal)):
        return str(value)
    raise BadValue("invalid_format", "must be a text, a number, true, false, or a list of them; isnull asks for null")


def without_values(node: Node) -> Node:
    """The condition as part of a shape."""
    if isinstance(node, Condition):
        return node._replace(value=None)
    if isinstance(node, Group):
        return Group(node.kind, tuple(without_values(part) for part in node.parts))
    return node._replace(part=without_values(node.part))


def leaves(node: Node) -> list[Condition]:
    """The single conditions of a tree, in the order in which statements number their values."""
    if isinstance(node, Condition):
        return [node]
    parts = node.parts if isinstance(node, Group) else (node.part,)
    return [leaf for part in parts for leaf in leaves(part)]
