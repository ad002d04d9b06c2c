"""HTTP/1.1 on the wire: uvicorn's httptools protocol with deadlines, with bounds on the head of a request, and without shapes that
two servers could read differently. What never becomes a request is refused in the engine's envelope, and the connection is closed.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from engine.clock import request_id
from engine.encode import failure
from engine.errors import ApiError, generic

# httptools reads no longer URL
MAX_URL = 65_535
# bytes a second that a body has to bring while its deadline passes
BODY_RATE = 1024
# after an answer: how long, and how much, the rest of a request is read and thrown away, so that the caller sees the answer
LINGER_SECONDS, MAX_REST = 2.0, 1_048_576

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
        # of the request on its way: bytes of its URL and of its headers, number of headers; bytes since the parser told of anything
        self.url_size = self.header_size = self.header_count = self.silent = 0
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
        if self.closing or self.transport.is_closing():
            return
        if self.silent > self.limits.max_header_bytes:
            self.refuse(generic("headers_too_large"))
        self.held = self.held or self.flow.read_paused
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.closing and not self.transport.is_closing():
            self._watch()

    # -- what the parser tells

    def on_message_begin(self) -> None:
        self.stage, self.silent = "head", 0
        self.url_size = self.header_size = self.header_count = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self.silent = 0
        self.url_size += len(url)
        if self.url_size > MAX_URL:
            self._fail("url_too_long")
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.silent = 0
        self.header_count += 1
        self.header_size += len(name) + len(value) + 4
        if self.header_count > self.limits.max_headers or self.header_size > self.limits.max_header_bytes:
            self._fail("headers_too_large")
        if self.stage == "head":  # else it is a trailer, which may not say anything any more
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self.silent = 0
        version = self.parser.get_http_version()
        if version not in ("1.1", "1.0"):
            self._fail("bad_request", "The server speaks HTTP/1.1")
        hosts = 0
        for name, value in self.headers:
            if name == b"host":
                hosts += 1
            elif name == b"transfer-encoding" and (value.strip().lower() != b"chunked" or version == "1.0"):
                self._fail("bad_request", "Transfer-Encoding can only be chunked, in HTTP/1.1")
        if hosts > 1 or (hosts == 0 and version == "1.1"):
            self._fail("bad_request", "A request names its Host, once")
        super().on_headers_complete()
        self.stage = "body"
        if self.parser.should_upgrade() and self.cycle is not None:
            # the parser loses count of what comes after such a request
            self.cycle.keep_alive = False

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
        running = self.cycle is not None and not self.cycle.response_complete
        if running and self.stage != "body":
            self.cycle.keep_alive = False
            self.closing = True
            return self._stop_watching()
        if self.stage == "body" and self.cycle is not None and (not running or self.cycle.response_started):
            return self.transport.close()
        if running:
            # the application hears that nobody listens any more
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._answer(error)

    def _answer(self, error: ApiError) -> None:
        known = request_id()
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
