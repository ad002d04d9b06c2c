"""Tokens of an outside issuer, whose keys come from a real server on this machine."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine.auth import jwks
from engine.auth.fetch import MAX_BYTES, Unfetched, address_of, fetch
from engine.auth.jwks import KeySet, read_keys
from engine.auth.keys import SigningKeys
from engine.auth.outside import LEEWAY, Mapped, Outside, roles_in
from engine.auth.tokens import Tokens
from engine.clock import CLOCK
from engine.errors import ApiError
from engine.signin import callers_of
from tests.issuer import AUDIENCE, ISSUER, RSA_KEY, Issuer, issuing, pem, public

pytestmark = pytest.mark.anyio
ALGORITHMS = ("RS256", "EdDSA")


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with issuing() as found:
        yield found


def knowing(issuer: Issuer, seconds: float = 300.0, pause: float = 0.0) -> Outside:
    return Outside(ISSUER, AUDIENCE, KeySet(issuer.url, seconds, pause), ALGORITHMS)


async def refused(outside: Outside, token: str) -> str:
    """The code of the refusal."""
    with pytest.raises(ApiError) as error:
        await outside.principal(token)
    assert error.value.status == {"invalid_token": 401, "issuer_unavailable": 503, "wrong_scope": 403}[error.value.code]
    return error.value.code


@pytest.mark.parametrize("kid", ["ed-1", "rsa-1"])
async def test_a_token_becomes_a_caller(issuer: Issuer, kid: str) -> None:
    outside = knowing(issuer)
    outside.mapped = Mapped("realm.roles", "", "mail")
    claims = {"realm": {"roles": ["sales", "north", 3, "sales"]}, "mail": "ann@shop.example", "regions": ["n"]}
    who, ends = await outside.principal(issuer.token(kid, **claims))
    assert (who.roles, who.email, who.tenant, who.everything) == (("sales", "north"), "ann@shop.example", None, False)
    assert who.user_id == uuid5(NAMESPACE_URL, f"{ISSUER}#ann") and who.permissions == frozenset()
    assert who.claims["regions"] == ["n"] and 250 < ends - CLOCK.now().timestamp() <= 300 + LEEWAY
    same, _ = await outside.principal(issuer.token(kid, sub=str(who.user_id), aud=["other", AUDIENCE]))
    assert same.user_id == who.user_id and issuer.asked == 1


async def test_a_tenant_is_named_by_a_claim(issuer: Issuer) -> None:
    outside = knowing(issuer)
    outside.mapped = Mapped(tenant="org.id")
    known = UUID(int=5)
    place = (await outside.principal(issuer.token(org={"id": str(known)})))[0].tenant
    assert place is not None and place.id == known
    named = (await outside.principal(issuer.token(org={"id": "acme"})))[0].tenant
    assert named is not None and named.slug == "acme" and named.id.version == 5
    assert (await outside.principal(issuer.token()))[0].tenant is None

    async def nowhere(_claim: str) -> None:
        return None

    outside.find_tenant = nowhere
    assert await refused(outside, issuer.token(org={"id": "acme"})) == "wrong_scope"


def unsigned(issuer: Issuer, header: dict[str, Any], signature: bytes = b"") -> str:
    """A token with a header of one's own, and whatever signature."""
    payload = issuer.token().split(".")[1]
    return ".".join((_part(json.dumps(header).encode()), payload, _part(signature)))


def _part(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def with_public_secret(issuer: Issuer) -> str:
    """HS256 under the text of the public key."""
    body = unsigned(issuer, {"alg": "HS256", "kid": "rsa-1", "typ": "JWT"}).rpartition(".")[0]
    return f"{body}.{_part(hmac.digest(pem(RSA_KEY), body.encode(), hashlib.sha256))}"


def signed_with(issuer: Issuer, header: dict[str, Any]) -> str:
    """A good token but for its header."""
    key = issuer.private["ed-1"]
    body = unsigned(issuer, {"alg": "EdDSA", "kid": "ed-1", **header}).rpartition(".")[0]
    return f"{body}.{_part(key.sign(body.encode()))}"


STRANGER = Ed25519PrivateKey.generate()
MOMENT = CLOCK.now()
BAD: dict[str, Any] = {
    "issuer": lambda i: i.token(iss="https://evil.example"),
    "no issuer": lambda i: i.token(iss=None),
    "audience": lambda i: i.token(aud="other"),
    "no audience": lambda i: i.token(aud=None),
    "no subject": lambda i: i.token(sub=None),
    "empty subject": lambda i: i.token(sub=""),
    "long subject": lambda i: i.token(sub="x" * 256),
    "no end": lambda i: i.token(exp=None),
    "expired": lambda i: i.token(exp=MOMENT - timedelta(seconds=LEEWAY + 60)),
    "not yet": lambda i: i.token(nbf=MOMENT + timedelta(hours=1)),
    "odd end": lambda i: i.token(exp="soon"),
    "none": lambda i: unsigned(i, {"alg": "none", "kid": "ed-1"}),
    "no algorithm": lambda i: unsigned(i, {"kid": "ed-1"}),
    "public key as secret": with_public_secret,
    "another's key": lambda i: i.token("ed-1", key=STRANGER),
    "key of another kind": lambda i: i.token("ed-1", key=RSA_KEY),
    "algorithm not allowed": lambda i: i.token("rsa-1", algorithm="RS512"),
    "unknown key": lambda i: i.token("nobody", key=STRANGER),
    "no name of a key": lambda i: i.token("", key=STRANGER),
    "path as name": lambda i: i.token("../../etc/passwd", key=STRANGER),
    "long name": lambda i: i.token("k" * 300, key=STRANGER),
    "name that is no text": lambda i: unsigned(i, {"alg": "EdDSA", "kid": ["ed-1"]}),
    "changed": lambda i: i.token()[:-4] + "AAAA",
    "no token": lambda i: "a.b.c",
    "must be understood": lambda i: signed_with(i, {"crit": ["b64"], "b64": False}),
    "endless": lambda i: i.token(note="x" * 20_000),
}


@pytest.mark.parametrize("name", BAD)
async def test_what_is_no_good_token_is_refused(issuer: Issuer, name: str) -> None:
    outside = knowing(issuer)
    await outside.principal(issuer.token())
    assert await refused(outside, BAD[name](issuer)) == "invalid_token"


async def test_clocks_may_differ_a_little(issuer: Issuer) -> None:
    outside, now = knowing(issuer), CLOCK.now()
    little = timedelta(seconds=LEEWAY - 10)
    usual, _ = await outside.principal(issuer.token())
    for claims in ({"exp": now - little}, {"nbf": now + little}):
        found, _ = await outside.principal(issuer.token(**claims))
        assert found == usual


def test_only_signatures_with_public_keys_can_be_allowed() -> None:
    for name in ("none", "HS256", "", "rs256"):
        with pytest.raises(ValueError, match="no algorithm for public keys"):
            Outside(ISSUER, AUDIENCE, KeySet("http://127.0.0.1/", 1, 1), ("RS256", name))


# -- keys


async def test_a_new_key_is_taken_at_once_and_an_old_one_ends(issuer: Issuer) -> None:
    outside = knowing(issuer, seconds=0.2)
    before = issuer.token()
    await outside.principal(before)
    issuer.turn("ed-1", "ed-2")
    await outside.principal(issuer.token("ed-2"))
    assert await refused(outside, before) == "invalid_token"


async def test_a_removed_key_ends_without_a_new_one(issuer: Issuer) -> None:
    outside = knowing(issuer, seconds=0.05)
    token = issuer.token()
    await outside.principal(token)
    del issuer.private["ed-1"]
    await asyncio.sleep(0.1)
    await outside.principal(token)  # the keys are read beside this one
    for _ in range(100):
        if outside.keys.running is None:
            break
        await asyncio.sleep(0.01)
    assert await refused(outside, token) == "invalid_token"


async def test_unknown_keys_do_not_make_the_issuer_busy(issuer: Issuer) -> None:
    outside = knowing(issuer, pause=60.0)
    await outside.principal(issuer.token())
    for number in range(50):
        assert await refused(outside, issuer.token(f"made-up-{number}", key=STRANGER)) == "invalid_token"
    assert issuer.asked == 1


async def test_many_at_once_ask_once(issuer: Issuer) -> None:
    outside, issuer.delay = knowing(issuer), 0.1
    found = await asyncio.gather(*(outside.principal(issuer.token()) for _ in range(20)))
    assert len(found) == 20 and issuer.asked == 1


@pytest.mark.parametrize("status", [500, 404, 301])
async def test_nobody_can_tell_without_keys(issuer: Issuer, status: int) -> None:
    outside, issuer.status, issuer.headers = knowing(issuer), status, {"Location": "http://127.0.0.1:1/other"}
    assert await refused(outside, issuer.token()) == "issuer_unavailable"
    issuer.status = 200
    await outside.principal(issuer.token())


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", b'{"keys": 3}', b'{"keys": [1]}', b"x" * (MAX_BYTES + 1)])
async def test_an_answer_that_is_no_set_of_keys_counts_as_none(issuer: Issuer, body: bytes) -> None:
    outside, issuer.body = knowing(issuer), body
    assert await refused(outside, issuer.token()) == "issuer_unavailable"


async def test_known_keys_go_on_while_the_issuer_is_silent(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "FETCH_SECONDS", 0.2)
    outside = knowing(issuer, seconds=0.05)
    await outside.principal(issuer.token())
    issuer.delay = 5.0
    await asyncio.sleep(0.1)
    began = asyncio.get_running_loop().time()
    await outside.principal(issuer.token())
    assert asyncio.get_running_loop().time() - began < 0.1, "nobody waits for a reading that is not needed"
    assert await refused(outside, issuer.token("other", key=STRANGER)) == "issuer_unavailable"
    await outside.principal(issuer.token())
    assert outside.keys.running is None or await asyncio.wait_for(outside.keys.running, 1) is None


def test_keys_that_verify_nothing_are_left_out() -> None:
    short = public("short", rsa.generate_private_key(public_exponent=65537, key_size=1024))
    good = public("good", RSA_KEY)
    rows = [
        good,
        short,
        {**good, "kid": "enc", "use": "enc"},
        {**good, "kid": "wrong", "alg": "HS256"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
        {"kty": "RSA", "kid": "empty"},
        {"kty": "EC", "crv": "P-256K", "kid": "curve"},
    ]
    found = read_keys(json.dumps({"keys": rows}).encode())
    assert set(found) == {"good"} and found["good"].algorithms[0] == "RS256"
    assert read_keys(json.dumps({"keys": [{**good, "alg": "PS256"}]}).encode())["good"].algorithms == ("PS256",)


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example/jwks",
        "http://10.0.0.1/jwks",
        "ftp://127.0.0.1/",
        "https://",
        "https://me:pw@id.example/",
        "file:///etc",
        "http://127.0.0.1.evil.example/",
    ],
)
async def test_keys_come_over_tls_or_from_here(url: str) -> None:
    with pytest.raises(ValueError, match="https"):
        address_of(url)
    with pytest.raises(Unfetched):
        await fetch(url, 1.0)


@pytest.mark.parametrize(
    "url", ["https://id.example/jwks?a=b", "http://localhost:9/jwks", "http://[::1]:9/", "http://127.8.8.8/"]
)
def test_addresses_that_may_be_asked(url: str) -> None:
    assert address_of(url).hostname


@pytest.mark.parametrize(
    ("claim", "roles"), [("a b a", ("a", "b")), (["a", "b"], ("a", "b")), (None, ()), ({"a": 1}, ()), (7, ())]
)
def test_roles_of_a_claim(claim: Any, roles: tuple[str, ...]) -> None:
    assert roles_in(claim) == roles


async def test_a_stranger_is_told_who_gives_tokens(issuer: Issuer, tmp_path: Path) -> None:
    gate = callers_of(Tokens(SigningKeys(tmp_path), 15), None, 4.0, knowing(issuer))
    for header in (None, b"Basic eDp5"):
        with pytest.raises(ApiError, match=f"{ISSUER} gives one") as error:
            await gate.principal(header, None)
        assert error.value.code == "not_authenticated" and "/auth/token" not in error.value.message
