"""The frozen values that one stage hands to the next: what was asked (intents), which statement answers it (shapes)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Deleted = Literal["exclude", "include", "only"]
Count = Literal["exact", "estimated", "none"]


class Condition(NamedTuple):
    """One filter: field, operator, and the prepared value (text, or texts)."""

    field: str
    operator: str
    value: Any


class Order(NamedTuple):
    """One sort key. `nulls` None leaves PostgreSQL's default."""

    field: str
    descending: bool = False
    nulls: Literal["first", "last"] | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """What a list asks for."""

    page: int = 1
    page_size: int = 20
    count: Count = "exact"
    sort: tuple[Order, ...] = ()
    fields: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    search: str | None = None
    deleted: Deleted = "exclude"


@dataclass(slots=True)
class Incoming:
    """One row of a body: values by column, virtual inputs, child rows by key, and the version it was based on."""

    values: dict[str, Any]
    inputs: dict[str, Any] = field(default_factory=dict)
    nested: dict[str, list[Incoming]] = field(default_factory=dict)
    version: int | None = None


class StatusChange(NamedTuple):
    """The body of the status route."""

    status: str
    version: int | None
    reason: str | None


class GetShape(NamedTuple):
    """Read rows by key. `own`: only those that belong to the caller."""

    fields: tuple[str, ...]
    deleted: Deleted
    own: bool = False


class ListShape(NamedTuple):
    """A list without its values: equal shapes share one statement. `own`: only rows that belong to the caller."""

    conditions: tuple[tuple[str, str], ...]
    sort: tuple[Order, ...]
    fields: tuple[str, ...]
    search: bool
    deleted: Deleted
    counting: Count
    own: bool = False


class InsertShape(NamedTuple):
    """Insert a set of rows with these columns. `checked` = references must name active rows."""

    columns: tuple[str, ...]
    checked: tuple[str, ...]
    internal: bool = False


class ChangeShape(NamedTuple):
    """Change a set of rows: `columns` come with the rows; `guards` name predicates that the stored row must meet. `single`:
    one row, named by the parameters `key0` ..., whose plan PostgreSQL keeps (with an array of keys it plans each time)."""

    action: Literal["update", "delete", "status"]
    columns: tuple[str, ...]
    checked: tuple[str, ...]
    guards: tuple[str, ...]
    internal: bool = False
    single: bool = False


class Statement(NamedTuple):
    """SQL text and the names of its parameters in order."""

    text: str
    order: tuple[str, ...]

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """The values in the order of the text's placeholders."""
        return [values[name] for name in self.order]
