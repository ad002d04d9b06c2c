"""Which column of a table each column of a view is, read from PostgreSQL's own text of the view's query. Pure.

PostgreSQL keeps with each column of a query the column of the table or view right under it that it shows, whatever it is called
there; of an expression none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

# what is not escaped in the text of a query and opens or closes a node
BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
# of the query itself, not of those inside it: entries of its list stand two braces deep
ENTRY = re.compile(r":resno (\d+) :resname (?:\\.|[^\\\s])+ :ressortgroupref \d+ :resorigtbl (\d+) :resorigcol (\d+)")
QUERY_DEPTH = 2


class Origin(NamedTuple):
    """A column of a view, and the column of a table or view right under it that it shows."""

    view: int
    number: int
    table: int
    column: int


def origins_of(view: int, action: str) -> Iterator[Origin]:
    """The columns of a view that are columns of what is right under it, by PostgreSQL's text of its query."""
    for number, table, column in ENTRY.findall("".join(_outermost(action))):
        if table != "0":
            yield Origin(view, int(number), int(table), int(column))


def _outermost(action: str) -> Iterator[str]:
    depth = start = 0
    for brace in BRACE.finditer(action):
        if brace[0] not in "{}":
            continue
        if depth == QUERY_DEPTH:
            yield action[start : brace.start()]
        depth += 1 if brace[0] == "{" else -1
        start = brace.end()
