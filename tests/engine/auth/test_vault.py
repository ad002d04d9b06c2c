"""Password hashes and encrypted columns."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.auth.vault import KeyRing, PasswordVault

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def vault() -> Iterator[PasswordVault]:
    made = PasswordVault(4, KeyRing(b"k" * 32))
    yield made
    made.close()


async def test_a_password_fits_its_own_hash_alone(vault: PasswordVault) -> None:
    hashed = await vault.hash_password("Grüße-123")
    assert hashed.startswith("$2b$04$") and hashed != await vault.hash_password("Grüße-123")
    assert await vault.check_password("Grüße-123", hashed)
    assert not await vault.check_password("grüße-123", hashed)


async def test_72_bytes_are_the_most(vault: PasswordVault) -> None:
    full = "ä" * 36
    hashed = await vault.hash_password(full)
    assert await vault.check_password(full, hashed) and not await vault.check_password(full + "a", hashed)
    with pytest.raises(ValueError, match="72 bytes"):
        await vault.hash_password(full + "a")


@pytest.mark.parametrize("password", ["", "\x00", "a\x00b", "x" * 1_000_000, "\ud800", "😀" * 19])
async def test_an_odd_password_never_fits_and_never_fails(vault: PasswordVault, password: str) -> None:
    hashed = await vault.hash_password("right-password")
    assert await vault.check_password(password, hashed) is False


async def test_an_absent_hash_never_fits_but_costs_a_comparison(vault: PasswordVault) -> None:
    assert "dummy" not in PasswordVault(4, KeyRing(b"x")).__dict__
    assert await vault.check_password("absent", None) is False
    assert "dummy" in vault.__dict__


PLACE = "manager/idam/users.mfa_secret"
# what the first form looked like: AES-256-GCM under a key derived of b"k" * 32, without key id and place
FIRST_FORM = "v1:0gQDvT/sXaOvAUHFewTUEur218mKWp5tjfR9nE3rpxI9CrLgEzFWMQOTrzo="


def test_a_secret_comes_back() -> None:
    ring = KeyRing(b"k" * 32)
    for text in ("", "JBSWY3DPEHPK3PXP", "ä😀" * 100):
        kept = ring.encrypt(text, PLACE)
        assert kept.startswith(ring.prefix) and ring.decrypt(kept, PLACE) == text
    assert ring.encrypt("same", PLACE) != ring.encrypt("same", PLACE)


def test_a_secret_is_read_in_its_own_place_alone() -> None:
    ring = KeyRing(b"k")
    kept = ring.encrypt("secret", PLACE)
    for place in ("", "manager/idam/users.password_hash", "manager/noti/channels.mfa_secret", PLACE + "2"):
        with pytest.raises(ValueError):
            ring.decrypt(kept, place)


def test_a_changed_secret_is_noticed() -> None:
    ring = KeyRing(b"k" * 32)
    kept = ring.encrypt("secret")
    body = len(ring.prefix) + 4
    changed = kept[:body] + ("A" if kept[body] != "A" else "B") + kept[body + 1 :]
    other = KeyRing(b"other").encrypt("secret")
    odd = ("v3" + kept[2:], "", "v1:", "v1:AAAA", "v2:", "v2:AAAA", ring.prefix, ring.prefix + "!", "plain")
    for text in (changed, other, ring.prefix + other.partition(":")[2], *odd):
        with pytest.raises(ValueError):
            ring.decrypt(text)


def test_former_keys_read_and_the_current_one_writes() -> None:
    old, new = KeyRing(b"old"), KeyRing(b"new", [b"older", b"old"])
    kept = old.encrypt("secret", PLACE)
    assert new.decrypt(kept, PLACE) == "secret" and new.encrypt("x").startswith(KeyRing(b"new").prefix)
    with pytest.raises(ValueError, match="not known"):
        KeyRing(b"new").decrypt(kept, PLACE)


def test_the_name_of_a_key_is_its_own() -> None:
    names = {KeyRing(key).prefix for key in (b"a", b"b", b"k" * 32)}
    assert len(names) == 3 and KeyRing(b"a").prefix in names


def test_the_first_form_is_still_read() -> None:
    for ring in (KeyRing(b"k" * 32), KeyRing(b"new", [b"k" * 32])):
        assert ring.decrypt(FIRST_FORM, PLACE) == "JBSWY3DPEHPK3PXP"
    with pytest.raises(ValueError):
        KeyRing(b"new").decrypt(FIRST_FORM, PLACE)
