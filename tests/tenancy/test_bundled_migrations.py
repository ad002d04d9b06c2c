"""The migrations that ship with the bundled registry lead to its models."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from pathlib import Path

import pytest

from engine.testing.harness import Live
from tenancy.migrate import NothingToWrite, make_migration


@pytest.mark.parametrize("name", ["manager", "tenants"])
def test_the_models_are_where_the_migrations_lead(live: Live, name: str, tmp_path: Path) -> None:
    scope = live.catalog.scopes[name]
    options = live.system.migration(scope)
    assert list(options.folder.glob("0001_*.sql"))
    copied = shutil.copytree(options.folder, tmp_path / "versions")
    server = live.system.server
    assert server is not None
    asyncio.run(server.ensure_database(f"drift_{name}"))
    url = server.url(f"drift_{name}", "cxg_owner")
    with pytest.raises(NothingToWrite):
        asyncio.run(make_migration(url, scope.metadata, dataclasses.replace(options, folder=copied), "drift"))
