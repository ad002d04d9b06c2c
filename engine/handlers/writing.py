"""Create, update, replace, delete, status."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from engine.call import Call
from engine.catalog import Resource
from engine.encode import Answer, etag, rows_text, success
from engine.errors import ConflictError, Fault, ValidationError, generic, invalid
from engine.handlers.bulk import asks_for_each, create_each
from engine.moment import UnitOfWork
from engine.parse import read_members, read_status, read_version
from engine.preconditions import agreed, version_asked
from engine.query import single, split_query
from engine.records import LEFT, Action, Written
from engine.refusals import Unchanged, key_of
from engine.roads import change_needs_transaction, create_needs_transaction
from engine.routes import key_path
from engine.shapes import GetShape, Incoming


async def create(call: Call) -> Answer:
    """One row, or many: all or nothing, unless each is to count by itself."""
    resource = call.resource
    body = await call.body(many=True)
    if asks_for_each(call, body):
        return await create_each(call, body)
    rows, many = call.service.reader(resource, "create").read(body)
    call.no_parameters()
    if not rows:
        return success(b"[]", 201)

    async def work(unit: UnitOfWork) -> Answer:
        written = await call.service.operations.create(unit, resource, rows)
        return _created(call, written, many=many)

    return await call.write(work, transaction=create_needs_transaction(resource, rows))


def _created(call: Call, written: list[Written], *, many: bool) -> Answer:
    http_status = 200 if all(row.found for row in written) else 201
    if many:
        return success(rows_text(call.readable(row) for row in written), http_status)
    row = written[0]
    location = b"%b%b/%b" % (call.request.root, call.request.path, key_path(row.key).encode())
    return success(call.readable(row), http_status, (etag(row.version), (b"location", location)))


async def update(call: Call) -> Answer:
    """Absent fields keep their value, null clears."""
    row = await call.patch()
    call.no_parameters()
    return await change(call, "update", row)


async def replace(call: Call) -> Answer:
    """Absent fields get their default; nested rows that are left out stay."""
    reader = call.service.replacer(call.resource)
    rows, _ = reader.read(await call.body())
    call.no_parameters()
    given = set(rows[0].values)
    for name, field in reader.fields.items():
        # nobody can send back what no read shows: it keeps its value
        if field.column is None or field.concealed or name in rows[0].values or name in rows[0].kept:
            continue
        # a column that rules fill at creation (`auto`) has no default to fall back to: it keeps its value
        if field.nullable or field.default or field.column.server_default is not None:
            rows[0].values[name] = field.default() if field.default else None
    left = sorted(reader.resource.silent & reader.fields.keys() - given - rows[0].kept.keys())
    if left:
        rows[0].inputs[LEFT] = left
    return await change(call, "update", rows[0])


async def delete(call: Call) -> Answer:
    """Soft delete, where the table has a column for it. The version stands in the query, or in a body that has nothing else."""
    known = ("version",) if call.resource.versioned else ()
    given = single(split_query(call.request.query), known).get("version")
    if given is not None and not (given.isascii() and given.isdigit() and len(given) < 10):
        raise ValidationError("validation_error", "version: must be the version that was read")
    body = await call.body(needed=False)
    said = read_deletion(body, versioned=call.resource.versioned) if body else None
    return await change(call, "delete", Incoming({}, version=agreed(int(given) if given else None, said)))


def read_deletion(body: bytes, *, versioned: bool) -> int | None:
    """`{"version"?}`. 400 and 422 for anything else."""
    given = read_members(body, {"version": False} if versioned else {})
    faults: list[Fault] = []
    version = read_version(given.get("version"), faults)
    if faults:
        raise invalid(faults)
    return version


async def status(call: Call) -> Answer:
    """Along an edge of the machine; without one, active and inactive."""
    resource = call.resource
    asked = read_status(await call.body(), resource.machine.states, versioned=resource.versioned)
    call.no_parameters()
    values: dict[str, Any] = {"status": asked.status}
    if not resource.stateful:
        values = resource.marks.saying(asked.status == "active", call.unit.now)
    return await change(call, "status", Incoming(values, {"reason": asked.reason}, {}, asked.version))


async def change(call: Call, action: Action, row: Incoming) -> Answer:
    """Change the row in the path."""
    resource = call.resource
    key = key_of(resource, call.target.key)
    tags = call.request.every(b"if-match") if call.request.header(b"if-match") is not None else ()
    if tags:
        row.version = agreed(version_asked(tags, counted=resource.versioned), row.version)
    if resource.entity.require_version and row.version is None:
        raise generic("version_required")
    guards = guards_of(resource, action, row)

    async def work(unit: UnitOfWork) -> Answer:
        try:
            if row.kept:
                await _check_kept(call, row, key)
            written = await call.service.operations.change(unit, resource, (action, row), key=key, guards=guards)
        except Unchanged:
            record = await call.read(GetShape((), "include"))
            written = Written(record[0], record[1], {})
        return success(call.readable(written), 200, (etag(written.version),))

    # what the row would become is looked at under its lock
    kept = action == "update" and bool(resource.limits(call.unit.principal, "update", row.values))
    try:
        needed = kept or bool(row.kept) or change_needs_transaction(call.catalog, resource, action, row)
        return await call.write(work, transaction=needed)
    except ConflictError as error:
        if tags and error.code == "version_conflict":
            error.status = 412
        raise


async def _check_kept(call: Call, row: Incoming, key: tuple[str, ...]) -> None:
    """What a body may only repeat stands in the row, which is locked from now on."""
    resource = call.resource
    locked = UUID(key[0]) if resource.by_uuid else key
    await call.service.operations.rows(call.unit, resource, [locked], lock="update")
    record = await call.read(GetShape((), "exclude"))
    if row.version in (None, record[0]):  # of another version nothing need be as it is
        call.service.replacer(resource).check(row.kept, call.readable(Written(record[0], record[1], {})))


def guards_of(resource: Resource, action: Action, row: Incoming) -> tuple[str, ...]:
    """What the stored row must be for the write to happen; checked in the statement itself."""
    guards = ["inactive" if resource.marks.restoring(row.values) else "active"]
    if action == "status" and resource.stateful:
        guards.append("from")
    if action == "delete" or resource.marks.removing(row.values):
        guards.append("unreferenced")
    locks = action in ("update", "delete") and resource.entity.kind == "document" and resource.stateful
    if locks and (action == "delete" or row.nested or not set(row.values) <= set(resource.entity.live)):
        guards.append("unlocked")
    if resource.header is not None:
        guards.append("header")
    return tuple(guards)
