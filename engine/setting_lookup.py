"""Values of settings, as the entities with role `settings` hold them: the tenant's own row, the platform's row for the
tenant, the platform's row for all, the built-in default.

Such an entity has the columns `key` and `value`; outside tenants `tenant_id` (null = for all), and `secret_value`, which
counts instead of `value` where it is filled.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from engine.catalog import Catalog, Resource
from engine.errors import generic
from engine.secrets import Cipher, unseal
from engine.shapes import Statement
from engine.sql.parts import UUID as UUID_TYPE
from engine.sql.parts import TEXTS, bind, compile_statement, wall

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
        place, now = (resource.scope.name, tenant), time.monotonic()
        at_work = [one for one in (unit, *unit.elsewhere.values()) if one.database is self._database(unit, resource)]
        fresh = any(one.settings_written for one in at_work)
        known = self.kept.get(place)
        if known is not None and known[0] > now and not fresh:
            return known[1]
        generation = self.generation
        values = await self._read(at_work[0] if at_work else None, unit, resource, tenant)
        if self.seconds and not fresh and generation == self.generation:
            if len(self.kept) >= MOST_KEPT:
                self.kept.pop(next(iter(self.kept)))
            self.kept[place] = (now + self.seconds, values)
        return values
