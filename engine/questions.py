"""Lists made ready: from a query text to the shape of a statement, its values, and what cursors are bound to. Pure.

Clients ask the same list again and again: the next page, another customer's rows. Texts that differ in nothing but the values of
flat filters, of `page` and of `cursor` share a `Frame`, made when the first of them was read; of the others only those values are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from engine.catalog import Catalog, Resource
from engine.conditions import leaves, without_values
from engine.cursors import binding_of, head_of
from engine.errors import ApiError
from engine.filters import OPERATORS
from engine.operands import Given
from engine.paging import read_cursor, read_page
from engine.query import DEFAULT, PARAMETERS, Reading, split_name, text_of
from engine.scalars import BadValue
from engine.shapes import NO_RULES, Condition, Expansion, Limits, Listing, ListShape, Node, RowRule, Statement, Through
from engine.sql.documents import ordered_by
from engine.sql.search import by_rank, search_values

# of a query text of at most so many bytes its frame is kept
KEPT_BYTES, MOST_KEPT = 512, 1024
# parts of a query text, as browsers and libraries write them, whose values a frame leaves open
OPEN = (b"filter[", b"filter%5B", b"page=", b"cursor=")
PLACES: dict[str, Callable[[str], Any]] = {"page": read_page, "cursor": read_cursor}


class Question(NamedTuple):
    """A list made ready: what it asks for, its shape and values, the keys of its order, what its cursors are bound to. `statements`
    that answer it, once they were asked for: by the rules of rows, and by what is null of the place that the page follows."""

    listing: Listing
    shape: ListShape
    values: Mapping[str, Any]
    names: Sequence[str]
    binding: str
    statements: dict[tuple[frozenset[RowRule], tuple[bool, ...]], tuple[ListShape, Statement]]


class Slot(NamedTuple):
    """A filter whose value is open: which condition it is, what makes it of a text, the parameters of its value."""

    node: int
    read: Callable[[Given], Node]
    names: tuple[str, ...]


class Frame(NamedTuple):
    """What lists have in common whose texts differ in open values alone. `parts`: in the order of the text, a slot, or the
    name of one of PLACES. `head`: what cursors are bound to beside the conditions."""

    question: Question
    parts: tuple[Slot | str, ...]
    head: str

    def filled(self, texts: Sequence[bytes]) -> Question | None:
        """The question with other values; None where one makes another shape of it (isnull of a related row). BadValue, ApiError
        or UnicodeDecodeError where one does not fit."""
        question, conditions, places = self.question, list(self.question.listing.conditions), {}
        values = dict(question.values)
        for part, raw in zip(self.parts, texts, strict=True):
            text = text_of(raw)
            if isinstance(part, str):
                places[part] = PLACES[part](text)
            else:
                node = part.read(text)
                if _match(node) != _match(conditions[part.node]):
                    return None
                conditions[part.node] = node
                values.update(zip(part.names, _values_of(leaf_of(node)), strict=True))
        listing = replace(question.listing, conditions=tuple(conditions), **places)
        if places:
            values |= page_values(listing)
        return Question(
            listing, question.shape, values, question.names, binding_of(self.head, listing), question.statements
        )


class Questions:
    """Reads the query texts of lists, and keeps the frames of the latest."""

    def __init__(self, catalog: Catalog, limits: Limits) -> None:
        self.catalog, self.limits = catalog, limits
        self.frames: dict[tuple[str, bytes], Frame] = {}

    def read(self, resource: Resource, raw: bytes) -> Question:
        """What a query text asks for. Raises 400 for unknown or repeated parameters, 422 with every bad value."""
        pattern, texts = opened(raw)
        frame = self.frames.get((resource.path, pattern))
        if frame is not None:
            try:
                if question := frame.filled(texts) if texts else frame.question:
                    return question
            except (BadValue, ApiError, UnicodeDecodeError):
                pass  # all faults are told together
        reading = Reading(self.catalog, resource, self.limits)
        reading.take_all(raw, PARAMETERS)
        question = question_of(resource, reading.listing() if raw else DEFAULT)
        if len(pattern) <= KEPT_BYTES:
            if len(self.frames) >= MOST_KEPT:
                self.frames.pop(next(iter(self.frames)))
            self.frames[resource.path, pattern] = frame_of(resource, question, reading, pattern)
        return question


def opened(raw: bytes) -> tuple[bytes, list[bytes]]:
    """A query text without its open values, and these."""
    parts, texts = raw.split(b"&"), []
    for place, part in enumerate(parts):
        if part.startswith(OPEN):
            name, _, text = part.partition(b"=")
            parts[place] = name + b"="
            texts.append(text)
    return b"&".join(parts), texts


def frame_of(resource: Resource, question: Question, reading: Reading, pattern: bytes) -> Frame:
    """The frame of a question that was just read."""
    nodes = question.listing.conditions
    # where the values of each condition begin among all of them
    starts = [0]
    for node in nodes:
        starts.append(starts[-1] + len(leaves(node)))
    parts: list[Slot | str] = []
    for part in pattern.split(b"&"):
        if part.startswith(OPEN):
            word, inner = split_name(text_of(part[:-1]))
            if inner:
                place, read = reading.readers[inner[0], inner[1] if len(inner) > 1 else "eq"]
                parts.append(Slot(place, read, _names("f", starts[place], leaf_of(nodes[place]))))
            else:
                parts.append(word)
    return Frame(question, tuple(parts), head_of(question.listing, resource.path))


def _match(node: Node) -> str:
    return node.match if isinstance(node, Through) else ""


def leaf_of(node: Node) -> Condition:
    """The one condition of a flat filter, behind the relations of its path."""
    return node if isinstance(node, Condition) else leaves(node)[0]


def question_of(resource: Resource, listing: Listing) -> Question:
    """All of a list that does not depend on who asks."""
    shape, names = list_shape(listing), [order.field for order in ordered_by(resource, listing.sort)]
    names = ["rank", *names] if by_rank(shape) else names
    values = page_values(listing) | asked_values(listing)
    return Question(listing, shape, values, names, binding_of(head_of(listing, resource.path), listing), {})


# -- shapes


def shape_of(expand: Sequence[Expansion]) -> tuple[Expansion, ...]:
    """Expansions without their values."""
    return tuple(
        part._replace(conditions=tuple(without_values(node) for node in part.conditions), parts=shape_of(part.parts))
        for part in expand
    )


def list_shape(listing: Listing, own: frozenset[RowRule] = NO_RULES) -> ListShape:
    """The list without its values."""
    conditions = tuple(without_values(node) for node in listing.conditions)
    searched, expand = len((listing.search or "").split()), shape_of(listing.expand)
    shape = ListShape(conditions, listing.sort, listing.fields, searched, listing.deleted, listing.count, expand, own)
    return shape._replace(past=listing.as_of is not None)


# -- values, by parameter name


def asked_values(listing: Listing) -> dict[str, Any]:
    """The values of all conditions, in the order in which statements number them, of the search, and the moment."""
    moment = {} if listing.as_of is None else {"as_of": listing.as_of}
    search = {} if listing.search is None else search_values(listing.search)
    return {**moment, **named_values("f", _all_leaves(listing.conditions, listing.expand)), **search}


def page_values(listing: Listing) -> dict[str, Any]:
    """Which page of a list."""
    size = listing.page_size
    return {"limit": size, "last": size, "offset": (listing.page - 1) * size}


def named_values(letter: str, conditions: Iterable[Condition]) -> dict[str, Any]:
    """The values of conditions: the letter, and their number."""
    values: dict[str, Any] = {}
    for index, condition in enumerate(conditions):
        values.update(zip(_names(letter, index, condition), _values_of(condition), strict=True))
    return values


def _names(letter: str, index: int, condition: Condition) -> tuple[str, ...]:
    name = f"{letter}{index}"
    return (f"{name}a", f"{name}b") if OPERATORS[condition.operator].takes == "two" else (name,)


def _values_of(condition: Condition) -> Sequence[Any]:
    return condition.value if OPERATORS[condition.operator].takes == "two" else (condition.value,)


def _all_leaves(nodes: Sequence[Node], expand: Sequence[Expansion]) -> Iterator[Condition]:
    for node in nodes:
        yield from leaves(node)
    for part in expand:
        yield from _all_leaves(part.conditions, part.parts)
