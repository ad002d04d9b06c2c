"""`Prefer` (RFC 7240): what a caller would like of a write. Pure.

What is not known here is ignored, as the RFC says, and `Preference-Applied` names what was followed; so a misspelt preference is
told by its absence there. Two that contradict each other are 400. So is a value given to `dry-run`: whoever asked for a rehearsal
must not get the real thing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
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
    `later`: an import or export goes on after its answer."""

    dry_run: bool = False
    returns: Literal["minimal", "representation"] | None = None
    merge: bool = False
    each: bool = False
    max_affected: int | None = None
    later: bool = False


NONE = Preferences()
# preference -> value -> the field that it sets, and to what
KNOWN: dict[str, dict[str, tuple[str, Any]]] = {
    "dry-run": {"": ("dry_run", True)},
    "return": {"minimal": ("returns", "minimal"), "representation": ("returns", "representation")},
    "merge": {"disjoint": ("merge", True)},
    "each": {"": ("each", True)},
    "respond-async": {"": ("later", True)},
}


@lru_cache(maxsize=512)
def read_preferences(header: bytes) -> Preferences:
    """The preferences of a header (several are joined by commas). 400 for contradictory ones."""
    found: dict[str, tuple[str, Any]] = {}
    for name, value in _pieces(header.decode("latin-1")):
        said = _meaning(name, value)
        if said is None:
            continue
        field, meant = said
        if found.setdefault(field, (value, meant))[1] != meant:
            raise generic(
                "bad_request", f"Prefer asks for {name}={found[field][0]} and {name}={value}; one of them at most"
            )
    return Preferences(**{field: meant for field, (_, meant) in found.items()})


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """(name, value) of each preference; its parameters are left out, for none of ours has any."""
    for piece in PIECE.findall(text):
        name, _, value = piece.partition(";")[0].partition("=")
        quoted = QUOTED(value.strip())
        yield name.strip().lower(), re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else value.strip()


def _meaning(name: str, value: str) -> tuple[str, Any] | None:
    """The field and what it becomes; None for what is not known."""
    if name == "max-affected":
        return ("max_affected", int(value)) if NUMBER(value) else None
    if name == "dry-run" and value:
        raise generic("bad_request", "Prefer: dry-run takes no value; leave the preference out for a real write")
    return KNOWN.get(name, {}).get(value.lower())
