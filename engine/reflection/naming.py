"""Names of other people's tables and columns, as routes and fields can say them. Pure.

A segment of a path is the name itself, percent-encoded where it has to be (and `.` as `%2E`, since permissions are parted by
dots). A field is the column's name; of a name with one of `. , : [ ]` or that begins with a sign, those become `_`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

# the one first part of a path in a scope that the engine has for itself
TRANSFERS = "_transfers"
ODD = re.compile(r"[.,:\[\]\x00-\x1f]|^[-+\s]|\s$")


def segment(name: str) -> str:
    """Part of a route, and of a permission."""
    return quote(name, safe="").replace(".", "%2E")


def shadow_of(schema: str, columns: int) -> str:
    """Why a table cannot be served, "" = it can."""
    if schema == TRANSFERS:
        return "its path is that of imports and exports that go on after their answer"
    return "" if columns else "it has no column"


def fields_of(names: Iterable[str]) -> dict[str, str]:
    """Column -> field; two that would be called alike get a number."""
    columns = list(names)
    taken = {name for name in columns if not ODD.search(name)}
    found = {}
    for column in columns:
        field = column
        if ODD.search(column):
            plain = ODD.sub("_", column)
            field = next(n for n in (plain, *(f"{plain}_{i}" for i in range(2, 10_000))) if n not in taken)
            taken.add(field)
        found[column] = field
    return found
