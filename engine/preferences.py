"""`Prefer` (RFC 7240): what a caller would like of a write. Pure.

A preference that is not known here is ignored, as the RFC says, unless `handling=strict` asks for 400. `Preference-Applied` names
what was followed. Whoever asked for a rehearsal must not get the real thing, so these are 400 too: a name that is nearly one of
ours (`dryrun`), a value that a known preference cannot have, and two that contradict each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from engine.errors import generic

# what stands between commas; a comma inside quotes does not count
PIECE = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"|")+')
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"').fullmatch
NUMBER = re.compile(r"[0-9]{1,9}").fullmatch


class Preferences(NamedTuple):
    """`dry_run`: everything but the commit. `returns`: whether the answer shows the row. `merge`: a stale version does no harm
    where the edits touch different fields. `each`: every item by itself. `max_affected`: rows that a set-based write may reach.
    `later`: an import or export goes on after its answer. `strict`: nothing unknown was to be ignored, and nothing was."""

    dry_run: bool = False
    returns: Literal["minimal", "representation"] | None = None
    merge: bool = False
    each: bool = False
    max_affected: int | None = None
    later: bool = False
    strict: bool = False


NONE = Preferences()
# preference -> value -> the field that it sets, and to what
KNOWN: dict[str, dict[str, tuple[str, Any]]] = {
    "dry-run": {"": ("dry_run", True)},
    "return": {"minimal": ("returns", "minimal"), "representation": ("returns", "representation")},
    "merge": {"disjoint": ("merge", True)},
    "each": {"": ("each", True)},
    "respond-async": {"": ("later", True)},
    "handling": {"strict": ("strict", True), "lenient": ("strict", False)},
    "max-affected": {},  # a number
}
LONGEST = 32


@lru_cache(maxsize=512)
def read_preferences(header: bytes) -> Preferences:
    """The preferences of a header (several are joined by commas). 400 for contradictory, misspelt and impossible ones."""
    found: dict[str, tuple[str, Any]] = {}
    strangers = []
    for name, value in _pieces(header.decode("latin-1")):
        if name not in KNOWN:
            strangers.append(name)
            continue
        field, meant = _meaning(name, value)
        if found.setdefault(field, (value, meant))[1] != meant:
            raise generic(
                "bad_request", f"Prefer asks for {name}={found[field][0]} and {name}={value}; one of them at most"
            )
    wishes = Preferences(**{field: meant for field, (_, meant) in found.items()})
    _refuse(strangers, strict=wishes.strict)
    return wishes


def _refuse(strangers: Iterable[str], *, strict: bool) -> None:
    """400 for a name that was meant to be one of ours, or that is unknown where nothing may be ignored."""
    for name in filter(None, strangers):
        close = get_close_matches(name[:LONGEST], KNOWN, n=1, cutoff=0.8)
        if close:
            raise generic("bad_request", f"Prefer: {name[:LONGEST]!r} is not known; perhaps you meant {close[0]!r}")
        if strict:
            raise generic("bad_request", f"Prefer: {name[:LONGEST]!r} is not known; there are {', '.join(KNOWN)}")


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """(name, value) of each preference; its parameters are left out, for none of ours has any."""
    for piece in PIECE.findall(text):
        name, _, value = piece.partition(";")[0].partition("=")
        quoted = QUOTED(value.strip())
        yield name.strip().lower(), re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else value.strip()


def _meaning(name: str, value: str) -> tuple[str, Any]:
    """The field and what it becomes. 400 for a value that the preference cannot have."""
    if name == "max-affected" and NUMBER(value):
        return "max_affected", int(value)
    choices = KNOWN[name]
    if value.lower() in choices:
        return choices[value.lower()]
    taken = "no value; leave the preference out where it is not meant" if "" in choices else " or ".join(choices)
    raise generic("bad_request", f"Prefer: {name} takes {taken or 'a number of rows'}; not {value[:LONGEST]!r}")
