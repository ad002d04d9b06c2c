"""What a good team writes by hand: FastAPI, SQLAlchemy 2 ORM (async, asyncpg), Pydantic models; a JWT check, an
audit row and a commit per write. Nothing is done badly on purpose, nothing is tuned."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import jwt
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import DateTime, func, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from uuid_utils.compat import uuid7

from tests.benchmarks.place import read_place

TRANSITIONS = {
    "invited": {"active", "disabled"},
    "active": {"disabled"},
    "locked": {"active", "disabled"},
    "disabled": {"active"},
}


def now() -> datetime:
    """The present moment."""
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """Common columns."""

    type_annotation_map = {datetime: DateTime(timezone=True), dict[str, Any]: JSONB, list[str]: JSONB}  # noqa: RUF012  SQLAlchemy's form

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    is_active: Mapped[bool] = mapped_column(default=True)
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)
    created_by: Mapped[UUID | None]
    updated_by: Mapped[UUID | None]


class User(Base):
    """A user."""

    __tablename__ = "users"
    __table_args__ = {"schema": "idam"}  # noqa: RUF012  SQLAlchemy's form
    email: Mapped[str]
    full_name: Mapped[str]
    user_type: Mapped[str] = mapped_column(default="tenant")
    password_hash: Mapped[str | None]
    password_history: Mapped[list[str]] = mapped_column(default=list)
    password_changed_at: Mapped[datetime | None]
    must_change_password: Mapped[bool] = mapped_column(default=False)
    phone: Mapped[str | None]
    locale: Mapped[str] = mapped_column(default="en")
    timezone: Mapped[str] = mapped_column(default="UTC")
    avatar_url: Mapped[str | None]
    mfa_enabled: Mapped[bool] = mapped_column(default=False)
    mfa_secret: Mapped[str | None]
    email_verified_at: Mapped[datetime | None]
    failed_login_count: Mapped[int] = mapped_column(default=0)
    first_failed_at: Mapped[datetime | None]
    locked_until: Mapped[datetime | None]
    last_login_at: Mapped[datetime | None]
    last_login_ip: Mapped[str | None]
    status: Mapped[str] = mapped_column(default="invited")


class Contact(Base):
    """A contact of a tenant's customer."""

    __tablename__ = "contacts"
    __table_args__ = {"schema": "crm"}  # noqa: RUF012  SQLAlchemy's form
    tenant_id: Mapped[UUID]
    customer_id: Mapped[UUID]
    full_name: Mapped[str]
    email: Mapped[str | None]
    phone: Mapped[str | None]
    position: Mapped[str | None]
    is_primary: Mapped[bool]
    marketing_consent: Mapped[bool]
    consent_at: Mapped[datetime | None]
    notes: Mapped[str | None]


class AuditLog(Base):
    """Who changed what."""

    __tablename__ = "audit_logs"
    __table_args__ = {"schema": "audt"}  # noqa: RUF012  SQLAlchemy's form
    occurred_at: Mapped[datetime] = mapped_column(default=now)
    scope: Mapped[str] = mapped_column(default="manager")
    actor_id: Mapped[UUID | None]
    actor_email: Mapped[str | None]
    action: Mapped[str]
    domain: Mapped[str] = mapped_column(default="idam")
    entity: Mapped[str] = mapped_column(default="users")
    entity_id: Mapped[UUID | None]
    changes: Mapped[dict[str, Any]]
    outcome: Mapped[str] = mapped_column(default="ok")
    ip: Mapped[str | None]
    user_agent: Mapped[str | None]
    request_id: Mapped[str | None]


class Out(BaseModel):
    """Common fields of an answer."""

    model_config = ConfigDict(from_attributes=True)
    id: UUID
    is_active: bool
    version: int
    created_at: datetime
    updated_at: datetime
    created_by: UUID | None
    updated_by: UUID | None


class UserOut(Out):
    """A user as callers see him."""

    email: str
    full_name: str
    user_type: str
    password_changed_at: datetime | None
    must_change_password: bool
    phone: str | None
    locale: str
    timezone: str
    avatar_url: str | None
    mfa_enabled: bool
    email_verified_at: datetime | None
    failed_login_count: int
    first_failed_at: datetime | None
    locked_until: datetime | None
    last_login_at: datetime | None
    last_login_ip: str | None
    status: str


class ContactOut(Out):
    """A contact as callers see it."""

    tenant_id: UUID
    customer_id: UUID
    full_name: str
    email: str | None
    phone: str | None
    position: str | None
    is_primary: bool
    marketing_consent: bool
    consent_at: datetime | None
    notes: str | None


class Page(BaseModel):
    """A page of users."""

    items: list[UserOut]
    page: int
    page_size: int
    total: int | None


class UserIn(BaseModel):
    """Body of a create."""

    model_config = ConfigDict(extra="forbid")
    email: str = Field(max_length=254, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")
    full_name: str = Field(min_length=1, max_length=160)
    user_type: Literal["staff", "tenant", "service"] = "tenant"
    phone: str | None = Field(None, pattern=r"^\+[1-9][0-9]{1,14}$")
    locale: str = Field("en", max_length=10)
    timezone: str = Field("UTC", max_length=64)


class UserPatch(BaseModel):
    """Body of an update."""

    model_config = ConfigDict(extra="forbid")
    full_name: str | None = Field(None, min_length=1, max_length=160)
    phone: str | None = Field(None, pattern=r"^\+[1-9][0-9]{1,14}$")
    locale: str | None = Field(None, max_length=10)
    timezone: str | None = Field(None, max_length=64)


class StatusIn(BaseModel):
    """Body of a status change."""

    status: Literal["invited", "active", "locked", "disabled"]


class Caller(BaseModel):
    """Claims of a verified token."""

    sub: UUID
    email: str
    tenant: UUID
    permissions: list[str]


place = read_place()
OPTIONS: dict[str, Any] = {"pool_size": 8, "max_overflow": 0, "connect_args": {"ssl": False}}
manager = create_async_engine(place.manager.replace("postgresql:", "postgresql+asyncpg:"), **OPTIONS)
tenants = create_async_engine(place.tenants.replace("postgresql:", "postgresql+asyncpg:"), **OPTIONS)
ManagerSession = async_sessionmaker(manager, expire_on_commit=False)
TenantSession = async_sessionmaker(tenants, expire_on_commit=False)
bearer = HTTPBearer()


async def caller(credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]) -> Caller:
    """The verified caller. 401 for a token that is not ours."""
    try:
        return Caller(**jwt.decode(credentials.credentials, place.secret, algorithms=["HS256"]))
    except jwt.PyJWTError as error:
        raise HTTPException(401, "Invalid token") from error


Known = Annotated[Caller, Depends(caller)]


def require(known: Caller, permission: str) -> None:
    """403 unless the caller holds it."""
    if permission not in known.permissions:
        raise HTTPException(403, f"This needs {permission}")


async def manager_session() -> AsyncIterator[AsyncSession]:
    """A session on the Manager database."""
    async with ManagerSession() as session:
        yield session


async def tenant_session(known: Known) -> AsyncIterator[AsyncSession]:
    """A session whose transaction is held to the caller's tenant."""
    async with TenantSession() as session:
        await session.execute(text("select set_config('app.tenant_id', :tenant, true)"), {"tenant": str(known.tenant)})
        yield session


Manager = Annotated[AsyncSession, Depends(manager_session)]
Tenants = Annotated[AsyncSession, Depends(tenant_session)]


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Close the connections at the end."""
    yield
    await manager.dispose()
    await tenants.dispose()


app = FastAPI(lifespan=lifespan)


def record(
    session: AsyncSession, request: Request, known: Caller, user: User, change: tuple[str, dict[str, Any]]
) -> None:
    """Add the audit row of a write."""
    session.add(
        AuditLog(
            actor_id=known.sub,
            actor_email=known.email,
            created_by=known.sub,
            action=change[0],
            entity_id=user.id,
            changes=change[1],
            ip=request.client.host if request.client else None,
            user_agent=request.headers.get("user-agent"),
            request_id=request.headers.get("x-request-id") or str(uuid7()),
        )
    )


async def find(session: AsyncSession, key: UUID) -> User:
    """The active user. 404 without one."""
    user = await session.get(User, key)
    if user is None or not user.is_active:
        raise HTTPException(404, "Not found")
    return user


async def change(session: AsyncSession, request: Request, known: Caller, user: User, values: dict[str, Any]) -> User:
    """Set the values, write the audit row, commit."""
    action = "status" if "status" in values else "update"
    changes = {name: [getattr(user, name), value] for name, value in values.items()}
    changes["version"] = [user.version, user.version + 1]
    for name, value in {**values, "version": user.version + 1, "updated_at": now(), "updated_by": known.sub}.items():
        setattr(user, name, value)
    record(session, request, known, user, (action, changes))
    await session.commit()
    return user


@app.get("/manager/idam/users/{key}", response_model=UserOut)
async def get_user(key: UUID, session: Manager, known: Known) -> User:
    """One user."""
    require(known, "idam.users.read")
    return await find(session, key)


class UserQuery(BaseModel):
    """Query of a list."""

    page: int = Field(1, ge=1)
    page_size: int = Field(20, ge=1, le=100)
    count: Literal["exact", "none"] = "exact"
    sort: Literal["id", "email"] = "id"
    email_from: str | None = None
    user_type: Literal["staff", "tenant", "service"] | None = None


@app.get("/manager/idam/users", response_model=Page)
async def list_users(asked: Annotated[UserQuery, Query()], session: Manager, known: Known) -> dict[str, Any]:
    """A page of users."""
    require(known, "idam.users.read")
    wanted = select(User).where(User.is_active)
    if asked.email_from is not None:
        wanted = wanted.where(User.email >= asked.email_from)
    if asked.user_type is not None:
        wanted = wanted.where(User.user_type == asked.user_type)
    total = None
    if asked.count == "exact":
        total = await session.scalar(select(func.count()).select_from(wanted.subquery()))
    order = (User.email, User.id) if asked.sort == "email" else (User.id,)
    rows = await session.scalars(
        wanted.order_by(*order).limit(asked.page_size).offset((asked.page - 1) * asked.page_size)
    )
    return {"items": rows.all(), "page": asked.page, "page_size": asked.page_size, "total": total}


@app.post("/manager/idam/users", response_model=UserOut, status_code=201)
async def create_user(given: UserIn, request: Request, session: Manager, known: Known) -> User:
    """Create a user."""
    require(known, "idam.users.create")
    user = User(**given.model_dump(), created_by=known.sub, updated_by=known.sub)
    session.add(user)
    await session.flush()
    changes = {name: [None, value] for name, value in UserOut.model_validate(user).model_dump(mode="json").items()}
    record(session, request, known, user, ("create", changes))
    await session.commit()
    return user


@app.patch("/manager/idam/users/{key}", response_model=UserOut)
async def update_user(key: UUID, given: UserPatch, request: Request, session: Manager, known: Known) -> User:
    """Change the given fields."""
    require(known, "idam.users.update")
    user = await session.get(User, key, with_for_update=True)
    if user is None or not user.is_active:
        raise HTTPException(404, "Not found")
    return await change(session, request, known, user, given.model_dump(exclude_unset=True))


@app.patch("/manager/idam/users/{key}/status", response_model=UserOut)
async def move_user(key: UUID, given: StatusIn, request: Request, session: Manager, known: Known) -> User:
    """Move along the status machine."""
    require(known, "idam.users.status")
    user = await session.get(User, key, with_for_update=True)
    if user is None or not user.is_active:
        raise HTTPException(404, "Not found")
    if given.status not in TRANSITIONS[user.status]:
        raise HTTPException(409, f"{user.status} does not become {given.status}")
    return await change(session, request, known, user, {"status": given.status})


@app.get("/tenants/crm/contacts/{key}", response_model=ContactOut)
async def get_contact(key: UUID, session: Tenants, known: Known) -> Contact:
    """One contact of the caller's tenant."""
    require(known, "crm.contacts.read")
    wanted = select(Contact).where(Contact.id == key, Contact.tenant_id == known.tenant, Contact.is_active)
    found = (await session.scalars(wanted)).one_or_none()
    if found is None:
        raise HTTPException(404, "Not found")
    return found


def create_app() -> FastAPI:
    """Application factory; the environment names the file of the Place."""
    return app
