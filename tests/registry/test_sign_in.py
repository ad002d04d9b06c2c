"""Signing in and staying signed in, over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pyotp
import pytest

from engine.testing.harness import PASSWORD
from tests.calls import Body, Caller, World

USERS, SESSIONS, MEMBERS = "manager/idam/users", "manager/idam/sessions", "manager/tnnt/tenant-members"
TENANTS, CUSTOMERS = "manager/tnnt/tenants", "tenants/crm/customers"
Freeze = Callable[[datetime | None], None]


def ask(world: World, **form: Any) -> httpx.Response:
    """POST /auth/token."""
    return httpx.post(f"{world.live.url}/auth/token", data=form)


def enter(world: World, user: Body, password: str = PASSWORD, **more: Any) -> httpx.Response:
    """The password grant."""
    return ask(world, grant_type="password", username=user["email"], password=password, **more)


def refresh(world: World, token: str) -> httpx.Response:
    """The refresh_token grant."""
    return ask(world, grant_type="refresh_token", refresh_token=token)


def verdict(answer: httpx.Response) -> str:
    """`200`, or `<HTTP status>:<code>`."""
    return "200" if answer.status_code == 200 else f"{answer.status_code}:{answer.json()['code']}"


def holder(world: World, answer: httpx.Response) -> Caller:
    """The client of an access token."""
    header = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    return Caller(httpx.Client(base_url=world.live.url, headers=header))


def test_unknown_wrong_and_disabled_answer_alike(world: World) -> None:
    """IDAM-U5: nothing tells whether there is such a user, nor that a tenant is not his."""
    gone, user = world.user(), world.user()
    world.admin.move(USERS, gone["id"], "disabled")
    answers = [
        enter(world, {"email": "nobody@nowhere.example"}),
        enter(world, user, "Wrong-Password-1"),
        enter(world, user, "x" * 5000),
        enter(world, gone),
        enter(world, world.user(password=None)),
        enter(world, user, tenant="second"),
        enter(world, user, tenant="no-such-tenant"),
    ]
    assert {verdict(answer) for answer in answers} == {"401:invalid_credentials"}
    assert len({answer.content for answer in answers}) == 1
    assert verdict(enter(world, user)) == "200"


def test_five_failures_lock_for_a_quarter_of_an_hour(world: World, freeze: Freeze) -> None:
    """IDAM-U5: the sixth attempt is refused though right; after the lock it succeeds and the counters are 0."""
    user, start = world.user(), datetime(2026, 3, 2, 9, tzinfo=UTC)
    freeze(start)
    for minute in range(5):
        freeze(start + timedelta(minutes=minute))
        assert verdict(enter(world, user, "Wrong-Password-1")) == "401:invalid_credentials"
    assert verdict(enter(world, user)) == "403:account_locked"
    row = world.admin.get(USERS, user["id"])
    assert (row["status"], row["failed_login_count"]) == ("locked", 5)
    assert datetime.fromisoformat(row["locked_until"]) == start + timedelta(minutes=19)
    freeze(start + timedelta(minutes=18, seconds=59))
    assert verdict(enter(world, user)) == "403:account_locked"
    freeze(start + timedelta(minutes=19))
    assert verdict(enter(world, user)) == "200"
    row = world.admin.get(USERS, user["id"])
    cleared = [row[name] for name in ("status", "failed_login_count", "first_failed_at", "locked_until")]
    assert cleared == ["active", 0, None, None]
    assert datetime.fromisoformat(row["last_login_at"]) == start + timedelta(minutes=19)


def test_failures_far_apart_do_not_lock(world: World, freeze: Freeze) -> None:
    """IDAM-U5: only those inside setting:auth.lock_minutes count."""
    user, start = world.user(), datetime(2026, 3, 2, 9, tzinfo=UTC)
    for minutes in (0, 1, 2, 3, 16, 17, 18):
        freeze(start + timedelta(minutes=minutes))
        enter(world, user, "Wrong-Password-1")
    assert world.admin.get(USERS, user["id"])["failed_login_count"] == 3
    assert verdict(enter(world, user)) == "200"


def test_an_administrator_unlocks(world: World) -> None:
    """IDAM-U5: locked>active by hand clears the counters, so that one more failure does not lock again."""
    user = world.user()
    for _ in range(5):
        enter(world, user, "Wrong-Password-1")
    unlocked = world.admin.move(USERS, user["id"], "active")
    assert (unlocked["failed_login_count"], unlocked["locked_until"]) == (0, None)
    assert verdict(enter(world, user, "Wrong-Password-1")) == "401:invalid_credentials"
    assert verdict(enter(world, user)) == "200"


def test_the_second_factor_from_begin_to_end(world: World) -> None:
    """IDAM-U7: the secret is shown once, the first right code switches it on, then sign-in needs a code."""
    user = world.user()
    caller = world.sign_in(user)
    begun = caller.send(200, "POST", "auth/second-factor", {"step": "begin"})
    totp = pyotp.TOTP(begun["secret"])
    assert verdict(enter(world, user)) == "200"
    caller.expect_refusal("422:invalid_format", "POST", "auth/second-factor", {"step": "confirm", "code": "000000"})
    confirmed = caller.send(200, "POST", "auth/second-factor", {"step": "confirm", "code": totp.now()})
    assert confirmed == {"mfa_enabled": True}
    assert begun["secret"] not in str(world.admin.list("manager/audt/audit-logs", f"filter[entity_id]={user['id']}"))
    assert verdict(enter(world, user)) == "401:mfa_required"
    assert verdict(enter(world, user, otp="000000")) == "401:mfa_required"
    inside = enter(world, user, otp=totp.now())
    assert verdict(inside) == "200"
    own = holder(world, inside)
    own.expect_refusal("401:invalid_credentials", "POST", "auth/second-factor", {"step": "end", "password": "wrong"})
    own.send(200, "POST", "auth/second-factor", {"step": "end", "password": PASSWORD})
    assert verdict(enter(world, user)) == "200"


def test_wrong_codes_lock_too(world: World) -> None:
    """IDAM-U7: guessing codes is no better than guessing passwords."""
    user = world.user()
    caller = world.sign_in(user)
    secret = caller.send(200, "POST", "auth/second-factor", {"step": "begin"})["secret"]
    caller.send(200, "POST", "auth/second-factor", {"step": "confirm", "code": pyotp.TOTP(secret).now()})
    for _ in range(5):
        assert verdict(enter(world, user, otp="000000")) == "401:mfa_required"
    assert verdict(enter(world, user, otp=pyotp.TOTP(secret).now())) == "403:account_locked"


def test_a_refresh_token_is_used_once(world: World) -> None:
    """IDAM-S1: each refresh gives the next token of the family; a rotated one ends the whole family."""
    user = world.user()
    first = enter(world, user)
    second = refresh(world, first.json()["refresh_token"])
    assert verdict(second) == "200"
    assert holder(world, first).send(200, "GET", "auth/me")["email"] == user["email"]
    assert verdict(refresh(world, first.json()["refresh_token"])) == "401:token_reuse"
    holder(world, second).expect_refusal("401:invalid_token", "GET", "auth/me")
    assert verdict(refresh(world, second.json()["refresh_token"])) == "401:token_reuse"
    assert verdict(refresh(world, "no-such-token")) == "401:invalid_token"
    rows = world.admin.list(SESSIONS, f"filter[user_id]={user['id']}&sort=issued_at")
    assert [row["revoke_reason"] for row in rows] == ["rotated", "reuse"]
    assert not {"refresh_hash", "family_id"} & set(rows[0])


def test_of_two_refreshes_at_once_one_wins(world: World) -> None:
    """IDAM-S1: the loser is refused, and at most one session of the family lives on."""
    user = world.user()
    token = enter(world, user).json()["refresh_token"]
    with ThreadPoolExecutor(8) as pool:
        verdicts = [verdict(answer) for answer in pool.map(lambda _: refresh(world, token), range(8))]
    assert verdicts.count("200") == 1
    assert set(verdicts) - {"200"} <= {"401:invalid_token", "401:token_reuse"}
    live = world.admin.list(SESSIONS, f"filter[user_id]={user['id']}&filter[status]=active")
    assert len(live) <= 1


def test_a_refresh_token_expires(world: World, freeze: Freeze) -> None:
    """IDAM-S1: after the session's life there is nothing to refresh."""
    user, start = world.user(), datetime(2026, 3, 2, tzinfo=UTC)
    freeze(start)
    first = enter(world, user)
    freeze(start + timedelta(days=29))
    second = refresh(world, first.json()["refresh_token"])
    assert verdict(second) == "200"
    freeze(start + timedelta(days=60))
    assert verdict(refresh(world, second.json()["refresh_token"])) == "401:invalid_token"


def test_signing_out_ends_the_family(world: World) -> None:
    """IDAM-S3: /auth/revoke ends the session behind an access or a refresh token; unknown ones answer alike."""
    user = world.user()
    for name in ("access_token", "refresh_token"):
        answer = enter(world, user)
        assert httpx.post(f"{world.live.url}/auth/revoke", data={"token": answer.json()[name]}).status_code == 200
        holder(world, answer).expect_refusal("401:invalid_token", "GET", "auth/me")
        assert verdict(refresh(world, answer.json()["refresh_token"])) == "401:invalid_token"
    assert httpx.post(f"{world.live.url}/auth/revoke", data={"token": "unknown"}).status_code == 200


def test_the_oldest_session_goes(world: World) -> None:
    """IDAM-S2: the eleventh session ends the first."""
    user = world.user()
    answers = [enter(world, user) for _ in range(11)]
    holder(world, answers[0]).expect_refusal("401:invalid_token", "GET", "auth/me")
    holder(world, answers[1]).send(200, "GET", "auth/me")
    rows = world.admin.list(SESSIONS, f"filter[user_id]={user['id']}&filter[status]=revoked")
    assert [row["revoke_reason"] for row in rows] == ["limit"]


def test_the_session_just_opened_stays(world: World, freeze: Freeze) -> None:
    """IDAM-S2: a clock that is behind the one that opened the others does not make the new session the oldest."""
    user = world.user()
    answers = [enter(world, user) for _ in range(10)]
    freeze(datetime.now(UTC) - timedelta(hours=1))
    holder(world, enter(world, user)).send(200, "GET", "auth/me")
    freeze(None)
    holder(world, answers[0]).expect_refusal("401:invalid_token", "GET", "auth/me")
    holder(world, answers[1]).send(200, "GET", "auth/me")


def test_a_disabled_user_does_not_refresh(world: World) -> None:
    """IDAM-U4: his sessions are revoked, so their tokens give nothing."""
    user = world.user()
    answer = enter(world, user)
    world.admin.move(USERS, user["id"], "disabled")
    assert verdict(refresh(world, answer.json()["refresh_token"])) == "401:invalid_token"


@pytest.mark.parametrize(
    ("role", "allowed", "denied"),
    [("owner", "DELETE", None), ("admin", "DELETE", None), ("member", "POST", "DELETE"), ("guest", "GET", "POST")],
)
def test_a_member_may_what_his_role_says(world: World, role: str, allowed: str, denied: str | None) -> None:
    """TNNT-T3: owner and admin may everything, members all but delete, guests read."""
    tenant, user = world.tenant(), world.user()
    row = world.sign_in(world.owner(tenant), tenant).make(CUSTOMERS, name="Row")
    world.member(tenant, user, role)
    caller = world.sign_in(user, tenant)
    calls = {
        "GET": (200, f"{CUSTOMERS}/{row['id']}", None),
        "POST": (201, CUSTOMERS, {"name": "New"}),
        "DELETE": (200, f"{CUSTOMERS}/{row['id']}", None),
    }
    if denied:
        caller.expect_refusal("403:permission_denied", denied, *calls[denied][1:])
    status, path, body = calls[allowed]
    caller.send(status, allowed, path, body)


def test_each_side_keeps_to_itself(world: World) -> None:
    """TNNT-T3: a tenant's token reaches no manager route, and the other way round."""
    tenant = world.tenant()
    world.sign_in(world.owner(tenant), tenant).expect_refusal("403:wrong_scope", "GET", USERS)
    world.admin.expect_refusal("403:wrong_scope", "GET", CUSTOMERS)


def test_a_suspended_tenant_is_refused(world: World) -> None:
    """TNNT-T3: tenant routes answer 403 while suspended, at once and for new sessions too."""
    tenant = world.tenant()
    owner = world.owner(tenant)
    caller = world.sign_in(owner, tenant)
    world.admin.move(TENANTS, tenant["id"], "suspended")
    caller.expect_refusal("403:tenant_suspended", "GET", CUSTOMERS)
    again = enter(world, owner, tenant=tenant["slug"])
    assert verdict(again) == "200"
    holder(world, again).expect_refusal("403:tenant_suspended", "GET", CUSTOMERS)
    assert verdict(refresh(world, again.json()["refresh_token"])) == "200"
    world.admin.move(TENANTS, tenant["id"], "active")
    assert caller.send(200, "GET", CUSTOMERS)["items"] == []


def test_a_closing_tenant_is_read_only(world: World) -> None:
    """TNNT-T3: reads go on, writes are refused."""
    tenant = world.tenant()
    caller = world.sign_in(world.owner(tenant), tenant)
    row = caller.make(CUSTOMERS, name="Kept")
    world.admin.move(TENANTS, tenant["id"], "closing")
    assert caller.get(CUSTOMERS, row["id"])["name"] == "Kept"
    caller.expect_refusal("403:tenant_closing", "POST", CUSTOMERS, {"name": "New"})
    caller.expect_refusal("403:tenant_closing", "DELETE", f"{CUSTOMERS}/{row['id']}")


def test_a_pending_tenant_is_refused(world: World) -> None:
    """TNNT-T3: who is a member of a tenant that is not open yet is told so; nobody else is told anything."""
    owner = world.user()
    values = {"name": "Late", "billing_email": "a@b.example", "country": "DE", "owner_id": owner["id"]}
    tenant = world.admin.make(TENANTS, slug=world.name("late"), **values)
    assert verdict(enter(world, owner, tenant=tenant["slug"])) == "401:invalid_credentials"
    world.member(tenant, owner, "owner")
    assert verdict(enter(world, owner, tenant=tenant["slug"])) == "403:tenant_closed"


@pytest.mark.parametrize("state", ["suspended", "removed"])
def test_who_is_no_member_is_out(world: World, state: str) -> None:
    """TNNT-M3, TNNT-T3: a suspended or removed member is refused at once, and cannot sign in to the tenant."""
    tenant, user = world.tenant(), world.user()
    member = world.member(tenant, user)
    caller = world.sign_in(user, tenant)
    world.admin.move(MEMBERS, member, state)
    caller.expect_refusal("401:invalid_token", "GET", CUSTOMERS)
    assert verdict(enter(world, user, tenant=tenant["slug"])) == "401:invalid_credentials"
    assert verdict(enter(world, user)) == "200"


def test_a_grant_for_a_tenant_counts_there_alone(world: World) -> None:
    """TNNT-T3: a role granted with tenant_id adds to the membership of that tenant."""
    tenant, user = world.tenant(), world.user()
    world.member(tenant, user, "guest")
    world.grant(user, world.role("crm.customers.create"), tenant_id=tenant["id"])
    inside = world.sign_in(user, tenant)
    assert inside.make(CUSTOMERS, name="Made")["name"] == "Made"
    me = inside.send(200, "GET", "auth/me")
    assert "crm.customers.create" in me["permissions"] and "GUEST" in me["roles"]
    assert world.sign_in(user).send(200, "GET", "auth/me")["permissions"] == []


def test_a_key_of_a_tenant_works_in_it(world: World) -> None:
    """IDAM-K3: a key with tenant_id counts in that tenant alone, and ends with the membership."""
    tenant, user = world.tenant(), world.user()
    member = world.member(tenant, user)
    scopes = ["crm.customers.read"]
    key = world.admin.make(
        "manager/idam/api-keys", name="Key", user_id=user["id"], tenant_id=tenant["id"], scopes=scopes
    )["key"]
    caller = Caller(httpx.Client(base_url=world.live.url, headers={"Authorization": f"Bearer {key}"}))
    assert caller.send(200, "GET", CUSTOMERS)["items"] == []
    caller.expect_refusal("403:permission_denied", "POST", CUSTOMERS, {"name": "New"})
    caller.expect_refusal("403:wrong_scope", "GET", USERS)
    world.admin.move(MEMBERS, member, "removed")
    caller.expect_refusal("401:invalid_api_key", "GET", CUSTOMERS)
