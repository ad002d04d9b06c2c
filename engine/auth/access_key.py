"""One key that opens everything, where no registry knows of users: `Authorization: Bearer cxg_...`."""

from __future__ import annotations

from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

from engine.auth.authenticator import CHALLENGE
from engine.auth.keys import secret_file
from engine.clock import random_token
from engine.errors import generic
from engine.types import Principal

FILE = "access-key.txt"
# the answer to everybody else; there is no POST /auth/token to send him to
UNKNOWN = "Send the access key of this server: Authorization: Bearer cxg_..."


def access_key(folder: Path, given: str | None = None) -> str:
    """The key of this installation: the given one, else one that is made up once and kept in a 0600 file."""
    return given or secret_file(folder / FILE, lambda: f"cxg_{random_token(40)}".encode()).decode().strip()


class KeyHolder:
    """Knows one caller, who may do everything; change logs know him by an id that follows from the key."""

    def __init__(self, key: str) -> None:
        self.digest = sha256(key.encode()).digest()
        self.holder = Principal(uuid5(NAMESPACE_OID, self.digest.hex()), everything=True)

    async def principal(self, authorization: bytes | None, ip: str | None) -> Principal:
        """The holder. 401 for anybody else."""
        scheme, _, key = (authorization or b"").partition(b" ")
        known = compare_digest(sha256(key.strip()).digest(), self.digest)
        if scheme.lower() != b"bearer" or not known:
            raise generic("invalid_token" if authorization else "not_authenticated", UNKNOWN, headers=CHALLENGE)
        return self.holder
