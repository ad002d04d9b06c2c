"""Query string -> Listing. Pure. Unknown, repeated, misspelt or forbidden parameters are errors, never ignored."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec

from engine.catalog import Catalog, Resource
from engine.conditions import Conditions, field_of, read_names, read_orders
from engine.errors import Fault, generic, invalid
from engine.expansions import Expansions
from engine.grouping import UNGROUPED, Groupings
from engine.operands import Given
from engine.paging import read_cursor, read_page, read_page_size
from engine.past import WORD, read_moment, without_past
from engine.scalars import BadValue
from engine.shapes import LIMITS, Deleted, Limits, Listing, Node, Order
from engine.strangers import exclusive, not_taken, of_one_row, repeated, unknown

MAX_WHERE, MAX_WORDS = 16_384, 10
# names of parameters recur from request to request; of longer ones nobody keeps the parts
NAMES_KEPT, NAME_BYTES = 4096, 96
# a name with parts in brackets: filter[total][gt], expand[lines][limit], fields[lines]
BRACKETED = re.compile(r"([a-z]+)((?:\[[^\[\]]*\])+)")
PART = re.compile(r"\[([^\[\]]*)\]")


# results have to be known before they are sorted or compared, expansions before more is said of them
FIRST, LAST = ("aggregate", "group"), ("expand[", "fields[")
USUAL = 1


class Asked(NamedTuple):
    """One parameter of the query string."""

    name: str
    value: str


def split_query(raw: bytes) -> list[Asked]:
    """Decode `a=b&c=d`. `+` is a space; 422 for bytes that are not UTF-8 text."""
    pairs: list[Asked] = []
    for part in raw.split(b"&"):
        if part:
            name, _, value = part.partition(b"=")
            try:
                pairs.append(Asked(_name(name) if len(name) <= NAME_BYTES else text_of(name), text_of(value)))
            except UnicodeDecodeError:
                raise invalid([Fault("query", "invalid_format", "must be UTF-8 text, percent-encoded")]) from None
    return pairs


def text_of(raw: bytes) -> str:
    """A value as it is meant. UnicodeDecodeError for bytes that are not UTF-8, 422 for a NUL character."""
    text = (unquote_to_bytes(raw.replace(b"+", b" ")) if b"%" in raw or b"+" in raw else raw).decode()
    if "\x00" in text:
        raise invalid([Fault("query", "invalid_format", "must not contain the NUL character")])
    return text


_name = lru_cache(maxsize=NAMES_KEPT)(text_of)


def split_name(name: str) -> tuple[str, list[str]]:
    """`filter[total][gt]` -> its word and what stands in the brackets."""
    bracketed = BRACKETED.fullmatch(name)
    return (bracketed.group(1), PART.findall(bracketed.group(2))) if bracketed else (name, [])


_known_name = lru_cache(maxsize=NAMES_KEPT)(split_name)


def refuse(name: str, hint: str) -> Reader:
    """The reader of a parameter that others take."""

    def read(_reading: Reading, _text: str) -> None:
        raise not_taken(name, hint)

    return read


def single(pairs: list[Asked], known: tuple[str, ...]) -> dict[str, str]:
    """Parameters that may stand once each."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            raise unknown(name, known)
        if name in found:
            raise repeated(name)
        found[name] = value
    return found


def read_deleted(text: str) -> Deleted:
    """`exclude`, `include` or `only`."""
    if text not in ("exclude", "include", "only"):
        raise BadValue("invalid_choice", "must be exclude, include or only", choices=["exclude", "include", "only"])
    return text  # type: ignore[return-value]  # just compared with all its values


def read_count(text: str) -> Any:
    """`exact`, `estimated` or `none`."""
    if text not in ("exact", "estimated", "none"):
        raise BadValue("invalid_choice", "must be exact, estimated or none", choices=["exact", "estimated", "none"])
    return text


def read_search(text: str) -> str:
    """Search text, 1 to 200 characters, its words with one space between."""
    words = text.split()
    if not words or len(text.strip()) > 200:
        raise BadValue("out_of_range", "must have 1 to 200 characters", maximum=200)
    if len(words) > MAX_WORDS:
        raise BadValue("out_of_range", f"must have at most {MAX_WORDS} words", words=MAX_WORDS)
    return " ".join(words)


def read_fields(resource: Resource, text: str) -> tuple[str, ...]:
    """`a,b` -> the fields to show."""
    names = read_names(text)
    for name in names:
        if name not in resource.nested:
            field_of(resource, name)
    return names


def read_sort(conditions: Conditions, resource: Resource, text: str) -> tuple[Order, ...]:
    """`-created_at,customer.name:nullslast` -> sort keys. A path goes through to-one relations."""
    conditions = conditions.below(resource)

    def check(path: str) -> None:
        steps, target, last = conditions.walk(path)
        if not field_of(target, last).sortable or conditions.many(steps):
            raise BadValue("invalid_choice", f"{path[:64]!r} cannot be sorted by")

    return read_orders(text, check)


class Reading:
    """Collects the parameters of one query, faults included."""

    def __init__(self, catalog: Catalog, resource: Resource, limits: Limits = LIMITS) -> None:
        self.resource = resource
        self.conditions = Conditions(catalog, resource, limits=limits)
        self.expansions = Expansions(self.conditions)
        self.groupings = Groupings(self.conditions)
        self.found: dict[str, Any] = {}
        self.nodes: list[Node] = []
        # path and operator of a filter -> which node it is, and what made it of its text
        self.readers: dict[tuple[str, str], tuple[int, Callable[[Given], Node]]] = {}
        self.faults: list[Fault] = []
        self.seen: set[str] = set()

    def take_all(self, raw: bytes, known: Mapping[str, Reader]) -> None:
        """Read every parameter, each after those that it speaks of."""
        asked = split_query(raw)
        if any(_turn(one.name) != USUAL for one in asked):
            asked.sort(key=lambda one: _turn(one.name))
        for name, value in asked:
            self._take(name, value, known)
        if self.faults:
            raise invalid(self.faults)

    def _take(self, name: str, value: str, known: Mapping[str, Reader]) -> None:
        """Read one parameter. 400 for one that is unknown or repeated."""
        word, parts = (_known_name if len(name) <= NAME_BYTES else split_name)(name)
        if parts and not ((word, len(parts)) in BRACKETS and NEEDED[word] in known):
            raise unknown(name, known)
        if not parts and name not in known:
            if NEEDED.get(name) in known:
                raise not_taken(name, f"say {name}[field]=value, or {name}[field][operator]=value")
            raise unknown(name, (*known, *(("filter",) if "where" in known else ())))
        if name in self.seen:
            raise repeated(name)
        self.seen.add(name)
        try:
            if parts:
                BRACKETS[word, len(parts)](self, parts, value)
            else:
                known[word](self, value)
        except BadValue as bad:
            self.faults.append(Fault(name[:80], bad.code, str(bad), bad.params))

    def keep(self, name: str, value: Any) -> None:
        """Remember what a parameter says."""
        self.found[name] = value

    def filter(self, path: str, operator: str, value: Given) -> None:
        """One more condition."""
        read = self.conditions.reader(path, operator)
        node = read(value)
        self._once(f"{path} {operator}")
        self.readers[path, operator] = len(self.nodes), read
        self.nodes.append(node)

    def having(self, name: str, operator: str, value: Given) -> None:
        """One more condition on a result."""
        self.groupings.compare(name, operator, value)
        self._once(f"having {name} {operator}")

    def _once(self, what: str) -> None:
        if what in self.seen:
            raise BadValue("repeated", "is given twice; `in` takes several values")
        self.seen.add(what)

    def sort(self, text: str) -> None:
        """The sort keys: fields, or results where there are groups."""
        grouped = self.groupings.asked
        self.keep("sort", self.groupings.order(text) if grouped else read_sort(self.conditions, self.resource, text))

    def expand_many(self, path: str, word: str, value: str) -> None:
        """`expand[path][limit]` or `[sort]`. 400 where it leads to one row."""
        if not self.expansions.at(path).many:
            raise of_one_row(f"expand[{path}][{word}]", path)
        EXPANDING[word](self, path, value)

    def expand_sort(self, path: str, value: str) -> None:
        """`expand[path][sort]`."""
        branch = self.expansions.at(path)
        branch.sort = read_sort(self.conditions, branch.resource, value)

    def where(self, text: str) -> None:
        """Nested conditions as JSON text."""
        if len(text) > MAX_WHERE:
            raise BadValue("too_long", f"must have at most {MAX_WHERE} characters", maximum=MAX_WHERE)
        try:
            given = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            raise BadValue("invalid_format", "must be JSON") from None
        self.nodes.append(self.conditions.read_where(given))

    def listing(self) -> Listing:
        """What was asked for."""
        if {"cursor", "page"} <= self.found.keys():
            raise exclusive("cursor", "page")
        if "cursor" in self.found:
            # who walks on has counted already
            self.found.setdefault("count", "none")
        grouping, expand = self.groupings.read(), self.expansions.read()
        for name, hint in UNGROUPED.items() if grouping else ():
            if name in self.found or (name == "expand" and expand):
                raise exclusive(name, "aggregate", hint)
        used, reveals = tuple(self.conditions.used), tuple(self.groupings.reveals)
        if WORD in self.found and (lost := without_past(self.conditions.catalog, used)):
            raise invalid(lost)
        self.found |= {"grouping": grouping, "conditions": tuple(self.nodes), "expand": expand}
        return Listing(**self.found, used=used, reveals=reveals)


def _turn(name: str) -> int:
    return 0 if name in FIRST else 2 if name.startswith(LAST) else USUAL


def _kept(resource: Resource, text: str) -> Deleted:
    if not resource.soft:
        raise BadValue("unknown_parameter", "rows of this entity are really deleted, so there are none to show")
    return read_deleted(text)


def _searchable(resource: Resource, text: str) -> str:
    if not resource.entity.search:
        raise BadValue("unknown_parameter", "no field of this entity is searched")
    return read_search(text)


Reader = Callable[[Reading, str], None]
PAGING: dict[str, Reader] = {
    "page": lambda reading, text: reading.keep("page", read_page(text)),
    "page_size": lambda reading, text: reading.keep("page_size", read_page_size(text)),
    "cursor": lambda reading, text: reading.keep("cursor", read_cursor(text)),
}
VIEWING: dict[str, Reader] = {
    "fields": lambda reading, text: reading.keep("fields", read_fields(reading.resource, text)),
    "deleted": lambda reading, text: reading.keep("deleted", _kept(reading.resource, text)),
    "expand": lambda reading, text: reading.expansions.take(text),
    WORD: lambda reading, text: reading.keep(WORD, read_moment(reading.conditions.catalog, reading.resource, text)),
}
GROUPING: dict[str, Reader] = {
    "aggregate": lambda reading, text: reading.groupings.aggregate(text),
    "group": lambda reading, text: reading.groupings.group(text),
    "facets": lambda reading, text: reading.keep("facets", reading.groupings.facets(text)),
}
PARAMETERS: dict[str, Reader] = {
    **GROUPING,
    **PAGING,
    "count": lambda reading, text: reading.keep("count", read_count(text)),
    "sort": lambda reading, text: reading.sort(text),
    "q": lambda reading, text: reading.keep("search", _searchable(reading.resource, text)),
    "where": lambda reading, text: reading.where(text),
    **VIEWING,
}
SELECTING: dict[str, Reader] = {
    **{name: PARAMETERS[name] for name in ("q", "where")},
    "deleted": refuse("deleted", "deleted rows are not written"),
}
# a word with brackets is known where this parameter is
NEEDED = {"filter": "where", "fields": "expand", "expand": "expand", "having": "aggregate"}
# (word, number of bracketed parts) -> how they are read
BRACKETS: dict[tuple[str, int], Callable[[Reading, list[str], str], None]] = {
    ("filter", 1): lambda reading, parts, text: reading.filter(parts[0], "eq", text),
    ("filter", 2): lambda reading, parts, text: reading.filter(parts[0], parts[1], text),
    ("having", 1): lambda reading, parts, text: reading.having(parts[0], "eq", text),
    ("having", 2): lambda reading, parts, text: reading.having(parts[0], parts[1], text),
    ("fields", 1): lambda reading, parts, text: reading.expansions.fields(parts[0], text),
    ("expand", 2): lambda reading, parts, text: reading.expand_many(parts[0], _word(parts), text),
    ("expand", 3): lambda reading, parts, text: _expand_filter(reading, parts, "eq", text),
    ("expand", 4): lambda reading, parts, text: _expand_filter(reading, parts, parts[3], text),
}
EXPANDING: dict[str, Callable[[Reading, str, str], None]] = {
    "limit": lambda reading, path, text: reading.expansions.limit(path, text),
    "sort": lambda reading, path, text: reading.expand_sort(path, text),
}


def _word(parts: list[str]) -> str:
    if parts[1] not in EXPANDING:
        raise BadValue("invalid_choice", f"after expand[{parts[0][:64]}] comes [limit], [sort] or [filter][field]")
    return parts[1]


def _expand_filter(reading: Reading, parts: list[str], operator: str, text: str) -> None:
    if parts[1] != "filter":
        raise BadValue("invalid_choice", f"after expand[{parts[0][:64]}] comes [limit], [sort] or [filter][field]")
    reading.expansions.filter(parts[0], (parts[2], operator, text))


DEFAULT = Listing()


def read_listing(catalog: Catalog, resource: Resource, raw: bytes, limits: Limits = LIMITS) -> Listing:
    """The query of a list. Raises 400 for unknown or repeated parameters, 422 with every bad value."""
    if not raw:
        return DEFAULT
    reading = Reading(catalog, resource, limits)
    reading.take_all(raw, PARAMETERS)
    return reading.listing()


def read_paging(catalog: Catalog, resource: Resource, raw: bytes) -> Listing:
    """`page` and `page_size` alone, as a history takes them."""
    if not raw:
        return DEFAULT
    reading = Reading(catalog, resource)
    reading.take_all(raw, PAGING)
    return reading.listing()


def read_view(catalog: Catalog, resource: Resource, raw: bytes, limits: Limits = LIMITS) -> Listing:
    """`fields`, `deleted`, `expand` and `as_of` of a get."""
    if not raw:
        return DEFAULT
    reading = Reading(catalog, resource, limits)
    reading.take_all(raw, VIEWING)
    return reading.listing()


def read_selection(catalog: Catalog, resource: Resource, raw: bytes, limits: Limits = LIMITS) -> Listing:
    """Which rows a set-based write means: `filter`, `where` and `q`, as a list takes them. 400 without a condition."""
    reading = Reading(catalog, resource, limits)
    reading.take_all(raw, SELECTING)
    listing = reading.listing()
    if not listing.conditions and listing.search is None:
        raise generic("filter_required")
    return listing
