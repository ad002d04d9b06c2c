"""Behaviour of an entity that metadata cannot say: a closed list of points, one signature, rows as a set.

    rules = Rules("manager/idam")

    @rules.on("IDAM-U2", "users", Point.BEFORE_DELETE, raises="409:self_action_forbidden")
    async def nobody_goes_alone(moment: Moment, changes: list[Change]) -> None: ...

A hook runs inside the request's transaction, whatever kind of write led there. It raises one of the families of
`engine.errors` to refuse; everything is then rolled back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, Unpack
from uuid import UUID

import msgspec
from sqlalchemy.sql import ColumnElement, Executable

from engine.errors import ApiError, Fault, ValidationError
from engine.types import Principal, TenantRef

if TYPE_CHECKING:
    from engine.jobs import Handler


class Point(StrEnum):
    """When a hook runs. BEFORE may replace values; AFTER sees the stored rows; DONE runs after commit and cannot fail."""

    __hash__ = str.__hash__  # Enum's own is a Python function

    BEFORE_CREATE = "before_create"
    AFTER_CREATE = "after_create"
    BEFORE_UPDATE = "before_update"
    AFTER_UPDATE = "after_update"
    BEFORE_DELETE = "before_delete"
    AFTER_DELETE = "after_delete"
    BEFORE_STATUS = "before_status"
    AFTER_STATUS = "after_status"
    DONE = "done"


# the id of a row, or the parts of a composite key in their order
Key = UUID | int | str | tuple[Any, ...]
STATUS_POINTS = frozenset({Point.BEFORE_STATUS, Point.AFTER_STATUS})
WATCHING_POINTS = frozenset({Point.BEFORE_CREATE, Point.AFTER_CREATE, Point.BEFORE_UPDATE, Point.AFTER_UPDATE})

Row = Mapping[str, Any]
Rows = list[Row]


class Change:
    """One row on its way. `old` is the stored row before the write (None at create), `values` what will be written (BEFORE)
    or the stored row (AFTER), `given` the fields that the caller sent, `output` what the answer shows once and no column
    keeps. `change["x"]` is the value of x as it will stand; `by_engine` says that a rule or job writes, not a caller. A
    BEFORE_CREATE hook sets `found` to a stored row that answers the caller instead of a new one, a BEFORE_UPDATE hook to
    one that answers instead of the changed one; nothing is written then, and no further hook sees the change. `path` is where
    the row stands in a body of several, `replaced`: others of its header take its place in a moment."""

    __slots__ = (
        "_found",
        "by_engine",
        "given",
        "index",
        "inputs",
        "old",
        "output",
        "path",
        "replaced",
        "touched",
        "values",
    )

    def __init__(
        self, index: int, old: Row | None, values: dict[str, Any], inputs: Mapping[str, Any] | None = None
    ) -> None:
        self.index = index
        self.old = old
        self.values = values
        self.given = frozenset(values)
        self.inputs: Mapping[str, Any] = inputs or {}
        self.output: dict[str, Any] = {}
        self.path = ""
        self.by_engine = self.replaced = False
        # what rules watch: fields that were sent, and columns that rules have written since
        self.touched: set[str] = {*self.given, *self.inputs}
        self._found: Row | None = None

    def __getitem__(self, name: str) -> Any:
        if name in self.values:
            return self.values[name]
        return self.old.get(name) if self.old is not None else None

    @property
    def key(self) -> Any:
        """The id of the row."""
        return self["id"]

    @property
    def reason(self) -> str | None:
        """Why, as the body of the status route says."""
        return self.inputs.get("reason")

    @property
    def found(self) -> Row | None:
        """The stored row that stands for the one asked for."""
        return self._found

    @found.setter
    def found(self, row: Row) -> None:
        self._found, self.values = row, dict(row)

    def changes(self, name: str) -> bool:
        """Whether the write gives `name` another value than it had."""
        return name in self.values and (self.old is None or self.old.get(name) != self.values[name])

    def edge(self) -> tuple[str | None, str | None]:
        """(state before, state after)."""
        return (self.old.get("status") if self.old is not None else None, self["status"])


class Moment(Protocol):
    """What a hook may do and know: other entities through the engine, in the same transaction, tenant and clock."""

    principal: Principal

    @property
    def request_id(self) -> str: ...
    @property
    def now(self) -> datetime: ...
    @property
    def today(self) -> date: ...
    @property
    def handlers(self) -> Mapping[str, Handler]:
        """The handlers of jobs, by name."""

    async def get(self, entity: str, key: Key) -> Row | None:
        """The active row of `domain.entity`, hidden columns included, or None."""

    async def list(self, entity: str, *conditions: ColumnElement[bool], limit: int = 1000) -> Rows:
        """Active rows of `domain.entity` that meet SQLAlchemy conditions over its table, by id."""

    async def create(self, entity: str, rows: Sequence[Mapping[str, Any]]) -> Rows:
        """Insert rows, hooks and audit included; columns set by the engine may be given."""

    async def update(self, entity: str, rows: Sequence[Mapping[str, Any]]) -> Rows:
        """Change rows, each a mapping with its key (usually `id`) and the columns to change."""

    async def delete(self, entity: str, keys: Sequence[Key]) -> Rows:
        """Soft-delete rows."""

    async def renew(self, entity: str, keys: Collection[Key]) -> None:
        """A new version for headers whose nested rows have changed, where this transaction has not written them yet."""

    async def status(self, entity: str, keys: Sequence[Key], status: str, reason: str | None = None) -> Rows:
        """Move rows along an edge of their machine, reserved edges included; rows already there stay."""

    async def fetch(self, statement: Executable) -> Rows:
        """Rows of a SQLAlchemy Core SELECT on the bound transaction. It reads; to write, use the verbs above."""

    async def number(self, prefix: str, on: date) -> str:
        """The next document number of `prefix` in the year of `on`, under a row lock; a series that has come to a later
        year stays there."""

    async def numbers(self, prefix: str, on: date, count: int) -> Sequence[str]:
        """So many of them at once, in order."""

    def require(self, permission: str) -> None:
        """403 unless the caller holds it."""

    async def setting(self, key: str) -> Any:
        """The value of a setting key: the tenant's own, else the platform's, else the built-in default."""

    async def places(self, currency: str) -> int:
        """Decimal places of a currency: as the entity with role `currencies` says, else 2 (0 for JPY, KRW, VND)."""

    async def hash_password(self, password: str) -> str:
        """A bcrypt hash, made in the bounded pool."""

    async def check_password(self, password: str, hashed: str | None) -> bool:
        """Whether they fit; takes as long for None, so that an absent user looks like a wrong password."""

    def permissions(self, *, of_tenants: bool) -> frozenset[str]:
        """All permission codes of the scopes whose rows belong to tenants, or of the others."""

    def attempt(self) -> AbstractAsyncContextManager[None]:
        """A block that may fail by itself: what it wrote is undone, and the error comes out of it."""

    async def in_scope(self, scope: str, tenant: TenantRef | None = None) -> Moment:
        """A moment on another scope's database (a transaction of its own, ended with this one). `tenant` binds it to a
        tenant, where the caller belongs to none; 403 for a caller of another tenant."""


Hook = Callable[[Moment, list[Change]], Awaitable[None]]


@dataclass(frozen=True)
class Rule:
    """A hook bound to its points. `edges` limits status points to transitions such as `draft>open`; `watches` limits
    create and update points to writes that give one of these fields. A rule that `reads` a column runs after those that
    write it; otherwise rules run in the order of their declaration."""

    id: str
    entity: str
    points: tuple[Point, ...]
    run: Hook
    edges: frozenset[str] = frozenset()
    raises: tuple[tuple[int, str], ...] = ()
    watches: frozenset[str] = frozenset()
    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()

    def listens(self, names: Collection[str]) -> bool:
        """Whether a create or update that gives these fields may concern the rule."""
        return not self.watches or not self.watches.isdisjoint(names)

    def concerns(self, change: Change, point: Point) -> bool:
        """Whether the rule has to look at a change at one of its points."""
        if point in STATUS_POINTS:
            return not self.edges or "{}>{}".format(*change.edge()) in self.edges
        return point not in WATCHING_POINTS or self.listens(change.touched)


def _raises(text: str) -> tuple[tuple[int, str], ...]:
    return tuple((int(part.split(":")[0]), part.split(":")[1]) for part in text.split())


SETS = ("edges", "watches", "reads", "writes")


class RuleOptions(TypedDict, total=False):
    """What `Rules.on` takes beside the points."""

    edges: str
    raises: str
    watches: str
    reads: str
    writes: str


@dataclass
class Rules:
    """The rules of one domain, in the order in which they run."""

    domain: str
    rules: list[Rule] = field(default_factory=list)

    def on(self, id: str, entity: str, *points: Point, **options: Unpack[RuleOptions]) -> Callable[[Hook], Hook]:
        """Bind a hook to points of an entity of this domain. Options are texts: `edges="draft>open open>void"`,
        `raises="409:in_use 422:too_early"` (its codes), `watches="email password"` (fields), `reads="subtotal"` and
        `writes="tax_pct"` (columns: who reads one runs after who writes it)."""

        def bind(run: Hook) -> Hook:
            said = {name: frozenset(options.get(name, "").split()) for name in SETS}  # type: ignore[attr-defined]
            raises = _raises(options.get("raises", ""))
            self.rules.append(Rule(id, f"{self.domain}/{entity}", points, run, raises=raises, **said))
            return run

        return bind


def refuse(change: Change, name: str, code: str, message: str, **params: Any) -> ApiError:
    """A 422 whose one fault lies in a field of the row."""
    return ValidationError(code, message, details=[Fault(name, code, message, params).under(change.path)])


class SignIn(msgspec.Struct, frozen=True):
    """What somebody brings to sign in."""

    username: str
    password: str
    tenant: str | None = None
    code: str | None = None
    ip: str | None = None
    user_agent: str | None = None


class Session(msgspec.Struct, frozen=True):
    """A session that was opened or renewed; `refresh_token` is shown once."""

    id: UUID
    user_id: UUID
    tenant_id: UUID | None
    refresh_token: str
    expires_at: datetime


class Identity(Protocol):
    """The questions that authentication asks of a registry. A refusal is returned, not raised, so that what it wrote (failed
    attempts, a revoked family) is committed."""

    scope: str

    async def sign_in(self, moment: Moment, attempt: SignIn) -> Session | ApiError: ...

    async def refresh(self, moment: Moment, token: str, attempt: SignIn) -> Session | ApiError: ...

    async def revoke(self, moment: Moment, session_id: UUID | None, token: str | None) -> None: ...

    async def principal(
        self, moment: Moment, user_id: UUID, tenant_id: UUID | None, session_id: UUID
    ) -> Principal | ApiError:
        """The caller as he stands now: roles, permissions, tenant; an error when session, user or tenant ended."""

    async def api_key(self, moment: Moment, key: str, ip: str | None) -> Principal | ApiError: ...

    async def profile(self, moment: Moment) -> Mapping[str, Any]:
        """What /auth/me shows beside roles and permissions."""

    async def second_factor(self, moment: Moment, step: str, given: Mapping[str, str]) -> Mapping[str, Any]:
        """`begin` shows a secret once, `confirm` takes a code, `end` takes the password."""

    async def accept_invitation(self, moment: Moment, given: Mapping[str, str]) -> Mapping[str, Any]:
        """Make the bearer of an invitation's `token` a member of its tenant; somebody new gives `full_name` and `password`.
        ConflictError for a token that does not count."""

    async def seed(self, moment: Moment) -> None:
        """Bring the rows that the registry itself needs (roles, the permission catalogue); called at every start."""

    async def create_user(self, moment: Moment, email: str, password: str, *, administrator: bool) -> Row:
        """A person who may sign in at once; an administrator holds every Manager permission. An existing one is returned."""

    async def tenants(self, moment: Moment) -> list[TenantRef]:
        """The tenants in use: those for which jobs of tenant-bound scopes run."""

    async def all_tenants(self, moment: Moment) -> list[TenantRef]:
        """Every tenant that may have rows, in use or not, deleted ones included."""

    async def create_tenant(self, moment: Moment, values: Mapping[str, Any]) -> Row:
        """A pooled tenant with its first owner; `values`: slug, name, owner_email, owner_password."""
