"""Entities asked and written from Python, in one transaction: each call goes the road of a request, to the same answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any
from urllib.parse import quote

import msgspec

from engine.clock import id_text
from engine.dispatch import Dispatcher
from engine.errors import NotFoundError
from engine.moment import Caller, UnitOfWork
from engine.request import Request
from engine.store import translate
from engine.types import Principal

Row = dict[str, Any]


class Session:
    """Made by `Engine.moment`. Values are those of the HTTP interface: numeric and bigint come as texts; what JSON has not
    (UUID, Decimal, datetime) may be given as it is. Errors are the classes of `engine.errors`; one that leaves the block
    undoes all that was written in it.

    >>> async def work():
    ...     async with engine, engine.moment("desk") as moment:
    ...         note = await moment.create("office.notes", {"text": "first"})
    ...         await moment.update("office.notes", note["id"], {"text": "second"})
    ...         found = await moment.list("office.notes", filter={"text": {"startswith": "sec"}})
    ...         await moment.delete("office.notes", note["id"])
    ...         return [row["text"] for row in found], await moment.get("office.notes", note["id"])
    >>> run(work())
    (['second'], None)
    """

    def __init__(self, dispatcher: Dispatcher, scope: str, principal: Principal) -> None:
        self.dispatcher, self.scope = dispatcher, scope
        self.caller = Caller(id_text())
        service = dispatcher.service_of(principal)
        unit = UnitOfWork(service.operations, scope, principal, self.caller)
        self.unit: UnitOfWork = service.budgets.timed(unit)

    async def __aenter__(self) -> Session:
        """Begin the transaction. UnavailableError when the database gives none."""
        with _told():
            await self.unit.__aenter__()
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        """Commit, or undo everything."""
        with _told():
            await self.unit.__aexit__(kind, error, trace)
        if error is None:
            await self.unit.after_commit()

    def attempt(self) -> AbstractAsyncContextManager[None]:
        """A block that may fail by itself: what it wrote is undone, the rest stands."""
        return self.unit.attempt()

    async def create(self, entity: str, body: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Any:
        """The new row of `domain.entity`, or the rows of a list."""
        return await self._ask("POST", entity, "", body)

    async def get(self, entity: str, key: Any) -> Row | None:
        """A row, or None where there is none for the principal. A key of several parts is a tuple."""
        try:
            row: Row = await self._ask("GET", entity, _key(key))
        except NotFoundError as error:
            if error.code != "not_found":
                raise
            return None
        return row

    async def list(self, entity: str, **query: Any) -> list[Row]:
        """Rows that `filter`, `where`, `q`, `sort`, `fields`, `expand`, `page`, `page_size` ... mean, as the body of QUERY."""
        rows: list[Row] = (await self._ask("POST", entity, "/query", query))["items"]
        return rows

    async def update(self, entity: str, key: Any, changes: Mapping[str, Any]) -> Row:
        """The row after the changes; `version` among them is the one they were made to."""
        row: Row = await self._ask("PATCH", entity, _key(key), changes)
        return row

    async def status(self, entity: str, key: Any, status: str, reason: str | None = None) -> Row:
        """The row after it went to a state."""
        said = {"status": status} | ({"reason": reason} if reason is not None else {})
        row: Row = await self._ask("PATCH", entity, f"{_key(key)}/status", said)
        return row

    async def delete(self, entity: str, key: Any) -> Row:
        """The row as it was deleted."""
        row: Row = await self._ask("DELETE", entity, _key(key))
        return row

    async def _ask(self, method: str, entity: str, tail: str, body: Any = None) -> Any:
        content = b"" if body is None else msgspec.json.encode(body)
        path = f"/{self.scope}/{entity.replace('.', '/', 1)}{tail}"
        headers = [(b"x-request-id", self.caller.request_id.encode())]
        scope = {"method": method, "raw_path": path.encode(), "query_string": b"", "headers": headers, "client": None}

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": content}

        self.unit.merging = False
        answer = await self.dispatcher.inner(Request(scope, receive), self.unit)
        return msgspec.json.decode(answer.body)["data"]


@contextmanager
def _told() -> Iterator[None]:
    """What the database says of a transaction, as our errors; faults of programs stay what they are."""
    try:
        yield
    except Exception as error:
        refusal = translate(error, None, writing=True)
        if refusal is error or refusal.code == "internal_error":
            raise
        raise refusal from error


def _key(key: Any) -> str:
    parts = key if isinstance(key, tuple) else (key,)
    return "/" + ",".join(quote(str(part), safe="") for part in parts)
