"""What start-up makes of declarations."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, MetaData, String, Table, Uuid

from engine import registration
from engine.catalog import Catalog, Reference, compile_catalog
from engine.entity import Entity, Unique
from engine.errors import StartupFault
from engine.hooks import Change, Moment, Point, Rules
from engine.testing.harness import Live
from engine.types import RIGHTS, Op, Scope
from tests.engine.wares import CATALOG, PARTS, SCOPE, WARES


def compiled(*entities: Entity, rules: tuple[Rules, ...] = (), name: str = "s") -> Catalog:
    registration.complete(entities)
    return compile_catalog([Scope(name, entities[0].table.metadata)], entities, rules)


def plans(**options: Any) -> Entity:
    table = Table(
        "plans",
        MetaData(),
        Column("id", Uuid, primary_key=True),
        Column("code", String(9), nullable=False),
        schema="bill",
    )
    return Entity(table, **options)


def names(flag: str) -> set[str]:
    return {field.name for field in WARES.fields.values() if getattr(field, flag)}


def test_who_may_set_a_field() -> None:
    engine = {"id", "is_active", "version", "created_at", "updated_at", "created_by", "updated_by"}
    read = {"made_by", "shout"}
    assert set(WARES.fields) - names("creatable") == engine | read
    assert names("creatable") - names("updatable") == {"code"} == names("once")
    assert names("required") == {"title"}


def test_who_may_see_a_field() -> None:
    assert set(WARES.fields) - {field.name for field in WARES.shown} == {"secret", "password"}
    assert next(field.name for field in WARES.shown) == "id"
    assert WARES.fields["pin"].masked and WARES.fields["pin"].operators == ()


def test_virtual_fields_have_no_column() -> None:
    assert [field.name for field in WARES.fields.values() if field.column is None] == ["password", "shout"]
    assert {field.name for field in WARES.columns} == set(WARES.table.c.keys())


def test_defaults_are_made_anew() -> None:
    made = dict(WARES.defaults)
    assert made["kind"]() == "new" and made["tags"]() == []
    assert made["tags"]() is not made["tags"]()


LISTED = {Op.LIST, Op.QUERY, Op.EXPORT}


@pytest.mark.parametrize(
    ("letters", "ops"),
    [
        ("c", {Op.CREATE, Op.IMPORT}),
        ("l", LISTED),
        ("g", {Op.GET, Op.HISTORY}),
        ("u", {Op.UPDATE, Op.REPLACE}),
        ("d", {Op.DELETE}),
        ("lu", LISTED | {Op.UPDATE, Op.REPLACE, Op.UPDATE_MANY}),
        ("ld", LISTED | {Op.DELETE, Op.DELETE_MANY}),
        ("cu", {Op.CREATE, Op.IMPORT, Op.UPDATE, Op.REPLACE, Op.UPSERT}),
        ("s", {Op.STATUS, Op.TRANSITIONS}),
        ("cgluds", set(Op)),
    ],
)
def test_letters_become_operations(letters: str, ops: set[Op]) -> None:
    resource = compiled(plans(operations=letters, unique=["code"])).resources["s/bill/plans"]
    assert resource.ops == ops
    assert dict(resource.permissions.items()) == {op: f"bill.plans.{RIGHTS[op]}" for op in Op}


def test_many_rows_are_written_where_no_version_must_be_named() -> None:
    strict = compiled(plans(unique=["code"], require_version=True)).resources["s/bill/plans"]
    assert set(Op) - strict.ops == {Op.UPDATE_MANY, Op.DELETE_MANY, Op.UPSERT}
    assert Op.UPSERT not in compiled(plans()).resources["s/bill/plans"].ops


def test_a_unique_key_is_known_by_columns_that_callers_give_and_see() -> None:
    def known(**options: Any) -> list[str]:
        keys = [Unique(("code",), where="code <> ''"), Unique(("code", "id"))]
        return list(compiled(plans(unique=keys, **options)).resources["s/bill/plans"].unique_keys)

    assert known() == ["code"]
    assert known(hidden=["code"]) == known(read_only=["code"]) == known(masked=["code"]) == []


def test_permissions_are_those_of_the_operations_offered() -> None:
    catalog = compiled(plans(operations="gl", permissions=["bill.plans.approve"]))
    assert catalog.permissions == {False: frozenset({"bill.plans.read", "bill.plans.approve"}), True: frozenset()}


def test_constraints_are_known_with_their_fields() -> None:
    found = sorted((code, fields) for code, fields in WARES.constraints.values())
    assert ("duplicate", ("code",)) in found and ("duplicate", ("id",)) in found
    assert ("check_failed", ("small",)) in found and ("check_failed", ("kind",)) in found
    assert ("invalid_reference", ("parent_id",)) in found


def test_a_violation_does_not_name_hidden_fields() -> None:
    resource = compiled(plans(unique=[Unique(("code", "id"))], hidden=["code"])).resources["s/bill/plans"]
    assert resource.constraints["uq_plans_code_id"] == ("duplicate", ("id",))


def test_references_are_known_from_both_sides() -> None:
    assert PARTS.reference_columns == ("ware_id",) and WARES.reference_columns == ("parent_id",)
    assert set(CATALOG.incoming[WARES.path]) == {
        Reference("shop/shop/parts", "ware_id", "CASCADE"),
        Reference("shop/shop/wares", "parent_id", "RESTRICT"),
    }


def test_references_to_other_columns_are_known_by_their_target() -> None:
    metadata = MetaData()
    codes = Table("codes", metadata, Column("code", String(3), primary_key=True), schema="a")
    rates = Table(
        "rates", metadata, Column("id", Uuid, primary_key=True), Column("code", ForeignKey("a.codes.code")), schema="a"
    )
    catalog = compiled(Entity(codes, label="code"), Entity(rates))
    assert catalog.incoming["s/a/codes"] == (Reference("s/a/rates", "code", "RESTRICT", "code"),)
    field = catalog.resources["s/a/rates"].fields["code"]
    assert (field.references, field.target) == ("a.codes", "code")


def test_a_key_is_by_uuid_numbered_or_neither() -> None:
    metadata = MetaData()
    numbered = Table("n", metadata, Column("id", sa.Integer, primary_key=True), schema="a")
    natural = Table(
        "c", metadata, Column("code", String(3), primary_key=True), Column("day", sa.Date, primary_key=True), schema="a"
    )
    catalog = compiled(Entity(numbered), Entity(natural, label="code"))
    by_number, by_code = catalog.resources["s/a/n"], catalog.resources["s/a/c"]
    assert [(r.keys, r.by_uuid, r.numbered) for r in (WARES, by_number, by_code)] == [
        (("id",), True, False),
        (("id",), False, True),
        (("code", "day"), False, False),
    ]
    assert (
        not by_number.fields["id"].creatable
        and by_code.fields["code"].creatable
        and not by_code.fields["code"].updatable
    )


def test_rules_are_found_by_their_points() -> None:
    rules = Rules("s/bill")

    @rules.on("R1", "plans", Point.BEFORE_CREATE, Point.DONE)
    async def one(_moment: Moment, _changes: list[Change]) -> None:
        """Bound, never run."""

    resource = compiled(plans(), rules=(rules,)).resources["s/bill/plans"]
    assert resource.hooked(Point.BEFORE_CREATE) and resource.hooked(Point.DONE)
    assert not resource.hooked(Point.AFTER_CREATE, Point.BEFORE_DELETE)
    assert resource.hooks[Point.DONE][0].run is one


def test_what_belongs_nowhere_stops_the_start() -> None:
    with pytest.raises(StartupFault, match="belongs to no Scope"):
        compile_catalog([Scope("s", MetaData())], [plans()], [])
    with pytest.raises(StartupFault, match="not registered"):
        rules = Rules("s/bill")
        rules.on("R1", "plan", Point.DONE)(lambda _moment, _changes: None)  # type: ignore[arg-type, return-value]
        compiled(plans(), rules=(rules,))


def test_a_resource_is_found_by_scope_and_name() -> None:
    assert CATALOG.find("shop", "shop.wares") is WARES and CATALOG.scopes["shop"] is SCOPE
    with pytest.raises(KeyError):
        CATALOG.find("shop", "shop.nothing")


def test_lines_know_their_document(live: Live) -> None:
    lines = live.catalog.find("manager", "bill.invoice-lines")
    assert lines.header is live.catalog.find("manager", "bill.invoices")
    assert PARTS.header is None


def test_scopes_of_one_database_share_its_change_log(live: Live) -> None:
    roles = live.catalog.roles
    assert roles[("manager", "change_log")].path == "manager/audt/audit-logs"
    assert roles[("tenants", "change_log")].path == "tenants/sys/audit-logs"
