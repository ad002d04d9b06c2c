"""The frozen values that one stage hands to the next: what was asked (intents), which statement answers it (shapes)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

Deleted = Literal["exclude", "include", "only"]
# values of a facet
MOST_VALUES = 50
Count = Literal["exact", "estimated", "none"]
# of a row: counted, or a digest of what it holds
Version: TypeAlias = int | str


class Condition(NamedTuple):
    """One filter: field, operator, and the prepared value (text, or texts)."""

    field: str
    operator: str
    value: Any


class Group(NamedTuple):
    """Conditions that hold all (and), one of them (or), or not at all."""

    kind: Literal["and", "or", "not"]
    parts: tuple[Node, ...]


class Through(NamedTuple):
    """A condition on the rows behind a relation: some, none or every one of them fits. A to-one relation has at most one."""

    relation: str
    match: Literal["some", "none", "every"]
    part: Node


Node: TypeAlias = Condition | Group | Through


class Order(NamedTuple):
    """One sort key: a field, or a path through to-one relations. `nulls` None leaves PostgreSQL's default."""

    field: str
    descending: bool = False
    nulls: Literal["first", "last"] | None = None


class Measure(NamedTuple):
    """An aggregate of a grouped list: what it is called, a row of FUNCTIONS, and the path of its field ("" = the rows)."""

    name: str
    function: str
    field: str = ""


class GroupKey(NamedTuple):
    """What rows are grouped by: what it is called, the path of a field, and a row of PARTS for periods of time."""

    name: str
    field: str
    part: str | None = None


class Grouping(NamedTuple):
    """Groups in the place of rows. The fields of `having` are names of results."""

    measures: tuple[Measure, ...]
    keys: tuple[GroupKey, ...] = ()
    having: tuple[Condition, ...] = ()


class Expansion(NamedTuple):
    """Rows behind a relation, shown inside the row: which, how many, in which order, and what is expanded in them."""

    relation: str
    fields: tuple[str, ...] = ()
    conditions: tuple[Node, ...] = ()
    sort: tuple[Order, ...] = ()
    limit: int = 100
    parts: tuple[Expansion, ...] = ()


class Limits(NamedTuple):
    """How much one query may ask for: levels of expand, conditions, values of `in`, relations on the way of a condition."""

    expand_depth: int = 3
    filters: int = 20
    choices: int = 500
    steps: int = 3

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Limits:
        """As the settings of an installation say."""
        names = ("max_expand_depth", "max_filters", "max_in_values")
        return cls(*(settings.get(name, usual) for name, usual in zip(names, cls(), strict=False)))


LIMITS = Limits()


class Listing(msgspec.Struct, frozen=True):
    """What a list asks for. `used`: the entities that it looks into beside its own; `reveals`: the permissions that it needs
    for what it makes of masked columns. With a `grouping` the sort keys are names of results."""

    page: int = 1
    page_size: int = 20
    count: Count = "exact"
    sort: tuple[Order, ...] = ()
    fields: tuple[str, ...] = ()
    conditions: tuple[Node, ...] = ()
    search: str | None = None
    deleted: Deleted = "exclude"
    expand: tuple[Expansion, ...] = ()
    used: tuple[str, ...] = ()
    cursor: str | None = None
    as_of: datetime | None = None
    grouping: Grouping | None = None
    facets: tuple[str, ...] = ()
    reveals: tuple[str, ...] = ()


@dataclass(slots=True)
class Incoming:
    """One row of a body: values by column, virtual inputs, child rows by key, and the version it was based on. `patches`: the
    columns whose value is merged with the stored one, `kept`: fields that must be as they are shown."""

    values: dict[str, Any]
    inputs: dict[str, Any] = field(default_factory=dict)
    nested: dict[str, list[Incoming]] = field(default_factory=dict)
    version: Version | None = None
    patches: frozenset[str] = frozenset()
    kept: Mapping[str, Any] = field(default_factory=dict)


class StatusChange(NamedTuple):
    """The body of the status route."""

    status: str
    version: Version | None
    reason: str | None


class RowRule(NamedTuple):
    """Which rows of the entity at `path` belong to a caller. `names`: the parameter of each single condition, in order;
    `columns`: those of the row that it looks at; `known`: the parameter that says whether he has all that the condition asks of
    him, empty = it asks nothing."""

    path: str
    node: Node
    names: tuple[str, ...]
    columns: tuple[str, ...]
    known: str = ""
    # rules of which one is enough, this one among them
    otherwise: tuple[RowRule, ...] = ()


NO_RULES: frozenset[RowRule] = frozenset()


class Limited(NamedTuple):
    """The rules of one entity for a caller who writes: which of its rows exist for him, and which he may write."""

    seen: frozenset[RowRule] = NO_RULES
    own: frozenset[RowRule] = NO_RULES


class GetShape(NamedTuple):
    """Read rows by key. `own`: the rules of the entities of which only some rows exist for the caller. `past`: as they were at the
    moment `as_of`."""

    fields: tuple[str, ...]
    deleted: Deleted
    expand: tuple[Expansion, ...] = ()
    own: frozenset[RowRule] = NO_RULES
    past: bool = False


class ListShape(NamedTuple):
    """A list without its values: equal shapes share one statement. `search`: how many words. `own` and `past` as above.
    `after`: of the place after which the page begins, which values are null; empty = it begins at an offset."""

    conditions: tuple[Node, ...]
    sort: tuple[Order, ...]
    fields: tuple[str, ...]
    search: int
    deleted: Deleted
    counting: Count
    expand: tuple[Expansion, ...] = ()
    own: frozenset[RowRule] = NO_RULES
    after: tuple[bool, ...] = ()
    past: bool = False


class GroupShape(NamedTuple):
    """A grouped list without its values. Of `rows` the sort keys are names of results."""

    rows: ListShape
    grouping: Grouping


class FacetShape(NamedTuple):
    """Paths of fields, each with the rows among which its values are counted."""

    parts: tuple[tuple[str, ListShape], ...]


class InsertShape(NamedTuple):
    """Insert a set of rows with these columns. `checked` = references must name active rows. `internal`: all columns are
    answered; None: none of them, a record a row. `seen`: rules of the rows that are referred to or shown beside."""

    columns: tuple[str, ...]
    checked: tuple[str, ...]
    internal: bool | None = False
    seen: frozenset[RowRule] = NO_RULES


class ChangeShape(NamedTuple):
    """Change a set of rows: `columns` come with the rows; `guards` name predicates that the stored row must meet, `own` rules
    that it must too; `seen` as above. `single`: one row, named by the parameters `key0` ..., whose plan PostgreSQL keeps (with
    an array of keys it plans each time)."""

    action: Literal["update", "delete", "status"]
    columns: tuple[str, ...]
    checked: tuple[str, ...]
    guards: tuple[str, ...]
    internal: bool = False
    single: bool = False
    own: frozenset[RowRule] = NO_RULES
    seen: frozenset[RowRule] = NO_RULES


class Statement(NamedTuple):
    """SQL text and the names of its parameters in order."""

    text: str
    order: tuple[str, ...]

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """The values in the order of the text's placeholders."""
        return [values[name] for name in self.order]
