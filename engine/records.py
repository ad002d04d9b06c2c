"""What operations hand around: the write asked for, the row as it stands after it, and rows in the forms statements take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from engine.catalog import Resource
from engine.errors import ApiError
from engine.hooks import Key, Point
from engine.moment import ENCODER
from engine.shapes import Incoming

Action = Literal["update", "delete", "status"]
Asked = tuple[Action, Incoming]


class Written(NamedTuple):
    """A row as it stands: its version, its JSON text, what is shown this once, its key, and whether a create found it there."""

    version: int
    text: str
    output: Mapping[str, Any]
    key: tuple[Any, ...] = ()
    found: bool = False


class RulesConcerned(Exception):
    """A change tried as one statement turns out to concern rules."""


def points_of(action: Action) -> tuple[Point, Point]:
    return Point(f"before_{action}"), Point(f"after_{action}")


def row_key(resource: Resource, row: Mapping[str, Any]) -> Key:
    return row["id"] if resource.by_uuid else tuple(row[name] for name in resource.keys)


def key_parameter(resource: Resource, keys: Sequence[Key]) -> Any:
    """Keys as the parameter `keys` takes them: uuids, else a record set."""
    if resource.by_uuid:
        return keys
    tuples = [key if isinstance(key, tuple) else (key,) for key in keys]
    return ENCODER.encode(
        [{**dict(zip(resource.keys, key, strict=True)), "given_ord": i} for i, key in enumerate(tuples)]
    ).decode()


def split_virtual(resource: Resource, row: Mapping[str, Any]) -> Incoming:
    inputs = {name for name in row if name in resource.fields and resource.fields[name].column is None}
    return Incoming({k: v for k, v in row.items() if k not in inputs}, {k: row[k] for k in inputs})


def fault_below(error: ApiError, key: str, *, many: bool) -> ApiError:
    """The same error, its faults named below the nested key."""
    prefix = key if many else f"{key}[0]"
    details = [fault if fault.field.startswith(key) else fault.under(prefix) for fault in error.details]
    return type(error)(error.code, error.message, details=details, headers=error.headers, status=error.status)
