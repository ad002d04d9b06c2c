"""Many rows in one request: a list in which each item counts by itself, and set-based update and delete."""

from __future__ import annotations

from collections.abc import Sequence

from engine.call import Call
from engine.encode import ENCODER, Answer, Header, error_of, rows_text, success
from engine.errors import ApiError, Fault, generic, invalid
from engine.many import Chosen, in_parts
from engine.moment import UnitOfWork
from engine.parse import MAX_ROWS
from engine.query import read_selection
from engine.questions import asked_values, list_shape
from engine.records import Action, Written
from engine.repetition import preferences_of
from engine.shapes import Incoming, Listing

EACH: Header = (b"preference-applied", b"each")
MINIMAL: Header = (b"preference-applied", b"return=minimal")


def asks_for_each(call: Call, body: bytes) -> bool:
    """Whether the items of a list are to count by themselves."""
    return body.lstrip()[:1] == b"[" and preferences_of(call.request).each


def item_text(call: Call, outcome: Written | ApiError, *, bare: bool) -> str:
    """What became of one item: `status`, and `data` or `error`; a `bare` one has no data, unless it is shown this once."""
    if isinstance(outcome, ApiError):
        error = ENCODER.encode(error_of(outcome, call.request.id)).decode()
        return f'{{"status":{outcome.status},"data":null,"error":{error}}}'
    data = "null" if bare and not outcome.output else call.readable(outcome)
    return f'{{"status":{200 if outcome.found else 201},"data":{data},"error":null}}'


def items(call: Call, outcomes: Sequence[Written | ApiError], *, each: bool = True) -> Answer:
    """The outcomes in the order of the body."""
    bare = each and preferences_of(call.request).returns == "minimal"
    body = rows_text(item_text(call, outcome, bare=bare) for outcome in outcomes)
    if not each:
        return success(body)
    return success(body, 207, (EACH, MINIMAL) if bare and not call.unit.shows_once else (EACH,))


async def create_each(call: Call, body: bytes) -> Answer:
    """Each row of a list by itself: what can be created is, the others say why not."""
    resource, operations = call.resource, call.service.operations
    read = call.service.reader(resource, "create").read_each(body)
    call.no_parameters()

    async def work(unit: UnitOfWork) -> Answer:
        async def run(rows: Sequence[Incoming]) -> list[Written]:
            return await operations.create(unit, resource, rows)

        good = [row for row in read if not isinstance(row, ApiError)]
        done = iter(await in_parts(unit, good, run))
        return items(call, [row if isinstance(row, ApiError) else next(done) for row in read])

    return await call.write(work, transaction=True)


async def update_many(call: Call) -> Answer:
    """The same change to every row that the filter means."""
    listing, chosen = _chosen(call)
    row = await call.patch()
    if row.version is not None:
        raise invalid([Fault("version", "field_not_allowed", "is said of one row; this writes many")])
    return await _change(call, ("update", row), listing, chosen)


async def delete_many(call: Call) -> Answer:
    """Soft delete every row that the filter means."""
    if await call.body(needed=False):
        raise generic(
            "bad_request", "A DELETE of many rows takes no body; the query's filter says which rows are meant"
        )
    return await _change(call, ("delete", Incoming({})), *_chosen(call))


def _chosen(call: Call) -> tuple[Listing, Chosen]:
    """The rows that the request means: as a list, and as a set of limited size. 400 without a filter or a limit."""
    resource = call.resource
    listing = read_selection(call.catalog, resource, call.request.query, call.service.limits)
    most = preferences_of(call.request).max_affected
    if most is None:
        raise generic("max_affected_required")
    if most > MAX_ROWS:
        raise generic("bad_request", f"Prefer: max-affected is at most {MAX_ROWS}; write in several sets")
    call.require(call.target.op)
    values = call.values()
    values.update(asked_values(listing), limit=most + 1)
    return listing, Chosen(list_shape(listing, call.own(listing)), values, most)


async def _change(call: Call, write: tuple[Action, Incoming], listing: Listing, chosen: Chosen) -> Answer:
    resource = call.resource
    shown = preferences_of(call.request).returns == "representation"
    applied: Header = (b"preference-applied", b"max-affected=%d" % chosen.most)

    async def work(unit: UnitOfWork) -> Answer:
        await call.service.budgets.admit_set(unit, resource, listing, (chosen.shape, chosen.values))
        changes, gone = await call.service.many.change(unit, resource, write, chosen)
        count = f'"count":{len(changes)}'
        if not shown:
            return success(f"{{{count}}}", 200, (applied,))
        rows = gone or (await call.service.operations.answer(unit, resource, changes) if changes else [])
        return success(f'{{{count},"items":{rows_text(call.readable(row) for row in rows)}}}', 200, (applied,))

    return await call.write(work, transaction=True)
