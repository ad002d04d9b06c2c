"""`cxg reload`, and what `cxg serve` does so that it can be found and its workers reload together."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from uvicorn.supervisors.multiprocess import Multiprocess

from engine.console import Data, configure
from engine.errors import StartupFault
from engine.reloading import newest_source

FOLDER = "serving"


def reload(*, data: Data = None) -> None:
    """Let the servers of a data folder take on new settings, registries and tables, without dropping a request. What came of it
    is in their logs. Sending SIGHUP to a server is the same; so is NOTIFY cxg_reload, where `reload_on_notify` is set."""
    told = running(configure(data=data).data)
    if not told:
        raise StartupFault("no server serves from this data folder")
    for process in told:
        os.kill(process, signal.SIGHUP)
        print(f"asked the server with the process id {process}")


@contextmanager
def findable(data: Path) -> Iterator[None]:
    """While the block runs, `cxg reload` finds this process: a locked file says that it lives."""
    folder = data / FOLDER
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / str(os.getpid())
    # until a handler is there, SIGHUP would end the process; workers inherit this
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.set_inheritable(file.fileno(), False)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def running(data: Path) -> list[int]:
    """The processes that serve from a data folder; files of dead ones go."""
    found = []
    for path in sorted((data / FOLDER).glob("[0-9]*")):
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                found.append(int(path.name))
            else:
                path.unlink(missing_ok=True)
    return found


class Workers(Multiprocess):
    """uvicorn's workers, who reload by themselves when asked to; where sources have changed, new ones follow one another."""

    def __init__(self, config: Any, sockets: Any, roots: list[Any]) -> None:
        self.roots, self.began = roots, newest_source(roots)
        super().__init__(config, sockets)

    def handle_hup(self) -> None:
        """Pass the signal on, or let new processes take over, each before its former one goes."""
        newest = newest_source(self.roots)
        if newest > self.began:
            former = list(self.processes)
            self.restart_all()
            # one that does not get ready keeps its former worker, and is tried again by the next reload
            self.began = newest if not any(worker in self.processes for worker in former) else self.began
            return
        for process in (worker.pid for worker in self.processes if worker.pid is not None):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGHUP)
