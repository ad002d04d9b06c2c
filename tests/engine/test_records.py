"""Rows in the forms that statements take."""

from __future__ import annotations

from uuid import UUID

from engine.hooks import Change
from engine.records import change_records
from tests.engine.wares import WARES

OLD = {"id": UUID(int=1), "title": "old", "amount": 1}


def test_a_row_that_is_changed_twice_at_once_is_one_row_with_both_changes() -> None:
    other = {**OLD, "id": UUID(int=2)}
    changes = [Change(0, OLD, {"title": "new"}), Change(1, other, {"amount": 7}), Change(2, OLD, {"amount": 5})]
    records = change_records(WARES, changes, {"title", "amount"})
    assert list(records) == [OLD["id"], other["id"]]
    shown = [(row["title"], row["amount"], row["cxg_ord"]) for row in records.values()]
    assert shown == [("new", 5, 0), ("old", 7, 1)]
