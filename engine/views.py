"""What a set of roles sees: a catalogue in which what the policy keeps from them does not exist, and permissions.

A view is made when a set of roles is first met, and kept: per request it is a look-up. All that a request is read, compiled and
rendered by comes from its caller's view, so that a hidden field is unknown in every clause alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.call import Service
from engine.catalog import Catalog, Resource, RowLimit, unique_keys_of
from engine.entity import Entity, Nested
from engine.errors import ApiError
from engine.fields import Field
from engine.grants import Grants, Role, Share, merged, read_grants
from engine.moment import Workshop
from engine.operations import Operations
from engine.row_rules import Compiler, connect
from engine.types import Principal

# sets of roles that are kept; a token may name any
MOST = 256


@dataclass(frozen=True, eq=False)
class View:
    """The part of a catalogue that some roles see, and what serves their requests."""

    permissions: frozenset[str]
    service: Service

    @property
    def catalog(self) -> Catalog:
        """What exists for them."""
        return self.service.shop.catalog

    def discreet(self, path: str, error: ApiError) -> None:
        """Take out of an error what it says of fields that the caller does not see: a rule of the entity may name any."""
        fields = self.catalog.resources[path].fields.values()
        unseen = {field.name for field in fields if field.unseen and not (field.creatable or field.updatable)}
        kept = tuple(fault for fault in error.details if fault.field.rpartition(".")[2] not in unseen)
        if len(kept) != len(error.details):
            error.details = kept
            error.message = f"{kept[0].field}: {kept[0].message}" if kept else "The request does not fit"


class Views:
    """The views of one policy."""

    def __init__(self, service: Service, grants: Grants) -> None:
        """`service`: of the whole catalogue."""
        self.service, self.grants = service, grants
        self.made: dict[frozenset[str], View] = {}

    def of(self, roles: Iterable[str]) -> View:
        """The view of a set of roles; those that the policy does not know count for nothing."""
        known = frozenset(role for role in roles if role in self.grants.roles)
        found = self.made.get(known)
        if found is None:
            if len(self.made) >= MOST:
                self.made.pop(next(iter(self.made)))
            found = self.made[known] = self._made([self.grants.roles[role] for role in sorted(known)])
        return found

    def _made(self, roles: list[Role]) -> View:
        whole = self.service.shop
        catalog = seen_by(whole.catalog, roles)
        shop = Workshop(catalog, whole.databases, whole.vault, whole.defaults, walled=whole.reads.walled)
        shop.settings, shop.asked, shop.handlers, shop.wake = whole.settings, whole.asked, whole.handlers, whole.wake
        shop.reads.similar = whole.reads.similar
        service = Service(Operations(shop), self.service.max_body, self.service.max_bulk)
        service.carrier = self.service.carrier
        permissions = {code for role in roles for code in role.permissions}
        for path in {path for role in roles for path in role.shares}:
            key = catalog.resources[path].key
            permissions |= {
                f"{key}.{right}" for role in roles if path in role.shares for right in role.shares[path].rights
            }
        return View(frozenset(permissions), service)


class Policy:
    """A policy file, and the views of what it says now."""

    def __init__(self, path: Path, service: Service) -> None:
        self.path, self.service = path, service
        self.views = Views(service, read_grants(path, service.shop.catalog))

    def govern(self, principal: Principal) -> Principal:
        """The caller with what the policy gives to his roles."""
        view = self.views.of(principal.roles)
        return replace(principal, permissions=view.permissions, view=view)

    def reread(self) -> None:
        """Take what the file says now, at once for whoever comes next. StartupFault, and nothing changes, when it does not fit."""
        self.views = Views(self.service, read_grants(self.path, self.service.shop.catalog))


def view_of(principal: Principal) -> View | None:
    """The view of a caller whom a policy governs."""
    return principal.view if isinstance(principal.view, View) else None


# -- catalogues


def seen_by(whole: Catalog, roles: list[Role]) -> Catalog:
    """The catalogue as these roles see it together. Entities of which they have nothing stay as they are: nobody is let in."""
    compiler = Compiler(whole, "p")
    shares = {
        path: merged([role.shares[path] for role in roles if path in role.shares])
        for path in dict.fromkeys(path for role in roles for path in role.shares)
    }
    resources = dict(whole.resources)
    for path, (share, rows) in shares.items():
        limits = tuple(
            RowLimit(compiler.alternatives(resources[path], trees), frozenset({right})) for right, trees in rows.items()
        )
        resources[path] = _seen(resources[path], share, limits)
    for path in shares:
        object.__setattr__(resources[path], "relations", _relations(resources[path], resources))
        object.__setattr__(resources[path], "entity", _entity(resources[path], shares))
    values = {**whole.row_values, **compiler.values}
    catalog = Catalog(whole.scopes, resources, whole.incoming, whole.identity, values, whole.whole)
    # those without a share are the whole catalogue's own
    connect(catalog, shares)
    return catalog


def _seen(resource: Resource, share: Share, limits: tuple[RowLimit, ...]) -> Resource:
    fields = {name: _field(field, share) for name, field in resource.fields.items()}
    shown = {name for name, field in fields.items() if field.shown or field.creatable or field.updatable}
    return replace(
        resource,
        fields=fields,
        unique_keys=unique_keys_of(resource.entity, fields, resource.keys),
        constraints={
            name: (code, tuple(column for column in columns if column in shown))
            for name, (code, columns) in resource.constraints.items()
        },
        row_limits=(*(resource.row_limits or ()), *limits),
    )


def _field(field: Field, share: Share) -> Field:
    creatable = field.creatable and field.name in share.create
    updatable = field.updatable and field.name in share.update
    barred = (field.creatable, field.updatable) != (creatable, updatable)
    return replace(field, unseen=field.name not in share.read, creatable=creatable, updatable=updatable, barred=barred)


def _relations(resource: Resource, resources: Mapping[str, Resource]) -> dict[str, Any]:
    """Those whose foreign key is seen, under their usual names."""
    return {
        name: relation
        for name, relation in resource.relations.items()
        if all(
            resource.fields[local].shown and resources[relation.target].fields[remote].shown
            for local, remote in relation.pairs
        )
    }


def _entity(resource: Resource, shares: Mapping[str, tuple[Share, Any]]) -> Entity:
    entity = resource.entity
    shown = {field.name for field in resource.shown}
    nested = []
    for one in entity.nested:
        child = f"{resource.scope.name}/{one.entity.replace('.', '/', 1)}"
        rights = shares[child][0].rights if child in shares else frozenset[str]()
        if "read" in rights:
            nested.append(_nested(one, rights))
    label = entity.label if entity.label in shown else resource.keys[0] if resource.keys else "id"
    return replace(entity, label=label, search=[name for name in entity.search if name in shown], nested=nested)


def _nested(nested: Nested, rights: frozenset[str]) -> Nested:
    """Children are made with their header, and replaced, by whoever may make and delete them."""
    kept = {"c": {"create"}, "u": {"create", "delete"}}
    return replace(nested, on="".join(letter for letter in nested.on if kept[letter] <= rights))
