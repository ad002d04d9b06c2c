"""The public keys of an outside issuer: fetched when they are needed, believed for a while, asked for anew when a token names
one that is not known."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from engine.auth.fetch import Unfetched, fetch
from engine.errors import ApiError, generic

LOG = structlog.get_logger("auth")
FETCH_SECONDS, RSA_BITS, MOST_KEYS = 5.0, 2048, 100
# of a key that does not say which algorithm it is for
ALGORITHMS = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "OKP": ("EdDSA",),
    "P-256": ("ES256",),
    "P-384": ("ES384",),
    "P-521": ("ES512",),
}
KNOWN = frozenset(name for names in ALGORITHMS.values() for name in names)


class OutsideKey:
    """A public key, and the algorithms that it verifies."""

    def __init__(self, document: dict[str, Any]) -> None:
        """ValueError for a key that verifies nothing here: a shared secret, one for encryption, a short one."""
        kind = document.get("crv") if document.get("kty") == "EC" else document.get("kty")
        said = document.get("alg")
        self.algorithms = tuple(n for n in ALGORITHMS.get(str(kind), ()) if said in (None, n))
        if not self.algorithms or document.get("use", "sig") != "sig" or "d" in document or "k" in document:
            raise ValueError("not a public key for signatures")
        try:
            self.key = jwt.PyJWK(document, self.algorithms[0]).key
        except (jwt.PyJWTError, TypeError, KeyError) as wrong:
            raise ValueError("not a key") from wrong
        if isinstance(self.key, RSAPublicKey) and self.key.key_size < RSA_BITS:
            raise ValueError("too short")


def read_keys(body: bytes) -> dict[str, OutsideKey]:
    """Key by `kid`, as RFC 7517 writes them. ValueError for what is no set of keys; a key that is no use here is left out."""
    document = json.loads(body)
    rows = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or len(rows) > MOST_KEYS:
        raise ValueError("no set of keys")
    found: dict[str, OutsideKey] = {}
    for row in rows:
        try:
            found[str(row.get("kid", ""))] = OutsideKey(row)
        except ValueError:
            continue
    return found


class KeySet:
    """The keys behind an address. `seconds`: how long they are believed; `pause`: between two readings for unknown keys."""

    def __init__(
        self, url: str, seconds: float, pause: float, read: Callable[[str, float], Awaitable[bytes]] = fetch
    ) -> None:
        self.url, self.seconds, self.pause, self.read = url, seconds, pause, read
        self.keys: dict[str, OutsideKey] = {}
        # monotonic seconds of the last reading, and of the last that brought keys
        self.asked = self.brought = float("-inf")
        self.lost = False
        self.running: asyncio.Task[None] | None = None

    async def key(self, kid: str) -> OutsideKey:
        """The key of that name. 401 when the issuer has none, 503 when nobody can tell."""
        now = time.monotonic()
        known = self.keys.get(kid)
        if known is not None and now < self.brought + self.seconds:
            return known
        if now >= self.asked + self.pause or self.running is not None:
            reading = self._reading(now)
            if known is None:
                await asyncio.shield(reading)
        known = self.keys.get(kid) or known
        if known is not None:
            return known
        raise unavailable() if self.lost else generic("invalid_token")

    def _reading(self, now: float) -> asyncio.Task[None]:
        """The reading that is under way, or a new one."""
        if self.running is None:
            self.asked = now
            self.running = asyncio.create_task(self._read())
        return self.running

    async def _read(self) -> None:
        try:
            self.keys = read_keys(await self.read(self.url, FETCH_SECONDS))
            self.brought, self.lost = time.monotonic(), False
        except (Unfetched, ValueError, RecursionError) as wrong:
            # the keys that are known go on
            self.lost = True
            LOG.warning("the issuer's keys cannot be read", url=self.url, cause=str(wrong))
        finally:
            self.running = None


def unavailable() -> ApiError:
    """503: the keys cannot be read, so that nobody can tell whether the token is good."""
    return generic("issuer_unavailable", headers={"Retry-After": "5"})
