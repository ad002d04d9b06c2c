"""What is known of transfers, read and written. What a transfer tells and the parts of its file are encrypted, for both may hold
what is encrypted where it comes from."""

from __future__ import annotations

import asyncio
import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, Literal
from uuid import UUID

import msgspec

from engine.catalog import Resource
from engine.clock import CLOCK
from engine.encode import error_of
from engine.errors import generic
from engine.moment import UnitOfWork, Workshop
from engine.store import Connection
from engine.transfers.table import statements
from engine.types import Principal

NOBODY = UUID(int=0)
# a transfer whose process was not heard of for so long is over
LOST_SECONDS = 15.0
Kind = Literal["import", "export"]


class Overtaken(Exception):
    """The transfer is over already: canceled, or given up for lost."""


@dataclass
class Transfer:
    """A transfer in hand: whose it is, of which entity as he sees it, how many rows are done and how many there are (None =
    nobody knows), and the file that it brings.
    """

    scope: str
    principal: Principal
    kind: Kind
    resource: Resource
    total: int | None = None
    file: BinaryIO | None = None
    rows: int = 0

    def __post_init__(self) -> None:
        self.id = CLOCK.new_id()

    @property
    def tenant(self) -> UUID | None:
        """Whose database rows it may see."""
        return self.principal.tenant.id if self.principal.tenant else None

    def close(self) -> None:
        """Let the file go."""
        if self.file is not None:
            self.file.close()

    def watch(self, rows: int) -> None:
        """So many more are done."""
        self.rows += rows


class Told(msgspec.Struct):
    """A transfer as its caller sees it. `report`: of an import; `file`: where that of an export is to be had; `error`: why it
    failed."""

    id: UUID
    kind: Kind
    entity: str
    state: str
    rows: int
    total: int | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    expires_at: datetime
    report: Any = None
    error: Any = None
    file: str | None = None
    size: int | None = None


class File(msgspec.Struct):
    """The file of an export: its format, its bytes and in how many parts they are kept."""

    format: str
    size: int
    parts: int


class Outcome(msgspec.Struct):
    """What a transfer tells when it is over."""

    report: Any = None
    error: Any = None
    file: File | None = None


class Ledger:
    """The transfers of one process's databases."""

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop

    # -- the process that carries it out

    async def open(self, unit: UnitOfWork, transfer: Transfer) -> Told:
        """Write down that it waits, in the transaction of the unit."""
        assert unit.connection is not None, "it is opened together with what answers for it"
        caller = transfer.principal.user_id or NOBODY
        told = [*self._key(transfer), caller, transfer.kind, transfer.resource.path, transfer.total]
        return self._told(transfer.scope, (await unit.connection.fetch(self._sql(transfer.scope).open, told))[0], None)

    async def start(self, transfer: Transfer) -> None:
        """It is being carried out."""
        await self._run(transfer, self._sql(transfer.scope).start)

    async def seen(self, transfer: Transfer) -> None:
        """It goes on, and how far it is."""
        await self._run(transfer, self._sql(transfer.scope).seen, transfer.rows, transfer.total)

    async def end(self, transfer: Transfer, state: str, outcome: Outcome, within: Connection | None = None) -> None:
        """It is over; `within`: a transaction that stands or falls with that."""
        vault = self.shop.vault
        told = vault.encrypt(
            msgspec.json.encode(outcome).decode(), self._place(transfer.scope, transfer.tenant, transfer.id)
        )
        values = (state, transfer.rows, told, transfer.total)
        text = self._sql(transfer.scope).end
        if within is None:
            await self._run(transfer, text, *values)
        elif not await within.fetch(text, [*self._key(transfer), *values]):
            raise Overtaken

    async def keep(self, transfer: Transfer, place: int, part: bytes) -> None:
        """A part of its file."""
        text = await asyncio.to_thread(self._sealed, transfer, place, part)
        await self._run(transfer, self._sql(transfer.scope).keep, place, text)

    def _sealed(self, transfer: Transfer, place: int, part: bytes) -> str:
        packed = base64.b64encode(zlib.compress(part, 1)).decode()
        return self.shop.vault.encrypt(packed, self._place(transfer.scope, transfer.tenant, transfer.id, place))

    async def _run(self, transfer: Transfer, text: str, *values: Any) -> None:
        """Overtaken when the transfer is over."""
        database = self.shop.databases[transfer.scope]
        if not await database.run(transfer.tenant, text, [*self._key(transfer), *values]):
            raise Overtaken

    def _key(self, transfer: Transfer) -> list[Any]:
        return [self._wall(transfer.scope, transfer.tenant), transfer.id]

    # -- whoever asks

    async def find(self, scope: str, principal: Principal, key: UUID) -> tuple[Told, Outcome]:
        """A transfer of the caller. 404 for any other."""
        rows = await self._ask(scope, principal, self._sql(scope).find, key, LOST_SECONDS)
        if not rows:
            raise generic("not_found", "There is no such transfer")
        outcome = self._outcome(scope, principal, rows[0])
        return self._told(scope, rows[0], outcome), outcome

    async def cancel(self, scope: str, principal: Principal, key: UUID) -> Told:
        """End it if it goes on, else forget it and its file. 404 for one that is not the caller's."""
        rows = await self._ask(scope, principal, self._sql(scope).cancel, key)
        if rows:
            return self._told(scope, rows[0], None)
        told, _ = await self.find(scope, principal, key)
        await self._ask(scope, principal, self._sql(scope).forget, key)
        return told

    async def part(self, scope: str, principal: Principal, key: UUID, place: int) -> bytes:
        """A part of the file of a transfer that was found. 404 when it was forgotten meanwhile."""
        tenant = principal.tenant.id if principal.tenant else None
        values = [self._wall(scope, tenant), key, place]
        rows = await self.shop.databases[scope].run(tenant, self._sql(scope).part, values)
        if not rows:
            raise generic("not_found", "The file is there no more")
        text = self.shop.vault.decrypt(rows[0]["part"], self._place(scope, tenant, key, place))
        return await asyncio.to_thread(lambda: zlib.decompress(base64.b64decode(text)))

    async def _ask(self, scope: str, principal: Principal, text: str, key: UUID, *values: Any) -> Sequence[Any]:
        tenant = principal.tenant.id if principal.tenant else None
        asked = [self._wall(scope, tenant), key, principal.user_id or NOBODY, *values]
        return await self.shop.databases[scope].run(tenant, text, asked)

    def _outcome(self, scope: str, principal: Principal, row: Any) -> Outcome:
        tenant = principal.tenant.id if principal.tenant else None
        if row["told"] is not None:
            try:
                text = self.shop.vault.decrypt(row["told"], self._place(scope, tenant, row["id"]))
                return msgspec.json.decode(text, type=Outcome)
            except ValueError:
                raise generic("not_found", "What it told cannot be read any more: its encryption key is gone") from None
        if row["state"] == "failed":
            return Outcome(error=error_of(generic("interrupted"), ""))
        return Outcome()

    def _told(self, scope: str, row: Any, outcome: Outcome | None) -> Told:
        names = ("id", "kind", "entity", "state", "rows", "total", "created_at", "started_at", "ended_at", "expires_at")
        told = Told(**{name: row[name] for name in names})
        if outcome is not None:
            told.report, told.error = outcome.report, outcome.error
            if outcome.file is not None:
                told.file, told.size = f"{address(scope, told.id)}/file", outcome.file.size
        return told

    # -- both

    def _sql(self, scope: str) -> Any:
        return statements(scope, bound=self.shop.catalog.scopes[scope].tenant_bound)

    def _wall(self, scope: str, tenant: UUID | None) -> UUID | None:
        return tenant if self.shop.catalog.scopes[scope].tenant_bound else None

    def _place(self, scope: str, tenant: UUID | None, key: UUID, place: int | None = None) -> str:
        return f"transfer:{scope}:{tenant or ''}:{key}:{'' if place is None else place}"


def address(scope: str, key: UUID) -> str:
    """Where a transfer is asked about."""
    return f"/{scope}/_transfers/{key}"
