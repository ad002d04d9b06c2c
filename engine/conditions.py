"""Conditions: from a path, an operator and a text, or from nested JSON, to the tree that statements are built from. Pure.

filter[customer.name][icontains]=acme          {"field": "customer.name", "op": "icontains", "value": "acme"}
filter[lines.qty][gt]=5    some line           {"some": "lines", "where": {"field": "qty", "op": "gt", "value": 5}}
                                               {"every": ...}, {"none": ...}, {"and": [...]}, {"or": [...]}, {"not": {...}}
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from difflib import get_close_matches
from typing import Annotated, Any
from uuid import UUID

import msgspec

from engine.catalog import Catalog, Resource
from engine.fields import Field
from engine.filters import OPERATORS, Operator
from engine.scalars import BadValue, Native, walk_json
from engine.shapes import LIMITS, Condition, Group, Limits, Node, Order, Through

# relations on the way of one path, and levels of and, or, not
MAX_STEPS, MAX_NESTING = 3, 8
MATCHES = ("some", "none", "every")
# a value as the query string has it, or several as JSON has them
Given = str | list[str]

INT8 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
# how a filter value of each scalar is understood; bounds of the column do not apply to what it is compared with
READERS: dict[str, Any] = {
    "uuid": UUID,
    "boolean": bool,
    "integer": INT8,
    "bigint": INT8,
    "float": float,
    "numeric": Decimal,
    "text": str,
    "date": date,
    "timestamptz": datetime,
    "time": Annotated[time, msgspec.Meta(tz=False)],
    "bytes": bytes,
}


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


def _read_one(field: Field, text: str) -> str:
    kind = READERS.get(field.scalar.name, str)
    if field.scalar.name == "text":
        choices = getattr(field.type, "enums", None)
        if choices and text not in choices:
            raise BadValue("invalid_choice", f"must be one of {', '.join(choices)}", choices=list(choices))
        walk_json(text)
        return text
    if isinstance(field.type, Native):
        return _read_native(field, text)
    if field.scalar.beyond is not None and field.scalar.beyond(text):
        return text
    try:
        # texts are read as bodies are; leniently `2026` would be a moment in 1970
        value = msgspec.convert(text, kind, strict=kind not in (bool, INT8, float))
    except msgspec.ValidationError:
        raise BadValue("invalid_format", f"is not a {field.scalar.name} value: {text[:64]!r}") from None
    return _canonical(field, value, text)


def _read_native(field: Field, text: str) -> str:
    """A value of somebody else's type, read as bodies are."""
    if field.type.enums and text not in field.type.enums:
        choices = list(field.type.enums)
        raise BadValue("invalid_choice", f"must be one of {', '.join(choices)}", choices=choices)
    try:
        value = msgspec.convert(text, field.annotation)
    except (msgspec.ValidationError, UnicodeEncodeError):
        raise BadValue("invalid_format", f"is not a {field.scalar.name} value: {text[:64]!r}") from None
    return str(value if field.finish is None else field.finish(value))


def _canonical(field: Field, value: Any, text: str) -> str:
    if isinstance(value, Decimal) and (not value.is_finite() or abs(value.adjusted()) > 1000):
        raise BadValue("out_of_range", "must be a finite number of at most 1000 digits")
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        raise BadValue("out_of_range", "must be a finite number")
    if isinstance(value, datetime) and value.tzinfo is None:
        raise BadValue("invalid_format", "needs a time zone, such as 2026-01-31T10:00:00Z (a + is written %2B)")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return b64encode(value).decode()
    return value.isoformat() if isinstance(value, (datetime, date, time)) else str(value)


def _read_bool(text: str) -> str:
    if text not in ("true", "false"):
        raise BadValue("invalid_choice", "must be true or false", choices=["true", "false"])
    return text


def _read_list(field: Field, given: Given) -> list[str]:
    return [_read_one(field, part) for part in _read_items(given)]


def _read_two(field: Field, given: Given) -> list[str]:
    values = _read_list(field, given)
    if len(values) != 2:
        raise BadValue("invalid_format", "takes two values with a comma between")
    return values


def _read_items(given: Given) -> list[str]:
    return given if isinstance(given, list) else given.split(",")


def _read_item(field: Field, text: str) -> str:
    """One item of a list; those of jsonb are texts."""
    if field.item is not None:
        return _read_one(field.item, text)
    walk_json(text)
    return text


def _alone(given: Given) -> str:
    if isinstance(given, list):
        raise BadValue("invalid_format", "takes one value, not a list")
    return given


TAKES: dict[str, Callable[[Field, Operator, Given], Any]] = {
    "one": lambda field, _op, given: _read_one(field, _alone(given)),
    "many": lambda field, _op, given: _read_list(field, given),
    "two": lambda field, _op, given: _read_two(field, given),
    "bool": lambda _field, _op, given: _read_bool(_alone(given)),
    "text": lambda _field, op, given: op.prepare(_alone(given)),
    "item": lambda field, _op, given: _read_item(field, _alone(given)),
    "items": lambda field, _op, given: [_read_item(field, part) for part in _read_items(given)],
    "node": lambda field, _op, given: _read_one(field, _alone(given)),
}


class Conditions:
    """Reads the conditions of one request over an entity; `used` gathers the entities that they look into."""

    def __init__(
        self, catalog: Catalog, resource: Resource, above: Conditions | None = None, limits: Limits = LIMITS
    ) -> None:
        self.catalog, self.resource = catalog, resource
        self.limits: Limits = above.limits if above else limits
        self.used: dict[str, None] = above.used if above else {}
        self.counts: list[None] = above.counts if above else []

    def below(self, resource: Resource) -> Conditions:
        """Conditions over a related entity in the same request: they count together."""
        return Conditions(self.catalog, resource, self)

    def read(self, path: str, operator: str, given: Given) -> Node:
        """`filter[path][operator]=text`. A to-many relation on the way means that some row of it fits."""
        return self.reader(path, operator)(given)

    def reader(self, path: str, operator: str) -> Callable[[Given], Node]:
        """What makes that condition of its text."""
        self.counted()
        relations, resource, name = self.walk(path)
        field = field_of(resource, name)
        read = comparison((name, field), field.operators, operator, self.limits.choices)
        if not relations:
            return read

        def behind(given: Given) -> Node:
            node: Node = read(given)
            for relation in reversed(relations):
                node = Through(relation, "some", node)
            return node

        return behind

    def counted(self) -> None:
        """One more condition; too many are refused."""
        self.counts.append(None)
        most = self.limits.filters
        if len(self.counts) > most:
            raise BadValue("out_of_range", f"at most {most} filters", maximum=most)

    def walk(self, path: str) -> tuple[list[str], Resource, str]:
        """The relations of a dotted path, the entity that they lead to, and what is left: a field of it."""
        *steps, name = path.split(".")
        if len(steps) > MAX_STEPS:
            raise BadValue("too_complex", f"goes through more than {MAX_STEPS} relations", relations=MAX_STEPS)
        resource = self.resource
        for step in steps:
            resource = self.follow(resource, step)
        return steps, resource, name

    def follow(self, resource: Resource, step: str) -> Resource:
        """The entity behind a relation."""
        target = self.catalog.resources[relation_of(resource, step).target]
        self.used[target.path] = None
        return target

    def many(self, steps: Sequence[str]) -> bool:
        """Whether a relation on the way leads to many rows."""
        resource = self.resource
        for step in steps:
            relation = relation_of(resource, step)
            if relation.many:
                return True
            resource = self.catalog.resources[relation.target]
        return False

    def read_where(self, given: Any) -> Node:
        """A tree of JSON."""
        return self._node(self.resource, given, 0)

    def _node(self, resource: Resource, given: Any, depth: int) -> Node:
        if depth > MAX_NESTING:
            raise BadValue("too_complex", f"is nested more than {MAX_NESTING} levels deep", levels=MAX_NESTING)
        if not isinstance(given, dict):
            raise BadValue("invalid_format", "must be an object with field and op, or and, or, not, some, none, every")
        members = set(given)
        for kind in ("and", "or"):
            if members == {kind}:
                return Group(kind, self._parts(resource, given[kind], depth))
        if members == {"not"}:
            return Group("not", (self._node(resource, given["not"], depth + 1),))
        for match in MATCHES:
            if members == {match, "where"}:
                return self._through(resource, (match, given), depth)
        return self._leaf(resource, given)

    def _parts(self, resource: Resource, given: Any, depth: int) -> tuple[Node, ...]:
        if not isinstance(given, list) or not given:
            raise BadValue("invalid_format", "and, or take a list of at least one condition")
        return tuple(self._node(resource, part, depth + 1) for part in given)

    def _through(self, resource: Resource, asked: tuple[str, Mapping[str, Any]], depth: int) -> Node:
        match, given = asked
        step = given[match]
        if not isinstance(step, str):
            raise BadValue("invalid_format", f"{match} names a relation")
        target = self.follow(resource, step)
        return Through(step, match, self._node(target, given["where"], depth + 1))  # type: ignore[arg-type]

    def _leaf(self, resource: Resource, given: Mapping[str, Any]) -> Node:
        if not {"field", "value"} <= set(given) <= {"field", "op", "value"}:
            known = "field, op and value; and, or, not; or some, none, every with where"
            raise BadValue("invalid_format", f"takes {known}; not {', '.join(sorted(map(str, given)))[:80]}")
        path, operator = given["field"], given.get("op", "eq")
        if not isinstance(path, str) or not isinstance(operator, str):
            raise BadValue("invalid_format", "field and op are texts")
        return self.below(resource).read(path, operator, as_given(given["value"]))


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
        if several and len(_read_items(given)) > choices:
            raise BadValue("out_of_range", f"takes at most {choices} values", maximum=choices)
        return Condition(name, operator, take(field, row, given))

    return read


def read_orders(text: str, check: Callable[[str], object]) -> tuple[Order, ...]:
    """`-created_at,name:nullslast` -> sort keys; `check` refuses names."""
    orders = []
    for part in text.split(","):
        name, _, nulls = part.strip().partition(":")
        path = name.lstrip("-+") if name[:1] in "-+" else name
        check(path)
        if nulls not in ("", "nullsfirst", "nullslast"):
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
