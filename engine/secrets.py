"""Encrypted columns: sealed where rows leave for the database, opened where they come back to rules or to a reader who may
see them.

A cipher is bound to its entity and column, so that one copied elsewhere is refused. A jsonb column holds it as a JSON text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from engine.catalog import Catalog, Resource

ENCODER = msgspec.json.Encoder(decimal_format="number")
SECRET = "***"


class Cipher(Protocol):
    """Authenticated encryption of a text that belongs to one place."""

    def encrypt(self, text: str, place: str = "") -> str: ...

    def decrypt(self, text: str, place: str = "") -> str: ...


def place_of(resource: Resource, name: str) -> str:
    """What the ciphers of a column are bound to."""
    return f"{resource.path}.{name}"


def seal(cipher: Cipher, resource: Resource, name: str, value: Any) -> str:
    """The cipher of a column's value."""
    text = ENCODER.encode(value).decode() if name in resource.json_columns else str(value)
    return cipher.encrypt(text, place_of(resource, name))


def unseal(cipher: Cipher, resource: Resource, name: str, value: Any) -> Any:
    """The value of a column's cipher. ValueError when it is none of this column, was changed, or its key is not known."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"{place_of(resource, name)} holds clear text where a cipher belongs")
    try:
        text = cipher.decrypt(value, place_of(resource, name))
    except ValueError as wrong:
        raise ValueError(f"{place_of(resource, name)}: {wrong}") from None
    return msgspec.json.decode(text) if name in resource.json_columns else text


def sealed(cipher: Cipher, resource: Resource, records: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Rows as they travel to the database."""
    names = resource.entity.encrypted
    return [_sealed_one(cipher, resource, names, record) for record in records] if names else records


def _sealed_one(
    cipher: Cipher, resource: Resource, names: Sequence[str], record: Mapping[str, Any]
) -> Mapping[str, Any]:
    secret = {name: seal(cipher, resource, name, record[name]) for name in names if record.get(name) is not None}
    return {**record, **secret} if secret else record


def opened(cipher: Cipher, resource: Resource, row: dict[str, Any]) -> dict[str, Any]:
    """A row as rules see it; the same mapping."""
    for name in resource.entity.encrypted:
        row[name] = unseal(cipher, resource, name, row.get(name))
    return row


def shows_secrets(catalog: Catalog, resource: Resource) -> bool:
    """Whether a read, by somebody with the permission, holds ciphers: of the row, or of rows nested in it."""
    children = (catalog.find(resource.scope.name, nested.entity) for nested in resource.entity.nested)
    return any(field.encrypted for one in (resource, *children) for field in one.shown)


def readable(cipher: Cipher, catalog: Catalog, resource: Resource, text: str) -> str:
    """Rendered rows (one, or several with commas between) with the values of their ciphers."""
    rows = msgspec.json.decode(f"[{text}]")
    for row in rows:
        _open_shown(cipher, resource, row)
        for nested in resource.entity.nested:
            child = catalog.find(resource.scope.name, nested.entity)
            for line in row.get(nested.key, ()):
                _open_shown(cipher, child, line)
    return ENCODER.encode(rows).decode()[1:-1]


def _open_shown(cipher: Cipher, resource: Resource, row: dict[str, Any]) -> None:
    for field in resource.shown:
        if field.encrypted and row.get(field.name) not in (None, SECRET):
            row[field.name] = unseal(cipher, resource, field.name, row[field.name])
