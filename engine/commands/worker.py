"""`cxg worker`: the process that runs jobs when they are due."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import Annotated

from cyclopts import App, Parameter

from engine import install
from engine.clock import random_token
from engine.console import Data, Progress, Registries, configure, located
from engine.main import System
from engine.observe import configure_logging
from engine.worker import Worker, entity_of_jobs
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
    a worker dies, another takes over. Watch and steer at /manager/auto/jobs and /manager/auto/job-runs.

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
        queue = entity_of_jobs(system.catalog, "job_runs").scope
        await system.prepare_databases()
        if system.catalog.identity is not None:
            await install.seed(system)
        hands = Worker(system.operations, Presence(system.places[queue.stored_in].runtime, name), slots=slots)
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sign, hands.stop)
        await system.start()
        say(f"[bold green]worker {name}[/] waits for runs of {len(hands.handlers)} jobs")
        await hands.work()
    finally:
        await system.close()
