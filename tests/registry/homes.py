"""Tenants to work in: an owner, people who join him, their roles, and money to talk about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from engine.testing.harness import PASSWORD
from tests.calls import Body, Caller, World

USERS, ROLES, GRANTS = "tenants/sys/users", "tenants/sys/roles", "tenants/sys/user-roles"
CUSTOMERS, PAYMENTS = "tenants/crm/customers", "tenants/apm/payments"
MEMBERS, INVITATIONS = "manager/tnnt/tenant-members", "manager/tnnt/invitations"


@dataclass
class Person:
    """Somebody in a tenant."""

    caller: Caller
    identity: str
    local: Body
    email: str


@dataclass
class Home:
    """A tenant, its owner, and whoever comes."""

    world: World
    tenant: Body
    owner: Person

    def join(self, role: str = "member") -> Person:
        """Somebody new who took up an invitation."""
        email = f"{self.world.name('p')}@home.example"
        offer = self.world.admin.make(INVITATIONS, tenant_id=self.tenant["id"], email=email, role=role)
        body = {"token": offer["token"], "full_name": "Some Body", "password": PASSWORD}
        answer = httpx.post(f"{self.world.live.url}/auth/accept-invitation", json=body)
        assert answer.status_code == 200, answer.text
        return person(self.world, self.owner.caller, email, self.tenant)

    def role(self, *permissions: str) -> Body:
        """A role of the tenant's own."""
        code = self.world.name("R").upper()
        return self.owner.caller.make(ROLES, code=code, name="Role", permissions=list(permissions))

    def grant(self, who: Person, role: Body, **values: Any) -> Body:
        """A role is given by the owner."""
        return self.owner.caller.make(GRANTS, user_id=who.local["id"], role_id=role["id"], **values)

    def system_role(self, code: str) -> Body:
        """A seeded role."""
        [row] = self.owner.caller.list(ROLES, f"filter[code]={code}")
        return row

    def payment(self, caller: Caller, amount: str = "100") -> Body:
        """A draft of money that came in."""
        [bank] = self.owner.caller.list("tenants/fim/accounts", "filter[system_role]=bank")
        customer = caller.make(CUSTOMERS, name="Nordwind")
        return caller.make(
            PAYMENTS, direction="in", customer_id=customer["id"], account_id=bank["id"], amount=amount, currency="USD"
        )


def person(world: World, reader: Caller | None, email: str, tenant: Body) -> Person:
    """Somebody who is in the tenant, signed in."""
    caller = world.sign_in({"email": email}, tenant)
    [local] = (reader or caller).list(USERS, f"filter[email]={email}")
    return Person(caller, local["identity_id"], local, email)


@pytest.fixture
def home(world: World) -> Home:
    """A tenant of one's own."""
    tenant = world.tenant()
    return Home(world, tenant, person(world, None, world.owner(tenant)["email"], tenant))
