"""The shape of the house, read from the sources: floors, walls and budgets."""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Inside the engine imports point down only. Files of one floor do not know each other; a folder is one unit.
FLOORS = """
clock errors settings __init__
types
hooks filters scalars entity aggregates
paging strangers registration behaviours events jobs ordering relations preferences
formats natives packages shapes trail preconditions
fields constraints
catalog declared operands
chain checks_behaviour checks_jobs conditions described past
expansions row_rules grouping
addresses auth checks cursors encode grants load observe openapi parse query routes secrets sql store
setting_lookup attempts stored query_body questions
moment
budgets clashes delivery request records verify wire patches replacing
refusals roads
nesting
operations repetition streaming transfers
reflection
many
call exchange
handlers views
dispatch relay signin rollups rotation runner
batch meta tracking hands
worker clockwork
app assembly docs entrance places reloading session
main
install console scaffold library
commands
cli testing
__main__
""".strip().splitlines()
FLOOR = {unit: number for number, row in enumerate(FLOORS) for unit in row.split()}
DOOR = {
    "main",
    "assembly",
    "library",
    "cli",
    "commands",
    "console",
    "install",
    "docs",
    "testing",
}  # sees the engine and tenancy
DECLARING = {
    f"engine.{name}" for name in ("entity", "events", "hooks", "types", "errors", "jobs")
}  # all that a registry sees
ENGINE_FOR_TENANCY = {"engine.types", "engine.errors"}
PURE = ("parse", "query", "sql", "encode", "catalog", "filters", "scalars", "paging", "routes", "openapi")
ASYNCPG = {"addresses", "store", "places", "reflection", "reloading", *DOOR}
MAX_FILE, MAX_FUNCTION, MAX_ARGUMENTS = 400, 40, 5
VAGUE = {"utils", "helpers", "common", "base", "misc"}
FILES = [p for top in ("engine", "registry", "tenancy", "tests") for p in sorted((ROOT / top).rglob("*.py"))]
FILES = [path for path in FILES if "versions" not in path.parts]  # migrations are written by Alembic
every_file = pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])


@cache
def tree(path: Path) -> ast.Module:
    # a collection in the midst of it may run finalizers of other tests, over which CPython 3.11 stumbles (SystemError)
    gc.disable()
    try:
        return ast.parse(path.read_text())
    finally:
        gc.enable()


def unit(path: Path) -> str:
    """The engine's word for a file: its name, or its folder's."""
    return path.relative_to(ROOT / "engine").parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Modules that a file imports at run time, absolute: what only type checkers read does not count."""
    blocks = [n for n in ast.walk(tree(path)) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    unread = {inner for block in blocks for inner in ast.walk(block)}
    found: set[str] = set()
    for node in set(ast.walk(tree(path))) - unread:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: imports are absolute"
            packages = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= packages if node.module in ("engine", "tenancy", "registry") else {node.module}
    return found


def of(path: Path, *tops: str) -> set[str]:
    return {name for name in imports(path) if name.split(".")[0] in tops}


def budget(path: Path, line: int) -> bool:
    """Whether the line says why it goes over."""
    return "# budget: " in path.read_text().splitlines()[line - 1]


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def test_every_file_of_the_engine_has_its_floor() -> None:
    units = {unit(path) for path in FILES if path.is_relative_to(ROOT / "engine")}
    assert units ^ set(FLOOR) == set()


@every_file
def test_imports_point_down_and_stay_inside_the_walls(path: Path) -> None:
    top = path.relative_to(ROOT).parts[0]
    if top == "engine":
        own = unit(path)
        below = {name.split(".")[1] for name in of(path, "engine")} - {own}
        assert {other for other in below if FLOOR[other] >= FLOOR[own]} == set()
        assert of(path, "registry", "tests") == set()
        assert own in DOOR or of(path, "tenancy") == set()
        assert own in ASYNCPG or of(path, "asyncpg") == set()
        assert own not in PURE or not any(
            isinstance(n, (ast.Await, ast.AsyncFunctionDef)) for n in ast.walk(tree(path))
        )
    if top == "registry":
        assert of(path, "engine") <= DECLARING and of(path, "tenancy", "tests", "asyncpg") == set()
    if top == "tenancy":
        assert of(path, "engine") <= ENGINE_FOR_TENANCY and of(path, "registry", "tests") == set()


@every_file
def test_files_functions_and_arguments_stay_small(path: Path) -> None:
    assert path.stem not in VAGUE and not VAGUE & set(path.relative_to(ROOT).parts)
    assert len(path.read_text().splitlines()) <= MAX_FILE or budget(path, 1)
    for node in functions(path):
        given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        count = sum(argument.arg not in ("self", "cls") for argument in given)
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        assert (count <= MAX_ARGUMENTS and length <= MAX_FUNCTION) or budget(path, node.lineno), (
            f"{node.name} is too large"
        )


@every_file
def test_only_settings_and_the_command_read_the_environment(path: Path) -> None:
    known = {"engine/settings.py", "engine/console.py"}
    reads = {ast.unparse(n) for n in ast.walk(tree(path)) if isinstance(n, ast.Attribute)} & {"os.environ", "os.getenv"}
    assert not reads or str(path.relative_to(ROOT)) in known or path.is_relative_to(ROOT / "tests")
