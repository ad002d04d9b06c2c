"""Rows held still for the rest of a transaction."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.sql import ColumnElement

from engine.hooks import Moment, Row


async def lock_rows(moment: Moment, model: Any, *conditions: ColumnElement[bool]) -> list[Row]:
    """The active rows of a model that meet the conditions, as they stand once nobody else is changing them. They are
    taken in order of id, so that two who want the same rows cannot wait for each other."""
    table = model.__table__
    statement = select(table).where(table.c.is_active, *conditions).order_by(table.c.id)
    # a weaker lock than plain FOR UPDATE: rows that only refer to these need not wait
    return await moment.fetch(statement.with_for_update(key_share=True))


async def lock_by_id(moment: Moment, model: Any, keys: set[Any]) -> dict[Any, Row]:
    """The same for known ids, by id; None among the keys stands for no row."""
    wanted = keys - {None}
    rows = await lock_rows(moment, model, model.__table__.c.id.in_(wanted)) if wanted else []
    return {row["id"]: row for row in rows}
