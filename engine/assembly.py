"""What registries declare, and a database that is served as it is, become one catalogue."""

from __future__ import annotations

from engine import registration
from engine.catalog import Catalog, compile_catalog
from engine.chain import add_heads, home_of, logs_of
from engine.checks import check_declarations, check_scope
from engine.grants import check_apart
from engine.load import Registry
from engine.reflection import Reflected
from engine.repetition import add_answers
from engine.row_rules import with_row_rules
from engine.transfers.table import add_transfers
from tenancy.shape import bind_to_tenant, index_foreign_keys


def compiled(registry: Registry, reflected: Reflected | None = None) -> Catalog:
    """The catalogue of what is declared, and of a database that is served as it is."""
    registry.add_logs()
    check_declarations(registry.scopes, registry.entities, registry.rules, registry.jobs)
    registration.complete(registry.entities)
    own = list(registry.scopes)
    if reflected is not None:
        check_scope(reflected.scope, registry.scopes)
        registry.scopes.append(reflected.scope)
        registry.entities += reflected.entities
    for scope in own:
        add_answers(scope)
        add_transfers(scope)
        if scope.tenant_bound:
            bind_to_tenant(scope.metadata)
        index_foreign_keys(scope.metadata)
    catalog = with_row_rules(compile_catalog(registry.scopes, registry.entities, registry.rules, registry.identity))
    if catalog.identity is not None:
        check_apart(catalog)
    if (home := home_of(catalog)) is not None and logs_of(catalog):
        add_heads(catalog.scopes[home].metadata)
    return catalog
