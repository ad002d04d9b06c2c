"""A server that takes on new settings, registries and catalogues without dropping a request.

The application is one of a row of generations. A reload makes the next one beside the present one; when it is ready, requests
go there from one moment to the next, those on their way end where they began, and when the last has ended the old one's
connections are closed. A reload that fails leaves everything as it is, and the log says why.

What a reload makes anew is settings (`cxg.toml`), the list of registries and what is declared by packages that were not
loaded before, tables and catalogue. Code that is loaded stays: a module that is imported twice would leave classes of both
kinds behind. New code is served by new processes: `cxg reload` lets several workers follow one another behind their socket
when sources have changed, and one worker says in its log that it must be started again.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import asyncpg
from starlette.types import ASGIApp

from engine.observe import LOG
from engine.request import Receive, Scope, Send

CHANNEL = "cxg_reload"
# seconds: between attempts to listen again; how long the end of the process waits for requests of former generations
AGAIN, LAST = 2.0, 10.0
# seconds after which a thread that reads a file lets the requests go on; with Python's 0.005 each step of a request waits as long
SWITCH = 0.0005


class Served(Protocol):
    """A system, as far as a generation needs it."""

    def app(self) -> ASGIApp: ...

    async def start(self) -> None: ...

    async def retire(self) -> None: ...

    async def close(self) -> None: ...

    @property
    def heard_at(self) -> Sequence[str]:
        """URLs of the databases whose NOTIFY asks for a reload."""

    @property
    def roots(self) -> Sequence[ModuleType]:
        """The packages that are served."""


class Generation:
    """One system with its application, and how many requests are on their way in it."""

    def __init__(self, system: Served) -> None:
        self.system, self.app = system, system.app()
        self.busy = 0
        self.idle = asyncio.Event()

    def left(self) -> None:
        """A request is answered."""
        self.busy -= 1
        if not self.busy:
            self.idle.set()

    async def end(self) -> None:
        """Give up what goes on beside the requests, wait for the last one, and close the connections."""
        await self.system.retire()
        if self.busy:
            self.idle.clear()
            await self.idle.wait()
        await self.system.close()


class Reloading:
    """The ASGI application: requests go to the present generation. `fresh` makes the system of the next one."""

    def __init__(self, system: Served, fresh: Callable[[Any], Awaitable[Served]]) -> None:
        self.present, self.fresh = Generation(system), fresh
        self.ending: set[asyncio.Task[None]] = set()
        self.work: asyncio.Task[None] | None = None
        self.wanted = False
        self.ears: list[asyncio.Task[None]] = []
        self.began = newest_source(system.roots)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A request, or the life of the process."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        generation = self.present
        generation.busy += 1
        try:
            await generation.app(scope, receive, send)
        finally:
            generation.left()

    @property
    def state(self) -> Any:
        """What the present application says of itself: the wire reads its limits there."""
        return getattr(self.present.app, "state", None)

    async def _live(self, receive: Receive, send: Send) -> None:
        sys.setswitchinterval(SWITCH)
        await receive()
        try:
            await self.present.system.start()
            self._listen()
        except BaseException as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        with suppress(ValueError, RuntimeError, AttributeError):  # not in the main thread, or no such signal here
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.ask)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._end()
        await send({"type": "lifespan.shutdown.complete"})

    async def _end(self) -> None:
        for task in [*self.ears, *([self.work] if self.work else [])]:
            task.cancel()
        if self.ending:
            await asyncio.wait(self.ending, timeout=LAST)
        await self.present.system.close()

    def ask(self) -> None:
        """Reload soon. Whoever asks while one is on its way gets another after it."""
        self.wanted = True
        if self.work is None or self.work.done():
            self.work = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        while self.wanted:
            self.wanted = False
            await self.reload()

    async def reload(self) -> bool:
        """Make the next generation and let it take over; False, with a line in the log, when it cannot be made."""
        former = self.present
        try:
            system = await self.fresh(former.system)
            try:
                generation = Generation(system)
                await system.start()
            except BaseException:
                await system.close()
                raise
        except Exception as error:
            LOG.error("reload failed, what was served goes on", cause=str(error) or repr(error))
            return False
        self.present = generation
        LOG.info("reloaded", in_flight=former.busy)
        if newest_source(system.roots) > self.began:
            LOG.warning("sources have changed since this process began; it must be started again to run them")
        self._listen()
        task = asyncio.get_running_loop().create_task(self._retire(former))
        self.ending.add(task)
        task.add_done_callback(self.ending.discard)
        return True

    async def _retire(self, former: Generation) -> None:
        try:
            await former.end()
        except Exception as error:
            LOG.error("a former system could not be closed", cause=repr(error)[:500])
        del former
        # what start-ups put out of the collector's sight is looked through once, so that the old catalogue can go
        gc.unfreeze()
        gc.collect()
        gc.freeze()

    def _listen(self) -> None:
        for task in self.ears:
            task.cancel()
        loop = asyncio.get_running_loop()
        self.ears = [loop.create_task(hear(url, self.ask)) for url in self.present.system.heard_at]


async def hear(url: str, heard: Callable[[], None]) -> None:
    """Call `heard` for each `NOTIFY cxg_reload` in a database, until cancelled; a lost connection is opened again."""
    while True:
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            connection = await asyncpg.connect(url, timeout=5, ssl=False if "127.0.0.1" in url else None)
            gone = asyncio.Event()
            try:
                connection.add_termination_listener(lambda _connection, gone=gone: gone.set())
                await connection.add_listener(CHANNEL, lambda *_said: heard())
                await gone.wait()
            finally:
                connection.terminate()
        await asyncio.sleep(AGAIN)


def newest_source(roots: Iterable[ModuleType]) -> float:
    """When a source file of these packages was last written, in seconds since the epoch."""
    files = [Path(path) for root in roots for path in getattr(root, "__path__", [getattr(root, "__file__", "")])]
    found = [source for file in files for source in (file.rglob("*.py") if file.is_dir() else [file])]
    return max((source.stat().st_mtime for source in found if source.is_file()), default=0.0)
