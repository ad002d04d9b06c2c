"""The keys of tables and views, and what columns of views take over from the tables under them. Pure.

A view that takes writes has the key of the table under it where it shows all of that, under whatever names, and of no other table
the key as well. By names alone another column could be taken for the key, and a write of one row would be one of many.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engine.reflection.origins import Origin
from engine.reflection.reading import Column, Reading, Relation

# bits of pg_relation_is_updatable: what a view or foreign table takes
UPDATES, INSERTS, DELETES = 4, 8, 16


class Keys:
    """The key of each relation, by the numbers of its columns. `said`: what the settings call one."""

    def __init__(self, reading: Reading, said: Callable[[int], tuple[int, ...]]) -> None:
        self.primary = {rule.table: rule.columns for rule in reading.constraints if rule.kind == "p"}
        self.relations = {relation.oid: relation for relation in reading.relations}
        self.shown, self.said = _by_view(reading), said
        # a view shows rows of the tables that inherit as well, whose keys are their own
        self.parents = frozenset(reading.parents)
        self.known: dict[int, tuple[int, ...]] = {}

    def of(self, oid: int) -> tuple[int, ...]:
        """The key of a table, view or what else there is; empty = none."""
        if oid not in self.known:
            self.known[oid] = self.primary.get(oid, ()) or self.said(oid) or self._seen(oid)
        return self.known[oid]

    def _seen(self, view: int) -> tuple[int, ...]:
        """The one key that a view shows."""
        relation = self.relations.get(view)
        if relation is not None and not relation.updatable & (UPDATES | INSERTS | DELETES):
            return ()
        places: dict[tuple[int, int], list[int]] = {}
        for origin in self.shown.get(view, ()):
            places.setdefault((origin.table, origin.column), []).append(origin.number)
        found = []
        for under in dict.fromkeys(table for table, _ in places):
            key = () if under in self.parents else self.of(under)
            seen = [places.get((under, number), []) for number in key]
            if seen and all(seen):
                found.append(seen)
        # two of a table's rows side by side show its key twice: nothing says which of them a write is meant for
        if len(found) != 1 or any(len(numbers) > 1 for numbers in found[0]):
            return ()
        return tuple(numbers[0] for numbers in found[0])


def _by_view(reading: Reading) -> dict[int, list[Origin]]:
    found: dict[int, list[Origin]] = {}
    for origin in reading.origins:
        found.setdefault(origin.view, []).append(origin)
    return found


def columns_of(reading: Reading) -> dict[int, list[Column]]:
    """The columns of each relation; those of a view that PostgreSQL writes by itself with what the table under it has for a row
    that is silent."""
    known = {(column.table, column.number): column for column in reading.columns}
    under = {(origin.view, origin.number): (origin.table, origin.column) for origin in reading.origins}
    simple = {relation.oid for relation in reading.relations if _is_simple(relation)}
    found: dict[int, list[Column]] = {}
    for place, column in known.items():
        found.setdefault(column.table, []).append(_filled(known, under, place) if column.table in simple else column)
    return found


def _is_simple(relation: Relation) -> bool:
    return relation.kind == "v" and not relation.instead and bool(relation.by_itself & (UPDATES | INSERTS))


Place = tuple[int, int]


def _filled(known: Mapping[Place, Column], under: Mapping[Place, Place], place: Place) -> Column:
    """A column of a view with the default that comes first, the view's own before that of what is under it."""
    column, default = known[place], None
    last = column
    while place in known:
        last = known[place]
        default = default or last.default
        place = under.get(place, (0, 0))
    return column._replace(
        required=last.required,
        default=default,
        identity=last.identity,
        sequence=None if default else last.sequence,
        generated=last.generated,
    )
