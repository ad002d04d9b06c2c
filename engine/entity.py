"""What a user writes for an entity: only what differs from the default.

class Plan(ManagerModel, table="bill.plans"):
    \"\"\"Price plan of the SaaS.\"\"\"
    code: Mapped[Code]
    name: Mapped[Name]

plans = Entity(Plan, label="code", unique=["code"], once=["code"], search=["code", "name"])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Table
from sqlalchemy.types import TypeEngine

LETTERS = {"c": "create", "g": "get", "l": "list", "u": "update", "d": "delete", "s": "status"}
CRUD = "cgluds"
Kind = Literal["master", "config", "link", "document", "line", "ledger", "log"]


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
    numbers are given inside the posting transaction, so a rolled-back posting gives the number back."""

    prefix: str
    at: str = "create"
    gapless: bool = False
    column: str = "number"


@dataclass(frozen=True)
class Nested:
    """Child rows accepted inside the header's body under `key`; `on` says for create (c) and as a replaced set on update (u)."""

    key: str
    entity: str
    on: str = "cu"


@dataclass(frozen=True)
class Unique:
    """A unique key over the active rows. `where` narrows it; `nulls_equal` lets two nulls collide. For `unique=[...]`."""

    columns: tuple[str, ...]
    where: str | None = None
    nulls_equal: bool = False


@dataclass(frozen=True)
class Entity:
    """Declaration of one entity. Columns are named by their column names; what is not said has the usual default."""

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
    role: Literal["change_log", "number_sequences", "permissions"] | None = None
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
        return str(self.table.schema or "public")

    @property
    def name(self) -> str:
        """Route segment: the table's name in kebab case."""
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
    def life(self) -> Machine:
        """The entity's machine, or active/inactive over is_active."""
        return Machine.parse(self.machine) if self.machine else ACTIVE
