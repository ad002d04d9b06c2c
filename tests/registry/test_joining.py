"""Accepting an invitation (TNNT-V3), over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from engine.testing.harness import PASSWORD
from tests.billing import make_plan, subscribe
from tests.calls import Body, Caller, World

USERS, MEMBERS, INVITATIONS = "manager/idam/users", "manager/tnnt/tenant-members", "manager/tnnt/invitations"
TENANTS, ACCEPT = "manager/tnnt/tenants", "auth/accept-invitation"
NEW = {"full_name": "Ann New", "password": PASSWORD}
Freeze = Callable[[datetime | None], None]


@pytest.fixture
def stranger(world: World) -> Caller:
    """Somebody without a token."""
    return Caller(httpx.Client(base_url=world.live.url))


def invite(world: World, tenant: Body, **values: Any) -> Body:
    """A pending invitation, with its token."""
    usual = {"tenant_id": tenant["id"], "email": f"{world.name('guest')}@new.example"}
    return world.admin.make(INVITATIONS, **{**usual, **values})


def seat(world: World, tenant: Body, email: str) -> Body:
    """The membership of an address."""
    [user] = world.admin.list(USERS, f"filter[email]={email}")
    [member] = world.admin.list(MEMBERS, f"filter[tenant_id]={tenant['id']}&filter[user_id]={user['id']}")
    return member


def test_somebody_new_joins(world: World, stranger: Caller) -> None:
    """TNNT-V3: user, membership and acceptance come together, and he signs in to the tenant."""
    tenant = world.tenant()
    row = invite(world, tenant, role="admin")
    joined = stranger.send(200, "POST", ACCEPT, {"token": row["token"], **NEW})
    assert joined["tenant"] == {"id": tenant["id"], "slug": tenant["slug"]} and joined["role"] == "admin"
    [user] = world.admin.list(USERS, f"filter[email]={row['email']}")
    assert (user["id"], user["status"], user["full_name"]) == (joined["user"]["id"], "active", "Ann New")
    assert user["user_type"] == "tenant" and user["email_verified_at"] is not None
    member = seat(world, tenant, row["email"])
    assert (member["role"], member["status"]) == ("admin", "active")
    accepted = world.admin.get(INVITATIONS, row["id"])
    assert (accepted["status"], accepted["accepted_user_id"]) == ("accepted", user["id"])
    assert accepted["accepted_at"] is not None
    me = world.sign_in(user, tenant).send(200, "GET", "auth/me")
    assert me["tenant"]["slug"] == tenant["slug"] and "ADMIN" in me["roles"]


def test_somebody_known_joins(world: World, stranger: Caller) -> None:
    """TNNT-V3: he is found by his address, in whatever letters, and keeps name and password."""
    tenant, user = world.tenant(), world.user()
    row = invite(world, tenant, email=user["email"].upper())
    joined = stranger.send(200, "POST", ACCEPT, {"token": row["token"], "password": "Another-Password-1"})
    assert joined["user"] == {"id": user["id"], "email": user["email"]}
    assert seat(world, tenant, user["email"])["role"] == "member"
    assert world.sign_in(user, tenant).send(200, "GET", "auth/me")["full_name"] == user["full_name"]


def test_somebody_without_a_password_chooses_one(world: World, stranger: Caller) -> None:
    """TNNT-V3: a user who was made without one is active with it."""
    tenant, user = world.tenant(), world.user(password=None)
    row = invite(world, tenant, email=user["email"])
    stranger.expect_refusal("422:required", "POST", ACCEPT, {"token": row["token"]})
    stranger.send(200, "POST", ACCEPT, {"token": row["token"], "password": PASSWORD})
    assert world.sign_in(user, tenant).send(200, "GET", "auth/me")["full_name"] == user["full_name"]


def test_a_removed_member_comes_back(world: World, stranger: Caller) -> None:
    """TNNT-V3: by an invitation he has a membership anew."""
    tenant, user = world.tenant(), world.user()
    world.admin.move(MEMBERS, world.member(tenant, user), "removed")
    stranger.send(200, "POST", ACCEPT, {"token": invite(world, tenant, email=user["email"])["token"]})
    rows = world.admin.list(MEMBERS, f"filter[tenant_id]={tenant['id']}&filter[user_id]={user['id']}")
    assert sorted(row["status"] for row in rows) == ["active", "removed"]


@pytest.mark.parametrize("how", ["unknown", "used", "revoked", "expired", "suspended", "closing", "member", "disabled"])
def test_a_token_that_does_not_count(world: World, stranger: Caller, freeze: Freeze, how: str) -> None:
    """TNNT-V3: 409:invitation_not_valid for a token that is unknown, used, taken back or too old, for a tenant that is not
    open, for a member, and for a person who is shut out; nobody is made."""
    tenant, user = world.tenant(), world.user()
    start = datetime(2026, 5, 4, 12, tzinfo=UTC)
    freeze(start)
    row = invite(world, tenant, **({"email": user["email"]} if how in ("member", "disabled") else {}))
    body = {"token": row["token"], **NEW}
    if how == "unknown":
        body["token"] = "x" * 43
    elif how == "used":
        stranger.send(200, "POST", ACCEPT, body)
    elif how == "revoked":
        world.admin.move(INVITATIONS, row["id"], "revoked")
    elif how == "expired":
        freeze(start + timedelta(days=7))
    elif how == "member":
        world.member(tenant, user)
    elif how == "disabled":
        world.admin.move(USERS, user["id"], "disabled")
    else:
        world.admin.move(TENANTS, tenant["id"], how)
    stranger.expect_refusal("409:invitation_not_valid", "POST", ACCEPT, body)
    found = world.admin.list(USERS, f"filter[email]={row['email']}")
    assert len(found) == (1 if how in ("used", "member", "disabled") else 0)


def test_the_last_second_of_an_invitation_counts(world: World, stranger: Caller, freeze: Freeze) -> None:
    """TNNT-V3: it is live until expires_at."""
    start = datetime(2026, 5, 4, 12, tzinfo=UTC)
    freeze(start)
    row = invite(world, world.tenant())
    freeze(start + timedelta(days=7) - timedelta(seconds=1))
    stranger.send(200, "POST", ACCEPT, {"token": row["token"], **NEW})
    assert world.admin.get("manager/tnnt/invitations", row["id"])["status"] == "accepted"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({}, "422:required"),
        ({"password": PASSWORD}, "422:required"),
        ({"full_name": "  ", "password": PASSWORD}, "422:required"),
        ({"full_name": "x" * 161, "password": PASSWORD}, "422:too_long"),
        ({"full_name": "a\0b", "password": PASSWORD}, "422:invalid_format"),
        ({"full_name": 7, "password": PASSWORD}, "422:invalid_format"),
        ({"full_name": "Ann", "password": "short"}, "422:weak_password"),
        ({**NEW, "role": "owner"}, "422:field_not_allowed"),
    ],
)
def test_what_somebody_new_must_say(world: World, stranger: Caller, given: Body, code: str) -> None:
    """TNNT-V3, IDAM-U1: a refused answer uses nothing up, and the right one is taken afterwards."""
    row = invite(world, world.tenant())
    stranger.expect_refusal(code, "POST", ACCEPT, {"token": row["token"], **given})
    assert world.admin.get(INVITATIONS, row["id"])["status"] == "pending"
    stranger.send(200, "POST", ACCEPT, {"token": row["token"], **NEW})


def test_of_two_at_once_one_joins(world: World, stranger: Caller) -> None:
    """TNNT-V3: a token is good for one use, however close two come."""
    row = invite(world, world.tenant())

    def accept(_: int) -> int:
        return stranger.client.post(f"/{ACCEPT}", json={"token": row["token"], **NEW}).status_code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(accept, range(4))) == [200, 409, 409, 409]


def test_joining_takes_the_seat_of_the_invitation(world: World, stranger: Caller) -> None:
    """TNNT-V3, TNNT-V1: the last seat, which the invitation held, is the member's."""
    tenant = world.tenant()
    subscribe(world, make_plan(world), tenant=tenant, seats=2)
    row = invite(world, tenant)
    stranger.send(200, "POST", ACCEPT, {"token": row["token"], **NEW})
    body = {"tenant_id": tenant["id"], "email": f"{world.name('g')}@new.example"}
    world.admin.expect_refusal("409:seat_limit", "POST", INVITATIONS, body)
