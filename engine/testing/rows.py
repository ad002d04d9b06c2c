"""Rows to test with: valid ones of any entity, their parents first, made through the API.

What metadata cannot say of an entity (a rule of a hook) is said by a short `Recipe`, or by `Entity.info["example"]`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx

from engine.catalog import Resource
from engine.fields import Field
from engine.testing.harness import Live
from engine.testing.values import NUMBERS, example, patterns
from engine.types import Op, TenantRef

Body = dict[str, Any]
# seconds
SEALED_WITHIN = 5.0


@dataclass(frozen=True)
class Recipe:
    """What a body of an entity needs beside its metadata.

    `values`: column -> value, or function of the RowMaker that gives it; or one function that gives them all, for
    columns that belong together. They are part of every body. `fix`: brings a body in line with rules, in place.
    `decided`: fields that rules may set otherwise than given. `skip`: check -> why it is left out.
    """

    values: Mapping[str, Any] | Callable[[RowMaker], Mapping[str, Any]] = field(default_factory=dict)
    fix: Callable[[Body], None] | None = None
    decided: frozenset[str] = frozenset()
    skip: Mapping[str, str] = field(default_factory=dict)


Recipes = Mapping[str, Recipe]


class RowMaker:
    """Makes rows as the usual caller of each scope. `recipes`: path `scope/domain/entity` -> Recipe."""

    def __init__(self, live: Live, recipes: Recipes | None = None) -> None:
        self.live, self.recipes = live, recipes or {}
        self.parents: dict[str, str] = {}
        self.known: dict[str, frozenset[str]] = {}

    def recipe(self, resource: Resource) -> Recipe:
        """The given recipe, else the one that the entity's declaration holds."""
        return self.recipes.get(resource.path) or Recipe(values=resource.entity.info.get("example", {}))

    def fixed(self, resource: Resource) -> Body:
        """The values of the recipe."""
        given = self.recipe(resource).values
        values = given(self) if callable(given) else given
        body = {name: value(self) if callable(value) else value for name, value in values.items()}
        self.known[resource.path] = frozenset(body)
        return body

    def fixed_names(self, resource: Resource) -> frozenset[str]:
        """The fields that the recipe gives."""
        if resource.path not in self.known:
            self.fixed(resource)
        return self.known[resource.path]

    def body(self, resource: Resource, **given: Any) -> Body:
        """The smallest valid body: required fields, what rules over several columns ask for, the recipe, `given`."""
        pattern = {name: value for name, value in patterns(resource)[0].items() if value is not None}
        wanted = dict.fromkeys(
            name for name, f in resource.fields.items() if f.creatable and (f.required or name in pattern)
        )
        body: Body = {**self.fixed(resource), **given}
        for name in wanted:
            if name not in body:
                body[name] = self._value(resource, resource.fields[name], pattern)
        fix = self.recipe(resource).fix
        if fix:
            fix(body)
        return {**body, **given}

    def _value(self, resource: Resource, field: Field, pattern: Mapping[str, Any]) -> Any:
        if field.references:
            return self.parent(resource, field.name)
        if getattr(field.type, "enums", None) and field.name in pattern:
            return pattern[field.name]
        return example(field, next(NUMBERS))

    def target(self, resource: Resource, column: str) -> Resource | None:
        """The entity that a reference column names, if it is registered."""
        wanted = resource.fields[column].references
        found = (
            r for r in self.live.catalog.resources.values() if r.scope is resource.scope and r.table.fullname == wanted
        )
        return next(found, None)

    def parent(self, resource: Resource, column: str) -> str:
        """The id of a row that the column may name: a new one when the column is part of a unique key."""
        target = self.target(resource, column)
        assert target is not None, (
            f"{resource.path}.{column} refers to a table that is not registered; a recipe must give it"
        )
        if column in unique_columns(resource) or resource.header is target:
            return str(self.make(target)["id"])
        if target.path not in self.parents:
            self.parents[target.path] = str(self.make(target)["id"])
        return self.parents[target.path]

    def references(self, resource: Resource) -> Mapping[str, Any]:
        """A row for each reference column that a body may fill, and the recipe's values."""
        fixed = self.fixed(resource)
        names = [n for n in resource.reference_columns if resource.fields[n].creatable and n not in fixed]
        return {**{name: self.parent(resource, name) for name in names}, **fixed}

    def make(self, resource: Resource, client: httpx.Client | None = None, **given: Any) -> Body:
        """A new row. Through the API where it offers create, else put into the database as the engine would."""
        if Op.CREATE not in resource.ops:
            return self.plant(resource, given)
        caller = client or self.client(resource)
        answer = caller.post(f"/{resource.path}", json=self.body(resource, **given))
        assert answer.status_code == 201, f"cannot make a row of {resource.path}: {answer.text}"
        made: Body = answer.json()["data"]
        return kept(resource, made)

    def plant(self, resource: Resource, given: Body) -> Body:
        """Put a row of an entity that only the engine writes into the database; the row as it is read."""
        row: Body = {**self.fixed(resource), **given}
        for f in resource.columns:
            needed = not f.nullable and f.column is not None and f.column.server_default is None
            if f.name not in row and (needed or f.name in resource.keys):
                row[f.name] = self._engine_value(resource, f)
        names = ", ".join(row)
        table = resource.table.fullname
        sql = f"insert into {table} ({names}) select {names} from jsonb_populate_record(null::{table}, $1::jsonb)"
        self.live.run_sql(resource.scope.stored_in, sql, json.dumps(row), tenant=self.tenant(resource))
        key = ",".join(str(row[name]) for name in resource.keys)
        until = time.monotonic() + SEALED_WITHIN
        while True:
            answer = self.client(resource).get(f"/{resource.path}/{key}")
            assert answer.status_code == 200, f"cannot read the planted row of {resource.path}: {answer.text}"
            found: Body = answer.json()["data"]
            # a record of the change log is sealed soon after it came, and changes no more from then on
            if all(found[name] for name in self._sealed(resource)) or time.monotonic() > until:
                return found
            time.sleep(0.05)

    def _sealed(self, resource: Resource) -> Sequence[str]:
        """The columns of a change log that the relay will fill; it is told that there is something to do."""
        relay = self.live.system.relay
        if resource.entity.role != "change_log" or relay is None:
            return ()
        tenant = self.tenant(resource)
        relay.wake(resource.scope.name, TenantRef(tenant, "planted") if tenant else None)
        return tuple(resource.table.info.get("sealed_columns", ()))

    def client(self, resource: Resource) -> httpx.Client:
        """Whose rows these are."""
        return self.live.client(resource.scope.name)

    def tenant(self, resource: Resource) -> UUID | None:
        """The tenant of the usual caller; None outside tenants."""
        return self.live.tenant(self.client(resource)) if resource.scope.tenant_bound else None

    def _engine_value(self, resource: Resource, field: Field) -> Any:
        if field.name == "status" and resource.stateful:
            return resource.machine.initial
        if field.name == "tenant_id" and resource.scope.tenant_bound:
            return str(self.tenant(resource))
        default = field.default() if field.default else None
        if default is not None and field.name not in unique_columns(resource):
            return default if isinstance(default, (bool, int, list, dict, str)) else str(default)
        return self._value(resource, field, {})


def kept(resource: Resource, made: Body) -> Body:
    """A created row without what only the answer to its creation shows."""
    once = {virtual.name for virtual in resource.entity.virtual if virtual.output}
    return {name: value for name, value in made.items() if name not in once}


def unique_columns(resource: Resource) -> frozenset[str]:
    """Columns that are part of a unique key, or in which rows of the same days must differ."""
    keys = [names for code, names in resource.constraints.values() if code == "duplicate"]
    keys += [period.columns for period in resource.entity.periods]
    return frozenset(name for names in keys for name in names) - set(resource.keys)


def key_of(resource: Resource, row: Mapping[str, Any]) -> str:
    """The key as a path holds it."""
    return ",".join(str(row[name]) for name in resource.keys)
