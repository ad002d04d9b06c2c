"""What a stage may know of the HTTP request: its head, and its body read under a limit."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from engine.clock import id_text
from engine.errors import generic
from engine.moment import Caller

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}").fullmatch
JSON_TYPES = (b"application/json", b"application/merge-patch+json")


def is_json(media_type: bytes) -> bool:
    """Whether a Content-Type says JSON, in the one encoding that JSON has."""
    kind, _, parameters = media_type.partition(b";")
    charset = parameters.lower().replace(b" ", b"").replace(b'"', b"")
    return kind.strip().lower() in JSON_TYPES and (b"charset=" not in charset or b"charset=utf-8" in charset)


class Digesting:
    """Receives for a request whose body is compared with that of its first try; takes the digest on the way."""

    __slots__ = ("ended", "hash", "receive", "settled")

    def __init__(self, receive: Receive) -> None:
        self.receive, self.hash, self.ended = receive, sha256(), False
        # whether the request had its effect
        self.settled = False

    async def __call__(self) -> MutableMapping[str, Any]:
        message = await self.receive()
        self.hash.update(message.get("body", b""))
        self.ended = not message.get("more_body")
        return message

    async def rest(self) -> None:
        """Read what nobody has read, and let it go."""
        while not self.ended:
            await self()


class Request:
    """One HTTP request."""

    __slots__ = ("_headers", "_receive", "digesting", "id", "method", "path", "query", "root", "scope")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope, self._receive = scope, receive
        self.method: str = scope["method"]
        path: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
        # where this application is mounted in another, or what a proxy before it takes off
        self.root: bytes = quote(scope["root_path"]).encode() if scope.get("root_path") else b""
        self.path: bytes = path.removeprefix(self.root)
        self.query: bytes = scope["query_string"]
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self.digesting: Digesting | None = None
        if b"idempotency-key" in self._headers:
            self._receive = self.digesting = Digesting(receive)
        given = self._headers.get(b"x-request-id")
        self.id = given.decode() if given and REQUEST_ID(given) else id_text()

    def header(self, name: bytes) -> bytes | None:
        """A header by its lower-case name."""
        return self._headers.get(name)

    def every(self, name: bytes) -> list[bytes]:
        """All headers of a lower-case name, in order."""
        return [value for key, value in self.scope["headers"] if key == name]

    @property
    def ip(self) -> str | None:
        """Address of the peer."""
        client = self.scope.get("client")
        return client[0] if client else None

    @property
    def caller(self) -> Caller:
        """Where the request comes from, for the audit record."""
        agent = self._headers.get(b"user-agent")
        return Caller(self.id, self.ip, agent.decode("latin-1")[:512].replace("\x00", "") if agent else None)

    async def body(self, limit: int, bulk: int = 0) -> bytes:
        """The whole body. 413 above `limit` bytes (a list: `bulk`, where it is more), counted while reading."""
        announced = self._headers.get(b"content-length")
        if announced and int(announced) > max(limit, bulk):
            raise generic("payload_too_large", f"A body has at most {max(limit, bulk)} bytes")
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise generic("bad_request", "The connection ended before the body")
            part = message.get("body", b"")
            if bulk and not size and part.lstrip()[:1] == b"[":
                limit = max(limit, bulk)
            size += len(part)
            if size > limit:
                raise generic("payload_too_large", f"A body has at most {limit} bytes")
            parts.append(part)
            if not message.get("more_body"):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    async def stream(self, limit: int) -> AsyncIterator[bytes]:
        """The body in parts, as they come. 413 above `limit` bytes."""
        size, more = 0, True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise generic("bad_request", "The connection ended before the body")
            part = message.get("body", b"")
            size, more = size + len(part), message.get("more_body", False)
            if size > limit:
                raise generic("payload_too_large", f"A file has at most {limit} bytes")
            yield part

    async def gone(self) -> None:
        """Wait until the caller has left."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def json(self, limit: int, bulk: int = 0, *, needed: bool = True) -> bytes:
        """The body of a request that brings JSON. 415 for another media type, 400 for none where it is needed."""
        given = self._headers.get(b"content-type")
        strange = bool(given) and given not in JSON_TYPES and not is_json(given or b"")
        if strange and needed:
            raise generic("unsupported_media_type")
        body = await self.body(limit, bulk)
        if body and not body.isspace():
            if strange:
                raise generic("unsupported_media_type")
            return body
        if needed:
            raise generic("invalid_json", "A JSON body is expected here; the request has none")
        return b""
