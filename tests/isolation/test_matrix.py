"""Every entity of the tenants scope x every operation x every way of being the wrong caller or naming the wrong row:
the same answers with both walls, and with either one down."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import httpx
import pytest

from engine.catalog import Resource
from engine.main import load
from engine.testing.bench import Bench, code, described
from engine.testing.guarding import ABSENT, ENDS, ON_A_ROW, attempts, sent
from engine.testing.harness import Live
from engine.testing.rows import Body, RowMaker, key_of
from engine.testing.walls import walls
from engine.types import Op
from tests.contract.recipes import RECIPES

_, CATALOG = load(["registry"])
BOUND = [path for path, resource in CATALOG.resources.items() if resource.scope.tenant_bound]
SETUPS = {
    "both walls": {},
    "row security alone": {"statement": False},
    "statements alone": {"row_security": False},
}


@pytest.fixture(scope="module", params=list(SETUPS))
def walled(request: pytest.FixtureRequest, live: Live) -> Iterator[Live]:
    """The server with the walls of one setup."""
    with walls(live, **SETUPS[request.param]) as other:
        yield other


class Seen(NamedTuple):
    """What an answer says, but for the row it may show."""

    status: int
    code: str


REFUSED = {
    "no token": Seen(401, "not_authenticated"),
    "wrong role": Seen(403, "permission_denied"),
    "wrong scope": Seen(403, "wrong_scope"),
}


def callers(live: Live) -> dict[str, httpx.Client]:
    """Those who may not be here at all."""
    return {
        "no token": httpx.Client(base_url=live.url, timeout=30),
        "wrong role": live.powerless("tenants"),
        "wrong scope": live.client("manager"),
    }


@pytest.mark.parametrize("path", BOUND)
def test_wrong_callers_are_refused(walled: Live, path: str) -> None:
    """No token 401, no role 403, another scope's token 403: for each operation, and nothing happens."""
    bench = Bench(RowMaker(walled, RECIPES), walled.resource(path))
    row = bench.make()
    for name, client in callers(walled).items():
        for op, method, where, body in attempts(bench, row):
            answer = sent(client, method, where, body)
            assert Seen(answer.status_code, code(answer)) == REFUSED[name], f"{op} with {name}: {described(answer)}"
    assert bench.read(row) == row


@pytest.mark.parametrize("path", BOUND)
def test_own_rows_are_there(walled: Live, path: str) -> None:
    """The owner of a row is served, so that the refusals beside it mean something."""
    bench = Bench(RowMaker(walled, RECIPES), walled.resource(path))
    row = bench.make()
    for op, method, where, body in own_attempts(bench, row):
        answer = sent(bench.client, method, where, body)
        assert answer.status_code in (200, 201) or bench.documented(answer), f"{op}: {described(answer)}"


def own_attempts(bench: Bench, row: Body) -> list[tuple[Op, str, str, Any]]:
    """Requests that the owner's row takes, deletion last."""
    tries: list[tuple[Op, str, str, Any]] = []
    for op, method, where, body in sorted(attempts(bench, row), key=lambda attempt: ENDS.get(attempt[0], 0)):
        if op is Op.IMPORT:
            continue  # takes a file
        if op in (Op.CREATE, Op.UPSERT):
            body = bench.maker.body(bench.resource)
        elif op is Op.REPLACE:
            body = {f.name: row[f.name] for f in bench.resource.columns if f.updatable and f.shown}
        elif op is Op.STATUS and not bench.resource.stateful:
            body = {"status": "active"}
        tries.append((op, method, where, body))
    return tries


@pytest.mark.parametrize("path", BOUND)
def test_another_tenants_row_is_an_absent_one(walled: Live, path: str) -> None:
    """For each operation on a row: the same status, headers and bytes as for an id that is nowhere."""
    bench = Bench(RowMaker(walled, RECIPES), walled.resource(path))
    row, stranger = bench.make(), walled.other_tenant()
    absent = {**row, **dict.fromkeys(bench.resource.keys, ABSENT)}
    tries = [a for a in own_attempts(bench, row) if a[0] in ON_A_ROW]
    for op, method, where, body in tries:
        one = sent(stranger, method, where, body)
        other = sent(stranger, method, where.replace(key_of(bench.resource, row), key_of(bench.resource, absent)), body)
        assert (one.status_code, one.content) == (404, other.content), (
            f"{op}: {described(one)}; absent: {described(other)}"
        )
    assert bench.read(row) == row
    for deleted in ("exclude", "include"):
        listed = stranger.get(
            bench.path(), params={f"filter[{bench.resource.keys[0]}]": row[bench.resource.keys[0]], "deleted": deleted}
        )
        assert listed.json()["data"]["items"] == [], described(listed)
        assert listed.json()["data"]["total"] == 0, described(listed)


@pytest.mark.parametrize("path", [p for p in BOUND if Op.DELETE in CATALOG.resources[p].ops])
def test_deleted_rows_are_gone(walled: Live, path: str) -> None:
    """A deleted row is 404 for every operation that does not ask for deleted ones."""
    bench = Bench(RowMaker(walled, RECIPES), walled.resource(path))
    row = bench.make()
    assert bench.client.delete(bench.path(row)).status_code == 200
    for op, method, where, body in own_attempts(bench, row):
        if op in (Op.GET, Op.UPDATE, Op.REPLACE, Op.DELETE) or (op is Op.STATUS and bench.resource.stateful):
            answer = sent(bench.client, method, where, body)
            assert Seen(answer.status_code, code(answer)) == Seen(404, "not_found"), f"{op}: {described(answer)}"
    for op, method, where, body in own_attempts(bench, row):
        if op in ON_A_ROW:
            assert sent(walled.other_tenant(), method, where, body).status_code == 404, op
    assert bench.filtered(row) == []


@pytest.mark.parametrize("path", [p for p in BOUND if {Op.UPDATE_MANY, Op.DELETE_MANY} & CATALOG.resources[p].ops])
def test_no_filter_of_a_set_finds_another_tenants_row(walled: Live, path: str) -> None:
    """Update and delete by filter: what another tenant's row has is had by no row."""
    bench = Bench(RowMaker(walled, RECIPES), walled.resource(path))
    row, stranger = bench.make(), walled.other_tenant()
    key = bench.resource.keys[0]
    tree = json.dumps({"or": [{"field": key, "value": row[key]}, {"field": key, "op": "in", "value": [row[key]]}]})
    for query in ({f"filter[{key}]": row[key]}, {"where": tree}):
        for op, method, body in ((Op.UPDATE_MANY, "PATCH", {}), (Op.DELETE_MANY, "DELETE", None)):
            if op in bench.resource.ops:
                few = {"Prefer": "max-affected=5, return=representation"}
                answer = stranger.request(method, bench.path(), params=query, json=body, headers=few)
                assert answer.json()["data"] == {"count": 0, "items": []}, described(answer)
    assert bench.read(row) == row


@pytest.mark.parametrize("path", [p for p in BOUND if Op.UPSERT in CATALOG.resources[p].ops])
def test_an_upsert_knows_no_row_of_another_tenant(walled: Live, path: str) -> None:
    """A unique key that another tenant's row has is free: the row that it makes is one's own, the other stays."""
    bench = Bench(RowMaker(walled, RECIPES), walled.resource(path))
    row = bench.make()
    for on, unique in bench.resource.unique_keys.items():
        own = StrangerMaker(walled, RECIPES).body(bench.resource)
        plain = [c for c in unique.columns if not bench.resource.fields[c].references and row[c] is not None]
        body = {**own, **{column: row[column] for column in plain}}
        answer = walled.other_tenant().post(f"{bench.path()}/upsert", params={"on": on}, json=body)
        assert answer.status_code in (200, 201) or bench.documented(answer), described(answer)
        assert row["id"] not in answer.text
    assert bench.read(row) == row


@pytest.mark.parametrize("mode", ["atomic", "each"])
def test_a_batch_reaches_no_row_of_another_tenant(walled: Live, mode: str) -> None:
    """Through paths, bodies, filters and unique keys: as if the row were nowhere."""
    bench = Bench(RowMaker(walled, RECIPES), walled.resource("tenants/crm/customers"))
    row, stranger = bench.make(), walled.other_tenant()
    path = f"/{bench.resource.path}"

    def batch(operation: dict[str, Any]) -> httpx.Response:
        body = {"mode": mode, "operations": [operation]}
        return stranger.post("/tenants/batch", json=body, headers={"X-Request-Id": "fixed"})

    for make in (
        lambda key: {"method": "GET", "path": f"{path}/{key}"},
        lambda key: {"method": "PATCH", "path": f"{path}/{key}", "body": {"name": "Taken"}},
        lambda key: {"method": "DELETE", "path": f"{path}/{key}"},
        lambda key: {"method": "PATCH", "path": f"{path}/{key}/status", "body": {"status": "blocked"}},
        lambda key: {"method": "POST", "path": path, "body": {"name": "Child", "parent_id": key}},
        lambda key: {"method": "GET", "path": f"{path}?filter[id]={key}"},
        lambda key: {"method": "DELETE", "path": f"{path}?filter[id]={key}", "prefer": "max-affected=5"},
    ):
        one, other = batch(make(row["id"])), batch(make(ABSENT))
        assert (one.status_code, one.content) == (other.status_code, other.content), described(one)
        assert row["name"] not in one.text
    assert bench.read(row) == row


def pointing(resource: Resource) -> list[str]:
    """Columns by which a body may name a row of another entity."""
    return [name for name in resource.reference_columns if resource.fields[name].creatable]


POINTING = [
    (path, name)
    for path in BOUND
    if Op.CREATE in CATALOG.resources[path].ops
    for name in pointing(CATALOG.resources[path])
]


@pytest.fixture(scope="module")
def foreign(walled: Live) -> Callable[[Resource, str], str]:
    """Ids of rows of the second tenant, one an entity."""
    made: dict[str, str] = {}
    maker = StrangerMaker(walled, RECIPES)

    def give(resource: Resource, column: str) -> str:
        target = maker.target(resource, column)
        assert target is not None
        if target.path not in made:
            made[target.path] = str(maker.make(target)["id"])
        return made[target.path]

    return give


class StrangerMaker(RowMaker):
    """Makes rows of the second tenant."""

    def make(self, resource: Resource, client: httpx.Client | None = None, **given: Any) -> Body:
        return super().make(resource, client or self.live.other_tenant(), **given)

    def client(self, resource: Resource) -> httpx.Client:
        return self.live.other_tenant() if resource.scope.tenant_bound else super().client(resource)


@pytest.mark.parametrize(("path", "column"), POINTING)
def test_a_foreign_parent_is_an_absent_one(
    walled: Live, foreign: Callable[[Resource, str], str], path: str, column: str
) -> None:
    """A body that names another tenant's row is refused exactly like one that names no row: create, bulk and update."""
    bench = Bench(RowMaker(walled, RECIPES), walled.resource(path))
    theirs = foreign(bench.resource, column)
    bodies = [bench.maker.body(bench.resource), bench.maker.body(bench.resource)]
    before = total(bench)

    def with_parent(key: str) -> list[Any]:
        return [{**bodies[0], column: key}, [bodies[1], {**bodies[0], column: key}]]

    for one, other in zip(with_parent(theirs), with_parent(ABSENT), strict=True):
        alike(sent(bench.client, "POST", bench.path(), one), sent(bench.client, "POST", bench.path(), other))
    assert total(bench) == before
    if bench.resource.fields[column].updatable and Op.UPDATE in bench.resource.ops:
        row = bench.make()
        one, other = ({column: key} for key in (theirs, ABSENT))
        alike(sent(bench.client, "PATCH", bench.path(row), one), sent(bench.client, "PATCH", bench.path(row), other))
        assert bench.read(row) == row


def alike(foreign_answer: httpx.Response, absent_answer: httpx.Response) -> None:
    """Both are the same refusal."""
    assert foreign_answer.status_code == 422, described(foreign_answer)
    assert code(foreign_answer) == "invalid_reference", described(foreign_answer)
    assert foreign_answer.content == absent_answer.content, (
        f"{described(foreign_answer)}; absent: {described(absent_answer)}"
    )


def total(bench: Bench) -> int:
    """How many rows the entity has, deleted ones included."""
    return int(bench.client.get(bench.path(), params={"page_size": 1, "deleted": "include"}).json()["data"]["total"])


def test_without_walls_the_matrix_fails(live: Live) -> None:
    """The matrix sees a leak when there is one."""
    with walls(live, statement=False, row_security=False) as open_house:
        bench = Bench(RowMaker(open_house, RECIPES), open_house.resource("tenants/crm/customers"))
        row = bench.make()
        assert open_house.other_tenant().get(bench.path(row)).status_code == 200
