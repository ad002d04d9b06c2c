"""`GET` and `DELETE /<scope>/_transfers/<id>`, and its file: an import or export that goes on after its answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from uuid import UUID

from engine.catalog import Resource
from engine.dispatch import Dispatcher
from engine.encode import Answer, Header, Streamed, success_of
from engine.errors import ForbiddenError, generic
from engine.formats import FORMATS
from engine.query import single, split_query
from engine.request import Request
from engine.streaming import begun
from engine.transfers.ledger import File, Told
from engine.types import Op, Principal

AGAIN: Header = (b"retry-after", b"1")


class Tracking:
    """Handlers of the routes. A transfer is there for who began it, where he began it, and as long as he may do so."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher, self.catalog = dispatcher, dispatcher.shop.catalog
        self.ledger, self.carrier = dispatcher.service.carrier.ledger, dispatcher.service.carrier

    async def answer(self, request: Request) -> Answer:
        """How far it is and what became of it; DELETE ends it, or forgets one that is over."""
        scope, principal, key = await self._asked(request)
        told, _ = await self.ledger.find(scope, principal, key)
        self._admit(principal, told)
        if request.method == "DELETE":
            told = await self.ledger.cancel(scope, principal, key)
            self.carrier.cancel(key)
        return success_of(told, 200, (AGAIN,) if told.state in ("queued", "running") else ())

    async def file(self, request: Request) -> Streamed:
        """The file of an export. 404 while there is none."""
        scope, principal, key = await self._asked(request)
        told, outcome = await self.ledger.find(scope, principal, key)
        resource, file = self._admit(principal, told), outcome.file
        if file is None:
            raise generic("not_found", f"There is no file: the transfer is {told.state}")
        form = FORMATS[file.format]
        headers = (
            (b"content-type", form.content_type),
            (b"content-length", b"%d" % file.size),
            (b"content-disposition", f'attachment; filename="{resource.entity.name}.{form.name}"'.encode()),
            (b"cache-control", b"no-store"),
        )
        return Streamed(200, headers, await begun(self._parts(scope, principal, key, file)))

    async def _parts(self, scope: str, principal: Principal, key: UUID, file: File) -> AsyncGenerator[bytes, None]:
        for place in range(file.parts):
            yield await self.ledger.part(scope, principal, key, place)

    async def _asked(self, request: Request) -> tuple[str, Principal, UUID]:
        principal = await self.dispatcher.authenticator.principal(request.header(b"authorization"), request.ip)
        _, name, _, text, *_ = request.path.decode("ascii", "replace").split("/")
        scope = self.catalog.scopes.get(name)
        if scope is None:
            raise generic("route_not_found")
        if scope.tenant_bound != (principal.tenant is not None):
            raise generic("wrong_scope")
        if request.query:
            single(split_query(request.query), ())
        try:
            return name, principal, UUID(text)
        except ValueError:
            raise generic("not_found", "There is no such transfer") from None

    def _admit(self, principal: Principal, told: Told) -> Resource:
        resource = self.catalog.resources.get(told.entity)
        if resource is None:
            raise generic("not_found", "There is no such transfer")
        needed = resource.permissions[Op.IMPORT if told.kind == "import" else Op.EXPORT]
        if not principal.may(needed):
            raise ForbiddenError("permission_denied", f"This needs the permission {needed}")
        return resource
