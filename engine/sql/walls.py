"""The first wall around statements that rules write themselves: every table of tenants in them names the tenant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql import visitors

from engine.sql.parts import UUID

TENANT = "tenant_id"


def within_tenant(statement: Any, tenant: Any) -> Any:
    """The statement, limited to rows of the tenant in each SELECT of it, subqueries and CTEs included. A table on the open
    side of an outer join is limited in the join's condition, so that what it lacks stays null."""

    def limit_join(join: Any) -> None:
        if join.isouter:
            own = [source.c[TENANT] == _value(tenant) for source in _tables(join.right) if _belongs(source)]
            join.onclause = sa.and_(join.onclause, *own)

    def limit_select(select: Any) -> None:
        own = [
            source.c[TENANT] == _value(tenant)
            for part in select.get_final_froms()
            for source in _tables(part)
            if _belongs(source)
        ]
        select._where_criteria += tuple(own)

    return visitors.cloned_traverse(statement, {}, {"join": limit_join, "select": limit_select})


def _value(tenant: Any) -> Any:
    return sa.bindparam(None, tenant, type_=UUID, unique=True)


def _tables(source: Any) -> Iterator[Any]:
    """The tables of a FROM that every row of it comes from."""
    if isinstance(source, sa.Join):
        yield from _tables(source.left)
        if not source.isouter:
            yield from _tables(source.right)
    else:
        yield source


def _belongs(source: Any) -> bool:
    table = source.element if isinstance(source, sa.Alias) else source
    return isinstance(table, sa.Table) and TENANT in table.c and bool(table.c[TENANT].info.get("tenant"))
