"""What a user writes for an entity: only what differs from the default.

class Plan(ManagerModel, table="bill.plans"):
    \"\"\"Price plan of the SaaS.\"\"\"
    code: Mapped[Code]
    name: Mapped[Name]

plans = Entity(Plan, label="code", unique=["code"], once=["code"], search=["code", "name"])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Table
from sqlalchemy.types import TypeEngine

LETTERS = {"c": "create", "g": "get", "l": "list", "u": "update", "d": "delete", "s": "status"}
CRUD = "cgluds"
Kind = Literal["master", "config", "link", "document", "line", "ledger", "log"]
# parts that an entity plays for the engine itself
Role = Literal[
    "change_log",
    "number_sequences",
    "permissions",
    "settings",
    "currencies",
    "jobs",
    "job_runs",
    "approval_rules",
    "approval_requests",
]
# what is written into a column when a row enters a state; null clears it
Stamp = Literal["now", "today", "actor", "reason", "null"]


@dataclass(frozen=True)
class Marks:
    """The columns that play the engine's own parts, `""` = none does: without `active` a delete really deletes, without
    `version` the ETag is a digest of the row. `gone`: what a deleted row has in `active`."""

    active: str = "is_active"
    gone: Literal["false", "true", "time"] = "false"
    version: str = "version"
    created_at: str = "created_at"
    created_by: str = "created_by"
    updated_at: str = "updated_at"
    updated_by: str = "updated_by"

    @property
    def columns(self) -> frozenset[str]:
        """Those that there are."""
        named = (self.active, self.version, self.created_at, self.created_by, self.updated_at, self.updated_by)
        return frozenset(filter(None, named))

    def removing(self, values: Mapping[str, Any]) -> bool:
        """Whether the values say that the row goes."""
        if self.active not in values:
            return False
        value = values[self.active]
        return value is not None if self.gone == "time" else value is (self.gone == "true")

    def restoring(self, values: Mapping[str, Any]) -> bool:
        """Whether the values say that the row comes back."""
        return self.active in values and not self.removing(values)

    def saying(self, active: bool, now: Any) -> dict[str, Any]:
        """The value with which a row comes back, or goes."""
        values = {"false": active, "true": not active, "time": None if active else now}
        return {self.active: values[self.gone]}

    def living(self, row: Mapping[str, Any]) -> bool:
        """Whether a stored row counts as there."""
        return not self.active or not self.removing(row)


OWN = Marks()
# the key under which `Table.info` has the marks of a table that registration leaves alone
MARKS = "marks"
# the same, of a table that others inherit from: their rows are not meant where its own are
ONLY = "only"


@dataclass(frozen=True)
class Machine:
    """The states of a row and the edges between them. `reserved` edges are taken by hooks and jobs only."""

    states: tuple[str, ...]
    initial: str
    edges: frozenset[tuple[str, str]]
    reserved: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Machine:
        """Read `draft* open paid : draft>open; open~>paid` (`*` initial, `~>` reserved)."""
        head, _, tail = text.partition(" : ")
        states = tuple(word.rstrip("*") for word in head.split())
        initial = [word[:-1] for word in head.split() if word.endswith("*")]
        edges: set[tuple[str, str]] = set()
        reserved: set[tuple[str, str]] = set()
        for part in filter(None, (piece.strip() for piece in tail.split(";"))):
            source, _, targets = part.partition(">")
            into = reserved if source.endswith("~") else edges
            into.update((source.rstrip("~"), target) for target in targets.split(","))
        unknown = {state for edge in edges | reserved for state in edge} - set(states)
        unknown |= {state for state in states if not state.isidentifier()}
        if len(initial) != 1 or unknown:
            raise ValueError(
                f"{text!r}: needs one initial state marked * and only listed states; unknown: {sorted(unknown)}"
            )
        return cls(states, initial[0], frozenset(edges), frozenset(reserved))

    def sources(self, target: str, *, engine: bool = False) -> tuple[str, ...]:
        """The states from which `target` can be entered; `engine` takes reserved edges too."""
        edges = self.edges | self.reserved if engine else self.edges
        return tuple(state for state in self.states if (state, target) in edges)

    def targets(self, source: str) -> tuple[str, ...]:
        """Where a caller may go from `source`."""
        return tuple(state for state in self.states if (source, state) in self.edges)


ACTIVE = Machine.parse("active* inactive : active>inactive; inactive>active")


@dataclass(frozen=True)
class Virtual:
    """A field without a column: `input` is taken from bodies and handed to hooks, `output` is shown once in the create
    reply, `compute` is a SQL expression over the table, shown in every read."""

    name: str
    type: TypeEngine[Any]
    input: bool = False
    output: bool = False
    compute: Any = None


@dataclass(frozen=True)
class Number:
    """A document number in column `column`: `{prefix}-{YYYY}-{seq:05d}`, given at create or on entering a state. `gapless`
    numbers are given inside the posting transaction, so a rolled-back posting gives the number back. `date` names the
    column whose year counts, by default today's; `other` is a prefix for rows whose column has a value, such as
    `("kind", "credit_note", "CN")`."""

    prefix: str
    at: str = "create"
    gapless: bool = False
    column: str = "number"
    date: str = ""
    other: tuple[str, str, str] | None = None

    def prefix_of(self, row: Any) -> str:
        """The prefix of a row that answers row["column"]."""
        return self.other[2] if self.other and row[self.other[0]] == self.other[1] else self.prefix


@dataclass(frozen=True)
class Nested:
    """Child rows accepted inside the header's body under `key`; `on` says for create (c) and as a replaced set on update (u).
    `via` is the child's reference column, by default the one of its `parent`."""

    key: str
    entity: str
    on: str = "cu"
    via: str = ""

    def link(self, child: Entity) -> str:
        """The child's column that names the header."""
        return self.via or (child.parent[1] if child.parent else "")


@dataclass(frozen=True)
class Unique:
    """A unique key over the active rows. `where` narrows it; `nulls_equal` lets two nulls collide. For `unique=[...]`."""

    columns: tuple[str, ...]
    where: str | None = None
    nulls_equal: bool = False


@dataclass(frozen=True)
class Period:
    """No two active rows with equal `columns` (null equals null; none = all rows) have overlapping days from `start` to
    `end`, ends included, null = open. `where` narrows it. A violation is 409 overlapping_period."""

    columns: tuple[str, ...]
    start: str
    end: str
    where: str | None = None


@dataclass(frozen=True)
class Frozen:
    """What callers no longer change while the row is in one of `states` (a text): `fields`, or all `but` these, or with
    neither the whole row, deletion included. Rules of the engine's own side may still write. 409 `code`."""

    states: str
    fields: tuple[str, ...] = ()
    but: tuple[str, ...] = ()
    code: str = "document_locked"


@dataclass(frozen=True)
class Needed:
    """On these `edges` (a text, `new>lost open>lost`) `field` must have a value; `reason` = the reason in the status body,
    where no column has that name or the column takes it over. 422 `code`."""

    field: str
    edges: str
    code: str = "reason_required"


@dataclass(frozen=True)
class Computed:
    """A column that follows from others of its row: `formula` gets the columns of `reads` (a text) in order, empty numbers
    as 0. Money is rounded to its currency, other numbers to their column's places, half up."""

    column: str
    reads: str
    formula: Callable[..., Any]


@dataclass(frozen=True)
class RollUp:
    """A header's column that sums `sum` of its active child rows (`""` = counts them), kept in the same transaction.
    `where` is a SQL condition over the child; `via` its reference column, by default the one of its `parent`."""

    column: str
    child: str
    sum: str = ""
    where: str = ""
    via: str = ""


@dataclass(frozen=True)
class Approval:
    """An edge that somebody may have to approve (rules and requests: the entities with roles `approval_rules` and
    `approval_requests`). While a request is open the row waits in the state `waiting`; `amount` is the base-currency
    column that the bands are about; `document` the rules' document type; `refused` the state a rejection leads to."""

    edge: str
    document: str
    amount: str
    waiting: str = "pending_approval"
    refused: str = "draft"


@dataclass(frozen=True)
class Owner:
    """Rows that belong to the user in `column`: others do not exist for callers without the permission `unless`, in reads
    and writes; `reads` False = all may read them. Of several columns one is enough, and a path goes through relations:
    `order.owner_id` lets lines follow their header."""

    column: str | tuple[str, ...]
    unless: str
    reads: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        """One, or several."""
        return (self.column,) if isinstance(self.column, str) else self.column


@dataclass(frozen=True)
class Rows:
    """A condition that the rows of a caller meet; for `on` (a text of rights) others do not exist for him, and he can neither
    make nor leave behind one that does not meet it. `where` is a field or path with `op` and `value`, or a whole tree as
    `where=` of a list takes it. Values may be of the caller: `$caller.id`, `email`, `tenant`, `roles`, or a claim of his token;
    who lacks one has no rows. The permission `unless` lifts it."""

    where: str | Mapping[str, Any]
    op: str = "eq"
    value: Any = None
    unless: str = ""
    on: str = "read create update delete status"

    @property
    def tree(self) -> Mapping[str, Any]:
        """The whole condition."""
        return {"field": self.where, "op": self.op, "value": self.value} if isinstance(self.where, str) else self.where


@dataclass(frozen=True)
class Entity:
    """Declaration of one entity. Columns are named by their column names; what is not said has the usual default.

    `stamps`: state -> column -> what it is given on entering the state. `guards`: field or edge -> the permission that
    changing it takes. `four_eyes`: edges -> the column with the user who may not take them. `currency`: the column whose
    currency rounds the row's money, `base` = the base currency (as `base_money` says of single columns); lines without it
    have their header's.
    """

    model: Any
    kind: Kind = "master"
    operations: str = CRUD
    label: str = "id"
    unique: Sequence[str | Unique] = ()
    search: Sequence[str] = ()
    once: Sequence[str] = ()
    read_only: Sequence[str] = ()
    auto: Sequence[str] = ()
    hidden: Sequence[str] = ()
    masked: Sequence[str] = ()
    encrypted: Sequence[str] = ()
    live: Sequence[str] = ()
    machine: str | None = None
    virtual: Sequence[Virtual] = ()
    number: Number | None = None
    nested: Sequence[Nested] = ()
    parent: tuple[str, str] | None = None
    tree: str | None = None
    periods: Sequence[Period] = ()
    frozen: Sequence[Frozen] = ()
    needed: Sequence[Needed] = ()
    stamps: Mapping[str, Mapping[str, Stamp]] = field(default_factory=dict)
    guards: Mapping[str, str] = field(default_factory=dict)
    four_eyes: Mapping[str, str] = field(default_factory=dict)
    currency: str | None = None
    base_money: Sequence[str] = ()
    computed: Sequence[Computed] = ()
    rollups: Sequence[RollUp] = ()
    approval: Approval | None = None
    owner: Owner | None = None
    rows: Sequence[Rows] = ()
    role: Role | None = None
    permissions: Sequence[str] = ()
    require_version: bool = False
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def table(self) -> Table:
        """The SQLAlchemy table behind the model."""
        return self.model if isinstance(self.model, Table) else self.model.__table__

    @property
    def domain(self) -> str:
        """First half of the name: the table's schema."""
        return str(self.table.info["route"][0]) if "route" in self.table.info else str(self.table.schema or "public")

    @property
    def name(self) -> str:
        """Route segment: the table's name in kebab case; somebody else's table has its own."""
        if "route" in self.table.info:
            return str(self.table.info["route"][1])
        return str(self.table.name).replace("_", "-")

    @property
    def key(self) -> str:
        """`domain.entity`, as permissions and hooks name it."""
        return f"{self.domain}.{self.name}"

    @property
    def description(self) -> str:
        """First paragraph of the model's docstring, or the table's comment."""
        text = (self.model.__doc__ or "") if not isinstance(self.model, Table) else (self.table.comment or "")
        return " ".join(text.split("\n\n")[0].split())

    @property
    def marks(self) -> Marks:
        """The columns that play the engine's parts: those that registration adds, unless the table says others."""
        return self.table.info.get(MARKS, OWN)  # type: ignore[no-any-return]

    @property
    def life(self) -> Machine:
        """The entity's machine, or active/inactive over is_active."""
        return Machine.parse(self.machine) if self.machine else ACTIVE
