"""`q=`: which rows hold every word in one of the searched fields, and which of them come first.

The rows are the same with and without pg_trgm. So is their order, but for rows whose words stand alike: there the extension
compares texts by their trigrams, and without it the shorter text comes first.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from engine.catalog import Resource
from engine.filters import escape_like
from engine.shapes import ListShape
from engine.sql.keyset import Term
from engine.sql.parts import Column, bind, constant

# a word begins after one of these, and where the text does
BETWEEN = string.punctuation + string.whitespace
EXACT, PREFIX, WORD, WITHIN, APART = range(5)
FURTHEST = 999


def search_values(text: str) -> dict[str, Any]:
    """The parameters of a search: the whole text, and of each word itself and its pattern."""
    values: dict[str, Any] = {"q": text}
    for place, word in enumerate(text.split()):
        values[f"q{place}"], values[f"w{place}"] = f"%{escape_like(word)}%", word
    return values


def matches(resource: Resource, source: Any, words: int) -> list[Column]:
    """Each of the words is found in one of the searched fields, any case."""
    return [sa.or_(*(_holds(source.c[name], place) for name in resource.entity.search)) for place in range(words)]


def by_rank(shape: ListShape) -> bool:
    """Whether the best rows come first: a search that is sorted otherwise is not ranked."""
    return bool(shape.search) and not shape.sort


def rank_of(resource: Resource, source: Any, words: int, *, similar: bool) -> Term:
    """How far a row is from what is searched, as one number, so that a cursor can hold it: how the whole text stands in a
    field, then how its words do, then how near the texts are to each other. `similar`: pg_trgm measures that."""
    fields = [source.c[name] for name in resource.entity.search]
    levels = [_level(fields, "q")]
    levels += [_level(fields, f"w{place}") for place in range(words)] if words > 1 else []
    stands = levels[0] * _number(100)
    for level in levels[1:]:
        stands = stands + level
    value = stands * _number(FURTHEST + 1) + (_unlike if similar else _length)(fields)
    return Term(value, sa.BigInteger(), descending=False, nulls_first=False, nullable=False)


def _holds(field: Any, place: int) -> Any:
    return field.ilike(bind(f"q{place}"), escape="\\")


def _level(fields: list[Any], name: str) -> Any:
    """How a text stands in that field in which it stands best."""
    return sa.func.least(*(_level_in(field, bind(name)) for field in fields))


def _level_in(field: Any, asked: Any) -> Any:
    held, text = sa.func.lower(field), sa.func.lower(asked)
    ways: list[tuple[Any, int]] = [
        (held == text, EXACT),
        (sa.func.starts_with(held, text), PREFIX),
        (sa.func.strpos(_spaced(held), _spaced(text)) > _number(0), WORD),
        (sa.func.strpos(held, text) > _number(0), WITHIN),
    ]
    return sa.case(*((found, _number(level)) for found, level in ways), else_=_number(APART))


def _spaced(text: Any) -> Any:
    """The text with a space before each word."""
    return constant(" ").op("||")(sa.func.translate(text, constant(BETWEEN), constant(" " * len(BETWEEN))))


def _length(fields: list[Any]) -> Any:
    """The length of the shortest field that holds the first word."""
    lengths = (sa.case((_holds(field, 0), sa.func.length(field)), else_=sa.null()) for field in fields)
    return sa.func.least(*lengths, _number(FURTHEST))


def _unlike(fields: list[Any]) -> Any:
    """0 for a field that is the text, up to FURTHEST."""
    alike: Callable[..., Any] = sa.func.similarity
    best = sa.func.greatest(*(alike(field, bind("q")) for field in fields), _number(0))
    return _number(FURTHEST) - sa.cast(best * _number(FURTHEST), sa.Integer)


def _number(value: int) -> Any:
    return sa.literal_column(str(value), sa.Integer())
