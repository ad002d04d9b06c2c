"""What rules of audit and compliance ask of a valid row beside its metadata."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from engine.testing.rows import Recipe

AUDT_RECIPES: dict[str, Any] = {
    "manager/audt/policies": Recipe(
        values={"kind": "retention", "tenant_id": None, "parameters": {"days": 30}},
        decided=frozenset({"kind", "parameters", "tenant_id"}),
    ),
    "manager/audt/data-requests": Recipe(
        values={"received_on": lambda _maker: datetime.now(UTC).date().isoformat(), "kind": "export"},
        decided=frozenset({"received_on"}),
    ),
}
