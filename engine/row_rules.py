"""Row rules: a declared owner or condition -> the predicate of every statement over the entity, and its parameters. Pure.

Owner("owner_id", unless="shop.orders.manage")     Rows("region", "in", "$caller.regions")
Rows({"some": "members", "where": {"field": "user_id", "value": "$caller.id"}}, on="update delete")

Which rules bind a caller is part of a statement's shape; what they ask of him are parameters, read from the caller when a
statement names them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

from engine.catalog import Catalog, Resource, RowLimit
from engine.conditions import Conditions, as_given, behind, leaves, read_condition, without_values
from engine.declared import near
from engine.entity import Owner, Rows
from engine.errors import StartupFault
from engine.fields import Field
from engine.filters import OPERATORS, operators_of
from engine.operands import TAKES, Given
from engine.scalars import BadValue
from engine.shapes import Condition, Group, Limits, Node, RowRule
from engine.types import Principal

RIGHTS = ("read", "create", "update", "delete", "status")
CALLER = "$caller."
# what every caller has; any other word is a claim of his token
KNOWN: dict[str, Any] = {
    "id": lambda who: who.user_id and str(who.user_id),
    "email": lambda who: who.email,
    "tenant": lambda who: who.tenant and str(who.tenant.id),
    "roles": lambda who: list(who.roles),
}
# rules are written by developers and operators, who know what they cost
FREELY = Limits(filters=1000, choices=100_000, steps=8)


class Asked(NamedTuple):
    """The value of one condition: of which field and operator, and as it was written, placeholders included."""

    field: Field
    operator: str
    given: Any

    def of(self, principal: Principal) -> Any:
        """The value as statements take it; None when the caller lacks what it asks for, or has something that does not fit."""
        operator = OPERATORS[self.operator]
        try:
            given = [_said(part, principal) for part in _parts(self.given)]
            many = operator.takes in ("many", "items", "two")
            flat = [text for part in given for text in (part if isinstance(part, list) else [part])]
            if not many and len(flat) != 1:
                return None
            return TAKES[operator.takes](self.field, operator, flat if many else flat[0])
        except (BadValue, LookupError):
            return None

    @property
    def asks(self) -> bool:
        """Whether it is about the caller."""
        return any(_is_placeholder(part) for part in _parts(self.given))


def _parts(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [given]


def _is_placeholder(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(CALLER)


def _said(value: Any, principal: Principal) -> Given:
    """A value as conditions take it. LookupError when the caller has none."""
    found = claim_of(principal, value.removeprefix(CALLER)) if _is_placeholder(value) else value
    if found is None:
        raise LookupError(value)
    return as_given(found)


def claim_of(principal: Principal, name: str) -> Any:
    """What is known of a caller, or a claim of his token by its name, else by a dotted path. None when there is none."""
    if name in KNOWN:
        return KNOWN[name](principal)
    found: Any = principal.claims
    if name in found:
        return found[name]
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


class RuleConditions(Conditions):
    """Conditions as rules have them: values may be of the caller, and columns that callers do not see count too."""

    def __init__(self, catalog: Catalog, resource: Resource, asked: list[Asked]) -> None:
        super().__init__(catalog, resource, limits=FREELY)
        self.asked = asked

    def below(self, resource: Resource) -> RuleConditions:
        return RuleConditions(self.catalog, resource, self.asked)

    def _leaf(self, given: Mapping[str, Any]) -> Node:
        if not {"field", "value"} <= set(given) <= {"field", "op", "value"}:
            raise BadValue("invalid_format", "a condition has field, op and value")
        steps, target, name = self.walk(given["field"])
        asked = _asked(target, name, (given.get("op", "eq"), given["value"]))
        if not steps:
            self.asked.append(asked)
            return Condition(name, asked.operator, None)
        if asked.asks and OPERATORS[asked.operator].takes == "bool":
            raise BadValue(
                "invalid_format", f"{asked.operator} of a related row takes true or false, nothing of the caller"
            )
        said = asked.given if asked.asks else as_given(asked.given)
        node = behind(steps, Condition(name, asked.operator, said), self.alone(steps))
        [found] = leaves(node)
        self.asked.append(asked._replace(operator=found.operator, given=found.value))
        return without_values(node)


def _asked(resource: Resource, name: str, said: tuple[str, Any]) -> Asked:
    operator, value = said
    field = resource.fields.get(name)
    if field is None or field.column is None or field.encrypted:
        raise BadValue(
            "unknown_field", f"{name!r} is no readable column of {resource.key}{near(name, resource.fields)}"
        )
    strangers = [
        part for part in _parts(value) if isinstance(part, str) and part[:1] == "$" and not _is_placeholder(part)
    ]
    if strangers:
        raise BadValue(
            "invalid_format", f"{strangers[0]!r} is no value of the caller; say {CALLER}id or {CALLER}<claim>"
        )
    if field.shown and not field.masked and not any(map(_is_placeholder, _parts(value))):
        # nothing of the caller: as in any filter, faults included
        read_condition(resource, name, operator, as_given(value), FREELY.choices)
    tree = bool(field.column.table.info.get("tree")) and name == "id"
    if operator not in operators_of(field.scalar.families, tree=tree):
        takes = ", ".join(operators_of(field.scalar.families, tree=tree))
        raise BadValue("invalid_choice", f"{name!r} takes {takes}; not {operator!r}")
    for word in (part.removeprefix(CALLER) for part in _parts(value) if _is_placeholder(part)):
        if not all(word.split(".")):
            raise BadValue("invalid_format", f"{CALLER}{word} names nothing of the caller")
    return Asked(field, operator, value)


class Compiler:
    """Compiles rules over one catalogue; `values` gathers what their parameters are for a caller."""

    def __init__(self, catalog: Catalog, prefix: str) -> None:
        self.catalog, self.numbers, self.prefix = catalog, count(), prefix
        self.values: dict[str, Any] = {}

    def rule(self, resource: Resource, tree: Any) -> RowRule:
        """The rule. BadValue says what is wrong with the tree."""
        asked: list[Asked] = []
        node = RuleConditions(self.catalog, resource, asked).read_where(tree)
        names = []
        for one in asked:
            name = f"{self.prefix}{next(self.numbers)}"
            names.append(name)
            self.values |= _parameters(name, one)
        known = f"{self.prefix}{next(self.numbers)}" if any(one.asks for one in asked) else ""
        if known:
            self.values[known] = _Known(tuple(asked))
        assert len(leaves(node)) == len(names)
        columns = tuple(dict.fromkeys(_columns(resource, node)))
        return RowRule(resource.path, without_values(node), tuple(names), columns, known)

    def alternatives(self, resource: Resource, trees: Sequence[Any]) -> RowRule:
        """The rule that one of these holds. Who lacks what one of them asks for may have it by another."""
        first, *others = [self.rule(resource, tree) for tree in trees]
        columns = dict.fromkeys(name for rule in (first, *others) for name in rule.columns)
        return first._replace(columns=tuple(columns), otherwise=tuple(others))


def _parameters(name: str, asked: Asked) -> dict[str, Any]:
    if OPERATORS[asked.operator].takes != "two":
        return {name: asked.of}
    return {f"{name}{end}": _End(asked, place) for place, end in enumerate("ab")}


@dataclass(frozen=True)
class _End:
    """One of two values."""

    asked: Asked
    place: int

    def __call__(self, principal: Principal) -> Any:
        found = self.asked.of(principal)
        return None if found is None else found[self.place]


@dataclass(frozen=True)
class _Known:
    """Whether a caller has everything that a rule asks of him."""

    asked: tuple[Asked, ...]

    def __call__(self, principal: Principal) -> bool:
        return all(one.of(principal) is not None for one in self.asked)


def _columns(resource: Resource, node: Node) -> Iterator[str]:
    if isinstance(node, Condition):
        yield node.field
    elif isinstance(node, Group):
        yield from (name for part in node.parts for name in _columns(resource, part))
    else:
        yield from (local for local, _ in resource.relations[node.relation].pairs)


# -- what entities declare


def with_row_rules(catalog: Catalog) -> Catalog:
    """The catalogue, each entity with its compiled rules. Raises StartupFault with every fault."""
    compiler = Compiler(catalog, "w")
    faults: list[str] = []
    for resource in catalog.resources.values():
        limits: list[RowLimit] = []
        for number, said in declared(resource):
            wrong = [word for word in said.on.split() if word not in RIGHTS]
            if wrong or not said.on.split():
                faults.append(
                    f"E061 {resource.key}: {number} holds on {' '.join(wrong)!r}; rights are {', '.join(RIGHTS)}"
                )
            try:
                rule = compiler.rule(resource, said.tree)
                limits.append(RowLimit(rule, frozenset(said.on.split()), said.unless))
            except BadValue as bad:
                faults.append(f"E060 {resource.key}: {number} {bad}")
        object.__setattr__(resource, "row_limits", tuple(limits))
    if faults:
        raise StartupFault("The declarations do not fit:\n" + "\n".join(faults))
    connect(catalog)
    object.__setattr__(catalog, "row_values", compiler.values)
    return catalog


def declared(resource: Resource) -> Iterator[tuple[str, Rows]]:
    """The rules of an entity, an owner as the condition that it is, by the word that declares them."""
    if resource.entity.owner is not None:
        yield "owner", _as_rows(resource.entity.owner, resource.entity.read_only)
    for said in resource.entity.rows:
        yield "rows", said


def _as_rows(owner: Owner, read_only: Sequence[str]) -> Rows:
    leaves_of = [{"field": name, "op": "eq", "value": f"{CALLER}id"} for name in owner.columns]
    rights = ["update", "delete", "status"]
    rights += ["read"] if owner.reads else []
    # whom the engine alone names, nobody names wrongly
    rights += ["create"] if not set(owner.columns) <= set(read_only) else []
    return Rows(leaves_of[0] if len(leaves_of) == 1 else {"or": leaves_of}, unless=owner.unless, on=" ".join(rights))


def connect(catalog: Catalog, only: Iterable[str] | None = None) -> None:
    """Say of each entity (of `only` those at these paths) which others with rules a write of it refers to, or shows in the row."""
    limited = {path for path, resource in catalog.resources.items() if resource.row_limits}
    paths = {(r.scope.name, r.table.fullname): path for path, r in catalog.resources.items()}
    wanted = catalog.resources if only is None else only
    for resource in (catalog.resources[path] for path in wanted if limited):
        found: list[tuple[frozenset[str], Resource]] = []
        for name in resource.reference_columns:
            target = paths[resource.scope.name, str(resource.fields[name].references)]
            found += _one_beside(catalog, limited, (frozenset({name}), target))
        for nested in resource.entity.nested:
            child = catalog.find(resource.scope.name, nested.entity).path
            found += _one_beside(catalog, limited, (frozenset(), child))
        object.__setattr__(resource, "beside", tuple(found))


def _one_beside(
    catalog: Catalog, limited: Iterable[str], reached: tuple[frozenset[str], str]
) -> list[tuple[frozenset[str], Resource]]:
    columns, path = reached
    return [(columns, catalog.resources[path])] if path in limited else []
