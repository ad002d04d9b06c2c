"""What is switched off, and which tests ought to notice: those that name the rule, else those of its domain."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from engine.main import load
from engine.testing.contract import contract_cases
from tests.mutation.switch import Switch, handlers

TESTS = Path(__file__).parent.parent
# declared behaviour that the contract asks of each entity by itself
CONTRACT = {"G10": "money_is_rounded", "G17": "tree_has_no_circle"}
WORDS = re.compile(r"[A-Z]{3,4}-[A-Z]{1,2}[0-9]+").fullmatch


class Mutant(NamedTuple):
    """A switch, and pytest's arguments for the tests to run, likeliest first."""

    switch: Switch
    tests: tuple[tuple[str, ...], ...]


def mutants(only: str = "") -> Iterator[Mutant]:
    """Every rule and job of the bundled registry whose text form holds `only`."""
    registry, catalog = load(["registry"])
    switches = dict.fromkeys(
        Switch.of_rule(rule)
        for resource in catalog.resources.values()
        for rules in resource.hooks.values()
        for rule in rules
    )
    switches |= dict.fromkeys(Switch(scope, "job", handler.name) for scope, handler in handlers(registry))
    cases = {f"{path}-{check}" for path, check in contract_cases(catalog)}
    for switch in switches:
        if only in str(switch):
            yield Mutant(switch, tuple(_tests(switch, cases)))


def _tests(switch: Switch, cases: Collection[str]) -> Iterator[tuple[str, ...]]:
    word = switch.name if switch.id == "job" else switch.id
    named = naming(word) if WORDS(word) or switch.id == "job" else []
    if named:
        yield tuple(f"{path}::{test}" for path, test in named)
    if (case := f"{switch.place}-{CONTRACT.get(switch.id)}") in cases:
        yield (f"{TESTS}/contract/test_contract.py::test_contract[{case}]",)
    about = switch.name if switch.id == "job" else f"/{switch.place.split('/')[1]}/"
    files = files_of(about) + list({path for path, _ in named})
    if files:
        yield tuple(dict.fromkeys(files))


def files_of(word: str) -> list[str]:
    """Test files that speak of a word (`/bill/` in paths of HTTP, a job's name), or use a module of the tests that does."""
    found = [path for path, text in _sources().items() if word in text + _used(text)]
    own = [path for path in found if "/registry/" in path or "/stories/" in path]
    return sorted(own, key=lambda path: (f"test_{word.strip('/')}" not in path, path))


@cache
def _sources() -> dict[str, str]:
    return {str(path): path.read_text() for path in sorted(TESTS.rglob("test_*.py"))}


@cache
def _used(text: str) -> str:
    """The text of the modules of the tests that a test file imports."""
    names = set(re.findall(r"^from (tests(?:\.\w+)+) import", text, re.MULTILINE))
    paths = [TESTS.parent / (name.replace(".", "/") + ".py") for name in sorted(names)]
    return "".join(path.read_text() for path in paths if path.exists() and path.name != "calls.py")


def naming(word: str) -> Sequence[tuple[str, str]]:
    """(file, test) of the tests whose text, or the comment above them, names a rule."""
    found = []
    for path, text in _sources().items():
        if word not in text or "/mutation/" in path:
            continue
        lines = text.splitlines()
        for node in ast.parse(text).body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test"):
                first = min([node.lineno, *(mark.lineno for mark in node.decorator_list)])
                own = "\n".join(lines[max(first - 3, 0) : node.end_lineno])
                if re.search(rf"\b{re.escape(word)}\b", own):
                    found.append((path, node.name))
    return found


__all__ = ["Mutant", "files_of", "mutants", "naming"]
