"""What rules of audit and compliance ask of a valid row beside its metadata."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from engine.testing.rows import Recipe, RowMaker
from engine.testing.values import NUMBERS


def own_days(_maker: RowMaker) -> dict[str, Any]:
    """A policy of two days that no other one has."""
    start = date(2100, 1, 1) + timedelta(days=3 * next(NUMBERS))
    days = {"valid_from": start.isoformat(), "valid_until": (start + timedelta(days=1)).isoformat()}
    return {"kind": "retention", "tenant_id": None, "parameters": {"days": 30}, **days}


AUDT_RECIPES: dict[str, Any] = {
    "manager/audt/policies": Recipe(values=own_days, decided=frozenset({"valid_from", "valid_until"})),
    "manager/audt/data-requests": Recipe(
        values={"received_on": lambda _maker: datetime.now(UTC).date().isoformat(), "kind": "export"},
        decided=frozenset({"received_on"}),
    ),
}
