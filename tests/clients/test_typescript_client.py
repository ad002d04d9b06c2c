"""TypeScript: types by openapi-typescript, calls by openapi-fetch, on Node. The types refuse what the server would refuse."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from engine.testing.harness import PASSWORD, Live
from tests.clients.documents import document_of

SOURCES = Path(__file__).parent / "typescript"
MISSING = [name for name in ("node", "npm") if shutil.which(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"{' and '.join(MISSING)} not found; Node 20 or later has both"),
]


def run(folder: Path, *command: str) -> tuple[int, str, str]:
    """Exit code, output and complaints of a program."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def project(live: Live, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs with their packages, and the types of the whole live document."""
    folder = tmp_path_factory.mktemp("typescript")
    for source in SOURCES.iterdir():
        shutil.copy(source, folder)
    (folder / "openapi.json").write_text(json.dumps(document_of(live)))
    quiet = ("--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
    for command in (("npm", "install", *quiet), ("npx", "openapi-typescript", "openapi.json", "--output", "api.d.ts")):
        code, said, complained = run(folder, *command)
        assert code == 0, said + complained
    return folder


def test_a_day_of_work(live: Live, project: Path) -> None:
    code, said, complained = run(project, "npx", "tsc", "--project", ".")
    assert code == 0, said + complained
    code, said, complained = run(project, "node", "made/journey.js", live.url, PASSWORD)
    assert code == 0, said + complained
    seen: dict[str, Any] = json.loads(said)
    assert seen.pop("stale")["code"] == "version_conflict"
    faulty = seen.pop("faulty")
    assert (faulty["status"], faulty["code"]) == (422, "validation_error")
    faults = {field: (code, params) for field, code, params in faulty["details"]}
    assert faults["colour"][0] == "field_not_allowed"
    assert faults["amount"] == ("out_of_range", {"minimum": "0"})
    assert seen == {
        "created": [201, "31.5000", 1],
        "listed": [{"code": "TS-1", "amount": "31.5000"}],
        "total": 1,
        "changed": ["Renamed", 2],
        "moved": "active",
        "deleted": False,
        "made": ["TS-M0", "TS-M1", "TS-M2"],
        "each": [207, [[409, "duplicate"], [201, None]]],
        "pages": [["TS-M0", "TS-M1", "TS-M2"], ["TS-M3"]],
        "counted": 1,
        "imported": 1,
        "exported": 'code,name\r\n"TS-F1","Filed"\r\n',
        "shown": [["Ann of TypeScript", "Acme of TypeScript", []]],
        "asked": [{"name": "Acme of TypeScript"}],
    }


def test_wrong_calls_do_not_compile(project: Path) -> None:
    """Each marked line is refused, and no other."""
    (project / "wrong.json").write_text(json.dumps({"extends": "./tsconfig.json", "files": ["wrong.ts"]}))
    code, said, _ = run(project, "npx", "tsc", "--noEmit", "--project", "wrong.json")
    assert code != 0
    refused = {int(number) for number in re.findall(r"^wrong\.ts\((\d+),", said, re.MULTILINE)}
    lines = (SOURCES / "wrong.ts").read_text().splitlines()
    assert refused == {number for number, line in enumerate(lines, 1) if "// refused" in line}, said
