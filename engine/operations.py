"""What each operation does once it is allowed and parsed. Requests and hooks walk the same road.

Without hooks an operation is one statement in autocommit. With hooks, several rows, nested rows or cascades it is one
transaction: lock, BEFORE hooks, the statement, nested rows, AFTER hooks, answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from engine.catalog import Resource
from engine.clashes import remember
from engine.clock import id_text
from engine.errors import ApiError
from engine.hooks import Change, Key, Point, Row
from engine.moment import UnitOfWork, Workshop
from engine.nesting import MANY, nest, replace_nested
from engine.patches import apply_patches
from engine.records import (
    Action,
    Asked,
    Ready,
    RulesConcerned,
    WriteStatements,
    Written,
    change_records,
    change_shape,
    insert_records,
    key_parameter,
    key_values,
    left_of,
    looked_at,
    new_changes,
    points_of,
    row_key,
    split_virtual,
    stamped,
    travelling,
    written,
)
from engine.refusals import Refusals, limited, seen_beside
from engine.roads import followed, following, referring
from engine.secrets import opened
from engine.shapes import Incoming
from engine.store import retriable, translate
from engine.stored import plain


class Operations:
    """The operations over one catalogue."""

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self.refusals = Refusals(shop)
        self.statements = WriteStatements(shop)

    # -- reading for hooks

    async def rows(
        self, unit: UnitOfWork, resource: Resource, keys: Sequence[Key], *, lock: Action | None
    ) -> list[dict[str, Any] | None]:
        """All columns of rows by key, deleted ones included, None for absent ones; with `lock`, what is going to be done to
        them, they are held until the end of the transaction."""
        asked = ("locked_rows", resource, lock == "delete") if lock else ("plain_rows", resource)
        statement = self.shop.question(*asked)
        records = await unit.run(statement, {"keys": key_parameter(resource, keys), "tenant": unit.tenant})
        rows = [self.row(resource, record) for record in records]
        if resource.by_uuid:
            by_id = {row["id"]: row for row in rows}
            return [by_id.get(key) for key in keys]
        by_place = {row.pop("cxg_given"): row for row in rows}
        return [by_place.get(place) for place in range(len(keys))]

    def row(self, resource: Resource, record: Any) -> dict[str, Any]:
        """A stored row as rules see it."""
        return opened(self.shop.vault, resource, plain(record, resource.json_columns))

    # -- create

    async def create(
        self, unit: UnitOfWork, resource: Resource, rows: Sequence[Incoming], paths: Sequence[str] = ()
    ) -> list[Written]:
        """Insert rows as a caller may. `paths`: where they stand in a body of more."""
        if unit.connection is None:
            changes = [Change(0, None, rows[0].values, rows[0].inputs)]
            return written(resource, changes, await self.insert(unit, resource, changes, internal=False))
        changes = await self.prepare(unit, resource, rows, False, paths)
        if not looked_at(resource, rows) and all(change.found is None for change in changes):
            return written(resource, changes, await self.insert(unit, resource, changes, internal=False))
        return await self.answer(unit, resource, await self._store(unit, resource, rows, changes))

    async def create_internal(
        self, unit: UnitOfWork, resource: Resource, rows: Sequence[Mapping[str, Any]]
    ) -> list[Row]:
        """Insert rows as the engine may: any column can be given."""
        changes = await self.create_all(unit, resource, [split_virtual(resource, row) for row in rows], by_engine=True)
        return [change.values for change in changes]

    async def create_all(
        self,
        unit: UnitOfWork,
        resource: Resource,
        rows: Sequence[Incoming],
        *,
        by_engine: bool = False,
        paths: Sequence[str] = (),
    ) -> list[Change]:
        """New rows up to their AFTER rules, unanswered. `paths`: where they stand in a body, if not the body itself."""
        changes = await self.prepare(unit, resource, rows, by_engine, paths)
        return await self._store(unit, resource, rows, changes)

    async def _store(
        self, unit: UnitOfWork, resource: Resource, rows: Sequence[Incoming], changes: list[Change]
    ) -> list[Change]:
        fresh = [change for change in changes if change.found is None]
        records = await self.insert(unit, resource, fresh, internal=True) if fresh else []
        for change, record in zip(fresh, records, strict=True):
            change.values = self.row(resource, record)
        await nest(self, unit, resource, fresh, rows)
        await self._hooks(unit, resource, Point.AFTER_CREATE, fresh)
        self._remember(unit, resource, fresh)
        return changes

    async def prepare(
        self, unit: UnitOfWork, resource: Resource, rows: Sequence[Incoming], by_engine: bool, paths: Sequence[str]
    ) -> list[Change]:
        """New rows up to their insert: defaults, BEFORE rules, numbers. `paths` as above."""
        changes = new_changes(resource, rows, by_engine, paths)
        await self._hooks(unit, resource, Point.BEFORE_CREATE, changes)
        fresh = [change for change in changes if change.found is None]
        await self._number(unit, resource, fresh, "create")
        return changes

    async def insert(
        self, unit: UnitOfWork, resource: Resource, changes: Sequence[Change], *, internal: bool | None
    ) -> list[Any]:
        """Their records: as a caller sees them, with all columns (`internal`), or empty (None)."""
        return await self.insert_ready(unit, resource, self.ready(unit, resource, changes, internal))

    def ready(self, unit: UnitOfWork, resource: Resource, changes: Sequence[Change], internal: bool | None) -> Ready:
        """New rows as they travel."""
        columns, records = insert_records(resource, changes)
        text, seen = travelling(self.shop, resource, records), seen_beside(unit, resource, changes)
        return Ready(changes, self.statements.insert(resource, columns, internal, seen), text)

    async def insert_ready(self, unit: UnitOfWork, resource: Resource, ready: Ready) -> list[Any]:
        """Their records, as `insert` gives them."""
        await self.refusals.keep(unit, resource, "create", ready.changes)
        try:
            found = await self._run(unit, resource, ready.statement, unit.base(resource, rows=ready.rows))
        except ApiError as error:
            remember(error, resource, ready.changes, ready.rows)
            raise
        if len(found) != len(ready.changes):
            raise await self.refusals.references(unit, resource, ready.changes, resource.reference_columns)
        unit.note_headers(resource, ready.changes)
        return found

    async def _run(self, unit: UnitOfWork, resource: Resource, statement: Any, values: dict[str, Any]) -> list[Any]:
        try:
            found = await unit.run(statement, values)
        except Exception as error:
            if retriable(error):
                raise
            raise translate(error, resource, writing=True) from error
        unit.note_write()
        if resource.entity.role == "settings":
            unit.forget_settings()
        return found

    async def _number(self, unit: UnitOfWork, resource: Resource, changes: Sequence[Change], moment: str) -> None:
        number = resource.entity.number
        if number is None or number.at != moment:
            return
        series: dict[tuple[str, int], list[Change]] = {}
        for change in changes:
            if change[number.column] is None:
                day = (change[number.date] if number.date else None) or unit.today
                series.setdefault((number.prefix_of(change), day.year), []).append(change)
        # in one order, so that two who need several series do not wait for each other
        for (prefix, year), numbered in sorted(series.items(), key=lambda item: item[0]):
            numbers = await unit.numbers(prefix, date(year, 1, 1), len(numbered))
            for change, text in zip(numbered, numbers, strict=True):
                change.values[number.column] = text

    # -- change

    async def change_internal(
        self, unit: UnitOfWork, resource: Resource, action: Action, rows: Sequence[Mapping[str, Any]]
    ) -> list[Row]:
        """Update or delete rows as the engine may: any column, whatever the document's state."""
        given = [
            (row_key(resource, row), split_virtual(resource, {k: v for k, v in row.items() if k not in resource.keys}))
            for row in rows
        ]
        wanted = [(key, split.values, split.inputs) for key, split in given]
        changes = await self.load(unit, resource, wanted, lock=action, by_engine=True)
        alive = [change for change in changes if change.old is not None and resource.marks.living(change.old)]
        await self.change_all(unit, resource, action, alive)
        return [change.values for change in alive]

    async def status_internal(
        self, unit: UnitOfWork, resource: Resource, keys: Sequence[Key], move: tuple[str, str | None]
    ) -> list[Row]:
        """Move rows to a state (with a reason), reserved edges included; rows already there stay as they are."""
        status, reason = move
        wanted = [(key, {"status": status}, {"reason": reason}) for key in keys]
        changes = await self.load(unit, resource, wanted, lock="status", by_engine=True)
        moving = [change for change in changes if change.old is not None and change.old["status"] != status]
        for change in moving:
            if change.old["status"] not in resource.machine.sources(status, engine=True):  # type: ignore[index]
                raise self.refusals.transition(resource, str(change.old["status"]), status)  # type: ignore[index]
        await self.change_all(unit, resource, "status", moving)
        return [change.values for change in moving]

    async def load(
        self,
        unit: UnitOfWork,
        resource: Resource,
        wanted: Sequence[tuple[Key, dict[str, Any], Mapping[str, Any]]],
        *,
        lock: Action,
        by_engine: bool = False,
    ) -> list[Change]:
        """Stored rows on their way, each (key, values, inputs), locked for what is going to be done to them."""
        keys = [key for key, _, _ in wanted]
        old = await self.rows(unit, resource, keys, lock=lock) if keys else []
        changes = [Change(index, old[index], dict(values), inputs) for index, (_, values, inputs) in enumerate(wanted)]
        for change in changes:
            change.by_engine = by_engine
        return changes

    async def change(
        self, unit: UnitOfWork, resource: Resource, write: Asked, *, key: Sequence[str], guards: tuple[str, ...]
    ) -> Written:
        """Update, delete or move one row as a caller may. `guards` name what the stored row must be."""
        if unit.connection is None:
            return await self._change_one(unit, resource, write, key=key, guards=guards)
        action, row = write
        wanted = (UUID(key[0]) if resource.by_uuid else tuple(key), row.values, row.inputs)
        changes = await self.load(unit, resource, [wanted], lock=action)
        await self.refusals.check(unit, resource, action, (changes[0], row), guards)
        apply_patches(resource, changes, row)
        await self.refusals.keep(unit, resource, action, changes)
        records = await self.change_all(unit, resource, action, changes, guards)
        if row.nested:
            await replace_nested(self, unit, resource, changes, [row])
        elif records is not None:
            return Written(records[0][0], records[0][1], changes[0].output)
        return (await self.answer(unit, resource, changes))[0]

    async def _change_one(
        self, unit: UnitOfWork, resource: Resource, write: Asked, *, key: Sequence[str], guards: tuple[str, ...]
    ) -> Written:
        action, row = write
        given = row.values | stamped(unit, resource, row.values.get("status"), row.inputs.get("reason"))
        record = {**given, "cxg_ord": 0, "cxg_log": id_text(), "cxg_expected": row.version}
        record.update(zip(resource.keys, key, strict=True), **left_of(resource, row.inputs))
        rules = limited(unit, resource, action), resource.seen_beside(unit.principal, row.values)
        statement = self.statements.change_one(resource, action, frozenset(given), guards, rules)
        values = unit.base(resource, rows=travelling(self.shop, resource, [record]), **key_values(key))
        values["sources"] = resource.ruleless_sources.get(row.values.get("status", ""), ())
        found = await self._run(unit, resource, statement, values)
        if not found:
            error = await self.refusals.explain(unit, resource, action, row, key=key)
            # the row stands where a rule looks on: the same change once more, in a transaction
            raise RulesConcerned if error.code == "serialization_conflict" and action == "status" else error
        return Written(found[0][0], found[0][1], {})

    async def change_all(
        self,
        unit: UnitOfWork,
        resource: Resource,
        action: Action,
        changes: Sequence[Change],
        guards: tuple[str, ...] | None = None,
    ) -> list[Any] | None:
        """Hooks, statement, hooks. A caller's change (`guards` given) that nothing follows has its answer in the statement:
        the records are returned then."""
        before, after = points_of(action)
        await self._hooks(unit, resource, before, changes)
        changes = [change for change in changes if change.found is None]
        if not changes:
            return None
        if action == "status" and resource.stateful:
            await self._enter(unit, resource, changes)
        answering = guards is not None and not followed(self.shop.catalog, resource, after, changes)
        found = await self._change_rows(unit, resource, (action, guards or ()), changes, internal=not answering)
        if answering:
            return found
        for change, record in zip(changes, found, strict=True):
            change.values = self.row(resource, record)
        living = resource.marks.living
        gone = [c.values for c in changes if resource.soft and not living(c.values) and c.old and living(c.old)]
        await self._follow(unit, resource, gone)
        await self._hooks(unit, resource, after, changes)
        self._remember(unit, resource, changes)
        return None

    async def _enter(self, unit: UnitOfWork, resource: Resource, changes: Sequence[Change]) -> None:
        """What entering its state gives each row, now that rules have said which state that is: a number, stamps."""
        for status in dict.fromkeys(change.values["status"] for change in changes):
            entering = [change for change in changes if change.values["status"] == status]
            await self._number(unit, resource, entering, status)
            for change in entering:
                change.values.update(stamped(unit, resource, status, change.reason))

    async def _change_rows(
        self,
        unit: UnitOfWork,
        resource: Resource,
        write: tuple[Action, tuple[str, ...]],
        changes: Sequence[Change],
        *,
        internal: bool,
    ) -> list[Any]:
        action, guards = write
        columns = {name for change in changes for name in change.values}
        records = change_records(resource, changes, columns)
        held = tuple(guard for guard in guards if guard == "inactive")
        shape = change_shape(resource, action, frozenset(columns), held, internal)
        shape = shape._replace(seen=seen_beside(unit, resource, changes))
        rows = travelling(self.shop, resource, list(records.values()))
        values = unit.base(resource, keys=list(records), rows=rows)
        found = await self._run(unit, resource, self.shop.statement(resource, shape), values)
        if len(found) != len(records):
            raise await self.refusals.references(unit, resource, changes, shape.checked)
        unit.note_headers(resource, changes)
        return [found[records[row_key(resource, change.old or {})]["cxg_ord"]] for change in changes]

    def _remember(self, unit: UnitOfWork, resource: Resource, changes: Sequence[Change]) -> None:
        if resource.hooked(Point.DONE):
            unit.done.append((resource, changes))

    async def _follow(self, unit: UnitOfWork, resource: Resource, gone: Sequence[Row]) -> None:
        """Soft delete reaches the rows that refer to these: cascade deletes them, setnull clears the reference."""
        for reference in following(self.shop.catalog, resource) if gone else ():
            child = self.shop.catalog.resources[reference.child]
            rows = await unit.list(child.key, referring(child, reference, gone), limit=MANY)
            keys = [{name: row[name] for name in child.keys} for row in rows]
            if reference.on_delete == "CASCADE":
                await self.change_internal(unit, child, "delete", keys)
            else:
                cleared = {name: None for name, _ in reference.pairs if name not in child.keys}
                await self.change_internal(unit, child, "update", [{**key, **cleared} for key in keys])

    # -- hooks and answers

    async def _hooks(self, unit: UnitOfWork, resource: Resource, point: Point, changes: Sequence[Change]) -> None:
        for rule in resource.hooks.get(point, ()):
            concerned = [change for change in changes if change.found is None and rule.concerns(change, point)]
            if concerned:
                await unit.within(rule, rule.run(unit, concerned))
                for change in concerned:
                    change.touched |= rule.writes

    async def answer(self, unit: UnitOfWork, resource: Resource, changes: Sequence[Change]) -> list[Written]:
        known = [tuple(change[name] for name in resource.keys) for change in changes]
        keys = list(dict.fromkeys(known))
        given = [key[0] for key in keys] if resource.by_uuid else keys
        statement = self.shop.question("reread", resource, resource.seen_beside(unit.principal))
        records = await unit.run(statement, unit.base(resource, keys=key_parameter(resource, given)))
        rows = dict(zip(keys, records, strict=True))
        return [
            Written(rows[key][0], rows[key][1], change.output, key, change.found is not None)
            for key, change in zip(known, changes, strict=True)
        ]
