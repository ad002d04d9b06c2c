"""Behaviour of a tenant's foundation, over HTTP: local users, roles, settings, attachments."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from engine.testing.harness import Live
from engine.types import Principal, TenantRef
from tests.calls import Body, Caller, World
from tests.registry.homes import GRANTS, MEMBERS, PAYMENTS, ROLES, USERS, Home, Person

SETTINGS, FILES, CUSTOMERS = "tenants/sys/settings", "tenants/sys/attachments", "tenants/crm/customers"


def rights(who: Person) -> set[str]:
    """The permissions that somebody holds now."""
    return set(who.caller.send(200, "GET", "auth/me")["permissions"])


def test_members_edit_their_own_profile_only(home: Home) -> None:
    """SYS-U1: others' need sys.users.manage; all are read."""
    ann, bob = home.join(), home.join()
    assert ann.caller.change(USERS, ann.local["id"], job_title="Buyer")["job_title"] == "Buyer"
    path = f"{USERS}/{bob.local['id']}"
    ann.caller.expect_refusal("403:permission_denied", "PATCH", path, {"job_title": "Boss"})
    assert ann.caller.get(USERS, bob.local["id"])["job_title"] is None
    home.grant(ann, home.role("sys.users.manage"))
    assert ann.caller.change(USERS, bob.local["id"], job_title="Clerk")["job_title"] == "Clerk"


def test_a_role_holds_known_permissions_of_the_scope(home: Home) -> None:
    """SYS-R1: neither made-up ones nor those of the Manager side, at create and later."""
    role = home.role("crm.customers.read")
    for code in ("crm.customers.fly", "idam.users.read"):
        body = {"code": "ODD", "name": "Odd", "permissions": [code]}
        home.owner.caller.expect_refusal("422:unknown_permission", "POST", ROLES, body)
        change = {"permissions": ["crm.customers.read", code]}
        home.owner.caller.expect_refusal("422:unknown_permission", "PATCH", f"{ROLES}/{role['id']}", change)


def test_nobody_puts_more_into_a_role_than_he_holds(home: Home) -> None:
    """SYS-R1: each permission that is added is one of the caller's own; what was there already may stay."""
    ann = home.join("guest")
    home.grant(ann, home.role("sys.roles.create", "sys.roles.update"))
    body = {"code": "CLERK", "name": "Clerk", "permissions": ["crm.customers.read"]}
    ann.caller.make(ROLES, **body)
    more = ["crm.customers.read", "crm.customers.delete"]
    ann.caller.expect_refusal("403:privilege_escalation", "POST", ROLES, {**body, "code": "X", "permissions": more})
    big = home.role("crm.customers.delete")
    assert ann.caller.change(ROLES, big["id"], permissions=["crm.customers.delete", "crm.leads.read"])
    change = {"permissions": ["crm.customers.delete", "crm.leads.delete"]}
    ann.caller.expect_refusal("403:privilege_escalation", "PATCH", f"{ROLES}/{big['id']}", change)


@pytest.mark.parametrize("code", ["ADMIN", "MANAGER", "USER", "VIEWER"])
def test_seeded_roles_are_fixed(home: Home, code: str) -> None:
    """SYS-R2: they neither change nor go."""
    role, owner = home.system_role(code), home.owner.caller
    assert role["is_system"]
    path = f"{ROLES}/{role['id']}"
    owner.expect_refusal("409:system_role", "PATCH", path, {"name": "Mine"})
    # somebody holds ADMIN from the first day, which alone would keep it
    refusal = "409:in_use" if code == "ADMIN" else "409:system_role"
    owner.expect_refusal(refusal, "DELETE", path)
    owner.stays(refusal, ROLES, role["id"], "inactive")
    own = home.role()
    owner.change(ROLES, own["id"], name="Mine")
    owner.drop(ROLES, own["id"])


def test_roles_say_what_a_member_may_do(home: Home, live: Live) -> None:
    """What comes with membership and the roles of the tenant add up; a role that ends takes its part along."""
    known = live.catalog.permissions[True]
    guest = home.join("guest")
    assert all(code.endswith(".read") for code in rights(guest)) and "crm.customers.read" in rights(guest)
    grant = home.grant(guest, home.role("crm.customers.delete"))
    assert "crm.customers.delete" in rights(guest)
    home.owner.caller.drop(GRANTS, grant["id"])
    assert "crm.customers.delete" not in rights(guest)
    home.grant(guest, home.system_role("MANAGER"))
    assert {"crm.customers.delete", "sys.users.update"} <= rights(guest) and "sys.roles.create" not in rights(guest)
    home.grant(guest, home.system_role("ADMIN"))
    assert rights(guest) == known
    assert {"ADMIN", "MANAGER", "GUEST"} == set(guest.caller.send(200, "GET", "auth/me")["roles"])


def test_a_member_does_the_daily_work_and_does_not_govern(home: Home) -> None:
    """The permissions of a plain member are those of the role USER."""
    member = home.join()
    held = rights(member)
    assert {"crm.customers.update", "sys.users.update", "sys.attachments.create"} <= held
    assert not {"crm.customers.delete", "sys.roles.create", "sys.user-roles.create", "sys.settings.update"} & held
    assert held == rights(member)
    body = {"code": "MINE", "name": "Mine", "permissions": []}
    member.caller.expect_refusal("403:permission_denied", "POST", ROLES, body)


@pytest.mark.parametrize(("start", "days", "counts"), [(0, 0, True), (-9, 4, False), (1, 9, False)])
def test_a_role_counts_on_its_days(home: Home, start: int, days: int, counts: bool) -> None:
    """A grant in the past or the future gives nothing."""
    guest, first = home.join("guest"), date.today() + timedelta(days=start)
    spell = {"valid_from": str(first), "valid_until": str(first + timedelta(days=days))}
    home.grant(guest, home.role("crm.customers.delete"), **spell)
    assert ("crm.customers.delete" in rights(guest)) is counts


def test_a_role_of_another_tenant_gives_nothing_here(home: Home, world: World) -> None:
    """Who is a guest in two tenants holds in each what that one gave him."""
    guest, tenant = home.join("guest"), world.tenant()
    world.member(tenant, {"id": guest.identity}, "guest")
    home.grant(guest, home.role("crm.customers.delete"))
    there = world.sign_in({"email": guest.email}, tenant)
    assert "crm.customers.delete" in rights(guest)
    assert "crm.customers.delete" not in there.send(200, "GET", "auth/me")["permissions"]


def test_nobody_gives_himself_a_role(home: Home) -> None:
    """SYS-UR1: not even the owner."""
    body = {"user_id": home.owner.local["id"], "role_id": home.role()["id"]}
    home.owner.caller.expect_refusal("403:self_grant", "POST", GRANTS, body)


def test_nobody_gives_a_role_that_holds_more_than_he(home: Home) -> None:
    """SYS-UR1: every permission of the role is one of the caller's own, that of a seeded role as it is today."""
    ann, bob = home.join("guest"), home.join("guest")
    small, large = home.role("crm.customers.read"), home.role("crm.customers.delete")
    home.grant(ann, home.role("sys.user-roles.create"))
    ann.caller.make(GRANTS, user_id=bob.local["id"], role_id=small["id"])
    for role in (large, home.system_role("ADMIN")):
        body = {"user_id": bob.local["id"], "role_id": role["id"]}
        ann.caller.expect_refusal("403:privilege_escalation", "POST", GRANTS, body)


def test_the_last_administrator_stays(home: Home) -> None:
    """SYS-UR2: grants of suspended users and of other days do not count; with two, one may go."""
    owner, role = home.owner.caller, home.system_role("ADMIN")
    [first] = owner.list(GRANTS, f"filter[role_id]={role['id']}")
    path = f"{GRANTS}/{first['id']}"
    owner.expect_refusal("409:last_admin", "DELETE", path)
    ann, bob = home.join(), home.join()
    home.grant(ann, role, valid_from=str(date.today() + timedelta(days=2)))
    second = home.grant(bob, role)
    [member] = home.world.admin.list(MEMBERS, f"filter[user_id]={bob.identity}")
    home.world.admin.move(MEMBERS, member["id"], "suspended")
    owner.expect_refusal("409:last_admin", "DELETE", path)
    home.world.admin.move(MEMBERS, member["id"], "active")
    owner.drop(GRANTS, first["id"])
    owner.expect_refusal("409:last_admin", "DELETE", f"{GRANTS}/{second['id']}")


def test_two_administrators_do_not_go_at_once(home: Home) -> None:
    """SYS-UR2: of two deletions at the same time one is refused."""
    owner, role = home.owner.caller, home.system_role("ADMIN")
    home.grant(home.join(), role)
    paths = [f"{GRANTS}/{row['id']}" for row in owner.list(GRANTS, f"filter[role_id]={role['id']}")]
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda path: owner.client.delete(f"/{path}").status_code, paths))
    assert sorted(answers) == [200, 409]


BRACKETS = [{"up_to": 1000, "pct": 0}, {"up_to": 5000, "pct": 12.5}, {"up_to": None, "pct": 30}]


@pytest.mark.parametrize(
    ("key", "value_type", "value"),
    [
        ("srm.invoice_policy", "json", 7),
        ("apm.match_price_tolerance_pct", "json", "much"),
        ("base_currency", "string", "dollars"),
        ("some.count", "int", "many"),
        ("some.count", "int", 1.5),
        ("some.switch", "bool", 1),
        ("some.share", "number", True),
        ("some.word", "string", 4),
        ("payroll.tax_brackets", "json", []),
        ("payroll.tax_brackets", "json", BRACKETS[:2]),
        ("payroll.tax_brackets", "json", [BRACKETS[1], BRACKETS[0], BRACKETS[2]]),
        ("payroll.tax_brackets", "json", [BRACKETS[0], BRACKETS[0], BRACKETS[2]]),
        ("payroll.tax_brackets", "json", [{"up_to": None, "pct": 101}]),
        ("payroll.tax_brackets", "json", [{"up_to": None}]),
    ],
)
def test_a_setting_keeps_its_type(home: Home, key: str, value_type: str, value: Any) -> None:
    """SYS-S1: of its value_type, of the default of a known key; tax brackets rise and end with null."""
    owner = home.owner.caller
    if key != "base_currency":
        body = {"key": key, "value_type": value_type, "value": value}
        owner.expect_refusal("422:setting_value", "POST", SETTINGS, body)
        return
    [row] = owner.list(SETTINGS, f"filter[key]={key}")
    owner.expect_refusal("422:setting_value", "PATCH", f"{SETTINGS}/{row['id']}", {"value": value})


def test_a_setting_takes_what_fits(home: Home) -> None:
    """SYS-S1: known and unknown keys."""
    owner = home.owner.caller
    for key, value_type, value in (
        ("payroll.tax_brackets", "json", BRACKETS),
        ("apm.match_price_tolerance_pct", "number", 2.5),
        ("srm.invoice_policy", "string", "ordered"),
        ("some.list", "json", [1, "a"]),
    ):
        row = owner.make(SETTINGS, key=key, value_type=value_type, value=value)
        assert owner.get(SETTINGS, row["id"])["value"] == value


def test_the_base_currency_stays_once_the_books_are_kept(home: Home) -> None:
    """SYS-S1: until the first posted journal entry it changes, and not afterwards in any way."""
    owner = home.owner.caller
    [row] = owner.list(SETTINGS, "filter[key]=base_currency")
    path = f"{SETTINGS}/{row['id']}"
    assert row["value"] == "USD"
    owner.change(SETTINGS, row["id"], value="EUR")
    owner.change(SETTINGS, row["id"], value="USD")
    paid = home.payment(owner)
    owner.change(SETTINGS, row["id"], value="USD")
    assert owner.move(PAYMENTS, paid["id"], "posted")["status"] == "posted"
    owner.expect_refusal("409:setting_locked", "PATCH", path, {"value": "EUR"})
    owner.expect_refusal("409:setting_locked", "DELETE", path)
    owner.stays("409:setting_locked", SETTINGS, row["id"], "inactive")
    owner.change(SETTINGS, row["id"], value="USD", description="The books are kept in it")


def attachment(owner_type: str, owner_id: str, **values: Any) -> Body:
    """The body of an attachment."""
    file = {"file_name": "offer.pdf", "content_type": "application/pdf", "size_bytes": 1000, "checksum": "0" * 64}
    return {"owner_type": owner_type, "owner_id": owner_id, **file, **values}


def test_a_file_belongs_to_a_row_that_the_caller_reads(home: Home, world: World) -> None:
    """SYS-F1: of an entity of the tenant, which exists and is active; where it lies is told to nobody."""
    owner, guest = home.owner.caller, home.join("guest")
    customer = owner.make(CUSTOMERS, name="Nordwind")
    made = owner.make(FILES, **attachment("crm.customers", customer["id"]))
    assert "storage_key" not in made
    elsewhere = world.sign_in(world.owner(other := world.tenant()), other).make(CUSTOMERS, name="Not ours")
    for kind, key in (
        ("crm.customers", elsewhere["id"]),
        ("crm.customers", str(uuid4())),
        ("crm.leads", customer["id"]),
        ("idam.users", home.owner.identity),
        ("crm.planets", customer["id"]),
    ):
        owner.expect_refusal("422:invalid_reference", "POST", FILES, attachment(kind, key))
    owner.drop(CUSTOMERS, customer["id"])
    owner.expect_refusal("422:invalid_reference", "POST", FILES, attachment("crm.customers", customer["id"]))
    home.grant(guest, home.role("sys.attachments.create"))
    guest.caller.make(FILES, **attachment("sys.users", guest.local["id"]))


def test_who_may_not_read_a_row_attaches_nothing_to_it(home: Home, live: Live) -> None:
    """SYS-F1: for him the row is not there."""
    customer = home.owner.caller.make(CUSTOMERS, name="Nordwind")
    blind = Caller(live.lend(holding(home, "sys.attachments.create")))
    seeing = Caller(live.lend(holding(home, "sys.attachments.create", "crm.customers.read")))
    blind.expect_refusal("422:invalid_reference", "POST", FILES, attachment("crm.customers", customer["id"]))
    seeing.make(FILES, **attachment("crm.customers", customer["id"]))


def holding(home: Home, *permissions: str) -> Principal:
    """A caller of the tenant with just these permissions."""
    place = TenantRef(UUID(home.tenant["id"]), home.tenant["slug"])
    return Principal(uuid4(), tenant=place, permissions=frozenset(permissions))


@pytest.mark.parametrize(
    "content_type", ["text/html", "application/x-msdownload", "image/svg+xml", "", "APPLICATION/PDF"]
)
def test_only_harmless_files_are_taken(home: Home, content_type: str) -> None:
    """SYS-F1: pdf, png, jpeg, webp, csv, xlsx, docx, txt and zip."""
    body = attachment("sys.users", home.owner.local["id"], content_type=content_type)
    home.owner.caller.expect_refusal("422:content_type_not_allowed", "POST", FILES, body)
