"""From an Authorization header to a caller."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID

import pytest

from engine.auth import authenticator as module
from engine.auth.authenticator import METHODS, Authenticator
from engine.auth.keys import SigningKeys
from engine.auth.tokens import Claims, Tokens
from engine.errors import ApiError, UnauthorizedError, generic
from engine.types import Principal

pytestmark = pytest.mark.anyio
USER, SESSION = UUID(int=1), UUID(int=2)


class Door:
    """An authenticator whose look-ups are counted."""

    def __init__(self, folder: Path, believed: float) -> None:
        self.tokens = Tokens(SigningKeys(folder), 15)
        self.authenticator = Authenticator(self.tokens, self.load, self.load_key, believed)
        self.loads: list[object] = []
        self.refuse = False
        self.slow = 0.0

    async def load(self, claims: Claims) -> Principal:
        self.loads.append(claims.session_id)
        await asyncio.sleep(self.slow)
        if self.refuse:
            raise generic("invalid_token")
        return Principal(claims.user_id)

    async def load_key(self, key: str, ip: str | None) -> Principal:
        self.loads.append((key, ip))
        await asyncio.sleep(self.slow)
        return Principal(USER)

    def header(self) -> bytes:
        return b"Bearer " + self.tokens.issue(USER, SESSION, None).encode()


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path, 60.0)


async def test_a_caller_is_read_once_and_then_believed(door: Door) -> None:
    header = door.header()
    for _ in range(3):
        assert (await door.authenticator.principal(header, None)).user_id == USER
    assert door.loads == [SESSION]


async def test_without_belief_each_request_reads_anew(tmp_path: Path) -> None:
    door = Door(tmp_path, 0.0)
    header = door.header()
    for _ in range(3):
        await door.authenticator.principal(header, None)
    assert len(door.loads) == 3


@pytest.mark.parametrize("session", [SESSION, None])
async def test_a_session_that_ended_is_read_anew(door: Door, session: UUID | None) -> None:
    header = door.header()
    await door.authenticator.principal(header, None)
    door.authenticator.forget(UUID(int=9))
    await door.authenticator.principal(header, None)
    assert len(door.loads) == 1
    door.authenticator.forget(session)
    door.refuse = True
    for _ in range(2):
        with pytest.raises(ApiError):
            await door.authenticator.principal(header, None)
    assert len(door.loads) == 3


async def test_a_refusal_is_not_remembered(door: Door) -> None:
    header, door.refuse = door.header(), True
    with pytest.raises(ApiError):
        await door.authenticator.principal(header, None)
    door.refuse = False
    assert (await door.authenticator.principal(header, None)).user_id == USER


async def test_an_api_key_is_read_at_every_request(door: Door) -> None:
    for _ in range(2):
        assert (await door.authenticator.principal(b"Bearer cxg_abc", "192.0.2.1")).user_id == USER
    assert door.loads == [("cxg_abc", "192.0.2.1")] * 2


@pytest.mark.parametrize("header", [None, b"", b"Bearer", b"Bearer ", b"Basic YTpi", b"cxg_abc", b"\xff\xfe x"])
async def test_what_is_no_credential_is_401_with_a_challenge(door: Door, header: bytes | None) -> None:
    with pytest.raises(ApiError) as caught:
        await door.authenticator.principal(header, None)
    assert (caught.value.status, caught.value.code) == (401, "not_authenticated")
    assert caught.value.headers == {"WWW-Authenticate": "Bearer"} and door.loads == []


async def test_a_bad_token_asks_nobody(door: Door) -> None:
    with pytest.raises(ApiError, match="token is not valid"):
        await door.authenticator.principal(b"bearer a.b.c", None)
    assert door.loads == []


async def test_one_request_reads_anew_and_the_others_do_not_wait(tmp_path: Path) -> None:
    door = Door(tmp_path, 0.02)
    header = door.header()
    await door.authenticator.principal(header, None)
    await asyncio.sleep(0.03)
    door.slow = 0.05
    await asyncio.gather(*(door.authenticator.principal(header, None) for _ in range(20)))
    assert len(door.loads) == 2


async def test_those_who_come_together_are_read_once(door: Door) -> None:
    """Also after a refusal nobody waits twice, and who was forgotten meanwhile is read by each."""
    header, door.slow = door.header(), 0.02

    async def come(times: int) -> list[object]:
        return await asyncio.gather(
            *(door.authenticator.principal(header, None) for _ in range(times)), return_exceptions=True
        )

    assert {who.user_id for who in await come(5) if isinstance(who, Principal)} == {USER} and len(door.loads) == 1
    door.authenticator.forget()
    coming = asyncio.create_task(come(5))
    await asyncio.sleep(0.01)
    door.authenticator.forget(UUID(int=9))
    await coming
    assert len(door.loads) == 1 + 5
    door.refuse = True
    door.authenticator.forget()
    assert [type(error) for error in await come(3)] == [UnauthorizedError] * 3
    assert len(door.loads) == 6 + 3 and not door.authenticator.reading and not door.authenticator.remembered


async def test_nobody_waits_for_another_with_the_same_key(door: Door) -> None:
    door.slow = 0.05
    start = asyncio.get_running_loop().time()
    await asyncio.gather(*(door.authenticator.principal(b"Bearer cxg_1", None) for _ in range(4)))
    assert len(door.loads) == 4 and asyncio.get_running_loop().time() - start < 0.09


async def test_memory_is_bounded(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED", 3)
    for _ in range(10):
        await door.authenticator.principal(door.header(), None)
    assert len(door.authenticator.remembered) == 3


async def test_every_file_of_the_package_is_used() -> None:
    assert set(METHODS) == {b"bearer"}
    assert {path.stem for path in Path(str(module.__file__)).parent.glob("*.py")} == {
        "__init__",
        "access_key",
        "fetch",
        "jwks",
        "outside",
        "authenticator",
        "keys",
        "tokens",
        "vault",
    }
