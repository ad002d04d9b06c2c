"""The physical limit: a bare ASGI function with hand-written SQL over asyncpg.

One statement a request, no reset query, rows rendered to JSON by PostgreSQL, a write and its audit record in one.
No token, no permission, no check of a value."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import asyncpg
import msgspec
from uuid_utils.compat import uuid7

from tests.benchmarks.floor_sets import CREATE_MANY, EXPANDED, many_values
from tests.benchmarks.place import Place, read_place

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Reply = tuple[int, bytes]

POOL = 8
SHOWN = """
id, email, full_name, user_type, password_changed_at, must_change_password, phone, locale, timezone, avatar_url,
mfa_enabled, email_verified_at, failed_login_count, first_failed_at, locked_until, last_login_at, last_login_ip, status,
is_active, version, created_at, updated_at, created_by, updated_by
"""
LOGGED = """
id, occurred_at, created_at, updated_at, created_by, scope, actor_id, actor_email, action, domain, entity, entity_id,
changes, outcome, ip, user_agent, request_id
"""
RECORD = """
$3, $2, $2, $2, $4, 'manager', $4, 'admin@example.com', '{}', 'idam', 'users', new.id, {}, 'ok', '127.0.0.1', $5, $6
"""
ANSWER = f"select row_to_json(x)::text from (select {SHOWN} from new) x"

GET = f"select row_to_json(x)::text from (select {SHOWN} from idam.users where id = $1 and is_active) x"
PAGE = f"select {SHOWN} from idam.users where is_active order by id limit $1 offset $2"
ITEMS = "select string_agg(row_to_json(x)::text, ',') from ({}) x"
LIST = ITEMS.format(PAGE)
COUNTED = f"select ({LIST}), (select count(*) from idam.users where is_active)"
FILTERED = ITEMS.format(
    f"select {SHOWN} from idam.users where is_active and email >= $1 and user_type = $2 order by email, id limit $3"
)
CHANGE = """
with old as (select id, {column}, version from idam.users where id = $1 and is_active {guard} for update),
new as (update idam.users u set {column} = $7, version = u.version + 1, updated_at = $2, updated_by = $4
    from old where u.id = old.id returning u.*),
log as (insert into audt.audit_logs ({logged}) select {record} from new join old using (id))
{answer}
"""
CHANGES = """
jsonb_build_object('{0}', jsonb_build_array(old.{0}, new.{0}), 'version', jsonb_build_array(old.version, new.version))
"""
MADE = "jsonb_build_object('row', to_jsonb(new))"
CREATE = f"""
with new as (insert into idam.users (
    id, email, full_name, user_type, locale, timezone, password_history,
    must_change_password, mfa_enabled, failed_login_count, status, created_at, updated_at, created_by, updated_by)
    values ($1, $7, $8, $9, $10, 'UTC', '[]', false, false, 0, 'invited', $2, $2, $4, $4) returning *),
log as (insert into audt.audit_logs ({LOGGED}) select {RECORD.format("create", MADE)} from new)
{ANSWER}
"""


def _change(action: str, column: str, guard: str = "") -> str:
    record = RECORD.format(action, CHANGES.format(column))
    return CHANGE.format(column=column, guard=guard, logged=LOGGED, record=record, answer=ANSWER)


SHOWN_OF_NEW = ", ".join(f"new.{name.strip()}" for name in SHOWN.split(","))
MANY = CREATE_MANY.format(logged=LOGGED, shown=SHOWN_OF_NEW)
UPDATE = _change("update", "full_name")
STATUS = _change("status", "status", "and status = 'invited'")
CONTACT = """
select row_to_json(x)::text from (select id, customer_id, full_name, email, phone, position, is_primary,
    marketing_consent, consent_at, notes, is_active, version, created_at, updated_at, created_by, updated_by, tenant_id
    from crm.contacts where id = $1 and tenant_id = $2 and is_active) x
"""
MISSING: Reply = (404, b'{"detail":"Not found"}')


async def no_reset(_connection: Any) -> None:
    """asyncpg's reset query on release would cost 50 us."""


class Floor:
    """The ASGI function, and the connections it needs."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.tenant = str(place.tenant)
        self.gate = asyncio.Semaphore(POOL)
        self.pools: dict[str, Any] = {}
        # the tenant that each connection is bound to; a connection is bound anew when it differs
        self.bound: dict[int, str] = {}

    async def open(self) -> None:
        """Connect to both databases."""
        for name, url in (("manager", self.place.manager), ("tenants", self.place.tenants)):
            self.pools[name] = await asyncpg.create_pool(url, min_size=POOL, max_size=POOL, reset=no_reset, ssl=False)

    async def close(self) -> None:
        """Close every connection."""
        for pool in self.pools.values():
            await pool.close()

    async def one(self, statement: str, *arguments: Any) -> Any:
        """The first row of a statement on the Manager database."""
        async with self.gate, self.pools["manager"].acquire() as connection:
            return await connection.fetchrow(statement, *arguments)

    async def get(self, key: str) -> Reply:
        """One user."""
        row = await self.one(GET, key)
        return (200, row[0].encode()) if row else MISSING

    async def of_tenant(self, statement: str, *arguments: Any) -> Any:
        """The first row of a statement on the Tenants database: it names the tenant, and row security holds the session to it."""
        async with self.gate, self.pools["tenants"].acquire() as connection:
            raw = id(connection._con)
            if self.bound.get(raw) != self.tenant:
                await connection.fetchval("select set_config('app.tenant_id', $1, false)", self.tenant)
                self.bound[raw] = self.tenant
            return await connection.fetchrow(statement, *arguments)

    async def contact(self, key: str) -> Reply:
        """One contact."""
        row = await self.of_tenant(CONTACT, key, self.place.tenant)
        return (200, row[0].encode()) if row else MISSING

    async def customers(self, query: bytes) -> Reply:
        """A page of customers, their parents and contacts inside them."""
        asked = dict(parse_qsl(query.decode()))
        size = int(asked["page_size"])
        row = await self.of_tenant(EXPANDED, self.place.tenant, size, (int(asked["page"]) - 1) * size)
        return 200, b'{"items":[%b],"total":null}' % row[0].encode()

    async def list(self, query: bytes) -> Reply:
        """A page: counted, uncounted, or filtered and sorted by e-mail address."""
        asked = dict(parse_qsl(query.decode()))
        size = int(asked["page_size"])
        if "email_from" in asked:
            row = await self.one(FILTERED, asked["email_from"], asked["user_type"], size)
        else:
            start = (int(asked["page"]) - 1) * size
            row = await self.one(LIST if asked.get("count") == "none" else COUNTED, size, start)
        total = b"%d" % row[1] if len(row) > 1 else b"null"
        return 200, b'{"items":[%b],"total":%b}' % (row[0].encode(), total)

    async def write(self, statement: str, key: UUID | str, scope: Scope, *values: Any) -> Reply:
        """A write and its audit record. `$1` to `$6` are key, time, record, actor, agent and request."""
        agent = next((value.decode() for name, value in scope["headers"] if name == b"user-agent"), None)
        now = datetime.now(UTC)
        row = await self.one(statement, key, now, uuid7(), self.place.actor, agent, str(uuid7()), *values)
        return (200, row[0].encode()) if row else MISSING

    async def create_many(self, rows: list[dict[str, Any]], scope: Scope) -> Reply:
        """New users, and a record of each."""
        agent = next((value.decode() for name, value in scope["headers"] if name == b"user-agent"), None)
        row = await self.one(MANY, *many_values(rows, self.place.actor, agent, datetime.now(UTC)))
        return 201, b"[%b]" % row[0].encode()

    async def answer(self, scope: Scope, receive: Receive) -> Reply:
        """What the path asks for."""
        parts, method = scope["path"].split("/"), scope["method"]
        if method == "GET":
            if len(parts) == 4:
                return await (self.customers if parts[1] == "tenants" else self.list)(scope["query_string"])
            return await (self.contact(parts[4]) if parts[1] == "tenants" else self.get(parts[4]))
        body = msgspec.json.decode(await _whole(receive))
        if isinstance(body, list):
            return await self.create_many(body, scope)
        if method == "POST":
            values = (body["email"], body["full_name"], body["user_type"], body["locale"])
            return 201, (await self.write(CREATE, uuid7(), scope, *values))[1]
        if len(parts) == 6:
            return await self.write(STATUS, parts[4], scope, body["status"])
        return await self.write(UPDATE, parts[4], scope, body["full_name"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.live(receive, send)
        status, body = await self.answer(scope, receive)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def live(self, receive: Receive, send: Send) -> None:
        """Connect when the server starts, disconnect when it ends."""
        await receive()
        await self.open()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.close()
        await send({"type": "lifespan.shutdown.complete"})


async def _whole(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    return body


def create_app() -> Floor:
    """Application factory; the environment names the file of the Place."""
    return Floor(read_place())
