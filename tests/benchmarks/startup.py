"""From the start of a worker to its first answer, and what it then holds in memory: the bundled registry, and with it
as many generated entities as make 137 and 1,000."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from subprocess import run

import httpx
import msgspec

from tests.benchmarks.contestants import ROOT, environment, process, token, wait_for
from tests.benchmarks.results import Verdict, at_most
from tests.benchmarks.stage import ADMIN, Stage

SIZES: dict[int, float] = {137: 1.5, 1000: 4.0}  # entities -> seconds
MEMORY: dict[int, float | None] = {137: 130, 1000: None}  # MB resident; the target is the bundled registry's worker
FACTORY = "engine.main:create_app"
PER_FILE = 10

HEAD = '''"""Generated."""

from datetime import date, datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from sqlalchemy import String
from sqlalchemy.orm import Mapped

from engine.entity import Entity
from engine.types import Code, Email, Money, Name, Phone, Strings, Text, check, column, reference
from registry.manager import ManagerModel
'''
ENTITY = '''

class Thing{number}(ManagerModel, table="{domain}.things_{number}"):
    """Generated entity {number}."""

    code: Mapped[Code]
    name: Mapped[Name]
    kind: Mapped[Literal["small", "large"]] = column(default="small")
    owner_id: Mapped[UUID] = reference("idam.users")
    email: Mapped[Email | None]
    phone: Mapped[Phone | None]
    price: Mapped[Money] = column(default=Decimal(0), minimum=0)
    quantity: Mapped[int] = column(default=0, minimum=0)
    starts_on: Mapped[date | None]
    ends_on: Mapped[date | None]
    seen_at: Mapped[datetime | None]
    tags: Mapped[Strings] = column(default=list)
    remark: Mapped[str | None] = column(String(255))
    notes: Mapped[Text | None]
    __table_args__ = (check("ends_on is null or starts_on is null or ends_on >= starts_on"),)


things_{number} = Entity(
    Thing{number},
    label="name",
    unique=["code"],
    search=["code", "name"],
    once=["code"],
    machine="draft* open closed : draft>open; open>closed",
)
'''


class Startup(msgspec.Struct):
    """One measurement; `seconds` is the best of several, `megabytes` are resident after the first answer."""

    entities: int
    seconds: Verdict
    megabytes: Verdict


def bundled() -> int:
    """Number of entities in the bundled registry; counted in a process of its own, since models are registered once."""
    count = "from engine.main import load; print(len(load(['registry'])[1].resources))"
    return int(run([sys.executable, "-c", count], cwd=ROOT, capture_output=True, text=True, check=True).stdout)


def write_package(folder: Path, count: int) -> str:
    """A registry package of `count` entities, ten to a file; its name."""
    name = f"wide{count}"
    package = folder / name
    package.mkdir()
    (package / "__init__.py").write_text('"""Generated."""\n')
    for start in range(0, count, PER_FILE):
        domain = f"w{start // PER_FILE:03}"
        numbers = range(start, min(start + PER_FILE, count))
        (package / f"{domain}.py").write_text(HEAD + "".join(ENTITY.format(number=n, domain=domain) for n in numbers))
    return name


PREPARE = """
import asyncio, sys
from pathlib import Path
from engine.install import seed
from engine.main import System
from tests.benchmarks.stage import settings_for
system = System(settings_for(Path(sys.argv[1]), sys.argv[2:]))
system.locate()
async def prepare():
    await system.prepare_databases()
    await seed(system)
    await system.close()
asyncio.run(prepare())
"""


def prepare(stage: Stage, registries: Sequence[str]) -> None:
    """Make the tables of the registries, in a process of its own."""
    command = [sys.executable, "-c", PREPARE, str(stage.data), *registries]
    done = run(command, env=environment(stage.data), cwd=stage.data, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the tables of {registries} cannot be made:\n{done.stderr[-3000:]}")


def first_answer(stage: Stage, variables: dict[str, str], path: str, header: str) -> tuple[float, float]:
    """Seconds from the start of a process to its first answer, and its megabytes then."""
    began = time.perf_counter()
    with process(FACTORY, stage.data, variables) as (worker, port):
        wait_for(port, worker, stage.data / "engine.main.log")
        answer = httpx.get(f"http://127.0.0.1:{port}{path}", headers={"Authorization": header}, timeout=30)
        took = time.perf_counter() - began
        if answer.status_code != 200:
            raise RuntimeError(f"the first answer is {answer.status_code}: {answer.text[:500]}")
        return took, worker.memory_info().rss / 1e6


def measure_size(stage: Stage, total: int, times: int) -> Startup:
    """Start a worker of `total` entities so many times, after one start that fills the caches of the file system."""
    extra = max(total - bundled(), 0)
    registries = ["registry", *([write_package(stage.data, extra)] if extra else [])]
    prepare(stage, registries)
    variables = {"CXG_DATA": str(stage.data), "CXG_REGISTRIES": msgspec.json.encode(registries).decode()}
    path = "/manager/w000/things-0" if extra else "/manager/idam/users?page_size=1"
    with process(FACTORY, stage.data, variables) as (worker, port):
        wait_for(port, worker, stage.data / "engine.main.log")
        header = token(f"http://127.0.0.1:{port}", ADMIN)
    found = [first_answer(stage, variables, path, header) for _ in range(times)]
    took, memory = min(f[0] for f in found), max(f[1] for f in found)
    return Startup(total, at_most(took, SIZES[total]), at_most(memory, MEMORY[total]))
