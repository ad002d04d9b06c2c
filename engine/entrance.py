"""Who may enter: the identity of a registry with its routes of signing in, or one access key."""

from __future__ import annotations

from engine.auth.access_key import KeyHolder, access_key
from engine.auth.authenticator import Authenticator, Gate
from engine.auth.keys import SigningKeys
from engine.auth.tokens import Tokens
from engine.catalog import Catalog
from engine.errors import StartupFault
from engine.hooks import Identity
from engine.operations import Operations
from engine.settings import Settings
from engine.signin import Endpoint, PrincipalLoader, SignInEndpoints, routes_of

# (path, handler, method) of a route beside the entities
WayIn = tuple[str, Endpoint, str]
WAYS_IN = (
    'one module says `identity_provider = ...` (engine.hooks.Identity), `identity = "bundled"` serves the bundled registry '
    'beside for its users, `identity = "key"` lets in whoever holds one access key'
)


def uses_key(settings: Settings, catalog: Catalog) -> bool:
    """Whether one access key opens the door. StartupFault where nobody could enter, or some could not."""
    if catalog.identity is not None and settings.identity != "key":
        return False
    if settings.identity in ("registry", "bundled") or (settings.environment == "production" and not settings.identity):
        raise StartupFault(f"no registry says who may enter: {WAYS_IN}")
    if catalog.identity is not None:
        raise StartupFault('identity = "key", but a registry says who may enter; leave one of them out')
    bound = [scope.name for scope in catalog.scopes.values() if scope.tenant_bound]
    if bound:
        raise StartupFault(
            f"rows of the scope {bound[0]!r} belong to tenants, whom an access key does not know: {WAYS_IN}"
        )
    return True


def entrance(settings: Settings, operations: Operations) -> tuple[Gate, list[WayIn]]:
    """The gate, and the routes that belong to it."""
    catalog = operations.shop.catalog
    if uses_key(settings, catalog):
        given = settings.access_key.get_secret_value() if settings.access_key else None
        return KeyHolder(access_key(settings.data, given)), []
    identity = catalog.identity
    assert identity is not None, "without one the key opens"
    return _signing_in(settings, operations, identity)


def _signing_in(settings: Settings, operations: Operations, identity: Identity) -> tuple[Gate, list[WayIn]]:
    tokens = Tokens(SigningKeys(settings.data / "keys"), settings.token_minutes)
    loader = PrincipalLoader(operations, identity)
    authenticator = Authenticator(tokens, loader.by_session, loader.by_key, settings.principal_seconds)
    return authenticator, routes_of(SignInEndpoints(loader, authenticator, tokens))
