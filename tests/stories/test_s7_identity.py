"""Journey S7: identity, roles, keys, audit, with the numbers of the catalogue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx

from engine.commands.audit import verify_logs
from engine.testing.harness import ADMIN, PASSWORD
from tests.calls import Body, Caller, World, soon

USERS, ROLES, GRANTS = "manager/idam/users", "manager/idam/roles", "manager/idam/user-roles"
KEYS, AUDIT = "manager/idam/api-keys", "manager/audt/audit-logs"
LOGINS, ZEROS = "manager/audt/login-events", "0" * 64
Freeze = Callable[[datetime | None], None]


def token(world: World, **form: str) -> tuple[int, dict[str, str]]:
    """HTTP status and body of POST /auth/token."""
    answer = httpx.post(f"{world.live.url}/auth/token", data=form)
    return answer.status_code, answer.json()


def test_passwords_and_the_lock(world: World, freeze: Freeze) -> None:
    """A weak password is refused; five wrong ones lock; 15 minutes later the right one enters, the counters are 0."""
    body = {"email": "mia@cxg.example", "full_name": "Mia", "user_type": "staff"}
    answer = world.admin.client.post(f"/{USERS}", json={**body, "password": "short"})
    assert answer.status_code == 422
    world.admin.expect_refusal("422:weak_password", "POST", USERS, {**body, "password": "mostly-small-letters"})
    user = world.admin.make(USERS, **body, password=PASSWORD)

    start = datetime(2026, 3, 2, 9, tzinfo=UTC)
    freeze(start)
    form = {"grant_type": "password", "username": body["email"]}
    for _ in range(5):
        assert token(world, **form, password="Wrong-Password-1")[1]["code"] == "invalid_credentials"
    http_status, refusal = token(world, **form, password=PASSWORD)
    assert (http_status, refusal["code"]) == (403, "account_locked")
    freeze(start + timedelta(minutes=15))
    http_status, granted = token(world, **form, password=PASSWORD)
    assert http_status == 200 and granted["token_type"] == "Bearer"
    row = world.admin.get(USERS, user["id"])
    assert (row["failed_login_count"], row["first_failed_at"], row["locked_until"]) == (0, None, None)

    freeze(None)
    history = world.admin.list(LOGINS, f"filter[email_tried]={body['email']}&sort=occurred_at,id")
    results = Counter(event["result"] for event in history)
    assert results == {"bad_password": 5, "locked": 1, "success": 1}
    assert [event["result"] for event in history] == [*["bad_password"] * 5, "locked", "success"]
    log = world.admin.list(AUDIT, f"filter[entity_id]={user['id']}&sort=occurred_at")
    for text in (PASSWORD, "$2b$"):
        assert text not in f"{log}{user}{row}"
    assert any(record["changes"].get("password_hash") == [None, "***"] for record in log)


def test_administrators(world: World) -> None:
    """Nobody deletes himself; the only SUPER_ADMIN stays; with two, one may go; nobody passes on what he lacks."""
    boss = Caller(world.live.signed_in(ADMIN))
    me = boss.send(200, "GET", "auth/me")
    assert me["roles"] == ["SUPER_ADMIN"]
    boss.expect_refusal("409:self_action_forbidden", "DELETE", f"{USERS}/{me['id']}")
    boss.stays("409:self_action_forbidden", USERS, me["id"], "disabled")
    role = world.system_role("SUPER_ADMIN")
    [grant] = boss.list(GRANTS, f"filter[role_id]={role['id']}")
    _, clerk = world.clerk(
        *("idam.users.delete", "idam.users.status", "idam.user-roles.delete", "idam.user-roles.create"),
        *("idam.roles.create", "idam.roles.update", "bill.plans.read"),
    )
    clerk.expect_refusal("409:last_admin", "DELETE", f"{USERS}/{me['id']}")
    clerk.stays("409:last_admin", USERS, me["id"], "disabled")
    clerk.expect_refusal("409:last_admin", "DELETE", f"{GRANTS}/{grant['id']}")
    deputy = world.user(user_type="staff")
    world.grant(deputy, role)
    clerk.drop(USERS, deputy["id"])

    code = {"code": "PRICING", "name": "Pricing", "permissions": ["bill.plans.update"]}
    clerk.expect_refusal("403:privilege_escalation", "POST", ROLES, code)
    pricing = boss.make(ROLES, **code)
    body = {"user_id": world.user()["id"], "role_id": pricing["id"]}
    clerk.expect_refusal("403:privilege_escalation", "POST", GRANTS, body)


def test_keys_and_sessions(world: World) -> None:
    """A key is shown once and ends with its owner; a rotated refresh token ends its family."""
    user = world.user(user_type="staff")
    world.grant(user, world.role("bill.plans.read", "idam.api-keys.create"))
    own = world.sign_in(user)
    body = {"name": "CI", "user_id": user["id"], "scopes": ["bill.plans.read"]}
    own.expect_refusal("403:privilege_escalation", "POST", KEYS, {**body, "scopes": ["bill.plans.update"]})
    first, second = own.make(KEYS, **body), own.make(KEYS, **body)
    assert first["key"].startswith("cxg_")
    stored = world.admin.get(KEYS, first["id"])
    assert stored["prefix"] == first["key"][:12] and "key" not in stored
    machines = [
        Caller(httpx.Client(base_url=world.live.url, headers={"Authorization": f"Bearer {key['key']}"}))
        for key in (first, second)
    ]
    assert machines[0].send(200, "GET", "manager/bill/plans")["total"] == 0
    world.admin.move(KEYS, first["id"], "revoked")
    machines[0].expect_refusal("401:invalid_api_key", "GET", "manager/bill/plans")

    entered = token(world, grant_type="password", username=user["email"], password=PASSWORD)[1]
    rotated = token(world, grant_type="refresh_token", refresh_token=entered["refresh_token"])[1]
    http_status, refusal = token(world, grant_type="refresh_token", refresh_token=entered["refresh_token"])
    assert (http_status, refusal["code"]) == (401, "token_reuse")
    assert token(world, grant_type="refresh_token", refresh_token=rotated["refresh_token"])[0] == 401

    world.admin.move(USERS, user["id"], "disabled")
    machines[1].expect_refusal("401:invalid_api_key", "GET", "manager/bill/plans")
    own.expect_refusal("401:invalid_token", "GET", "auth/me")


def test_versions_walls_and_owners(world: World) -> None:
    """A stale version, a token of the other side, a row of another tenant, the last owner."""
    user = world.user()
    path = f"{USERS}/{user['id']}"
    world.admin.change(USERS, user["id"], full_name="Once", version=1)
    world.admin.expect_refusal("409:version_conflict", "PATCH", path, {"full_name": "Twice", "version": 1})

    here, there = world.tenant(), world.tenant()
    owner, other = (world.sign_in(world.owner(tenant), tenant) for tenant in (here, there))
    owner.expect_refusal("403:wrong_scope", "GET", USERS)
    customer = owner.make("tenants/crm/customers", name="Ours")
    other.expect_refusal("404:not_found", "GET", f"tenants/crm/customers/{customer['id']}")
    [member] = world.admin.list("manager/tnnt/tenant-members", f"filter[tenant_id]={here['id']}")
    world.admin.stays("409:last_owner", "manager/tnnt/tenant-members", member["id"], "removed")


def whole_log(world: World) -> list[Body]:
    """The sealed log, by number."""
    found: list[Body] = []
    while page := world.admin.list(AUDIT, f"sort=seq&filter[seq][gt]={len(found)}"):
        found += page
    return found


def verdict(world: World) -> str | None:
    """What recomputing the platform's log finds."""
    [found] = [v for v in world.live.beside.run(verify_logs) if v.tenant is None]
    return found.fault


def test_the_audit_trail(world: World) -> None:
    """n writes, n rows; after sealing no gap, each row hangs on the one before; a row changed in the database is found."""
    before = world.admin.send(200, "GET", f"{AUDIT}?page_size=1")["total"]
    role = world.role("bill.plans.read")
    for number in range(3):
        world.admin.change(ROLES, role["id"], name=f"Role {number}")
    world.admin.drop(ROLES, role["id"])
    assert world.admin.send(200, "GET", f"{AUDIT}?page_size=1")["total"] == before + 5
    query = f"filter[entity_id]={role['id']}&sort=seq"
    soon(lambda: all(record["row_hash"] for record in world.admin.list(AUDIT, query)))
    records = world.admin.list(AUDIT, query)
    assert [record["action"] for record in records] == ["create", "update", "update", "update", "delete"]
    assert [record["changes"].get("name") for record in records[1:4]] == [
        *(["Role", "Role 0"], ["Role 0", "Role 1"], ["Role 1", "Role 2"])
    ]

    rows = whole_log(world)
    assert [int(row["seq"]) for row in rows] == list(range(1, len(rows) + 1))
    assert [row["prev_hash"] for row in rows] == [ZEROS, *(row["row_hash"] for row in rows[:-1])]
    assert verdict(world) is None
    changed, text = UUID(records[1]["id"]), "update audt.audit_logs set actor_email = $2 where id = $1"
    world.live.run_sql("manager", "alter table audt.audit_logs disable trigger all")
    world.live.run_sql("manager", text, changed, "somebody@else.example")
    assert str(changed) in str(verdict(world))
    world.live.run_sql("manager", text, changed, records[1]["actor_email"])
    world.live.run_sql("manager", "alter table audt.audit_logs enable trigger all")
    assert verdict(world) is None
