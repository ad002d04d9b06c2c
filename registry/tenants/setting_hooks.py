"""Behaviour of a tenant's settings."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import select

from engine.errors import ConflictError
from engine.hooks import Change, Moment, Point, Rules, refuse
from registry.setting_values import TYPES, fault_of
from registry.tenants.fim import JournalEntry

rules = Rules("tenants/sys")

BASE, BRACKETS = "base_currency", "payroll.tax_brackets"
CURRENCY = re.compile(r"[A-Z]{3}").fullmatch
NUMBER = TYPES["number"]
TOUCHED = (Point.BEFORE_CREATE, Point.BEFORE_UPDATE, Point.BEFORE_DELETE, Point.BEFORE_STATUS)


def ascending(brackets: Any) -> bool:
    """Whether tax brackets have rising upper ends, the last one none, and percentages between 0 and 100."""
    rows = brackets if isinstance(brackets, list) else []
    if not rows or any(not isinstance(row, dict) or row.keys() != {"up_to", "pct"} for row in rows):
        return False
    ends = [row["up_to"] for row in rows]
    rising = all(NUMBER(end) and end > 0 for end in ends[:-1]) and ends[:-1] == sorted(set(ends[:-1]))
    return rising and ends[-1] is None and all(NUMBER(row["pct"]) and 0 <= row["pct"] <= 100 for row in rows)


def fault(key: str, value: Any, value_type: str) -> str | None:
    """Why a key does not take a value; None when it does."""
    if key == BRACKETS and not ascending(value):
        return "is no list of brackets {up_to, pct} with rising ends, the last one null"
    if key == BASE and not (isinstance(value, str) and CURRENCY(value)):
        return "is no currency code"
    return fault_of(key, value, value_type)


@rules.on("SYS-S1", "settings", Point.BEFORE_CREATE, Point.BEFORE_UPDATE, watches="value", raises="422:setting_value")
async def keep_types(moment: Moment, changes: list[Change]) -> None:
    """A value has its value_type, and the type of the default where the key is a known one."""
    for change in changes:
        wrong = fault(change["key"], change["value"], change["value_type"])
        if wrong is not None:
            raise refuse(change, "value", "setting_value", f"The value {wrong}")


@rules.on("SYS-S1", "settings", *TOUCHED, raises="409:setting_locked")
async def freeze_base_currency(moment: Moment, changes: list[Change]) -> None:
    """The base currency stays once an entry is posted in it; taking the setting away would change it as well."""
    asked = [change for change in changes if change["key"] == BASE and not change.by_engine]
    if not asked:
        return
    current = await moment.setting(BASE)
    moved = [change for change in asked if "value" not in change.values or change["value"] != current]
    entries = JournalEntry.__table__.c
    posted = select(entries.id).where(entries.is_active, entries.status != "draft").limit(1)
    if moved and await moment.fetch(posted):
        raise ConflictError("setting_locked", f"The books are kept in {current} since the first posted entry")
