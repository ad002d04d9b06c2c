"""Values of settings, as the entities with role `settings` hold them: the tenant's own row, the platform's row for the
tenant, the platform's row for all, the built-in default.

Such an entity has the columns `key` and `value`; outside tenants `tenant_id` (null = for all), and `secret_value`, which
counts instead of `value` where it is filled.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from engine.catalog import Catalog, Resource
from engine.errors import generic
from engine.filters import TEXTS
from engine.secrets import Cipher, unseal
from engine.shapes import Statement
from engine.sql.parts import UUID as UUID_TYPE
from engine.sql.parts import bind, compile_statement, wall

if TYPE_CHECKING:
    from engine.moment import UnitOfWork

MOST_KEPT = 10_000
SECRET_COLUMN = "secret_value"
Values = dict[str, Any]


class SettingLookup:
    """Settings of one process. Rows are believed for `seconds`; whoever writes one in this process is believed at once."""

    def __init__(self, catalog: Catalog, cipher: Cipher, defaults: Mapping[str, Any]) -> None:
        self.catalog, self.cipher, self.defaults = catalog, cipher, defaults
        self.seconds = float(defaults.get("setting_seconds", 0.0))
        self.kept: dict[tuple[str, UUID | None], tuple[float, Values]] = {}
        self.generation = 0
        self.statement = lru_cache(maxsize=None)(setting_rows)
        bound = [r.scope.name for r in catalog.resources.values() if r.entity.role == "settings"]
        self.platform = next((name for name in bound if not catalog.scopes[name].tenant_bound), None)

    def forget(self) -> None:
        """A row was written: nothing that was read before counts, nor what is being read now."""
        self.generation += 1
        self.kept.clear()

    async def find(self, unit: UnitOfWork, key: str) -> Any:
        """The value that counts for the unit's tenant, or for the platform. A key without a default is a mistake of ours."""
        if key not in self.defaults:
            raise generic("internal_error", f"no setting {key!r} is known; give it a default in a SETTINGS mapping")
        tenant = unit.principal.tenant.id if unit.principal.tenant else None
        bound = self.catalog.scopes[unit.scope].tenant_bound
        for scope in dict.fromkeys((unit.scope, self.platform) if bound else (unit.scope,)):
            resource = self.catalog.roles.get((scope, "settings")) if scope else None
            if resource is None:
                continue
            values = await self._values(unit, resource, tenant)
            if key in values:
                return values[key]
        return self.defaults[key]

    async def _values(self, unit: UnitOfWork, resource: Resource, tenant: UUID | None) -> Values:
        place, now, generation = (resource.scope.name, tenant), time.monotonic(), self.generation
        working = unit.elsewhere.get(resource.scope.name) or (unit if _beside(unit, resource) else None)
        fresh = working is not None and working.settings_written
        known = self.kept.get(place)
        if known is not None and known[0] > now and not fresh:
            return known[1]
        values = await self._read(unit, working, (resource, tenant))
        # what a transaction wrote is for itself alone until it ends, and a write meanwhile makes this reading old
        if self.seconds and not fresh and generation == self.generation:
            if len(self.kept) >= MOST_KEPT:
                self.kept.pop(next(iter(self.kept)))
            self.kept[place] = (now + self.seconds, values)
        return values

    async def _read(self, unit: UnitOfWork, working: UnitOfWork | None, place: tuple[Resource, UUID | None]) -> Values:
        """All known keys at once: a rule asks for several. Another database is asked in autocommit."""
        resource, tenant = place
        statement = self.statement(resource)
        arguments = statement.arguments({"keys": list(self.defaults), "tenant": tenant})
        if working is not None and working.connection is not None:
            rows = await working.connection.fetch(statement.text, arguments)
        else:
            database = unit.shop.databases[resource.scope.name]
            rows = await database.run(tenant if resource.scope.tenant_bound else None, statement.text, arguments)
        return {
            row[0]: self._value(resource, row[1], row[2]) for row in rows if row[1] is not None or row[2] is not None
        }

    def _value(self, resource: Resource, value: str | None, secret: str | None) -> Any:
        if secret is not None:
            return unseal(self.cipher, resource, SECRET_COLUMN, msgspec.json.decode(secret))
        return msgspec.json.decode(value or "null")


def _beside(unit: UnitOfWork, resource: Resource) -> bool:
    """Whether the unit's connection reaches the entity."""
    own, scope = unit.shop.catalog.scopes[unit.scope], resource.scope
    return (own.stored_in, own.tenant_bound) == (scope.stored_in, scope.tenant_bound)


def setting_rows(resource: Resource) -> Statement:
    """(key, value, secret value) of the rows that count for `tenant`, its own after those for all."""
    row = resource.table.alias("t")
    secret = row.c[SECRET_COLUMN] if SECRET_COLUMN in row.c else sa.cast(sa.null(), row.c.value.type)
    where = [row.c.is_active, row.c.key == sa.any_(bind("keys", TEXTS)), *wall(resource, row, True)]
    order: list[Any] = []
    if "tenant_id" in row.c and not resource.scope.tenant_bound:
        where.append(sa.or_(row.c.tenant_id.is_(None), row.c.tenant_id == bind("tenant", UUID_TYPE)))
        order.append(row.c.tenant_id.asc().nulls_first())
    return compile_statement(sa.select(row.c.key, row.c.value, secret).where(*where).order_by(*order))
