"""Where registries come from: a name, an announcement, a folder; and where their migrations go."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import SecretStr

import tenancy
from engine.entity import Entity
from engine.errors import StartupFault
from engine.load import load_registries
from engine.main import System, load
from engine.packages import announced, find_package, home_of_migrations, packages_of
from engine.settings import Settings
from engine.testing.harness import settings_for_tests
from tenancy.embedded import start_embedded
from tests.engine import booth

# a plain table: SQLAlchemy keeps the classes of models by name, and each test imports the package anew
PACKAGE = """
from sqlalchemy import Column, MetaData, String, Table
from engine import Entity, Scope

metadata = MetaData()
scopes = [Scope("kiosk", metadata, database="kiosk")]
papers = Entity(Table("papers", metadata, Column("code", String(32), nullable=False), schema="press"), label="code")
"""


@pytest.fixture
def kiosk(tmp_path: Path) -> Iterator[Path]:
    """A folder with a package, which nobody has imported."""
    (tmp_path / "kiosk").mkdir()
    (tmp_path / "kiosk" / "__init__.py").write_text(PACKAGE)
    before = list(sys.path)
    yield tmp_path / "kiosk"
    sys.path[:] = before
    for name in [name for name in sys.modules if name.split(".")[0] == "kiosk"]:
        del sys.modules[name]


def test_a_folder_is_a_registry(kiosk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(kiosk.parent)
    assert find_package("./kiosk") is find_package(str(kiosk)) is find_package("kiosk")
    registry, catalog = load(["./kiosk"])
    assert list(catalog.resources) == ["kiosk/press/papers", "kiosk/log/changes"]
    assert {module.__name__ for module in registry.origin.values()} == {"kiosk"}


def test_an_installed_package_announces_its_registry(kiosk: Path) -> None:
    installed = kiosk.parent / "acme_press-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-press\nVersion: 1\n")
    (installed / "entry_points.txt").write_text("[cxg.registries]\npress = kiosk\n")
    sys.path.insert(0, str(kiosk.parent))
    importlib.invalidate_caches()
    assert announced()["press"].module == "kiosk"
    assert find_package("press").__name__ == "kiosk"
    with pytest.raises(StartupFault, match="perhaps 'press', which is installed"):
        find_package("pres")


def test_what_cannot_be_found_says_why(kiosk: Path, tmp_path: Path) -> None:
    with pytest.raises(StartupFault, match="is it installed, or in this folder"):
        find_package("no_such_registry")
    with pytest.raises(StartupFault, match=r"no __init__\.py"):
        find_package(f"{tmp_path}/")
    find_package(str(kiosk))
    (tmp_path / "other" / "kiosk").mkdir(parents=True)
    (tmp_path / "other" / "kiosk" / "__init__.py").write_text("")
    with pytest.raises(StartupFault, match=r"loaded from .* already; rename one"):
        find_package(str(tmp_path / "other" / "kiosk"))


def test_the_bundled_registry_beside_is_served_first() -> None:
    assert packages_of(Settings(registries=["shop"], identity="bundled")) == ["registry", "shop"]
    assert packages_of(Settings(registries=["shop", "registry"], identity="bundled")) == ["shop", "registry"]
    assert packages_of(Settings(registries=["shop"])) == ["shop"]


def test_revisions_lie_in_the_package(kiosk: Path) -> None:
    single = ModuleType("single")
    single.__file__ = "/x/single.py"
    assert home_of_migrations(find_package(str(kiosk))) == kiosk / "migrations"
    assert home_of_migrations(single) == Path("/x/single_migrations")
    system = System(Settings(registries=["registry", "tests.engine.booth"]))
    homes = {name: system.migration(scope).folder for name, scope in system.catalog.scopes.items()}
    assert homes["booth"] == Path(booth.__file__).parent / "migrations" / "booth" / "versions"
    assert homes["manager"] == Path(tenancy.__file__).parent / "migrations" / "manager" / "versions"


def test_a_package_makes_and_runs_its_migrations(kiosk: Path, tmp_path: Path) -> None:
    """Production: what is pending is refused, `migrate` runs it, and nothing is written beside the package."""
    settings = settings_for_tests(tmp_path / "data", registries=[str(kiosk)])
    running = start_embedded(settings.data / "postgres", durable=False)
    try:

        async def work() -> None:
            system = System(settings)
            system.locate()
            [made] = await system.make_migrations("first")
            assert made == kiosk / "migrations" / "kiosk" / "versions" / "0001_first.sql"
            assert await system.make_migrations("again") == []
            await system.close()
            keyed = {"environment": "production", "identity": "key"}
            system = System(settings.model_copy(update=keyed))
            system.locate()
            with pytest.raises(StartupFault, match="kiosk: migrations are pending"):
                await system.prepare_databases()
            assert await system.upgrade() == {"kiosk": ["0001_first"]}
            await system.prepare_databases()
            assert system.app() is not None
            await system.close()

        asyncio.run(work())
    finally:
        running.stop()


def test_what_a_package_adds_to_the_scope_of_another_has_no_place_in_its_migrations(tmp_path: Path) -> None:
    registry, catalog = load(["tests.engine.booth"])
    system = System(Settings(data=tmp_path), loaded=(registry, catalog))
    resource = catalog.resources["booth/sales/articles"]
    registry.origin[id(resource.entity)] = ModuleType("intruder")
    running = start_embedded(tmp_path / "postgres", durable=False)
    system.server = running
    try:
        with pytest.raises(StartupFault, match="intruder adds it to the scope"):
            asyncio.run(system.make_migrations("stolen"))
    finally:
        running.stop()


def test_a_database_has_its_own_url() -> None:
    given = {"booth": SecretStr("postgresql://there/booth")}
    system = System(Settings(registries=["tests.engine.booth"], database_urls=given))
    system.locate()
    assert system.server is None and system.places["booth"].owner == "postgresql://there/booth"
    assert "postgresql://there" not in repr(system.settings)
    strange = System(Settings(registries=["tests.engine.booth"], database_urls={"boot": SecretStr("x")}))
    with pytest.raises(StartupFault, match="no scope lives in 'boot'; there are booth"):
        strange.locate()


def test_defaults_of_settings_and_jobs_come_with_the_package() -> None:
    registry = load_registries(["tests.engine.booth"])
    assert registry.settings == {"booth.dearest": 1000}
    assert [handler.name for jobs in registry.jobs for handler in jobs.handlers] == ["count_articles"]
    assert [entity.key for entity in registry.entities if isinstance(entity, Entity)][-1] == "log.changes"
