"""Random histories of a few rows, and a random moment: `as_of=` lists what a plain Python model of the rows held then."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.clock import CLOCK
from engine.testing.harness import Live
from engine.types import Principal, TenantRef
from tests.calls import Body
from tests.engine.annals.people import GROUPS, THINGS, People, at

START = datetime(2026, 5, 1, 12, 0, 0, 1, UTC)
FIELDS = ("name", "price", "many", "ready", "tags", "data", "seen", "group_id")
SHOWN = ("id", *FIELDS, "status", "is_active", "version", "updated_at")
MOST = 3

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "name": st.sampled_from(["a", "b", "c"]),
    "price": st.sampled_from([None, "0.0000", "1.5000", "-2.2500"]),
    "many": st.none() | st.integers(-(2**31), 2**31 - 1),
    "ready": st.sampled_from([None, True, False]),
    "tags": st.sampled_from([None, [], ["x"], ["y", "x"]]),
    "data": st.sampled_from([None, {}, {"n": None}, [1.5, "null"], "null", False]),
    "seen": st.sampled_from([None, "2026-01-01T00:00:00.000001+00:00", "0001-01-01T00:00:00+00:00"]),
    # a place among the groups made so far, or none
    "group_id": st.none() | st.integers(0, MOST - 1),
}


class Act(NamedTuple):
    """One write: what is done to which row of its table, and how long after the one before."""

    kind: str
    table: str
    row: int
    values: Body
    gap: int


def acts() -> st.SearchStrategy[Act]:
    some = st.lists(st.sampled_from(FIELDS), max_size=4, unique=True)
    values = some.flatmap(lambda names: st.fixed_dictionaries({name: VALUES[name] for name in names}))
    kinds = st.sampled_from(["create", "patch", "patch", "patch", "drop", "move", "restore"])
    tables = st.sampled_from([THINGS, THINGS, GROUPS])
    return st.builds(Act, kinds, tables, st.integers(0, MOST - 1), values, st.integers(0, 2))


Table = dict[str, Body]


@dataclass
class Model:
    """The rows by table and key, in the order of their making, and what they were after each moment."""

    client: httpx.Client
    now: datetime = START
    tables: dict[str, Table] = field(default_factory=lambda: {THINGS: {}, GROUPS: {}})
    kept: list[tuple[datetime, dict[str, Table]]] = field(default_factory=list)

    def do(self, act: Act) -> None:
        """One write to both, unless the server refuses it (a row in use, a way that the machine does not know)."""
        self.now += timedelta(seconds=act.gap)
        CLOCK.at(self.now)
        rows = self.tables[act.table]
        if act.kind == "create":
            if len(rows) < MOST:
                self.create(act)
        elif act.row < len(rows):
            self.change(act, list(rows.values())[act.row])
        self.kept.append((self.now, deepcopy(self.tables)))

    def create(self, act: Act) -> None:
        values = {"name": "new", **self.given(act)}
        answer = self.client.post(f"/{act.table}", json=values)
        if answer.status_code == 422:  # refers to a group that is gone
            return
        assert answer.status_code == 201, answer.text
        row = {**dict.fromkeys(FIELDS), **values, "status": "new", "is_active": True, "version": 1}
        row |= {"id": answer.json()["data"]["id"], "updated_at": self.now}
        self.tables[act.table][row["id"]] = row

    def change(self, act: Act, row: Body) -> None:
        path, values = f"/{act.table}/{row['id']}", self.given(act)
        told: dict[str, tuple[str, str, Body | None, Body]] = {
            "patch": ("PATCH", path, values, values),
            "drop": ("DELETE", path, None, {"is_active": False}),
            "move": ("PATCH", f"{path}/status", {"status": "void"}, {"status": "void"}),
            "restore": ("PATCH", f"{path}/status", {"status": "active"}, {"is_active": True}),
        }
        method, where, body, change = told[act.kind]
        answer = self.client.request(method, where, json=body)
        assert answer.status_code in (200, 404, 409, 422), answer.text
        data = answer.json()["data"]
        # to move a row to where it stands is no change
        if answer.status_code == 200 and data["version"] != row["version"]:
            row |= {**change, "version": data["version"], "updated_at": self.now}

    def given(self, act: Act) -> Body:
        """The values as a body has them."""
        values = {n: v for n, v in act.values.items() if act.table == THINGS or n == "name"}
        groups = list(self.tables[GROUPS])
        if values.get("group_id") is not None:
            place: int = values["group_id"]
            values["group_id"] = groups[place] if place < len(groups) else None
        return values

    def then(self, moment: datetime) -> dict[str, Table]:
        """The rows at a moment."""
        return next((tables for when, tables in reversed(self.kept) if when <= moment), {THINGS: {}, GROUPS: {}})


@dataclass
class Server:
    """A caller whose tenant is another in each example."""

    live: Live
    client: httpx.Client

    def begin(self) -> Model:
        [token] = [key for key, client in self.live.clients.items() if client is self.client]
        tenant = TenantRef(CLOCK.new_id(), "histories")
        self.live.lent[token.encode()] = Principal(UUID(int=1), tenant=tenant, everything=True)
        return Model(self.client)

    def listed(self, path: str, query: str) -> tuple[list[Body], int]:
        answer = self.client.get(f"/{path}?page_size=100&{query}")
        assert answer.status_code == 200, answer.text
        data = answer.json()["data"]
        return data["items"], data["total"]


@pytest.fixture
def server(annals: Live) -> Iterator[Server]:
    yield Server(annals, annals.lend(Principal(UUID(int=1), everything=True)))
    CLOCK.at(None)


def shown(row: Body) -> Body:
    stamped = row["updated_at"].isoformat()
    return {**{name: row[name] for name in SHOWN}, "updated_at": stamped}


def by_name(row: Body) -> tuple[str, str]:
    return row["name"], row["id"]


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(history=st.lists(acts(), min_size=3, max_size=14), share=st.integers(0, 28), just=st.booleans())
def test_a_list_as_of_a_moment_is_what_the_model_held(
    server: Server, history: list[Act], share: int, just: bool
) -> None:
    """`just`: the moment is that of a write, or just before it."""
    model = server.begin()
    CLOCK.at(START)
    for act in history:
        model.do(act)
    CLOCK.at(START + timedelta(days=1))
    moment = START + timedelta(seconds=share, microseconds=0 if just else -1)
    tables, as_of, fields = model.then(moment), at(moment), f"fields={','.join(SHOWN)}"
    things = sorted(tables[THINGS].values(), key=by_name)
    alive = [row for row in things if row["is_active"]]
    every, total = server.listed(THINGS, f"deleted=include&sort=name&{fields}&{as_of}")
    assert (every, total) == ([shown(row) for row in things], len(things))
    assert server.listed(THINGS, f"sort=name&{fields}&{as_of}") == ([shown(row) for row in alive], len(alive))
    rich = [row["id"] for row in alive if row["price"] is not None and Decimal(row["price"]) >= 0]
    found, _ = server.listed(THINGS, f"sort=name&filter[price][gte]=0&{as_of}")
    assert [row["id"] for row in found] == rich
    bare = [row["id"] for row in alive if row["data"] is None and row["status"] == "void"]
    found, _ = server.listed(THINGS, f"sort=name&filter[data][isnull]=true&filter[status]=void&{as_of}")
    assert [row["id"] for row in found] == bare
    related(server, tables, as_of)
    for row in model.tables[THINGS].values():
        there = row["id"] in tables[THINGS]
        answer = server.client.get(f"/{THINGS}/{row['id']}?deleted=include&{fields}&{as_of}")
        assert answer.status_code == (200 if there else 404)
        assert not there or answer.json()["data"] == shown(tables[THINGS][row["id"]])


def related(server: Server, tables: dict[str, Table], as_of: str) -> None:
    """Both ways of a reference."""
    groups = {key: row for key, row in tables[GROUPS].items() if row["is_active"]}
    alive = sorted((row for row in tables[THINGS].values() if row["is_active"]), key=by_name)
    found, _ = server.listed(THINGS, f"sort=name&expand=group&fields=id&fields[group]=name,version&{as_of}")
    for one, row in zip(found, alive, strict=True):
        group = groups.get(row["group_id"])
        assert one["group"] == (group and {"name": group["name"], "version": group["version"]})
    found, _ = server.listed(
        GROUPS, f"sort=id&expand=things&expand[things][sort]=name&fields=id&fields[things]=id,price&{as_of}"
    )
    expected = [
        [{"id": row["id"], "price": row["price"]} for row in alive if row["group_id"] == key] for key in sorted(groups)
    ]
    assert [one["things"] for one in found] == expected
    named = [row["id"] for row in alive if (group := groups.get(row["group_id"])) and group["name"] == "a"]
    found, _ = server.listed(THINGS, f"sort=name&filter[group.name]=a&{as_of}")
    assert [row["id"] for row in found] == named


# -- what random histories do not meet


@pytest.fixture
def people(annals: Live) -> Iterator[People]:
    yield People(annals)
    CLOCK.at(None)


def test_clocks_that_disagree_do_not_mix_versions(people: People) -> None:
    """Who came second had asked the clock first: until his moment the row is as it was before both, not half of each."""
    chief = people.chief
    CLOCK.at(START)
    key = chief.make(THINGS, name="first", price="1", many=1)["id"]
    for minutes, values in ((10, {"name": "second", "price": "2"}), (5, {"price": "3", "many": 3})):
        CLOCK.at(START + timedelta(minutes=minutes))
        chief.change(THINGS, key, **values)
    CLOCK.at(START + timedelta(hours=1))
    for minutes, expected in (
        (0, ["first", "1.0000", 1, 1]),
        (7, ["first", "1.0000", 1, 1]),
        (10, ["second", "3.0000", 3, 3]),
    ):
        row = chief.get(THINGS, f"{key}?{at(START + timedelta(minutes=minutes))}")
        assert [row[name] for name in ("name", "price", "many", "version")] == expected


def test_a_null_of_json_comes_back_where_nothing_else_can_be_empty(people: People) -> None:
    CLOCK.at(START)
    chief = people.chief
    key = chief.make(THINGS, name="facts", facts={"a": 1})["id"]
    statement = "update ann.things set facts = 'null' where id = $1::uuid returning id"
    assert people.live.run_sql("tenants", statement, UUID(key), tenant=people.tenant.id)
    CLOCK.at(START + timedelta(seconds=1))
    chief.change(THINGS, key, facts=[1])
    assert [row["facts"] for row in chief.list(THINGS, f"filter[facts][isnull]=false&{at(START)}")] == [None]


def test_two_tenants_may_have_one_key(people: People) -> None:
    """Neither rows nor records of the other are taken for one's own."""
    CLOCK.at(START)
    chief, stranger = people.chief, people.callers["stranger"]
    key = UUID(chief.make(GROUPS, name="mine")["id"])
    there = UUID(stranger.make(GROUPS, name="theirs")["id"])
    text = "update ann.groups set id = $1 where id = $2 returning id"
    assert people.live.run_sql("tenants", text, key, there, tenant=people.other.id)
    CLOCK.at(START + timedelta(seconds=1))
    stranger.change(GROUPS, key, name="theirs, too")
    assert [row["name"] for row in chief.list(GROUPS, at(START))] == ["mine"]
    CLOCK.at(START + timedelta(seconds=2))
    chief.change(GROUPS, key, name="mine, too")
    for seconds, mine, theirs in ((0, "mine", "theirs"), (1, "mine", "theirs, too"), (2, "mine, too", "theirs, too")):
        moment = at(START + timedelta(seconds=seconds))
        assert [row["name"] for row in chief.list(GROUPS, moment)] == [mine]
        assert chief.get(GROUPS, f"{key}?{moment}")["name"] == mine
        assert [row["name"] for row in stranger.list(GROUPS, moment)] == [theirs]


def test_what_was_purged_has_no_past(people: People) -> None:
    CLOCK.at(START)
    chief = people.chief
    gone, stays = (chief.make(GROUPS, name=name)["id"] for name in ("gone", "stays"))
    CLOCK.at(START + timedelta(seconds=1))
    for key in (gone, stays):
        chief.change(GROUPS, key, name="changed")
    done = "delete from ann.groups where id = $1 returning id"
    assert people.live.run_sql("tenants", done, UUID(gone), tenant=people.tenant.id)
    assert [row["name"] for row in chief.list(GROUPS, at(START))] == ["stays"]
    chief.expect_refusal("404:not_found", "GET", f"{GROUPS}/{gone}?{at(START)}")


def test_records_that_tell_of_no_change_are_passed_over(people: People) -> None:
    """Such as those that rules write about a row."""
    CLOCK.at(START)
    chief = people.chief
    key = chief.make(GROUPS, name="watched")["id"]
    stamp = START + timedelta(seconds=1)
    record = (
        "insert into sys.audit_logs "
        "(id, tenant_id, occurred_at, action, domain, entity, entity_id, changes, created_at, updated_at) "
        "values ($1, $2, $3, 'other', 'ann', 'groups', $4, '{\"seen\": [null, 1]}', $3, $3) returning id"
    )
    tenant = people.tenant.id
    assert people.live.run_sql("tenants", record, CLOCK.new_id(), tenant, stamp, UUID(key), tenant=tenant)
    CLOCK.at(START + timedelta(seconds=2))
    assert [row["name"] for row in chief.list(GROUPS, at(START))] == ["watched"]
    assert chief.get(GROUPS, f"{key}?{at(START)}")["version"] == 1
    chief.change(GROUPS, key, name="changed")
    assert [row["name"] for row in chief.list(GROUPS, at(START))] == ["watched"]
