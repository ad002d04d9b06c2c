"""Access tokens of an outside issuer: verified with its keys, and read into a caller."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

import jwt

from engine.auth.jwks import KNOWN, KeySet
from engine.clock import CLOCK
from engine.errors import generic
from engine.types import Principal, TenantRef

# seconds that two clocks may differ
LEEWAY = 30
MAX_TOKEN, MAX_KID = 16_384, 200

FindTenant = Callable[[str], Awaitable[TenantRef | None]]


class Mapped(NamedTuple):
    """Where tokens say what: paths of claims, dotted; empty = they do not."""

    roles: str = "roles"
    tenant: str = ""
    email: str = "email"


class Outside:
    """Knows the tokens of one issuer."""

    def __init__(self, issuer: str, audience: str, keys: KeySet, algorithms: tuple[str, ...]) -> None:
        """ValueError for an algorithm that cannot be trusted with public keys."""
        if unknown := sorted(set(algorithms) - KNOWN):
            raise ValueError(f"{unknown[0]!r} is no algorithm for public keys; they are {', '.join(sorted(KNOWN))}")
        self.issuer, self.audience, self.keys, self.algorithms = issuer, audience, keys, algorithms
        self.mapped = Mapped()
        self.find_tenant: FindTenant = tenant_of
        # what the caller's roles make of him
        self.govern: Callable[[Principal], Principal] = lambda principal: principal

    def issued(self, token: str) -> bool:
        """Whether a token says that it is of this issuer; whether it is true is another question."""
        try:
            options: Any = {"verify_signature": False}
            return bool(jwt.decode(token, options=options).get("iss") == self.issuer)
        except (jwt.PyJWTError, ValueError, RecursionError):
            return False

    async def principal(self, token: str) -> tuple[Principal, float]:
        """The caller, and the second that his token ends. 401 for a token that is not good, 503 when nobody can tell."""
        claims = await self._claims(token)
        tenant = claim_at(claims, self.mapped.tenant) if self.mapped.tenant else None
        place = None
        if tenant is not None:
            place = await self.find_tenant(str(tenant))
            if place is None:
                raise generic("wrong_scope")
        email = claim_at(claims, self.mapped.email)
        known = Principal(
            user_id=user_of(self.issuer, str(claims["sub"])),
            email=email if isinstance(email, str) else None,
            tenant=place,
            roles=roles_in(claim_at(claims, self.mapped.roles)),
            claims=claims,
        )
        return self.govern(known), float(claims["exp"]) + LEEWAY

    async def _claims(self, token: str) -> dict[str, Any]:
        try:
            if len(token) > MAX_TOKEN:
                raise generic("invalid_token")
            header = jwt.get_unverified_header(token)
            kid, algorithm = header.get("kid", ""), header.get("alg")
            if not isinstance(kid, str) or len(kid) > MAX_KID or algorithm not in self.algorithms:
                raise generic("invalid_token")
            key = await self.keys.key(kid)
            if algorithm not in key.algorithms:
                raise generic("invalid_token")
            claims: dict[str, Any] = jwt.decode(
                token, key.key, algorithms=[algorithm], audience=self.audience, issuer=self.issuer, options=CHECKS
            )
            if not (isinstance(claims["sub"], str) and 0 < len(claims["sub"]) <= 255 and _is_now(claims)):
                raise generic("invalid_token")
            return claims
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError, RecursionError):
            raise generic("invalid_token") from None


# times are compared here, with the engine's own clock
CHECKS: Any = {
    "require": ["exp", "sub", "aud", "iss"],
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
}


def _is_now(claims: Mapping[str, Any]) -> bool:
    moment = CLOCK.now().timestamp()
    return float(claims.get("nbf", 0)) - LEEWAY <= moment < float(claims["exp"]) + LEEWAY


def claim_at(claims: Mapping[str, Any], path: str) -> Any:
    """A claim by its name, else by a dotted path: `realm_access.roles`. None when there is none."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def roles_in(claim: Any) -> tuple[str, ...]:
    """Role names: a list of texts, or one text with spaces between."""
    words = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else []
    return tuple(dict.fromkeys(word for word in words if isinstance(word, str)))


def user_of(issuer: str, subject: str) -> UUID:
    """The user's id: the subject where it is a uuid, else one that follows from issuer and subject."""
    try:
        return UUID(subject)
    except ValueError:
        return uuid5(NAMESPACE_URL, f"{issuer}#{subject}")


async def tenant_of(claim: str) -> TenantRef:
    """The tenant that a claim names, where nobody keeps a list of them."""
    try:
        return TenantRef(UUID(claim), claim)
    except ValueError:
        return TenantRef(uuid5(NAMESPACE_URL, f"tenant#{claim}"), claim)
