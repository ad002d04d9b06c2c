"""Which column of a table is which field: by the caller's own mapping, by the field's name, or by its name as people write it.
Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from engine.entity import Unique
from engine.errors import Fault, invalid
from engine.exchange.cells import MASK, Read, read_document, reader_of, taker_of
from engine.parse import BodyReader, hint, printable
from engine.scalars import BadValue

WORDS = re.compile(r"[\s_-]+")


class Target(NamedTuple):
    """Where a cell goes: the field, its scalar, how its text is read (None = as it is), how the value of a JSON member is (the
    same), whether an empty one is null, and whether it is read only to see that nothing is lost with it."""

    name: str
    kind: str
    read: Read | None
    take: Read | None = None
    empty_is_null: bool = False
    dropped: bool = False


class Header(NamedTuple):
    """The first row of a table: where its cells go by their place, how many a row has at least and at most, and the places
    without a title."""

    targets: list[tuple[int, Target]]
    fewest: int
    most: int
    untitled: tuple[int, ...]

    def misfit(self, cells: Sequence[Any]) -> Fault | None:
        """What is wrong with a row whose cells do not stand under the titles; nothing of it can be believed."""
        count = len(cells)
        if not self.fewest <= count <= self.most:
            many, titles = count > self.most, self.most if count > self.most else self.fewest
            way = (
                "a text that holds the delimiter stands in double quotes"
                if many
                else "an empty cell has its delimiter too"
            )
            text = f"has {count} cells under {titles} titles; {way}"
            return Fault("", "too_many_cells" if many else "too_few_cells", text, {"cells": count, "titles": titles})
        for place in self.untitled:
            if cells[place : place + 1] not in ([], [""]):
                text = f"cell {place + 1} holds a value, but its column has no title; give it one, or say map[]= to leave it out"
                return Fault("", "unknown_column", text, {"column": place + 1})
        return None


class Columns:
    """Finds the field of a title. A field that reads show and the engine sets is skipped, and so are related rows, so that what was
    exported can be imported; a title that nothing is known of is a fault."""

    def __init__(
        self, reader: BodyReader, given: Mapping[str, str], *, guarded: bool = False, key: Unique | None = None
    ) -> None:
        """`given`: field by title, "" = leave out. `guarded`: formulas were escaped. `key`: by which rows are known, which are
        updated then: an empty cell is null."""
        self.reader, self.given, self.guarded, self.key = reader, given, guarded, key
        self.known = {_plain(name): name for name in (*reader.fields, *reader.nested)}
        self.skipped: dict[str, None] = {}
        self.engines, self.related = ({_plain(name): name for name in names} for names in _only_shown(reader))

    def find(self, title: str) -> Target | Fault | None:
        """None = the column is skipped."""
        wanted = self.given.get(title, title)
        if not wanted:
            return None
        plain = _plain(wanted)
        if plain in self.known:
            return self._target(self.known[plain])
        if title not in self.given and plain in self.engines:
            self.skipped[self.engines[plain]] = None
            return None
        if title not in self.given and plain in self.related:
            name = self.related[plain]
            self.skipped[name] = None
            alone = partial(_rows_alone, printable(title))
            return Target(name, "jsonb", lambda text: alone(_document(text)), alone, dropped=True)
        return self._unknown(title, wanted)

    def _unknown(self, title: str, wanted: str) -> Fault:
        shown, near = printable(title), hint(wanted, self.known.values())
        if title in self.given:
            text = (
                f"{printable(wanted)!r} is no field that an import may give{near}; map[{shown}]= leaves the column out"
            )
        else:
            way = f"map[{shown}]=field says which field it is, map[{shown}]= leaves it out"
            text = f"is no field that an import may give{near}; {way}"
        return Fault(shown, "unknown_field", text)

    def _target(self, name: str) -> Target:
        field = self.reader.fields.get(name)
        if field is None:
            clean = self._cleaner(self.reader.nested[name], name)
            return Target(name, "jsonb", lambda text: clean(read_document(text)), clean)
        read, take = reader_of(field, guarded=self.guarded), taker_of(field)
        return Target(name, field.scalar.name, read, take, self.key is not None and field.nullable)

    def _cleaner(self, child: BodyReader, path: str) -> Read:
        """Takes what reads alone show out of child rows; what is no list of objects stays as it is, to be refused. BadValue for a
        mask."""
        engines, related = (frozenset(names) for names in _only_shown(child))
        below = {name: self._cleaner(reader, f"{path}.{name}") for name, reader in child.nested.items()}
        masked = frozenset(name for name, field in child.fields.items() if field.masked)

        def member(name: str, value: Any) -> bool:
            if value == MASK and name in masked:
                raise BadValue("invalid_format", f"{path}.{name} is the mask that hides a value, not the value")
            shown = name in engines or (name in related and (value is None or isinstance(value, (dict, list))))
            if shown:
                self.skipped[f"{path}.{name}"] = None
            return not shown

        def clean(rows: Any) -> Any:
            if not isinstance(rows, list):
                return rows
            return [
                {n: below[n](v) if n in below else v for n, v in row.items() if member(n, v)}
                if isinstance(row, dict)
                else row
                for row in rows
            ]

        return clean

    def header(self, titles: Sequence[str]) -> Header:
        """Where each column goes. 422 with every title that cannot be placed."""
        titles = [title.strip() for title in titles]
        found: list[tuple[int, Target]] = []
        faults = []
        for place, title in enumerate(titles):
            target = self.find(title)
            if isinstance(target, Fault):
                faults.append(target)
            elif target is not None:
                if target.name in {other.name for _, other in found}:
                    faults.append(Fault(printable(title), "repeated", f"is {target.name}, which another column gives"))
                found.append((place, target))
        missing = [printable(title) for title in self.given if title not in titles]
        faults += [
            Fault(f"map[{title}]", "unknown_field", "the table has no column of this title") for title in missing
        ]
        if all(target.dropped for _, target in found) and not faults:
            faults.append(
                Fault("", "required", "the first row must name the fields; it names none that an import may give")
            )
        faults += self._keyless({target.name for _, target in found})
        if faults:
            raise invalid(faults)
        fewest = max(place for place, title in enumerate(titles) if title or place == found[-1][0]) + 1
        untitled = () if "" in self.given else tuple(place for place, title in enumerate(titles) if not title)
        return Header(found, fewest, len(titles), untitled)

    def _keyless(self, given: Collection[str]) -> list[Fault]:
        """The columns of the key that no row would have, so that none would be known again."""
        if self.key is None or self.key.nulls_equal:
            return []
        fields = (self.reader.fields.get(name) for name in self.key.columns)
        text = "rows are known by it, and the table has no such column; add it, or map[Title]={} says which one it is"
        return [
            Fault(f.name, "required", text.format(f.name))
            for f in fields
            if f and f.default is None and f.name not in given
        ]


def _only_shown(reader: BodyReader) -> tuple[list[str], list[str]]:
    """What reads show and a body may not give: fields, and rows behind relations."""
    fields = [field.name for field in reader.resource.shown if field.name not in reader.fields]
    known = {*reader.fields, *reader.nested, *fields}
    return fields, [name for name in reader.resource.relations if name not in known]


def _rows_alone(title: str, value: Any) -> Any:
    """BadValue for what is not as exports show related rows: it would be lost."""
    if value is not None and not isinstance(value, (dict, list)):
        text = f"is a relation, whose rows an import leaves out, and this is none; map[{title}]=field says which field it is"
        raise BadValue("unknown_field", text)
    return value


def _document(text: str) -> Any:
    try:
        return read_document(text)
    except BadValue:
        return text


def _plain(title: str) -> str:
    """`Payment terms-days` -> `payment_terms_days`."""
    return WORDS.sub("_", title.strip()).lower()
