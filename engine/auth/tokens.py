"""Access tokens: signed, short-lived, naming a session. What the caller may do is read from the database, not from the token."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import jwt
import msgspec

from engine.auth.keys import SigningKeys
from engine.clock import CLOCK
from engine.errors import generic

ISSUER = "cxg"
ALGORITHM = "EdDSA"


class Claims(msgspec.Struct, frozen=True):
    """What a verified token says: user, session, tenant (None = Manager side), and the second it ends."""

    user_id: UUID
    session_id: UUID
    tenant_id: UUID | None
    expires: float


class Tokens:
    """Makes and verifies access tokens."""

    def __init__(self, keys: SigningKeys, minutes: int) -> None:
        self.keys, self.seconds = keys, minutes * 60

    def issue(self, user_id: UUID, session_id: UUID, tenant_id: UUID | None) -> str:
        """A token for a session."""
        issued = CLOCK.now()
        claims = {
            "iss": ISSUER,
            "aud": ISSUER,
            "sub": str(user_id),
            "sid": str(session_id),
            "iat": issued,
            "exp": issued + timedelta(seconds=self.seconds),
            "jti": str(CLOCK.new_id()),
            **({"tid": str(tenant_id)} if tenant_id else {}),
        }
        return jwt.encode(claims, self.keys.private[self.keys.current], ALGORITHM, headers={"kid": self.keys.current})

    def verify(self, token: str) -> Claims:
        """The claims of a token. 401 for any that is not ours, not now, or not for this use."""
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = self.keys.public.get(kid) if isinstance(kid, str) else None
            if key is None:
                raise generic("invalid_token")
            # times are compared below, with the engine's own clock
            options = {
                "require": ["exp", "iat", "sub", "sid", "aud", "iss"],
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            }
            claims = jwt.decode(token, key, algorithms=[ALGORITHM], audience=ISSUER, issuer=ISSUER, options=options)  # type: ignore[arg-type]
            moment = CLOCK.now().timestamp()
            if not (float(claims.get("nbf", claims["iat"])) - 5 <= moment < float(claims["exp"])):
                raise generic("invalid_token")
            tenant = claims.get("tid")
            return Claims(
                UUID(claims["sub"]), UUID(claims["sid"]), UUID(tenant) if tenant else None, float(claims["exp"])
            )
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
            raise generic("invalid_token") from None
