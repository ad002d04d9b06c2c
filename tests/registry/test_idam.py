"""Behaviour of users, roles, grants, API keys and sessions, over HTTP. Signing in has its own file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from engine.testing.harness import PASSWORD
from tests.calls import Body, Caller, World

USERS, ROLES, GRANTS = "manager/idam/users", "manager/idam/roles", "manager/idam/user-roles"
KEYS, SESSIONS = "manager/idam/api-keys", "manager/idam/sessions"
WEAK = {
    "short": "Aa1-aaa",
    "two classes": "abcdefgh1234567",
    "more than 72 bytes": "Aa1-" + "ä" * 35,
    "a zero": "Aa1-aaaaaaaa\x00bb",
    "the name in the address": "Ann-Maria.Smith1",
}


def expect_password_refused(caller: Caller, path: str, method: str, body: Body) -> None:
    """The reader or the policy refuses the password, and the answer does not repeat it."""
    answer = caller.client.request(method, f"/{path}", json=body)
    assert answer.status_code == 422 and body["password"] not in answer.text, answer.text
    assert {fault["field"] for fault in answer.json()["error"]["details"]} == {"password"}


@pytest.mark.parametrize("password", WEAK.values(), ids=WEAK)
def test_a_weak_password_is_refused(world: World, password: str) -> None:
    """IDAM-U1: at least 12 characters, 3 of 4 classes, at most 72 bytes, not the local part of the address."""
    body = {"email": f"ann-maria.smith1@{world.name('d')}.example", "full_name": "Ann", "password": password}
    expect_password_refused(world.admin, USERS, "POST", body)
    user = world.user(email=body["email"])
    expect_password_refused(world.admin, f"{USERS}/{user['id']}", "PATCH", {"password": password})


def test_the_policy_answers_by_its_code(world: World) -> None:
    """IDAM-U1: what the reader takes and the policy does not is 422:weak_password."""
    body = {"email": f"{world.name('u')}@a.example", "full_name": "Ann", "password": WEAK["two classes"]}
    world.admin.expect_refusal("422:weak_password", "POST", USERS, body)


def test_the_last_five_passwords_are_not_taken_again(world: World) -> None:
    """IDAM-U1: the sixth password before may come back."""
    user = world.user()
    passwords = [PASSWORD, *(f"Other-Password-{number}" for number in range(1, 6))]
    for password in passwords[1:]:
        assert world.admin.change(USERS, user["id"], password=password)["password_changed_at"] is not None
    for password in passwords[1:]:
        world.admin.expect_refusal("422:weak_password", "PATCH", f"{USERS}/{user['id']}", {"password": password})
    world.admin.change(USERS, user["id"], password=passwords[0])
    assert world.sign_in(user).send(200, "GET", "auth/me")["email"] == user["email"]


def test_a_user_with_a_password_is_active(world: World) -> None:
    """IDAM-U1: given at create it moves invited~>active; without one the user stays invited. It is shown nowhere."""
    assert world.user()["status"] == "active"
    invited = world.user(password=None)
    assert invited["status"] == "invited"
    assert not {"password", "password_hash", "password_history", "mfa_secret"} & set(invited)
    log = world.admin.list("manager/audt/audit-logs", f"filter[entity_id]={world.user()['id']}")
    assert log[0]["changes"]["password_hash"] == [None, "***"]
    assert PASSWORD not in str(log)


def test_an_own_password_ends_the_duty_to_change_it(world: World) -> None:
    """IDAM-U1: must_change_password goes when the user himself has chosen."""
    user, _ = world.clerk("idam.users.update", "idam.users.read")
    world.admin.change(USERS, user["id"], must_change_password=True)
    assert world.admin.change(USERS, user["id"], password="By-The-Admin-1")["must_change_password"]
    own = Caller(world.live.signed_in(user["email"], "By-The-Admin-1"))
    assert not own.change(USERS, user["id"], password="By-Myself-12345")["must_change_password"]


def test_nobody_removes_himself(world: World) -> None:
    """IDAM-U2: neither by deleting nor by disabling."""
    user, clerk = world.clerk("idam.users.delete", "idam.users.status")
    clerk.expect_refusal("409:self_action_forbidden", "DELETE", f"{USERS}/{user['id']}")
    clerk.stays("409:self_action_forbidden", USERS, user["id"], "disabled")
    clerk.drop(USERS, world.user()["id"])


def test_the_last_administrator_stays(world: World) -> None:
    """IDAM-U3, IDAM-UR2: he is neither deleted nor disabled nor loses the role; with two, one may go."""
    _, clerk = world.clerk("idam.users.delete", "idam.users.status", "idam.user-roles.delete", "idam.users.read")
    role = world.system_role("SUPER_ADMIN")
    [grant] = world.admin.list(GRANTS, f"filter[role_id]={role['id']}")
    first = grant["user_id"]
    clerk.expect_refusal("409:last_admin", "DELETE", f"{USERS}/{first}")
    clerk.stays("409:last_admin", USERS, first, "disabled")
    clerk.expect_refusal("409:last_admin", "DELETE", f"{GRANTS}/{grant['id']}")
    second = world.user(user_type="staff")
    extra = world.grant(second, role)
    clerk.drop(GRANTS, extra["id"])
    world.grant(second, role)
    clerk.move(USERS, second["id"], "disabled")
    clerk.expect_refusal("409:last_admin", "DELETE", f"{USERS}/{first}")


def sessions_of(world: World, user: Body) -> list[Body]:
    """The user's sessions, those of deleted users included."""
    return world.admin.list(SESSIONS, f"filter[user_id]={user['id']}&deleted=include")


def key_of(world: World, user: Body, **values: Any) -> Body:
    """An API key of a user, made by the administrator."""
    return world.admin.make(KEYS, **{"name": "Key", "user_id": user["id"], "scopes": [], **values})


def with_key(world: World, key: str) -> Caller:
    """A client with an API key."""
    return Caller(httpx.Client(base_url=world.live.url, headers={"Authorization": f"Bearer {key}"}))


@pytest.mark.parametrize("how", ["disabled", "deleted"])
def test_who_goes_is_cut_off(world: World, how: str) -> None:
    """IDAM-U4: disabling and deleting revoke sessions and API keys at once."""
    user = world.user()
    caller, key = world.sign_in(user), key_of(world, user)
    if how == "deleted":
        world.admin.drop(USERS, user["id"])
    else:
        world.admin.move(USERS, user["id"], "disabled")
    caller.expect_refusal("401:invalid_token", "GET", "auth/me")
    with_key(world, key["key"]).expect_refusal("401:invalid_api_key", "GET", "auth/me")
    assert [(row["status"], row["revoke_reason"]) for row in sessions_of(world, user)] == [("revoked", "admin")]
    [stored] = world.admin.list(KEYS, f"filter[user_id]={user['id']}&deleted=include")
    assert stored["status"] == "revoked" and stored["revoked_at"] is not None


def test_a_new_password_ends_sessions(world: World) -> None:
    """IDAM-U4: a password change revokes all live sessions; another change does not."""
    user = world.user()
    caller = world.sign_in(user)
    world.admin.change(USERS, user["id"], full_name="Renamed")
    assert caller.send(200, "GET", "auth/me")["full_name"] == "Renamed"
    world.admin.change(USERS, user["id"], password="Another-Password-2")
    caller.expect_refusal("401:invalid_token", "GET", "auth/me")
    assert [row["revoke_reason"] for row in sessions_of(world, user)] == ["password_change"]


def test_a_service_user_has_no_password(world: World) -> None:
    """IDAM-U6: neither at create nor later, and he cannot sign in."""
    body = {"email": f"{world.name('bot')}@s.example", "full_name": "Bot", "user_type": "service"}
    world.admin.expect_refusal("422:service_user_password", "POST", USERS, {**body, "password": PASSWORD})
    bot = world.admin.make(USERS, **body)
    world.admin.expect_refusal("422:service_user_password", "PATCH", f"{USERS}/{bot['id']}", {"password": PASSWORD})
    form = {"grant_type": "password", "username": body["email"], "password": PASSWORD}
    answer = httpx.post(f"{world.live.url}/auth/token", data=form)
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_credentials")


def test_a_new_address_is_not_verified(world: World) -> None:
    """IDAM-U6: changing email clears email_verified_at; sending the same one does not."""
    user = world.user()
    world.live.run_sql("manager", "update idam.users set email_verified_at = now() where email = $1", user["email"])
    assert world.admin.change(USERS, user["id"], email=user["email"])["email_verified_at"] is not None
    assert world.admin.change(USERS, user["id"], email=f"new-{user['email']}")["email_verified_at"] is None


def test_a_role_holds_known_permissions(world: World) -> None:
    """IDAM-R1: an unknown code is refused by name."""
    body = {"code": world.name("R").upper(), "name": "Role", "permissions": ["bill.plans.read", "bill.plans.fly"]}
    error = world.admin.expect_refusal("422:unknown_permission", "POST", ROLES, body)
    assert error["details"][0]["params"] == {"unknown": ["bill.plans.fly"]}
    role = world.role("bill.plans.read")
    world.admin.expect_refusal(
        "422:unknown_permission", "PATCH", f"{ROLES}/{role['id']}", {"permissions": ["no.such.code"]}
    )


def test_nobody_adds_what_he_does_not_hold(world: World) -> None:
    """IDAM-R1: each code added is the caller's own; those that are there may stay."""
    _, clerk = world.clerk("idam.roles.create", "idam.roles.update", "bill.plans.read")
    body = {"code": world.name("R").upper(), "name": "Role", "permissions": ["bill.plans.update"]}
    clerk.expect_refusal("403:privilege_escalation", "POST", ROLES, body)
    role = world.role("bill.plans.update")
    more = {"permissions": ["bill.plans.update", "bill.plans.create"]}
    clerk.expect_refusal("403:privilege_escalation", "PATCH", f"{ROLES}/{role['id']}", more)
    kept = clerk.change(ROLES, role["id"], permissions=["bill.plans.update", "bill.plans.read"])
    assert kept["permissions"] == ["bill.plans.update", "bill.plans.read"]


@pytest.mark.parametrize("code", ["SUPER_ADMIN", "SUPPORT", "BILLING", "AUDITOR"])
def test_system_roles_stay(world: World, code: str) -> None:
    """IDAM-R2: they are seeded, and neither change nor go."""
    role = world.system_role(code)
    path = f"{ROLES}/{role['id']}"
    world.admin.expect_refusal("409:system_role", "PATCH", path, {"name": "Mine"})
    held = code == "SUPER_ADMIN"  # somebody refers to it, which is found first
    world.admin.expect_refusal("409:in_use" if held else "409:system_role", "DELETE", path)
    world.admin.stays("409:in_use" if held else "409:system_role", ROLES, role["id"], "inactive")


def test_a_role_is_granted_by_who_holds_it(world: World) -> None:
    """IDAM-UR1: the caller holds every permission of the role; SUPER_ADMIN is granted by its like alone."""
    user, clerk = world.clerk("idam.user-roles.create", "bill.plans.read")
    body = {"user_id": world.user()["id"], "role_id": world.role("bill.plans.update")["id"]}
    own, supreme = world.role("bill.plans.read")["id"], world.system_role("SUPER_ADMIN")["id"]
    clerk.expect_refusal("403:privilege_escalation", "POST", GRANTS, body)
    clerk.expect_refusal("403:privilege_escalation", "POST", GRANTS, {**body, "role_id": supreme})
    clerk.make(GRANTS, **{**body, "role_id": own})
    clerk.expect_refusal("403:self_grant", "POST", GRANTS, {"user_id": user["id"], "role_id": own})


def test_granting_needs_its_permission(world: World) -> None:
    """IDAM-UR1: without idam.user-roles.create nothing is granted."""
    _, clerk = world.clerk("bill.plans.read", "idam.user-roles.read")
    body = {"user_id": world.user()["id"], "role_id": world.role("bill.plans.read")["id"]}
    clerk.expect_refusal("403:permission_denied", "POST", GRANTS, body)


def test_a_role_has_so_many_holders(world: World) -> None:
    """IDAM-UR1: max_assignees counts people, not grants; also within one request."""
    role, tenant = world.role(max_assignees=2), world.tenant()
    ann, bob, cid = world.user(), world.user(), world.user()
    three = [{"user_id": user["id"], "role_id": role["id"]} for user in (ann, bob, cid)]
    world.admin.expect_refusal("409:assignee_limit", "POST", GRANTS, three)
    world.admin.send(201, "POST", GRANTS, three[:2])
    world.admin.send(201, "POST", GRANTS, {**three[0], "tenant_id": tenant["id"]})
    world.admin.expect_refusal("409:assignee_limit", "POST", GRANTS, three[2])


def test_a_grant_counts_in_its_days(world: World) -> None:
    """IDAM-UR1: outside valid_from..valid_until a grant gives nothing, and the window is not inside out."""
    user, role, now = world.user(user_type="staff"), world.role("bill.plans.read"), datetime.now(UTC)
    before, yesterday, later = ((now + timedelta(days=days)).isoformat() for days in (-9, -1, 9))
    body = {"user_id": user["id"], "role_id": role["id"], "valid_from": later, "valid_until": before}
    world.admin.expect_refusal("422:check_failed", "POST", GRANTS, body)
    caller = world.sign_in(user)
    for window in ({"valid_from": later}, {"valid_from": before, "valid_until": yesterday}):
        grant = world.grant(user, role, **window)
        caller.expect_refusal("403:permission_denied", "GET", "manager/bill/plans")
        world.admin.drop(GRANTS, grant["id"])
    world.grant(user, role, valid_from=before, valid_until=later)
    assert caller.send(200, "GET", "manager/bill/plans")["page"] == 1


def test_a_key_is_shown_once(world: World) -> None:
    """IDAM-K1: cxg_ + 8 characters + _ + 40; reads carry the prefix, the log "***"."""
    user = world.user()
    key = key_of(world, user)
    prefix, secret = key["key"][:12], key["key"][13:]
    assert (prefix, prefix[:4], key["key"][12], len(secret)) == (key["prefix"], "cxg_", "_", 40)
    stored = world.admin.get(KEYS, key["id"])
    assert stored["prefix"] == prefix and not {"key", "key_hash"} & set(stored)
    log = world.admin.list("manager/audt/audit-logs", f"filter[entity_id]={key['id']}")
    assert log[0]["changes"]["key_hash"] == [None, "***"] and secret not in str(log)


def test_a_key_holds_what_its_owner_holds(world: World) -> None:
    """IDAM-K2: scopes are a subset of the owner's permissions, and of the caller's where it is not his own."""
    user, clerk = world.clerk("idam.api-keys.create", "bill.plans.read")
    body = {"name": "Key", "user_id": user["id"], "scopes": ["bill.plans.read", "bill.plans.update"]}
    clerk.expect_refusal("403:privilege_escalation", "POST", KEYS, body)
    key = clerk.make(KEYS, **{**body, "scopes": ["bill.plans.read"]})
    other = with_key(world, key["key"])
    assert other.send(200, "GET", "manager/bill/plans")["page"] == 1
    other.expect_refusal("403:permission_denied", "GET", "manager/idam/users")
    boss, _ = world.clerk("bill.plans.update")
    of_boss = {**body, "user_id": boss["id"], "scopes": ["bill.plans.update"]}
    clerk.expect_refusal("403:privilege_escalation", "POST", KEYS, of_boss)


def test_a_key_loses_what_its_owner_loses(world: World) -> None:
    """IDAM-K2: scopes count as far as the owner still holds them."""
    user = world.user(user_type="staff")
    grant = world.grant(user, world.role("bill.plans.read"))
    key = with_key(world, key_of(world, user, scopes=["bill.plans.read"])["key"])
    assert key.send(200, "GET", "manager/bill/plans")["page"] == 1
    world.admin.drop(GRANTS, grant["id"])
    key.expect_refusal("403:permission_denied", "GET", "manager/bill/plans")


def test_a_key_ends_within_a_year(world: World) -> None:
    """IDAM-K2: expires_at lies at most 366 days ahead; a user has at most setting:auth.max_api_keys."""
    user, now = world.user(), datetime.now(UTC)
    body = {"name": "Key", "user_id": user["id"], "scopes": []}
    far = (now + timedelta(days=367)).isoformat()
    world.admin.expect_refusal("422:expiry_too_far", "POST", KEYS, {**body, "expires_at": far})
    world.admin.expect_refusal("422:validation_error", "POST", KEYS, {**body, "allowed_ips": ["10.0.0.0/99"]})
    world.admin.make(KEYS, **body, expires_at=(now + timedelta(days=365)).isoformat())
    world.admin.send(201, "POST", KEYS, [body] * 8)
    world.admin.expect_refusal("409:quota_exceeded", "POST", KEYS, [body] * 2)
    last = world.admin.make(KEYS, **body)
    world.admin.expect_refusal("409:quota_exceeded", "POST", KEYS, body)
    world.admin.move(KEYS, last["id"], "revoked")
    world.admin.make(KEYS, **body)


def test_a_key_that_does_not_count_is_refused(world: World, freeze: Any) -> None:
    """IDAM-K3: revoked, expired, from another address, owner not active, unknown: 401:invalid_api_key."""
    user, now = world.user(), datetime.now(UTC)
    revoked, away = key_of(world, user), key_of(world, user, allowed_ips=["10.0.0.0/8"])
    near = key_of(world, user, allowed_ips=["127.0.0.1"], expires_at=(now + timedelta(hours=1)).isoformat())
    with_key(world, near["key"]).send(200, "GET", "auth/me")
    assert world.admin.get(KEYS, near["id"])["last_used_ip"] == "127.0.0.1"
    world.admin.move(KEYS, revoked["id"], "revoked")
    assert world.admin.get(KEYS, revoked["id"])["revoked_at"] is not None
    for key in (revoked["key"], away["key"], near["key"] + "x"):
        with_key(world, key).expect_refusal("401:invalid_api_key", "GET", "auth/me")
    freeze(now + timedelta(hours=2))
    with_key(world, near["key"]).expect_refusal("401:invalid_api_key", "GET", "auth/me")


def test_sessions_are_revoked_by_their_owner(world: World) -> None:
    """IDAM-S3: others' sessions are not there without perm:idam.sessions.manage; a revoked one counts no more."""
    user, clerk = world.clerk("idam.sessions.status", "idam.sessions.read")
    other = world.user()
    caller = world.sign_in(other)
    [session] = sessions_of(world, other)
    clerk.stays("404:not_found", SESSIONS, session["id"], "revoked")
    clerk.expect_refusal("404:not_found", "GET", f"{SESSIONS}/{session['id']}")
    assert {row["user_id"] for row in clerk.list(SESSIONS)} == {user["id"]}
    _, manager = world.clerk("idam.sessions.read", "idam.sessions.manage")
    assert manager.get(SESSIONS, session["id"])["user_id"] == other["id"]
    assert world.admin.move(SESSIONS, session["id"], "revoked")["revoke_reason"] == "admin"
    caller.expect_refusal("401:invalid_token", "GET", "auth/me")
    own = [row for row in sessions_of(world, user) if row["status"] == "active"]
    assert clerk.move(SESSIONS, own[0]["id"], "revoked")["revoke_reason"] == "logout"
    clerk.expect_refusal("401:invalid_token", "GET", "auth/me")
