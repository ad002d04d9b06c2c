"""Audit and compliance over HTTP: the sealed log, the history of sign-ins, policies, data-subject requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pyotp
import pytest

from engine.testing.harness import PASSWORD
from tests.calls import Body, Caller, World, soon

AUDIT, LOGINS = "manager/audt/audit-logs", "manager/audt/login-events"
POLICIES, REQUESTS = "manager/audt/policies", "manager/audt/data-requests"
USERS, TENANTS = "manager/idam/users", "manager/tnnt/tenants"
STRICT = {"min_length": 14, "classes": 4, "history": 5, "max_age_days": 90}
Freeze = Callable[[datetime | None], None]
pytestmark = pytest.mark.usefixtures("no_policies_ahead")


def enter(world: World, user: Body, password: str = PASSWORD, **more: Any) -> httpx.Response:
    """The password grant."""
    form = {"grant_type": "password", "username": user["email"], "password": password, **more}
    return httpx.post(f"{world.live.url}/auth/token", data=form)


def attempts(world: World, user: Body) -> list[str]:
    """The results of a user's sign-ins, in order."""
    return [
        row["result"] for row in world.admin.list(LOGINS, f"filter[email_tried]={user['email']}&sort=occurred_at,id")
    ]


def policy(world: World, kind: str, parameters: Any, **values: Any) -> Body:
    """A draft of a policy."""
    usual = {"code": world.name("P").upper(), "kind": kind, "parameters": parameters, "valid_from": "2026-01-01"}
    return world.admin.make(POLICIES, **{**usual, **values})


@pytest.fixture
def active(world: World) -> Iterator[Callable[..., Body]]:
    """Makes policies that are in force until the end of the test."""
    made: list[Body] = []

    def make(kind: str, parameters: Any, **values: Any) -> Body:
        made.append(policy(world, kind, parameters, **values))
        return world.admin.move(POLICIES, made[-1]["id"], "active")

    yield make
    for row in made:
        if world.admin.get(POLICIES, row["id"])["status"] == "active":
            world.admin.move(POLICIES, row["id"], "retired")


# -- the log


def test_the_log_is_sealed_row_by_row(world: World) -> None:
    """AUDT-L1: seq, prev_hash and row_hash come soon after the write; each row names the one before it."""
    role = world.role("bill.plans.read")
    world.admin.change("manager/idam/roles", role["id"], name="Other")
    query = f"filter[entity_id]={role['id']}&sort=seq"
    soon(lambda: all(row["row_hash"] for row in world.admin.list(AUDIT, query)))
    made, changed = world.admin.list(AUDIT, query)
    assert int(made["seq"]) < int(changed["seq"])
    [before] = world.admin.list(AUDIT, f"filter[seq]={int(changed['seq']) - 1}")
    assert changed["prev_hash"] == before["row_hash"]
    [first] = world.admin.list(AUDIT, "filter[seq]=1")
    assert first["prev_hash"] == "0" * 64


def test_signing_in_and_out_is_recorded(world: World) -> None:
    """AUDT-L1: the log holds sign-ins beside writes, with who and from where."""
    user = world.user()
    token = enter(world, user).json()
    assert httpx.post(f"{world.live.url}/auth/revoke", data={"token": token["access_token"]}).status_code == 200
    rows = world.admin.list(AUDIT, f"filter[actor_id]={user['id']}&filter[action][in]=login,logout&sort=occurred_at,id")
    assert [(row["action"], row["domain"], row["entity"], row["outcome"]) for row in rows] == [
        ("login", "idam", "sessions", "ok"),
        ("logout", "idam", "sessions", "ok"),
    ]
    assert rows[0]["entity_id"] == rows[1]["entity_id"] and rows[0]["ip"] == "127.0.0.1"
    assert rows[0]["actor_email"] == user["email"]


def test_the_trail_of_a_tenant_is_for_its_administrators(world: World) -> None:
    """AUDT-L3: owner and admin read the tenant's own log and nobody else's; members do not."""
    tenant, user, helper = world.tenant(), world.user(), world.user()
    world.member(tenant, user, "member")
    world.member(tenant, helper, "admin")
    owner = world.sign_in(world.owner(tenant), tenant)
    row = owner.make("tenants/crm/customers", name="Trailed")
    log = "tenants/sys/audit-logs"
    for caller in (owner, world.sign_in(helper, tenant)):
        assert len(caller.list(log, f"filter[entity_id]={row['id']}")) == 1
    world.sign_in(user, tenant).expect_refusal("403:permission_denied", "GET", log)
    assert Caller(world.live.other_tenant()).list(log, f"filter[entity_id]={row['id']}") == []
    owner.expect_refusal("403:wrong_scope", "GET", AUDIT)


# -- the history of sign-ins


def test_every_attempt_is_kept(world: World) -> None:
    """Known or not, right or not; a service user and a foreign tenant count as shut out."""
    user, gone = world.user(), world.user()
    world.admin.move(USERS, gone["id"], "disabled")
    service = world.user(user_type="service", password=None)
    nobody = {"email": f"{world.name('nobody')}@nowhere.example"}
    enter(world, user, "Wrong-Password-1")
    enter(world, user)
    enter(world, user, tenant="second")
    for who in (gone, service, nobody):
        enter(world, who)
    assert attempts(world, user) == ["bad_password", "success", "disabled"]
    assert [attempts(world, who) for who in (gone, service, nobody)] == [["disabled"], ["disabled"], ["unknown_user"]]
    [success] = world.admin.list(LOGINS, f"filter[user_id]={user['id']}&filter[result]=success")
    [session] = world.admin.list("manager/idam/sessions", f"filter[user_id]={user['id']}")
    assert (success["session_id"], success["ip"]) == (session["id"], "127.0.0.1")
    [unknown] = world.admin.list(LOGINS, f"filter[email_tried]={nobody['email']}")
    assert (unknown["user_id"], unknown["session_id"]) == (None, None)


def test_a_wrong_code_is_kept(world: World) -> None:
    """A second factor that fails is told apart from a wrong password."""
    user = world.user()
    caller = world.sign_in(user)
    secret = caller.send(200, "POST", "auth/second-factor", {"step": "begin"})["secret"]
    caller.send(200, "POST", "auth/second-factor", {"step": "confirm", "code": pyotp.TOTP(secret).now()})
    enter(world, user, otp="000000")
    assert attempts(world, user) == ["success", "mfa_failed"]


@pytest.mark.parametrize("name", ["\x00@x.example", "\udcff@x.example", "x" * 5000])
def test_whatever_is_tried_is_kept_as_far_as_it_fits(world: World, name: str) -> None:
    """Who tries may send anything: 401, never 500."""
    form = (
        b"grant_type=password&password=x&username="
        + "".join(f"%{byte:02x}" for byte in name.encode(errors="surrogatepass")).encode()
    )
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = httpx.post(f"{world.live.url}/auth/token", content=form, headers=kind)
    assert answer.status_code in (400, 401), answer.text


# -- policies


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("password", {"min_length": 14}),
        ("password", {**STRICT, "days": 3}),
        ("password", {**STRICT, "classes": 5}),
        ("session", {"idle_minutes": 0}),
        ("mfa", {"required": "yes"}),
        ("ip_allowlist", {"cidrs": ["10.0.0.0/33"]}),
        ("retention", {}),
    ],
)
def test_parameters_are_those_of_the_kind(world: World, kind: str, parameters: Any) -> None:
    """AUDT-P1: exactly the keys of the kind, with values that can be meant, at create and at update."""
    body = {"code": world.name("P").upper(), "kind": kind, "parameters": parameters, "valid_from": "2026-01-01"}
    world.admin.expect_refusal("422:policy_parameters", "POST", POLICIES, body)
    row = policy(world, "retention", {"days": 30})
    path = f"{POLICIES}/{row['id']}"
    world.admin.expect_refusal("422:policy_parameters", "PATCH", path, {"parameters": {"days": 30, "x": 1}})


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("password", (STRICT, {**STRICT, "min_length": 13}, {**STRICT, "min_length": 15})),
        ("password", (STRICT, {**STRICT, "classes": 3}, STRICT)),
        ("password", (STRICT, {**STRICT, "max_age_days": None}, {**STRICT, "max_age_days": 30})),
        ("session", ({"idle_minutes": 30}, {"idle_minutes": 31}, {"idle_minutes": 10})),
        ("mfa", ({"required": True}, {"required": False}, {"required": True})),
        ("ip_allowlist", ({"cidrs": ["10.0.0.0/8"]}, {"cidrs": ["11.0.0.0/8"]}, {"cidrs": ["10.1.0.0/16"]})),
        ("ip_allowlist", ({"cidrs": ["10.0.0.0/8"]}, {"cidrs": []}, {"cidrs": ["10.0.0.1/32"]})),
        ("retention", ({"days": 365}, {"days": 364}, {"days": 400})),
    ],
)
def test_a_tenant_is_only_stricter(
    world: World, active: Callable[..., Body], kind: str, said: tuple[Any, Any, Any]
) -> None:
    """AUDT-P1: than the platform's policy of the same days, at create, update and when it is put in force."""
    (platform, weaker, stricter), tenant = said, world.tenant()["id"]
    early = policy(world, kind, weaker, tenant_id=tenant, valid_from="2020-01-01", valid_until="2020-12-31")
    drafted = policy(world, kind, weaker, tenant_id=tenant) if kind != "password" else None
    active(kind, platform, valid_from="2025-01-01")
    body = {"code": world.name("P").upper(), "kind": kind, "parameters": weaker, "valid_from": "2026-01-01"}
    world.admin.expect_refusal("422:policy_weaker", "POST", POLICIES, {**body, "tenant_id": tenant})
    if drafted:
        world.admin.stays("422:policy_weaker", POLICIES, drafted["id"], "active")
    world.admin.expect_refusal("422:policy_weaker", "PATCH", f"{POLICIES}/{early['id']}", {"valid_until": None})
    row = policy(world, kind, stricter, tenant_id=tenant)
    world.admin.expect_refusal("422:policy_weaker", "PATCH", f"{POLICIES}/{row['id']}", {"parameters": weaker})


def test_passwords_have_a_default_to_keep_up_with(world: World) -> None:
    """AUDT-P1: without a policy of the platform the default of IDAM-U1 counts."""
    weak = {"min_length": 11, "classes": 3, "history": 5, "max_age_days": None}
    body = {"code": world.name("P").upper(), "kind": "password", "parameters": weak, "valid_from": "2026-01-01"}
    world.admin.expect_refusal("422:policy_weaker", "POST", POLICIES, {**body, "tenant_id": world.tenant()["id"]})


def test_an_active_policy_is_frozen(world: World, active: Callable[..., Body]) -> None:
    """AUDT-P2: but for its end."""
    row = active("retention", {"days": 10})
    path = f"{POLICIES}/{row['id']}"
    for body in ({"parameters": {"days": 11}}, {"valid_from": "2026-02-01"}):
        world.admin.expect_refusal("409:policy_locked", "PATCH", path, body)
    assert world.admin.change(POLICIES, row["id"], valid_until="2030-01-01")["valid_until"] == "2030-01-01"
    draft = policy(world, "retention", {"days": 10})
    assert world.admin.change(POLICIES, draft["id"], parameters={"days": 12})["parameters"] == {"days": 12}


def test_one_policy_of_a_kind_at_a_time(world: World, active: Callable[..., Body]) -> None:
    """Two active ones of a kind and tenant do not share a day."""
    active("session", {"idle_minutes": 30})
    other = policy(world, "session", {"idle_minutes": 20})
    world.admin.stays("409:overlapping_period", POLICIES, other["id"], "active")
    assert world.admin.get(POLICIES, other["id"]) == other


def test_the_platforms_policy_counts_for_passwords(world: World, active: Callable[..., Body]) -> None:
    """IDAM-U1: longer and of more kinds as long as the policy is in force."""
    body = {"full_name": "P", "email": f"{world.name('p')}@people.example", "password": "Short-Pass-1"}
    active("password", STRICT)
    world.admin.expect_refusal("422:weak_password", "POST", USERS, body)
    world.admin.expect_refusal("422:weak_password", "POST", USERS, {**body, "password": "long-enough-but-plain-1"})
    assert world.admin.make(USERS, **{**body, "password": "Short-Pass-1-and-more"})


def test_the_default_counts_without_a_policy(world: World) -> None:
    """IDAM-U1: twelve characters of three kinds."""
    body = {"full_name": "P", "email": f"{world.name('p')}@people.example"}
    world.admin.expect_refusal("422:weak_password", "POST", USERS, {**body, "password": "Short-Pas-1"})
    assert world.admin.make(USERS, **body, password="Short-Pass-1")


def test_a_tenants_policy_counts_for_its_members(world: World, active: Callable[..., Body]) -> None:
    """IDAM-U1: and for nobody else; former passwords come back as the policy says."""
    tenant, inside, outside = world.tenant(), world.user(), world.user()
    world.member(tenant, inside)
    active("password", {**STRICT, "min_length": 20, "history": 5}, tenant_id=tenant["id"])
    new = {"password": "Nineteen-Letters-12"}
    world.admin.expect_refusal("422:weak_password", "PATCH", f"{USERS}/{inside['id']}", new)
    world.admin.change(USERS, outside["id"], **new)
    world.admin.expect_refusal("422:weak_password", "PATCH", f"{USERS}/{outside['id']}", new)  # one of the last five


def test_an_old_password_has_to_be_changed(world: World, active: Callable[..., Body], freeze: Freeze) -> None:
    """IDAM-U1: who signs in with one beyond max_age_days is told to choose another."""
    start = datetime(2026, 3, 2, 9, tzinfo=UTC)
    freeze(start)
    user = world.user()
    active("password", {**STRICT, "max_age_days": 30})
    freeze(start + timedelta(days=29))
    assert enter(world, user).status_code == 200
    assert world.admin.get(USERS, user["id"])["must_change_password"] is False
    freeze(start + timedelta(days=30))
    assert enter(world, user).status_code == 200
    assert world.admin.get(USERS, user["id"])["must_change_password"] is True
    freeze(None)


def test_a_required_second_factor_stays(world: World, active: Callable[..., Body]) -> None:
    """IDAM-U7: switching it off is refused where an mfa policy of the user's tenant requires it."""
    tenant, user = world.tenant(), world.user()
    world.member(tenant, user)
    caller = world.sign_in(user)
    secret = caller.send(200, "POST", "auth/second-factor", {"step": "begin"})["secret"]
    caller.send(200, "POST", "auth/second-factor", {"step": "confirm", "code": pyotp.TOTP(secret).now()})
    row = active("mfa", {"required": True}, tenant_id=tenant["id"])
    end = {"step": "end", "password": PASSWORD}
    caller.expect_refusal("409:mfa_mandatory", "POST", "auth/second-factor", end)
    world.admin.move(POLICIES, row["id"], "retired")
    assert caller.send(200, "POST", "auth/second-factor", end) == {"mfa_enabled": False}


# -- data-subject requests


def request(world: World, received: date, **values: Any) -> Body:
    """A data-subject request."""
    usual = {"subject_email": f"{world.name('s')}@people.example", "kind": "erasure"}
    return world.admin.make(REQUESTS, **{**usual, "received_on": received.isoformat(), **values})


def test_the_term_of_an_answer(world: World, freeze: Freeze) -> None:
    """AUDT-D1: 30 days, 60 more when extended before they are over."""
    freeze(datetime(2026, 3, 30, 12, tzinfo=UTC))
    row = request(world, date(2026, 3, 1))
    assert row["due_on"] == "2026-03-31" and row["number"].startswith("DSR-2026-")
    assert world.admin.change(REQUESTS, row["id"], extended=True)["due_on"] == "2026-05-30"
    assert world.admin.change(REQUESTS, row["id"], extended=False)["due_on"] == "2026-03-31"
    freeze(datetime(2026, 3, 31, tzinfo=UTC))
    path = f"{REQUESTS}/{row['id']}"
    world.admin.expect_refusal("409:extension_late", "PATCH", path, {"extended": True})
    body = {"subject_email": "a@b.example", "kind": "export", "received_on": "2026-03-01", "extended": True}
    world.admin.expect_refusal("409:extension_late", "POST", REQUESTS, body)


def test_an_erasure_leaves_nobody(world: World) -> None:
    """AUDT-D2: the user becomes anonymous and disabled; the request says when and who checked it."""
    user = world.user(phone="+4930123456")
    caller = world.sign_in(user)
    row = request(world, datetime.now(UTC).date(), subject_email=user["email"])
    clerk_user, clerk = world.clerk("audt.data-requests.status", "audt.data-requests.read", "idam.users.status")
    clerk.move(REQUESTS, row["id"], "verifying", "in_progress")
    done = clerk.move(REQUESTS, row["id"], "completed")
    assert done["verified_by"] == clerk_user["id"] and done["completed_at"] is not None
    erased = world.admin.get(USERS, user["id"])
    assert (erased["email"], erased["full_name"], erased["status"]) == (
        f"erased-{user['id']}@invalid",
        "Erased",
        "disabled",
    )
    assert erased["phone"] is None
    caller.expect_refusal("401:invalid_token", "GET", "auth/me")
    assert enter(world, user).status_code == 401


@pytest.mark.parametrize("named", [True, False])
def test_nothing_is_erased_on_legal_hold(world: World, named: bool) -> None:
    """AUDT-D2: of the request's tenant, or of any tenant of the person when the request names none."""
    tenant, user = world.tenant(), world.user()
    world.member(tenant, user)
    held = world.admin.change(TENANTS, tenant["id"], legal_hold=True)
    where = {"tenant_id": held["id"]} if named else {}
    row = request(world, datetime.now(UTC).date(), subject_email=user["email"], **where)
    world.admin.move(REQUESTS, row["id"], "verifying", "in_progress")
    world.admin.stays("409:legal_hold", REQUESTS, row["id"], "completed")
    assert world.admin.get(USERS, user["id"])["email"] == user["email"]
    world.admin.change(TENANTS, tenant["id"], legal_hold=False)
    world.admin.move(REQUESTS, row["id"], "completed")
    assert world.admin.get(USERS, user["id"])["full_name"] == "Erased"


def test_other_requests_touch_nobody(world: World) -> None:
    """AUDT-D2: an export leaves the person as he is."""
    user = world.user()
    row = request(world, datetime.now(UTC).date(), subject_email=user["email"], kind="export")
    world.admin.move(REQUESTS, row["id"], "verifying", "in_progress", "completed")
    assert world.admin.get(USERS, user["id"])["email"] == user["email"]
