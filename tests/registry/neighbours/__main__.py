"""A server over the bundled registry and its neighbours, in a process of its own, in June 2026. The argument is its data
folder. It answers each line of JSON on its input with one, and ends with its input:

{}                                                     new books
{"slug", "id", "without": [permission ...]}            somebody in them, who may do everything but this
{"slug", "id", "entity", "key", "values"}               numbers of a row, written as rules of its domain would
"""

from __future__ import annotations

import json
import os
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from engine.clock import CLOCK
from engine.testing.harness import serving, settings_for_tests
from engine.types import TenantRef
from registry.tenants.fim_seed import seed_ledger
from tests.books import NOON, Books
from tests.calls import World
from tests.mutation.switch import VARIABLE, Switch, switch_off

REGISTRIES = ["registry", "tests.registry.neighbours"]


def answer(world: World, asked: dict[str, Any]) -> dict[str, str]:
    """New books, the bearer of somebody who works in them, or nothing after a write."""
    if not asked:
        tenant = world.tenant()
        books = Books(world.live, TenantRef(UUID(tenant["id"]), tenant["slug"]))
        books.work(lambda moment: seed_ledger(moment, "USD"))
        return {"url": world.live.url, "slug": tenant["slug"], "id": tenant["id"]}
    books = Books(world.live, TenantRef(UUID(asked["id"]), asked["slug"]))
    if "without" in asked:
        return {"authorization": books.clerk(*asked["without"]).client.headers["Authorization"]}
    row = {"id": UUID(asked["key"]), **{name: Decimal(value) for name, value in asked["values"].items()}}
    books.work(lambda moment: moment.update(asked["entity"], [row]))
    return {}


def main() -> None:
    """Serve until nobody asks any more."""
    if VARIABLE in os.environ:
        switch_off(Switch.read(os.environ[VARIABLE]))
    CLOCK.at(NOON)
    with serving(settings_for_tests(Path(sys.argv[1])), REGISTRIES) as live:
        world = World(live)
        for line in sys.stdin:
            print(json.dumps(answer(world, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
