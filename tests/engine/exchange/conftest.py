"""A server with goods of every column type, and two tenants who trade files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from engine.clock import CLOCK
from engine.formats import FORMATS
from engine.testing.harness import Live, serving, settings_for_tests
from engine.types import Principal, TenantRef

WARES = "/stall/stall/wares"


class Trader:
    """A tenant's caller who sends and fetches files."""

    def __init__(self, live: Live, tenant: TenantRef, **principal: Any) -> None:
        self.live, self.tenant = live, tenant
        self.principal = Principal(CLOCK.new_id(), tenant=tenant, **(principal or {"everything": True}))
        self.client = live.lend(self.principal)

    def but(self, **principal: Any) -> Trader:
        """The same tenant, with other permissions."""
        return Trader(self.live, self.tenant, **principal)

    def rows(self, path: str = WARES, query: str = "") -> list[dict[str, Any]]:
        """Up to 100 rows."""
        rows: list[dict[str, Any]] = self.client.get(f"{path}?page_size=100&{query}").json()["data"]["items"]
        return rows

    def make(self, *rows: dict[str, Any], path: str = WARES) -> list[dict[str, Any]]:
        """New rows."""
        answer = self.client.post(path, json=list(rows))
        assert answer.status_code == 201, answer.text
        made: list[dict[str, Any]] = answer.json()["data"]
        return made

    def export(self, form: str, query: str = "", path: str = WARES) -> httpx.Response:
        """A file."""
        return self.client.get(f"{path}/export?format={form}&{query}")

    def bring(
        self, content: bytes | str, form: str = "csv", query: str = "", *, prefer: str = "", path: str = WARES
    ) -> httpx.Response:
        """Send a file."""
        headers = {"Content-Type": FORMATS[form].media[0], **({"Prefer": prefer} if prefer else {})}
        return self.client.post(f"{path}/import?{query}", content=content, headers=headers)

    def report(self, content: bytes | str, form: str = "csv", query: str = "", *, prefer: str = "") -> dict[str, Any]:
        """The report of a file that is taken."""
        answer = self.bring(content, form, query, prefer=prefer)
        assert answer.status_code == 200, answer.text
        report: dict[str, Any] = answer.json()["data"]
        return report


@pytest.fixture(scope="package")
def stall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The server."""
    with serving(
        settings_for_tests(tmp_path_factory.mktemp("stall")), ["registry", "tests.engine.exchange.stall"]
    ) as live:
        yield live


def trader(live: Live) -> Trader:
    """A caller of a tenant of his own, without any rows."""
    return Trader(live, TenantRef(CLOCK.new_id(), "trader"))


@pytest.fixture
def here(stall: Live) -> Trader:
    """Who has rows."""
    return trader(stall)


@pytest.fixture
def there(stall: Live) -> Trader:
    """Who gets them."""
    return trader(stall)


__all__ = ["Trader", "replace", "trader"]
