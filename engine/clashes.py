"""Which rows of a body break a unique key, or overlap another's period. The database names the constraint alone, so it is asked, on
the failure path and after what failed was undone: which rows have the key of an earlier one of the body, or of a stored one.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from engine.catalog import Resource
from engine.entity import Period, Unique
from engine.errors import CODES, ApiError, Fault
from engine.hooks import Change
from engine.moment import UnitOfWork
from engine.sql.parts import ENCODER

TOLD = ("duplicate", "overlapping_period")


DECODER = msgspec.json.Decoder(list[dict[str, Any]], float_hook=Decimal)


class Clash(NamedTuple):
    """A set of new rows that broke a constraint: the rows as they travelled, and where they stand in the body."""

    resource: Resource
    constraint: str
    rows: str
    paths: Sequence[str]
    within: str = ""

    def under(self, prefix: str) -> Clash:
        """The same, of a body that is a part of another."""
        return self._replace(within=prefix)


def remember(error: ApiError, resource: Resource, changes: Sequence[Change], rows: str) -> None:
    """Let an error of the insert of several rows know what they were."""
    constraint = getattr(error.__cause__, "constraint_name", None)
    # what rules make beside has no place in the body
    if error.code in TOLD and constraint and len(changes) > 1 and not changes[0].by_engine:
        error.clash = Clash(resource, constraint, rows, [change.path for change in changes])


async def located(unit: UnitOfWork, error: ApiError) -> ApiError:
    """The error, said of the rows that are concerned, where they can be told."""
    clash: Clash | None = error.clash
    known = _key_of(clash.resource, clash.constraint) if clash is not None else None
    if clash is None or known is None:
        return error
    resource = clash.resource
    statement = unit.shop.question("clashing", resource, *known)
    try:
        # in a transaction that goes on, this may fail by itself
        async with unit.attempt() if unit.connection is not None else nullcontext():
            found = await unit.run(statement, unit.base(resource, rows=_completed(resource, clash.rows)))
    except Exception:
        return error  # the fault at hand is the one to tell
    fields = resource.constraints[clash.constraint][1] or ("",)
    details = [
        Fault(name, error.code, CODES[error.code][2]).under(clash.paths[record["cxg_ord"]]).under(clash.within)
        for record in found
        for name in fields
    ]
    return error.again(details) if details else error


def _key_of(resource: Resource, constraint: str) -> tuple[Unique | Period, bool] | None:
    """What a constraint keeps apart, and whether active rows alone; None for a condition that nobody declared."""
    table = resource.table
    rules: list[Any] = [*table.indexes, *table.constraints]
    rule = next((rule for rule in rules if rule.name == constraint), None)
    if rule is None and resource.constraints.get(constraint, ("",))[0] == "duplicate":
        rule = table.primary_key
    if rule is None or "key" in rule.info:
        return (rule.info["key"], True) if rule is not None else None
    names = tuple(column.key for column in rule.columns if not column.info.get("tenant"))
    narrowed = getattr(rule, "dialect_options", {}).get("postgresql", {}).get("where") is not None
    return (Unique(names), False) if names and not narrowed else None


def _completed(resource: Resource, rows: str) -> str:
    """The rows with what the insert adds, which a condition may read."""
    if resource.foreign:
        return rows
    new: dict[str, Any] = {"is_active": True, **({"status": resource.machine.initial} if resource.stateful else {})}
    return ENCODER.encode([new | row for row in DECODER.decode(rows)]).decode()
