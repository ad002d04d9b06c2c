"""Headers -> Principal. A verified caller is remembered for a few seconds, so that most requests ask neither key nor database."""

from __future__ import annotations

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
        self.remembered: dict[bytes, Remembered] = {}
        # how often everybody was forgotten: who was read before is not remembered after
        self.forgotten = 0

    async def principal(self, authorization: bytes | None, ip: str | None) -> Principal:
        """The caller behind an Authorization header. 401 without one."""
        if authorization is None:
            raise generic("not_authenticated", headers=CHALLENGE)
        known = self.remembered.get(authorization)
        now = time.monotonic()
        if known is not None and known.until > now:
            return known.principal
        if known is not None and self.believed and known.until > now - GRACE:
            # one request reads the caller anew; those beside it go on with what is known for half a second more
            self.remembered[authorization] = known._replace(until=now + GRACE)
        scheme, _, credential = authorization.partition(b" ")
        method = METHODS.get(scheme.lower())
        if method is None or not credential:
            raise generic("not_authenticated", headers=CHALLENGE)
        forgotten = self.forgotten
        try:
            found = await method(self, credential.strip().decode("latin-1"), ip)
        except BaseException:
            self.remembered.pop(authorization, None)
            raise
        if len(self.remembered) >= MAX_REMEMBERED:
            self.remembered.pop(next(iter(self.remembered)))
        if self.forgotten == forgotten:
            self.remembered[authorization] = found
        return found.principal

    async def _bearer(self, token: str, ip: str | None) -> Remembered:
        if token.startswith("cxg_"):
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
        self.forgotten += session_id is None
        gone = [key for key, known in self.remembered.items() if session_id is None or known.session_id == session_id]
        for key in gone:
            del self.remembered[key]


METHODS: dict[bytes, Callable[[Authenticator, str, str | None], Awaitable[Remembered]]] = {
    b"bearer": Authenticator._bearer
}
