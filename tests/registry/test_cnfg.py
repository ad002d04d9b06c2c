"""Behaviour of configuration, over HTTP: settings, feature flags, the platform's number sequences."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from engine.main import System
from registry.defaults import SETTINGS
from registry.manager.flags import bucket_of, evaluate, flag_on
from registry.setting_values import type_of
from tests.calls import Body, Caller, World

PATH, FLAGS, OVERRIDES = "manager/cnfg/settings", "manager/cnfg/feature-flags", "manager/cnfg/flag-overrides"
SEQUENCES = "manager/cnfg/number-sequences"
TENANT = UUID("018f0000-0000-7000-8000-000000000001")


@pytest.fixture
def admin(world: World) -> Caller:
    """The administrator."""
    return world.admin


def platform_row(admin: Caller, key: str) -> Body:
    """The seeded row of a key."""
    [row] = admin.list(PATH, f"filter[key]={key}&filter[tenant_id][isnull]=true")
    return row


def test_keys_that_rules_read_are_seeded_with_their_defaults(admin: Caller) -> None:
    """CNFG-S1: each key of the section has a row of the platform, of the type of its default."""
    rows = {row["key"]: row for row in admin.list(PATH, "filter[tenant_id][isnull]=true")}
    assert SETTINGS.keys() <= rows.keys()
    for key, default in SETTINGS.items():
        assert (rows[key]["value"], rows[key]["value_type"]) == (default, type_of(key))
    assert type_of("auth.lock_minutes") == "int" and type_of("bill.dunning_days") == "json"


def test_a_system_setting_is_not_deleted(world: World, admin: Caller) -> None:
    """CNFG-S1: neither by DELETE nor through the status route; a tenant's own row and other keys may go."""
    row = platform_row(admin, "auth.max_sessions")
    admin.expect_refusal("409:system_setting", "DELETE", f"{PATH}/{row['id']}")
    admin.stays("409:system_setting", PATH, row["id"], "inactive")
    own = admin.make(PATH, key="auth.max_sessions", tenant_id=world.tenant()["id"], value=3, value_type="int")
    admin.drop(PATH, own["id"])
    other = admin.make(PATH, key="my.own.key", value="x", value_type="string")
    admin.drop(PATH, other["id"])
    admin.move(PATH, other["id"], "active")
    admin.drop(PATH, other["id"])


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        ("string", "x", 1),
        ("int", 3, 3.5),
        ("int", -1, True),
        ("int", 0, "3"),
        ("number", 9.5, "9.5"),
        ("number", 9, False),
        ("bool", False, 0),
        ("json", {"a": [1, None]}, None),
    ],
)
def test_a_value_fits_its_type(world: World, admin: Caller, kind: str, right: Any, wrong: Any) -> None:
    """CNFG-S1: at create and at update; an empty one says nothing."""
    row = admin.make(PATH, key=world.name("typed."), value=right, value_type=kind)
    assert row["value"] == right
    path = f"{PATH}/{row['id']}"
    if wrong is not None:
        admin.expect_refusal("422:setting_value", "PATCH", path, {"value": wrong})
        admin.expect_refusal(
            "422:setting_value", "POST", PATH, {"key": "typed.wrong", "value": wrong, "value_type": kind}
        )
    assert admin.change(PATH, row["id"], value=None)["value"] is None
    admin.drop(PATH, row["id"])


def test_a_value_fits_its_schema(admin: Caller) -> None:
    """CNFG-S1: a JSON schema is asked too, and a new schema asks the value that is there."""
    schema = {"type": "array", "items": {"type": "integer", "minimum": 1}, "maxItems": 2}
    row = admin.make(PATH, key="with.schema", value=[1], value_type="json", schema=schema)
    path = f"{PATH}/{row['id']}"
    for wrong in ([0], [1, 2, 3], "x"):
        error = admin.expect_refusal("422:setting_value", "PATCH", path, {"value": wrong})
    assert "type at $" in error["message"]
    assert admin.change(PATH, row["id"], value=[2, 3])["value"] == [2, 3]
    admin.expect_refusal("422:setting_value", "PATCH", path, {"schema": {"maxItems": 1}})
    admin.drop(PATH, row["id"])


@pytest.mark.parametrize("schema", [{"type": "nothing"}, {"$ref": "#"}, {"$ref": "https://127.0.0.1:9/schema.json"}])
def test_a_schema_is_one_and_fetches_nothing(admin: Caller, schema: Body) -> None:
    """CNFG-S1: what is no schema, turns in circles or lies elsewhere is refused."""
    body = {"key": "odd.schema", "value": 1, "value_type": "json", "schema": schema}
    admin.expect_refusal("422:setting_value", "POST", PATH, body)


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("auth.max_sessions", "ten"),
        ("bill.dunning_days", ["three"]),
        ("bill.dunning_days", 3),
        ("tnnt.reserved_slugs", [1]),
    ],
)
def test_a_value_is_like_the_default_that_rules_count_on(world: World, admin: Caller, key: str, wrong: Any) -> None:
    """CNFG-S1: whatever type a tenant's row claims to have."""
    body = {"key": key, "tenant_id": world.tenant()["id"], "value": wrong, "value_type": "json"}
    admin.expect_refusal("422:setting_value", "POST", PATH, body)
    admin.expect_refusal("422:setting_value", "PATCH", f"{PATH}/{platform_row(admin, key)['id']}", {"value": wrong})


def test_a_changed_setting_counts(world: World, admin: Caller) -> None:
    """CNFG-S1: the row comes before the built-in default."""
    row, user = platform_row(admin, "auth.lock_threshold"), world.user()
    admin.change(PATH, row["id"], value=1)
    wrong = {"grant_type": "password", "username": user["email"], "password": "Wrong-Password-1"}
    world.live.client("manager").post("/auth/token", data=wrong)
    admin.change(PATH, row["id"], value=5)
    assert admin.get("manager/idam/users", user["id"])["status"] == "locked"


def test_a_secret_value_reads_as_stars(admin: Caller, world: World) -> None:
    """CNFG-S1: in answers, lists and history; what is sent back as it was shown changes nothing."""
    canary = "CANARY-setting"
    row = admin.make(PATH, key="secret.key", value=canary, value_type="string", is_secret=True)
    assert row["value"] == "***" and "secret_value" not in row
    changed = admin.change(PATH, row["id"], value="***", description="same")
    assert changed["value"] == "***"
    history = world.live.client("manager").get(f"/{PATH}/{row['id']}/history").text
    assert canary not in history + str(admin.list(PATH))
    text = "select t::text from cnfg.settings t where id = $1"
    [stored] = world.live.run_sql("manager", text, UUID(row["id"]))
    assert canary not in stored[0] and "v2:" in stored[0]

    async def read(system: System) -> Any:
        async with system.unit("manager") as unit:
            return await unit.get("cnfg.settings", UUID(row["id"]))

    assert ask(world, read)["secret_value"] == canary
    admin.expect_refusal("422:setting_value", "PATCH", f"{PATH}/{row['id']}", {"value": 5})
    assert admin.change(PATH, row["id"], value=None)["value"] is None
    assert ask(world, read)["secret_value"] is None
    admin.drop(PATH, row["id"])


def ask(world: World, work: Callable[[System], Any]) -> Any:
    """What the engine itself finds, over connections of its own."""
    system = System(world.live.system.settings)
    system.server = world.live.system.server
    system.locate()

    async def bounded() -> Any:
        try:
            return await work(system)
        finally:
            await system.close()

    return asyncio.run(bounded())


def is_on(world: World, flag: Body, tenant_id: UUID | None, user_id: UUID | None = None) -> bool:
    async def look(system: System) -> bool:
        async with system.unit("manager") as unit:
            return await flag_on(unit, flag["key"], tenant_id, user_id)

    answer: bool = ask(world, look)
    return answer


def test_the_rollout_of_a_flag_goes_by_buckets() -> None:
    """CNFG-F1, S7: flag new-ui falls into bucket 9742 for the tenant of the scenario."""
    assert bucket_of("new-ui", TENANT) == 9742
    flag = {"key": "new-ui", "status": "active", "default_on": False}
    steps = {"50": False, "97.42": False, "97.43": True, "98": True, "0": False, "100": True}
    assert {pct: evaluate({**flag, "rollout_pct": Decimal(pct)}, [], TENANT) for pct in steps} == steps


def test_a_flag_is_on_or_off_in_the_order_of_the_rule(world: World, admin: Caller) -> None:
    """CNFG-F1: archived, user override, tenant override, default, rollout; an override that has expired says nothing."""
    tenant = world.tenant()
    place, user = UUID(tenant["id"]), UUID(tenant["owner_id"])
    flag = admin.make(FLAGS, key=world.name("flag."), name="Flag")
    assert not is_on(world, flag, place, user)
    admin.change(FLAGS, flag["id"], default_on=True)
    assert is_on(world, flag, place, user) and is_on(world, flag, None)
    own = admin.make(OVERRIDES, flag_id=flag["id"], tenant_id=tenant["id"], value=False)
    assert not is_on(world, flag, place, user) and is_on(world, flag, None, user)
    personal = admin.make(OVERRIDES, flag_id=flag["id"], user_id=tenant["owner_id"], value=True)
    assert is_on(world, flag, place, user) and not is_on(world, flag, place)
    admin.change(OVERRIDES, personal["id"], expires_at="2020-01-01T00:00:00Z")
    assert not is_on(world, flag, place, user)
    admin.drop(OVERRIDES, own["id"])
    assert is_on(world, flag, place, user)
    admin.move(FLAGS, flag["id"], "archived")
    admin.change(OVERRIDES, personal["id"], expires_at=None)
    assert not is_on(world, flag, place, user)


def test_a_caller_sees_his_flags(world: World, admin: Caller) -> None:
    """CNFG-F1: /auth/me says which features are on for the caller in his tenant; S7: a user's false wins."""
    tenant = world.tenant()
    owner = world.owner(tenant)
    flag = admin.make(FLAGS, key=world.name("mine."), name="Flag", rollout_pct="100")
    caller = world.sign_in(owner, tenant)
    assert caller.send(200, "GET", "auth/me")["flags"][flag["key"]] is True
    admin.make(OVERRIDES, flag_id=flag["id"], user_id=owner["id"], value=False)
    assert caller.send(200, "GET", "auth/me")["flags"][flag["key"]] is False
    admin.drop(FLAGS, flag["id"])
    assert flag["key"] not in caller.send(200, "GET", "auth/me")["flags"]


def test_a_sequence_of_the_platform_only_counts_up(world: World, admin: Caller) -> None:
    """CNFG-N1: next_value grows; a gapless one in use does not change at all."""
    row = admin.make(SEQUENCES, code="CNFGTEST", prefix="CT", next_value="5")
    path = f"{SEQUENCES}/{row['id']}"
    admin.expect_refusal("409:sequence_in_use", "PATCH", path, {"next_value": "4"})
    assert admin.change(SEQUENCES, row["id"], next_value="9")["next_value"] == "9"
    used = admin.make(SEQUENCES, code="CNFGUSED", prefix="CU", gapless=True, next_value="5")
    world.live.run_sql(
        "manager", "update cnfg.number_sequences set current_year = 2031 where id = $1", UUID(used["id"])
    )
    admin.expect_refusal("409:sequence_in_use", "PATCH", f"{SEQUENCES}/{used['id']}", {"next_value": "6"})
