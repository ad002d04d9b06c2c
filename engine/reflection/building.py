"""Reading -> SQLAlchemy Core tables and their declarations: what a package for this database would say. Pure.

Rules, each as plain as it can be told: the label is the first text column called `name title label subject code email
username`, else the key; `q=` looks into those of them that there are. Comments are descriptions. Checks of one column are
limits of its field, all checks are codes. Without a key (`engine.reflection.keys`) rows can only be listed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from engine.entity import MARKS, ONLY, Entity, Marks, Unique
from engine.errors import StartupFault
from engine.reflection.keys import DELETES, INSERTS, UPDATES, Keys, columns_of
from engine.reflection.kinds import Kinds
from engine.reflection.limits import Limits, limits_of
from engine.reflection.naming import fields_of, segment, shadow_of
from engine.reflection.parts import NO_MARKS, Known, Parts, check_places, key_of, marks_of
from engine.reflection.reading import Column, Constraint, Index, Reading, Relation
from engine.scalars import Native, scalar_of
from engine.types import Bounds, Scope

LABELS = ("name", "title", "label", "subject", "code", "email", "username")
# kinds of relations whose columns can play parts of the engine's own
PLAYING = "rpfv"
ACTIONS = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}
# SQL that a condition can be read in without knowing the table: no quoted names
SIMPLE = re.compile(r"[a-z0-9_]+").fullmatch


@dataclass
class Place:
    """A relation on its way to a table."""

    relation: Relation
    columns: list[Column]
    names: dict[str, str]
    keys: tuple[int, ...] = ()
    constraints: list[Constraint] = field(default_factory=list)
    indexes: list[Index] = field(default_factory=list)
    table: Any = None

    @cached_property
    def by_number(self) -> dict[int, str]:
        """Field by the number of its column."""
        return {column.number: self.names[column.name] for column in self.columns}

    def fields(self, numbers: Iterable[int]) -> tuple[str, ...] | None:
        """The fields of columns by number; None where one of them may not be read."""
        found = [self.by_number.get(number) for number in numbers]
        return tuple(str(name) for name in found) if found and None not in found else None


def build(
    reading: Reading, scope: str, *, write: bool = False, parts: Parts | None = None
) -> tuple[Scope, list[Entity]]:
    """The scope and an entity for every relation. `write`: whether rows may be changed; `parts`: columns that play the
    engine's own."""
    metadata = sa.MetaData()
    kinds = Kinds(reading.types)
    places = _places(reading, kinds)
    keys = Keys(reading, lambda oid: _said_key(places[oid], parts or {}) if oid in places else ())
    for place in places.values():
        place.keys = _key(place, keys)
        place.table = _table(place, kinds, metadata, parts or {})
        place.table.info[ONLY] = place.relation.oid in keys.parents
    check_places(parts or {}, {f"{p.relation.schema}.{p.relation.name}": _known(p, keys) for p in places.values()})
    for place in places.values():
        _add_constraints(place, places)
    entities = [_entity(place, write=write) for place in places.values()]
    made = Scope(
        scope, metadata, description="Tables of a database of its own.", database=scope, foreign=True, engine_schema=""
    )
    return made, entities


def _places(reading: Reading, kinds: Kinds) -> dict[int, Place]:
    columns = columns_of(reading)
    found = {}
    for relation in reading.relations:
        own = [_silent(column, kinds) for column in columns.get(relation.oid, ()) if column.reads]
        if own and not shadow_of(relation.schema, len(own)):
            found[relation.oid] = Place(relation, own, fields_of(column.name for column in own))
    for constraint in reading.constraints:
        if constraint.table in found:
            found[constraint.table].constraints.append(constraint)
    for index in reading.indexes:
        if index.table in found:
            found[index.table].indexes.append(index)
    return found


def unserved(reading: Reading) -> list[tuple[str, str]]:
    """(table, why) of what there is no entity for."""
    counts = Counter(column.table for column in reading.columns)
    told = ((f"{r.schema}.{r.name}", shadow_of(r.schema, counts[r.oid])) for r in reading.relations)
    return [(table, why) for table, why in told if why]


def _silent(column: Column, kinds: Kinds) -> Column:
    """The column with what its domain gives a row that is silent, where it says nothing itself."""
    itself = column.default is not None or column.identity or column.generated
    return column if itself else column._replace(default=kinds.default(column.type))


# -- keys


def _key(place: Place, keys: Keys) -> tuple[int, ...]:
    """The key by which rows are asked for; none where its columns may not be read."""
    found = keys.of(place.relation.oid)
    return found if place.fields(found) else ()


def _known(place: Place, keys: Keys) -> Known:
    plays = bool(place.keys) and place.relation.kind in PLAYING
    return Known(place.names.values(), plays, place.relation.oid in keys.primary)


def _said_key(place: Place, parts: Parts) -> tuple[int, ...]:
    """What the settings call the key. Of a table only what its database holds to be one: rows are changed by it."""
    said = key_of(place.relation, {name: number for number, name in place.by_number.items()}, parts)
    if said and place.relation.kind in "rp":
        required = {column.number for column in place.columns if column.required}
        whole = (i for i in place.indexes if i.unique and i.where is None and not i.expressions)
        if not any(set(index.columns) <= set(said) <= required for index in whole):
            where = f"{place.relation.schema}.{place.relation.name}"
            raise StartupFault(f"columns: no unique index holds the key of {where} over columns that are not null")
    return said


# -- tables


def _table(place: Place, kinds: Kinds, metadata: sa.MetaData, parts: Parts) -> sa.Table:
    relation = place.relation
    columns = [_column(place, column, kinds) for column in place.columns]
    table = sa.Table(relation.name, metadata, *columns, schema=relation.schema, comment=relation.comment)
    marks = marks_of(relation, table, parts) if relation.kind in PLAYING and place.keys else NO_MARKS
    triggered = relation.kind == "v" and relation.updatable != relation.by_itself
    table.info |= {"triggered": triggered, MARKS: marks, "route": (segment(relation.schema), segment(relation.name))}
    return table


def _column(place: Place, column: Column, kinds: Kinds) -> sa.Column[Any]:
    type_ = kinds.of(column.type, column.typmod)
    key = column.number in place.keys
    limits = _limits(place, column, kinds)
    type_, info = _limited(type_, limits)
    info["domain"] = kinds.is_domain(column.type)
    made: sa.Column[Any] = sa.Column(
        column.name,
        type_,
        key=place.names[column.name],
        primary_key=key,
        nullable=not (column.required or key or kinds.required(column.type)),
        autoincrement=False,
        comment=column.comment,
        server_default=_default(column),
        info=info,
    )
    return made


def _default(column: Column) -> Any:
    """What the database gives a row that is silent."""
    if column.sequence:
        word = column.sequence.replace("'", "''")
        return sa.literal_column(f"nextval('{word}'::regclass)")
    return sa.literal_column(column.default) if column.default is not None else None


def _limits(place: Place, column: Column, kinds: Kinds) -> Limits:
    found, whole = Limits(), isinstance(kinds.of(column.type, column.typmod), sa.Integer)
    for rule in place.constraints:
        if rule.kind == "c" and rule.expression and rule.columns == (column.number,):
            found = found.narrowed(limits_of(rule.expression, column.name, whole=whole))
    for text in kinds.domain_checks(column.type):
        found = found.narrowed(limits_of(text.removeprefix("CHECK "), "VALUE", whole=whole))
    return found


def _limited(type_: Any, limits: Limits) -> tuple[Any, dict[str, Any]]:
    """The type with its limits, as far as readers know them."""
    if isinstance(type_, (sa.Integer, sa.Numeric)) and not isinstance(type_, (sa.Float, sa.Double)):
        maximum = limits.maximum
        if limits.below is not None and isinstance(type_, sa.Integer):
            maximum = limits.below - 1 if maximum is None else min(maximum, limits.below - 1)
        return type_, {"bounds": Bounds(limits.minimum, maximum, limits.above)}
    if isinstance(type_, sa.String) and limits.choices:
        return sa.Enum(*dict.fromkeys(limits.choices), native_enum=False, create_constraint=False), {}
    if isinstance(type_, sa.String) and limits.length is not None and limits.length > 0:
        return sa.String(min(limits.length, type_.length or limits.length)), {}
    return type_, {}


# -- constraints


def _add_constraints(place: Place, places: Mapping[int, Place]) -> None:
    for rule in place.constraints:
        names = place.fields(rule.columns)
        if names is not None and rule.kind in ADDED:
            ADDED[rule.kind](place, rule, names, places)
    taken = {rule.name for rule in place.constraints}
    for index in place.indexes:
        if index.name not in taken:
            _add_index(place, index)


def _add_key(place: Place, rule: Constraint, _names: Sequence[str], _places: Mapping[int, Place]) -> None:
    if place.table.primary_key.columns:
        place.table.primary_key.name = rule.name


def _add_unique(place: Place, rule: Constraint, names: Sequence[str], _places: Mapping[int, Place]) -> None:
    place.table.append_constraint(sa.UniqueConstraint(*(place.table.c[n] for n in names), name=rule.name))


def _add_check(place: Place, rule: Constraint, names: Sequence[str], _places: Mapping[int, Place]) -> None:
    text: Any = sa.literal_column(rule.expression or "true")
    place.table.append_constraint(sa.CheckConstraint(text, name=rule.name, info={"words": names}))


def _add_exclusion(place: Place, rule: Constraint, names: Sequence[str], _places: Mapping[int, Place]) -> None:
    pairs = [(place.table.c[name], "=") for name in names]
    place.table.append_constraint(pg.ExcludeConstraint(*pairs, name=rule.name, info={"words": names}))


def _add_reference(place: Place, rule: Constraint, names: Sequence[str], places: Mapping[int, Place]) -> None:
    target = places.get(rule.target)
    named = target.fields(rule.named) if target is not None else None
    if target is None or named is None:
        return
    columns, others = [place.table.c[n] for n in names], [target.table.c[n] for n in named]
    action = ACTIONS.get(rule.on_delete, "NO ACTION")
    place.table.append_constraint(sa.ForeignKeyConstraint(columns, others, name=rule.name, ondelete=action))


def _add_period(place: Place, rule: Constraint, names: Sequence[str], _places: Mapping[int, Place]) -> None:
    """No relation, since rows are not named: what remains is the fields of a refusal."""
    place.table.append_constraint(sa.CheckConstraint(sa.true(), name=rule.name, info={"words": names}))


ADDED: dict[str, Any] = {
    "p": _add_key,
    "u": _add_unique,
    "c": _add_check,
    "x": _add_exclusion,
    "f": _add_reference,
    "period": _add_period,
}


def _add_index(place: Place, index: Index) -> None:
    names = list(place.fields([number for number in index.columns if number]) or ())
    if index.expressions:
        words = set(re.findall(r"\w+", index.expressions))
        names += [place.names[c.name] for c in place.columns if c.name in words and place.names[c.name] not in names]
    if not names:
        return
    where: dict[str, Any] = {"postgresql_where": sa.literal_column(index.where)} if index.where else {}
    sa.Index(index.name, *(place.table.c[name] for name in names), unique=index.unique, **where)


# -- declarations


def _entity(place: Place, *, write: bool) -> Entity:
    table, marks = place.table, place.table.info[MARKS]
    texts = [c.key for c in table.c if isinstance(c.type, sa.String) and not isinstance(c.type, sa.Enum)]
    known = {name.lower(): name for name in texts}
    named = [known[word] for word in LABELS if word in known]
    keys = [place.names[c.name] for c in place.columns if c.number in place.keys]
    return Entity(
        model=table,
        operations=_operations(place, marks, write=write),
        label=[*named, *keys, place.names[place.columns[0].name]][0],
        unique=_unique(place),
        search=named,
        once=[place.names[c.name] for c in place.columns if c.inserts and not c.updates],
        read_only=[place.names[c.name] for c in place.columns if _read_only(c, table.c[place.names[c.name]])],
    )


def _read_only(column: Column, made: sa.Column[Any]) -> bool:
    """Whether the database alone gives the column its values."""
    computed = bool(column.generated) or column.identity == "a"
    text = isinstance(made.type, Native) and '"tsvector"' in made.type.name
    return computed or text or not (column.inserts or column.updates)


def _unique(place: Place) -> list[Unique]:
    """Keys that an upsert may name: of columns that can be compared, over all rows or those of a simple condition."""
    by_constraint = [place.fields(rule.columns) for rule in place.constraints if rule.kind == "u"]
    nulls = {index.name: index.nulls_equal for index in place.indexes}
    equal = [nulls.get(rule.name, False) for rule in place.constraints if rule.kind == "u"]
    found = [Unique(names, nulls_equal=same) for names, same in zip(by_constraint, equal, strict=True) if names]
    taken = {rule.name for rule in place.constraints}
    for index in place.indexes:
        names = place.fields(index.columns)
        simple = index.where is None or all(SIMPLE(column.name) for column in place.columns)
        if index.unique and index.name not in taken and names and not index.expressions and simple:
            found.append(Unique(names, where=index.where, nulls_equal=index.nulls_equal))
    return [key for key in found if all(_comparable(place.table.c[name]) for name in key.columns)]


def _comparable(column: sa.Column[Any]) -> bool:
    return "equal" in scalar_of(column.type).families


def _ordered(column: sa.Column[Any]) -> bool:
    """Whether rows can be sorted by it, which lists do by their keys."""
    return "order" in scalar_of(column.type).families or isinstance(column.type, sa.Boolean)


def _operations(place: Place, marks: Marks, *, write: bool) -> str:
    relation = place.relation
    ordered = all(_ordered(place.table.c[name]) for name in place.fields(place.keys) or ())
    if not place.keys or not ordered:
        return "l"
    writable = write and relation.kind in "rpvf"
    takes = relation.updatable
    updates = [c for c in place.columns if c.updates and not c.generated and c.identity != "a"]
    inserts = writable and takes & INSERTS and _all_given(place)
    # rows are locked before they are changed or removed, which takes the right to update
    may_update = writable and takes & UPDATES and updates
    may_delete = may_update and takes & DELETES and relation.deletes
    letters: list[tuple[str, Any]] = [("c", inserts), ("g", True), ("l", True), ("u", may_update)]
    letters += [("d", may_update if marks.active else may_delete), ("s", may_update and marks.active)]
    return "".join(letter for letter, given in letters if given)


def _all_given(place: Place) -> bool:
    """Whether the role may give every column that a new row needs."""
    needed = (c for c in place.columns if c.required and c.default is None and not c.identity and not c.generated)
    return all(c.inserts for c in needed) and any(c.inserts for c in place.columns)
