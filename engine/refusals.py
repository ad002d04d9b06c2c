"""Why a write found no row: asked on the failure path only, so that the road itself never selects before it writes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from engine.catalog import Resource
from engine.errors import CODES, ApiError, Fault, generic
from engine.fields import Field
from engine.hooks import Change, Row
from engine.moment import UnitOfWork, Workshop
from engine.records import key_parameter, key_values
from engine.shapes import NO_RULES, Incoming, Limited, RowRule, Version
from engine.sql.parts import DIGEST, ENCODER
from engine.types import Op

# what is asked of stored rows beside their columns, which may have any name
SURROUNDINGS = ("cxg_referred", "cxg_header", "cxg_seen", "cxg_own")
CANONICAL_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch


class Unchanged(Exception):
    """The row is already in the state asked for: answered with 200 and the row as it is."""


class Refusals:
    """Explains writes that matched nothing."""

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop

    async def explain(
        self, unit: UnitOfWork, resource: Resource, action: str, row: Incoming, *, key: Sequence[str]
    ) -> ApiError:
        """The error of a change of one row that found nothing. Raises Unchanged when there was nothing to do."""
        state = await self._state(unit, resource, key, limited(unit, resource, action))
        error = await self.judge(unit, resource, (action, row, key), state)
        if error is not None:
            await self.tell_users(unit, resource, [key], [(key, error)])
            return error
        checked = [name for name in resource.reference_columns if name in row.values]
        return await self.references(unit, resource, [Change(0, None, row.values)], checked)

    async def _state(self, unit: UnitOfWork, resource: Resource, key: Sequence[str], limits: Limited) -> dict[str, Any]:
        """Of the stored row; empty when there is none."""
        values = unit.base(resource, **key_values(key))
        statement = self.shop.question("state", resource, self.shop.writes.restricting(resource), limits)
        found = await unit.run(statement, values)
        return dict(found[0].items()) if found else {}

    async def judge(
        self, unit: UnitOfWork, resource: Resource, write: tuple[str, Incoming, Sequence[str]], state: Mapping[str, Any]
    ) -> ApiError | None:
        """What stands against a write, given the row's state (empty = no such row)."""
        action, row, key = write
        if not state:
            return generic("not_found")
        if not state.get("cxg_seen", True):
            return generic("not_found")
        if not state.get("cxg_own", True):
            # a row that he may read, but not write
            return generic("permission_denied")
        if not state["is_active"] and resource.marks.active not in row.values:
            return generic("not_found")
        if row.version is not None and row.version != state["version"]:
            # a tag that is no version of any row says nothing of what came after it
            moved = await self.moved(unit, resource, key, row.version) if row.version else []
            if not (unit.merging and are_disjoint(resource, (action, row), moved, state["version"])):
                return self.version_conflict(resource, moved, (row.version, state["version"]))
        if action == "status":
            return self._status(resource, row, state)
        return self._locked(resource, action, row, state)

    def _status(self, resource: Resource, row: Incoming, state: Mapping[str, Any]) -> ApiError | None:
        if not resource.stateful:
            going = resource.marks.removing(row.values)
            if going != state["is_active"]:
                raise Unchanged
            if self._header_locked(resource, state):
                return generic("document_locked")
            return generic("in_use") if state["cxg_referred"] and going else None
        if state["status"] == row.values["status"]:
            raise Unchanged
        if state["status"] not in resource.machine.sources(row.values["status"]):
            return self.transition(resource, state["status"], row.values["status"])
        return None

    def _locked(self, resource: Resource, action: str, row: Incoming, state: Mapping[str, Any]) -> ApiError | None:
        if self._header_locked(resource, state):
            return generic("document_locked")
        if resource.entity.kind == "document" and resource.stateful and state["status"] != resource.machine.initial:
            if action == "delete":
                return generic("not_draft")
            if not set(row.values) <= set(resource.entity.live) or row.nested:
                return generic("document_locked")
        return generic("in_use") if action == "delete" and state["cxg_referred"] else None

    def _header_locked(self, resource: Resource, state: Mapping[str, Any]) -> bool:
        """Whether a line's document has left its first state."""
        return resource.header is not None and state["cxg_header"] not in (None, resource.header.machine.initial)

    async def tell_users(
        self,
        unit: UnitOfWork,
        resource: Resource,
        keys: Sequence[Sequence[Any]],
        errors: Sequence[tuple[Sequence[Any], ApiError]],
    ) -> None:
        """Say of rows that are `in_use` by what: how many rows of which entity, where the caller may read those. `keys`: of all
        rows that were to go, which do not count."""
        errors = [(key, error) for key, error in errors if error.code == "in_use"]
        if not errors:
            return
        references = self.shop.writes.restricting(resource)
        whole = [UUID(str(key[0])) for key in keys] if resource.by_uuid else [tuple(key) for key in keys]
        values = unit.base(resource, keys=key_parameter(resource, whole))
        records = await unit.run(self.shop.question("referrers", resource, references), values)
        known = {tuple(str(record[name]) for name in resource.keys): record for record in records}
        entities = [self.shop.catalog.resources.get(path) for path in dict.fromkeys(r.child for r in references)]
        for key, error in errors:
            record = known.get(tuple(map(str, key)))
            counts = [record[f"cxg_{place}"] for place in range(len(entities))] if record is not None else []
            error.details = tuple(_users(unit, zip(entities, counts, strict=False)))

    def transition(self, resource: Resource, source: str, target: str) -> ApiError:
        """409: reserved, or no edge at all; the message lists the ways out."""
        if (source, target) in resource.machine.reserved:
            return generic("reserved_transition")
        ways = ", ".join(resource.machine.targets(source)) or "nowhere"
        return generic("invalid_transition", f"From {source!r} the status can go to: {ways}; not to {target!r}")

    async def check(
        self, unit: UnitOfWork, resource: Resource, action: str, pair: tuple[Change, Incoming], guards: tuple[str, ...]
    ) -> None:
        """Judge a row that was loaded under lock, before any hook runs. Raises what stands against the write."""
        change, row = pair
        if change.old is None:
            raise generic("not_found")
        state = standing(resource, change)
        key = [str(change.old[name]) for name in resource.keys]
        limits = limited(unit, resource, action)
        if {"unreferenced", "header"} & set(guards) or any(limits):
            found = await self._state(unit, resource, key, limits)
            state |= {name: found[name] for name in SURROUNDINGS}
        error = await self.judge(unit, resource, (action, row, key), state)
        if error is not None:
            await self.tell_users(unit, resource, [key], [(key, error)])
            raise error
        if resource.marks.restoring(row.values):
            await self._parents(unit, resource, change)

    async def _parents(self, unit: UnitOfWork, resource: Resource, change: Change) -> None:
        """A restored row must refer to active rows again."""
        assert change.old is not None
        given = {name: change.old[name] for name in resource.reference_columns if change.old[name] is not None}
        stored = Change(0, None, given)
        # nobody names these anew, so it does not matter whether the caller sees them
        stored.by_engine = True
        missing = await self._missing(unit, resource, [stored], tuple(given))
        if missing:
            raise generic("invalid_reference", details=missing)

    async def references(
        self, unit: UnitOfWork, resource: Resource, changes: Sequence[Change], checked: Sequence[str]
    ) -> ApiError:
        """The error of rows whose references did not all name active rows."""
        missing = await self._missing(unit, resource, changes, checked)
        if missing:
            return generic("invalid_reference", details=missing)
        if resource.header is not None:
            return generic("document_locked")
        # nothing else that could be gone the next time: a trigger of theirs skipped it
        return generic("rejected_by_database" if resource.foreign else "serialization_conflict")

    async def _missing(
        self, unit: UnitOfWork, resource: Resource, changes: Sequence[Change], checked: Sequence[str]
    ) -> list[Fault]:
        given = {
            name: [change.values[name] for change in changes if change.values.get(name) is not None] for name in checked
        }
        given = {name: ids for name, ids in given.items() if ids}
        if not given:
            return []
        by_engine = all(change.by_engine for change in changes)
        seen = NO_RULES if by_engine else resource.seen_beside(unit.principal, given)
        statement = self.shop.question("missing_references", resource, tuple(given), seen)
        record = (await unit.run(statement, unit.base(resource, **{f"r_{name}": ids for name, ids in given.items()})))[
            0
        ]
        lost = {name: {str(key) for key in record[name] or ()} for name in given}
        return [
            Fault(name, "invalid_reference", "names no active row").under(change.path)
            for change in changes
            for name in given
            if str(change.values.get(name)) in lost[name]
        ]

    # -- rows of the caller's own

    async def keep(self, unit: UnitOfWork, resource: Resource, right: str, changes: Sequence[Change]) -> None:
        """403 for rows that a caller makes, or would leave behind, as what he does not have. Asked before the write, whose
        keys might tell of others' rows."""
        if resource.row_limits == () or right not in ("create", "update"):
            return
        mine = [change for change in changes if not change.by_engine]
        given = {name for change in mine for name in change.given} if right == "update" else None
        rules = resource.limits(unit.principal, right, given) if mine else NO_RULES
        if not rules:
            return
        names = {name for rule in rules for name in rule.columns}
        rows = [
            {**{name: _will_be(unit, resource, change, name) for name in names}, "cxg_ord": place}
            for place, change in enumerate(mine)
        ]
        values = unit.base(resource, rows=ENCODER.encode(rows).decode())
        found = await unit.run(self.shop.question("misfits", resource, rules), values)
        foreign = [mine[record[0]] for record in found]
        if foreign:
            text, details = _belonging(resource, rules, foreign)
            raise generic("permission_denied", text, details=details)

    async def _limited(
        self, unit: UnitOfWork, resource: Resource, keys: Sequence[tuple[Any, ...]], limits: Limited
    ) -> dict[tuple[Any, ...], Any]:
        """Key -> whether the stored row exists for the caller, and whether he has it."""
        given = key_parameter(resource, [key[0] for key in keys] if resource.by_uuid else keys)
        statement = self.shop.question("states", resource, (), limits)
        records = await unit.run(statement, unit.base(resource, keys=given))
        return {tuple(record[name] for name in resource.keys): record for record in records}

    async def removable(self, unit: UnitOfWork, resource: Resource, rows: Sequence[Row]) -> Sequence[Row]:
        """Of the child rows of a header those that a caller replaces: what does not exist for him stays as it is."""
        limits = limited(unit, resource, "delete")
        if not rows or not any(limits):
            return rows
        keys = [tuple(row[name] for name in resource.keys) for row in rows]
        found = await self._limited(unit, resource, keys, limits)
        seen = [(row, found[key]) for row, key in zip(rows, keys, strict=True) if found[key]["cxg_seen"]]
        if not all(record["cxg_own"] for _, record in seen):
            raise generic("permission_denied")
        return [row for row, _ in seen]

    async def moved(self, unit: UnitOfWork, resource: Resource, key: Sequence[str], since: Version) -> list[Any]:
        """(version, actor_id, names) of the changes after a version, oldest first, as far as they are logged; 20 at most."""
        log = self.shop.catalog.roles.get((resource.scope.name, "change_log"))
        if log is None or not isinstance(since, int) or resource.foreign:
            return []
        values: dict[str, Any] = {f"key{i}": part for i, part in enumerate(key)}
        values |= {"tenant": unit.tenant, "since": since}
        return await unit.run(self.shop.question("moved", resource, log), values)

    def version_conflict(self, resource: Resource, moved: Sequence[Any], versions: tuple[Any, Any]) -> ApiError:
        """409 that names the fields that moved since the version that the caller knew, and by whom."""
        details = []
        for record in moved:
            params = {"version": record["version"], "by": str(record["actor_id"]) if record["actor_id"] else None}
            names = [name for name in record["names"] or () if self._public(resource, name)]
            # a version that no column moved counts what happened to nested rows
            names = names or [*resource.nested] if set(record["names"] or ()) <= {"version"} else names
            details += [Fault(name, "changed", "was changed in between", params) for name in names]
        known = f", not {versions[0]}" if versions[0] else ""
        counted = f"The row is at version {versions[1]}{known}; read it again"
        return generic("version_conflict", counted if resource.versioned else "", details=details)

    def _public(self, resource: Resource, name: str) -> bool:
        return name != "version" and name in resource.fields and resource.fields[name].shown


def _users(unit: UnitOfWork, counted: Iterable[tuple[Resource | None, int]]) -> Iterator[Fault]:
    """What refers to a row: of entities whose rows the caller may all read, how many; of the others, that there are some."""
    who, others = unit.principal, False
    for entity, count in counted:
        if not count:
            continue
        if entity is None or not who.may(entity.permissions[Op.LIST]) or entity.limits(who, "read"):
            others = True
            continue
        text = f"{count} active {'row' if count == 1 else 'rows'} of {entity.key} still refer to this one"
        yield Fault("", "in_use", text, {"entity": entity.key, "count": count})
    if others:
        yield Fault("", "in_use", CODES["in_use"][2])


def limited(unit: UnitOfWork, resource: Resource, action: str) -> Limited:
    """Which rows of an entity exist for the caller, and which he may write."""
    if not resource.row_limits:
        return Limited()
    return Limited(resource.limits(unit.principal, "read"), resource.limits(unit.principal, action))


def seen_beside(unit: UnitOfWork, resource: Resource, changes: Sequence[Change]) -> frozenset[RowRule]:
    """The rules of the rows that callers' changes refer to, and of those shown in theirs."""
    if not resource.beside:
        return NO_RULES
    given = {name for change in changes if not change.by_engine for name in change.given}
    return resource.seen_beside(unit.principal, given) if given else NO_RULES


def _will_be(unit: UnitOfWork, resource: Resource, change: Change, name: str) -> Any:
    """The value that a column of a row is going to have."""
    value = change[name]
    if value is not None or change.old is not None or name in change.values:
        return value
    who, status = unit.principal.user_id, resource.machine.initial if resource.stateful else None
    new = {"created_by": who, "updated_by": who, "status": status, "is_active": True, "version": 1}
    return unit.now if name in ("created_at", "updated_at") else new.get(name)


def _belonging(
    resource: Resource, rules: Collection[RowRule], foreign: Sequence[Change]
) -> tuple[str, tuple[Fault, ...]]:
    """What is said of rows that the caller does not have."""
    lifting = [limit.unless for limit in resource.row_limits or () if limit.rule in rules and limit.unless]
    text = f"Rows of others need the permission {lifting[0]}" if lifting else "The row would not be one of yours"
    return text, tuple(Fault("", "permission_denied", text).under(change.path) for change in foreign if change.path)


def standing(resource: Resource, change: Change) -> dict[str, Any]:
    """What a write of a loaded row is judged by: whether it is there, its version or digest, its status; nothing that it is
    surrounded by."""
    old = change.old or {}
    version = old.get(resource.marks.version or DIGEST)
    status = old["status"] if resource.stateful else None
    there = {"is_active": resource.marks.living(old), "version": version, "status": status}
    return {**there, "cxg_referred": False, "cxg_header": None}


def are_disjoint(resource: Resource, write: tuple[str, Incoming], moved: Sequence[Any], stored: Version) -> bool:
    """Whether an edit of an older version touches no field that was changed since. The log must know each version in between;
    a deletion touches all fields, and of virtual fields nobody can tell what they touch."""
    action, row = write
    known = row.version
    if not isinstance(known, int) or not isinstance(stored, int) or known > stored:
        return False
    if action == "delete" or set(row.inputs) - {"reason"}:
        return False
    if [record["version"] for record in moved] != list(range(known + 1, stored + 1)):
        return False
    changed = [set(record["names"] or ()) - {"version"} for record in moved]
    return all(names.isdisjoint(row.values) and not (row.nested and _of_parts(resource, names)) for names in changed)


def _of_parts(resource: Resource, names: Collection[str]) -> bool:
    """Whether a record of a header may tell of its nested rows: of their sums, or of nothing but a new version."""
    return not names or not {rollup.column for rollup in resource.entity.rollups}.isdisjoint(names)


def key_of(resource: Resource, parts: Sequence[str]) -> tuple[str, ...]:
    """The key of a path as its columns take it. 404 for what cannot be a key."""
    if len(parts) != len(resource.keys):
        raise generic("not_found")
    for name, part in zip(resource.keys, parts, strict=True):
        uuid = resource.fields[name].scalar.name == "uuid"
        if not (CANONICAL_UUID(part) if uuid else _fits(resource.fields[name], part)):
            raise generic("not_found")
    return tuple(parts)


def _fits(field: Field, text: str) -> bool:
    try:
        value = msgspec.convert(text, field.annotation, strict=False)
        return bool(text) and (field.finish is None or field.finish(value) is not None)
    except (msgspec.ValidationError, ValueError):
        return False
