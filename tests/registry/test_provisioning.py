"""What a tenant and its members are inside the tenant: first rows and local users, over HTTP."""

from __future__ import annotations

from uuid import UUID

import httpx

from engine.testing.harness import Live
from tests.calls import Body, Caller, World

TENANTS, MEMBERS, INVITATIONS = "manager/tnnt/tenants", "manager/tnnt/tenant-members", "manager/tnnt/invitations"
USUAL = {"name": "Acme", "billing_email": "a@b.example", "country": "DE"}


def inside(world: World, tenant: Body) -> Caller:
    """The owner of a tenant, inside it."""
    return world.sign_in(world.owner(tenant), tenant)


def test_a_tenant_starts_furnished(world: World, live: Live) -> None:
    """TNNT-T2: it has the roles that SYS-R2 names, a counter for every numbered document, its currency and its ledger, and
    its owner is the local administrator."""
    tenant = world.tenant(currency="EUR")
    owner = inside(world, tenant)
    roles = {row["code"]: row for row in owner.list("tenants/sys/roles")}
    assert set(roles) == {"ADMIN", "MANAGER", "USER", "VIEWER"}
    held = {code: set(row["permissions"]) for code, row in roles.items()}
    assert held["VIEWER"] < held["USER"] < held["MANAGER"] < held["ADMIN"] == live.catalog.permissions[True]
    counters = {row["code"]: row for row in owner.list("tenants/sys/number-sequences")}
    numbers = {r.entity.number for r in live.catalog.resources.values() if r.scope.name == "tenants"} - {None}
    assert {(n.prefix, n.gapless) for n in numbers if n} <= {(row["code"], row["gapless"]) for row in counters.values()}
    assert len(counters) == 27 and {row["next_value"] for row in counters.values()} == {"1"} and "SCN" in counters
    [currency] = owner.list("tenants/sys/settings", "filter[key]=base_currency")
    assert currency["value"] == "EUR"
    assert owner.list("tenants/fim/currencies", "filter[is_base]=true")[0]["code"] == "EUR"
    assert owner.list("tenants/fim/accounts", "filter[system_role]=bank")
    [user] = owner.list("tenants/sys/users")
    assert (user["identity_id"], user["member_role"]) == (tenant["owner_id"], "owner")
    [grant] = owner.list("tenants/sys/user-roles")
    assert (grant["user_id"], grant["role_id"]) == (user["id"], roles["ADMIN"]["id"])


def test_a_tenant_that_cannot_be_furnished_stays_pending(world: World, live: Live) -> None:
    """TNNT-T2: a fault leaves neither a member nor a row of the tenant; when it is gone, the next try goes through."""
    tenant = world.admin.make(TENANTS, slug=world.name("s"), owner_id=world.user()["id"], **USUAL)
    key = UUID(tenant["id"])
    sql = "insert into sys.roles (id, tenant_id, code, name, permissions, is_system, created_at, updated_at) "
    row = "values (gen_random_uuid(), $1::uuid, $2, 'Lost', '[]', true, now(), now()) returning id"
    live.run_sql("tenants", "alter table sys.user_roles add constraint broken check (false) not valid")
    try:
        assert world.admin.client.patch(f"/{TENANTS}/{key}/status", json={"status": "provisioning"}).status_code == 422
    finally:
        live.run_sql("tenants", "alter table sys.user_roles drop constraint broken")
    assert world.admin.get(TENANTS, tenant["id"])["status"] == "pending"
    assert world.admin.list(MEMBERS, f"filter[tenant_id]={key}") == []
    assert live.run_sql("tenants", "select id from sys.roles", tenant=key) == []
    # one role is there already
    live.run_sql("tenants", sql + row, key, "VIEWER", tenant=key)
    assert world.admin.move(TENANTS, tenant["id"], "provisioning")["status"] == "active"
    assert len(inside(world, tenant).list("tenants/sys/roles", "filter[code]=VIEWER")) == 1


def local_user(world: World, tenant: Body, user: Body) -> Body | None:
    """The member as the tenant itself knows him."""
    rows = inside(world, tenant).list("tenants/sys/users", f"filter[identity_id]={user['id']}")
    assert len(rows) < 2
    return rows[0] if rows else None


def test_members_are_users_of_their_tenant(world: World) -> None:
    """TNNT-M3: made with the membership, changed, suspended and taken away with it, and with the person."""
    tenant, neighbour = world.tenant(), world.tenant()
    user = world.user(full_name="Ada Obi", locale="pt", timezone="Africa/Lagos")
    members = {place["id"]: join(world, place, user) for place in (tenant, neighbour)}
    local = local_user(world, tenant, user)
    assert local is not None
    assert {name: local[name] for name in ("display_name", "email", "locale", "timezone", "member_role", "status")} == {
        **{"display_name": "Ada Obi", "email": user["email"], "locale": "pt", "timezone": "Africa/Lagos"},
        **{"member_role": "member", "status": "active"},
    }
    member = members[tenant["id"]]
    world.admin.change(MEMBERS, member, role="admin")
    world.admin.move(MEMBERS, member, "suspended")
    seen = local_user(world, tenant, user)
    assert seen is not None and (seen["id"], seen["member_role"], seen["status"]) == (local["id"], "admin", "suspended")
    world.admin.move(MEMBERS, member, "active")
    assert local_user(world, tenant, user) == {**seen, "status": "active"} | stamps(world, tenant, user)
    world.admin.move(MEMBERS, member, "removed")
    assert local_user(world, tenant, user) is None
    elsewhere = local_user(world, neighbour, user)
    assert elsewhere is not None and (elsewhere["member_role"], elsewhere["status"]) == ("member", "active")
    # somebody who comes back is a new local user: what the one before held is gone
    join(world, tenant, user)
    again = local_user(world, tenant, user)
    assert again is not None and again["id"] != local["id"]
    world.admin.drop("manager/idam/users", user["id"])
    assert (local_user(world, tenant, user), local_user(world, neighbour, user)) == (None, None)


def stamps(world: World, tenant: Body, user: Body) -> Body:
    """What every write of a row changes."""
    row = local_user(world, tenant, user) or {}
    return {name: row[name] for name in ("version", "updated_at", "updated_by")}


def join(world: World, tenant: Body, user: Body) -> str:
    """The id of the membership of somebody who took up an invitation."""
    offer = world.admin.make(INVITATIONS, tenant_id=tenant["id"], email=user["email"])
    answer = httpx.post(f"{world.live.url}/auth/accept-invitation", json={"token": offer["token"]})
    assert answer.status_code == 200, answer.text
    [row] = world.admin.list(
        MEMBERS, f"filter[tenant_id]={tenant['id']}&filter[user_id]={user['id']}&filter[status]=active"
    )
    return str(row["id"])


def test_a_person_of_many_tenants_leaves_all_of_them(world: World, live: Live) -> None:
    """TNNT-M3: more tenants than a server has connections are no hindrance, and each write reaches its own tenant."""
    user = world.user()
    tenants = [world.tenant() for _ in range(live.system.settings.pool_size + 2)]
    for tenant in tenants:
        join(world, tenant, user)
    world.admin.drop("manager/idam/users", user["id"])
    left = [len(inside(world, tenant).list("tenants/sys/users")) for tenant in tenants]
    assert left == [1] * len(tenants)


def test_a_removed_member_loses_what_he_held(world: World) -> None:
    """TNNT-M3: his roles inside the tenant go with him, and with a membership that is deleted."""
    for how in ("removed", "deleted"):
        tenant, user = world.tenant(), world.user()
        member, owner = join(world, tenant, user), inside(world, tenant)
        local = local_user(world, tenant, user)
        assert local is not None
        [role] = owner.list("tenants/sys/roles", "filter[code]=MANAGER")
        owner.make("tenants/sys/user-roles", user_id=local["id"], role_id=role["id"])
        if how == "deleted":
            world.admin.drop(MEMBERS, member)
        else:
            world.admin.move(MEMBERS, member, "removed")
        assert owner.list("tenants/sys/user-roles", f"filter[role_id]={role['id']}") == []
