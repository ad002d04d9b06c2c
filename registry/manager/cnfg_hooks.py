"""Behaviour of configuration: values of settings, number sequences."""

from __future__ import annotations

from typing import Any

from engine.errors import ConflictError
from engine.hooks import Change, Moment, Point, Rules, refuse
from registry.defaults import SETTINGS
from registry.sequences import keep_counting
from registry.setting_values import fault_of, schema_fault

rules = Rules("manager/cnfg")

MASK = "***"


@rules.on(
    "CNFG-S1",
    "settings",
    Point.BEFORE_CREATE,
    Point.BEFORE_UPDATE,
    watches="value schema",
    raises="422:setting_value",
)
async def fit_value(moment: Moment, changes: list[Change]) -> None:
    """A value fits its type, the default of a key that rules read, and its schema."""
    for change in changes:
        value = _clear(change)
        fault = fault_of(change["key"], value, change["value_type"])
        if fault is None and change["schema"] is not None:
            fault = schema_fault(change["schema"], value, given=value is not None)
        if fault is not None:
            raise refuse(change, "value", "setting_value", f"The value {fault}")


def _clear(change: Change) -> Any:
    """The value as rules will read it: a secret one that is sent back as it was shown stays what it is."""
    if not change["is_secret"] or (change.changes("value") and change["value"] != MASK):
        return change["value"]
    return change["secret_value"]


@rules.on("CNFG-S1", "settings", Point.BEFORE_CREATE, Point.BEFORE_UPDATE, watches="value")
async def hide_secrets(moment: Moment, changes: list[Change]) -> None:
    """A secret value goes into a hidden, encrypted column and reads as "***"."""
    for change in changes:
        if change["is_secret"] and "value" in change.values:
            secret = _clear(change)
            change.values.update(secret_value=secret, value=None if secret is None else MASK)


@rules.on("CNFG-S1", "settings", Point.BEFORE_DELETE, Point.BEFORE_STATUS, raises="409:system_setting")
async def keep_system_settings(moment: Moment, changes: list[Change]) -> None:
    """The platform's row of a key that rules read stays."""
    for change in changes:
        if change.values.get("is_active") is not True and change["key"] in SETTINGS and change["tenant_id"] is None:
            raise ConflictError("system_setting", f"Rules read {change['key']}; set its value instead of deleting it")


@rules.on("CNFG-N1", "number-sequences", Point.BEFORE_UPDATE, raises="409:sequence_in_use")
async def only_count_up(moment: Moment, changes: list[Change]) -> None:
    """next_value only grows, and never on a gapless sequence in use."""
    keep_counting(changes)
