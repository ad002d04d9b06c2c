"""README's package `shop`, made, tested, migrated, served and mounted exactly as it is printed."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from engine import Principal
from engine.places import Place
from tenancy.embedded import start_embedded

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
SERVE = "cxg serve --registry shop\n"


def blocks(marker: str) -> list[tuple[str, str]]:
    """(language, text) of the blocks between a marker and the next chapter."""
    chapter = README.split(f"<!-- {marker} -->", 1)[1].split("\n## ", 1)[0]
    return BLOCK.findall(chapter)


class Folder:
    """A folder of somebody's, and his shell in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "cxg").write_text(f'#!/bin/sh\nexec {sys.executable} -m engine "$@"\n')
        # installed, the plugin is there by itself; here it is named
        (folder / "pytest").write_text(
            f'#!/bin/sh\nexec {sys.executable} -m pytest -p no:cacheprovider -p engine.testing.plugin "$@"\n'
        )
        for program in ("cxg", "pytest"):
            (folder / program).chmod(0o755)
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CXG_", "PYTEST_"))}
        path = os.pathsep.join([str(ROOT), *sys.path])
        return {
            **kept,
            "PYTHONPATH": path,
            "PATH": f"{self.folder}{os.pathsep}{os.environ['PATH']}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def shell(self, text: str) -> str:
        """What a block prints; it must not fail."""
        text = text.replace(":8000", f":{self.port}")
        done = subprocess.run(
            ["bash", "-e", "-c", text],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The package as the chapter makes it, up to where it is served."""
    folder = Folder(tmp_path_factory.mktemp("somebody"))
    for language, text in blocks("shop"):
        if language == "python":
            name = re.match(r"# (\S+)", text)
            assert name, text
            (folder.folder / name[1]).write_text(text)
        elif SERVE not in text and "curl" not in text:
            folder.shell(text)
    return folder


@pytest.fixture(scope="module")
def served(made: Folder) -> Iterator[Folder]:
    """While it is served."""
    command = [*SERVE.split(), "--port", str(made.port)]
    with (made.folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [made.folder / "cxg", *command[1:]], cwd=made.folder, env=made.environment, stdout=log, stderr=log
        )
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until and process.poll() is None:
            with suppress(httpx.HTTPError):
                if httpx.get(f"http://127.0.0.1:{made.port}/health/ready").status_code == 200:
                    break
            time.sleep(0.2)
        yield made
    finally:
        process.terminate()
        process.wait(30)


def test_the_commands_before_serving(made: Folder) -> None:
    [text] = [text for language, text in blocks("shop") if language == "bash" and SERVE in text]
    told = made.shell(text.replace(SERVE, ""))
    assert "3 entities in 1 scopes: no faults" in told
    assert re.search(r"\d+ passed", told) and "failed" not in told
    revision = made.folder / "shop" / "migrations" / "shop" / "versions" / "0001_first.sql"
    assert str(revision) in told and "CREATE TABLE sales.orders" in revision.read_text()
    assert not list((ROOT / "tenancy" / "migrations").rglob("*first*"))


def test_what_was_written_is_clean_and_typed(made: Folder) -> None:
    program = Path(sys.executable).parent / "ruff"
    ruff = [sys.executable, "-m", "ruff"] if not program.exists() else [str(program)]
    for check in (
        ["check", "--isolated", "--select", "E,F,I,UP,B", "--line-length", "120"],
        ["format", "--isolated", "--check"],
    ):
        names = ["shop/__init__.py", "shop/sales.py", "tests"]
        done = subprocess.run(
            [*ruff, *check, *names], cwd=made.folder, env=made.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--ignore-missing-imports"]
    command += ["--cache-dir", str(ROOT / ".mypy_cache"), "shop", "tests"]
    done = subprocess.run(command, cwd=made.folder, env=made.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_is_served(served: Folder) -> None:
    [text] = [text for language, text in blocks("shop") if language == "bash" and "curl" in text]
    told = served.shell(text)
    assert '"total":"12.5000"' in told and '"customer":{"id"' in told
    assert "orders" in told.rpartition("count_orders")[2]
    key = (served.folder / "cxg-data" / "access-key.txt").read_text()
    with httpx.Client(base_url=f"http://127.0.0.1:{served.port}", headers={"Authorization": f"Bearer {key}"}) as client:
        [order] = client.get("/shop/sales/orders").json()["data"]["items"]
        dear = client.patch(f"/shop/sales/orders/{order['id']}", json={"total": "5000.01"})
        assert (dear.status_code, dear.json()["error"]["code"]) == (422, "too_large")
        [record] = client.get("/shop/log/changes", params={"filter[entity]": "orders"}).json()["data"]["items"]
        assert (record["action"], record["entity_id"]) == ("create", order["id"])
        assert client.get("/shop/sales/orders", headers={"Authorization": "Bearer cxg_other"}).status_code == 401
        assert client.post("/auth/token").status_code == 404


def test_it_is_mounted_as_printed(served: Folder) -> None:
    """The chapter "As a library", over the served database."""
    host, moment = [text for language, text in blocks("host") if language == "python"]
    running = start_embedded(served.folder / "cxg-data" / "postgres", durable=False)
    place = Place(running.url("shop"), running.url("shop", "cxg_runtime"), None)
    known: dict[str, Any] = {"url": place.runtime, "principal": Principal(None, everything=True)}
    body = "\n".join(f"    {line}" for line in moment.splitlines())
    sys.path.insert(0, str(served.folder))
    try:
        exec(host, known)
        exec(f"async def use():\n{body}\n    return found", known)
        # by its URL the engine takes on a role; here it comes in as the role itself
        known["engine"].settings.runtime_role = "cxg_runtime"
        app: FastAPI = known["app"]

        async def work() -> None:
            transport = httpx.ASGITransport(app)
            async with (
                app.router.lifespan_context(app),
                httpx.AsyncClient(transport=transport, base_url="http://host", headers={"x-user": "ann"}) as client,
            ):
                assert [row["name"] for row in await known["use"]()] == ["Ann", "Ann"]
                found = await client.get("/api/shop/sales/orders")
                assert [row["number"] for row in found.json()["data"]["items"]] == ["N1"]
                assert (await client.get("/api/shop/sales/orders", headers={"x-user": "eve"})).status_code == 401
                assert (await client.get("/api/openapi.json")).json()["servers"] == [{"url": "/api"}]

        asyncio.run(work())
    finally:
        sys.path.remove(str(served.folder))
        for name in [name for name in sys.modules if name.split(".")[0] == "shop"]:
            del sys.modules[name]
