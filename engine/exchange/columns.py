"""Which column of a table is which field: by the caller's own mapping, by the field's name, or by its name as people write it.
Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from engine.errors import Fault, invalid
from engine.exchange.cells import Read, read_document, reader_of, taker_of
from engine.parse import BodyReader, hint, printable

WORDS = re.compile(r"[\s_-]+")


class Target(NamedTuple):
    """Where a cell goes: the field, its scalar, how its text is read (None = as it is), how the value of a JSON member is (the
    same), and whether an empty one is null."""

    name: str
    kind: str
    read: Read | None
    take: Read | None = None
    empty_is_null: bool = False


class Columns:
    """Finds the field of a title. A field that reads show and the engine sets is skipped, so that what was exported can be
    imported; a title that nothing is known of is a fault."""

    def __init__(
        self, reader: BodyReader, given: Mapping[str, str], *, guarded: bool = False, clears: bool = False
    ) -> None:
        """`given`: field by title, "" = leave out. `guarded`: formulas were escaped. `clears`: an empty cell is null."""
        self.reader, self.given, self.guarded, self.clears = reader, given, guarded, clears
        self.known = {_plain(name): name for name in (*reader.fields, *reader.nested)}
        self.skipped: dict[str, None] = {}
        self.engines = {_plain(f.name): f.name for f in reader.resource.shown if f.name not in reader.fields}

    def find(self, title: str) -> Target | Fault | None:
        """None = the column is skipped."""
        wanted = self.given.get(title, title)
        if not wanted:
            return None
        name = self.known.get(_plain(wanted))
        if name is not None:
            return self._target(name)
        if title not in self.given and _plain(wanted) in self.engines:
            self.skipped[self.engines[_plain(wanted)]] = None
            return None
        shown = printable(title)
        way = f"map[{shown}]=field says which field it is, map[{shown}]= leaves it out"
        return Fault(
            shown, "unknown_field", f"is no field that an import may give{hint(wanted, self.known.values())}; {way}"
        )

    def _target(self, name: str) -> Target:
        field = self.reader.fields.get(name)
        if field is None:
            return Target(name, "jsonb", read_document)
        read, take = reader_of(field, guarded=self.guarded), taker_of(field)
        return Target(name, field.scalar.name, read, take, self.clears and field.nullable)

    def header(self, titles: Sequence[str]) -> list[tuple[int, Target]]:
        """(place, target) of each column. 422 with every title that cannot be placed."""
        found: list[tuple[int, Target]] = []
        faults = []
        for place, title in enumerate(titles):
            target = self.find(title.strip())
            if isinstance(target, Fault):
                faults.append(target)
            elif target is not None:
                if target.name in {other.name for _, other in found}:
                    faults.append(Fault(printable(title), "repeated", f"is {target.name}, which another column gives"))
                found.append((place, target))
        titled = {title.strip() for title in titles}
        missing = [printable(title) for title in self.given if title not in titled]
        faults += [
            Fault(f"map[{title}]", "unknown_field", "the table has no column of this title") for title in missing
        ]
        if not found and not faults:
            faults.append(
                Fault("", "required", "the first row must name the fields; it names none that an import may give")
            )
        if faults:
            raise invalid(faults)
        return found


def _plain(title: str) -> str:
    """`Payment terms-days` -> `payment_terms_days`."""
    return WORDS.sub("_", title.strip()).lower()
