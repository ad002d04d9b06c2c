"""The contract, fourth part: what is never shown, never taken, and never done for the wrong caller."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import sqlalchemy as sa

from engine.fields import Field
from engine.routes import ROUTES
from engine.testing.bench import Bench, NotApplicable, check, contract, data, described, refused
from engine.testing.rows import Body, key_of
from engine.testing.strategies import faults_of
from engine.types import Op

ABSENT = "00000000-0000-7000-8000-000000000001"
DESERTED = ("date", "server", "x-request-id")
# operations on the row that the path names
ON_A_ROW = frozenset(route.op for route in ROUTES if "{id}" in route.tail)
# the destroying ones last; by filter after the one that names the row, which is gone then
ENDS = {Op.DELETE: 1, Op.DELETE_MANY: 2}


def attempts(bench: Bench, row: Body) -> Iterator[tuple[Op, str, str, Any]]:
    """(operation, method, path, body) of a request for each operation that the entity offers, on this row."""
    bodies: dict[Op, Any] = {
        Op.CREATE: {},
        Op.UPDATE: {},
        Op.REPLACE: {},
        Op.UPDATE_MANY: {},
        Op.UPSERT: {},
        Op.QUERY: {},
        Op.STATUS: {"status": bench.resource.machine.initial},
    }
    for route in ROUTES:
        if route.op in bench.resource.ops:
            tail = route.tail.replace("{id}", key_of(bench.resource, row))
            yield (
                route.op,
                route.method,
                f"/{bench.resource.path}{tail}{_query(bench, route.op, row)}",
                bodies.get(route.op),
            )


def _query(bench: Bench, op: Op, row: Body) -> str:
    if op in (Op.UPDATE_MANY, Op.DELETE_MANY):
        return "?" + "&".join(f"filter[{name}]={quote(str(row[name]))}" for name in bench.resource.keys)
    return f"?on={next(iter(bench.resource.unique_keys))}" if op is Op.UPSERT else ""


def sent(client: httpx.Client, method: str, path: str, body: Any) -> httpx.Response:
    """One request under a fixed request id, so that equal answers are equal bytes. What it writes by a filter is few."""
    few = {"Prefer": "max-affected=5"} if "?filter" in path and method in ("PATCH", "DELETE") else {}
    return client.request(method, path, json=body, headers={"X-Request-Id": "fixed", **few})


# -- fields


def _canary(field: Field) -> tuple[Any, str] | None:
    """A value for a hidden column, and the text by which it would be recognised."""
    mark = f"canary{uuid4().hex[:16]}"
    if isinstance(field.type, sa.Uuid):
        key = str(uuid4())
        return key, key
    if field.scalar.name == "jsonb":
        return [mark], mark
    return (mark, mark) if field.scalar.name == "text" else None


@contract(Op.GET, Op.LIST, when=lambda r: any(f.hidden for f in r.columns))
def hidden_is_never_shown(bench: Bench) -> None:
    """Values of hidden columns appear in no answer; the columns are unknown to filter, sort, fields and bodies."""
    row = bench.make()
    marks = _plant(bench, row)
    check(bool(marks), "no canary could be planted in a hidden column")
    answers = [sent(bench.client, method, path, body) for _, method, path, body in _harmless(bench, row)]
    answers += [bench.client.get(bench.path(), params={f"filter[{name}]": row[name] for name in bench.resource.keys})]
    for name, mark in marks.items():
        for query in ({f"filter[{name}]": mark}, {"sort": name}, {"fields": name}):
            answer = bench.client.get(bench.path(), params=query)
            check(
                answer.status_code in (400, 422),
                f"{described(answer)}: a hidden column is known to {next(iter(query))}",
            )
            if "filter" not in next(iter(query)):
                answers.append(answer)
        if Op.CREATE in bench.resource.ops and not bench.resource.fields[name].creatable:
            refused(bench.client.post(bench.path(), json={name: 1}), 422, "field_not_allowed", name)
    for answer in answers:
        for name, mark in marks.items():
            check(mark not in answer.text, f"{described(answer)} shows the hidden column {name}")


def _harmless(bench: Bench, row: Body) -> Iterator[tuple[Op, str, str, Any]]:
    """Each operation, the destroying ones last."""
    return iter(sorted(attempts(bench, row), key=lambda attempt: ENDS.get(attempt[0], 0)))


def _plant(bench: Bench, row: Body) -> dict[str, str]:
    marks: dict[str, str] = {}
    resource = bench.resource
    table = resource.table.fullname
    where = " and ".join(f"t.{name} = given.{name}" for name in resource.keys)
    for field in (f for f in resource.columns if f.hidden):
        canary = _canary(field)
        if canary is not None:
            given_row = f"jsonb_populate_record(null::{table}, $1::jsonb) given"
            sql = f"update {table} t set {field.name} = given.{field.name} from {given_row} where {where}"
            given = json.dumps({field.name: canary[0], **{name: row[name] for name in resource.keys}})
            bench.live.run_sql(resource.scope.stored_in, sql, given, tenant=bench.maker.tenant(resource))
            marks[field.name] = canary[1]
    return marks


@contract(when=lambda r: bool({Op.CREATE, Op.UPDATE} & r.ops))
def refused_fields(bench: Bench) -> None:
    """Unknown, read-only and hidden fields are refused, and nothing is written; fields given once stay as they are."""
    if Op.CREATE in bench.resource.ops:
        for fault in faults_of(bench.resource, "create"):
            if fault.kind in ("unknown field", "read-only"):
                answer = bench.client.post(bench.path(), json={**bench.maker.body(bench.resource), **fault.body})
                refused(answer, 422, fault.code, fault.field)
    if Op.UPDATE in bench.resource.ops:
        row = bench.make()
        for fault in faults_of(bench.resource, "update"):
            if fault.kind in ("unknown field", "read-only", "write once"):
                refused(bench.client.patch(bench.path(row), json=fault.body), 422, fault.code, fault.field)
        check(bench.read(row) == row, "a refused update changed the row")


# -- callers


@contract()
def unauthenticated(bench: Bench) -> None:
    """Without a token, or with a false one, every operation is 401."""
    row = bench.make()
    with httpx.Client(base_url=bench.live.url, timeout=30) as nobody:
        for _, method, path, body in attempts(bench, row):
            answer = sent(nobody, method, path, body)
            refused(answer, 401, "not_authenticated")
            check(answer.headers.get("www-authenticate") == "Bearer", "401 without WWW-Authenticate")
        nobody.headers["Authorization"] = "Bearer not.a.token"
        for _, method, path, body in attempts(bench, row):
            refused(sent(nobody, method, path, body), 401, "invalid_token")
    check(bench.read(row) == row, "an unauthenticated request changed the row")


@contract()
def default_deny(bench: Bench) -> None:
    """A caller without roles may do nothing at all."""
    row = bench.make()
    powerless = bench.live.powerless(bench.resource.scope.name)
    for _, method, path, body in attempts(bench, row):
        refused(sent(powerless, method, path, body), 403, "permission_denied")
    check(bench.read(row) == row, "a caller without roles changed the row")


@contract()
def wrong_scope(bench: Bench) -> None:
    """A token of the other kind of scope opens nothing."""
    bound = bench.resource.scope.tenant_bound
    others = [name for name, scope in bench.live.catalog.scopes.items() if scope.tenant_bound != bound]
    if not others:
        raise NotApplicable("there is one kind of scope only")
    row = bench.make()
    for _, method, path, body in attempts(bench, row):
        refused(sent(bench.live.client(others[0]), method, path, body), 403, "wrong_scope")
    check(bench.read(row) == row, "a caller of another scope changed the row")


@contract(when=lambda r: r.scope.tenant_bound)
def tenant_wall(bench: Bench) -> None:
    """Another tenant's row answers exactly as an absent one, for every operation, and is in no list."""
    row = bench.make()
    stranger = bench.live.other_tenant()
    absent = {**row, **dict.fromkeys(bench.resource.keys, ABSENT)}
    for theirs, nothing in zip(attempts(bench, row), attempts(bench, absent), strict=True):
        if theirs[0] not in ON_A_ROW:
            continue
        one, other = sent(stranger, *theirs[1:]), sent(stranger, *nothing[1:])
        check(
            one.status_code == 404 or (theirs[0] is Op.REPLACE and one.status_code == 422),
            f"{described(one)} for another tenant's row",
        )
        check(
            one.content == other.content, f"another tenant's row: {described(one)}; an absent one: {described(other)}"
        )
        check(
            _headers(one) == _headers(other),
            f"{theirs[0]}: other headers for another tenant's row than for an absent one",
        )
    for query in ({}, {"deleted": "include"}, {f"filter[{bench.resource.keys[0]}]": row[bench.resource.keys[0]]}):
        items = data(stranger.get(bench.path(), params={**query, "page_size": 100}))["items"]
        check(
            all(key_of(bench.resource, item) != key_of(bench.resource, row) for item in items),
            "a list shows another tenant's row",
        )
    check(bench.read(row) == row, "another tenant changed the row")


def _headers(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in DESERTED}


@contract()
def methods_offered(bench: Bench) -> None:
    """An operation that the entity does not offer is 405 with Allow, or no route at all."""
    row = bench.make()
    for tail in dict.fromkeys(route.tail for route in ROUTES):
        offered = {route.method for route in ROUTES if route.tail == tail and route.op in bench.resource.ops}
        if tail and "{id}" not in tail and not bench.resource.by_uuid:
            continue  # such a word may be the key of a row
        path = f"/{bench.resource.path}{tail.replace('{id}', key_of(bench.resource, row))}"
        for method in sorted({"GET", "POST", "PUT", "PATCH", "DELETE"} - offered):
            if any(route.tail == tail and route.method == method for route in ROUTES) or offered:
                answer = sent(bench.client, method, path, None)
                if not offered:
                    refused(answer, 404, "route_not_found")
                    continue
                refused(answer, 405, "method_not_allowed")
                allowed = {name.strip() for name in answer.headers.get("allow", "").split(",")}
                check(
                    offered <= allowed,
                    f"{described(answer)}: Allow is {sorted(allowed)}, offered are {sorted(offered)}",
                )


@contract(Op.GET)
def absent_is_404(bench: Bench) -> None:
    """A key that is not there, and one that cannot be a key, are 404 for every operation on a row."""
    row = bench.make()
    for key in (ABSENT, "x", "%00", "..%2f", "1,2", ABSENT.upper() + "0"):
        for op, method, path, body in attempts(bench, row):
            if op in ON_A_ROW - {Op.REPLACE}:
                there = path.replace(key_of(bench.resource, row), key)
                answer = sent(bench.client, method, there, body)
                check(answer.status_code == 404, f"{described(answer)}, expected 404")
