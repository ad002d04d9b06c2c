"""The life of a request, in order. This file is the table of contents of the engine."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import msgspec

from engine.auth.authenticator import Authenticator
from engine.catalog import Resource
from engine.conditions import leaves, without_values
from engine.encode import Answer, Header, etag, failure, page, row_text, rows_text, success, success_of
from engine.errors import ConflictError, ForbiddenError, ValidationError, generic
from engine.filters import OPERATORS, escape_like
from engine.moment import Circumstances, UnitOfWork
from engine.observe import Observer
from engine.operations import Operations
from engine.parse import BodyReader, Purpose, read_status
from engine.query import DEFAULT, read_listing, read_paging, read_view, single, split_query
from engine.records import Action, RulesConcerned, Written
from engine.refusals import Unchanged, key_of
from engine.request import Receive, Request, Scope, Send
from engine.roads import change_needs_transaction, create_needs_transaction
from engine.routes import Router, Target
from engine.shapes import Condition, Expansion, GetShape, Incoming, Listing, ListShape, Node
from engine.sql.read import ESTIMATE_ABOVE
from engine.store import retriable, translate
from engine.types import Op, Principal

RETRIES = 3
WRITES = frozenset({Op.CREATE, Op.UPDATE, Op.REPLACE, Op.DELETE, Op.STATUS})
Work = Callable[[UnitOfWork], Awaitable[Any]]


class Dispatcher:
    """ASGI application of every entity route."""

    def __init__(self, operations: Operations, authenticator: Authenticator, observer: Observer, max_body: int) -> None:
        self.operations, self.shop = operations, operations.shop
        self.authenticator, self.observer, self.max_body = authenticator, observer, max_body
        self.router = Router(self.shop.catalog.resources)
        self.reader = lru_cache(maxsize=None)(self._reader)

    def _reader(self, resource: Resource, purpose: Purpose) -> BodyReader:
        return BodyReader(self.shop.catalog, resource, purpose)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        target: Target | None = None
        try:
            target = self.router.find(request.method, request.path)
            answer = await self.answer(request, target)
        except Exception as error:
            answer = self.refuse(request, target, error)
        self.observer.count(target, answer.status)
        await reply(send, request, answer)

    def refuse(self, request: Request, target: Target | None, error: Exception) -> Answer:
        """The one exit of errors."""
        refusal = translate(error, target.resource if target else None, writing=bool(target and target.op in WRITES))
        self.observer.refused(request, refusal, error)
        return failure(refusal, request.id)

    async def answer(self, request: Request, target: Target) -> Answer:
        """The stages that need to know who is calling."""
        principal = await self.authenticator.principal(request.header(b"authorization"), request.ip)
        admit(principal, target)
        unit = UnitOfWork(self.operations, target.resource.scope.name, principal, request.caller)
        return await HANDLERS[target.op](self, request, target, unit)

    async def perform(self, unit: UnitOfWork, work: Work, *, transaction: bool) -> Any:
        """Run the work in one statement or one transaction; a serialization failure is tried again, 3 times at most."""
        for attempt in range(RETRIES + 1):
            try:
                if not transaction:
                    return await work(unit)
                async with unit:
                    done = await work(unit)
                await unit.after_commit()
                return done
            except Exception as error:
                if not retriable(error):
                    raise
                if attempt == RETRIES:
                    raise generic("serialization_conflict", headers={"Retry-After": "1"}) from error
                await asyncio.sleep(random.uniform(0.005, 0.02) * 2**attempt)
        raise AssertionError("unreachable")

    def _row_text(self, resource: Resource, row: Written) -> str:
        return row_text(self.shop.readable(resource, row.text), row.output)

    # -- one handler an operation

    async def create(self, request: Request, target: Target, unit: UnitOfWork) -> Answer:
        resource = target.resource
        rows, many = self.reader(resource, "create").read(await request.json(self.max_body))
        no_parameters(request)
        if not rows:
            return success(b"[]", 201)

        async def work(unit: UnitOfWork) -> list[Written]:
            return await self.operations.create(unit, resource, rows)

        written: list[Written] = await self.perform(unit, work, transaction=create_needs_transaction(resource, rows))
        http_status = 200 if all(row.found for row in written) else 201
        if many:
            return success(rows_text(self._row_text(resource, row) for row in written), http_status)
        row = written[0]
        location = b"%b/%b" % (request.path, ",".join(quote(str(part), safe="") for part in row.key).encode())
        return success(self._row_text(resource, row), http_status, (etag(row.version), (b"location", location)))

    async def list(self, request: Request, target: Target, unit: UnitOfWork) -> Answer:
        listing = read_listing(self.shop.catalog, target.resource, request.query)
        shape = list_shape(listing, self._own(unit, target.resource, listing))
        values = self._reading(unit, target.resource)
        values.update(list_values(listing))
        items, total = (await unit.run(self.shop.statement(target.resource, shape), values))[0]
        items = items and self.shop.readable(target.resource, items)
        if listing.count == "estimated" and total > ESTIMATE_ABOVE:
            plan = await unit.run(self.shop.question("estimate", target.resource, shape), values)
            return page(items, listing, int(msgspec.json.decode(plan[0][0])[0]["Plan"]["Plan Rows"]), estimated=True)
        return page(items, listing, total)

    async def get(self, request: Request, target: Target, unit: UnitOfWork) -> Answer:
        view = read_view(self.shop.catalog, target.resource, request.query)
        shape = GetShape(view.fields, view.deleted, shape_of(view.expand), self._own(unit, target.resource, view))
        row = await self._read(unit, target, shape, condition_values(view))
        if request.header(b"if-none-match") in (b'"%d"' % row[0], b"*"):
            return Answer(304, (etag(row[0]),), b"")
        return success(self.shop.readable(target.resource, row[1]), 200, (etag(row[0]),))

    def _own(self, unit: UnitOfWork, resource: Resource, listing: Listing = DEFAULT) -> frozenset[str]:
        """Of which entities only his own rows exist for the caller. 403 for one of them that he may not read."""
        who, own = unit.principal, {resource.path} if resource.owned_reads(unit.principal) else set[str]()
        for path in listing.used:
            other = self.shop.catalog.resources[path]
            if not who.may(other.permissions[Op.LIST]):
                raise ForbiddenError(
                    "permission_denied", f"Looking into {other.key} needs the permission {other.permissions[Op.LIST]}"
                )
            own |= {path} if other.owned_reads(who) else set()
        return frozenset(own)

    def _reading(self, unit: UnitOfWork, resource: Resource) -> dict[str, Any]:
        """Values that a reading statement may name."""
        who = unit.principal
        return Circumstances(unit, tenant=unit.tenant, owner=who.user_id, unmasked=who.may(resource.sensitive))

    async def _read(
        self, unit: UnitOfWork, target: Target, shape: GetShape, given: Mapping[str, Any] | None = None
    ) -> Any:
        resource = target.resource
        values = self._reading(unit, resource)
        values.update((f"key{i}", part) for i, part in enumerate(key_of(resource, target.key)))
        values.update(given or {})
        if not shape.own and resource.owned_reads(unit.principal):
            shape = shape._replace(own=self._own(unit, resource))
        found = await unit.run(self.shop.statement(resource, shape), values)
        if not found:
            raise generic("not_found")
        return found[0]

    async def update(self, request: Request, target: Target, unit: UnitOfWork) -> Answer:
        rows, _ = self.reader(target.resource, "update").read(await request.json(self.max_body))
        return await self._change(request, target, unit, ("update", rows[0]))

    async def replace(self, request: Request, target: Target, unit: UnitOfWork) -> Answer:
        reader = self.reader(target.resource, "replace")
        rows, _ = reader.read(await request.json(self.max_body))
        for name, field in reader.fields.items():
            # nobody can send back what no read shows: it keeps its value
            if field.column is None or field.hidden or name in rows[0].values:
                continue
            # a column that rules fill at creation (`auto`) has no default to fall back to: it keeps its value
            if field.nullable or field.default or field.column.server_default is not None:
                rows[0].values[name] = field.default() if field.default else None
        return await self._change(request, target, unit, ("update", rows[0]))

    async def delete(self, request: Request, target: Target, unit: UnitOfWork) -> Answer:
        given = single(split_query(request.query), ("version",)).get("version")
        if given is not None and not (given.isascii() and given.isdigit() and len(given) < 10):
            raise ValidationError("validation_error", "version: must be the version that was read")
        return await self._change(
            request, target, unit, ("delete", Incoming({}, version=int(given) if given else None))
        )

    async def status(self, request: Request, target: Target, unit: UnitOfWork) -> Answer:
        resource = target.resource
        asked = read_status(await request.json(self.max_body), resource.machine.states)
        values = {"status": asked.status} if resource.stateful else {"is_active": asked.status == "active"}
        return await self._change(
            request, target, unit, ("status", Incoming(values, {"reason": asked.reason}, {}, asked.version))
        )

    async def _change(
        self, request: Request, target: Target, unit: UnitOfWork, change: tuple[Action, Incoming]
    ) -> Answer:
        resource, (action, row) = target.resource, change
        key = key_of(resource, target.key)
        if action != "delete":
            no_parameters(request)
        precondition = if_match(request, row)
        if resource.entity.require_version and row.version is None:
            raise generic("version_required")
        guards = guards_of(resource, action, row)
        if resource.restricts(unit.principal):
            guards = (*guards, "own")

        async def work(unit: UnitOfWork) -> Written:
            return await self.operations.change(unit, resource, change, key=key, guards=guards)

        try:
            written = await self._in_one_statement_or_more(unit, work, (resource, *change))
        except Unchanged:
            record = await self._read(unit, target, GetShape((), "include"))
            written = Written(record[0], record[1], {})
        except ConflictError as error:
            if precondition and error.code == "version_conflict":
                error.status = 412
            raise
        return success(self._row_text(resource, written), 200, (etag(written.version),))

    async def _in_one_statement_or_more(
        self, unit: UnitOfWork, work: Work, change: tuple[Resource, Action, Incoming]
    ) -> Written:
        transaction = change_needs_transaction(self.shop.catalog, *change)
        try:
            return await self.perform(unit, work, transaction=transaction)  # type: ignore[no-any-return]
        except RulesConcerned:
            return await self.perform(unit, work, transaction=True)  # type: ignore[no-any-return]

    async def transitions(self, request: Request, target: Target, unit: UnitOfWork) -> Answer:
        no_parameters(request)
        resource = target.resource
        names = ("status", "is_active") if resource.stateful else ("is_active",)
        row = msgspec.json.decode((await self._read(unit, target, GetShape(names, "include")))[1])
        state = row["status"] if resource.stateful else "active" if row["is_active"] else "inactive"
        allowed = unit.principal.may(resource.permissions[Op.STATUS]) and (row["is_active"] or not resource.stateful)
        return success_of(
            {
                "status": state,
                "transitions": [_way(resource, state, to, allowed) for to in resource.machine.states if to != state],
            }
        )

    async def history(self, request: Request, target: Target, unit: UnitOfWork) -> Answer:
        listing = read_paging(self.shop.catalog, target.resource, request.query)
        log = self.shop.catalog.roles.get((target.resource.scope.name, "change_log"))
        await self._read(unit, target, GetShape(("version",), "include"))
        if log is None:
            return page(None, listing, 0)
        values: dict[str, Any] = {f"key{i}": part for i, part in enumerate(target.key)}
        values |= {"tenant": unit.tenant, "limit": listing.page_size, "offset": (listing.page - 1) * listing.page_size}
        record = (await unit.run(self.shop.question("history", target.resource, log), values))[0]
        return page(record[0], listing, record[1])


Handler = Callable[[Dispatcher, Request, Target, UnitOfWork], Awaitable[Answer]]
HANDLERS: dict[Op, Handler] = {op: getattr(Dispatcher, op.value) for op in Op}


def admit(principal: Principal, target: Target) -> None:
    """403 unless the caller belongs to the scope and holds the permission."""
    tenant = principal.tenant
    if target.resource.scope.tenant_bound != (tenant is not None):
        raise generic("wrong_scope")
    permission = target.resource.permissions[target.op]
    if not principal.may(permission):
        raise ForbiddenError("permission_denied", f"This needs the permission {permission}")
    if tenant is not None and tenant.read_only and target.op in WRITES:
        raise ForbiddenError("tenant_closing", "The tenant is closing; its data can only be read")


def no_parameters(request: Request) -> None:
    """400 for a query string where none is taken."""
    if request.query:
        single(split_query(request.query), ())


def if_match(request: Request, row: Incoming) -> bool:
    """Take the version from If-Match; whether the header was given."""
    header = request.header(b"if-match")
    if header is None or header.strip() == b"*":
        return False
    tag = header.strip().strip(b'"')
    row.version = int(tag) if tag.isdigit() and len(tag) < 10 else 0
    return True


def guards_of(resource: Resource, action: Action, row: Incoming) -> tuple[str, ...]:
    """What the stored row must be for the write to happen; checked in the statement itself."""
    guards = ["inactive" if row.values.get("is_active") is True else "active"]
    if action == "status" and resource.stateful:
        guards.append("from")
    if action == "delete" or row.values.get("is_active") is False:
        guards.append("unreferenced")
    locks = action in ("update", "delete") and resource.entity.kind == "document" and resource.stateful
    if locks and (action == "delete" or row.nested or not set(row.values) <= set(resource.entity.live)):
        guards.append("unlocked")
    if resource.header is not None:
        guards.append("header")
    return tuple(guards)


def shape_of(expand: Sequence[Expansion]) -> tuple[Expansion, ...]:
    """Expansions without their values."""
    return tuple(
        part._replace(conditions=tuple(without_values(node) for node in part.conditions), parts=shape_of(part.parts))
        for part in expand
    )


def list_shape(listing: Listing, own: frozenset[str] = frozenset()) -> ListShape:
    """The list without its values."""
    conditions = tuple(without_values(node) for node in listing.conditions)
    searched, expand = listing.search is not None, shape_of(listing.expand)
    return ListShape(conditions, listing.sort, listing.fields, searched, listing.deleted, listing.count, expand, own)


def condition_values(listing: Listing) -> dict[str, Any]:
    """The values of all conditions, by parameter name, in the order in which statements number them."""
    values: dict[str, Any] = {}
    for index, condition in enumerate(_all_leaves(listing.conditions, listing.expand)):
        if OPERATORS[condition.operator].takes == "two":
            values[f"f{index}a"], values[f"f{index}b"] = condition.value
        else:
            values[f"f{index}"] = condition.value
    return values


def _all_leaves(nodes: Sequence[Node], expand: Sequence[Expansion]) -> Iterator[Condition]:
    for node in nodes:
        yield from leaves(node)
    for part in expand:
        yield from _all_leaves(part.conditions, part.parts)


def list_values(listing: Listing) -> dict[str, Any]:
    """The values of a list, by parameter name."""
    values: dict[str, Any] = {"limit": listing.page_size, "offset": (listing.page - 1) * listing.page_size}
    values |= condition_values(listing)
    if listing.search is not None:
        values["q"] = f"%{escape_like(listing.search)}%"
    return values


def _way(resource: Resource, state: str, to: str, allowed: bool) -> dict[str, Any]:
    reason = None
    if (state, to) not in resource.machine.edges:
        reason = "reserved_transition" if (state, to) in resource.machine.reserved else "invalid_transition"
    elif not allowed:
        reason = "permission_denied"
    return {"status": to, "allowed": reason is None, "reason": reason}


async def reply(send: Send, request: Request, answer: Answer) -> None:
    """Write the answer."""
    headers: Sequence[Header] = (
        *answer.headers,
        (b"content-length", b"%d" % len(answer.body)),
        (b"x-request-id", request.id.encode()),
    )
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
