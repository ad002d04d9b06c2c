"""The kit is worth something only if it fails when it should: it must name entity and check of each planted fault."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from engine import dispatch
from engine.call import Call
from engine.catalog import Resource
from engine.entity import Machine
from engine.errors import ApiError
from engine.fields import Field
from engine.handlers import HANDLERS, writing
from engine.main import System
from engine.moment import Workshop
from engine.operations import Operations
from engine.parse import BodyReader, load_json
from engine.refusals import Refusals
from engine.shapes import Statement
from engine.sql.read import Reads
from engine.sql.write import Writes
from engine.testing.contract import RowMaker, broken, contract_cases
from engine.testing.harness import Live, served, serving, settings_for_tests
from engine.testing.walls import walls
from engine.types import Op, Principal

SCOPES = ("shelf", "desk")
Patch = pytest.MonkeyPatch


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The planted registry beside the bundled one, whose users and tenants it borrows."""
    settings = settings_for_tests(tmp_path_factory.mktemp("planted"))
    with serving(settings, ["registry", "tests.contract.planted"]) as running:
        yield running


def version_not_checked(patch: Patch) -> None:
    """A write forgets which version it was based on."""
    real = writing.change

    async def careless(call: Call, action: Any, row: Any) -> Any:
        row.version = None
        call.request._headers.pop(b"if-match", None)
        return await real(call, action, row)

    patch.setattr(writing, "change", careless)


def hidden_column_returned(patch: Patch) -> None:
    """Reads show every stored column."""
    patch.setattr(Field, "shown", property(lambda field: field.column is not None))


def hidden_column_filtered(patch: Patch) -> None:
    """Filters know hidden columns."""
    patch.setattr(Field, "operators", property(lambda field: ("eq",)))
    patch.setattr("engine.query.field_of", lambda resource, name: resource.fields[name])


def list_shows_deleted(patch: Patch) -> None:
    """Lists do not look at is_active."""
    real = Reads._where
    patch.setattr(
        Reads, "_where", lambda self, resource, row, shape: real(self, resource, row, shape._replace(deleted="include"))
    )


def audit_skipped_on_bulk(patch: Patch) -> None:
    """Several rows at once leave no record."""
    real = Operations.insert

    async def quiet(self: Operations, unit: Any, resource: Any, changes: Any, *, internal: Any) -> Any:
        if len(changes) > 1:
            shop = replace(self.shop.catalog)
            shop.__dict__["roles"] = {}
            self = Operations(Workshop(shop, self.shop.databases, self.shop.vault, self.shop.defaults))
        return await real(self, unit, resource, changes, internal=internal)

    patch.setattr(Operations, "insert", quiet)


def record_without_old_value(patch: Patch) -> None:
    """The record of an update says nothing of what was there."""
    real = Writes._logged

    def blank(self: Writes, field: Field, source: Any) -> Any:
        # rows as they are have a name, rows as they were have none
        return real(self, field, source) if hasattr(source, "name") else sa.null()

    patch.setattr(Writes, "_logged", blank)


def update_resets_other_fields(patch: Patch) -> None:
    """PATCH clears what it is not given."""

    async def forgetful(call: Call) -> Any:
        reader = call.service.reader(call.resource, "update")
        rows, _ = reader.read(await call.body())
        for name, field in reader.fields.items():
            if field.column is not None and field.nullable:
                rows[0].values.setdefault(name, None)
        return await writing.change(call, "update", rows[0])

    patch.setitem(HANDLERS, Op.UPDATE, forgetful)


def read_only_field_taken(patch: Patch) -> None:
    """Bodies may set what only the engine sets."""
    real = BodyReader.__init__

    def open_wide(self: Any, catalog: Any, resource: Any, *rest: Any, **options: Any) -> None:
        real(self, catalog, resource, *rest, **options)
        self.fields |= {name: f for name, f in resource.fields.items() if name in resource.entity.read_only}

    patch.setattr(BodyReader, "__init__", open_wide)


def unknown_field_ignored(patch: Patch) -> None:
    """What is no field is dropped."""
    real = BodyReader._row

    def lenient(self: Any, item: Any, faults: Any, path: str) -> Any:
        known = (
            {k: v for k, v in item.items() if k in self.resource.fields or k == "version"}
            if isinstance(item, dict)
            else item
        )
        return real(self, known, faults, path)

    patch.setattr(BodyReader, "_row", lenient)


def any_transition_taken(patch: Patch) -> None:
    """The machine lets every state be entered from everywhere."""
    patch.setattr(Machine, "sources", lambda self, target, *, engine=False: self.states)


def delete_really_deletes(patch: Patch) -> None:
    """The row is gone from the table."""
    real = HANDLERS[Op.DELETE]

    async def thorough(call: Call) -> Any:
        answer = await real(call)
        sql = Statement(f"delete from {call.resource.table.fullname} where id = $1", ("id",))
        await call.unit.run(sql, {"id": UUID(call.target.key[0])})
        return answer

    patch.setitem(HANDLERS, Op.DELETE, thorough)


def everybody_may(patch: Patch) -> None:
    """No permission is ever missing."""
    patch.setattr(Principal, "may", lambda self, permission: True)


def scopes_not_told_apart(patch: Patch) -> None:
    """A token of one scope opens the other."""
    patch.setattr(dispatch, "admit", lambda principal, target: None)


def bulk_keeps_the_good_rows(patch: Patch) -> None:
    """Faulty bodies of an array are left out instead of refusing it."""
    real = BodyReader._thorough

    def partial(self: Any, body: bytes) -> Any:
        document = load_json(body)
        rows = []
        for item in document if isinstance(document, list) else []:
            with contextlib.suppress(ApiError):
                rows += real(self, json.dumps(item).encode())
        return rows if isinstance(document, list) else real(self, body)

    patch.setattr(BodyReader, "_thorough", partial)


def same_state_counts(patch: Patch) -> None:
    """Asking for the present state writes the row once more."""
    real = Refusals._status

    def write_again(self: Refusals, resource: Resource, row: Any, state: Any) -> Any:
        return None if state["status"] == row.values["status"] else real(self, resource, row, state)

    patch.setattr(Refusals, "_status", write_again)


@dataclass(frozen=True)
class Planted:
    """A fault, and (entity, check) of the failures it must cause."""

    plant: Callable[[Patch], None]
    caught: tuple[tuple[str, str], ...]


BOOKS, TASKS, PROJECTS = "shelf/lib/books", "desk/todo/tasks", "desk/todo/projects"
FAULTS = (
    Planted(version_not_checked, ((BOOKS, "stale_version_refused"), (TASKS, "stale_version_refused"))),
    Planted(hidden_column_returned, ((BOOKS, "hidden_is_never_shown"), (TASKS, "hidden_is_never_shown"))),
    Planted(hidden_column_filtered, ((BOOKS, "hidden_is_never_shown"), (TASKS, "hidden_is_never_shown"))),
    Planted(list_shows_deleted, ((BOOKS, "delete_hides"), (PROJECTS, "delete_hides"))),
    Planted(audit_skipped_on_bulk, ((BOOKS, "audit_is_complete"), (PROJECTS, "audit_is_complete"))),
    Planted(record_without_old_value, ((BOOKS, "audit_is_complete"), (TASKS, "audit_is_complete"))),
    Planted(update_resets_other_fields, ((BOOKS, "update_one_field"), (TASKS, "update_one_field"))),
    Planted(read_only_field_taken, ((BOOKS, "refused_fields"),)),
    Planted(unknown_field_ignored, ((BOOKS, "refused_fields"), (TASKS, "refused_fields"))),
    Planted(any_transition_taken, ((BOOKS, "status_walk"),)),
    Planted(same_state_counts, ((BOOKS, "status_walk"),)),
    Planted(delete_really_deletes, ((BOOKS, "delete_hides"), (PROJECTS, "restore_by_status"))),
    Planted(everybody_may, ((BOOKS, "default_deny"), (TASKS, "default_deny"))),
    Planted(scopes_not_told_apart, ((BOOKS, "wrong_scope"), (TASKS, "wrong_scope"))),
    Planted(bulk_keeps_the_good_rows, ((BOOKS, "bulk_all_or_nothing"), (TASKS, "bulk_all_or_nothing"))),
)


def found(live: Live, checks: set[str]) -> set[tuple[str, str]]:
    """(entity, check) of each failure that the kit reports among the checks, as its message names them."""
    cases = [case for case in contract_cases(live.catalog, SCOPES) if case[1] in checks]
    return {tuple(message.split(":")[0].split(" ")) for message in broken(live, cases)}  # type: ignore[misc]


def test_the_sound_engine_passes(sound: Live) -> None:
    """A registry of one's own passes every check as it is."""
    cases = contract_cases(sound.catalog, SCOPES)
    assert {path for path, _ in cases} == {BOOKS, TASKS, PROJECTS}
    assert list(broken(sound, cases)) == []


def test_a_declaration_can_bring_its_example(sound: Live) -> None:
    """`Entity.info["example"]` holds values, or functions of the row maker, that every body gets."""
    book = RowMaker(sound).make(sound.resource(BOOKS))
    assert (book["language"], book["shelf_mark"]) == ("de", str(len(sound.url)))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.plant.__name__)
def test_the_fault_is_caught(sound: Live, monkeypatch: Patch, fault: Planted) -> None:
    """The kit names entity and check of what the fault breaks."""
    fault.plant(monkeypatch)
    system = System(sound.system.settings)
    system.server = sound.system.server
    system.locate()
    with served(system) as live:
        assert set(fault.caught) <= found(live, {check for _, check in fault.caught})


def test_a_missing_tenant_wall_is_caught(sound: Live) -> None:
    """With both walls down the kit sees the leak; with one of them it does not, for there is none."""
    with walls(sound, statement=False, row_security=False) as live:
        assert found(live, {"tenant_wall"}) == {(TASKS, "tenant_wall"), (PROJECTS, "tenant_wall")}
    for one in ({"statement": False}, {"row_security": False}):
        with walls(sound, **one) as live:
            assert found(live, {"tenant_wall"}) == set()
