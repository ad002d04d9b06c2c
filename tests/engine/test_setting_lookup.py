"""Which row of a setting counts, and how long one that was read is believed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from engine.testing.harness import Live, serving, settings_for_tests
from tests.calls import Caller

SETTINGS, OWN_SETTINGS = "manager/cnfg/settings", "tenants/sys/settings"


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server that believes what it read for a minute."""
    settings = settings_for_tests(tmp_path_factory.mktemp("lookup"), principal_seconds=60.0)
    with serving(settings, ["registry", "tests.engine.strongroom"]) as live:
        yield live


@pytest.fixture
def admin(room: Live) -> Iterator[Caller]:
    """The administrator; the rows that a test leaves are taken away."""
    caller = Caller(room.client("manager"))
    yield caller
    for row in caller.list(SETTINGS, "filter[key][startswith]=room."):
        caller.drop(SETTINGS, row["id"])


def found(live: Live, key: str, scope: str = "room", **given: Any) -> Any:
    """What a rule finds under a key."""
    path = {"room": "room/room/readings", "boxes": "boxes/box/readings"}[scope]
    return Caller(live.client(scope)).make(path, key=key, **given)["found"]


def for_platform(admin: Caller, value: Any, key: str = "room.colour", **given: Any) -> Any:
    usual = {"value_type": "json", **given}
    return admin.make(SETTINGS, key=key, value=value, **usual)


def test_without_rows_the_default_counts(room: Live, admin: Caller) -> None:
    assert found(room, "room.colour") == found(room, "room.colour", "boxes") == "grey"
    assert (found(room, "room.steps"), found(room, "room.rate")) == ([1, 2], 9.5)


def test_the_nearest_row_counts(room: Live, admin: Caller) -> None:
    first, second = (str(room.tenant(client)) for client in (room.client("boxes"), room.other_tenant()))
    for_platform(admin, "blue", value_type="string")
    assert found(room, "room.colour") == found(room, "room.colour", "boxes") == "blue"
    for_platform(admin, "red", tenant_id=second, value_type="string")
    assert found(room, "room.colour", "boxes") == "blue"
    for_platform(admin, "green", tenant_id=first, value_type="string")
    assert (found(room, "room.colour"), found(room, "room.colour", "boxes")) == ("blue", "green")
    owner = Caller(room.client("tenants"))
    own = owner.make(OWN_SETTINGS, key="room.colour", value="gold", value_type="string")
    assert (found(room, "room.colour"), found(room, "room.colour", "boxes")) == ("blue", "gold")
    owner.drop(OWN_SETTINGS, own["id"])
    assert found(room, "room.colour", "boxes") == "green"


def test_an_empty_row_says_nothing(room: Live, admin: Caller) -> None:
    for_platform(admin, None)
    assert found(room, "room.colour") == "grey"


def test_a_change_in_this_process_counts_at_once(room: Live, admin: Caller) -> None:
    row = for_platform(admin, "blue", value_type="string")
    assert found(room, "room.colour") == "blue"
    admin.change(SETTINGS, row["id"], value="black")
    assert found(room, "room.colour") == found(room, "room.colour", "boxes") == "black"
    admin.drop(SETTINGS, row["id"])
    assert found(room, "room.colour") == "grey"


def test_what_a_transaction_writes_it_reads(room: Live, admin: Caller) -> None:
    assert found(room, "room.steps", before=[5]) == [5]
    assert found(room, "room.steps", "boxes", before=[6]) == [6]
    assert found(room, "room.steps") == [6]


def test_what_is_rolled_back_is_not_believed(room: Live, admin: Caller) -> None:
    assert found(room, "room.steps") == [1, 2]
    body = [{"key": "room.steps", "before": [7]}, {"key": "no.such.setting"}]
    answer = room.client("room").post("/room/room/readings", json=body)
    assert answer.status_code == 500
    assert found(room, "room.steps") == [1, 2]


def test_what_was_read_is_believed_for_a_while(room: Live, admin: Caller) -> None:
    """Another process's change is seen when the time is over, or when this process writes a setting itself."""
    row = for_platform(admin, "blue", value_type="string")
    assert found(room, "room.colour") == "blue"
    text = "update cnfg.settings set value = $1::jsonb where id = $2"
    room.run_sql("manager", text, '"white"', UUID(row["id"]))
    assert found(room, "room.colour") == "blue"
    lookup = next(iter(room.system.operations.shop.settings.kept.values()))
    assert lookup[1]["room.colour"] == "blue"
    for_platform(admin, [3], key="room.steps")
    assert found(room, "room.colour") == "white"


def test_a_secret_setting_is_read_in_clear_by_rules_alone(room: Live, admin: Caller) -> None:
    row = for_platform(admin, "canary-5511", value_type="string", is_secret=True)
    assert row["value"] == "***" and found(room, "room.colour") == "canary-5511"
    assert "canary-5511" not in room.client("manager").get(f"/{SETTINGS}/{row['id']}/history").text


def test_an_unknown_key_is_a_fault_of_ours(room: Live) -> None:
    answer = room.client("room").post("/room/room/readings", json={"key": "no.such.setting"})
    assert answer.status_code == 500 and answer.json()["error"]["code"] == "internal_error"
    assert "no.such.setting" in answer.json()["error"]["message"]
