"""The routes beside the entities: signing in, keys, health, metrics, and the document itself."""

from __future__ import annotations

from typing import Any

from engine.openapi.answers import answer, content, failures, headers, written
from engine.openapi.many import BATCH
from engine.openapi.parameters import simple
from engine.openapi.schemas import Schema, closed, opened, ref

TEXT: Schema = {"type": "string"}
OAUTH_STATUSES = {
    400: "The form does not fit",
    401: "The credentials are not right",
    403: "Locked, or the tenant is not open",
}
OAUTH_STATUSES |= {413: "The form is too large", 415: "Send a form", 429: "Too many attempts"}
OURS = (500, 503, 504)
RETRY = ("Retry-After", "retry_after")
SCHEMAS: dict[str, Schema] = {
    **BATCH,
    "OAuthError": closed(
        {"error": TEXT, "error_description": TEXT, "code": TEXT}, ["error", "error_description", "code"]
    ),
    "Token": closed(
        {
            "access_token": TEXT,
            "token_type": {"const": "Bearer"},
            "expires_in": {"type": "integer", "minimum": 1, "description": "Seconds"},
            "refresh_token": TEXT,
            "scope": TEXT,
        },
        ["access_token", "token_type", "expires_in", "refresh_token", "scope"],
    ),
    "TokenForm": closed(
        {
            "grant_type": {"type": "string", "enum": ["password", "refresh_token"]},
            "username": {**TEXT, "description": "For grant_type=password: the e-mail address"},
            "password": {**TEXT, "format": "password"},
            "refresh_token": {**TEXT, "description": "For grant_type=refresh_token; each is good for one use"},
            "tenant": {**TEXT, "description": "Slug of the tenant to enter; without it the Manager side"},
            "otp": {**TEXT, "description": "Code of the second factor"},
            **{
                name: {**TEXT, "description": "Accepted for standard clients, not used"}
                for name in ("scope", "client_id", "client_secret")
            },
        },
        ["grant_type"],
        examples=[{"grant_type": "password", "username": "ann@example.com", "password": "Correct-Horse-1"}],
    ),
    "RevokeForm": {"type": "object", "properties": {"token": TEXT, "token_type_hint": TEXT}, "required": ["token"]},
    "Profile": opened(
        "The caller as the registry shows him",
        scope=TEXT,
        roles={"type": "array", "items": TEXT},
        permissions={"type": "array", "items": TEXT},
    ),
    "SecondFactorStep": closed(
        {
            "step": {"type": "string", "enum": ["begin", "confirm", "end"]},
            "code": {**TEXT, "description": "For confirm"},
            "password": {**TEXT, "format": "password", "description": "For end"},
        },
        ["step"],
        examples=[{"step": "begin"}],
    ),
    "SecondFactor": opened("`begin` shows `secret` and `uri` once; the others say `mfa_enabled`"),
    "Acceptance": closed(
        {
            "token": {**TEXT, "description": "As the link in the invitation has it; good for one use"},
            "full_name": {**TEXT, "description": "Needed of somebody new"},
            "password": {**TEXT, "format": "password", "description": "Needed of somebody new; others keep theirs"},
        },
        ["token"],
        examples=[{"token": "from-the-link", "full_name": "Ann Example", "password": "Correct-Horse-1"}],
    ),
    "Joined": opened("The tenant, the user and his role in it"),
    "ScopeMeta": opened(
        "The entities that the caller may use, and the filter operators",
        scope=TEXT,
        entities={"type": "array", "items": ref("EntitySummary")},
        operators={"type": "object", "additionalProperties": TEXT},
    ),
    "EntitySummary": opened("Path, label and operations of an entity"),
    "EntityMeta": opened(
        "Fields, states, constraints and declared behaviour of an entity, and what the caller may do",
        path=TEXT,
        fields={"type": "array", "items": ref("FieldMeta")},
        relations={
            "type": "object",
            "description": "By name, as `expand`, and paths of filters and sort, call them; those that the caller may read",
            "additionalProperties": ref("RelationMeta"),
        },
    ),
    "FieldMeta": {
        **opened("Name, type, flags and filter operators of a field"),
        "properties": {
            "name": TEXT,
            "references": {
                "type": ["string", "null"],
                "description": "Table of which it names a row; null: one that is not served",
            },
        },
        "required": ["name"],
    },
    "RelationMeta": closed(
        {
            "entity": {**TEXT, "description": "Its path, scope/domain/entity"},
            "kind": {"type": "string", "enum": ["one", "many"]},
            "via": {
                "type": "array",
                "items": TEXT,
                "minItems": 1,
                "description": "Columns that name the other row: of one, this row's; of many, theirs",
            },
            "nullable": {"type": "boolean", "description": "Of one: whether there may be none"},
        },
        ["entity", "kind", "via"],
    ),
    "Keys": opened("A set of keys, as RFC 7517 says", keys={"type": "array", "items": ref("Key")}),
    "Key": opened("A key, as RFC 7517 says"),
    "Done": closed({}),
    "Document": opened("As OpenAPI 3.1 says"),
    "Live": closed({"status": {"const": "live"}}, ["status"]),
    "Ready": closed(
        {
            "status": {"type": "string", "enum": ["ready", "not ready"]},
            "databases": {"type": "object", "additionalProperties": {"type": "boolean"}},
        },
        ["status", "databases"],
    ),
}


def _operation(name: str, summary: str, responses: Schema, **extra: Any) -> Schema:
    return {"operationId": name, "tags": ["engine"], "summary": summary, "responses": responses, **extra}


def _bare(text: str, schema: Schema, kind: str = "application/json") -> Schema:
    return {"description": text, "headers": headers(), "content": content(schema, kind)}


def _form(schema: str) -> Schema:
    return {"required": True, "content": content(ref(schema), "application/x-www-form-urlencoded")}


def _oauth(success: Schema) -> Schema:
    found = {"200": success}
    for status, text in OAUTH_STATUSES.items():
        found[str(status)] = _bare(text, ref("OAuthError"))
    either: Schema = {"anyOf": [ref("OAuthError"), ref("Failure")]}
    for status in OURS:
        found[str(status)] = _bare("Not now", either)
    return found


def _auth_paths() -> Schema:
    token = _operation("auth_token", "Sign in, or renew a session", _oauth(_bare("A token", ref("Token"))))
    revoke = _operation(
        "auth_revoke", "Sign out: end the session of a token, known or not", _oauth(_bare("Done", ref("Done")))
    )
    me = _operation(
        "auth_me",
        "The caller, his roles and permissions",
        {"200": answer("The caller", ref("Profile")), **failures((401, 403, *OURS))},
    )
    step = {"required": True, "content": content(ref("SecondFactorStep"))}
    refused = failures((400, 401, 403, 409, 413, 415, 422, *OURS))
    factor = _operation(
        "auth_second_factor",
        "Begin, confirm or end the second factor",
        {"200": answer("Done", ref("SecondFactor")), **refused},
    )
    accept = _operation(
        "auth_accept_invitation",
        "Join a tenant by an invitation; 409 `invitation_not_valid` when it was used, has ended or was taken back",
        {"200": answer("Joined", ref("Joined")), **failures((400, 409, 413, 415, 422, *OURS))},
    )
    keys = _operation(
        "jwks", "The public keys that verify access tokens", {"200": _bare("Keys, as RFC 7517 says", ref("Keys"))}
    )
    return {
        "/auth/token": {"post": {**token, "security": [], "requestBody": _form("TokenForm")}},
        "/auth/revoke": {"post": {**revoke, "security": [], "requestBody": _form("RevokeForm")}},
        "/auth/me": {"get": me},
        "/auth/second-factor": {"post": {**factor, "requestBody": step}},
        "/auth/accept-invitation": {
            "post": {**accept, "security": [], "requestBody": {"required": True, "content": content(ref("Acceptance"))}}
        },
        "/.well-known/jwks.json": {"get": {**keys, "security": []}},
    }


def _segment(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": {**TEXT, "pattern": "^[a-z0-9_-]+$"}}


def _meta_paths() -> Schema:
    refused = failures((400, 401, 403, 404, *OURS))
    scope = _operation("scope_meta", "Entities of a scope that the caller may use", {})
    entity = _operation("entity_meta", "What an entity declares, and what the caller may do with it", {})
    segments = [_segment(name) for name in ("scope", "domain", "entity")]
    return {
        "/{scope}/_meta": {
            "get": {
                **scope,
                "parameters": segments[:1],
                "responses": {"200": answer("The scope", ref("ScopeMeta")), **refused},
            }
        },
        "/{scope}/{domain}/{entity}/_meta": {
            "get": {
                **entity,
                "parameters": segments,
                "responses": {"200": answer("The entity", ref("EntityMeta")), **refused},
            }
        },
    }


def _batch_paths() -> Schema:
    body = {"required": True, "content": content(ref("Batch"))}
    refused = failures((400, 401, 403, 404, 409, 412, 413, 415, 422, 428, *OURS))
    done = answer("What became of each operation, in order", ref("BatchResults"))
    text = (
        "Each operation goes through its own route, with its permissions. `atomic`: all or nothing, the error names "
        "`operations[i]`; `each`: what fails is undone by itself."
    )
    batch = _operation(
        "batch", "Several operations over one scope in one transaction", {**written({"200": done}), **refused}
    )
    parameters = [*map(_segment, ("scope",)), *simple("idempotency_key", "prefer")]
    return {"/{scope}/batch": {"post": {**batch, "description": text, "parameters": parameters, "requestBody": body}}}


def paths(*, signs_in: bool = True) -> Schema:
    """Path items of every route that is no entity's; `signs_in`: callers get their tokens here."""
    entering = _auth_paths()
    busy = answer("A database does not answer", ref("Ready"), RETRY)
    live = _operation("health_live", "The process answers", {"200": answer("It lives", ref("Live"))})
    ready = _operation(
        "health_ready", "Every database answers", {"200": answer("All answer", ref("Ready")), "503": busy}
    )
    metrics = {"description": "Prometheus text", "content": content(TEXT, "text/plain")}
    known = {"name": "If-None-Match", "in": "header", "schema": TEXT}
    document = {
        "description": "This document",
        "headers": {"ETag": {"schema": TEXT}},
        "content": content(ref("Document")),
    }
    unchanged = {"description": "Not changed", "headers": {"ETag": {"schema": TEXT}}}
    return {
        **(entering if signs_in else {"/auth/me": entering["/auth/me"]}),
        **_meta_paths(),
        **_batch_paths(),
        "/health/live": {"get": {**live, "security": []}},
        "/health/ready": {"get": {**ready, "security": []}},
        "/metrics": {"get": _operation("metrics", "Metrics for Prometheus", {"200": metrics}, security=[])},
        "/openapi.json": {
            "get": _operation(
                "openapi", "This document", {"200": document, "304": unchanged}, security=[], parameters=[known]
            ),
        },
    }
