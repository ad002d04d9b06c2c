"""Writes of many rows as one set: those that a filter means, those that have the same unique key, and each by itself.

A set walks the road of a single row: it is locked, judged, shown to the BEFORE rules, written in one statement, and shown to the
AFTER rules.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from engine.catalog import Resource
from engine.clashes import located
from engine.entity import Unique
from engine.errors import ApiError, ConflictError, Fault, UnavailableError, invalid
from engine.hooks import Change
from engine.moment import UnitOfWork
from engine.nesting import replace_nested
from engine.operations import Operations
from engine.patches import apply_patches
from engine.records import LEFT, Action, Asked, Written, fill, key_parameter
from engine.refusals import SURROUNDINGS, limited, standing
from engine.shapes import Incoming, ListShape
from engine.sql.parts import ENCODER
from engine.sql.sets import NAMED, has_constant, named_by

# how often an upsert looks anew because somebody else made a row with its key at the same time
LOOKS = 3
INDEX = re.compile(r"\[(\d+)\]\.?")

Item = TypeVar("Item")
Done = TypeVar("Done")


class Chosen(NamedTuple):
    """The rows that a filter means: its shape and values, and how many may be written; `limit` is one more."""

    shape: ListShape
    values: Mapping[str, Any]
    most: int


class Many:
    """Writes of sets over the operations of single rows."""

    def __init__(self, operations: Operations) -> None:
        self.operations, self.shop = operations, operations.shop

    # -- by filter

    async def change(
        self, unit: UnitOfWork, resource: Resource, write: Asked, chosen: Chosen
    ) -> tuple[list[Change], list[Written]]:
        """Update or delete the rows that a filter means; with them those that are really gone, as they were. 409 with their
        number when there are more than may be written."""
        action, row = write
        changes = [
            Change(place, old, dict(row.values), row.inputs)
            for place, old in enumerate(await self._choose(unit, resource, action, chosen))
        ]
        for change in changes:
            change.path = f"[{','.join(str(change[name]) for name in resource.keys)}]"
        apply_patches(resource, changes, row)
        try:
            gone = await self._apply(unit, resource, action, changes, [row] * len(changes))
        except ApiError as error:
            error.details = error.details[:NAMED]
            raise
        return changes, gone

    async def _choose(
        self, unit: UnitOfWork, resource: Resource, action: Action, chosen: Chosen
    ) -> list[dict[str, Any]]:
        values = chosen.values
        found = await unit.run(self.shop.question("chosen", resource, chosen.shape, action == "delete"), values)
        if len(found) > chosen.most:
            counted = await unit.run(self.shop.question("counted", resource, chosen.shape), values)
            count = counted[0][0]
            text = f"{count} rows match, and Prefer: max-affected allows {chosen.most}; nothing was written"
            fault = Fault("", "too_many_rows", text, {"count": count, "max_affected": chosen.most})
            raise ConflictError("too_many_rows", text, details=[fault])
        return [self.operations.row(resource, record) for record in found]

    # -- one set on its way

    async def _apply(
        self,
        unit: UnitOfWork,
        resource: Resource,
        action: Action,
        changes: Sequence[Change],
        rows: Sequence[Incoming],
    ) -> list[Written]:
        """Change loaded and locked rows; `rows` are what was asked for each, by the index of its change. What is really gone
        cannot be read any more, so it is answered."""
        if not changes:
            return []
        await self._judge(unit, resource, action, changes, rows)
        await self.operations.refusals.keep(unit, resource, action, changes)
        going = action == "delete" and not resource.soft
        gone = await self.operations.change_all(unit, resource, action, changes, () if going else None)
        nested = [change for change in changes if change.found is None and rows[change.index].nested]
        await replace_nested(self.operations, unit, resource, nested, rows)
        return [Written(record[0], record[1], {}) for record in gone or ()]

    async def _judge(
        self,
        unit: UnitOfWork,
        resource: Resource,
        action: Action,
        changes: Sequence[Change],
        rows: Sequence[Incoming],
    ) -> None:
        """Raise what stands against the write, with each row that it is said of."""
        known = await self._surroundings(unit, resource, action, changes)
        faults: list[tuple[Change, ApiError]] = []
        for change in changes:
            key = tuple(change[name] for name in resource.keys)
            state = standing(resource, change) | known.get(key, {})
            asked = (action, rows[change.index], [str(part) for part in key])
            error = await self.operations.refusals.judge(unit, resource, asked, state)
            if error is not None:
                faults.append((change, error))
        if faults:
            keys = [[change[name] for name in resource.keys] for change in changes]
            refused = [([change[name] for name in resource.keys], error) for change, error in faults[:NAMED]]
            await self.operations.refusals.tell_users(unit, resource, keys, refused)
            raise _together(faults)

    async def _surroundings(
        self, unit: UnitOfWork, resource: Resource, action: Action, changes: Sequence[Change]
    ) -> dict[tuple[Any, ...], dict[str, Any]]:
        """Key -> whether others refer to the row, the status of its header, and whether the caller has it, as far as that
        counts."""
        restricting = self.shop.writes.restricting(resource) if action == "delete" else ()
        limits = limited(unit, resource, action)
        if not restricting and resource.header is None and not any(limits):
            return {}
        keys = [tuple(change[name] for name in resource.keys) for change in changes]
        given = key_parameter(resource, [key[0] for key in keys] if resource.by_uuid else keys)
        statement = self.shop.question("states", resource, restricting, limits)
        return {
            tuple(found[name] for name in resource.keys): {name: found[name] for name in SURROUNDINGS}
            for found in await unit.run(statement, unit.base(resource, keys=given))
        }

    # -- by unique key

    async def upsert(
        self, unit: UnitOfWork, resource: Resource, key: Unique, rows: Sequence[Incoming], paths: Sequence[str]
    ) -> list[Written]:
        """Create each row, or update the one that has the same unique key; `found` of the answer says which. `paths`: where
        the rows stand in the body."""
        values = [_filled(resource, row) for row in rows]
        await self._refuse_keyless(unit, resource, key, (values, paths))
        written: dict[int, Written] = {}
        for look in range(LOOKS):
            known, others = await self._known(unit, resource, key, rows, values)
            # in the order of the keys, so that two sets with the same ones do not wait for each other
            fresh = sorted(set(range(len(rows))) - known.keys(), key=lambda i: repr(_key_of(key, values[i])))
            try:
                made = await self._create(unit, resource, [rows[i] for i in fresh], [paths[i] for i in fresh])
                written = dict(zip(fresh, made, strict=True))
                break
            except ApiError as error:
                if look == LOOKS - 1 or not _is_of(error, key):
                    raise
        faults = [fault.under(paths[i]) for i in known for fault in _set_once(resource, rows[i], others[i])]
        if faults:
            raise invalid(faults)
        written |= await self._update_known(unit, resource, known, rows, paths)
        return [written[i] for i in range(len(rows))]

    async def _update_known(
        self,
        unit: UnitOfWork,
        resource: Resource,
        known: Mapping[int, dict[str, Any]],
        rows: Sequence[Incoming],
        paths: Sequence[str],
    ) -> dict[int, Written]:
        """Bring stored rows to what the bodies say."""
        asked = [_patch(resource, row) for row in rows]
        changes = [Change(i, old, asked[i].values, asked[i].inputs) for i, old in known.items()]
        for change in changes:
            change.path = paths[change.index]
        await self._apply(unit, resource, "update", changes, asked)
        answers = await self.operations.answer(unit, resource, changes) if changes else []
        return {c.index: answer._replace(found=True) for c, answer in zip(changes, answers, strict=True)}

    async def _create(
        self, unit: UnitOfWork, resource: Resource, rows: Sequence[Incoming], paths: Sequence[str]
    ) -> list[Written]:
        if not rows:
            return []
        async with unit.attempt():
            return await self.operations.create(unit, resource, rows, paths)

    async def _known(
        self,
        unit: UnitOfWork,
        resource: Resource,
        key: Unique,
        rows: Sequence[Incoming],
        values: Sequence[Mapping[str, Any]],
    ) -> tuple[dict[int, dict[str, Any]], dict[int, Collection[str]]]:
        """Place in the body -> the stored row with the same unique key, locked; and what the body says of it otherwise, though
        only a creation may say it. Of somebody else's table its database tells, which knows one value in two spellings."""
        fixed = (
            {n for row in rows for n in row.values if not resource.fields[n].updatable} if resource.foreign else set()
        )
        once = tuple(sorted(fixed - set(key.columns)))
        statement = self.shop.question("same_unique", resource, key, once, resource.limits(unit.principal, "read"))
        given = _records(resource, (*named_by(resource, key), *once), values)
        found = await unit.run(statement, unit.base(resource, rows=given))
        known = {row.pop("cxg_ord"): row for row in (self.operations.row(resource, record) for record in found)}
        others = {place: row.pop("cxg_other") for place, row in known.items()}
        if not resource.foreign:
            others = {place: _others(resource, rows[place], row) for place, row in known.items()}
        return known, others

    async def _refuse_keyless(
        self,
        unit: UnitOfWork,
        resource: Resource,
        key: Unique,
        given: tuple[Sequence[Mapping[str, Any]], Sequence[str]],
    ) -> None:
        """422 for rows that the key does not tell from others, so that each run would make them anew: its columns are empty, its
        condition does not hold of them, or two of one body have the same."""
        values, paths = given
        faults = [
            fault.under(path) for row, path in zip(values, paths, strict=True) for fault in _empty(resource, key, row)
        ]
        if not faults and key.where:
            rows = {"rows": _records(resource, named_by(resource, key), values)}
            under = {record[0] for record in await unit.run(self.shop.question("covered", resource, key), rows)}
            outside = _outside(resource, key)
            faults = [outside.under(path) for place, path in enumerate(paths) if place not in under]
        if not faults:
            first: dict[str, int] = {}
            again = [
                place for place, row in enumerate(values) if first.setdefault(repr(_key_of(key, row)), place) != place
            ]
            repeated = Fault(key.columns[0], "repeated", "is given to two rows of the body")
            faults = [repeated.under(paths[place]) for place in again]
        if faults:
            raise invalid(faults)


def _filled(resource: Resource, row: Incoming) -> dict[str, Any]:
    """The columns of a row as a creation would begin with them."""
    values = dict(row.values)
    fill(resource, values)
    if resource.stateful:
        values["status"] = resource.machine.initial
    return {**values, "is_active": True} if not resource.foreign else values


def _key_of(key: Unique, values: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(values.get(name) for name in key.columns)


def _empty(resource: Resource, key: Unique, values: Mapping[str, Any]) -> list[Fault]:
    """What a row lacks to be known by a unique key."""
    text = "must be given: it is a part of the key by which the row is known"
    by_default = {n for n in resource.silent - values.keys() if has_constant(resource.fields[n])}
    lacking = (name for name in key.columns if values.get(name) is None and name not in by_default)
    return [
        Fault(name, "required", text) for name in lacking if not (key.nulls_equal and resource.fields[name].nullable)
    ]


def _outside(resource: Resource, key: Unique) -> Fault:
    """What is said of a row that a partial key is not about."""
    deciding = [name for name in named_by(resource, key) if resource.fields[name].shown]
    named = [name for name in deciding if name not in key.columns] or list(key.columns)
    text = f"on={','.join(key.columns)} is not about this row, because of its {' and '.join(named)}; create it, or name another key"
    return Fault(named[0], "outside_key", text)


def _records(resource: Resource, names: Collection[str], values: Sequence[Mapping[str, Any]]) -> str:
    records = [
        {
            **{name: row.get(name) for name in names},
            "cxg_ord": place,
            LEFT: sorted(resource.silent - row.keys()),
            "cxg_said": [name for name in names if name in row],
        }
        for place, row in enumerate(values)
    ]
    return ENCODER.encode(records).decode()


def _others(resource: Resource, row: Incoming, old: Mapping[str, Any]) -> list[str]:
    """The columns that only a creation may say, and that are another in the stored row."""
    return [n for n, value in row.values.items() if not resource.fields[n].updatable and old[n] != value]


def _set_once(resource: Resource, row: Incoming, others: Collection[str]) -> list[Fault]:
    """What a body says otherwise than the stored row, though only a creation may say it."""
    once = [name for name in others if name]
    once += [name for name in row.nested if "u" not in resource.nested[name].on]
    return [Fault(name, "write_once", "can only be given at creation") for name in once]


def _patch(resource: Resource, row: Incoming) -> Incoming:
    """The update that a body for a creation means."""
    values = {name: value for name, value in row.values.items() if resource.fields[name].updatable}
    return Incoming(values, row.inputs, row.nested)


def _is_of(error: ApiError, key: Unique) -> bool:
    """Whether somebody else has just made a row with the unique key."""
    named = {fault.field.rpartition(".")[2] for fault in error.details}
    return error.code == "duplicate" and named == set(key.columns)


def _together(faults: Sequence[tuple[Change, ApiError]]) -> ApiError:
    """The first error; in a set it names each row that has the same one."""
    first = faults[0][1]
    if len(faults) == 1 and not faults[0][0].path:
        return first
    details = [
        fault.under(change.path)
        for change, error in faults
        if error.code == first.code
        for fault in (error.details or (Fault("", error.code, error.message),))
    ]
    return first.again(details[:NAMED])


# -- each by itself


async def in_parts(
    unit: UnitOfWork, items: Sequence[Item], run: Callable[[Sequence[Item]], Awaitable[Sequence[Done]]]
) -> list[Done | ApiError]:
    """What becomes of each item. All are tried as one set; where that fails, those that the error names are left out, or the
    set is halved, until what stands against each is known. What is done stays."""
    found: dict[int, Done | ApiError] = {}
    waiting = [list(range(len(items)))] if items else []
    while waiting:
        places = waiting.pop()
        try:
            async with unit.attempt():
                done = await run([items[place] for place in places])
            found.update(zip(places, done, strict=True))
        except UnavailableError:
            raise
        except ApiError as refused:
            error = await located(unit, refused)
            blamed = _blamed(error, places)
            if len(places) == 1:
                found[places[0]] = blamed.get(places[0], error)
            elif blamed:
                found.update(blamed)
                waiting += [rest] if (rest := [place for place in places if place not in blamed]) else []
            else:
                half = len(places) // 2
                waiting += [places[half:], places[:half]]
    return [found[place] for place in range(len(items))]


def _blamed(error: ApiError, places: Sequence[int]) -> dict[int, ApiError]:
    """Place -> the part of an error that is said of the item there; empty when the error does not say of which it is."""
    said: dict[int, list[Fault]] = {}
    for fault in error.details:
        named = INDEX.match(fault.field)
        if named is None or int(named[1]) >= len(places):
            return {}
        own = Fault(fault.field[named.end() :], fault.code, fault.message, fault.params)
        said.setdefault(places[int(named[1])], []).append(own)
    return {place: error.again(faults, _alone(error, faults)) for place, faults in said.items()}


def _alone(error: ApiError, faults: Sequence[Fault]) -> str:
    """The message without the place of another item."""
    if INDEX.match(error.message):
        return f"{faults[0].field}: {faults[0].message}" if faults[0].field else faults[0].message
    return error.message
