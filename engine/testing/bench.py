"""What a check of the contract works with: the entity, its caller, rows, and readers of answers that name the fault."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from engine.catalog import Resource
from engine.clock import CLOCK
from engine.fields import Field
from engine.testing.harness import Live
from engine.testing.rows import Body, RowMaker, key_of
from engine.testing.values import NUMBERS, example, holds, same
from engine.types import Op


class ContractFault(AssertionError):
    """An entity breaks the contract. The message begins with `scope/domain/entity check:`."""


class NotApplicable(Exception):
    """The entity cannot be asked this; the message says why."""


class Bench:
    """One entity under test, as its scope's usual caller."""

    def __init__(self, maker: RowMaker, resource: Resource) -> None:
        self.maker, self.resource = maker, resource
        self.live: Live = maker.live
        self.client = self.live.client(resource.scope.name)

    def path(self, row: Body | None = None, tail: str = "") -> str:
        """The path of the entity, or of a row."""
        return f"/{self.resource.path}" + (f"/{key_of(self.resource, row)}{tail}" if row is not None else "")

    def make(self, **given: Any) -> Body:
        """A new row."""
        return self.maker.make(self.resource, **given)

    def read(self, row: Body) -> Body:
        """The row as get shows it."""
        found: Body = data(self.client.get(self.path(row)))
        return found

    def items(self, **query: Any) -> list[Body]:
        """Rows of a list."""
        found: list[Body] = data(self.client.get(self.path(), params=query))["items"]
        return found

    def filtered(self, row: Body, **query: Any) -> list[Body]:
        """The list, filtered by the row's key."""
        return self.items(**{f"filter[{name}]": row[name] for name in self.resource.keys}, **query)

    def log(self, row: Body, request_id: str) -> list[Body]:
        """The change-log records of one row that one request wrote, oldest first."""
        items: list[Body] = data(self.client.get(self.path(row, "/history"), params={"page_size": 100}))["items"]
        return [item for item in reversed(items) if item["request_id"] == request_id]

    def updates(self, row: Body) -> list[tuple[Field, Any]]:
        """For each field that an update may set and that is no reference: another value than the row has."""
        found = []
        fixed = self.maker.fixed_names(self.resource)
        for field in self.resource.columns:
            if field.updatable and not field.references and not field.hidden and field.name not in fixed:
                value = another(field, row.get(field.name))
                stored = {name: row[name] for name in row if name in self.resource.fields}
                if value is not None and holds(self.resource, {**stored, field.name: value}):
                    found.append((field, value))
        return found

    def documented(self, answer: httpx.Response) -> bool:
        """Whether the answer is a refusal that a rule of the entity's domain announces (`raises=`)."""
        own = (self.resource.scope.name, self.resource.entity.domain)
        near = (r for r in self.live.catalog.resources.values() if (r.scope.name, r.entity.domain) == own)
        codes = {pair for r in near for rules in r.hooks.values() for rule in rules for pair in rule.raises}
        return (answer.status_code, code(answer)) in codes


def another(field: Field, present: Any) -> Any:
    """A value that differs from the present one; None when the type has no other."""
    for _ in range(3):
        value = example(field, next(NUMBERS))
        if not same(field, value, present):
            return value
    return None


def ticket() -> str:
    """A request id of one's own."""
    return f"contract-{CLOCK.new_id()}"


def data(answer: httpx.Response, status: int = 200) -> Any:
    """The data of a success."""
    check(answer.status_code == status, f"{described(answer)}, expected {status}")
    return answer.json()["data"]


def code(answer: httpx.Response) -> str:
    """The error code of an answer, or nothing."""
    error = (
        answer.json().get("error") if answer.headers.get("content-type", "").startswith("application/json") else None
    )
    return str(error["code"]) if error else ""


def refused(answer: httpx.Response, status: int, expected: str, field: str | None = None) -> None:
    """The answer is the error `expected`, and names the field with its own code when one is given."""
    details = answer.json()["error"]["details"] if answer.status_code >= 400 else []
    if field is None:
        check(
            (answer.status_code, code(answer)) == (status, expected),
            f"{described(answer)}, expected {status} {expected}",
        )
        return
    found = [(fault["field"], fault["code"]) for fault in details]
    check(
        answer.status_code == status and (field, expected) in found,
        f"{described(answer)}, expected {status} with {expected} at {field}",
    )


def described(answer: httpx.Response) -> str:
    """Request and answer in a line."""
    request = answer.request
    return f"{request.method} {request.url.raw_path.decode()} answered {answer.status_code} {answer.text[:400]}"


def check(holds_true: bool, message: str) -> None:
    """Assert with a message."""
    if not holds_true:
        raise AssertionError(message)


@dataclass(frozen=True)
class Check:
    """One question of the contract: which entities it is asked of, and how."""

    name: str
    applies: Callable[[Resource], bool]
    run: Callable[[Bench], None]


CHECKS: dict[str, Check] = {}


def contract(
    *needs: Op, when: Callable[[Resource], bool] = lambda _resource: True
) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
    """Enter a function into the contract of all entities that offer the operations."""

    def enter(run: Callable[[Bench], None]) -> Callable[[Bench], None]:
        CHECKS[run.__name__] = Check(run.__name__, lambda resource: set(needs) <= resource.ops and when(resource), run)
        return run

    return enter


def equal_but(before: Mapping[str, Any], after: Mapping[str, Any], *but: str) -> None:
    """Two readings of a row agree in all but the named fields."""
    moved = sorted(name for name in before if name not in but and before[name] != after.get(name))
    check(not moved, f"{', '.join(moved)} changed too: {[(before[n], after.get(n)) for n in moved]}")
