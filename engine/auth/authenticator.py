"""Headers -> Principal. A verified caller is remembered for a few seconds, so that most requests ask neither key nor database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol
from uuid import UUID

from engine.auth.outside import Outside
from engine.auth.tokens import Claims, Tokens
from engine.clock import CLOCK
from engine.errors import generic
from engine.types import Principal

MAX_REMEMBERED = 20_000
GRACE = 0.5
API_KEY = b"cxg_"  # how one begins
CHALLENGE = {"WWW-Authenticate": "Bearer"}

LoadPrincipal = Callable[[Claims], Awaitable[Principal]]
LoadKeyHolder = Callable[[str, str | None], Awaitable[Principal]]


class Gate(Protocol):
    """Whoever tells callers from strangers."""

    async def principal(self, authorization: bytes | None, ip: str | None) -> Principal:
        """The caller behind an Authorization header. 401 for a stranger."""


class Remembered(NamedTuple):
    """A caller, and until when (monotonic seconds) he is believed unread."""

    principal: Principal
    until: float
    session_id: UUID | None


class Authenticator:
    """Knows the callers. `load` reads a session's principal, `load_key` an API key's."""

    def __init__(
        self,
        tokens: Tokens,
        load: LoadPrincipal,
        load_key: LoadKeyHolder,
        believed: float,
        outside: Outside | None = None,
    ) -> None:
        """`outside`: who knows the tokens of another issuer."""
        self.tokens, self.load, self.load_key, self.believed, self.outside = tokens, load, load_key, believed, outside
        # what a stranger is told; "" = that POST /auth/token gives tokens
        self.stranger = ""
        self.remembered: dict[bytes, Remembered] = {}
        # those who are being read; whoever comes with the same header meanwhile waits for that once
        self.reading: dict[bytes, asyncio.Event] = {}
        # how often somebody was forgotten: who was read before is not remembered after
        self.forgotten = 0

    async def principal(self, authorization: bytes | None, ip: str | None) -> Principal:
        """The caller behind an Authorization header. 401 without one."""
        if authorization is None:
            raise generic("not_authenticated", self.stranger, headers=CHALLENGE)
        known = self.remembered.get(authorization)
        now = time.monotonic()
        if known is not None and known.until > now:
            return known.principal
        if known is not None and self.believed and known.until > now - GRACE:
            # one request reads the caller anew; those beside it go on with what is known for half a second more
            self.remembered[authorization] = known._replace(until=now + GRACE)
        elif self.believed and authorization in self.reading:
            await self.reading[authorization].wait()
            known = self.remembered.get(authorization)
            if known is not None and known.until > time.monotonic():
                return known.principal
        return await self._read(authorization, ip)

    async def _read(self, authorization: bytes, ip: str | None) -> Principal:
        scheme, _, credential = authorization.partition(b" ")
        method = METHODS.get(scheme.lower())
        if method is None or not credential:
            raise generic("not_authenticated", self.stranger, headers=CHALLENGE)
        forgotten, done = self.forgotten, asyncio.Event()
        if not credential.strip().startswith(API_KEY):  # those are read at every request
            self.reading[authorization] = done
        try:
            found = await method(self, credential.strip().decode("latin-1"), ip)
            if len(self.remembered) >= MAX_REMEMBERED:
                self.remembered.pop(next(iter(self.remembered)))
            if self.forgotten == forgotten:
                self.remembered[authorization] = found
            return found.principal
        except BaseException:
            self.remembered.pop(authorization, None)
            raise
        finally:
            if self.reading.get(authorization) is done:
                del self.reading[authorization]
            done.set()

    async def _bearer(self, token: str, ip: str | None) -> Remembered:
        if token.startswith(API_KEY.decode()):
            return Remembered(await self.load_key(token, ip), time.monotonic(), None)
        if self.outside is not None and self.outside.issued(token):
            known, ends = await self.outside.principal(token)
            left = ends - CLOCK.now().timestamp()
            return Remembered(known, time.monotonic() + min(self.believed, left), None)
        claims = self.tokens.verify(token)
        principal = await self.load(claims)
        left = claims.expires - CLOCK.now().timestamp()
        return Remembered(principal, time.monotonic() + min(self.believed, left), claims.session_id)

    def forget(self, session_id: UUID | None = None) -> None:
        """Read callers anew: those of one session, or all."""
        self.forgotten += 1
        gone = [key for key, known in self.remembered.items() if session_id is None or known.session_id == session_id]
        for key in gone:
            del self.remembered[key]


METHODS: dict[bytes, Callable[[Authenticator, str, str | None], Awaitable[Remembered]]] = {
    b"bearer": Authenticator._bearer
}
