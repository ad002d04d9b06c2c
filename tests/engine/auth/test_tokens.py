"""Access tokens: ours are believed, all others are 401."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine.auth.keys import SigningKeys
from engine.auth.tokens import Claims, Tokens
from engine.clock import CLOCK
from engine.errors import ApiError

USER, SESSION, TENANT = UUID(int=1), UUID(int=2), UUID(int=3)
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def noon() -> Iterator[None]:
    CLOCK.at(NOW)
    yield
    CLOCK.at(None)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> SigningKeys:
    return SigningKeys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def tokens(keys: SigningKeys) -> Tokens:
    return Tokens(keys, 15)


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims, with changes; None leaves one out."""
    stamp = int(NOW.timestamp())
    good = {"iss": "cxg", "aud": "cxg", "sub": str(USER), "sid": str(SESSION), "iat": stamp, "exp": stamp + 900}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def signed(keys: SigningKeys, payload: dict[str, Any], header: dict[str, Any] | None = None, key: Any = None) -> str:
    head = {"kid": keys.current} if header is None else header
    return jwt.encode(payload, key or keys.private[keys.current], "EdDSA", headers=head)


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forged(keys: SigningKeys, header: dict[str, Any], sign: bool = False) -> str:
    """A token with any header; `sign`: HS256 with the public key as its secret."""
    text = f"{part(header)}.{part(claims())}"
    public = keys.public[keys.current].public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    mark = hmac.new(public, text.encode(), hashlib.sha256).digest() if sign else b""
    return f"{text}.{base64.urlsafe_b64encode(mark).rstrip(b'=').decode()}"


def expect_refusal(tokens: Tokens, token: str) -> None:
    with pytest.raises(ApiError) as caught:
        tokens.verify(token)
    assert (caught.value.status, caught.value.code) == (401, "invalid_token")


@pytest.mark.parametrize("tenant", [TENANT, None])
def test_a_token_says_who_and_until_when(tokens: Tokens, tenant: UUID | None) -> None:
    found = tokens.verify(tokens.issue(USER, SESSION, tenant))
    assert found == Claims(USER, SESSION, tenant, (NOW + timedelta(minutes=15)).timestamp())


def test_a_token_ends_to_the_second(tokens: Tokens) -> None:
    token = tokens.issue(USER, SESSION, None)
    CLOCK.at(NOW + timedelta(minutes=15) - timedelta(milliseconds=1))
    assert tokens.verify(token).user_id == USER
    CLOCK.at(NOW + timedelta(minutes=15))
    expect_refusal(tokens, token)


def test_a_rotated_key_still_verifies_and_a_removed_one_does_not(tmp_path: Path) -> None:
    first = Tokens(SigningKeys(tmp_path), 15)
    token = first.issue(USER, SESSION, None)
    key = Ed25519PrivateKey.generate()
    (tmp_path / "0002.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    assert Tokens(SigningKeys(tmp_path), 15).verify(token).session_id == SESSION
    (tmp_path / "0001.pem").unlink()
    (tmp_path / "0001.pem").write_bytes((tmp_path / "0002.pem").read_bytes())
    expect_refusal(Tokens(SigningKeys(tmp_path), 15), token)


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none", "typ": "JWT"},
        {"alg": "none"},
        {"alg": "None"},
        {"typ": "JWT"},
        {"alg": "EdDSA"},
        {"alg": None},
        {"alg": ["EdDSA"]},
    ],
)
def test_a_token_without_a_signature_is_refused(tokens: Tokens, keys: SigningKeys, header: dict[str, Any]) -> None:
    for head in (header, {**header, "kid": keys.current}):
        expect_refusal(tokens, forged(keys, head))


def test_hs256_with_the_public_key_is_refused(tokens: Tokens, keys: SigningKeys) -> None:
    expect_refusal(tokens, forged(keys, {"alg": "HS256", "kid": keys.current}, sign=True))


@pytest.mark.parametrize(
    "kid", ["", "unknown", "../0001.pem", "/etc/passwd", "' or 1=1 --", "a" * 5000, 7, None, ["x"], {}]
)
def test_an_odd_kid_is_refused(tokens: Tokens, keys: SigningKeys, kid: Any) -> None:
    head, _, rest = signed(keys, claims()).partition(".")
    assert head
    expect_refusal(tokens, f"{part({'alg': 'EdDSA', 'typ': 'JWT', 'kid': kid})}.{rest}")


def test_a_key_of_somebody_else_is_refused(tokens: Tokens, keys: SigningKeys) -> None:
    expect_refusal(tokens, signed(keys, claims(), key=Ed25519PrivateKey.generate()))


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": int(NOW.timestamp())},
        {"exp": 0},
        {"exp": "soon"},
        {"exp": None},
        {"nbf": int(NOW.timestamp()) + 60},
        {"iat": int(NOW.timestamp()) + 60},
        {"iat": None},
        {"aud": "other"},
        {"aud": None},
        {"iss": "other"},
        {"iss": None},
        {"sub": None},
        {"sub": "not-a-uuid"},
        {"sid": None},
        {"sid": "x"},
        {"tid": "x"},
        {"tid": ["x"]},
    ],
)
def test_claims_that_are_not_ours_or_not_now_are_refused(
    tokens: Tokens, keys: SigningKeys, changes: dict[str, Any]
) -> None:
    assert tokens.verify(signed(keys, claims())).user_id == USER
    expect_refusal(tokens, signed(keys, claims(**changes)))


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "x" * 10_000, "ä.ö.ü", "e30.e30.", "\x00"])
def test_what_is_no_token_is_refused(tokens: Tokens, token: str) -> None:
    expect_refusal(tokens, token)


def test_a_changed_token_is_refused(tokens: Tokens) -> None:
    head, body, mark = tokens.issue(USER, SESSION, None).split(".")
    expect_refusal(tokens, f"{head}.{part(claims(sub=str(TENANT)))}.{mark}")
    expect_refusal(tokens, f"{head}.{body}.{'A' * len(mark)}")
