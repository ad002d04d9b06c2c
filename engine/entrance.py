"""Who may enter: the identity of a registry with its routes of signing in, or one access key."""

from __future__ import annotations

from dataclasses import dataclass

from engine.auth.access_key import KeyHolder, access_key
from engine.auth.authenticator import Authenticator, Gate
from engine.auth.fetch import address_of
from engine.auth.jwks import KeySet
from engine.auth.keys import SigningKeys
from engine.auth.outside import Mapped, Outside
from engine.auth.tokens import ISSUER, Tokens
from engine.catalog import Catalog
from engine.errors import StartupFault
from engine.grants import read_grants
from engine.operations import Operations
from engine.settings import Settings
from engine.signin import Endpoint, OutsideEndpoints, PrincipalLoader, SignInEndpoints, callers_of, routes_of

# (path, handler, method) of a route beside the entities
WayIn = tuple[str, Endpoint, str]
WAYS_IN = (
    'one module says `identity_provider = ...` (engine.hooks.Identity), `identity = "bundled"` serves the bundled registry '
    'beside for its users, `identity = "key"` lets in whoever holds one access key, or the settings name an issuer'
)


@dataclass
class Entrance:
    """The gate, the routes that belong to it, and the outside issuer whose tokens it takes."""

    gate: Gate
    routes: list[WayIn]
    outside: Outside | None = None

    def forget(self) -> None:
        """Read every caller anew."""
        if isinstance(self.gate, Authenticator):
            self.gate.forget()


def uses_key(settings: Settings, catalog: Catalog) -> bool:
    """Whether one access key opens the door. StartupFault where nobody could enter, or some could not."""
    if (catalog.identity is not None or outside_of(settings) is not None) and settings.identity != "key":
        return False
    if settings.identity in ("registry", "bundled") or (settings.environment == "production" and not settings.identity):
        raise StartupFault(f"no registry says who may enter: {WAYS_IN}")
    if catalog.identity is not None or settings.issuer:
        raise StartupFault('identity = "key", but a registry or an issuer says who may enter; leave one of them out')
    bound = [scope.name for scope in catalog.scopes.values() if scope.tenant_bound]
    if bound:
        raise StartupFault(
            f"rows of the scope {bound[0]!r} belong to tenants, whom an access key does not know: {WAYS_IN}"
        )
    return True


def check_entrance(settings: Settings, catalog: Catalog) -> None:
    """StartupFault where nobody could enter, half of an issuer is said, or the policy does not fit: before anything is made."""
    uses_key(settings, catalog)
    outside_of(settings)
    if settings.policy is not None:
        read_grants(settings.policy, catalog)


def entrance(settings: Settings, operations: Operations) -> Entrance:
    """The way in that settings and registries make."""
    identity = operations.shop.catalog.identity
    if uses_key(settings, operations.shop.catalog):
        given = settings.access_key.get_secret_value() if settings.access_key else None
        return Entrance(KeyHolder(access_key(settings.data, given)), [])
    outside = outside_of(settings)
    tokens = Tokens(SigningKeys(settings.data / "keys"), settings.token_minutes)
    loader = PrincipalLoader(operations, identity) if identity else None
    gate = callers_of(tokens, loader, settings.principal_seconds, outside)
    endpoints = SignInEndpoints(loader, gate, tokens) if loader else OutsideEndpoints(gate)
    return Entrance(gate, routes_of(endpoints), outside)


def outside_of(settings: Settings) -> Outside | None:
    """The outside issuer of the settings. StartupFault when they say half of it, or what cannot be trusted."""
    said = {name: getattr(settings, name) for name in ("issuer", "jwks_url", "audience", "policy")}
    if not any(said.values()):
        return None
    if missing := [name for name, value in said.items() if not value]:
        raise StartupFault(f"issuer, jwks_url, audience and policy go together; {', '.join(missing)} is not set")
    if settings.issuer == ISSUER:
        raise StartupFault(f"{ISSUER!r} is who issues tokens here; an outside issuer has a name of its own")
    try:
        address_of(str(settings.jwks_url))
        keys = KeySet(str(settings.jwks_url), settings.jwks_seconds, settings.jwks_pause)
        outside = Outside(str(settings.issuer), str(settings.audience), keys, tuple(settings.issuer_algorithms))
    except ValueError as wrong:
        raise StartupFault(f"the outside issuer cannot be trusted: {wrong}") from wrong
    outside.mapped = Mapped(settings.roles_claim, settings.tenant_claim or "", settings.email_claim)
    return outside
