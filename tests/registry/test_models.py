"""The bundled registry as data: every declaration names what exists, and every table can be made."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Enum, Index, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

import registry
from engine.entity import Entity, Unique
from engine.types import Shaped

COMMON = {"id", "created_at", "updated_at", "created_by", "updated_by", "is_active", "version"}
SCOPES = {scope.name: scope for scope in registry.scopes}
SQL_WORDS = {"is", "not", "null", "or", "and", "true", "false", "in"}


def load_entities() -> dict[str, Entity]:
    """`scope/domain.entity` -> declaration, in every domain file."""
    found: dict[str, Entity] = {}
    for scope in SCOPES:
        package = importlib.import_module(f"registry.{scope}")
        for info in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"registry.{scope}.{info.name}")
            declared = [value for value in vars(module).values() if isinstance(value, Entity)]
            found |= {f"{scope}/{value.key}": value for value in declared if value.domain == info.name}
    return found


ENTITIES = load_entities()
TABLES = [pytest.param(entity.table, id=path) for path, entity in ENTITIES.items()]
every_entity = pytest.mark.parametrize("entity", [pytest.param(e, id=path) for path, e in ENTITIES.items()])
every_table = pytest.mark.parametrize("table", TABLES)


def columns(entity: Entity) -> set[str]:
    """Names of the columns that the table has, or will have once it is registered."""
    return {*entity.table.c.keys(), *COMMON, *(["status"] if entity.machine else [])}


def words(sql: str | None) -> set[str]:
    """Column names in a condition."""
    return set(re.findall(r"[a-z_]+", re.sub(r"'[^']*'", "", sql or ""))) - SQL_WORDS


def test_twelve_domains_are_whole() -> None:
    domains = Counter(path.split(".")[0] for path in ENTITIES)
    assert domains == {
        **{"manager/idam": 6, "manager/bill": 7, "manager/audt": 4, "manager/auto": 4, "manager/tnnt": 4},
        # event types came early, for workflows listen to them
        **{"manager/noti": 4, "manager/cnfg": 4, "manager/intg": 1},
        **{"tenants/sys": 9, "tenants/crm": 5, "tenants/pim": 6, "tenants/fim": 9, "tenants/apm": 6},
    }


def lines_of(entity: Entity) -> int:
    """Lines of its model and declaration."""
    path = inspect.getsourcefile(entity.model)
    assert path is not None
    tree = ast.parse(Path(path).read_text())
    named = entity.model.__name__
    model = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == named)
    said = next(node for node in tree.body if isinstance(node, ast.Assign) and f"Entity({named}," in ast.unparse(node))
    return sum((node.end_lineno or 0) - node.lineno + 1 for node in (model, said))


def test_an_entity_is_a_model_and_a_declaration() -> None:
    assert statistics.median(lines_of(entity) for entity in ENTITIES.values()) <= 25


def test_every_table_is_declared_as_an_entity_of_its_scope() -> None:
    tables = {
        f"{name}/{table.fullname}"
        for name, scope in SCOPES.items()
        for table in scope.metadata.sorted_tables
        if not table.info.get("engine")
    }
    assert tables == {f"{path.split('/')[0]}/{entity.table.fullname}" for path, entity in ENTITIES.items()}


def test_every_domain_has_a_label() -> None:
    for name, scope in SCOPES.items():
        assert set(scope.labels) == {entity.domain for path, entity in ENTITIES.items() if path.startswith(f"{name}/")}


@every_entity
def test_a_declaration_names_columns_of_its_table(entity: Entity) -> None:
    named = {entity.label, *entity.search, *entity.once, *entity.read_only, *entity.auto, *entity.hidden}
    named |= {*entity.masked, *entity.encrypted, *entity.live, *([entity.tree] if entity.tree else [])}
    named |= {entity.number.column} if entity.number else set()
    assert named <= columns(entity)
    for key in entity.unique:
        parts = {*key.columns, *words(key.where)} if isinstance(key, Unique) else {key}
        assert parts <= columns(entity)
    assert not {virtual.name for virtual in entity.virtual} & columns(entity)


@every_entity
def test_flags_do_not_contradict_each_other(entity: Entity) -> None:
    assert not set(entity.once) & set(entity.read_only)
    assert not set(entity.live) & {*entity.once, *entity.read_only}
    assert set(entity.encrypted) <= {*entity.hidden, *entity.masked}
    for name in entity.auto:
        column = entity.table.c[name]
        assert not column.nullable and column.default is None and name not in entity.read_only


@every_entity
def test_a_machine_fits_its_operations(entity: Entity) -> None:
    machine = entity.life
    reached, edges = {machine.initial}, machine.edges | machine.reserved
    for _ in machine.states:
        reached |= {target for source, target in edges if source in reached}
    assert reached == set(machine.states)
    if entity.machine:
        assert ("s" in entity.operations) == bool(machine.edges)
    for state in re.findall(r"'(\w+)'", " ".join(key.where or "" for key in entity.unique if isinstance(key, Unique))):
        assert state in machine.states


@every_entity
def test_nested_children_point_back(entity: Entity) -> None:
    scope = next(name for name, scope in SCOPES.items() if scope.metadata is entity.table.metadata)
    for nested in entity.nested:
        child = ENTITIES[f"{scope}/{nested.entity}"]
        (key,) = child.table.c[nested.link(child)].foreign_keys
        assert key.column.table is entity.table
    if entity.parent:
        header, via = entity.parent
        (key,) = entity.table.c[via].foreign_keys
        assert key.column.table is ENTITIES[f"{scope}/{header}"].table
        assert entity.key in {nested.entity for nested in ENTITIES[f"{scope}/{header}"].nested}


@every_table
def test_a_default_is_one_of_the_values_allowed(table: Table) -> None:
    for column in table.c:
        declared: Any = column.default
        if declared is None:
            continue
        default = declared.arg(None) if declared.is_callable else declared.arg
        if isinstance(column.type, Enum):
            assert default in column.type.enums
        if isinstance(column.type, Shaped):
            msgspec.convert(default, column.type.shape, strict=True)


@every_table
def test_the_longest_state_fits_its_column(table: Table) -> None:
    for column in table.c:
        if isinstance(column.type, Enum):
            assert max(map(len, column.type.enums)) <= (column.type.length or 0)


@every_table
def test_foreign_keys_resolve(table: Table) -> None:
    for key in table.foreign_keys:
        assert key.column.table.metadata is table.metadata
        assert key.column.primary_key or key.column.name == "tenant_id"
        if (key.ondelete or "").startswith("SET NULL"):
            assert key.parent.nullable or key.parent.name == "tenant_id"


@every_table
def test_a_reference_outside_has_no_table_here(table: Table) -> None:
    scope = next(name for name, scope in SCOPES.items() if scope.metadata is table.metadata)
    for column in table.c:
        target = column.info.get("outside")
        if target is not None:
            assert re.fullmatch(r"(manager|tenants)/[a-z]+\.[a-z-]+", target)
            known = ENTITIES.get(target)
            # what audits a person must outlive him
            assert known is None or not target.startswith(f"{scope}/") or table.schema == "audt"


@pytest.mark.parametrize("scope", list(SCOPES))
def test_the_tables_can_be_made(scope: str) -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves its dialects untyped
    for table in SCOPES[scope].metadata.sorted_tables:
        text = str(CreateTable(table).compile(dialect=dialect))
        assert text.count(f"CREATE TABLE {table.fullname} ") == 1
        names = [str(rule.name) for rule in table.constraints if rule.name]
        names += [str(index.name) for index in table.indexes]
        assert len(set(names)) == len(names) and all(len(name) <= 63 for name in names)
        for index in table.indexes:
            assert isinstance(index, Index) and str(CreateIndex(index).compile(dialect=dialect))


@pytest.mark.parametrize("path", ["manager/audt.audit-logs", "tenants/sys.audit-logs"])
def test_a_change_log_is_append_only_but_for_its_seal(path: str) -> None:
    entity = ENTITIES[path]
    sealed = entity.table.info["sealed_columns"]
    assert entity.table.info["append_only"] and set(entity.operations) == {"g", "l"}
    assert sealed and all(entity.table.c[name].nullable for name in sealed)
    assert set(entity.table.c.keys()) - {*COMMON, "tenant_id"} <= set(entity.read_only)


def test_secrets_are_hidden() -> None:
    secret = re.compile(r"password_h|_hash$|(?<!is)_secret$|family_id")
    for path, entity in ENTITIES.items():
        found = {column.name for column in entity.table.c if secret.search(column.name)} - {"prev_hash", "row_hash"}
        assert found <= set(entity.hidden), path


@pytest.mark.parametrize("role", ["change_log", "number_sequences"])
def test_each_scope_has_one_entity_a_role(role: str) -> None:
    assert sorted(path.split("/")[0] for path, e in ENTITIES.items() if e.role == role) == ["manager", "tenants"]
