"""`POST /<scope>/batch`: several operations over one scope in one transaction, each through the handler of its own route.

{"mode": "atomic", "operations": [
    {"id": "a", "method": "POST", "path": "/tenants/crm/customers", "body": {"name": "Acme"}},
    {"method": "POST", "path": "/tenants/crm/contacts", "body": {"customer_id": "$a.id", "full_name": "Ann"}},
    {"method": "PATCH", "path": "/tenants/crm/customers/{$a.id}", "body": {"industry": "pumps"}}]}

`atomic`: all or nothing. `each`: what fails is undone by itself, the rest stands. A text that begins with `$` like a reference and
is none has one `$` more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from engine.clashes import located
from engine.dispatch import Dispatcher, refuse_conditions
from engine.encode import Answer, failure, rows_text, success
from engine.errors import ApiError, Fault, UnavailableError, generic, invalid
from engine.moment import UnitOfWork
from engine.parse import read_members
from engine.preferences import read_preferences
from engine.query import single, split_query
from engine.repetition import Asked, Work, carry_out
from engine.request import Request
from engine.store import translate
from engine.types import Op

MAX_OPERATIONS = 100
MODES = ("atomic", "each")
METHODS = ("GET", "QUERY", "POST", "PATCH", "PUT", "DELETE")
MEMBERS = ("id", "method", "path", "body", "prefer")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}").fullmatch
REFERENCE = r"\$([A-Za-z_][A-Za-z0-9_-]{0,63})\.([A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*)"
VALUE = re.compile(REFERENCE).fullmatch
PLACE = re.compile(r"\{" + REFERENCE + r"\}")
ESCAPED = re.compile(r"\$" + REFERENCE).fullmatch
# what a path may hold as it is
PLAIN = "/?&=%+,:;@!$'()*[]~"
ENCODER = msgspec.json.Encoder(decimal_format="number")


class Operation(NamedTuple):
    """One operation of a batch; `body` is absent or decoded JSON."""

    id: str | None
    method: str
    path: str
    body: Any
    prefer: str


class Outcome(NamedTuple):
    """What became of an operation."""

    operation: Operation
    answer: Answer

    @property
    def text(self) -> str:
        """As the answer of the batch has it."""
        name = "null" if self.operation.id is None else f'"{self.operation.id}"'
        return f'{{"id":{name},"status":{self.answer.status},"body":{self.answer.body.decode() or "null"}}}'


class Batch:
    """The handler of the route."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher, self.service = dispatcher, dispatcher.service

    async def answer(self, request: Request) -> Answer:
        """The outcomes in the order of the operations. The error of an atomic batch names the operation."""
        dispatcher = self.dispatcher
        principal = await dispatcher.caller(request)
        name = request.path.decode("ascii", "replace").split("/")[1]
        scope = dispatcher.shop.catalog.scopes.get(name)
        if scope is None:
            raise generic("route_not_found")
        if scope.tenant_bound != (principal.tenant is not None):
            raise generic("wrong_scope")
        refuse_conditions(request, None)
        if request.query:
            single(split_query(request.query), ())
        mode, operations = read_batch(await request.json(self.service.max_bulk), name)
        service = dispatcher.service_of(principal)
        unit = service.budgets.timed(UnitOfWork(service.operations, name, principal, request.caller))

        async def work(unit: UnitOfWork) -> Answer:
            return await Run(self, request, unit, mode).all(operations)

        try:
            return await self._write(request, unit, work)
        except Exception as error:
            raise translate(error, None, writing=True) from error

    async def _write(self, request: Request, unit: UnitOfWork, work: Work) -> Answer:
        async def run(work: Work, *, transaction: bool) -> Answer:
            return await self.service.perform(unit, work, transaction=True)  # type: ignore[no-any-return]

        if request.header(b"idempotency-key") is None and request.header(b"prefer") is None:
            return await run(work, transaction=True)
        return await carry_out(Asked(request, Op.UPSERT), unit, run, work=work, transaction=True)


class Run:
    """One try of a batch in its transaction."""

    def __init__(self, batch: Batch, request: Request, unit: UnitOfWork, mode: str) -> None:
        self.batch, self.request, self.unit, self.mode = batch, request, unit, mode
        self.named: dict[str, Answer] = {}

    async def all(self, operations: Sequence[Operation]) -> Answer:
        """Every operation in its order."""
        outcomes = []
        for place, operation in enumerate(operations):
            answer = await (self._alone(operation) if self.mode == "each" else self._together(place, operation))
            outcomes.append(Outcome(operation, answer))
            if operation.id is not None:
                self.named[operation.id] = answer
        return success(rows_text(outcome.text for outcome in outcomes))

    async def _together(self, place: int, operation: Operation) -> Answer:
        try:
            return await self._one(operation)
        except ApiError as error:
            raise _at(place, error) from error

    async def _alone(self, operation: Operation) -> Answer:
        try:
            async with self.unit.attempt():
                return await self._one(operation)
        except UnavailableError:
            raise
        except ApiError as error:
            return failure(await located(self.unit, error), self.request.id)

    async def _one(self, operation: Operation) -> Answer:
        """The answer of an operation. Raises ApiError, and what the whole batch is tried again for."""
        self.unit.merging = False
        return await self.batch.dispatcher.inner(self._request(operation), self.unit)

    def _request(self, operation: Operation) -> Request:
        path = PLACE.sub(lambda found: quote(str(self._value(*found.groups())), safe=""), operation.path)
        raw, _, query = quote(path, safe=PLAIN).partition("?")
        body = b"" if operation.body is msgspec.UNSET else ENCODER.encode(self._resolved(operation.body))
        own = self.request.scope["headers"]
        headers = [(b"x-request-id", self.request.id.encode()), *((k, v) for k, v in own if k == b"user-agent")]
        headers += [(b"prefer", operation.prefer.encode("latin-1"))] if operation.prefer else []
        scope = {
            "method": operation.method,
            "raw_path": raw.encode(),
            "query_string": query.encode(),
            "headers": headers,
            "client": self.request.scope.get("client"),
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        return Request(scope, receive)

    def _resolved(self, value: Any) -> Any:
        """The body with what earlier operations answered in the place of references."""
        if isinstance(value, dict):
            return {name: self._resolved(part) for name, part in value.items()}
        if isinstance(value, list):
            return [self._resolved(part) for part in value]
        if not isinstance(value, str):
            return value
        found = VALUE(value)
        return self._value(*found.groups()) if found else value[1:] if ESCAPED(value) else value

    def _value(self, name: str, path: str) -> Any:
        answer = self.named[name]
        data = msgspec.json.decode(answer.body)["data"] if answer.status < 300 and answer.body else None
        for part in path.split("."):
            if isinstance(data, list) and part.isdigit() and int(part) < len(data):
                data = data[int(part)]
            elif isinstance(data, dict) and part in data:
                data = data[part]
            else:
                raise generic("invalid_reference", f"The operation {name!r} answered no {path!r}")
        return data


def _at(place: int, error: ApiError) -> ApiError:
    """The error of an operation as that of the batch."""
    where = f"operations[{place}]"
    faults = [fault.under(where) for fault in error.details] or [Fault(where, error.code, error.message)]
    made = error.again(faults, f"{where}: {error.message}")
    made.clash = error.clash and error.clash.under(where)
    return made


# -- reading


def read_batch(body: bytes, scope: str) -> tuple[str, list[Operation]]:
    """Mode and operations. Raises 400 and 422 with every fault."""
    given = read_members(body, {"mode": False, "operations": True})
    mode, rows = given.get("mode", "atomic"), given["operations"]
    faults: list[Fault] = []
    if mode not in MODES:
        faults.append(Fault("mode", "invalid_choice", "must be atomic or each", {"choices": list(MODES)}))
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_OPERATIONS:
        text = f"must be a list of 1 to {MAX_OPERATIONS} operations"
        raise invalid([*faults, Fault("operations", "out_of_range", text, {"maximum": MAX_OPERATIONS})])
    reading = Reading(scope, faults)
    operations = [reading.operation(place, row) for place, row in enumerate(rows)]
    if faults:
        raise invalid(faults)
    return mode, operations


class Reading:
    """Reads operations one after the other; `faults` gathers what is wrong."""

    def __init__(self, scope: str, faults: list[Fault]) -> None:
        self.scope, self.faults = scope, faults
        self.known: set[str] = set()

    def operation(self, place: int, row: Any) -> Operation:
        """One operation; with faults its values do not matter."""
        where = f"operations[{place}]"
        if not isinstance(row, dict):
            self.faults.append(Fault(where, "invalid_format", "must be an object"))
            return Operation(None, "GET", "", None, "")
        for name in row.keys() - set(MEMBERS):
            self.faults.append(Fault(where, "field_not_allowed", f"has {', '.join(MEMBERS)}; not {str(name)[:64]!r}"))
        found = Operation(
            row.get("id"),
            row.get("method", ""),
            row.get("path", ""),
            row.get("body", msgspec.UNSET),
            row.get("prefer", ""),
        )
        self.faults += [Fault(f"{where}.{name}", code, text) for name, code, text in self._wrong(found)]
        if isinstance(found.id, str):
            self.known.add(found.id)
        return found

    def _wrong(self, row: Operation) -> Iterator[tuple[str, str, str]]:
        """(member, code, message) of each fault."""
        if row.id is not None and (not isinstance(row.id, str) or not NAME(row.id)):
            yield "id", "invalid_format", "must be a short name of letters, digits, _ and -"
        elif row.id in self.known:
            yield "id", "repeated", "is the name of an earlier operation"
        if row.method not in METHODS:
            yield "method", "invalid_choice", f"must be one of {', '.join(METHODS)}"
        if not isinstance(row.path, str) or not row.path.startswith(f"/{self.scope}/"):
            yield "path", "invalid_format", f"must be a path that begins with /{self.scope}/: a batch is over one scope"
        else:
            yield from self._strangers("path", PLACE.findall(row.path))
        yield from self._strangers("body", _references(row.body))
        yield from _wishes(row.prefer)

    def _strangers(self, member: str, names: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
        for name, path in names:
            if name not in self.known:
                yield (
                    member,
                    "invalid_reference",
                    f"${name}.{path} names no earlier operation; a plain text has one $ more",
                )


def _wishes(prefer: Any) -> Iterator[tuple[str, str, str]]:
    if not isinstance(prefer, str) or not prefer.isascii() or not prefer.isprintable():
        yield "prefer", "invalid_format", "must be a header value"
        return
    try:
        wishes = read_preferences(prefer.encode())
    except ApiError as error:
        yield "prefer", "invalid_choice", error.message
        return
    if wishes.dry_run:
        yield "prefer", "invalid_choice", "a rehearsal is of the whole batch: send the header Prefer: dry-run with it"


def _references(value: Any) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [pair for part in value.values() for pair in _references(part)]
    if isinstance(value, list):
        return [pair for part in value for pair in _references(part)]
    found = VALUE(value) if isinstance(value, str) else None
    return [(found[1], found[2])] if found else []
