"""What every command shares: settings with flags on top, a system with its databases found, and how progress is said."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import Parameter
from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from engine.errors import StartupFault
from engine.main import System
from engine.moment import UnitOfWork
from engine.operations import Operations
from engine.settings import Settings
from engine.types import ENGINE, TenantRef

Result = TypeVar("Result")

# what is printed is other people's text as a rule, whose brackets are no markup; styles are those of a Text
err = Console(stderr=True, highlight=False, markup=False, emoji=False)
Registries = Annotated[
    list[str] | None,
    Parameter(name="--registry", negative="--no-registry", help="Package to serve; may be given several times."),
]
Data = Annotated[Path | None, Parameter(help="Folder of the embedded server, keys and first password.")]


def configure(**flags: Any) -> Settings:
    """Settings with the command line's flags on top. Flags are passed on to worker processes through the environment."""
    for name, value in flags.items():
        if value is not None:
            os.environ[f"CXG_{name.upper()}"] = (
                json.dumps(value) if isinstance(value, (list, dict, bool)) else str(value)
            )
    try:
        return Settings()
    except ValidationError as wrong:
        faults = "\n".join(f"  {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in wrong.errors())
        raise StartupFault(f"The settings do not fit (CXG_* variables, cxg.toml):\n{faults}") from None


def out() -> Console:
    """Where results go: as wide as the terminal, or wide enough for whoever reads a file."""
    return Console(width=None if sys.stdout.isatty() else 200, markup=False, emoji=False)


class Progress:
    """Says what is going on, each step with the seconds since the start."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def __call__(self, message: str | Text) -> None:
        err.print(Text.assemble((f"{time.monotonic() - self.began:5.1f}s", "dim"), " ", message), soft_wrap=True)

    @contextmanager
    def step(self, message: str) -> Iterator[None]:
        """A step that may take a while: a spinner while it runs, a line when it is done."""
        with err.status(Text(message)):
            yield
        self(Text.assemble(message, " ", ("done", "green")))


@contextmanager
def located(settings: Settings, say: Progress) -> Iterator[System]:
    """A system with its databases found; an embedded server that was started for the block is stopped after it."""
    system = System(settings, say)
    system.locate()
    try:
        yield system
    finally:
        if system.server is not None and system.server.started:
            system.server.stop()


def run_and_close(system: System, work: Coroutine[Any, Any, Result]) -> Result:
    """Await work over the system's databases, and close its connections whatever comes of it."""

    async def bounded() -> Result:
        try:
            return await work
        finally:
            await system.close()

    return asyncio.run(bounded())


async def tenants_of(operations: Operations, slug: str | None = None, *, used: bool = False) -> list[TenantRef]:
    """The tenants whose rows there are, or the one called `slug`; `used`: those in use alone. StartupFault where rows belong to
    tenants whom nobody lists."""
    catalog = operations.shop.catalog
    bound = [scope.name for scope in catalog.scopes.values() if scope.tenant_bound]
    if catalog.identity is None:
        if bound or slug is not None:
            whose = f"rows of the scope {bound[0]!r} belong to tenants" if bound else f"there is no tenant {slug!r}"
            raise StartupFault(f"{whose}: the registry that lists them must be served beside (--registry registry)")
        return []
    async with UnitOfWork(operations, catalog.identity.scope, ENGINE) as unit:
        every = await (catalog.identity.tenants(unit) if used else catalog.identity.all_tenants(unit))
    found = [tenant for tenant in every if slug in (None, tenant.slug)]
    if slug is not None and not found:
        raise StartupFault(f"there is no tenant {slug!r}")
    return found
