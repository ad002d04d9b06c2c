"""HTTP/1.1 on the wire: uvicorn's httptools protocol with deadlines, with bounds on the head of a request, and without shapes that
two servers could read differently. What never becomes a request is refused in the engine's envelope, and the connection is closed.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from engine.clock import id_text
from engine.encode import failure
from engine.errors import ApiError, generic

# httptools reads no longer URL
MAX_URL = 65_535
# bytes a second that a body has to bring while its deadline passes
BODY_RATE = 1024
# after an answer: how long, and how much, the rest of a request is read and thrown away, so that the caller sees the answer
LINGER_SECONDS, MAX_REST = 2.0, 1_048_576
# after which a server that stops answers what is still unfinished; uvicorn cancels it soon after (`timeout_graceful_shutdown`)
LAST_SECONDS, GRACEFUL_SECONDS = 7.0, 10

READING = ("GET", "HEAD", "QUERY", "OPTIONS")
Stage = Literal["idle", "head", "body"]
# what a connection waits for: the head of a request, its body, or the rest of one that is answered already
Awaited = Literal["head", "body", "rest"]


class WireLimits(NamedTuple):
    """Seconds that a head and a body may take, and the largest head."""

    header_timeout: float = 10.0
    body_timeout: float = 30.0
    max_header_bytes: int = 32_768
    max_headers: int = 100

    @classmethod
    def of(cls, settings: Any) -> WireLimits:
        """As the settings of an installation say."""
        return cls(*(getattr(settings, name) for name in cls._fields))


class GuardedProtocol(HttpToolsProtocol):
    """One connection. The application's `state.wire` holds the limits."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.limits: WireLimits = getattr(getattr(self.app, "state", None), "wire", WireLimits())
        self.stage: Stage = "idle"
        self.refusal: ApiError | None = None
        self.closing = False
        # requests read to their end
        self.completed = 0
        # bytes since a request, its head or a part of its body came to an end
        self.silent = 0
        self.timer: asyncio.TimerHandle | None = None
        self.watched: tuple[Awaited, int] | None = None
        # since the timer began: bytes that came, and whether the connection was kept from bringing more
        self.received, self.held = 0, False

    # -- the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self.closing:
            return
        self.silent += len(data)
        super().data_received(data)
        if self.stage == "idle" and self.timer is None and self._running():
            return  # a request in one piece, as most are
        if not self.closing and not self.transport.is_closing():
            self._bound()
            self.held = self.held or self.flow.read_paused
            self._watch()

    def _bound(self) -> None:
        """Refuse what grows and does not end: a head, an extension of a chunk, trailers."""
        url = len(self.url) if self.stage == "head" else 0
        if url > MAX_URL:
            self.refuse(generic("url_too_long"))
        elif self.silent > self.limits.max_header_bytes + url:
            self.refuse(generic("headers_too_large"))

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.stage != "idle" and not self.closing and not self.transport.is_closing():
            self._watch()

    def shutdown(self) -> None:
        """The server stops: what runs may end, for a while."""
        super().shutdown()
        if self._running() and not self.transport.is_closing():
            self.loop.call_later(LAST_SECONDS, self._last_call)

    def _running(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _last_call(self) -> None:
        """Answer before uvicorn does: nobody knows what comes of work that is cancelled."""
        if self._running() and not (self.closing or self.transport.is_closing() or self.cycle.response_started):
            self._abandon()
            if self.stage == "body":
                self._answer(generic("request_timeout"))
            elif self.cycle.scope["method"] in READING:
                self._answer(
                    generic("db_unavailable", "The server is stopping; try again", headers={"Retry-After": "1"})
                )
            else:
                self._answer(generic("outcome_unknown", headers={"Retry-After": "1"}))

    # -- what the parser tells

    def on_message_begin(self) -> None:
        self.stage, self.silent = "head", 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self.silent = 0
        self._check(self.parser.get_http_version())
        super().on_headers_complete()
        self.stage = "body"
        # a trailer is kept apart: it may not say anything any more
        self.headers = []
        if self.parser.should_upgrade():
            # the parser loses count of what comes after such a request
            self.cycle.keep_alive = False

    def _check(self, version: str) -> None:
        """Refuse a head that is too large, or that leaves open where the request ends or whom it is for."""
        if len(self.url) > MAX_URL:
            self._fail("url_too_long")
        size = hosts = 0
        for name, value in self.headers:
            size += len(name) + len(value) + 4
            if name == b"host":
                hosts += 1
            elif name == b"transfer-encoding" and (value.strip().lower() != b"chunked" or version != "1.1"):
                self._fail("bad_request", "Transfer-Encoding can only be chunked, in HTTP/1.1")
        if size > self.limits.max_header_bytes or len(self.headers) > self.limits.max_headers:
            self._fail("headers_too_large")
        if hosts != 1 and (hosts or version != "1.0"):
            self._fail("bad_request", "A request names its Host, once")
        if version not in ("1.1", "1.0"):
            self._fail("bad_request", "The server speaks HTTP/1.1")

    def on_body(self, body: bytes) -> None:
        self.silent = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.stage, self.silent = "idle", 0
        self.completed += 1
        super().on_message_complete()

    # -- refusals

    def _fail(self, code: str, message: str = "") -> None:
        """Stop the parser; uvicorn then asks for the answer."""
        self.refusal = generic(code, message)
        raise self.refusal

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls for whatever the parser refuses."""
        self.refuse(self.refusal or generic("bad_request"))

    def refuse(self, error: ApiError) -> None:
        """Answer in the place of the application, and close. Answers that are on their way go before, and are the last."""
        running = self._running()
        if running and self.stage != "body":
            self.cycle.keep_alive = False
            self.closing = True
            return self._stop_watching()
        if self.stage == "body" and self.cycle is not None and (not running or self.cycle.response_started):
            return self.transport.close()
        if running:
            self._abandon()
        self._answer(error)

    def _abandon(self) -> None:
        """Let the application hear that nobody listens any more."""
        self.cycle.disconnected = True
        self.cycle.message_event.set()

    def _answer(self, error: ApiError) -> None:
        known = id_text()
        status, headers, body = failure(error, known)
        lines = [*headers, (b"content-length", b"%d" % len(body)), (b"x-request-id", known.encode())]
        lines += [*self.server_state.default_headers, (b"connection", b"close")]
        head = b"".join(b"%b: %b\r\n" % line for line in lines)
        self.transport.write(STATUS_LINE[status] + head + b"\r\n" + body)
        self.closing = True
        self._stop_watching()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self.timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    # -- deadlines

    def _awaited(self) -> Awaited | None:
        answered = self.cycle is None or self.cycle.response_complete
        if self.stage == "body":
            return "rest" if answered else "body"
        if self.stage == "head":
            return "head"
        return "head" if answered and self.timeout_keep_alive_task is None else None

    def _watch(self) -> None:
        """Have a timer for what is waited for now. A request that comes in one piece has none."""
        awaited = self._awaited()
        if awaited == "rest" and self.watched == (awaited, self.completed) and self.received > MAX_REST:
            return self.transport.close()
        if awaited is None:
            return self._stop_watching()
        if self.watched != (awaited, self.completed):
            self._begin(awaited)
        return None

    def _begin(self, awaited: Awaited) -> None:
        self._stop_watching()
        seconds = {"head": self.limits.header_timeout, "body": self.limits.body_timeout, "rest": LINGER_SECONDS}[
            awaited
        ]
        self.watched, self.received, self.held = (awaited, self.completed), 0, False
        self.timer = self.loop.call_later(seconds, self._overdue, awaited, seconds)

    def _stop_watching(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.timer = self.watched = None

    def _overdue(self, awaited: Awaited, seconds: float) -> None:
        if self.transport.is_closing():
            return
        enough = awaited == "body" and self.received >= BODY_RATE * seconds
        if enough or self.held or self.flow.read_paused:
            return self._begin(awaited)  # it comes, or it is the application that does not take it
        if awaited == "rest" or self.stage == "idle":
            return self.transport.close()  # there is nothing to answer
        self.refuse(generic("request_timeout"))
        return None
