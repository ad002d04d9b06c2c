"""Who may enter: the bundled registry's answers to authentication (`engine.hooks.Identity`), from idam and tnnt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from engine.errors import ApiError, UnauthorizedError
from engine.hooks import Identity, Moment, Row, Session, SignIn
from engine.types import Principal, TenantRef
from registry.manager import authority, joining, second_factor, seed, sign_in
from registry.manager.flags import flags_of

SHOWN = ("id", "email", "full_name", "user_type", "locale", "timezone", "mfa_enabled")


class ManagerIdentity:
    """Users of idam.users, for both scopes; every question is asked with a moment on the Manager database."""

    scope = "manager"

    async def sign_in(self, moment: Moment, attempt: SignIn) -> Session | ApiError:
        """Open a session, or say why not."""
        return await sign_in.sign_in(moment, attempt)

    async def refresh(self, moment: Moment, token: str, attempt: SignIn) -> Session | ApiError:
        """Exchange a refresh token for the next of its family."""
        return await sign_in.refresh(moment, token, attempt)

    async def revoke(self, moment: Moment, session_id: UUID | None, token: str | None) -> None:
        """Sign out."""
        await sign_in.revoke(moment, session_id, token)

    async def principal(
        self, moment: Moment, user_id: UUID, tenant_id: UUID | None, session_id: UUID
    ) -> Principal | ApiError:
        """The caller as he stands now."""
        return await sign_in.session_principal(moment, user_id, tenant_id, session_id)

    async def api_key(self, moment: Moment, key: str, ip: str | None) -> Principal | ApiError:
        """The caller behind an API key."""
        return await authority.key_authority(moment, key, ip)

    async def profile(self, moment: Moment) -> Mapping[str, Any]:
        """The signed-in user, the tenant he is in, and which features are on for him there."""
        who = moment.principal
        user = await moment.get("idam.users", who.user_id) if who.user_id else None
        if user is None:
            raise UnauthorizedError("invalid_token")
        tenant = {"id": who.tenant.id, "slug": who.tenant.slug} if who.tenant else None
        flags = await flags_of(moment, who.tenant.id if who.tenant else None, user["id"])
        return {**{name: user[name] for name in SHOWN}, "tenant": tenant, "flags": flags}

    async def second_factor(self, moment: Moment, step: str, given: Mapping[str, str]) -> Mapping[str, Any]:
        """`begin`, `confirm` or `end` the second factor."""
        return await second_factor.second_factor(moment, step, given)

    async def accept_invitation(self, moment: Moment, given: Mapping[str, str]) -> Mapping[str, Any]:
        """Become a member of a tenant by the token of an invitation."""
        return await joining.accept_invitation(moment, given)

    async def seed(self, moment: Moment) -> None:
        """Permission catalogue and system roles."""
        await seed.seed(moment)

    async def create_user(self, moment: Moment, email: str, password: str, *, administrator: bool) -> Row:
        """A person who may sign in at once."""
        return await seed.create_user(moment, email, password, administrator=administrator)

    async def tenants(self, moment: Moment) -> list[TenantRef]:
        """Tenants whose books go on."""
        return await authority.tenants_in_use(moment)

    async def all_tenants(self, moment: Moment) -> list[TenantRef]:
        """Tenants in whatever state."""
        return await authority.all_tenants(moment)

    async def create_tenant(self, moment: Moment, values: Mapping[str, Any]) -> Row:
        """A tenant in use, with its first owner."""
        return await seed.create_tenant(moment, values)


identity: Identity = ManagerIdentity()

identity_provider = identity
