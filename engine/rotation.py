"""Re-encrypting what former keys encrypted.

Rows are taken a batch at a time, locked, and only their ciphers change: neither version nor history, since no value does.
A second run finds nothing to do, and so does a row that a server wrote meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import sqlalchemy as sa

from engine.catalog import Resource
from engine.moment import UnitOfWork
from engine.operations import Operations
from engine.secrets import ENCODER, seal, unseal
from engine.sql.parts import DIALECT
from engine.types import ENGINE, TenantRef

BATCH = 200
Watch = Callable[[str], None]


@dataclass
class Rotated:
    """What became of an entity's ciphers: re-encrypted, and readable with no known key."""

    renewed: int = 0
    unreadable: int = 0


def entities_with_secrets(operations: Operations) -> list[Resource]:
    """The entities that have encrypted columns."""
    return [r for r in operations.shop.catalog.resources.values() if r.entity.encrypted]


async def rotate(operations: Operations, prefix: str, tenants: Sequence[TenantRef], watch: Watch) -> dict[str, Rotated]:
    """Encrypt with the current key what does not begin with `prefix`, in every entity and tenant; counts by path. `watch`
    is told each entity and tenant that is done."""
    done: dict[str, Rotated] = {}
    for resource in entities_with_secrets(operations):
        counts = done[resource.path] = Rotated()
        for tenant in tenants if resource.scope.tenant_bound else (None,):
            await _Column(operations, resource, tenant, prefix).rotate(counts)
            watch(f"{resource.path} {tenant.slug}" if tenant else resource.path)
    return done


class _Column:
    """The encrypted columns of one entity, of one tenant where rows belong to tenants."""

    def __init__(self, operations: Operations, resource: Resource, tenant: TenantRef | None, prefix: str) -> None:
        self.operations, self.resource, self.tenant, self.prefix = operations, resource, tenant, prefix
        self.table = resource.table
        self.names = tuple(resource.entity.encrypted)
        self.keys = [self.table.c[name] for name in resource.keys]

    async def rotate(self, counts: Rotated) -> None:
        last: tuple[Any, ...] | None = None
        while True:
            principal = replace(ENGINE, tenant=self.tenant)
            async with UnitOfWork(self.operations, self.resource.scope.name, principal) as unit:
                rows = await self._stale(unit, last)
                for row in rows:
                    await self._renew(unit, row, counts)
            if len(rows) < BATCH:
                return
            last = tuple(rows[-1][name] for name in self.resource.keys)

    def _text(self, name: str) -> Any:
        column = self.table.c[name]
        return column.op("#>>")(sa.literal_column("'{}'")) if name in self.resource.json_columns else column

    def _own(self) -> list[Any]:
        return [self.table.c.tenant_id == self.tenant.id] if self.tenant else []

    async def _stale(self, unit: UnitOfWork, last: tuple[Any, ...] | None) -> list[Any]:
        """The next rows, deleted ones included, with a cipher of another key."""
        columns = [self.table.c[name] for name in self.names]
        old = [sa.not_(sa.func.starts_with(self._text(name), self.prefix)) for name in self.names]
        statement = sa.select(*self.keys, *columns).where(sa.or_(*old), *self._own())
        if last is not None:
            statement = statement.where(sa.tuple_(*self.keys) > sa.tuple_(*map(sa.literal, last)))
        return await _run(unit, statement.order_by(*self.keys).limit(BATCH).with_for_update())

    async def _renew(self, unit: UnitOfWork, row: Any, counts: Rotated) -> None:
        fresh: dict[str, Any] = {}
        for name in self.names:
            stored = row[name]
            document = name in self.resource.json_columns
            value = msgspec.json.decode(stored) if document and stored is not None else stored
            if value is None or str(value).startswith(self.prefix):
                continue
            try:
                known = unseal(self.operations.shop.vault, self.resource, name, value)
            except ValueError:
                counts.unreadable += 1
                continue
            cipher = seal(self.operations.shop.vault, self.resource, name, known)
            fresh[name] = ENCODER.encode(cipher).decode() if document else cipher
        if fresh:
            same = [column == row[column.name] for column in self.keys]
            values = {name: sa.bindparam(f"cxg_{name}", text, sa.Text()) for name, text in fresh.items()}
            cast = {n: sa.cast(v, self.table.c[n].type) for n, v in values.items()}
            await _run(unit, sa.update(self.table).values(cast).where(*same, *self._own()))
            counts.renewed += len(fresh)


async def _run(unit: UnitOfWork, statement: Any) -> list[Any]:
    """Rows as they are stored: what rules are given is decrypted already."""
    compiled = statement.compile(dialect=DIALECT)
    state = compiled.construct_expanded_state()
    assert unit.connection is not None
    return await unit.connection.fetch(state.statement, [state.parameters[name] for name in state.positiontup or ()])
