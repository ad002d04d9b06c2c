"""Behaviour of tenants, members, invitations and host names, over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest

from engine.testing.harness import Live
from engine.types import Principal
from tests.calls import Body, Caller, World

TENANTS, MEMBERS = "manager/tnnt/tenants", "manager/tnnt/tenant-members"
INVITATIONS, DOMAINS, SUBSCRIPTIONS = "manager/tnnt/invitations", "manager/tnnt/domains", "manager/bill/subscriptions"
SESSIONS = "manager/idam/sessions"
Freeze = Callable[[datetime | None], None]


def limited(live: Live, user: Body | None, *without: str) -> Caller:
    """Somebody on the Manager side who holds all permissions but some, and is no SUPER_ADMIN."""
    codes = live.catalog.permissions[False] - set(without)
    known = UUID(user["id"]) if user else UUID(int=1)
    return Caller(live.lend(Principal(known, permissions=codes)))


def draft(world: World, **values: object) -> Body:
    """The body of a new tenant."""
    usual = {"slug": world.name("s"), "name": "Acme", "billing_email": "a@b.example", "country": "DE"}
    return {**usual, "owner_id": world.user()["id"], **values}


@pytest.mark.parametrize("slug", ["www", "api", "admin", "app", "mail", "static", "status"])
def test_reserved_slugs_are_kept(world: World, slug: str) -> None:
    """TNNT-T1: nobody gets a slug of setting:tnnt.reserved_slugs."""
    world.admin.expect_refusal("422:reserved_slug", "POST", TENANTS, draft(world, slug=slug))


def test_a_legal_hold_needs_its_permission(world: World, live: Live) -> None:
    """TNNT-T1: setting and lifting legal_hold needs perm:tnnt.tenants.legal-hold; other changes do not."""
    clerk = limited(live, None, "tnnt.tenants.legal-hold")
    clerk.expect_refusal("403:permission_denied", "POST", TENANTS, draft(world, legal_hold=True))
    tenant = clerk.make(TENANTS, **draft(world))
    path = f"{TENANTS}/{tenant['id']}"
    clerk.expect_refusal("403:permission_denied", "PATCH", path, {"legal_hold": True})
    assert world.admin.change(TENANTS, tenant["id"], legal_hold=True)["legal_hold"]
    clerk.expect_refusal("403:permission_denied", "PATCH", path, {"legal_hold": False})
    assert clerk.change(TENANTS, tenant["id"], name="Renamed", legal_hold=True)["name"] == "Renamed"


def test_provisioning_ends_in_an_active_tenant(world: World) -> None:
    """TNNT-T2: the owner becomes a member, and the tenant is active."""
    tenant = world.admin.make(TENANTS, **draft(world))
    assert tenant["status"] == "pending"
    assert world.admin.move(TENANTS, tenant["id"], "provisioning")["status"] == "active"
    [member] = world.admin.list(MEMBERS, f"filter[tenant_id]={tenant['id']}")
    assert (member["user_id"], member["role"], member["status"]) == (tenant["owner_id"], "owner", "active")


@pytest.mark.parametrize(("given", "kept"), [("abuse", "abuse"), ("security", "security"), ("because", "request")])
def test_a_suspension_is_explained(world: World, given: str, kept: str) -> None:
    """TNNT-T3: it says since when and why, and forgets both when it is lifted."""
    tenant = world.tenant()
    row = world.admin.move(TENANTS, tenant["id"], "suspended", reason=given)
    assert row["suspended_reason"] == kept and row["suspended_at"] is not None
    row = world.admin.move(TENANTS, tenant["id"], "active")
    assert (row["suspended_reason"], row["suspended_at"]) == (None, None)


def test_a_billing_suspension_is_not_lifted_by_hand(world: World) -> None:
    """TNNT-T4: neither directly nor by way of closing."""
    tenant = world.tenant()
    contract = subscribe(world, tenant, seats=1)
    world.admin.move(SUBSCRIPTIONS, contract["id"], "canceled")
    world.admin.stays("409:suspended_for_billing", TENANTS, tenant["id"], "active")
    world.admin.move(TENANTS, tenant["id"], "closing")
    world.admin.stays("409:suspended_for_billing", TENANTS, tenant["id"], "active")
    assert world.admin.get(TENANTS, tenant["id"])["suspended_reason"] == "billing"


@pytest.mark.parametrize("states", [("closing",), ("suspended", "closing")])
def test_closing_has_a_day(world: World, freeze: Freeze, states: tuple[str, ...]) -> None:
    """TNNT-T5: closing_on is setting:tnnt.closing_days away, and is cleared when the tenant stays."""
    tenant = world.tenant()
    freeze(datetime(date.today().year, 5, 4, 12, tzinfo=UTC))
    row = world.admin.move(TENANTS, tenant["id"], *states)
    assert row["closing_on"] == f"{date.today().year}-06-03"
    assert world.admin.move(TENANTS, tenant["id"], "active")["closing_on"] is None


def test_closing_cancels_the_subscription(world: World) -> None:
    """TNNT-T5: the subscription ends, and does not suspend the tenant that is closing."""
    tenant = world.tenant()
    contract = subscribe(world, tenant, seats=1)
    assert world.admin.move(TENANTS, tenant["id"], "closing")["status"] == "closing"
    assert world.admin.get(SUBSCRIPTIONS, contract["id"])["status"] == "canceled"
    assert world.admin.get(TENANTS, tenant["id"])["suspended_reason"] is None


def test_a_live_tenant_is_not_deleted(world: World) -> None:
    """TNNT-T6: only pending and closed tenants are."""
    tenant, pending = world.tenant(), world.admin.make(TENANTS, **draft(world))
    world.admin.expect_refusal("409:tenant_live", "DELETE", f"{TENANTS}/{tenant['id']}")
    world.admin.drop(TENANTS, pending["id"])


def owner_row(world: World, tenant: Body) -> Body:
    """The membership of the owner."""
    return world.admin.list(MEMBERS, f"filter[tenant_id]={tenant['id']}&filter[role]=owner")[0]


def test_the_last_owner_stays(world: World) -> None:
    """TNNT-M1: he keeps role and status; with two owners one may go."""
    tenant, second = world.tenant(), world.user()
    first = owner_row(world, tenant)
    path = f"{MEMBERS}/{first['id']}"
    other = world.member(tenant, second, "owner", "suspended")
    world.admin.expect_refusal("409:last_owner", "PATCH", path, {"role": "admin"})
    world.admin.expect_refusal("409:last_owner", "DELETE", path)
    for state in ("suspended", "removed"):
        world.admin.stays("409:last_owner", MEMBERS, first["id"], state)
    world.admin.move(MEMBERS, other, "active")
    world.admin.move(MEMBERS, first["id"], "removed")
    world.admin.expect_refusal("409:last_owner", "DELETE", f"{MEMBERS}/{other}")


def test_nobody_raises_himself(world: World, live: Live) -> None:
    """TNNT-M2: nobody changes his own role, and nobody grants a role above his own."""
    tenant, user = world.tenant(), world.user()
    own, other = world.member(tenant, user, "admin"), world.member(tenant, world.user(), "guest")
    admin = limited(live, user)
    admin.expect_refusal("403:privilege_escalation", "PATCH", f"{MEMBERS}/{own}", {"role": "member"})
    admin.expect_refusal("403:privilege_escalation", "PATCH", f"{MEMBERS}/{other}", {"role": "owner"})
    assert admin.change(MEMBERS, other, role="admin")["role"] == "admin"
    stranger = limited(live, world.user())
    stranger.expect_refusal("403:privilege_escalation", "PATCH", f"{MEMBERS}/{other}", {"role": "member"})


@pytest.mark.parametrize("how", ["removed", "deleted"])
def test_a_removed_member_has_no_session(world: World, how: str) -> None:
    """TNNT-M3: his sessions in that tenant are revoked; those elsewhere go on."""
    tenant, user = world.tenant(), world.user()
    member = world.member(tenant, user)
    inside, outside = world.sign_in(user, tenant), world.sign_in(user)
    if how == "deleted":
        world.admin.drop(MEMBERS, member)
    else:
        world.admin.move(MEMBERS, member, "removed")
    inside.expect_refusal("401:invalid_token", "GET", "auth/me")
    assert outside.send(200, "GET", "auth/me")["email"] == user["email"]
    rows = world.admin.list(SESSIONS, f"filter[user_id]={user['id']}")
    assert {row["tenant_id"]: row["revoke_reason"] for row in rows} == {tenant["id"]: "admin", None: None}


def subscribe(world: World, tenant: Body, seats: int) -> Body:
    """A subscription without trial."""
    plan = world.admin.make(
        "manager/bill/plans", code=world.name("P").upper(), name="Plan", interval="month", currency="USD", amount="10"
    )
    world.admin.move("manager/bill/plans", plan["id"], "active")
    return world.admin.make(SUBSCRIPTIONS, tenant_id=tenant["id"], plan_id=plan["id"], seats=seats)


def invitation(world: World, tenant: Body, **values: object) -> Body:
    """The body of an invitation of somebody unknown."""
    return {"tenant_id": tenant["id"], "email": f"{world.name('guest')}@new.example", **values}


def test_only_an_active_tenant_invites(world: World) -> None:
    """TNNT-V1: pending, suspended and closing ones do not."""
    pending, tenant = world.admin.make(TENANTS, **draft(world)), world.tenant()
    world.admin.expect_refusal("403:tenant_closed", "POST", INVITATIONS, invitation(world, pending))
    world.admin.move(TENANTS, tenant["id"], "suspended")
    world.admin.expect_refusal("403:tenant_suspended", "POST", INVITATIONS, invitation(world, tenant))


def test_a_member_is_not_invited(world: World) -> None:
    """TNNT-V1: nor is somebody invited twice; a removed member may come back."""
    tenant, user = world.tenant(), world.user()
    member = world.member(tenant, user, status="suspended")
    body = invitation(world, tenant, email=user["email"].upper())
    world.admin.expect_refusal("409:already_member", "POST", INVITATIONS, body)
    world.admin.move(MEMBERS, member, "removed")
    world.admin.make(INVITATIONS, **body)
    world.admin.expect_refusal("409:duplicate", "POST", INVITATIONS, body)


def test_nobody_invites_above_his_rank(world: World, live: Live) -> None:
    """TNNT-V1: an owner invites owners, an admin does not; who is no member invites nobody."""
    tenant, user = world.tenant(), world.user()
    world.member(tenant, user, "admin")
    owner, admin, stranger = (limited(live, who) for who in (world.owner(tenant), user, world.user()))
    owner.make(INVITATIONS, **invitation(world, tenant, role="owner"))
    admin.expect_refusal("403:privilege_escalation", "POST", INVITATIONS, invitation(world, tenant, role="owner"))
    admin.make(INVITATIONS, **invitation(world, tenant, role="admin"))
    stranger.expect_refusal("403:privilege_escalation", "POST", INVITATIONS, invitation(world, tenant, role="guest"))


def test_invitations_fit_the_seats(world: World) -> None:
    """TNNT-V1: active and suspended members and pending invitations take seats; revoking gives one back."""
    tenant = world.tenant()
    subscribe(world, tenant, seats=4)
    world.member(tenant, world.user(), status="suspended")
    world.member(tenant, world.user(), status="removed")
    three = [invitation(world, tenant) for _ in range(3)]
    world.admin.expect_refusal("409:seat_limit", "POST", INVITATIONS, three)
    rows = world.admin.send(201, "POST", INVITATIONS, three[:2])
    world.admin.expect_refusal("409:seat_limit", "POST", INVITATIONS, three[2])
    world.admin.move(INVITATIONS, rows[0]["id"], "revoked")
    world.admin.make(INVITATIONS, **three[2])


def test_without_a_subscription_nobody_counts(world: World) -> None:
    """TNNT-V1: a tenant that pays for no seats has no limit of them."""
    tenant = world.tenant()
    assert len(world.admin.send(201, "POST", INVITATIONS, [invitation(world, tenant) for _ in range(7)])) == 7


def test_an_invitation_has_a_token(world: World, freeze: Freeze) -> None:
    """TNNT-V2: shown once, stored as SHA-256; it lives setting:tnnt.invitation_days."""
    tenant, now = world.tenant(), datetime(date.today().year, 5, 4, 12, tzinfo=UTC)
    freeze(now)
    row = world.admin.make(INVITATIONS, **invitation(world, tenant))
    assert len(row["token"]) == 43
    assert datetime.fromisoformat(row["expires_at"]) == now + timedelta(days=7)
    assert not {"token", "token_hash"} & set(world.admin.get(INVITATIONS, row["id"]))
    log = world.admin.list("manager/audt/audit-logs", f"filter[entity_id]={row['id']}")
    assert log[0]["changes"]["token_hash"] == [None, "***"] and row["token"] not in str(log)


@pytest.mark.parametrize(
    "hostname",
    [
        *("Shop.example.com", "localhost", "a..b.example", "-a.example.com", "a-.example.com", "10.0.0.1"),
        *("shop.example.com.", "a_b.example.com", f"{'a' * 64}.example.com", "cxg.example", "acme.cxg.example"),
        *("www.example.com", "api.example.com"),
    ],
)
def test_a_hostname_is_ones_own(world: World, hostname: str) -> None:
    """TNNT-D1: a full name in small letters, outside the platform's zone, without a reserved first label."""
    body = {"tenant_id": world.tenant()["id"], "hostname": hostname}
    world.admin.expect_refusal("422:hostname_not_allowed", "POST", DOMAINS, body)


def make_domain(world: World, tenant: Body, *, verified: bool) -> Body:
    """A host name. Verifying one asks the DNS, which is a job's work: put into the database."""
    row = world.admin.make(DOMAINS, tenant_id=tenant["id"], hostname=f"{world.name('shop')}.example.com")
    if verified:
        sql = "update tnnt.domains set status = 'verified' where id = $1::uuid"
        world.live.run_sql("manager", sql, UUID(row["id"]))
    return row


def test_a_hostname_has_a_token(world: World) -> None:
    """TNNT-D1: what the TXT record must carry is made by the engine."""
    row = make_domain(world, world.tenant(), verified=False)
    assert (row["status"], len(row["verification_token"]), row["is_primary"]) == ("pending", 43, False)
    world.admin.stays("409:reserved_transition", DOMAINS, row["id"], "verified")


def test_only_a_verified_hostname_is_primary(world: World) -> None:
    """TNNT-D2: neither at create nor later; making one primary clears the other of the tenant alone."""
    tenant, neighbour = world.tenant(), world.tenant()
    body = {"tenant_id": tenant["id"], "hostname": f"{world.name('h')}.example.com", "is_primary": True}
    world.admin.expect_refusal("409:domain_not_verified", "POST", DOMAINS, body)
    pending = make_domain(world, tenant, verified=False)
    world.admin.expect_refusal("409:domain_not_verified", "PATCH", f"{DOMAINS}/{pending['id']}", {"is_primary": True})
    first, second, foreign = (make_domain(world, home, verified=True) for home in (tenant, tenant, neighbour))
    for row in (first, foreign, second):
        assert world.admin.change(DOMAINS, row["id"], is_primary=True)["is_primary"]
    primary = {row["id"]: world.admin.get(DOMAINS, row["id"])["is_primary"] for row in (first, second, foreign)}
    assert primary == {first["id"]: False, second["id"]: True, foreign["id"]: True}
