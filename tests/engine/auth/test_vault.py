"""Password hashes and encrypted columns."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.auth.vault import PasswordVault

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def vault() -> Iterator[PasswordVault]:
    made = PasswordVault(4, b"k" * 32)
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
    assert "dummy" not in PasswordVault(4, b"x").__dict__
    assert await vault.check_password("absent", None) is False
    assert "dummy" in vault.__dict__


async def test_a_secret_comes_back(vault: PasswordVault) -> None:
    for text in ("", "JBSWY3DPEHPK3PXP", "ä😀" * 100):
        kept = vault.encrypt(text)
        assert kept.startswith("v1:") and vault.decrypt(kept) == text
    assert vault.encrypt("same") != vault.encrypt("same")


async def test_a_changed_secret_is_noticed(vault: PasswordVault) -> None:
    kept = vault.encrypt("secret")
    changed = kept[:20] + ("A" if kept[20] != "A" else "B") + kept[21:]
    for text in (changed, "v2" + kept[2:], PasswordVault(4, b"other").encrypt("secret"), "", "v1:", "v1:AAAA", "plain"):
        with pytest.raises(ValueError):
            vault.decrypt(text)
