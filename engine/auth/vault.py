"""Password hashes in a bounded thread pool, authenticated encryption of secrets, and signatures."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from hashlib import blake2b
from typing import NamedTuple

import bcrypt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAX_PASSWORD_BYTES = 72
UNREADABLE = "the secret cannot be decrypted: it was changed or moved, or its key is not known"


class Key(NamedTuple):
    """A key, and the eight letters by which ciphers name it."""

    id: str
    cipher: AESGCM


class KeyRing:
    """AES-256-GCM under the current key; what former keys encrypted can still be read."""

    def __init__(self, current: bytes, before: Sequence[bytes] = ()) -> None:
        """Keys are texts of any length: 32 bytes are derived from each."""
        self.keys = [_derive(key) for key in (current, *before)]
        self.by_id = {key.id: key for key in self.keys}
        self.signing = HKDF(SHA256(), 32, None, b"cxg signatures").derive(current)

    def sign(self, message: bytes) -> bytes:
        """Keyed BLAKE2b (RFC 7693) under a key of its own, made from the current one: a third of HMAC-SHA256's time through
        OpenSSL, and a page of a list has a signature each."""
        return blake2b(message, digest_size=32, key=self.signing).digest()

    @property
    def prefix(self) -> str:
        """How ciphers of the current key begin."""
        return f"v2:{self.keys[0].id}:"

    def encrypt(self, text: str, place: str = "") -> str:
        """`v2:`, the key's id, `:` and base64 of nonce and cipher. It is read in the same `place` only."""
        nonce = os.urandom(12)
        raw = nonce + self.keys[0].cipher.encrypt(nonce, text.encode(), place.encode())
        return self.prefix + base64.b64encode(raw).decode()

    def decrypt(self, text: str, place: str = "") -> str:
        """The text of `encrypt`. ValueError when it was changed, belongs elsewhere, or its key is not known. Texts of the
        first form, `v1:` without key or place, are read too."""
        version, _, rest = text.partition(":")
        key_id, _, body = rest.partition(":")
        if version == "v1":
            return self._first_that_fits(rest)
        if version != "v2" or key_id not in self.by_id:
            raise ValueError(UNREADABLE)
        return _open(self.by_id[key_id], body, place.encode())

    def _first_that_fits(self, body: str) -> str:
        for key in self.keys:
            with suppress(ValueError):
                return _open(key, body, None)
        raise ValueError(UNREADABLE)


def _derive(key: bytes) -> Key:
    derived = HKDF(SHA256(), 32, None, b"cxg column encryption").derive(key)
    # a second derivation names the key, so that its name tells nothing of it
    return Key(HKDF(SHA256(), 4, None, b"cxg key id").derive(key).hex(), AESGCM(derived))


def _open(key: Key, body: str, place: bytes | None) -> str:
    raw = base64.b64decode(body, validate=True)
    try:
        return key.cipher.decrypt(raw[:12], raw[12:], place).decode()
    except InvalidTag:
        raise ValueError(UNREADABLE) from None


class PasswordVault:
    """bcrypt, two at a time: a hash costs a third of a second of CPU, and must not stop the event loop."""

    def __init__(self, rounds: int, ring: KeyRing, workers: int = 2) -> None:
        self.rounds, self.ring = rounds, ring
        self.pool = ThreadPoolExecutor(workers, thread_name_prefix="bcrypt")

    @cached_property
    def dummy(self) -> bytes:
        """A hash that fits no password, so that an absent user takes as long as a wrong password."""
        return bcrypt.hashpw(os.urandom(16).hex().encode(), bcrypt.gensalt(self.rounds))

    async def hash_password(self, password: str) -> str:
        """bcrypt of a password of at most 72 bytes. ValueError above."""
        raw = password.encode()
        if len(raw) > MAX_PASSWORD_BYTES:
            raise ValueError("a password has at most 72 bytes")
        loop = asyncio.get_running_loop()
        return (await loop.run_in_executor(self.pool, bcrypt.hashpw, raw, bcrypt.gensalt(self.rounds))).decode()

    async def check_password(self, password: str, hashed: str | None) -> bool:
        """Whether they fit. An over-long or odd password takes as long as any other and never fits."""
        raw = password.encode("utf-8", "replace")
        usable = hashed is not None and len(raw) <= MAX_PASSWORD_BYTES and b"\x00" not in raw
        loop = asyncio.get_running_loop()
        if not usable:
            await loop.run_in_executor(self.pool, lambda: bcrypt.checkpw(b"absent", self.dummy))
            return False
        assert hashed is not None
        return await loop.run_in_executor(self.pool, bcrypt.checkpw, raw, hashed.encode())

    def encrypt(self, text: str, place: str = "") -> str:
        """A cipher that is read in the same `place` only."""
        return self.ring.encrypt(text, place)

    def decrypt(self, text: str, place: str = "") -> str:
        """The text of `encrypt`. ValueError when it was changed or moved, or its key is not known."""
        return self.ring.decrypt(text, place)

    def sign(self, message: bytes) -> bytes:
        """32 bytes that nobody else can make."""
        return self.ring.sign(message)

    def close(self) -> None:
        """End the threads."""
        self.pool.shutdown(wait=False, cancel_futures=True)
