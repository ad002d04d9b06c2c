"""`cxg worker`: the process that runs jobs when they are due."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.text import Text

from engine import install
from engine.clock import random_token
from engine.clockwork import Clockwork
from engine.console import Data, Progress, Registries, configure, located
from engine.errors import StartupFault
from engine.hands import Hands
from engine.main import System
from engine.observe import configure_logging
from engine.operations import Operations
from engine.worker import Worker, queue_of
from tenancy.presence import Presence

worker_app = App(name="worker", help="Run jobs when they are due.")


@worker_app.default
def worker(
    *,
    slots: Annotated[int, Parameter(help="Runs at the same time.")] = 4,
    registry: Registries = None,
    data: Data = None,
) -> None:
    """Run jobs when they are due, until SIGTERM or Ctrl-C: what runs then is finished first, a second signal ends it.

    Start as many as you like, on as many hosts: a run is done by one of them, and one leads and queues what is due. When
    a worker dies, another takes over. Watch and steer at /manager/auto/jobs and /manager/auto/job-runs; of a package without
    such entities the handlers run at the times of their cadence, and this command's log tells what became of them.

    Examples
    --------
    cxg worker                 beside a running `cxg serve`
    cxg worker --slots 8       more runs at the same time
    """
    say = Progress()
    with located(configure(registries=registry, data=data), say) as system:
        configure_logging(system.settings.log_format)
        asyncio.run(_work(system, say, slots))
        say("stopped")


async def _work(system: System, say: Progress, slots: int) -> None:
    name = f"{socket.gethostname()[:40]}-{os.getpid()}-{random_token(6)}"
    try:
        take, scope = _kind_of_worker(system)
        await system.prepare_databases()
        if system.catalog.identity is not None:
            await install.seed(system)
        place = system.places[system.catalog.scopes[scope].stored_in]
        hands = take(system.operations, Presence(place.runtime, name), slots)
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sign, hands.stop)
        await system.start()
        say(Text.assemble((f"worker {name}", "bold green"), f" waits for runs of {len(hands.handlers)} jobs"))
        await hands.work()
    finally:
        await system.close()


def _kind_of_worker(system: System) -> tuple[Callable[[Operations, Presence, int], Hands[Any]], str]:
    """What makes the worker, and the scope in whose database workers know of each other."""
    queue = queue_of(system.catalog)
    if queue is not None:
        return partial(Worker, queue=queue), queue[1].scope.name
    scopes = sorted(handler.scope for handler in system.operations.shop.handlers.values())
    if not scopes:
        raise StartupFault(
            "nothing runs by the clock here: no registry that is served declares a job (see engine.Jobs)"
        )
    return Clockwork, scopes[0]
