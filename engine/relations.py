"""Relations: what a foreign key is called from both its ends, in filters, sort and expand.

`customer_id` is the relation `customer` of its row; seen from the customer it is `orders`, after the entity that refers to
it, or the key under which it nests those rows. Where two keys of one entity point there, `orders_by_agent`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Protocol
from urllib.parse import unquote


@dataclass(frozen=True)
class Relation:
    """From a row to others of its scope: `many` False = the one row whose `remote` column its own `local` names; else the
    rows whose `remote` column names its `local` one. `target` is a path `scope/domain/entity`. `more`: the other
    (local, remote) pairs of a key of several columns."""

    name: str
    target: str
    local: str
    remote: str
    many: bool
    more: tuple[tuple[str, str], ...] = ()

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """(local, remote) of each column."""
        return ((self.local, self.remote), *self.more)


class Referring(Protocol):
    """A foreign key, as the catalogue knows it: `column` of the entity at `child` names `target` of another."""

    @property
    def child(self) -> str: ...
    @property
    def column(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def more(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def pairs(self) -> tuple[tuple[str, str], ...]: ...


class Declared(Protocol):
    """A compiled entity, as far as naming needs it."""

    @property
    def fields(self) -> Mapping[str, Any]: ...
    @property
    def entity(self) -> Any: ...


def relations_of(
    incoming: Mapping[str, Sequence[Referring]], resources: Mapping[str, Declared]
) -> dict[str, dict[str, Relation]]:
    """Path -> name -> relation, of every entity. Hidden columns make no relation."""
    found: dict[str, dict[str, Relation]] = {path: {} for path in resources}
    for path, references in incoming.items():
        shown = [r for r in references if all(resources[r.child].fields[column].shown for column, _ in r.pairs)]
        for reference in shown:
            to_one = _to_one(reference, path)
            _add(found[reference.child], to_one, resources[reference.child])
        names = _many_names(shown, resources, path)
        for reference, name in zip(shown, names, strict=True):
            more = tuple((target, column) for column, target in reference.more)
            relation = Relation(name, reference.child, reference.target, reference.column, many=True, more=more)
            _add(found[path], relation, resources[path])
    return found


def _to_one(reference: Referring, path: str) -> Relation:
    name = path.rpartition("/")[2] if reference.more else reference.column.removesuffix("_id")
    return Relation(name, path, reference.column, reference.target, many=False, more=reference.more)


def _add(into: dict[str, Relation], relation: Relation, owner: Declared) -> None:
    name = _free(_plain(relation.name), {*owner.fields, *into})
    into[name] = replace(relation, name=name)


def _plain(name: str) -> str:
    """A name that can stand in paths and lists; of a percent-encoded one its letters."""
    return re.sub(r"\W+", "_", unquote(name)) or "related"


def _free(name: str, taken: Collection[str]) -> str:
    """The name, or the first of its kind that no field and no other relation has."""
    numbered = (f"{name}_{i}" for i in range(2, 1000))
    return next(n for n in chain((name, f"{name}_row"), numbered) if n not in taken)


def _many_names(references: Sequence[Referring], resources: Mapping[str, Declared], path: str) -> Iterable[str]:
    owner = resources[path].entity
    nested = {(n.entity, n.link(resources[_beside(path, n.entity)].entity)): n.key for n in owner.nested}
    often = Counter(reference.child for reference in references)
    for reference in references:
        child = resources[reference.child].entity
        plain = child.name.replace("-", "_")
        if (child.key, reference.column) in nested:
            yield nested[child.key, reference.column]
        elif reference.child == path and child.tree == reference.column:
            yield "children"
        elif often[reference.child] > 1:
            yield f"{plain}_by_{reference.column.removesuffix('_id')}"
        else:
            yield plain


def _beside(path: str, key: str) -> str:
    return f"{path.split('/')[0]}/{key.replace('.', '/', 1)}"
