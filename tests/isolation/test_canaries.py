"""A canary in each hidden column, in each masked one, in other tenants' rows and in other owners': no answer holds it, and a
request that names a hidden column is answered as one that names no column at all."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import sqlalchemy as sa

from engine.catalog import Resource
from engine.fields import Field
from engine.main import load
from engine.secrets import seal
from engine.testing.bench import Bench, described
from engine.testing.harness import Live
from engine.testing.rows import Body, RowMaker, key_of, unique_columns
from engine.testing.walls import walls
from engine.types import Formatted, Op
from tests.contract.recipes import RECIPES
from tests.isolation.clauses import Asked, assert_complete, from_beside, naming, past, showing, showing_past
from tests.isolation.test_matrix import StrangerMaker

_, CATALOG = load(["registry"])
HIDDEN = [(path, name) for path, r in CATALOG.resources.items() for name in r.entity.hidden]
BOUND = [path for path, r in CATALOG.resources.items() if r.scope.tenant_bound]
# what requests may say of a canary; only its other half betrays it
SAID, SECRET = "CANARY", "YELLOWBIRD"
NOWHERE = "no_such_column"


class Cage:
    """A row with a canary in one of its columns."""

    def __init__(self, live: Live, path: str, name: str) -> None:
        self.live, self.name = live, name
        self.bench = Bench(RowMaker(live, RECIPES), live.resource(path))
        self.field = self.bench.resource.fields[name]
        self.row = self.bench.make()
        self.canary, stored = canary_of(self.bench.resource, self.field, live)
        put(live, self.bench.resource, self.row, {name: stored}, self.bench.maker.tenant(self.bench.resource))

    def ask(self, asked: Asked) -> httpx.Response:
        """The answer, in which the canary is not."""
        answer = send(self.live.client(self.bench.resource.scope.name), asked)
        silent(answer, self.canary)
        return answer


def canary_of(resource: Resource, field: Field, live: Live) -> tuple[str, Any]:
    """What must not be seen, and what is stored (of an encrypted column its cipher)."""
    if isinstance(field.type, sa.Uuid):
        secret = str(uuid4())
        return secret, secret
    text = f"{SAID}{SECRET}{uuid4().hex}"[:60]
    value = {"host": text} if field.scalar.name == "jsonb" and "dict" in str(field.annotation) else text
    value = [text] if field.scalar.name == "jsonb" and "list" in str(field.annotation) else value
    if field.encrypted:
        return SECRET, seal(live.beside.operations.shop.vault, resource, field.name, value)
    return SECRET, value


def put(live: Live, resource: Resource, row: Body, values: Body, tenant: UUID | None) -> None:
    """Write columns behind the engine's back."""
    table, names = resource.table.fullname, ", ".join(values)
    keys = " and ".join(f"t.{name}::text = (($1::jsonb)->>'{name}')" for name in resource.keys)
    done = live.run_sql(
        resource.scope.stored_in,
        f"update {table} t set ({names}) = row({', '.join(f'x.{n}' for n in values)}) "
        f"from jsonb_populate_record(null::{table}, $1::jsonb) x where {keys} returning t.version",
        json.dumps({**values, **{name: row[name] for name in resource.keys}}),
        tenant=tenant,
    )
    assert len(done) == 1


def send(client: httpx.Client, asked: Asked) -> httpx.Response:
    """The answer to a request."""
    content = None if asked.body is None else json.dumps(asked.body)
    headers = {"Content-Type": asked.kind, "Prefer": "max-affected=100, dry-run"} if asked.method != "GET" else {}
    return client.request(asked.method, asked.path, content=content, headers=headers)


def silent(answer: httpx.Response, *canaries: str) -> None:
    """No part of the answer holds a canary."""
    whole = answer.content + repr(answer.headers.raw).encode()
    for canary in canaries:
        assert canary.encode() not in whole, f"a canary sings: {described(answer)}"


def test_every_clause_is_known() -> None:
    """A parameter or an operation that comes later has to be thought of in `clauses`."""
    assert_complete()


@pytest.mark.parametrize(("path", "name"), HIDDEN)
def test_hidden_columns_do_not_exist(live: Live, path: str, name: str) -> None:
    """Naming one is answered as naming nothing, and its value is in no answer."""
    cage = Cage(live, path, name)
    resource, key = cage.bench.resource, key_of(cage.bench.resource, cage.row)
    real = [*naming(resource, key, name, SAID), *from_beside(live.catalog.resources, resource, name, SAID)]
    void = [*naming(resource, key, NOWHERE, SAID), *from_beside(live.catalog.resources, resource, NOWHERE, SAID)]
    for asked, none in zip(real, void, strict=True):
        answer, other = cage.ask(asked), cage.ask(none)
        assert answer.status_code >= 400, described(answer)
        assert told(answer).replace(name, NOWHERE) == told(other), f"{described(answer)}; {described(other)}"
    for asked in showing(live.catalog.resources, resource, key, SAID):
        cage.ask(asked)


def told(answer: httpx.Response) -> str:
    """What an error says, without what differs in any two requests and without advice on the spelling."""
    error = answer.json()["error"]
    parts = [(error["code"], fault["code"], fault["field"]) for fault in error["details"]] or [(error["code"], "", "")]
    return f"{answer.status_code} {parts}"


@pytest.mark.parametrize(("path", "name"), HIDDEN)
def test_hidden_columns_are_not_guessed(live: Live, path: str, name: str) -> None:
    """Advice on the spelling of a name never names a hidden column."""
    cage = Cage(live, path, name)
    wrong = f"{name[:-1]}"
    for asked in naming(cage.bench.resource, key_of(cage.bench.resource, cage.row), wrong, SAID):
        assert name not in cage.ask(asked).text


@pytest.mark.parametrize(("path", "name"), HIDDEN)
def test_writes_do_not_show_hidden_columns(live: Live, path: str, name: str) -> None:
    """Neither the answers of writes, nor the log of them, nor refusals."""
    cage = Cage(live, path, name)
    bench, row, before = cage.bench, cage.row, past()
    where = f"{bench.path(row)}"
    for field, value in bench.updates(row)[:3] if Op.UPDATE in bench.resource.ops else ():
        cage.ask(Asked("PATCH", where, {field.name: value}))
        assert answered(bench.client.patch(where, json={field.name: value}), cage.canary)
    for body in ({name: None}, {name: SAID}, {"no_such_field": 1}, [{name: SAID}]):
        for method, at in (
            ("POST", bench.path()),
            ("PATCH", where),
            ("PUT", where),
            ("POST", f"{bench.path()}/upsert"),
        ):
            cage.ask(Asked(method, at, body))
    cage.ask(Asked("POST", f"{bench.path()}/import?dry_run=true", f"id,{name}\n1,{SAID}\n", kind="text/csv"))
    if Op.DELETE in bench.resource.ops:
        assert answered(bench.client.delete(where), cage.canary)
    cage.ask(Asked("GET", f"{where}/history?page_size=100"))
    for asked in showing_past(live.catalog.resources, bench.resource, key_of(bench.resource, row), before):
        cage.ask(asked)
    log = live.catalog.roles[bench.resource.scope.name, "change_log"]
    cage.ask(Asked("GET", f"/{log.path}?page_size=100&sort=-id"))


def answered(answer: httpx.Response, canary: str) -> bool:
    """Whether the write was answered, and silently."""
    silent(answer, canary)
    return answer.status_code < 500


# -- rows of others


def plain_texts(resource: Resource) -> list[str]:
    """Columns that hold any text."""
    taken = unique_columns(resource) | set(resource.keys) | set(resource.entity.encrypted)
    return [
        f.name
        for f in resource.columns
        if f.scalar.name == "text" and not getattr(f.type, "enums", None) and not isinstance(f.type, Formatted)
        if f.name not in taken and (f.type.length or 99) > len(SECRET) and not resource.table.info.get("append_only")
    ]


@pytest.mark.parametrize("path", [path for path in BOUND if plain_texts(CATALOG.resources[path])])
def test_another_tenants_rows_are_silent(live: Live, path: str) -> None:
    """A canary in every text of another tenant's row is in no answer, whatever is asked."""
    resource, client = live.resource(path), live.client("tenants")
    row = StrangerMaker(live, RECIPES).make(resource)
    names = plain_texts(resource)
    put(live, resource, row, dict.fromkeys(names, SECRET), live.tenant(live.other_tenant()))
    key = key_of(resource, row)
    shown = [name for name in names if resource.fields[name].shown]
    asked: list[Asked] = [*showing(live.catalog.resources, resource, key, SAID)]
    for name in shown[:1]:
        asked += [*naming(resource, key, name, "Y"), *from_beside(live.catalog.resources, resource, name, "Y")]
    assert asked
    for one in asked:
        silent(send(client, one), SECRET)


def test_without_walls_the_canary_sings(live: Live) -> None:
    """The sweep sees a leak when there is one."""
    resource = live.resource("tenants/crm/customers")
    row = StrangerMaker(live, RECIPES).make(resource)
    put(live, resource, row, {"industry": SECRET}, live.tenant(live.other_tenant()))
    with walls(live, statement=False, row_security=False) as open_house:
        shown = showing(live.catalog.resources, resource, key_of(resource, row), SAID)
        texts = [send(open_house.client("tenants"), asked).text for asked in shown]
    assert any(SECRET in text for text in texts)
