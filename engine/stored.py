"""Database records as rules see them: mappings, with JSON read and ciphers opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import product
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.sql import Executable

from engine.catalog import Resource
from engine.hooks import Rows
from engine.secrets import Cipher, unseal


def plain(record: Any, json_columns: Sequence[str]) -> dict[str, Any]:
    """A database record as a mapping; jsonb columns (text on the wire) decoded."""
    row = dict(record.items())
    for name in json_columns:
        if isinstance(row.get(name), str):
            row[name] = EXACT.decode(row[name])
    return row


def _number(text: str) -> float | Decimal:
    """A number with a point, as a float where that is the same number."""
    value, exact = float(text), Decimal(text)
    return value if Decimal(repr(value)) == exact else exact


# what is written back must be what was read
EXACT = msgspec.json.Decoder(float_hook=_number)


def rows_of(
    statement: Executable, records: Sequence[Any], cipher: Cipher, sealed: Mapping[Any, tuple[Resource, str]]
) -> Rows:
    """The records of a SELECT; `sealed`: column -> whose cipher it holds."""
    columns = list(getattr(statement, "selected_columns", ()))
    json_columns = [c.key for c in columns if isinstance(c.type, sa.JSON)]
    rows: list[Any] = [plain(record, json_columns) for record in records]
    secrets = [(c.key, *sealed[b]) for c in columns for b in c.base_columns if b in sealed]
    for row, (key, resource, name) in product(rows, secrets):
        row[key] = unseal(cipher, resource, name, row[key])
    return rows
