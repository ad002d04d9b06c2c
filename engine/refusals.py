"""Why a write found no row: asked on the failure path only, so that the road itself never selects before it writes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from engine.catalog import Resource
from engine.errors import ApiError, Fault, generic
from engine.fields import Field
from engine.hooks import Change
from engine.moment import UnitOfWork, Workshop
from engine.shapes import Incoming

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
        values = {**{f"key{i}": part for i, part in enumerate(key)}, "tenant": unit.tenant}
        found = await unit.run(self.shop.question("state", resource, self.shop.writes.restricting(resource)), values)
        state = dict(found[0].items()) if found else {}
        error = await self.judge(unit, resource, (action, row, key), state)
        if error is not None:
            return error
        checked = [name for name in resource.reference_columns if name in row.values]
        return await self.references(unit, resource, [Change(0, None, row.values)], checked)

    async def judge(
        self, unit: UnitOfWork, resource: Resource, write: tuple[str, Incoming, Sequence[str]], state: Mapping[str, Any]
    ) -> ApiError | None:
        """What stands against a write, given the row's state (empty = no such row)."""
        action, row, key = write
        if not state:
            return generic("not_found")
        if resource.restricts(unit.principal) and state["owner"] != unit.principal.user_id:
            # whose rows everybody may read is told that he may not change them; else they do not exist for him
            return generic("not_found") if resource.owned_reads(unit.principal) else generic("permission_denied")
        wants_inactive = row.values.get("is_active") is True
        if not state["is_active"] and not wants_inactive and "is_active" not in row.values:
            return generic("not_found")
        if row.version is not None and row.version != state["version"]:
            moved = await self.moved(unit, resource, key, row.version)
            if not (unit.merging and are_disjoint(action, row, moved, state["version"])):
                return self.version_conflict(resource, moved, (row.version, state["version"]))
        if action == "status":
            return self._status(resource, row, state)
        return self._locked(resource, action, row, state)

    def _status(self, resource: Resource, row: Incoming, state: Mapping[str, Any]) -> ApiError | None:
        if not resource.stateful:
            if row.values["is_active"] == state["is_active"]:
                raise Unchanged
            if self._header_locked(resource, state):
                return generic("document_locked")
            return generic("in_use") if state["referred"] and not row.values["is_active"] else None
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
        return generic("in_use") if action == "delete" and state["referred"] else None

    def _header_locked(self, resource: Resource, state: Mapping[str, Any]) -> bool:
        """Whether a line's document has left its first state."""
        return resource.header is not None and state["header"] not in (None, resource.header.machine.initial)

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
        state: dict[str, Any] = {"referred": False, "header": None, "status": None, **change.old}
        if resource.entity.owner is not None:
            state["owner"] = change.old[resource.entity.owner.column]
        key = [str(change.old[name]) for name in resource.keys]
        if {"unreferenced", "header"} & set(guards):
            values = {**{f"key{i}": part for i, part in enumerate(key)}, "tenant": unit.tenant}
            found = await unit.run(
                self.shop.question("state", resource, self.shop.writes.restricting(resource)), values
            )
            state |= {"referred": found[0]["referred"], "header": found[0]["header"]}
        error = await self.judge(unit, resource, (action, row, key), state)
        if error is not None:
            raise error
        if row.values.get("is_active") is True:
            await self._parents(unit, resource, change)

    async def _parents(self, unit: UnitOfWork, resource: Resource, change: Change) -> None:
        """A restored row must refer to active rows again."""
        assert change.old is not None
        given = {name: change.old[name] for name in resource.reference_columns if change.old[name] is not None}
        missing = await self._missing(unit, resource, [Change(0, None, given)], tuple(given))
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
        return generic("serialization_conflict")

    async def _missing(
        self, unit: UnitOfWork, resource: Resource, changes: Sequence[Change], checked: Sequence[str]
    ) -> list[Fault]:
        given = {
            name: [change.values[name] for change in changes if change.values.get(name) is not None] for name in checked
        }
        given = {name: ids for name, ids in given.items() if ids}
        if not given:
            return []
        statement = self.shop.question("missing_references", resource, tuple(given))
        record = (
            await unit.run(statement, {"tenant": unit.tenant, **{f"r_{name}": ids for name, ids in given.items()}})
        )[0]
        lost = {name: {str(key) for key in record[name] or ()} for name in given}
        return [
            Fault(name, "invalid_reference", "names no active row").under(change.path)
            for change in changes
            for name in given
            if str(change.values.get(name)) in lost[name]
        ]

    async def moved(self, unit: UnitOfWork, resource: Resource, key: Sequence[str], since: int) -> list[Any]:
        """(version, actor_id, names) of the changes after a version, oldest first, as far as they are logged; 20 at most."""
        log = self.shop.catalog.roles.get((resource.scope.name, "change_log"))
        if log is None:
            return []
        values: dict[str, Any] = {f"key{i}": part for i, part in enumerate(key)}
        values |= {"tenant": unit.tenant, "since": since}
        return await unit.run(self.shop.question("moved", resource, log), values)

    def version_conflict(self, resource: Resource, moved: Sequence[Any], versions: tuple[int, int]) -> ApiError:
        """409 that names the fields that moved since the version that the caller knew, and by whom."""
        details = []
        for record in moved:
            params = {"version": record["version"], "by": str(record["actor_id"]) if record["actor_id"] else None}
            details += [
                Fault(name, "changed", "was changed in between", params)
                for name in record["names"] or ()
                if self._public(resource, name)
            ]
        return generic(
            "version_conflict",
            f"The row is at version {versions[1]}, not {versions[0]}; read it again",
            details=details,
        )

    def _public(self, resource: Resource, name: str) -> bool:
        return name != "version" and name in resource.fields and resource.fields[name].shown


def are_disjoint(action: str, row: Incoming, moved: Sequence[Any], stored: int) -> bool:
    """Whether an edit of an older version touches no field that was changed since. The log must know each version in between;
    a deletion touches all fields, and of child rows and virtual fields nobody can tell what they touch."""
    if action == "delete" or row.nested or set(row.inputs) - {"reason"} or row.version is None or row.version > stored:
        return False
    if [record["version"] for record in moved] != list(range(row.version + 1, stored + 1)):
        return False
    return all(set(record["names"] or ()).isdisjoint({*row.values}) for record in moved)


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
