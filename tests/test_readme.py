"""README says what the code does: its tables are the code's, its commands exist, its map names real files."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from engine import PUBLIC
from engine.aggregates import FUNCTIONS, PARTS
from engine.entity import Entity
from engine.errors import CODES
from engine.filters import OPERATORS
from engine.settings import Settings
from engine.testing.harness import Live

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def table(marker: str) -> list[tuple[str, ...]]:
    """Cells of the table after a marker comment."""
    lines = README.split(f"<!-- {marker} -->\n", 1)[1].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append(tuple(cell.strip().strip("`") for cell in line.strip("|").split("|")))
    return rows


def default_of(value: object) -> str:
    return "unset" if value is None else str(value)


EXPECTED = {
    "public": list(PUBLIC.items()),
    "operators": [(o.name, o.takes, o.meaning) for o in OPERATORS.values()],
    "functions": [(f.name, f.takes, f.gives, f.meaning) for f in FUNCTIONS.values()],
    "errors": [(code, str(row[1]), row[2]) for code, row in CODES.items()],
    "settings": [(name, default_of(f.default), str(f.description)) for name, f in Settings.model_fields.items()],
}


@pytest.mark.parametrize("marker", sorted(EXPECTED))
def test_a_table_is_the_code(marker: str) -> None:
    assert table(marker) == EXPECTED[marker]


def test_every_period_of_time_is_named() -> None:
    days = " ".join(name for name, part in PARTS.items() if set(part.results.values()) == {"date"})
    assert f"`{days}` (a date), `hour`" in README and set(PARTS) == {*days.split(), "hour"}


def test_the_map_names_real_places() -> None:
    chapter = README.split("## Map", 1)[1].split("\n## ", 1)[0]
    missing = []
    for place in re.findall(r"^\| `([^`]+)` \|", chapter, re.MULTILINE):
        first, *others = place.split()
        folder = first.split("/")[0]
        for name in [first, *(f"{folder}/{other}" for other in others)]:
            known = (ROOT / name, ROOT / f"{name}.py", ROOT / name.rstrip("/"))
            if not any(path.exists() for path in known):
                missing.append(name)
    assert missing == []


def asked_by_query() -> list[list[str]]:
    """The commands that ask by the method QUERY, taken apart."""
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line) for line in lines if "-X QUERY" in line]


def test_what_is_asked_by_query_is_answered(live: Live) -> None:
    commands = asked_by_query()
    assert commands
    for words in commands:
        path = next(word.removeprefix("$B") for word in words if word.startswith("$B"))
        body = json.loads(words[words.index("-d") + 1])
        answer = live.client(path.split("/")[1]).request("QUERY", path, json=body)
        assert answer.status_code == 200, answer.text
        assert all(set(body["expand"]) <= set(row) for row in answer.json()["data"]["items"])


def pinned(lock: str) -> set[str]:
    """Names of the packages that a lock file pins."""
    lines = (ROOT / lock).read_text().splitlines()
    return {re.split(r"[=\[]", line)[0].lower() for line in lines if re.match(r"[A-Za-z0-9]", line)}


@pytest.mark.parametrize(("lock", "extras"), [("requirements.lock", ()), ("requirements-dev.lock", ("test",))])
def test_the_locks_pin_what_is_needed(lock: str, extras: tuple[str, ...]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *(n for extra in extras for n in project["optional-dependencies"][extra])]
    names = {re.split(r"[\[<>=;! ]", need)[0].lower() for need in needed}
    assert len(names) > 20 and names - pinned(lock) == set()


def test_ci_runs_the_test_command() -> None:
    command = README.split("<!-- test command -->\n```bash\n", 1)[1].split("\n```", 1)[0]
    assert "pytest -n 2" in command and "requirements-dev.lock" in command
    assert "<!-- test command -->" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_has_hashes_and_no_host(name: str) -> None:
    text = (ROOT / name).read_text()
    pinned = re.findall(r"^[a-z0-9][^\s=]*==", text, re.MULTILINE)
    assert len(pinned) > 20 and text.count("--hash=sha256:") >= len(pinned)
    assert not re.search(r"https?://|index.url|file:", text)


def test_every_word_of_a_declaration_is_explained() -> None:
    words = [row[0].strip("`") for row in table("declarations")]
    assert sorted(words) == sorted(field.name for field in dataclasses.fields(Entity))
