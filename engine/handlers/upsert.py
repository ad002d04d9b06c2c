"""Create rows, or update those that have the same unique key."""

from __future__ import annotations

from collections.abc import Sequence

from engine.call import Call
from engine.encode import Answer, etag, success
from engine.entity import Unique
from engine.errors import ApiError, Fault, ValidationError
from engine.handlers.bulk import asks_for_each, items
from engine.many import in_parts
from engine.moment import UnitOfWork
from engine.query import single, split_query
from engine.records import Written
from engine.routes import key_path
from engine.shapes import Incoming
from engine.types import Op


async def upsert(call: Call) -> Answer:
    """One row or a list of them, all or nothing unless each is to count by itself. 201 for a new row, 200 for a known one."""
    resource, key = call.resource, _key(call)
    call.require(Op.UPSERT)
    body = await call.body(many=True)
    reader = call.service.reader(resource, "create")
    if asks_for_each(call, body):
        return await _each(call, key, reader.read_each(body))
    rows, many = reader.read(body)

    async def work(unit: UnitOfWork) -> Answer:
        paths = [f"[{i}]" for i in range(len(rows))] if len(rows) > 1 else [""] * len(rows)
        written = await call.service.many.upsert(unit, resource, key, rows, paths)
        return items(call, written, each=False) if many else _one(call, written[0])

    return await call.write(work, transaction=True)


async def _each(call: Call, key: Unique, read: Sequence[Incoming | ApiError]) -> Answer:
    async def work(unit: UnitOfWork) -> Answer:
        async def run(rows: Sequence[Incoming]) -> list[Written]:
            paths = [f"[{i}]" for i in range(len(rows))] if len(rows) > 1 else [""]
            return await call.service.many.upsert(unit, call.resource, key, rows, paths)

        done = iter(await in_parts(unit, [row for row in read if not isinstance(row, ApiError)], run))
        return items(call, [row if isinstance(row, ApiError) else next(done) for row in read])

    return await call.write(work, transaction=True)


def _one(call: Call, row: Written) -> Answer:
    if row.found:
        return success(call.readable(row), 200, (etag(row.version),))
    location = call.request.root + f"/{call.resource.path}/{key_path(row.key)}".encode()
    return success(call.readable(row), 201, (etag(row.version), (b"location", location)))


def _key(call: Call) -> Unique:
    """The unique key that `on` names. 400 that lists those there are."""
    known = call.resource.unique_keys
    name = single(split_query(call.request.query), ("on",)).get("on")
    if name is None or name not in known:
        ways = " or ".join(f"on={way}" for way in known)
        text = f"names the unique key by which a row is known: {ways}"
        details = [Fault("on", "required" if name is None else "invalid_choice", text, {"choices": list(known)})]
        raise ValidationError("unknown_parameter", f"on {text}", details=details, status=400)
    return known[name]
