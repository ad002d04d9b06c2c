"""The Starlette application: one mounted dispatcher for every entity, and the few routes beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from engine.dispatch import Dispatcher, reply
from engine.encode import Answer, Streamed, success_of
from engine.errors import generic
from engine.request import Receive, Request, Scope, Send
from engine.store import ready

Endpoint = Callable[[Request], Awaitable[Answer | Streamed]]


class Plain:
    """ASGI application of one endpoint that answers with the engine's envelope and errors."""

    def __init__(self, dispatcher: Dispatcher, endpoint: Endpoint, methods: Sequence[str]) -> None:
        self.dispatcher, self.endpoint, self.methods = dispatcher, endpoint, methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            if request.method not in self.methods:
                raise generic("method_not_allowed", headers={"Allow": ", ".join(self.methods)})
            answer: Answer | Streamed = await self.endpoint(request)
        except Exception as error:
            answer = self.dispatcher.refuse(request, None, error)
        if isinstance(answer, Streamed):
            await self.dispatcher.stream(send, request, answer)
        else:
            await reply(send, request, answer)


class Health:
    """Liveness, readiness and metrics."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher

    async def live(self, _request: Request) -> Answer:
        """The process answers."""
        return success_of({"status": "live"})

    async def ready(self, _request: Request) -> Answer:
        """Every database answers within a second; else 503."""
        databases = self.dispatcher.shop.databases
        state = {name: await ready(database, 1.0) for name, database in databases.items()}
        answer = success_of({"status": "ready" if all(state.values()) else "not ready", "databases": state})
        return (
            answer
            if all(state.values())
            else answer._replace(status=503, headers=(*answer.headers, (b"retry-after", b"1")))
        )

    async def metrics(self, _request: HttpRequest) -> Response:
        """Prometheus text."""
        return Response(self.dispatcher.observer.metrics(), media_type="text/plain; version=0.0.4")


class Application(Starlette):
    """Entity requests (`/scope/domain/entity...`) go straight to the dispatcher, which answers every error itself; Starlette's
    middleware and its list of routes (12 us a request) are for the few paths beside it."""

    def __init__(self, dispatcher: Dispatcher, routes: Sequence[BaseRoute], **more: Any) -> None:
        super().__init__(routes=[*routes, Mount("/", dispatcher)], **more)
        # what fits no route (a line end in a name) is answered in the envelope too
        self.router.default = dispatcher
        self.state.dispatcher = self.dispatcher = dispatcher
        self.scopes = frozenset(dispatcher.shop.catalog.scopes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        parts = path.split("/", 3)
        if len(parts) == 4 and parts[1] in self.scopes and parts[2][:1] != "_" and not path.endswith("/_meta"):
            await self.dispatcher(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def plain(dispatcher: Dispatcher, path: str, endpoint: Endpoint, *methods: str) -> Route:
    """A route beside the dispatcher."""
    return Route(path, Plain(dispatcher, endpoint, methods or ("GET",)))


def build_app(
    dispatcher: Dispatcher, routes: Sequence[BaseRoute], *, start: Sequence[Any] = (), stop: Sequence[Any] = ()
) -> Application:
    """The application. `start` and `stop` are coroutine functions run around its life."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        for step in start:
            await step()
        yield
        for step in stop:
            await step()

    health = Health(dispatcher)
    beside: list[BaseRoute] = [
        plain(dispatcher, "/health/live", health.live),
        plain(dispatcher, "/health/ready", health.ready),
        Route("/metrics", health.metrics),
        *routes,
    ]
    return Application(dispatcher, beside, lifespan=lifespan)
