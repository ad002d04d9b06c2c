"""The next document numbers, under a row lock, in one statement."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from engine.catalog import Resource
from engine.shapes import Statement
from engine.sql.parts import UUID, bind, compile_statement


@lru_cache(maxsize=8)
def next_number(sequences: Resource) -> Statement:
    """(prefix, padding, first number, year) of `count` numbers of the sequence `code` in `year`; a missing sequence is made
    with its code as prefix."""
    table = sequences.table
    taken: Any = bind("count", sa.BigInteger())
    after: Any = taken + sa.literal_column("1")
    stamp = bind("now", sa.DateTime(timezone=True))
    values: dict[str, Any] = {
        "id": bind("sequence_id", UUID),
        "code": bind("code"),
        "prefix": bind("code"),
        "padding": sa.literal_column("5"),
        "reset": sa.literal_column("'yearly'"),
        "gapless": sa.true(),
        "current_year": bind("year", sa.SmallInteger()),
        "next_value": after,
        "created_at": stamp,
        "updated_at": stamp,
    }
    if sequences.scope.tenant_bound:
        values["tenant_id"] = bind("tenant", UUID)
    keys = [table.c.tenant_id, table.c.code] if sequences.scope.tenant_bound else [table.c.code]
    insert = pg.insert(table).from_select(list(values), sa.select(*values.values()), include_defaults=False)
    # a series never goes back to an earlier year: there it would give numbers that are taken
    asked = insert.excluded.current_year
    later = sa.or_(table.c.current_year.is_(None), table.c.current_year < asked)
    starts_anew = sa.and_(table.c.reset == sa.literal_column("'yearly'"), later)
    following = sa.case((starts_anew, after), else_=table.c.next_value + taken)
    upsert = insert.on_conflict_do_update(
        index_elements=keys,
        index_where=sa.text("is_active"),
        set_={
            "next_value": following,
            "current_year": sa.func.greatest(table.c.current_year, asked),
            "updated_at": stamp,
        },
    )
    return compile_statement(
        upsert.returning(table.c.prefix, table.c.padding, table.c.next_value - taken, table.c.current_year)
    )
