"""Statements that rules write themselves: compiled once for their shape, and behind the first wall, so that every table of
tenants in them names the tenant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql import visitors

from engine.sql.parts import DIALECT, ENCODER, UUID

TENANT = "tenant_id"
WALL = "cxg_wall"
# shapes of statements that are kept compiled; the registry's rules have some hundreds
ROOM = 4096


class RuleStatements:
    """Texts and arguments of the statements of rules."""

    def __init__(self) -> None:
        self.known: dict[Any, tuple[Any, tuple[str, ...]]] = {}

    def ask(self, statement: Any, tenant: Any) -> tuple[str, list[Any]]:
        """The text and its arguments; `tenant` None = without the wall."""
        key = statement._generate_cache_key()
        found = self.known.get((key.key, tenant is None)) if key is not None else None
        compiled, names = found or self._compiled(statement, key, walled=tenant is not None)
        values = {} if key is None else dict(zip(names, (bind.effective_value for bind in key.bindparams), strict=True))
        state = compiled.construct_expanded_state({**values, WALL: tenant} if tenant is not None else values)
        arguments = [_argument(compiled, name, state.parameters[name]) for name in state.positiontup or ()]
        return state.statement, arguments

    def _compiled(self, statement: Any, key: Any, *, walled: bool) -> tuple[Any, tuple[str, ...]]:
        compiled = (within_tenant(statement) if walled else statement).compile(dialect=DIALECT)
        made = (compiled, tuple(bind.key for bind in key.bindparams) if key is not None else ())
        if key is not None:
            if len(self.known) >= ROOM:
                self.known.clear()
            self.known[key.key, not walled] = made
        return made


def _argument(compiled: Any, name: str, value: Any) -> Any:
    parameter = compiled.binds.get(name)
    if parameter is not None and isinstance(parameter.type, sa.JSON) and not isinstance(value, str):
        return ENCODER.encode(value).decode()
    return value


def within_tenant(statement: Any) -> Any:
    """The statement, limited to rows of the tenant in the parameter `cxg_wall` in each SELECT of it, subqueries and CTEs
    included. A table on the open side of an outer join is limited in the join's condition, so that what it lacks stays null."""

    def limit_join(join: Any) -> None:
        if join.isouter:
            own = [source.c[TENANT] == _wall() for source in _tables(join.right) if _belongs(source)]
            join.onclause = sa.and_(join.onclause, *own)

    def limit_select(select: Any) -> None:
        sources = [source for part in select.get_final_froms() for source in _tables(part)]
        select._where_criteria += tuple(source.c[TENANT] == _wall() for source in sources if _belongs(source))

    # the names of parameters stay, so that the values of a later statement of the same shape find their places
    return visitors.cloned_traverse(statement, {"maintain_key": True}, {"join": limit_join, "select": limit_select})


def _wall() -> Any:
    return sa.bindparam(WALL, type_=UUID)


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
