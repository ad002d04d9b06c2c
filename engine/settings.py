"""Every setting, in one record. Read from `CXG_*` variables and `cxg.toml`; nothing else reads the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource


class Settings(BaseSettings):
    """What an operator can say. Each field is the variable `CXG_<NAME>` or the key `<name>` of `cxg.toml`."""

    model_config = SettingsConfigDict(env_prefix="CXG_", toml_file="cxg.toml", extra="forbid")

    environment: Literal["development", "production"] = Field(
        "development", description="production: only reviewed migrations, no demo rows"
    )
    registries: list[str] = Field(["registry"], description="packages whose models are served")
    manager_url: SecretStr | None = Field(None, description="Manager database, as its owner; unset = embedded server")
    tenants_url: SecretStr | None = Field(None, description="Tenants database, as its owner; unset = embedded server")
    database_urls: dict[str, SecretStr] = Field(
        {}, description="other databases by the names that scopes give them, as their owner"
    )
    identity: Literal["registry", "bundled", "key"] | None = Field(
        None,
        description="who lets callers in: an identity of the registries, the bundled registry beside them, or one access key; "
        "unset = the first, and in development the key where there is none",
    )
    access_key: SecretStr | None = Field(None, description="that key; unset = made up and kept in the data folder")
    database: SecretStr | None = Field(None, description="somebody else's PostgreSQL database, whose tables are served")
    scope: str = Field("db", description="first part of the paths of its tables")
    schemas: list[str] = Field([], description="its schemas that are served; none = all that its role may use")
    write: bool = Field(False, description="whether its rows may be changed")
    audit_schema: str | None = Field(
        None, description="its schema for a change log of the engine's; unset = no log there"
    )
    columns: dict[str, str] = Field(
        {},
        description="its columns that play a part: soft_delete, version, created_at, updated_by ... and keys of views",
    )
    runtime_role: str = Field("cxg_runtime", description="role that requests run as: neither owner nor superuser")
    pooler: Literal["none", "transaction"] = Field(
        "none", description="transaction = behind PgBouncer's transaction mode"
    )
    data: Path = Field(Path("cxg-data"), description="folder of the embedded server, keys and first password")
    pg_bin: Path | None = Field(None, description="folder of PostgreSQL's programs for the embedded server")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on")
    workers: int = Field(1, ge=1, le=64, description="server processes")
    pool_size: int = Field(8, ge=1, le=200, description="connections per worker and database")
    acquire_timeout: float = Field(1.0, gt=0, description="seconds to wait for a connection before 503")
    command_timeout: float = Field(5.0, gt=0, description="seconds a statement may take before 504")
    role_timeouts: dict[str, Annotated[float, Field(gt=0, le=3600)]] = Field(
        {}, description="the same for callers with a role, by its code; the longest of his roles counts"
    )
    facet_timeout: float = Field(
        0.25, gt=0, le=60, description="seconds that counting the values of facets may take; later they are null"
    )
    connect_timeout: float = Field(2.0, gt=0, description="seconds to wait for a new connection")
    max_query_cost: float | None = Field(
        None,
        gt=0,
        description="planner's price above which lists, sets and filters of exports are refused; unset = none are",
    )
    tenant_query_costs: dict[str, Annotated[float, Field(gt=0)]] = Field(
        {}, description="the same for single tenants, by slug"
    )
    max_expand_depth: int = Field(3, ge=1, le=6, description="levels of expand")
    max_filters: int = Field(20, ge=1, le=1000, description="conditions of one query, those of expansions included")
    max_in_values: int = Field(500, ge=1, le=100_000, description="values of one filter with in")
    hook_timeout: float = Field(2.0, gt=0, description="seconds one hook may take before its request is rolled back")
    header_timeout: float = Field(10.0, gt=0, description="seconds for a request's headers to come before 408")
    body_timeout: float = Field(
        30.0, gt=0, description="seconds for a body to come before 408, or at least 1 KiB of it for each of them"
    )
    max_header_bytes: int = Field(32_768, ge=1024, description="largest headers of a request, all together")
    max_headers: int = Field(100, ge=10, description="most headers of a request")
    max_body_bytes: int = Field(1_048_576, ge=1024, description="largest request body")
    max_bulk_bytes: int = Field(33_554_432, ge=1024, description="largest body that is a list of rows, or a batch")
    max_import_bytes: int = Field(1_073_741_824, ge=1024, description="largest file to import; it waits on the disk")
    async_rows: int = Field(
        100_000, ge=1, description="rows of a file above which its import goes on after the answer (202)"
    )
    token_minutes: int = Field(15, ge=1, le=1440, description="life of an access token")
    session_days: int = Field(30, ge=1, le=366, description="life of a refresh token")
    bcrypt_rounds: int = Field(12, ge=4, le=16, description="cost of a password hash; below 12 for tests only")
    principal_seconds: float = Field(
        4.0, ge=0, le=60, description="how long a caller's permissions are believed unread"
    )
    issuer: str | None = Field(None, description="outside issuer of access tokens, as their `iss` says; unset = none")
    jwks_url: str | None = Field(None, description="address of its public keys: https, or this machine")
    audience: str | None = Field(None, description="what `aud` of its tokens must hold")
    policy: Path | None = Field(None, description="TOML file that says what the roles of its tokens may do")
    issuer_algorithms: list[str] = Field(["RS256", "PS256", "ES256", "EdDSA"], description="signatures that count")
    roles_claim: str = Field("roles", description="claim with the roles; a path goes deeper: realm_access.roles")
    email_claim: str = Field("email", description="claim with the e-mail address")
    tenant_claim: str | None = Field(None, description="claim with the tenant's id or slug; unset = no tenant")
    jwks_seconds: float = Field(300.0, gt=0, description="how long its keys are believed unread")
    jwks_pause: float = Field(10.0, ge=0, description="seconds between two readings for keys that are not known")
    admin_email: str = Field("admin@example.com", description="first administrator")
    admin_password: SecretStr | None = Field(
        None, description="his password; unset = made up and kept in the data folder"
    )
    secret_key: SecretStr | None = Field(
        None, description="key for encrypted columns; unset = made up in the data folder"
    )
    secret_keys_before: list[SecretStr] = Field(
        [], description="former keys, which only read, until `cxg secrets rotate` has run"
    )
    reload_on_notify: bool = Field(
        False, description="listen on every database for NOTIFY cxg_reload, which reloads as `cxg reload` does"
    )
    demo: bool = Field(True, description="rows to try things with, in development")
    log_format: Literal["console", "json"] = Field("console", description="how log lines look")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line first, then the environment, then `cxg.toml`."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)
