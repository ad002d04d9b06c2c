"""The life of a request, in order. This file is the table of contents of the engine."""

from __future__ import annotations

from collections.abc import Sequence

from engine import preconditions
from engine.auth.authenticator import Gate
from engine.call import Call, Service
from engine.encode import Answer, Header, Streamed, failure
from engine.errors import ForbiddenError, generic
from engine.handlers import HANDLERS
from engine.moment import UnitOfWork
from engine.observe import Observer
from engine.operations import Operations
from engine.request import Receive, Request, Scope, Send
from engine.routes import Router, Target
from engine.store import retriable, translate
from engine.streaming import send_parts
from engine.types import Op, Principal
from engine.views import view_of

WRITES = frozenset(
    {Op.CREATE, Op.UPDATE, Op.REPLACE, Op.DELETE, Op.STATUS, Op.UPDATE_MANY, Op.DELETE_MANY, Op.UPSERT, Op.IMPORT}
)
NO_TAGS = (None, None)
# files go over the wire by themselves
STREAMS = frozenset({Op.EXPORT, Op.IMPORT})


class Dispatcher:
    """ASGI application of every entity route."""

    def __init__(
        self, operations: Operations, authenticator: Gate, observer: Observer, limits: tuple[int, int]
    ) -> None:
        """`limits`: bytes of a body, and of one that is a list of rows."""
        self.operations, self.shop = operations, operations.shop
        self.service = Service(operations, *limits)
        self.authenticator, self.observer = authenticator, observer
        self.router = Router(self.shop.catalog.resources)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        target: Target | None = None
        try:
            target = self.router.find(request.method, request.path)
            answer: Answer | Streamed = await self.answer(request, target)
        except Exception as error:
            answer = self.refuse(request, target, error)
        self.observer.count(target, answer.status)
        if isinstance(answer, Streamed):
            await self.stream(send, request, answer)
        else:
            await reply(send, request, answer)

    async def stream(self, send: Send, request: Request, answer: Streamed) -> None:
        """Send an answer in parts; one that fails on the way is logged and cut off."""
        try:
            await send_parts(send, request, answer)
        except Exception as error:
            self.observer.broken(request, translate(error, None, writing=False), error)

    def refuse(self, request: Request, target: Target | None, error: Exception) -> Answer:
        """The one exit of errors."""
        refusal = translate(error, target.resource if target else None, writing=bool(target and target.op in WRITES))
        self.observer.refused(request, refusal, error)
        return failure(refusal, request.id)

    async def caller(self, request: Request) -> Principal:
        """Who sent the request. 401 for a stranger."""
        return await self.authenticator.principal(request.header(b"authorization"), request.ip)

    async def answer(self, request: Request, target: Target) -> Answer | Streamed:
        """The stages that need to know who is calling."""
        principal = await self.caller(request)
        admit(principal, target)
        refuse_conditions(request, target.op)
        service = self.service_of(principal)
        unit = UnitOfWork(service.operations, target.resource.scope.name, principal, request.caller)
        return await handled(service, request, target, service.budgets.timed(unit))

    def service_of(self, principal: Principal) -> Service:
        """What serves a caller: of the whole catalogue, or of the part that his roles see."""
        view = view_of(principal)
        return view.service if view else self.service

    async def inner(self, request: Request, unit: UnitOfWork) -> Answer:
        """The answer to a request that is part of something larger, in its transaction. Raises ApiError, and what the whole is
        tried again for."""
        target = self.router.find(request.method, request.path)
        admit(unit.principal, target)
        if target.op in STREAMS:
            raise generic("bad_request", "Files are imported and exported by themselves, not in a batch")
        try:
            answer = await handled(self.service_of(unit.principal), request, target, unit)
        except Exception as error:
            if retriable(error):
                raise
            raise translate(error, target.resource, writing=target.op in WRITES) from error
        assert isinstance(answer, Answer), "only files are streamed"
        return answer


async def handled(service: Service, request: Request, target: Target, unit: UnitOfWork) -> Answer | Streamed:
    """The answer of the target's handler to an admitted caller."""
    view = view_of(unit.principal)
    if view is None:
        return await HANDLERS[target.op](Call(service, request, target, unit))
    target = target._replace(resource=view.catalog.resources[target.resource.path])
    try:
        return await HANDLERS[target.op](Call(service, request, target, unit))
    except Exception as error:
        if retriable(error):
            raise
        # what the database refuses is told in the fields that the caller sees
        raise translate(error, target.resource, writing=target.op in WRITES) from error


def refuse_conditions(request: Request, op: Op | None) -> None:
    """400 for `If-Match` and `If-None-Match` where they mean nothing; `op` None is a batch."""
    tags = request.header(b"if-match"), request.header(b"if-none-match")
    if tags != NO_TAGS:
        preconditions.refuse(op, *tags, writes=op is None or op in WRITES)


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


async def reply(send: Send, request: Request, answer: Answer) -> None:
    """Write the answer."""
    # 204 has no body, so it may not say how long its body is
    length = () if answer.status == 204 else ((b"content-length", b"%d" % len(answer.body)),)
    headers: Sequence[Header] = (*answer.headers, *length, (b"x-request-id", request.id.encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
