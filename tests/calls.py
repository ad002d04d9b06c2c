"""What domain tests and stories do over HTTP: a caller who says what he expects, and people and tenants to call as."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import count
from typing import Any
from uuid import UUID

import httpx
import pytest

from engine.clock import CLOCK
from engine.hooks import Moment
from engine.moment import UnitOfWork
from engine.operations import Operations
from engine.testing.harness import PASSWORD, Live
from engine.types import Principal

Body = dict[str, Any]


def soon(found: Callable[[], Any], seconds: float = 8.0) -> Any:
    """What is found, as soon as it is true; for what happens after the answer."""
    until = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.02)
    return value


@dataclass
class Caller:
    """A client, and answers taken apart. Paths are given without the leading slash."""

    client: httpx.Client

    def send(self, expected: int, method: str, path: str, body: Any = None) -> Any:
        """The data of an answer with the HTTP status `expected`."""
        answer = self.client.request(method, f"/{path}", json=body)
        assert answer.status_code == expected, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()["data"]

    def make(self, path: str, **values: Any) -> Body:
        """A new row."""
        row: Body = self.send(201, "POST", path, values)
        return row

    def get(self, path: str, key: Any) -> Body:
        """A row."""
        row: Body = self.send(200, "GET", f"{path}/{key}")
        return row

    def list(self, path: str, query: str = "") -> list[Body]:
        """Up to 100 rows of a list."""
        rows: list[Body] = self.send(200, "GET", f"{path}?page_size=100&{query}")["items"]
        return rows

    def change(self, path: str, key: Any, **values: Any) -> Body:
        """A row after a PATCH."""
        row: Body = self.send(200, "PATCH", f"{path}/{key}", values)
        return row

    def move(self, path: str, key: Any, *states: str, reason: str | None = None) -> Body:
        """A row after it went through the states."""
        row: Body = {}
        for status in states:
            body = {"status": status, **({"reason": reason} if reason else {})}
            row = self.send(200, "PATCH", f"{path}/{key}/status", body)
        return row

    def drop(self, path: str, key: Any) -> None:
        """A row is deleted."""
        self.send(200, "DELETE", f"{path}/{key}")

    def expect_refusal(self, expected: str, method: str, path: str, body: Any = None) -> Body:
        """The error of an answer that is `<HTTP status>:<code>`; a field's own code counts as well."""
        answer = self.client.request(method, f"/{path}", json=body)
        error: Body = answer.json()["error"] or {}
        codes = {error.get("code"), *(fault["code"] for fault in error.get("details", ()))}
        known = {f"{answer.status_code}:{code}" for code in codes}
        assert expected in known, f"{method} {path}: {answer.status_code} {answer.text}"
        return error

    def stays(self, expected: str, path: str, key: Any, status: str) -> Body:
        """A status change is refused."""
        return self.expect_refusal(expected, "PATCH", f"{path}/{key}/status", {"status": status})


def work_as(live: Live, scope: str, principal: Principal, do: Callable[[Moment], Awaitable[Any]]) -> Any:
    """What a rule would do, in a transaction of its own."""

    async def run(operations: Operations) -> Any:
        async with UnitOfWork(operations, scope, principal) as moment:
            return await do(moment)

    return live.beside.run(run)


def as_rules_write(entity: str, row: Body, **values: Any) -> Callable[[Moment], Awaitable[Any]]:
    """Work that changes columns which no caller may write."""

    async def do(moment: Moment) -> Any:
        return await moment.update(entity, [{"id": UUID(row["id"]), **values}])

    return do


@dataclass
class World:
    """A live server, its administrator, and as many people and tenants as a test wants."""

    live: Live
    names: count[int] = field(default_factory=lambda: count(1))

    @cached_property
    def admin(self) -> Caller:
        """The first administrator: without a token, which would not live through a clock that is put elsewhere."""
        known = self.live.client("manager").get("/auth/me").json()["data"]["id"]
        return Caller(self.live.lend(Principal(UUID(known), everything=True)))

    def work(self, do: Callable[[Moment], Awaitable[Any]]) -> Any:
        """What a rule of the Manager side would do."""
        return work_as(self.live, "manager", Principal(CLOCK.new_id(), everything=True), do)

    def name(self, stem: str) -> str:
        """A name that nobody else has."""
        return f"{stem}{next(self.names)}w"

    def user(self, **values: Any) -> Body:
        """A person who may sign in."""
        usual = {"email": f"{self.name('user')}@people.example", "full_name": "Some Body", "password": PASSWORD}
        return self.admin.make("manager/idam/users", **{**usual, **values})

    def role(self, *permissions: str, **values: Any) -> Body:
        """A role with permissions."""
        usual = {"code": self.name("ROLE").upper(), "name": "Role", "permissions": list(permissions)}
        return self.admin.make("manager/idam/roles", **{**usual, **values})

    def grant(self, user: Body, role: Body, **values: Any) -> Body:
        """A grant."""
        return self.admin.make("manager/idam/user-roles", user_id=user["id"], role_id=role["id"], **values)

    def system_role(self, code: str) -> Body:
        """A seeded role."""
        return self.admin.list("manager/idam/roles", f"filter[code]={code}")[0]

    def clerk(self, *permissions: str) -> tuple[Body, Caller]:
        """A person on the Manager side with these permissions, and his client."""
        user = self.user(user_type="staff")
        self.grant(user, self.role(*permissions))
        return user, self.sign_in(user)

    def sign_in(self, user: Body, tenant: Body | None = None) -> Caller:
        """A client of a person."""
        return Caller(self.live.signed_in(user["email"], tenant=tenant["slug"] if tenant else None))

    def tenant(self, owner: Body | None = None, **values: Any) -> Body:
        """An active tenant."""
        owner = owner or self.user()
        usual = {"slug": self.name("t"), "name": "Acme", "billing_email": "bill@acme.example", "country": "DE"}
        row = self.admin.make("manager/tnnt/tenants", **{**usual, "owner_id": owner["id"], **values})
        return self.admin.move("manager/tnnt/tenants", row["id"], "provisioning")

    def owner(self, tenant: Body) -> Body:
        """The user who owns a tenant."""
        return self.admin.get("manager/idam/users", tenant["owner_id"])

    def member(self, tenant: Body, user: Body, role: str = "member", status: str = "active") -> UUID:
        """Membership of a user. There is no route for it before invitations are accepted: put into the database."""
        [row] = self.live.run_sql(
            "manager",
            "insert into tnnt.tenant_members (id, tenant_id, user_id, role, status, joined_at, created_at, updated_at) "
            "values (gen_random_uuid(), $1::uuid, $2::uuid, $3, $4, now(), now(), now()) returning id",
            *(UUID(tenant["id"]), UUID(user["id"]), role, status),
        )
        return UUID(str(row["id"]))


@pytest.fixture(scope="session")
def world(live: Live) -> World:
    """The live server with its people; its administrator signs in while the clock runs."""
    made = World(live)
    assert made.admin
    return made


@pytest.fixture
def freeze() -> Iterator[Callable[[datetime | None], None]]:
    """Stop the server's clock at a moment; it runs again after the test."""
    yield CLOCK.at
    CLOCK.at(None)
