"""What operations hand around: the write asked for, the row as it stands after it, and rows in the forms statements take."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from engine.catalog import Resource
from engine.clock import CLOCK, id_text
from engine.errors import ApiError
from engine.hooks import Change, Key, Point
from engine.moment import UnitOfWork, Workshop
from engine.secrets import sealed
from engine.shapes import ChangeShape, Incoming, InsertShape, Limited, RowRule, Statement, Version
from engine.sql.parts import ENCODER
from engine.sql.parts import LEFT as LEFT

Action = Literal["update", "delete", "status"]
Asked = tuple[Action, Incoming]
SHAPES_KEPT = 4096
# PostgreSQL has keys of at most 32 columns
KEY_PARTS = tuple(f"key{place}" for place in range(32))


class Written(NamedTuple):
    """A row as it stands: its version, its JSON text, what is shown this once, its key, and whether a create found it there."""

    version: Version
    text: str
    output: Mapping[str, Any]
    key: tuple[Any, ...] = ()
    found: bool = False


class Ready(NamedTuple):
    """New rows on their way to the database: their insert, and the value of its parameter `rows`."""

    changes: Sequence[Change]
    statement: Statement
    rows: str


class RulesConcerned(Exception):
    """A change tried as one statement turns out to concern rules."""


def points_of(action: Action) -> tuple[Point, Point]:
    return Point(f"before_{action}"), Point(f"after_{action}")


def row_key(resource: Resource, row: Mapping[str, Any]) -> Key:
    return row["id"] if resource.by_uuid else tuple(row[name] for name in resource.keys)


def key_parts(key: Key) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)


def key_values(key: Sequence[Any]) -> dict[str, Any]:
    """The parameters that name one row."""
    return dict(zip(KEY_PARTS, key, strict=False))


def key_parameter(resource: Resource, keys: Sequence[Key]) -> Any:
    """Keys as the parameter `keys` takes them: uuids, else a record set."""
    if resource.by_uuid:
        return keys
    tuples = map(key_parts, keys)
    return ENCODER.encode(
        [{**dict(zip(resource.keys, key, strict=True)), "cxg_given": i} for i, key in enumerate(tuples)]
    ).decode()


def fill(resource: Resource, values: dict[str, Any]) -> None:
    """Give columns that a new row is silent about their defaults, and the row its id."""
    for name, default in resource.defaults:
        if name not in values:
            values[name] = default()
    if resource.by_uuid and "id" not in values and not resource.foreign:
        values["id"] = CLOCK.new_id()


def new_changes(
    resource: Resource, rows: Sequence[Incoming], by_engine: bool = False, paths: Sequence[str] = ()
) -> list[Change]:
    """New rows with their defaults, as rules are shown them."""
    changes = [Change(index, None, dict(row.values), row.inputs) for index, row in enumerate(rows)]
    for change in changes:
        fill(resource, change.values)
        change.by_engine = by_engine
        change.path = paths[change.index] if paths else f"[{change.index}]" if len(changes) > 1 else ""
    return changes


def insert_records(resource: Resource, changes: Sequence[Change]) -> tuple[frozenset[str], list[dict[str, Any]]]:
    """The columns that new rows give, and the rows as they travel."""
    records = []
    columns: set[str] = set()
    for order, change in enumerate(changes):
        fill(resource, change.values)
        columns.update(change.values)
        left = {LEFT: sorted(resource.silent - change.values.keys())} if resource.silent else {}
        records.append({**change.values, "cxg_ord": order, "cxg_log": id_text(), **left})
    return frozenset(columns), records


def insert_shape(resource: Resource, columns: frozenset[str], internal: bool | None) -> InsertShape:
    """The shape of an insert of rows that give these columns."""
    keys = () if resource.foreign else resource.keys
    names = tuple(
        name for name in resource.fields if (name in columns or name in resource.settable) and name not in keys
    )
    return InsertShape(names, resource.reference_columns, internal)


def looked_at(resource: Resource, rows: Sequence[Incoming]) -> bool:
    """Whether anybody wants new rows as they were stored, before they are answered; or their keys, which the database made."""
    if resource.triggered or (resource.foreign and not all(row.values.keys() >= set(resource.keys) for row in rows)):
        return True
    return resource.numbered or resource.hooked(Point.AFTER_CREATE, Point.DONE) or any(row.nested for row in rows)


def written(resource: Resource, changes: Sequence[Change], records: Sequence[Any]) -> list[Written]:
    """New rows whose insert has answered them."""
    return [
        Written(version, text, change.output, tuple(change.values.get(name) for name in resource.keys))
        for change, (version, text) in zip(changes, records, strict=True)
    ]


def travelling(shop: Workshop, resource: Resource, records: Sequence[Mapping[str, Any]]) -> str:
    """Rows as the value of a statement's parameter `rows`, secrets under their cipher."""
    return ENCODER.encode(sealed(shop.vault, resource, records)).decode()


def change_shape(
    resource: Resource, action: Action, columns: frozenset[str], guards: tuple[str, ...], internal: bool = False
) -> ChangeShape:
    """The shape of a change that gives these columns."""
    names = tuple(name for name in resource.fields if name in columns and name not in resource.keys)
    checked = tuple(name for name in resource.reference_columns if name in columns)
    return ChangeShape(action, names, checked, guards, internal)


class WriteStatements:
    """Statements by the set of columns that a write gives, whose order in the body says nothing."""

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self.insert = lru_cache(maxsize=SHAPES_KEPT)(self._insert)
        self.change_one = lru_cache(maxsize=SHAPES_KEPT)(self._change_one)

    def _insert(
        self, resource: Resource, columns: frozenset[str], internal: bool | None, seen: frozenset[RowRule]
    ) -> Statement:
        return self.shop.statement(resource, insert_shape(resource, columns, internal)._replace(seen=seen))

    def _change_one(
        self,
        resource: Resource,
        action: Action,
        columns: frozenset[str],
        guards: tuple[str, ...],
        rules: tuple[Limited, frozenset[RowRule]],
    ) -> Statement:
        (shown, own), seen = rules
        shape = change_shape(resource, action, columns, (*guards, "own") if shown or own else guards)
        return self.shop.statement(resource, shape._replace(single=True, own=shown | own, seen=seen))


def left_of(resource: Resource, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What a change leaves to the defaults of somebody else's table."""
    return {LEFT: inputs.get(LEFT, ())} if resource.silent else {}


def change_records(
    resource: Resource, changes: Sequence[Change], columns: Collection[str]
) -> dict[Key, dict[str, Any]]:
    """Loaded rows as they travel to be changed, by key: one that rules change twice at once is one row with both changes."""
    records: dict[Key, dict[str, Any]] = {}
    for change in changes:
        key = row_key(resource, change.old or {})
        if key in records:
            records[key] |= {name: change[name] for name in change.values}
            continue
        stored = {name: change[name] for name in columns} | dict(zip(resource.keys, key_parts(key), strict=True))
        own = {"cxg_ord": len(records), "cxg_log": id_text(), "cxg_expected": None}
        records[key] = {**stored, **left_of(resource, change.inputs), **own}
    return records


def stamped(unit: UnitOfWork, resource: Resource, status: str | None, reason: str | None) -> dict[str, Any]:
    """What a row is given on entering a state (`Entity.stamps`)."""
    stamps = resource.entity.stamps.get(status or "")
    if not stamps:
        return {}
    known = {
        "now": unit.now,
        "today": unit.today,
        "actor": unit.principal.user_id,
        "reason": reason,
        "null": None,
    }
    return {column: known[stamp] for column, stamp in stamps.items()}


def split_virtual(resource: Resource, row: Mapping[str, Any]) -> Incoming:
    inputs = {name for name in row if name in resource.fields and resource.fields[name].column is None}
    return Incoming({k: v for k, v in row.items() if k not in inputs}, {k: row[k] for k in inputs})


def fault_below(error: ApiError, paths: Sequence[str]) -> ApiError:
    """The same error of child rows at these places of a body, its faults named below them: one that does not say which row
    it means is said of what they have in common."""
    sets = dict.fromkeys(path.rpartition("[")[0] for path in paths)
    common = paths[0] if len(paths) == 1 else min(sets) if len(sets) == 1 else min(sets).rpartition(".")[2]
    details = [fault if fault.field.startswith(tuple(paths)) else fault.under(common) for fault in error.details]
    return error.again(details)
