"""Check constraints that say something about one column alone: bounds, choices and lengths, which readers then check and the
documents publish. What is not understood here the database still refuses (`check_failed`). Pure.

The texts are PostgreSQL's own: `((price >= (0)::numeric) AND (price <= (100)::numeric))`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

# a constant: a number, perhaps cast and in brackets
NUMBER = r"\(*'?(-?[0-9]+)(?:\.0*)?'?\)*(?:::[a-z0-9 ]+)?\)*"
# casts of the column that leave its value as it is: what others make of it, the condition says nothing of the column by
CAST = r"(?:\)?::(?:text|character varying))?\)*"
COMPARISON = r"\(*{name}\)?(?:::(?:{casts}))?\)*\s*(>=|<=|>|<|=)\s*"
EXACT, WHOLE = "numeric", "numeric|smallint|integer|bigint"
LENGTH = r"\(*(?:length|char_length|character_length)\(\(*{name}" + CAST + r"\)*\s*(<=|<)\s*"
CHOICES = r"\(*{name}" + CAST + r"\s*=\s*ANY\s*\(+ARRAY\[(.*)\]" + r"(?:\)?::[a-z ]+\[\])?\)*"
WORD = re.compile(r"\(*'((?:[^']|'')*)'(?:::[a-z ]+)?\)*(?:::[a-z ]+)?")


class Limits(NamedTuple):
    """What values of a column may be."""

    minimum: int | None = None
    maximum: int | None = None
    above: int | None = None
    below: int | None = None
    length: int | None = None
    choices: tuple[str, ...] | None = None

    def narrowed(self, other: Limits) -> Limits:
        """Both at once."""
        return Limits(
            _most(self.minimum, other.minimum),
            _least(self.maximum, other.maximum),
            _most(self.above, other.above),
            _least(self.below, other.below),
            _least(self.length, other.length),
            other.choices if self.choices is None else self.choices,
        )


def _most(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else max(one, other)


def _least(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else min(one, other)


def limits_of(expression: str, name: str, *, whole: bool = False) -> Limits:
    """What a condition says of the column called `name` (VALUE in a domain's). Only what holds whenever the condition does.
    `whole`: the column holds integers, which a cast to another kind of them does not change."""
    found = Limits()
    for part in _conjuncts(expression):
        found = found.narrowed(_limit(part, name, WHOLE if whole else EXACT))
    return found


def _limit(part: str, name: str, casts: str) -> Limits:
    column = f"(?:{re.escape(name)}|{re.escape(_quoted(name))})"
    if compared := re.fullmatch(COMPARISON.format(name=column, casts=casts) + NUMBER, part):
        sign, number = compared[1], int(compared[2])
        fits = {
            ">=": Limits(minimum=number),
            "<=": Limits(maximum=number),
            ">": Limits(above=number),
            "<": Limits(below=number),
        }
        return fits.get(sign, Limits(minimum=number, maximum=number))
    if length := re.fullmatch(LENGTH.format(name=column) + NUMBER, part):
        return Limits(length=int(length[2]) - (length[1] == "<"))
    if chosen := re.fullmatch(CHOICES.format(name=column), part):
        words = [WORD.fullmatch(word.strip()) for word in _split(chosen[1], ",")]
        if all(words):
            return Limits(choices=tuple(word[1].replace("''", "'") for word in words if word))
    return Limits()


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _conjuncts(expression: str) -> Iterator[str]:
    """The parts that all must hold."""
    text = _unwrapped(expression)
    parts = list(_split(text, " AND "))
    if len(parts) == 1:
        yield text
    else:
        for part in parts:
            yield from _conjuncts(part)


def _unwrapped(text: str) -> str:
    """Without brackets around the whole."""
    text = text.strip()
    while text.startswith("(") and _closing(text) == len(text) - 1:
        text = text[1:-1].strip()
    return text


def _closing(text: str) -> int:
    return next((place for place, _, depth in _walk(text) if depth == 0), -1)


def _walk(text: str) -> Iterator[tuple[int, str, int]]:
    """(place, character, depth of brackets after it), outside of quotes."""
    depth, within = 0, ""
    for place, character in enumerate(text):
        if within:
            within = "" if character == within else within
        elif character in "'\"":
            within = character
        else:
            depth += (character in "([") - (character in ")]")
            yield place, character, depth


def _split(text: str, separator: str) -> Iterator[str]:
    """The parts between separators that stand outside of brackets and quotes."""
    start = 0
    for place, _, depth in _walk(text):
        if depth == 0 and place >= start and text.startswith(separator, place):
            yield text[start:place]
            start = place + len(separator)
    yield text[start:]
