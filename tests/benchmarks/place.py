"""What a hand-written contestant is told. By itself, so that its process does not load the engine."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import UUID

import msgspec

VARIABLE = "BENCH_PLACE"


class Place(msgspec.Struct, frozen=True):
    """What a hand-written contestant is told: where the rows are, for which tenant, and who acts."""

    manager: str
    tenants: str
    tenant: UUID
    actor: UUID
    secret: str


def read_place() -> Place:
    """The Place in the file that the variable names."""
    return msgspec.json.decode(Path(os.environ[VARIABLE]).read_bytes(), type=Place)
