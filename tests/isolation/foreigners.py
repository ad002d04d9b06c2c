"""An orchard that is served to callers of an outside issuer alone, and who they are."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from engine.main import System
from engine.testing.harness import Live, served, settings_for_tests
from tenancy.embedded import start_embedded
from tests.calls import Body, Caller
from tests.isolation.test_canaries import SAID, SECRET
from tests.issuer import AUDIENCE, ISSUER, Issuer, issuing

ORDERS, BUYERS, CRATES, LOG = ("orchard/trade/" + name for name in ("orders", "buyers", "crates", "log"))
POLICY = Path(__file__).with_name("policy.toml")


@dataclass
class Orchard:
    """The server, its issuer, and callers by their roles."""

    live: Live
    issuer: Issuer
    policy: Path
    callers: dict[str, Caller] = field(default_factory=dict)

    def caller(self, *roles: str, sub: str | None = None, **claims: Any) -> Caller:
        """Somebody with a token of the issuer."""
        token = self.issuer.token(roles=list(roles), sub=sub or str(uuid4()), **claims)
        client = httpx.Client(base_url=self.live.url, headers={"Authorization": f"Bearer {token}"}, timeout=30)
        self.live.clients[token] = client
        return Caller(client)

    @property
    def chief(self) -> Caller:
        if "chief" not in self.callers:
            self.callers["chief"] = self.caller("chief")
        return self.callers["chief"]

    def order(self, **values: Any) -> Body:
        """An order with a canary in each field that sellers do not see."""
        secrets = {name: f"{SAID}{SECRET}{uuid4().hex}" for name in ("margin", "cost")}
        crates = [{"fruit": "apple", "price": f"{SAID}{SECRET}"}]
        return self.chief.make(
            ORDERS, **{"code": f"A{uuid4().hex[:20].upper()}", **secrets, "crates": crates, **values}
        )


@contextmanager
def growing(folder: Path) -> Iterator[Orchard]:
    """The server, with a policy file of its own."""
    policy = Path(shutil.copy(POLICY, folder / "policy.toml"))
    with issuing() as issuer:
        settings = settings_for_tests(
            folder,
            registries=["tests.isolation.orchard"],
            issuer=ISSUER,
            audience=AUDIENCE,
            jwks_url=issuer.url,
            policy=policy,
            jwks_pause=0.0,
        )
        server = start_embedded(folder / "postgres", durable=False)
        try:
            prepared, system = System(settings), System(settings)
            prepared.server = system.server = server
            prepared.locate()

            async def prepare() -> None:
                await prepared.prepare_databases()
                await prepared.close()

            asyncio.run(prepare())
            system.locate()
            with served(system) as live:
                yield Orchard(live, issuer, policy)
        finally:
            server.stop()


@dataclass
class Ann:
    """A seller with an order of her own, and what others have."""

    caller: Caller
    mine: Body
    theirs: Body
    id: str
