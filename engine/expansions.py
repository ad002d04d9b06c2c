"""`expand=`: related rows shown inside a row, several levels deep, each with fields, filter, sort and limit. Pure.

expand=customer,lines.product      expand[lines][limit]=5      expand[lines][sort]=-position
expand[lines][filter][qty][gt]=1   fields[lines]=sku,qty
"""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.catalog import Resource
from engine.conditions import Conditions, field_of, read_names, relation_of
from engine.scalars import BadValue
from engine.shapes import Expansion, Node, Order

MAX_EXPANSIONS = 20
DEFAULT_LIMIT, MAX_LIMIT = 100, 1000


@dataclass
class Branch:
    """An expansion while its parameters are read."""

    resource: Resource
    conditions: Conditions
    fields: tuple[str, ...] = ()
    filters: list[Node] = field(default_factory=list)
    sort: tuple[Order, ...] = ()
    limit: int = DEFAULT_LIMIT
    many: bool = True
    branches: dict[str, Branch] = field(default_factory=dict)


class Expansions:
    """The tree of expansions of one request."""

    def __init__(self, conditions: Conditions) -> None:
        """`conditions` of the request, whose limits hold for all of it together."""
        self.conditions = conditions
        self.root = Branch(conditions.resource, conditions)
        self.count = 0
        # how many rows an expansion shows that does not say; 0 = all
        self.usual = DEFAULT_LIMIT
        self.named: set[str] = set()

    def take(self, text: str) -> None:
        """`customer,lines.product`."""
        for path in map(str.strip, text.split(",")):
            if path in self.named:
                raise BadValue("repeated", f"names {path[:64]!r} twice")
            self.named.add(path)
            branch = self.root
            steps = path.split(".")
            most = self.conditions.limits.expand_depth
            if len(steps) > most:
                raise BadValue("too_complex", f"is more than {most} levels deep", levels=most)
            for step in steps:
                branch = self._grown(branch, step)

    def _grown(self, branch: Branch, step: str) -> Branch:
        relation = relation_of(branch.resource, step)
        if step not in branch.branches:
            self.count += 1
            if self.count > MAX_EXPANSIONS:
                raise BadValue("too_complex", f"expands more than {MAX_EXPANSIONS} relations", maximum=MAX_EXPANSIONS)
            target = self.conditions.follow(branch.resource, step)
            branch.branches[step] = Branch(target, self.conditions, limit=self.usual, many=relation.many)
        return branch.branches[step]

    def at(self, path: str) -> Branch:
        """The expansion of a path."""
        branch = self.root
        for step in path.split("."):
            if step not in branch.branches:
                raise BadValue("unknown_field", f"{path[:64]!r} is not expanded; say expand={path[:64]}")
            branch = branch.branches[step]
        return branch

    def fields(self, path: str, text: str) -> None:
        """`fields[path]=a,b`."""
        branch = self.at(path)
        names = read_names(text)
        for name in names:
            field_of(branch.resource, name)
        branch.fields = names

    def limit(self, path: str, text: str) -> None:
        """`expand[path][limit]=5`."""
        if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MAX_LIMIT:
            raise BadValue(
                "out_of_range", f"must be a whole number from 1 to {MAX_LIMIT}", minimum=1, maximum=MAX_LIMIT
            )
        self.at(path).limit = int(text)

    def filter(self, path: str, condition: tuple[str, str, str]) -> None:
        """`expand[path][filter][field][operator]=text`."""
        branch = self.at(path)
        branch.filters.append(self.conditions.below(branch.resource).read(*condition))

    def read(self) -> tuple[Expansion, ...]:
        """The tree, frozen."""
        return _frozen(self.root)


def _frozen(branch: Branch) -> tuple[Expansion, ...]:
    return tuple(
        Expansion(step, part.fields, tuple(part.filters), part.sort, part.limit, _frozen(part))
        for step, part in branch.branches.items()
    )
