"""Imports and exports that go on after their answer: 202 with the address that tells of them."""

from __future__ import annotations

from collections.abc import Sequence

from engine.call import Call
from engine.encode import Answer, Header, success_of
from engine.errors import generic
from engine.exchange.exporting import Export, parts_of
from engine.exchange.trail import record_export
from engine.moment import UnitOfWork
from engine.repetition import APPLIED
from engine.store import translate
from engine.transfers.carrier import Work
from engine.transfers.ledger import File, Kind, Outcome, Transfer, address


async def respond_later(call: Call, transfer: Transfer, work: Work, applied: Sequence[str], *, once: bool) -> Answer:
    """202, and the work begins. `once`: a request with a key that comes again gets the first answer and begins nothing."""
    carrier = call.service.carrier
    carrier.require_room()
    opened = False

    if call.resource.scope.foreign:
        raise generic(
            "bad_request", "Prefer: respond-async: somebody else's database has no place for transfers; take it at once"
        )

    async def opening(unit: UnitOfWork) -> Answer:
        nonlocal opened
        told = await carrier.ledger.open(unit, transfer)
        opened = True
        place = address(transfer.scope, transfer.id).encode()
        headers: list[Header] = [(b"location", place), (b"retry-after", b"1")]
        headers += [(APPLIED, ", ".join(applied).encode())] if applied else []
        return success_of(told, 202, tuple(headers))

    if once:
        answer = await call.write(opening, transaction=True)
    else:
        answer = await call.service.perform(call.unit, opening, transaction=True)
    if opened:
        carrier.begin(transfer, work, call.request.id)
    else:
        transfer.close()
    return answer


def transfer_of(call: Call, kind: Kind, total: int | None = None) -> Transfer:
    """A new one of the caller."""
    return Transfer(call.resource.scope.name, call.unit.principal, kind, call.resource, total)


def unit_of(call: Call) -> UnitOfWork:
    """A unit of work that is the caller's, and outlives his request."""
    service, principal = call.service, call.unit.principal
    unit = UnitOfWork(service.operations, call.resource.scope.name, principal, call.unit.caller)
    return service.budgets.timed(unit)


async def export_later(call: Call, export: Export) -> Answer:
    """The file is kept, in parts, until it is fetched or expires."""
    query = call.request.query.decode("ascii", "replace")

    async def work(transfer: Transfer) -> Outcome:
        unit, ledger = unit_of(call), call.service.carrier.ledger
        await record_export(unit, export.resource, export.format, query)
        transfer.total = await count_exported(unit, export)
        size = place = 0
        async for part in parts_of(unit, export, transfer.watch):
            await ledger.keep(transfer, place, part)
            place, size = place + 1, size + len(part)
        return Outcome(file=File(export.format.name, size, place))

    return await respond_later(call, transfer_of(call, "export"), work, ["respond-async"], once=False)


async def count_exported(unit: UnitOfWork, export: Export) -> int | None:
    """How many rows there are; None where counting them takes too long."""
    statement = unit.shop.statement(export.resource, export.shape._replace(counting="exact"))
    values = unit.base(export.resource, limit=1, last=1, offset=0)
    values.update(export.values)
    try:
        return int((await unit.run(statement, values))[0][0])
    except Exception as error:
        if translate(error, export.resource, writing=False).code != "query_timeout":
            raise
        return None
