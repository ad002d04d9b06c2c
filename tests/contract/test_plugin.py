"""`pytest --cxg-registry`: the contract of somebody's package, run by his own pytest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = '''
"""A stand, whose rule asks what metadata cannot say."""

from sqlalchemy.orm import Mapped

from engine import Change, Code, Entity, Model, Moment, Name, Point, Rules, Scope, change_log, refuse


class StandModel(Model, abstract=True): ...


class Parcel(StandModel, table="post.parcels"):
    """A parcel."""

    code: Mapped[Code]
    town: Mapped[Name]


scopes = [Scope("stand", StandModel.metadata, database="stand")]
parcels = Entity(Parcel, label="code", unique=["code"])
changes = change_log(StandModel)
rules = Rules("stand/post")


@rules.on("STAND-1", "parcels", Point.BEFORE_CREATE, raises="422:too_far")
async def no_farther_than_b(_moment: Moment, given: list[Change]) -> None:
    for change in given:
        if not str(change["town"]).startswith("B"):
            raise refuse(change, "town", "too_far", "begins with B")
'''
RECIPES = """
from engine.testing.rows import Recipe

RECIPES = {"stand/post/parcels": Recipe(values={"town": "Bern"})}
"""
BROKEN = '''

@rules.on("STAND-2", "parcels", Point.AFTER_UPDATE)
async def lose(moment: Moment, given: list[Change]) -> None:
    """A rule that writes once more, and so leaves the answer's version behind."""
    await moment.update("post.parcels", [{"id": change.key, "town": "Basel"} for change in given if not change.by_engine])
'''


@pytest.fixture
def stand(tmp_path: Path) -> Path:
    """A folder with the package `stand`, and a test of its own beside it."""
    (tmp_path / "stand").mkdir()
    (tmp_path / "stand" / "__init__.py").write_text(PACKAGE)
    (tmp_path / "stand" / "recipes.py").write_text(RECIPES)
    (tmp_path / "test_own.py").write_text("def test_own() -> None:\n    assert True\n")
    return tmp_path


def run(folder: Path, *arguments: str, autoload: bool = False) -> tuple[int, str]:
    """Exit code and output of a pytest in a folder."""
    path = os.pathsep.join([str(folder), str(ROOT), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "200"}
    ways = [] if autoload else ["--disable-plugin-autoload"]
    if not autoload:
        environment.pop("PYTEST_PLUGINS", None)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        "--rootdir",
        str(folder),
        *ways,
    ]
    done = subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_a_package_is_asked_beside_its_own_tests(stand: Path) -> None:
    code, told = run(stand, "-p", "engine.testing.plugin", "--cxg-registry", "stand", "-q", "-rs")
    assert code == 0, told
    assert "the contract, asked of 2 entities of stand" in told and "failed" not in told
    passed = int(told.rpartition(" passed")[0].split()[-1])
    assert passed > 15  # the test of its own among them


def test_a_rule_that_breaks_the_contract_is_named(stand: Path) -> None:
    with (stand / "stand" / "__init__.py").open("a") as file:
        file.write(BROKEN)
    code, told = run(stand, "-p", "engine.testing.plugin", "--cxg-registry", "stand", "-q", "-k", "cxg and parcels")
    assert code == 1, told
    assert "stand/post/parcels update" in told and "The contract:" in told
    assert "Traceback" not in told and "test_own" not in told


def test_it_is_there_by_autoload_and_by_name_at_once(stand: Path) -> None:
    installed = stand / "cxg_backend-0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: cxg-backend-probe\nVersion: 0\n")
    (installed / "entry_points.txt").write_text("[pytest11]\ncxg = engine.testing.announced\n")
    for ways in ([], ["-p", "engine.testing.plugin"]):
        code, told = run(stand, *ways, "--cxg-registry", "stand", "--collect-only", "-q", "test_own.py", autoload=True)
        assert code == 0 and "cxg::stand/post/parcels::audit_is_complete" in told, told


@pytest.mark.parametrize(
    ("arguments", "way_out"),
    [
        (["--cxg-registry", "stant"], "registry 'stant' cannot be imported"),
        (["--cxg-registry", "stand", "--cxg-beside", "nowhere"], "registry 'nowhere' cannot be imported"),
    ],
)
def test_a_package_that_is_not_there_is_a_usage_error(stand: Path, arguments: list[str], way_out: str) -> None:
    code, told = run(stand, "-p", "engine.testing.plugin", *arguments, "--collect-only")
    assert code == 4 and way_out in told and "INTERNALERROR" not in told


def test_recipes_are_for_tests_only(stand: Path) -> None:
    """A server does not load them."""
    (stand / "stand" / "recipes.py").write_text("from no_such_kit import Recipe\n")
    command = [sys.executable, "-m", "engine", "check", "--registry", "stand"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(command, cwd=stand, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "2 entities" in done.stdout) == (0, True), done.stderr


def test_without_the_tests_extra_it_says_how_to_have_it(stand: Path) -> None:
    # as it is where the engine was installed to serve: no HTTP client
    (stand / "httpx.py").write_text('raise ModuleNotFoundError("No module named \'httpx\'", name="httpx")')
    code, said = run(stand, "-p", "engine.testing.plugin", "--cxg-registry", "stand")
    assert code == pytest.ExitCode.USAGE_ERROR and "pip install 'cxg-backend[test]'" in said
    assert "httpx" in said and "INTERNALERROR" not in said
