"""What expire_credentials ends. Each test looks at rows of its own: the job sees those of all tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from engine.testing.harness import ADMIN, PASSWORD
from tests.calls import Body, Caller, World

USERS, GRANTS, KEYS = "manager/idam/users", "manager/idam/user-roles", "manager/idam/api-keys"
SESSIONS, INVITATIONS = "manager/idam/sessions", "manager/tnnt/invitations"
EXPIRE = "expire_credentials"
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
Freeze = Callable[[datetime | None], None]


def run_twice(world: World, freeze: Freeze, at: datetime) -> Body:
    """The output of the job; run once more for the same time it writes nothing."""
    freeze(at)
    output = world.live.run_job(EXPIRE, now=at)
    written = _trail(world)
    again = world.live.run_job(EXPIRE, now=at)
    assert not any(count for name, count in again.items() if name != "steps"), again
    assert _trail(world) == written
    return output


def _trail(world: World) -> int:
    """How many writes there were so far."""
    return int(world.live.run_sql("manager", "select count(*) from audt.audit_logs")[0]["count"])


def make_key(world: World, **values: Any) -> Body:
    """An API key of a user of its own."""
    return world.admin.make(KEYS, **{"name": "Key", "user_id": world.user()["id"], "scopes": [], **values})


def test_keys_expire(world: World, freeze: Freeze) -> None:
    """IDAM-K3: a key past expires_at is expired, not before; one without an end goes on."""
    freeze(NOW)
    key = make_key(world, expires_at=(NOW + HOUR).isoformat())
    other = make_key(world)
    run_twice(world, freeze, NOW + HOUR - timedelta(seconds=1))
    assert world.admin.get(KEYS, key["id"])["status"] == "active"
    assert run_twice(world, freeze, NOW + HOUR)["api_keys"] >= 1
    row = world.admin.get(KEYS, key["id"])
    assert (row["status"], row["revoked_at"]) == ("expired", None)
    assert world.admin.get(KEYS, other["id"])["status"] == "active"


def test_a_revoked_key_stays_revoked(world: World, freeze: Freeze) -> None:
    """IDAM-K3: it says since when, and its time may pass."""
    freeze(NOW)
    key = make_key(world, expires_at=(NOW + HOUR).isoformat())
    world.admin.move(KEYS, key["id"], "revoked")
    run_twice(world, freeze, NOW + 2 * HOUR)
    row = world.admin.get(KEYS, key["id"])
    assert row["status"] == "revoked" and datetime.fromisoformat(row["revoked_at"]) == NOW


def test_sessions_expire(world: World, freeze: Freeze) -> None:
    """IDAM-S1: a session past expires_at is expired; it was not revoked."""
    user = world.user()
    freeze(NOW)
    httpx.post(
        f"{world.live.url}/auth/token", data={"grant_type": "password", "username": user["email"], "password": PASSWORD}
    ).raise_for_status()
    days = timedelta(days=world.live.system.settings.session_days)
    run_twice(world, freeze, NOW + days - HOUR)
    [row] = world.admin.list(SESSIONS, f"filter[user_id]={user['id']}")
    assert row["status"] == "active"
    run_twice(world, freeze, NOW + days)
    [row] = world.admin.list(SESSIONS, f"filter[user_id]={user['id']}")
    assert (row["status"], row["revoked_at"], row["revoke_reason"]) == ("expired", None, None)


def test_grants_end(world: World, freeze: Freeze) -> None:
    """IDAM-UR2: a grant past valid_until is gone, and its place under max_assignees free; others stay."""
    freeze(NOW)
    user, role = world.user(user_type="staff"), world.role("bill.plans.read")
    ending = world.grant(user, role, valid_from=NOW.isoformat(), valid_until=(NOW + HOUR).isoformat())
    open_end = world.grant(user, world.role("bill.plans.read"))
    assert run_twice(world, freeze, NOW + HOUR)["user_roles"] >= 1
    assert [row["id"] for row in world.admin.list(GRANTS, f"filter[user_id]={user['id']}")] == [open_end["id"]]
    world.admin.expect_refusal("404:not_found", "GET", f"{GRANTS}/{ending['id']}")


def test_locks_end(world: World, freeze: Freeze) -> None:
    """IDAM-U5: a user whose lock is over is active with clean counters; one without a time stays locked."""
    user, other = world.user(), world.user()
    freeze(NOW)
    for _ in range(5):
        form = {"grant_type": "password", "username": user["email"], "password": "Wrong-Password-1"}
        assert httpx.post(f"{world.live.url}/auth/token", data=form).status_code == 401
    world.live.run_sql("manager", "update idam.users set status = 'locked' where id = $1::uuid", other["id"])
    run_twice(world, freeze, NOW + timedelta(minutes=14))
    assert world.admin.get(USERS, user["id"])["status"] == "locked"
    assert run_twice(world, freeze, NOW + timedelta(minutes=15))["users"] == 1
    row = world.admin.get(USERS, user["id"])
    assert (row["status"], row["failed_login_count"], row["locked_until"]) == ("active", 0, None)
    assert world.admin.get(USERS, other["id"])["status"] == "locked"


def test_invitations_end(world: World, freeze: Freeze) -> None:
    """TNNT-V2: an invitation past its days is expired; an accepted or revoked one stays what it is."""
    tenant = world.tenant()
    freeze(NOW)
    rows = [
        world.admin.make(INVITATIONS, tenant_id=tenant["id"], email=f"{world.name('g')}@a.example") for _ in range(2)
    ]
    world.admin.move(INVITATIONS, rows[1]["id"], "revoked")
    run_twice(world, freeze, NOW + timedelta(days=7) - HOUR)
    assert world.admin.get(INVITATIONS, rows[0]["id"])["status"] == "pending"
    run_twice(world, freeze, NOW + timedelta(days=7))
    assert [world.admin.get(INVITATIONS, row["id"])["status"] for row in rows] == ["expired", "revoked"]


@pytest.fixture
def limited(world: World) -> Iterator[Callable[[datetime | None], str]]:
    """Gives the one SUPER_ADMIN grant a window from before NOW, as nobody may over HTTP, and takes it away again."""
    sql = "update idam.user_roles set valid_from = $2, valid_until = $3 where id = $1::uuid"
    me = world.live.client("manager").get("/auth/me").json()["data"]["id"]
    grants = world.admin.list(GRANTS, f"filter[role_id]={world.system_role('SUPER_ADMIN')['id']}")
    [grant] = [row for row in grants if row["user_id"] == me]
    for other in grants:  # which another test may have left
        if other["user_id"] != me:
            world.admin.drop(GRANTS, other["id"])

    def limit(end: datetime | None) -> str:
        world.live.run_sql("manager", sql, grant["id"], NOW - timedelta(days=9), end)
        return str(grant["id"])

    yield limit
    world.live.run_sql("manager", sql, grant["id"], datetime.fromisoformat(grant["valid_from"]), None)


def _first_admin(world: World) -> Caller:
    return Caller(world.live.signed_in(ADMIN))


@pytest.mark.parametrize("late", [-HOUR / 2, HOUR, timedelta(days=3)])
def test_the_last_administrator_does_not_expire(
    world: World, freeze: Freeze, limited: Callable[[datetime | None], str], late: timedelta
) -> None:
    """IDAM-UR2: the last SUPER_ADMIN grant counts on, before and after its end; nobody deletes it either."""
    key = limited(NOW)
    assert run_twice(world, freeze, NOW + late)["administrators_kept"] == 1
    row = world.admin.get(GRANTS, key)
    assert datetime.fromisoformat(row["valid_until"]) == NOW + late + timedelta(days=1)
    assert _first_admin(world).send(200, "GET", "auth/me")["roles"] == ["SUPER_ADMIN"]
    _, clerk = world.clerk("idam.user-roles.delete")
    clerk.expect_refusal("409:last_admin", "DELETE", f"{GRANTS}/{key}")


def test_one_of_two_administrators_expires(
    world: World, freeze: Freeze, limited: Callable[[datetime | None], str]
) -> None:
    """IDAM-UR2: with somebody else in the role a grant ends like any other."""
    limited(None)
    freeze(NOW)
    second = world.user(user_type="staff")
    ending = world.grant(
        second, world.system_role("SUPER_ADMIN"), valid_from=NOW.isoformat(), valid_until=(NOW + HOUR).isoformat()
    )
    assert run_twice(world, freeze, NOW + HOUR)["administrators_kept"] == 0
    world.admin.expect_refusal("404:not_found", "GET", f"{GRANTS}/{ending['id']}")
