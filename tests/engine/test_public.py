"""The public names: there, listed once, cheap to ask for, typed, and with examples that run."""

from __future__ import annotations

import asyncio
import doctest
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy.orm import Mapped

import engine as public
from engine import Engine
from engine.types import ENGINE
from tenancy.embedded import EmbeddedServer, start_embedded
from tests.owners import let_owner_serve

ROOT = Path(__file__).parents[2]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server with a database for the examples."""
    running = start_embedded(tmp_path / "postgres", durable=False)
    asyncio.run(running.ensure_database("doctest"))
    let_owner_serve(running)
    yield running
    running.stop()


def test_every_public_name_is_there_and_listed_once() -> None:
    names = [name for row in public.PUBLIC.values() for name in row.split()]
    assert sorted(names) == public.__all__ == dir(public) and len(set(names)) == len(names)
    for name in names:
        assert getattr(public, name) is getattr(import_module(public.HOMES[name]), name)
    with pytest.raises(AttributeError, match="Machine"):
        _ = public.Machine  # type: ignore[attr-defined]


def test_a_name_costs_only_what_it_is_made_of() -> None:
    """A registry that asks for words of a declaration gets no web server."""
    program = "import sys; from engine import Entity, Rules, Jobs, change_log; print('starlette' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


SNIPPET = """
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from sqlalchemy.orm import Mapped

from engine import Change, Code, Engine, Entity, Model, Moment, Money, Point, Principal, Rules, refuse
from starlette.requests import HTTPConnection


class ShopModel(Model, abstract=True): ...


class Article(ShopModel, table="sales.articles"):
    sku: Mapped[Code]
    price: Mapped[Money]


articles = Entity(Article, label="sku", unique=["sku"])
rules = Rules("shop/sales")


@rules.on("SHOP-1", "articles", Point.BEFORE_CREATE, raises="422:free")
async def nothing_is_free(moment: Moment, changes: list[Change]) -> None:
    for change in changes:
        if not change["price"]:
            raise refuse(change, "price", "free", "costs something")


async def who(request: HTTPConnection) -> Principal | None:
    return Principal(None, everything=True) if request.headers.get("x-user") else None


engine = Engine(entities=[articles, rules], databases={"shop": "postgresql://"}, authenticate=who)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with engine:
        async with engine.moment("shop") as moment:
            row = await moment.create("sales.articles", {"sku": "A"})
            found = await moment.get("sales.articles", row["id"])
            reveal_type(found)
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/api", engine.app)
wrong: int = engine.entities
"""


def test_a_users_program_is_typed(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(SNIPPET)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        "--no-error-summary",
        str(tmp_path / "program.py"),
    ]
    command += ["--cache-dir", str(ROOT / ".mypy_cache"), "--follow-imports=silent", "--ignore-missing-imports"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    lines = [line.partition("program.py:")[2] for line in told.splitlines()]
    # the one mistake, and what a row is
    assert [line.partition(": ")[2] for line in lines] == [
        'note: Revealed type is "dict[str, Any] | None"',
        'error: Incompatible types in assignment (expression has type "list[str]", variable has type "int")  [assignment]',
    ], told


def test_examples_of_docstrings_run(server: EmbeddedServer, tmp_path: Path) -> None:
    """In the order of the list: what one defines, the next may use."""
    known: dict[str, Any] = {"run": asyncio.run, "url": server.url("doctest"), "ENGINE": ENGINE}
    known |= {"Mapped": Mapped, **{name: getattr(public, name) for name in public.__all__}}
    known["Engine"] = lambda **given: Engine(**given, settings={"data": tmp_path})
    examples, tried = doctest.DocTestFinder(recurse=False), 0
    for name in ("Engine", *(name for name in public.__all__ if name != "Engine")):
        thing = getattr(public, name)
        if getattr(thing, "__doc__", None) and ">>>" in thing.__doc__:
            home = ModuleType(thing.__module__)
            for test in examples.find(thing, name, module=home, globs=known, extraglobs={}):
                test.globs = known
                report: list[str] = []
                result = doctest.DocTestRunner().run(test, out=report.append, clear_globs=False)
                assert result.failed == 0, "".join(report)
                tried += result.attempted
    assert tried >= 10
