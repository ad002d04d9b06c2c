"""What a fresh installation gets: the registry's own rows, a first administrator, and in development a demo tenant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.auth.access_key import FILE, access_key
from engine.auth.keys import secret_file
from engine.clock import random_token
from engine.entrance import uses_key
from engine.errors import StartupFault
from engine.hooks import Identity, Row
from engine.main import System
from engine.types import Principal, TenantRef
from tenancy.ddl import schemas_of
from tenancy.statistics import analyze_filled

DEMO = {"slug": "demo", "name": "Demo Company", "owner_email": "owner@demo.example"}


def identity_of(system: System) -> Identity:
    """The registry's identity. StartupFault without one."""
    if system.catalog.identity is None:
        raise StartupFault("the registry has no identity, so there are no users and tenants")
    return system.catalog.identity


def first_password(system: System, name: str = "admin-password.txt") -> tuple[str, bool]:
    """The password of a first user, and whether it was made up just now. Made-up ones are kept in a 0600 file."""
    given = system.settings.admin_password
    if given is not None:
        return given.get_secret_value(), False
    path = system.settings.data / name
    fresh = not path.exists()
    return secret_file(path, lambda: made_up_password().encode()).decode().strip(), fresh


async def seed(system: System) -> None:
    """Rows that the registry itself needs."""
    identity = identity_of(system)
    async with system.unit(identity.scope) as unit:
        await identity.seed(unit)


async def create_user(system: System, email: str, password: str, *, administrator: bool) -> Row:
    """A person who may sign in at once."""
    identity = identity_of(system)
    async with system.unit(identity.scope) as unit:
        return await identity.create_user(unit, email, password, administrator=administrator)


async def create_tenant(system: System, values: dict[str, Any]) -> Row:
    """A pooled tenant with its first owner."""
    identity = identity_of(system)
    async with system.unit(identity.scope) as unit:
        return await identity.create_tenant(unit, values)


def made_up_password() -> str:
    """A password that fits the policy."""
    return f"Aa1-{random_token(20)}"


def _first_key(system: System) -> list[str]:
    """The access key, told when it was made up just now."""
    given, path = system.settings.access_key, system.settings.data / FILE
    if given is not None or path.exists():
        return []
    return [f"access key, for Authorization: Bearer ...: {access_key(system.settings.data)}  (kept in {path})"]


async def demo(system: System) -> list[str]:
    """A demo tenant with rows in every entity, once. The registry's `demo_rows(manager, tenant)` makes the rows."""
    if system.catalog.identity is None:
        return []
    secret = secret_file(system.settings.data / "demo-password.txt", lambda: made_up_password().encode()).decode()
    identity = identity_of(system)
    tenant = await create_tenant(system, {**DEMO, "owner_password": secret})
    who = Principal(user_id=tenant["owner_id"], tenant=TenantRef(tenant["id"], DEMO["slug"]), everything=True)
    if system.registry.demo is not None:
        async with system.unit(identity.scope) as manager, system.unit("tenants", who) as rows:
            await system.registry.demo(manager, rows)
    return [f"demo tenant: tenant=demo  {DEMO['owner_email']}  password: {secret}"]


async def gather_statistics(system: System) -> None:
    """Let the planner know the tables that were just filled, or the first queries that look through several are slow."""
    for scope in system.own_scopes:
        await analyze_filled(system.places[scope.stored_in].owner, schemas_of(scope.metadata))


async def install(system: System) -> list[str]:
    """Bring everything that a fresh installation needs; returns what a person should be told, a line each."""
    if uses_key(system.settings, system.catalog):
        return _first_key(system)
    if system.catalog.identity is None:
        # everybody comes with a token of an outside issuer
        return []
    await seed(system)
    password, fresh = first_password(system)
    await create_user(system, system.settings.admin_email, password, administrator=True)
    told = []
    if fresh:
        where = Path(system.settings.data) / "admin-password.txt"
        told.append(f"first administrator: {system.settings.admin_email}  password: {password}  (kept in {where})")
    return told
