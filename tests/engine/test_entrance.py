"""Who may enter: a registry's identity, the bundled one beside, or one access key."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from engine.auth.access_key import FILE, KeyHolder, access_key
from engine.entrance import uses_key
from engine.errors import ApiError, StartupFault
from engine.install import install
from engine.main import System, load
from engine.settings import Settings
from tests.engine.test_library import safe

BOOTH = ["tests.engine.booth"]


@pytest.mark.parametrize(
    ("given", "way_out"),
    [
        ({"identity": "registry", "registries": BOOTH}, "identity_provider"),
        ({"environment": "production", "registries": BOOTH}, 'identity = "bundled"'),
        ({"identity": "key", "registries": ["registry", *BOOTH]}, "leave one of them out"),
    ],
)
def test_a_door_that_cannot_open_is_a_startup_fault(given: dict[str, Any], way_out: str) -> None:
    system = System(Settings(**given))
    with pytest.raises(StartupFault, match=way_out):
        uses_key(system.settings, system.catalog)


def test_a_key_does_not_know_tenants(tmp_path: Path) -> None:
    from engine.assembly import compiled
    from engine.library import _declared

    with pytest.raises(StartupFault, match="'safe' belong to tenants"):
        uses_key(Settings(data=tmp_path), compiled(_declared([], safe, [])))


def test_which_door_there_is() -> None:
    alone, beside = load(BOOTH)[1], load(["registry", *BOOTH])[1]
    assert uses_key(Settings(registries=BOOTH), alone)
    assert uses_key(Settings(registries=BOOTH, environment="production", identity="key"), alone)
    assert not uses_key(Settings(), beside) and not uses_key(Settings(identity="bundled"), beside)


def test_the_key_is_made_up_once_and_told_once(tmp_path: Path) -> None:
    system = System(Settings(registries=BOOTH, data=tmp_path))
    [told] = asyncio.run(install(system))
    key = (tmp_path / FILE).read_text()
    assert key in told and key.startswith("cxg_") and len(key) > 40
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert asyncio.run(install(system)) == [] and access_key(tmp_path) == key
    assert access_key(tmp_path, "cxg_given") == "cxg_given"
    given = System(Settings(registries=BOOTH, data=tmp_path / "b", access_key=SecretStr("cxg_given")))
    assert asyncio.run(install(given)) == [] and not (tmp_path / "b" / FILE).exists()


def test_only_its_holder_comes_in() -> None:
    gate, other = KeyHolder("cxg_right"), KeyHolder("cxg_other")

    async def ask(header: bytes | None) -> str:
        try:
            return str((await gate.principal(header, None)).user_id)
        except ApiError as error:
            return error.code

    known = str(gate.holder.user_id)
    assert asyncio.run(ask(b"Bearer cxg_right")) == asyncio.run(ask(b"bearer  cxg_right ")) == known
    assert known != str(other.holder.user_id) and known == str(KeyHolder("cxg_right").holder.user_id)
    for header in (b"Bearer cxg_wrong", b"Basic cxg_right", b"cxg_right", b"Bearer", b""):
        assert asyncio.run(ask(header)) in ("invalid_token", "not_authenticated")
    assert asyncio.run(ask(None)) == "not_authenticated"


def test_without_sign_in_there_is_no_route_of_it(tmp_path: Path) -> None:
    system = System(Settings(registries=BOOTH, data=tmp_path))
    system.places["booth"] = system.places.get("booth") or _nowhere()
    app = system.app()

    async def work() -> None:
        key = {"Authorization": f"Bearer {access_key(tmp_path)}"}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            assert (await client.post("/auth/token")).status_code == 404
            assert (await client.get("/auth/me")).status_code == 401
            me = (await client.get("/auth/me", headers=key)).json()["data"]
            assert me["scope"] == "booth" and "sales.articles.create" in me["permissions"]
            document = (await client.get("/openapi.json")).json()
            assert [path for path in document["paths"] if path.startswith("/auth")] == ["/auth/me"]
            assert document["security"] == [{"bearer": []}]
        await system.close()

    asyncio.run(work())


def _nowhere() -> Any:
    from engine.places import Place

    return Place("postgresql://127.0.0.1:1/x", "postgresql://127.0.0.1:1/x", None)
