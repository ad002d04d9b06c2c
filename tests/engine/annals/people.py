"""Who asks for the past of things, and how."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx

from engine.clock import CLOCK
from engine.testing.harness import Live
from engine.types import Principal, TenantRef
from tests.calls import Caller

THINGS, PARTS, GROUPS, QUOTES = (f"annals/ann/{name}" for name in ("things", "parts", "groups", "quotes"))
SELLER = UUID(int=7)
READS = frozenset(f"ann.{name}.read" for name in ("things", "parts", "groups", "quotes"))


@dataclass
class People:
    """Callers of one tenant that has no rows yet, and one of another."""

    live: Live
    tenant: TenantRef = field(default_factory=lambda: TenantRef(CLOCK.new_id(), "annals", timezone="Asia/Tokyo"))
    other: TenantRef = field(default_factory=lambda: TenantRef(CLOCK.new_id(), "other"))

    def __post_init__(self) -> None:
        # who writes as well, and is not asked
        self.deputy = Caller(self.live.lend(Principal(UUID(int=9), tenant=self.tenant, everything=True)))
        self.callers = {
            "chief": Caller(self.live.lend(Principal(UUID(int=1), tenant=self.tenant, everything=True))),
            "clerk": self.caller(2, *READS, "ann.things.manage"),
            "seller": self.caller(SELLER.int, *READS),
            "stranger": Caller(self.live.lend(Principal(UUID(int=3), tenant=self.other, everything=True))),
        }

    def caller(self, number: int, *permissions: str) -> Caller:
        """Who may do some things."""
        held = frozenset(permissions)
        return Caller(self.live.lend(Principal(UUID(int=number), tenant=self.tenant, permissions=held)))

    @property
    def chief(self) -> Caller:
        """Who may do everything."""
        return self.callers["chief"]


def at(moment: datetime) -> str:
    """The parameter."""
    return f"as_of={quote(moment.isoformat())}"


def told(client: httpx.Client, path: str, query: str = "") -> Any:
    """The answer, but for what two answers never share."""
    answer = client.get(f"/{path}?{query}")
    if not answer.headers["content-type"].startswith("application/json"):
        lines = answer.text.splitlines()
        return answer.status_code, [json.loads(line) for line in lines] if "ndjson" in query else lines
    body = answer.json()
    if body["error"]:
        return answer.status_code, body["error"]["code"]
    if "items" in body["data"]:
        body["data"].pop("next_cursor")
    # the rest of a tag is a digest of the body
    return answer.status_code, answer.headers.get("etag", "").partition("-")[0], body["data"]
