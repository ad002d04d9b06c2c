"""Recompute the hash chain of a change log and compare it with the log and its signed head. Reads only.

A chained log is walked by number, a log with seals batch after batch; both to the end that the head tells. What is found is a
text that names the row, or for a batch its rows: a batch has one seal for all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from engine.chain import GENESIS, NO_TENANT, READ_HEAD, Head, Log, Signer, batch_seal, canonical, row_hash

PAGE = 1000
# batches that may wait for the one before them: a record may be committed, and sealed, long after its id was made
WAITING = 10_000
# how often a log that grows meanwhile is looked at again
ROUNDS = 5

# rows of a statement
Fetch = Callable[[str, Sequence[Any]], Awaitable[list[Any]]]
# how many rows more were read
Watch = Callable[[int], None]


def unwatched(_rows: int) -> None:
    """Where nobody looks on."""


@dataclass
class Verifier:
    """Verifies one log. `rows` reads the log's database, bound to the tenant; `heads` reads the platform's."""

    log: Log
    signer: Signer
    rows: Fetch
    heads: Fetch
    watch: Watch = unwatched

    async def verify(self, tenant: UUID | None = None) -> str | None:
        """What is wrong, or None."""
        walk = self._walk_rows if self.log.chained else self._walk_batches
        for _ in range(ROUNDS):
            heads, fault = await self._heads(tenant)
            if fault is not None:
                return fault
            reached, fault = await walk(tenant)
            if fault is not None or reached in heads:
                return fault
            if (await self._heads(tenant))[0] == heads:
                return _cut(heads[0], reached)
        return "the log grows faster than it can be read; try again"

    async def _heads(self, tenant: UUID | None) -> tuple[list[Head], str | None]:
        """Where the log may end: its head, and one that was announced and not taken over."""
        stored = await self.heads(READ_HEAD, [self.log.name, tenant or NO_TENANT])
        if not stored:
            return [Head()], None
        row = stored[0]
        found = [(Head(row["rows"], row["seal"]), row["signature"])]
        if row["pending_seal"]:
            found.append((Head(row["pending_rows"], row["pending_seal"]), row["pending_signature"]))
        for head, signature in found:
            if not head.is_signed(self.signer, self.log.name, tenant, signature):
                return [], f"the head (row {head.rows}, {head.seal}) is not signed by this server"
        return [head for head, _ in found], None

    async def _walk_rows(self, tenant: UUID | None) -> tuple[Head, str | None]:
        reached, last = Head(), (-(2**62), NO_TENANT)
        while page := await self.rows(self.log.by_seq, [tenant, *last, PAGE]):
            for row in page:
                fault = _fault_of(row, reached)
                if fault is not None:
                    return reached, fault
                reached = Head(row["seq"], row["row_hash"])
            last = (page[-1]["seq"], page[-1]["id"])
            self.watch(len(page))
        stray = await self.rows(self.log.stray, [tenant])
        return reached, f"row {stray[0]['id']} has a hash and no number" if stray else None

    async def _walk_batches(self, tenant: UUID | None) -> tuple[Head, str | None]:
        chain = Batches({row["seal"]: row["rows"] for row in await self.rows(self.log.batches, [tenant])})
        last = NO_TENANT
        while page := await self.rows(self.log.by_id, [tenant, last, PAGE]):
            for row in page:
                chain.take(row["seal"], row["id"], canonical(row))
            if len(chain.whole) > WAITING:
                break
            last = page[-1]["id"]
            self.watch(len(page))
        return chain.reached, chain.fault()


def _fault_of(row: Any, before: Head) -> str | None:
    """What is wrong with the next row of a chained log."""
    if row["seq"] != before.rows + 1:
        gap = f"row {before.rows + 1} is missing" if row["seq"] > before.rows else "its number is taken"
        return f"row {row['id']} has number {row['seq']}: {gap}"
    if row["prev_hash"] != before.seal:
        return f"row {row['id']} (number {row['seq']}) does not follow the row before it"
    if row["row_hash"] != row_hash(before.seal, canonical(row, row["seq"])):
        return f"row {row['id']} (number {row['seq']}) is not what was sealed"
    return None


def _cut(head: Head, reached: Head) -> str:
    if reached.rows < head.rows:
        return f"the tail is cut: {head.rows - reached.rows} rows after row {reached.rows} are missing"
    return f"row {reached.rows} ends the log, but its head tells of row {head.rows} with {head.seal}"


@dataclass
class Batch:
    """Rows that carry one seal, by id."""

    ids: list[UUID] = field(default_factory=list)
    rows: list[bytes] = field(default_factory=list)


class Batches:
    """Puts batches in their order: no column tells it, but each seal fits one batch before it alone. Rows come by id, which is
    nearly that order."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self.sizes = sizes
        self.open: dict[str, Batch] = {}
        self.whole: dict[str, Batch] = {}
        self.reached = Head()

    def take(self, seal: str, key: UUID, row: bytes) -> None:
        """The next row by id. One of a batch that was sealed since the sizes were counted is for another time."""
        if seal not in self.sizes:
            return
        batch = self.open.setdefault(seal, Batch())
        batch.ids.append(key)
        batch.rows.append(row)
        if len(batch.ids) == self.sizes[seal]:
            self.whole[seal] = self.open.pop(seal)
            if self._follows(seal):
                self._advance(seal)

    def _follows(self, seal: str) -> bool:
        return batch_seal(self.reached.seal, self.whole[seal].rows) == seal

    def _advance(self, seal: str | None) -> None:
        while seal is not None:
            self.reached = Head(self.reached.rows + len(self.whole.pop(seal).ids), seal)
            seal = next((other for other in self.whole if self._follows(other)), None)

    def fault(self) -> str | None:
        """The first batch that follows none, if there is one."""
        left = sorted([*self.whole.values(), *self.open.values()], key=lambda batch: batch.ids[0])
        if not left:
            return None
        batch = left[0]
        where = "at the beginning" if self.reached.seal == GENESIS else f"after row {self.reached.rows}"
        rows = f"row {batch.ids[0]}" if len(batch.ids) == 1 else f"rows {batch.ids[0]} to {batch.ids[-1]}"
        return (
            f"{rows} ({len(batch.ids)} in one batch) {where} are not what was sealed, or a batch before them is missing"
        )
