"""One request on its way: who asks what of which entity, and the transaction that a write runs in."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any

from engine.budgets import Budgets
from engine.catalog import Catalog, Resource
from engine.clashes import located
from engine.encode import Answer, Streamed, row_text
from engine.errors import ApiError, ForbiddenError, generic
from engine.many import Many
from engine.moment import Circumstances, UnitOfWork
from engine.operations import Operations
from engine.parse import BodyReader, Purpose
from engine.patches import MEDIA_TYPE, PatchReader
from engine.query import DEFAULT, single, split_query
from engine.questions import Questions
from engine.records import RulesConcerned, Written, key_values
from engine.refusals import key_of
from engine.repetition import Asked, carry_out
from engine.replacing import ReplaceReader
from engine.request import Request
from engine.routes import Target
from engine.shapes import GetShape, Incoming, Limits, Listing, RowRule
from engine.store import RETRY_AFTER, retriable, translate
from engine.transfers.carrier import Carrier
from engine.types import Op

RETRIES = 3
NOTHING: Mapping[str, Any] = {}
Work = Callable[[UnitOfWork], Awaitable[Any]]


class Service:
    """What all requests share: the operations, and readers of bodies, made at first use."""

    def __init__(self, operations: Operations, max_body: int, max_bulk: int = 0) -> None:
        self.operations, self.shop = operations, operations.shop
        self.many, self.carrier = Many(operations), Carrier(operations.shop)
        self.limits, self.budgets = Limits.of(self.shop.defaults), Budgets(self.shop.catalog, self.shop.defaults)
        self.max_body, self.max_bulk = max_body, max(max_body, max_bulk)
        self.reader = lru_cache(maxsize=None)(self._reader)
        self.replacer = lru_cache(maxsize=None)(self._replacer)
        self.patcher = lru_cache(maxsize=None)(self._patcher)
        self.shown_beside = lru_cache(maxsize=None)(shown_beside)
        self.questions = Questions(self.shop.catalog, self.limits)

    def _reader(self, resource: Resource, purpose: Purpose) -> BodyReader:
        return BodyReader(self.shop.catalog, resource, purpose)

    def _replacer(self, resource: Resource) -> ReplaceReader:
        return ReplaceReader(self.shop.catalog, resource)

    def _patcher(self, resource: Resource) -> PatchReader:
        return PatchReader(self.shop.catalog, resource)

    async def perform(self, unit: UnitOfWork, work: Work, *, transaction: bool) -> Any:
        """Run the work in one statement or one transaction; a serialization failure is tried again, 3 times at most."""
        if unit.connection is not None:
            return await work(unit)  # part of a batch, which begins and ends the transaction
        for attempt in range(RETRIES + 1):
            try:
                if not transaction:
                    return await work(unit)
                async with unit:
                    done = await work(unit)
                await unit.after_commit()
                return done
            except ApiError as error:
                if error.clash is None:
                    raise
                raise await located(unit, error) from error
            except Exception as error:
                if not retriable(error):
                    raise
                if attempt == RETRIES:
                    raise generic(translate(error, None, writing=False).code, headers=RETRY_AFTER) from error
                await asyncio.sleep(random.uniform(0.005, 0.02) * 2**attempt)
        raise AssertionError("unreachable")


def shown_beside(resource: Resource) -> frozenset[str]:
    """Fields of a read that are no columns of the row: what SQL computes, and child rows. They change without its version."""
    return frozenset({*resource.nested, *(field.name for field in resource.shown if field.virtual)})


class Call:
    """A request whose target and caller are known and admitted."""

    __slots__ = ("request", "service", "target", "unit")

    def __init__(self, service: Service, request: Request, target: Target, unit: UnitOfWork) -> None:
        self.service, self.request, self.target, self.unit = service, request, target, unit

    @property
    def resource(self) -> Resource:
        """The entity."""
        return self.target.resource

    @property
    def catalog(self) -> Catalog:
        """All entities."""
        return self.service.shop.catalog

    async def body(self, *, many: bool = False, needed: bool = True) -> bytes:
        """The JSON body, empty where it is not `needed`; `many`: it may be a list of rows."""
        return await self.request.json(self.service.max_body, self.service.max_bulk if many else 0, needed=needed)

    async def patch(self) -> Incoming:
        """The body of a change: absent fields are kept; `application/merge-patch+json` reaches into fields as well."""
        kind = (self.request.header(b"content-type") or b"").partition(b";")[0].strip().lower()
        service, resource = self.service, self.resource
        reader = service.patcher(resource) if kind == MEDIA_TYPE else service.reader(resource, "update")
        return reader.read(await self.body())[0][0]

    def no_parameters(self) -> None:
        """400 for a query string where none is taken."""
        if self.request.query:
            single(split_query(self.request.query), ())

    def require(self, op: Op) -> None:
        """403 unless the caller holds every permission of the operation."""
        for needed in self.resource.needed(op):
            if not self.unit.principal.may(needed):
                raise ForbiddenError("permission_denied", f"This needs the permission {needed} too")

    # -- reading

    def own(self, listing: Listing = DEFAULT) -> frozenset[RowRule]:
        """The rules of the entities of which only some rows exist for the caller. 403 for one of them that he may not read."""
        who = self.unit.principal
        for permission in listing.reveals:
            self.unit.require(permission)
        own = self.resource.limits(who, "read") | self.resource.seen_beside(who)
        for path in listing.used:
            other = self.catalog.resources[path]
            if not who.may(other.permissions[Op.LIST]):
                needed = other.permissions[Op.LIST]
                raise ForbiddenError("permission_denied", f"Looking into {other.key} needs the permission {needed}")
            own |= other.limits(who, "read")
        return own

    def values(self, known: Mapping[str, Any] = NOTHING) -> dict[str, Any]:
        """Values that a reading statement may name, those that are `known` among them."""
        values = Circumstances(self.unit, known)
        values["tenant"] = self.unit.tenant
        return values

    async def read(self, shape: GetShape, given: Mapping[str, Any] | None = None) -> Any:
        """(version, document) of the row in the path. 404 when there is none for the caller."""
        resource = self.resource
        values = self.values({**key_values(key_of(resource, self.target.key)), **(given or NOTHING)})
        if not shape.own and (own := self.own()):
            shape = shape._replace(own=own)
        found = await self.unit.run(self.service.shop.statement(resource, shape), values)
        if not found:
            raise generic("not_found")
        return found[0]

    def readable(self, row: Written) -> str:
        """A written row as the caller sees it, with what is shown this once."""
        if row.output:
            self.unit.shows_once = True
        return row_text(self.service.shop.readable(self.resource, row.text), row.output)

    # -- writing

    async def write(self, work: Callable[[UnitOfWork], Awaitable[Answer]], *, transaction: bool) -> Answer:
        """Run a write to its answer: in one statement where nothing follows it, else in a transaction. Its headers may ask for
        more (`engine.repetition`); a request with a key comes here once."""
        if self.request.header(b"idempotency-key") is None and self.request.header(b"prefer") is None:
            return await self._run(work, transaction=transaction)
        asked = Asked(self.request, self.target.op)
        return await carry_out(asked, self.unit, self._run, work=work, transaction=transaction)

    async def _run(self, work: Callable[[UnitOfWork], Awaitable[Answer]], *, transaction: bool) -> Answer:
        try:
            return await self.service.perform(self.unit, work, transaction=transaction)  # type: ignore[no-any-return]
        except RulesConcerned:
            # the row stands where a rule looks on: the same once more, in a transaction
            return await self.service.perform(self.unit, work, transaction=True)  # type: ignore[no-any-return]


Handler = Callable[[Call], Awaitable[Answer | Streamed]]
