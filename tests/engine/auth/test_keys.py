"""Files of secrets, and the keys that sign."""

from __future__ import annotations

import base64
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from engine.auth.keys import SigningKeys, secret_file


def pem(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def test_a_secret_is_made_once_and_kept_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "secret.key"
    made = [secret_file(path, lambda: b"first"), secret_file(path, lambda: b"second")]
    assert made == [b"first", b"first"] and path.read_bytes() == b"first"
    assert path.stat().st_mode & 0o777 == 0o600 and [p.name for p in path.parent.iterdir()] == ["secret.key"]


def test_workers_that_ask_at_once_agree(tmp_path: Path) -> None:
    path, found, start = tmp_path / "secret.key", [], threading.Barrier(8)

    def ask(number: int) -> None:
        start.wait()
        found.append(secret_file(path, lambda: str(number).encode()))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1 and len(found) == 8 and len(list(tmp_path.iterdir())) == 1


def test_the_first_key_is_made_and_found_again(tmp_path: Path) -> None:
    first, again = SigningKeys(tmp_path), SigningKeys(tmp_path)
    assert first.current == again.current and list(first.public) == [first.current]


def test_a_new_file_signs_and_the_old_one_still_verifies(tmp_path: Path) -> None:
    old = SigningKeys(tmp_path).current
    (tmp_path / "0002.pem").write_bytes(pem(ed25519.Ed25519PrivateKey.generate()))
    keys = SigningKeys(tmp_path)
    assert keys.current != old and set(keys.public) == {old, keys.current}
    (tmp_path / "0001.pem").unlink()
    assert keys.current in SigningKeys(tmp_path).public and old not in SigningKeys(tmp_path).public


def test_another_kind_of_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0001.pem").write_bytes(pem(rsa.generate_private_key(65537, 2048)))
    with pytest.raises(TypeError, match=r"0001\.pem is no Ed25519 key"):
        SigningKeys(tmp_path)


def test_the_key_set_shows_public_halves_only(tmp_path: Path) -> None:
    keys = SigningKeys(tmp_path)
    [shown] = keys.jwks()["keys"]
    assert {k: v for k, v in shown.items() if k != "x"} == {
        "kty": "OKP",
        "crv": "Ed25519",
        "use": "sig",
        "alg": "EdDSA",
        "kid": keys.current,
    }
    raw = base64.urlsafe_b64decode(shown["x"] + "=")
    assert ed25519.Ed25519PublicKey.from_public_bytes(raw) == keys.public[keys.current]
