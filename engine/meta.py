"""`GET /<scope>/_meta` and `GET /<scope>/<domain>/<entity>/_meta`: what this caller may do, and what the engine enforces."""

from __future__ import annotations

from typing import Any

from engine.aggregates import FUNCTIONS, PARTS
from engine.catalog import Catalog, Resource
from engine.described import described, field_described
from engine.dispatch import Dispatcher
from engine.encode import Answer, success_of
from engine.errors import ForbiddenError, generic
from engine.filters import OPERATORS
from engine.past import log_of
from engine.query import single, split_query
from engine.request import Request
from engine.routes import canonical_path
from engine.types import Op, Principal
from engine.views import view_of

TAIL = "/_meta"


class Meta:
    """Handlers of both routes."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher, self.catalog = dispatcher, dispatcher.shop.catalog

    async def answer(self, request: Request) -> Answer:
        """The scope, or one entity. 404 for what is not registered; 403 for an entity that the caller may not read; 400 for any
        parameter."""
        principal = await self.dispatcher.caller(request)
        view = view_of(principal)
        catalog = view.catalog if view else self.catalog
        path = canonical_path(request.path).decode("ascii", "replace")[1 : -len(TAIL)]
        scope = self.catalog.scopes.get(path.split("/")[0])
        if scope is None:
            raise generic("route_not_found")
        single(split_query(request.query), ())
        if scope.tenant_bound != (principal.tenant is not None):
            raise generic("wrong_scope")
        if path == scope.name:
            return success_of(_scope(catalog, scope.name, principal))
        resource = catalog.resources.get(path)
        if resource is None:
            raise generic("route_not_found")
        if not principal.may(resource.permissions[Op.LIST]):
            raise ForbiddenError("permission_denied", f"This needs the permission {resource.permissions[Op.LIST]}")
        past = log_of(self.catalog, resource) is not None
        relations = _relations(catalog, resource, principal)
        return success_of({**_entity(catalog, resource, principal), "relations": relations, "as_of": past})

    async def me(self, request: Request) -> Answer:
        """GET /auth/me where nobody signs in: the caller as the gate knows him."""
        who = await self.dispatcher.caller(request)
        bound = who.tenant is not None
        scope = next((scope.name for scope in self.catalog.scopes.values() if scope.tenant_bound == bound), None)
        known = self.catalog.permissions[bound]
        tenant = {"id": who.tenant.id, "slug": who.tenant.slug} if who.tenant else None
        said = {"id": who.user_id, "email": who.email, "tenant": tenant, "scope": scope, "roles": list(who.roles)}
        return success_of({**said, "permissions": sorted(known if who.everything else who.permissions)})


def _scope(catalog: Catalog, name: str, principal: Principal) -> dict[str, Any]:
    """Every entity of which the caller may do something; the operators of filters, functions of groups and periods of time."""
    entities = [
        {
            "path": resource.path,
            "kind": resource.entity.kind,
            "label": resource.entity.label,
            "description": resource.entity.description,
            "operations": allowed,
        }
        for resource in catalog.resources.values()
        if resource.scope.name == name and (allowed := _allowed(resource, principal))
    ]
    operators = {operator.name: operator.meaning for operator in OPERATORS.values()}
    functions = {function.name: function.meaning for function in FUNCTIONS.values()}
    return {"scope": name, "entities": entities, "operators": operators, "functions": functions, "parts": [*PARTS]}


def _allowed(resource: Resource, principal: Principal) -> list[str]:
    return [op.value for op in Op if op in resource.ops and all(map(principal.may, resource.needed(op)))]


def _relations(catalog: Catalog, resource: Resource, principal: Principal) -> dict[str, Any]:
    """What may stand in `expand` and before a dot in filters, by name. `via`: the columns that name the other row: of one, the
    row's own; of many, theirs. Those whose rows the caller may not read are left out."""
    found: dict[str, Any] = {}
    for relation in resource.relations.values():
        target = catalog.resources.get(relation.target)
        if target is None or not principal.may(target.permissions[Op.LIST]):
            continue
        told: dict[str, Any] = {"entity": target.path, "kind": "many" if relation.many else "one"}
        told["via"] = [str(remote if relation.many else local) for local, remote in relation.pairs]
        if not relation.many:
            told["nullable"] = any(resource.fields[local].nullable for local, _ in relation.pairs)
        found[relation.name] = told
    return found


def _entity(catalog: Catalog, resource: Resource, principal: Principal) -> dict[str, Any]:
    served = {other.table.fullname for other in catalog.resources.values()}
    fields = [
        field_described(field, unmasked=principal.may(resource.sensitive))
        for field in resource.fields.values()
        if field.shown or field.creatable or field.updatable
    ]
    for field in fields:
        if "references" in field and field["references"] not in served:
            field["references"] = None
    return {
        "path": resource.path,
        **described(resource),
        "fields": fields,
        "operations": _allowed(resource, principal),
        "sees_masked": principal.may(resource.sensitive),
    }
