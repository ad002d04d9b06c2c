"""The OAuth 2 endpoints: tokens in, tokens out, who am I, second factor, invitations, public keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

from engine.auth.authenticator import Authenticator
from engine.auth.outside import Outside
from engine.auth.tokens import Claims, Tokens
from engine.catalog import Catalog
from engine.encode import Answer, bare, success_of
from engine.errors import ApiError, Fault, generic, invalid
from engine.hooks import Identity, Session, SignIn
from engine.moment import Caller, UnitOfWork
from engine.operations import Operations
from engine.parse import read_members
from engine.request import Request
from engine.types import ENGINE, Principal, TenantRef

NO_STORE = ((b"cache-control", b"no-store"),)
FORM_LIMIT = 16_384
GRANTS = ("password", "refresh_token")
MEMBERS = frozenset(
    {"grant_type", "username", "password", "refresh_token", "tenant", "otp", "scope", "client_id", "client_secret"}
)
# our code -> the error of RFC 6749, section 5.2; what is missing here is invalid_grant
OAUTH_ERRORS = {"rate_limited": "temporarily_unavailable"}


class PrincipalLoader:
    """Reads principals from the registry's identity, in a short transaction of its own scope."""

    def __init__(self, operations: Operations, identity: Identity) -> None:
        self.operations, self.identity = operations, identity

    def unit(self, caller: Caller | None = None, principal: Principal = ENGINE) -> UnitOfWork:
        """A unit of work on the identity's scope, as the engine itself."""
        return UnitOfWork(self.operations, self.identity.scope, principal, caller or Caller())

    async def by_session(self, claims: Claims) -> Principal:
        """The caller behind a verified token. 401 or 403 when session, user or tenant ended."""
        async with self.unit() as unit:
            return _or_raise(await self.identity.principal(unit, claims.user_id, claims.tenant_id, claims.session_id))

    async def tenant(self, claim: str) -> TenantRef | None:
        """The tenant in use that an outside token names, by its id or slug."""
        async with self.unit() as unit:
            known = await self.identity.tenants(unit)
        return next((one for one in known if claim in (one.slug, str(one.id))), None)

    async def by_key(self, key: str, ip: str | None) -> Principal:
        """The caller behind an API key."""
        async with self.unit(Caller(ip=ip)) as unit:
            found = await self.identity.api_key(unit, key, ip)
        return _or_raise(found)


def _or_raise(found: Principal | ApiError) -> Principal:
    if isinstance(found, ApiError):
        raise found
    return found


class SignInEndpoints:
    """Handlers of /auth and of the public keys."""

    def __init__(self, loader: PrincipalLoader, authenticator: Authenticator, tokens: Tokens) -> None:
        self.loader, self.authenticator, self.tokens = loader, authenticator, tokens
        self.identity = loader.identity
        self.catalog: Catalog = loader.operations.shop.catalog

    async def _form(self, request: Request) -> dict[str, str]:
        kind = (request.header(b"content-type") or b"").partition(b";")[0].strip().lower()
        if kind != b"application/x-www-form-urlencoded":
            raise generic("unsupported_media_type", "Send the form as application/x-www-form-urlencoded")
        try:
            text = (await request.body(FORM_LIMIT)).decode()
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=20, errors="strict")
        except (UnicodeDecodeError, ValueError):
            raise generic("bad_request", "The form is not UTF-8 text") from None
        form = dict(pairs)
        if len(form) != len(pairs):
            raise generic("bad_request", "A form field is given twice")
        return form

    async def token(self, request: Request) -> Answer:
        """POST /auth/token: the password and refresh_token grants; answers as RFC 6749 says."""
        try:
            form = await self._form(request)
            session = await self._session(request, form)
        except ApiError as error:
            return _oauth_error(error)
        access = self.tokens.issue(session.user_id, session.id, session.tenant_id)
        answer = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": self.tokens.seconds,
            "refresh_token": session.refresh_token,
            "scope": "tenants" if session.tenant_id else self.identity.scope,
        }
        return bare(answer, 200, NO_STORE)

    async def _session(self, request: Request, form: dict[str, str]) -> Session:
        grant = form.get("grant_type", "")
        if unknown := sorted(set(form) - MEMBERS):
            raise generic("bad_request", f"{unknown[0][:64]!r} is not a field of this form")
        needed = {"password": ("username", "password"), "refresh_token": ("refresh_token",)}.get(grant)
        if needed is None:
            raise ApiError("unsupported_grant_type", f"grant_type is one of {', '.join(GRANTS)}", status=400)
        if missing := [name for name in needed if not form.get(name)]:
            raise generic("bad_request", f"The form lacks {missing[0]}")
        return await self._opened(request, form)

    async def _opened(self, request: Request, form: dict[str, str]) -> Session:
        caller = request.caller
        attempt = SignIn(
            form.get("username", ""),
            form.get("password", ""),
            form.get("tenant") or None,
            form.get("otp") or None,
            caller.ip,
            caller.user_agent,
        )
        async with self.loader.unit(caller) as unit:
            if form["grant_type"] == "password":
                found = await self.identity.sign_in(unit, attempt)
            else:
                found = await self.identity.refresh(unit, form["refresh_token"], attempt)
        # the transaction is committed: a refusal has counted its failure
        if isinstance(found, ApiError):
            raise found
        return found

    async def revoke(self, request: Request) -> Answer:
        """POST /auth/revoke: end the session of an access or refresh token (RFC 7009: 200 whatever the token)."""
        try:
            token = (await self._form(request)).get("token", "")
        except ApiError as error:
            return _oauth_error(error)
        session_id = None
        if token.count(".") == 2:
            try:
                session_id = self.tokens.verify(token).session_id
            except ApiError:
                return bare({}, 200, NO_STORE)
        async with self.loader.unit(request.caller) as unit:
            await self.identity.revoke(unit, session_id, None if session_id else token)
        self.authenticator.forget(session_id)
        return bare({}, 200, NO_STORE)

    async def _caller(self, request: Request) -> Principal:
        return await self.authenticator.principal(request.header(b"authorization"), request.ip)

    async def me(self, request: Request) -> Answer:
        """GET /auth/me: the caller, his roles and permissions."""
        principal = await self._caller(request)
        if principal.view is not None:
            return outsider(principal)
        async with self.loader.unit(request.caller, principal) as unit:
            profile = await self.identity.profile(unit)
        scope = "tenants" if principal.tenant else self.identity.scope
        known = self.catalog.permissions[principal.tenant is not None]
        permissions = sorted(known if principal.everything else principal.permissions)
        return success_of({**profile, "scope": scope, "roles": list(principal.roles), "permissions": permissions})

    async def second_factor(self, request: Request) -> Answer:
        """POST /auth/second-factor: `{"step": "begin|confirm|end", "code"?, "password"?}`."""
        principal = await self._caller(request)
        given = await _texts(request, {"step": True, "code": False, "password": False})
        if given["step"] not in ("begin", "confirm", "end"):
            raise invalid([Fault("step", "invalid_choice", "must be begin, confirm or end")])
        async with self.loader.unit(request.caller, principal) as unit:
            return success_of(dict(await self.identity.second_factor(unit, given["step"], given)), 200, NO_STORE)

    async def accept_invitation(self, request: Request) -> Answer:
        """POST /auth/accept-invitation: `{"token", "full_name"?, "password"?}`. Who comes needs no token of access yet."""
        given = await _texts(request, {"token": True, "full_name": False, "password": False})
        async with self.loader.unit(request.caller) as unit:
            joined = await self.identity.accept_invitation(unit, given)
        return success_of(dict(joined), 200, NO_STORE)

    async def keys(self, _request: Request) -> Answer:
        """GET /.well-known/jwks.json: the public keys."""
        return bare(self.tokens.keys.jwks(), 200, ((b"cache-control", b"max-age=300"),))


class OutsideEndpoints:
    """Handlers where nobody signs in here: all callers come with tokens of an outside issuer."""

    def __init__(self, authenticator: Authenticator) -> None:
        self.authenticator = authenticator

    async def me(self, request: Request) -> Answer:
        """GET /auth/me: the caller, his roles and permissions."""
        return outsider(await self.authenticator.principal(request.header(b"authorization"), request.ip))


def outsider(principal: Principal) -> Answer:
    """What /auth/me says of a caller whom an outside issuer knows."""
    tenant = {"id": principal.tenant.id, "slug": principal.tenant.slug} if principal.tenant else None
    scopes = principal.view.catalog.scopes.values()
    scope = next((one.name for one in scopes if one.tenant_bound == (tenant is not None)), "")
    known = {"id": principal.user_id, "email": principal.email, "tenant": tenant, "scope": scope}
    return success_of({**known, "roles": list(principal.roles), "permissions": sorted(principal.permissions)})


async def _no_session(_claims: Claims) -> Principal:
    raise generic("invalid_token")


async def _no_key(_key: str, _ip: str | None) -> Principal:
    raise generic("invalid_token")


def callers_of(
    tokens: Tokens, loader: PrincipalLoader | None, believed: float, outside: Outside | None
) -> Authenticator:
    """Who knows the callers: the registry's identity, an outside issuer, or both."""
    if loader is None:
        gate = Authenticator(tokens, _no_session, _no_key, believed, outside)
        gate.stranger = f"A bearer token is needed; {outside.issuer if outside else 'nobody'} gives one"
        return gate
    gate = Authenticator(tokens, loader.by_session, loader.by_key, believed, outside)
    if outside is not None:
        outside.find_tenant = loader.tenant
        gate.stranger = f"A bearer token is needed; POST /auth/token gives one, and so does {outside.issuer}"
    return gate


async def _texts(request: Request, known: dict[str, bool]) -> dict[str, str]:
    """The members of a JSON body, all of them texts; `known` says which are required."""
    given = read_members(await request.json(FORM_LIMIT), known)
    wrong = [Fault(name, "invalid_format", "must be a text") for name in given if not isinstance(given[name], str)]
    if wrong:
        raise invalid(wrong)
    return given


def _oauth_error(error: ApiError) -> Answer:
    names = {400: "invalid_request", 413: "invalid_request", 415: "invalid_request"}
    name = OAUTH_ERRORS.get(error.code) or names.get(error.status) or "invalid_grant"
    name = "unsupported_grant_type" if error.code == "unsupported_grant_type" else name
    headers = [(key.lower().encode(), value.encode()) for key, value in error.headers.items()]
    return bare(
        {"error": name, "error_description": error.message, "code": error.code}, error.status, (*NO_STORE, *headers)
    )


Endpoint = Callable[[Request], Awaitable[Answer]]


def routes_of(endpoints: SignInEndpoints | OutsideEndpoints) -> list[tuple[str, Endpoint, str]]:
    """(path, handler, method) of each route beside the entities."""
    if isinstance(endpoints, OutsideEndpoints):
        return [("/auth/me", endpoints.me, "GET")]
    return [
        ("/auth/token", endpoints.token, "POST"),
        ("/auth/revoke", endpoints.revoke, "POST"),
        ("/auth/me", endpoints.me, "GET"),
        ("/auth/second-factor", endpoints.second_factor, "POST"),
        ("/auth/accept-invitation", endpoints.accept_invitation, "POST"),
        ("/.well-known/jwks.json", endpoints.keys, "GET"),
    ]
