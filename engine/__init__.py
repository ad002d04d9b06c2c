"""The generic, metadata-driven CRUD engine: register a SQLAlchemy model, get its endpoints.

What is listed here is public: `from engine import Engine, Entity`. Everything else may change without a word.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.entity import Approval as Approval
    from engine.entity import Computed as Computed
    from engine.entity import Entity as Entity
    from engine.entity import Frozen as Frozen
    from engine.entity import Needed as Needed
    from engine.entity import Nested as Nested
    from engine.entity import Number as Number
    from engine.entity import Owner as Owner
    from engine.entity import Period as Period
    from engine.entity import RollUp as RollUp
    from engine.entity import Unique as Unique
    from engine.entity import Virtual as Virtual
    from engine.errors import ApiError as ApiError
    from engine.errors import ConflictError as ConflictError
    from engine.errors import Fault as Fault
    from engine.errors import ForbiddenError as ForbiddenError
    from engine.errors import NotFoundError as NotFoundError
    from engine.errors import StartupFault as StartupFault
    from engine.errors import UnauthorizedError as UnauthorizedError
    from engine.errors import UnavailableError as UnavailableError
    from engine.errors import ValidationError as ValidationError
    from engine.events import Event as Event
    from engine.events import Events as Events
    from engine.hooks import Change as Change
    from engine.hooks import Identity as Identity
    from engine.hooks import Moment as Moment
    from engine.hooks import Point as Point
    from engine.hooks import Rules as Rules
    from engine.hooks import refuse as refuse
    from engine.jobs import Job as Job
    from engine.jobs import Jobs as Jobs
    from engine.library import Engine as Engine
    from engine.session import Session as Session
    from engine.settings import Settings as Settings
    from engine.trail import change_log as change_log
    from engine.types import BigInt as BigInt
    from engine.types import Code as Code
    from engine.types import Country as Country
    from engine.types import Currency as Currency
    from engine.types import DocumentNumber as DocumentNumber
    from engine.types import Email as Email
    from engine.types import Ip as Ip
    from engine.types import Json as Json
    from engine.types import Key as Key
    from engine.types import Model as Model
    from engine.types import Money as Money
    from engine.types import Name as Name
    from engine.types import Percent as Percent
    from engine.types import Phone as Phone
    from engine.types import PostalAddress as PostalAddress
    from engine.types import Price as Price
    from engine.types import Principal as Principal
    from engine.types import Quantity as Quantity
    from engine.types import Rate as Rate
    from engine.types import Scope as Scope
    from engine.types import Shaped as Shaped
    from engine.types import Slug as Slug
    from engine.types import SmallInt as SmallInt
    from engine.types import Strings as Strings
    from engine.types import TenantRef as TenantRef
    from engine.types import Text as Text
    from engine.types import Timestamp as Timestamp
    from engine.types import TimeZone as TimeZone
    from engine.types import Url as Url
    from engine.types import check as check
    from engine.types import column as column
    from engine.types import outside as outside
    from engine.types import reference as reference

# module -> its public names. They are imported when somebody asks: a registry wants the words of a declaration, not a server
PUBLIC = {
    "library": "Engine",
    "session": "Session",
    "entity": "Entity Unique Period Virtual Number Nested Frozen Needed Computed RollUp Approval Owner",
    "types": "Model Scope Principal TenantRef column reference outside check Code Slug Key Name Text Email Phone Url Ip Country "
    "Currency TimeZone Timestamp Money Price Quantity Percent Rate SmallInt BigInt DocumentNumber Json Strings Shaped "
    "PostalAddress",
    "trail": "change_log",
    "hooks": "Rules Point Change Moment Identity refuse",
    "jobs": "Jobs Job",
    "events": "Events Event",
    "settings": "Settings",
    "errors": "StartupFault ApiError Fault UnauthorizedError ForbiddenError NotFoundError ConflictError ValidationError "
    "UnavailableError",
}
HOMES = {name: f"engine.{module}" for module, names in PUBLIC.items() for name in names.split()}
__all__ = sorted(HOMES)


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'engine' has no public name {name!r}")
    return getattr(import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
