"""An outside issuer of tokens on this machine: a real HTTP server with keys of its own, that can turn them, and fall silent."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine.clock import CLOCK

ISSUER, AUDIENCE = "https://id.example/realms/shop", "shop-api"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Issuer:
    """Its keys, and how its server answers: `status`, seconds of `delay`, or `body` in the place of the keys."""

    def __init__(self) -> None:
        self.private: dict[str, Any] = {"ed-1": Ed25519PrivateKey.generate(), "rsa-1": RSA_KEY}
        self.status, self.delay, self.asked = 200, 0.0, 0
        self.body: bytes | None = None
        self.more: list[dict[str, Any]] = []
        self.headers: dict[str, str] = {}
        self.url = ""

    def turn(self, old: str, new: str) -> None:
        """Another key in the place of one."""
        del self.private[old]
        self.private[new] = Ed25519PrivateKey.generate()

    @property
    def document(self) -> dict[str, Any]:
        """The public keys, as RFC 7517 writes them."""
        return {"keys": [*(public(kid, key) for kid, key in self.private.items()), *self.more]}

    def token(self, kid: str = "ed-1", *, key: Any = None, algorithm: str = "", **claims: Any) -> str:
        """A signed token; a claim of None is left out. `key` signs in the place of the one that `kid` names."""
        now = CLOCK.now()
        usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + timedelta(minutes=5)}
        given = {name: value for name, value in {**usual, **claims}.items() if value is not None}
        signing = key if key is not None else self.private[kid]
        usual_algorithm = "RS256" if isinstance(signing, rsa.RSAPrivateKey) else "EdDSA"
        return jwt.encode(given, signing, algorithm or usual_algorithm, headers={"kid": kid} if kid else {})


def public(kid: str, key: Any) -> dict[str, Any]:
    """A public key as a JWK."""
    algorithm: Any = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.OKPAlgorithm
    made: dict[str, Any] = json.loads(algorithm.to_jwk(key.public_key()))
    return {**made, "kid": kid, "use": "sig"}


def pem(key: Any) -> bytes:
    """The public key as text, which is no secret."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    made: bytes = key.public_key().public_bytes(serialization.Encoding.PEM, form)
    return made


@contextmanager
def issuing() -> Iterator[Issuer]:
    """An issuer that answers for the length of a block."""
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked += 1
            time.sleep(issuer.delay)
            body = issuer.body if issuer.body is not None else json.dumps(issuer.document).encode()
            self.send_response(issuer.status)
            for name, value in {"Content-Type": "application/json", **issuer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Silence."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    issuer.url = f"http://127.0.0.1:{server.server_port}/jwks"
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
