"""Password hashes in a bounded thread pool, and authenticated encryption of secrets."""

from __future__ import annotations

import asyncio
import base64
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import bcrypt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAX_PASSWORD_BYTES = 72


class PasswordVault:
    """bcrypt, two at a time: a hash costs a third of a second of CPU, and must not stop the event loop."""

    def __init__(self, rounds: int, key: bytes, workers: int = 2) -> None:
        self.rounds = rounds
        self.pool = ThreadPoolExecutor(workers, thread_name_prefix="bcrypt")
        self.cipher = AESGCM(HKDF(SHA256(), 32, None, b"cxg column encryption").derive(key))

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

    def encrypt(self, text: str) -> str:
        """`v1:` and base64 of nonce and AES-256-GCM."""
        nonce = os.urandom(12)
        return "v1:" + base64.b64encode(nonce + self.cipher.encrypt(nonce, text.encode(), None)).decode()

    def decrypt(self, text: str) -> str:
        """The text of `encrypt`. ValueError when it was changed or the key is another."""
        version, _, body = text.partition(":")
        raw = base64.b64decode(body)
        try:
            if version != "v1":
                raise InvalidTag
            return self.cipher.decrypt(raw[:12], raw[12:], None).decode()
        except InvalidTag:
            raise ValueError("the secret cannot be decrypted: another key, or it was changed") from None

    def close(self) -> None:
        """End the threads."""
        self.pool.shutdown(wait=False, cancel_futures=True)
