"""The query of a list as a JSON body (the method QUERY of RFC 10008, or POST .../query): the words of the query string, read by
the same readers. Pure.

{"filter": {"status": "open", "total": {"gte": "10"}}, "sort": ["-total"], "page_size": 50,
 "where": {"or": [...]}, "expand": {"lines": {"fields": ["sku"], "limit": 5, "where": {...}, "expand": {"product": true}}}}
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from engine.catalog import Catalog, Resource
from engine.conditions import as_given
from engine.errors import Fault, invalid
from engine.parse import load_json, printable
from engine.query import BRACKETS, PARAMETERS, Reading
from engine.scalars import BadValue, walk_json
from engine.shapes import LIMITS, Limits, Listing
from engine.strangers import of_one_row, unknown

# objects that stand for words with brackets, such as filter[total][gt]
OBJECTS = tuple(dict.fromkeys(word for word, _ in BRACKETS if word not in PARAMETERS))
WORDS = (*PARAMETERS, *OBJECTS)
COMPARING = {"filter": Reading.filter, "having": Reading.having}
BRANCH = ("fields", "limit", "sort", "filter", "where", "expand")


def read_query(catalog: Catalog, resource: Resource, body: bytes, limits: Limits = LIMITS) -> Listing:
    """The listing of a body. Raises 400 for unknown words, 422 with every bad value."""
    given = load_json(body)
    if not isinstance(given, dict):
        raise invalid([Fault("", "invalid_format", "must be an object")])
    reading = Reading(catalog, resource, limits)
    Spoken(reading).take_all(given)
    if reading.faults:
        raise invalid(reading.faults)
    return reading.listing()


class Spoken:
    """Hands the members of a body to the readers of a query."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading

    def take_all(self, given: Mapping[str, Any]) -> None:
        """Read every member."""
        _known(given, WORDS, "")
        if self._tried("", walk_json, given):
            for name in sorted(given, key=WORDS.index):
                self._take(name, given[name])

    def _take(self, name: str, value: Any) -> None:
        if name in OBJECTS:
            for parts, asked in self._asked(name, value):
                self._tried(".".join((name, *parts)), self._one, name, parts, asked)
        elif name == "expand" and isinstance(value, dict):
            self._tree("", value)
        elif name == "where" and isinstance(value, dict):
            self._tried(name, self._where, value)
        else:
            self._tried(name, self._plain, name, value)

    def _plain(self, name: str, value: Any) -> None:
        PARAMETERS[name](self.reading, _text(value))

    def _where(self, value: Any) -> None:
        self.reading.nodes.append(self.reading.conditions.read_where(value))

    def _one(self, name: str, parts: tuple[str, str], asked: Any) -> None:
        """`{"total": {"gte": 10}}` as `name[total][gte]=10`; lists are taken as they are."""
        COMPARING[name](self.reading, *parts, as_given(asked))

    def _asked(self, path: str, value: Any) -> Iterator[tuple[tuple[str, str], Any]]:
        """((field, operator), value) of an object of filters."""
        if not isinstance(value, dict):
            self._fault(path, "must be an object of fields")
            return
        for field, asked in value.items():
            if asked == {}:
                self._fault(f"{path}.{field}", "must have an operator")
            for operator, one in asked.items() if isinstance(asked, dict) else (("eq", asked),):
                yield (field, operator), one

    # -- expand

    def _tree(self, above: str, tree: Any) -> None:
        """`{"lines": {"limit": 5, "expand": {"product": true}}}`."""
        for step, said in tree.items():
            path = f"{above}.{step}" if above else step
            if self._tried(_place(path), self._grow, path):
                self._branch(path, {} if said is True else said)

    def _grow(self, path: str) -> None:
        if "," in path:
            raise BadValue("unknown_field", "names one relation")
        self.reading.expansions.take(path)

    def _branch(self, path: str, said: Any) -> None:
        place, reading = _place(path), self.reading
        if not isinstance(said, dict):
            self._fault(place, f"must be true or an object of {', '.join(BRANCH)}")
            return
        _known(said, BRANCH, f"{place}.")
        branch = reading.expansions.at(path)
        if one_row := [word for word in ("limit", "sort") if word in said and not branch.many]:
            raise of_one_row(f"{place}.{one_row[0]}", path)
        below = reading.conditions.below(branch.resource)
        readers: dict[str, Callable[[Any], Any]] = {
            "fields": lambda value: reading.expansions.fields(path, _text(value)),
            "limit": lambda value: reading.expansions.limit(path, _text(value)),
            "sort": lambda value: reading.expand_sort(path, _text(value)),
            "where": lambda value: branch.filters.append(below.read_where(value)),
        }
        for name in (name for name in readers if name in said):
            self._tried(f"{place}.{name}", readers[name], said[name])
        for (field, operator), asked in self._asked(f"{place}.filter", said.get("filter", {})):
            where = f"{place}.filter.{field}.{operator}"
            self._tried(
                where, lambda f, o, a: branch.filters.append(below.read(f, o, as_given(a))), field, operator, asked
            )
        if isinstance(deeper := said.get("expand", {}), dict):
            self._tree(path, deeper)
        else:
            self._tried(f"{place}.expand", self._paths, path, deeper)

    def _paths(self, above: str, said: Any) -> None:
        for part in _text(said).split(","):
            self._grow(f"{above}.{part.strip()}")

    # -- faults

    def _tried(self, path: str, read: Callable[..., Any], *given: Any) -> bool:
        try:
            read(*given)
        except BadValue as bad:
            self.reading.faults.append(Fault(printable(path), bad.code, str(bad), bad.params))
            return False
        return True

    def _fault(self, path: str, message: str) -> None:
        self.reading.faults.append(Fault(printable(path), "invalid_format", message))


def _place(path: str) -> str:
    """Where the body says something of an expansion."""
    return f"expand.{path}"


def _known(given: Mapping[str, Any], words: tuple[str, ...], place: str) -> None:
    for name in given:
        if name not in words:
            raise unknown(printable(name), words, place)


def _text(value: Any) -> str:
    """A value as the query string has it; a list with commas between."""
    if isinstance(value, list) and value and not any(isinstance(item, list) for item in value):
        return ",".join(_text(item) for item in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, Decimal)):
        return str(value)
    raise BadValue("invalid_format", "must be a text, a number, or a list of at least one text")
