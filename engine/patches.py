"""Bodies of `application/merge-patch+json` (RFC 7396): objects in a field are merged with the stored ones, and null takes a
member away. In `application/json` a field is one value, kept as it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from engine.catalog import Catalog, Resource
from engine.errors import Fault, invalid
from engine.fields import Field
from engine.hooks import Change
from engine.parse import BodyReader
from engine.scalars import MAX_NODES, BadValue, walk_json
from engine.shapes import Incoming

MEDIA_TYPE = b"application/merge-patch+json"


class PatchReader(BodyReader):
    """Reads such bodies of one entity. What an object is a part of is known under the row's lock; until then it may be any."""

    def __init__(self, catalog: Catalog, resource: Resource) -> None:
        super().__init__(catalog, resource, "update")
        self.fields |= {name: _partial(self.fields[name]) for name in self.documents}

    def read(self, body: bytes) -> tuple[list[Incoming], bool]:
        """The row of a body, with the names of its `patches`."""
        rows, many = super().read(body)
        values = rows[0].values
        rows[0].patches = frozenset(name for name in self.documents if isinstance(values.get(name), dict))
        return rows, many


def _partial(field: Field) -> Field:
    def read(value: Any) -> Any:
        if isinstance(value, dict) and walk_json(value) <= MAX_NODES:
            return value
        return value if field.finish is None else field.finish(value)

    return replace(field, finish=read)


def merge(target: Any, patch: Any) -> Any:
    """What a value becomes, as the RFC says."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def apply_patches(resource: Resource, changes: Sequence[Change], row: Incoming) -> None:
    """Merge the patches of a body into the values of stored rows. 422 for what is no value of its field then."""
    faults: list[Fault] = []
    for change in changes:
        for name in row.patches:
            field, old = resource.fields[name], change.old or {}
            value = change.values[name] = merge(old.get(name), row.values[name])
            try:
                change.values[name] = value if field.finish is None else field.finish(value)
            except BadValue as bad:
                faults.append(Fault(name, bad.code, str(bad), bad.params).under(change.path))
    if faults:
        raise invalid(faults)
