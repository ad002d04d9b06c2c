"""Files that hold secrets, and the keys that sign tokens."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def secret_file(path: Path, make: Callable[[], bytes]) -> bytes:
    """The content of a 0600 file; made by `make` when absent. Several workers may ask at once: one wins."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(make())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        return path.read_bytes()


def _new_key() -> bytes:
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class SigningKeys:
    """Ed25519 keys of a folder: each `*.pem` verifies, the newest name signs. A new file rotates; a removed one ends its tokens."""

    def __init__(self, folder: Path) -> None:
        secret_file(folder / "0001.pem", _new_key)
        self.private: dict[str, Ed25519PrivateKey] = {}
        for path in sorted(folder.glob("*.pem")):
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
            if not isinstance(key, Ed25519PrivateKey):
                raise TypeError(f"{path.name} is no Ed25519 key")
            self.private[self._kid(key)] = key
        self.current = list(self.private)[-1]
        self.public = {kid: key.public_key() for kid, key in self.private.items()}

    @staticmethod
    def _raw(key: Ed25519PrivateKey) -> bytes:
        return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    def _kid(self, key: Ed25519PrivateKey) -> str:
        return hashlib.sha256(self._raw(key)).hexdigest()[:16]

    def jwks(self) -> dict[str, Any]:
        """The public keys as RFC 7517 shows them."""
        return {
            "keys": [
                {
                    "kty": "OKP",
                    "crv": "Ed25519",
                    "use": "sig",
                    "alg": "EdDSA",
                    "kid": kid,
                    "x": base64.urlsafe_b64encode(self._raw(key)).rstrip(b"=").decode(),
                }
                for kid, key in self.private.items()
            ]
        }
