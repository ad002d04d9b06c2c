"""The words that every part shares: operations, callers, tenants, and the column types a model is written with.

Column types are ordinary SQLAlchemy types, some with a meaning of their own (`Code`, `Email`, `Money` ...). A model
uses them as `Mapped[Money]`; a plain SQLAlchemy type does as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, NamedTuple
from uuid import UUID
from zoneinfo import available_timezones

import msgspec
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Uuid,
)
from sqlalchemy import Enum as SqlEnum
from sqlalchemy import Text as SqlText
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, MappedColumn, mapped_column

from engine.clock import CLOCK


class Op(StrEnum):
    """What can be asked of an entity."""

    # Enum's own is a Python function, and each request looks up a few things by its operation
    __hash__ = str.__hash__

    CREATE = "create"
    LIST = "list"
    GET = "get"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    STATUS = "status"
    TRANSITIONS = "transitions"
    HISTORY = "history"
    QUERY = "query"
    UPDATE_MANY = "update_many"
    DELETE_MANY = "delete_many"
    UPSERT = "upsert"
    EXPORT = "export"
    IMPORT = "import"


# what a caller must be allowed to do for each operation
RIGHTS: dict[Op, str] = {
    Op.CREATE: "create",
    Op.LIST: "read",
    Op.GET: "read",
    Op.UPDATE: "update",
    Op.REPLACE: "update",
    Op.DELETE: "delete",
    Op.STATUS: "status",
    Op.TRANSITIONS: "read",
    Op.HISTORY: "read",
    Op.QUERY: "read",
    Op.UPDATE_MANY: "update",
    Op.DELETE_MANY: "delete",
    # and `update`, which its handler asks for
    Op.UPSERT: "create",
    # whoever may read rows may take them away; the change log says who did
    Op.EXPORT: "read",
    # and `update` for mode=upsert, which its handler asks for
    Op.IMPORT: "create",
}


@dataclass(frozen=True, slots=True)
class TenantRef:
    """A tenant, and where its rows live."""

    id: UUID
    slug: str
    database: str = "tenants"
    timezone: str = "UTC"
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling. `tenant` None = the Manager side; `everything` = holds every permission of the scope."""

    user_id: UUID | None
    email: str | None = None
    tenant: TenantRef | None = None
    session_id: UUID | None = None
    permissions: frozenset[str] = frozenset()
    everything: bool = False
    roles: tuple[str, ...] = ()
    # what his token says beside: row rules may ask for it
    claims: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    # what exists for him, where a policy says so (`engine.views`)
    view: Any = field(default=None, compare=False, repr=False)

    def may(self, permission: str) -> bool:
        """Whether the caller holds `<domain>.<entity>.<right>` or a rule's own permission."""
        return self.everything or permission in self.permissions


ENGINE = Principal(user_id=None, everything=True)


@dataclass(frozen=True)
class Format:
    """A text of a known form: `pattern` is a full match; `normalise` runs before it; `accepts` checks what a pattern cannot."""

    name: str
    length: int
    pattern: str | None = None
    normalise: Callable[[str], str] | None = None
    accepts: Callable[[str], bool] | None = None
    example: str = ""


def _is_ip(text: str) -> bool:
    from ipaddress import ip_address

    try:
        return str(ip_address(text)) != ""
    except ValueError:
        return False


FORMATS: dict[str, Format] = {
    row.name: row
    for row in (
        Format("code", 32, r"[A-Z0-9][A-Z0-9._-]*", example="TEAM"),
        Format("slug", 63, r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", example="acme"),
        Format("key", 120, r"[a-z][a-z0-9_.-]*", example="auth.max_sessions"),
        Format(
            "email", 254, r"[^@\s,;<>\"]+@[^@\s,;<>\"]+\.[^@\s,;<>\".]+", normalise=str.lower, example="ann@example.com"
        ),
        Format("phone", 20, r"\+[1-9][0-9]{1,14}", example="+4930123456"),
        Format("currency", 3, r"[A-Z]{3}", example="USD"),
        Format("country", 2, r"[A-Z]{2}", example="DE"),
        Format("timezone", 64, accepts=lambda text: text in available_timezones(), example="Europe/Berlin"),
        Format("url", 2048, r"https?://[^\s/?#]+[^\s]*", example="https://example.com/a"),
        Format("ip", 45, accepts=_is_ip, example="192.0.2.1"),
        Format("sha256", 64, r"[0-9a-f]{64}", example="0" * 64),
    )
}


class Formatted(String):
    """A varchar whose values have one of the `FORMATS`."""

    cache_ok = True

    def __init__(self, format: str = "code") -> None:
        super().__init__(FORMATS[format].length)
        self.format = format


class Bounded(Numeric[Decimal]):
    """A numeric between `minimum` and `maximum` (both included), or above `above`."""

    cache_ok = True

    def __init__(
        self,
        precision: int,
        scale: int,
        *,
        minimum: int | None = None,
        maximum: int | None = None,
        above: int | None = None,
    ) -> None:
        super().__init__(precision, scale)
        self.minimum, self.maximum, self.above = minimum, maximum, above


class Shaped(JSONB):
    """A jsonb whose content fits a Python type that msgspec understands (Struct, TypedDict, list[str], dict[str, int] ...)."""

    cache_ok = True

    def __init__(self, shape: Any = None) -> None:
        super().__init__()
        self.shape = shape


class Address(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A postal address."""

    line1: str
    city: str
    country: Annotated[str, msgspec.Meta(pattern="^[A-Z]{2}$")]
    line2: str | None = None
    region: str | None = None
    postal_code: str | None = None


Code = Annotated[str, mapped_column(Formatted("code"))]
Slug = Annotated[str, mapped_column(Formatted("slug"))]
Key = Annotated[str, mapped_column(Formatted("key"))]
Email = Annotated[str, mapped_column(Formatted("email"))]
Phone = Annotated[str, mapped_column(Formatted("phone"))]
Currency = Annotated[str, mapped_column(Formatted("currency"))]
Country = Annotated[str, mapped_column(Formatted("country"))]
TimeZone = Annotated[str, mapped_column(Formatted("timezone"))]
Url = Annotated[str, mapped_column(Formatted("url"))]
Ip = Annotated[str, mapped_column(Formatted("ip"))]
Sha256 = Annotated[str, mapped_column(Formatted("sha256"))]
Name = Annotated[str, mapped_column(String(160))]
DocumentNumber = Annotated[str, mapped_column(String(32))]
Text = Annotated[str, mapped_column(SqlText)]
SmallInt = Annotated[int, mapped_column(SmallInteger)]
BigInt = Annotated[int, mapped_column(BigInteger)]
Money = Annotated[Decimal, mapped_column(Numeric(19, 4))]
Price = Annotated[Decimal, mapped_column(Numeric(19, 6))]
Quantity = Annotated[Decimal, mapped_column(Numeric(18, 4))]
Percent = Annotated[Decimal, mapped_column(Bounded(7, 4, minimum=0, maximum=100))]
Rate = Annotated[Decimal, mapped_column(Bounded(18, 8, above=0))]
Timestamp = Annotated[datetime, mapped_column(DateTime(timezone=True))]
Json = Annotated[Any, mapped_column(JSONB)]
Strings = Annotated[list[str], mapped_column(Shaped(list[str]))]
PostalAddress = Annotated[dict[str, Any], mapped_column(Shaped(Address))]


# names of keys and indexes, so that a violation can be traced to its columns
CONVENTION = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
}


class Model(DeclarativeBase):
    """Base of a scope's models. `class ShopModel(Model, abstract=True)` begins a scope with a MetaData of its own, and
    `class Article(ShopModel, table="shop.articles")` is a table in it; one without a primary key gets `id`. A plain
    DeclarativeBase or a Core Table serves as well."""

    __abstract__ = True
    id: ClassVar[Any]
    type_annotation_map = {  # noqa: RUF012  SQLAlchemy reads it as a class attribute
        Literal: SqlEnum("-", native_enum=False, create_constraint=False, length=24),
        datetime: DateTime(timezone=True),
    }

    def __init_subclass__(cls, table: str | None = None, abstract: bool = False, **options: Any) -> None:
        if abstract:
            cls.__abstract__ = True
            cls.metadata = MetaData(naming_convention=CONVENTION)
        if table is not None:
            schema, name = table.split(".")
            cls.__tablename__ = name
            given = cls.__dict__.get("__table_args__", ())
            cls.__table_args__ = (*given, {"schema": schema})
            if not any(getattr(getattr(value, "column", None), "primary_key", False) for value in vars(cls).values()):
                cls.id = mapped_column(Uuid(), primary_key=True, sort_order=-1)
        super().__init_subclass__(**options)


def now() -> datetime:
    """Column default: the moment of the request."""
    return CLOCK.now()


def today() -> date:
    """Column default: the day of the request."""
    return CLOCK.today()


class Bounds(NamedTuple):
    """What a number may be: at least, at most, and strictly above."""

    minimum: int | None = None
    maximum: int | None = None
    above: int | None = None


def column(
    *args: Any, minimum: int | None = None, maximum: int | None = None, above: int | None = None, **options: Any
) -> MappedColumn[Any]:
    """`mapped_column` that also takes bounds; a bound is checked by the reader and by the database."""
    info = {**options.pop("info", {}), "bounds": Bounds(minimum, maximum, above)}
    return mapped_column(*args, info=info, **options)


def reference(
    table: str, on_delete: Literal["restrict", "cascade", "setnull"] = "restrict", **options: Any
) -> MappedColumn[Any]:
    """A foreign key to `schema.table`. `on_delete` acts on soft delete too."""
    action = {"restrict": "RESTRICT", "cascade": "CASCADE", "setnull": "SET NULL"}[on_delete]
    return mapped_column(ForeignKey(f"{table}.id", ondelete=action), **options)


def outside(target: str, **options: Any) -> MappedColumn[Any]:
    """A plain uuid that names a row of `scope/domain.entity` in another database, or of a domain not built yet."""
    return mapped_column(info={"outside": target}, **options)


def check(expression: str, *columns: str) -> CheckConstraint:
    """A rule over a row. `columns` are the fields that a violation names (read from the expression when left out)."""
    words = columns or tuple(dict.fromkeys(re.findall(r"[a-z_][a-z0-9_]*", re.sub(r"'[^']*'", "", expression))))
    return CheckConstraint(expression, info={"words": words})


@dataclass(frozen=True)
class Scope:
    """A first path segment and the database behind it. `tenant_bound`: each row belongs to the caller's tenant; `foreign`: the
    tables are somebody else's, and nothing is added to them. `engine_schema`: where the engine keeps tables of its own;
    `audited` False = it makes no change log for a database that declares none."""

    name: str
    metadata: Any
    tenant_bound: bool = False
    description: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    database: str = ""
    foreign: bool = False
    engine_schema: str = "public"
    audited: bool = True

    @property
    def side(self) -> str:
        """What records of a change log call it: whose rows they are, or the scope's own name where the log is."""
        return self.name if self.foreign else "tenant" if self.tenant_bound else "manager"

    @property
    def stored_in(self) -> str:
        """Name of the database: its own, or by default `tenants` for a tenant-bound scope and `manager` for any other."""
        return self.database or ("tenants" if self.tenant_bound else "manager")
