"""Whose rows exist for whom, over every operation: one's own, another's, and with the permission that lifts the rule."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
import pytest

from engine.clock import CLOCK
from engine.testing.harness import Live, serving, settings_for_tests
from engine.types import Principal, TenantRef
from tests.calls import Body, Caller
from tests.isolation.hedges import BOSS

PLOTS, BEDS, CLIENTS, SIGNS, TAGS = (
    "hedge/garden/plots",
    "hedge/garden/beds",
    "hedge/garden/clients",
    "hedge/garden/signs",
    "hedge/garden/tags",
)
RIGHTS = frozenset(
    f"garden.{entity}.{right}"
    for entity in ("plots", "beds", "clients", "signs", "tags")
    for right in ("read", "create", "update", "delete", "status")
)
FEW = {"Prefer": "max-affected=50"}


@pytest.fixture(scope="module")
def hedges(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The server."""
    with serving(settings_for_tests(tmp_path_factory.mktemp("hedges")), ["registry", "tests.isolation.hedges"]) as live:
        yield live


@dataclass
class Garden:
    """A tenant with two gardeners who do not see each other, and a boss who sees both."""

    live: Live
    tenant: TenantRef = field(default_factory=lambda: TenantRef(CLOCK.new_id(), "garden"))
    people: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.admin = Caller(self.live.client("manager"))
        self.ann = self.caller("ann", claims={"regions": ["north"], "crew": "red"})
        self.bob = self.caller("bob", claims={"regions": "south", "crew": "blue"})
        self.boss = self.caller("boss", BOSS, "garden.secrets.read")

    def caller(self, name: str, *more: str, claims: Body | None = None) -> Caller:
        email = f"{name}{CLOCK.new_id()}@hedge.example"
        self.people[name] = self.admin.make("manager/idam/users", email=email, full_name=name)["id"]
        who = Principal(
            UUID(self.people[name]), tenant=self.tenant, permissions=RIGHTS | set(more), claims=claims or {}
        )
        return Caller(self.live.lend(who))

    def plot(self, name: str, **values: Any) -> Body:
        """A plot of somebody's own with one bed, made by himself."""
        caller: Caller = getattr(self, name)
        code = f"P{CLOCK.new_id().hex.upper()[-20:]}"
        given = {
            "code": code,
            "name": f"{name}s plot",
            "owner_id": self.people[name],
            "beds": [{"plant": f"{name}s rose"}],
        }
        return caller.make(PLOTS, **{**given, **values})


@pytest.fixture
def garden(hedges: Live) -> Garden:
    return Garden(hedges)


def ids(answer: httpx.Response) -> set[str]:
    """The rows of a list or an export."""
    assert answer.status_code == 200, answer.text
    if answer.headers["content-type"].startswith("application/x-ndjson"):
        return {json.loads(line)["id"] for line in answer.text.splitlines()}
    return {row["id"] for row in answer.json()["data"]["items"]}


def said(answer: httpx.Response) -> tuple[int, Body]:
    """An error without what differs in any two requests."""
    body = answer.json()
    return answer.status_code, {**body["error"], "request_id": ""} if body["error"] else body


WHERE = quote(json.dumps({"not": {"field": "name", "value": "nothing"}}))
SELECTING = {
    "list": ("GET", PLOTS, None),
    "count": ("GET", f"{PLOTS}?count=estimated", None),
    "filter": ("GET", f"{PLOTS}?filter[name][endswith]=plot", None),
    "where": ("GET", f"{PLOTS}?where={WHERE}", None),
    "search": ("GET", f"{PLOTS}?q=plot", None),
    "through": ("GET", f"{PLOTS}?filter[beds.plant][endswith]=rose", None),
    "sort": ("GET", f"{PLOTS}?sort=client.name,-code", None),
    "deleted": ("GET", f"{PLOTS}?deleted=include", None),
    "query": ("POST", f"{PLOTS}/query", {"filter": {"name": {"endswith": "plot"}}}),
    "ndjson": ("GET", f"{PLOTS}/export?format=ndjson", None),
}


@pytest.mark.parametrize("name", SELECTING)
def test_every_selection_holds_ones_own_rows_alone(garden: Garden, name: str) -> None:
    mine, theirs = garden.plot("ann"), garden.plot("bob")
    tended = garden.plot("boss", tender_id=garden.people["ann"])
    method, path, body = SELECTING[name]
    for caller, expected in (
        (garden.ann, {mine["id"], tended["id"]}),
        (garden.bob, {theirs["id"]}),
        (garden.boss, {mine["id"], theirs["id"], tended["id"]}),
    ):
        answer = caller.client.request(method, f"/{path}", json=body)
        assert ids(answer) == expected
        if "application/json" in answer.headers["content-type"] and "total" in answer.json()["data"]:
            assert answer.json()["data"]["total"] == len(expected)


def test_csv_and_pages_hold_ones_own_rows_alone(garden: Garden) -> None:
    mine, theirs = garden.plot("ann"), garden.plot("bob")
    assert theirs["code"] not in garden.ann.client.get(f"/{PLOTS}/export?format=csv").text
    first = garden.ann.client.get(f"/{PLOTS}?page_size=1&count=none").json()["data"]
    assert [row["id"] for row in first["items"]] == [mine["id"]] and first["next_cursor"] is None


ONE: dict[str, Callable[[str], tuple[str, str, Any]]] = {
    "get": lambda key: ("GET", f"{PLOTS}/{key}", None),
    "get deleted": lambda key: ("GET", f"{PLOTS}/{key}?deleted=include", None),
    "expand": lambda key: ("GET", f"{PLOTS}/{key}?expand=beds", None),
    "history": lambda key: ("GET", f"{PLOTS}/{key}/history", None),
    "transitions": lambda key: ("GET", f"{PLOTS}/{key}/transitions", None),
    "update": lambda key: ("PATCH", f"{PLOTS}/{key}", {"name": "new"}),
    "stale": lambda key: ("PATCH", f"{PLOTS}/{key}", {"name": "new", "version": 99}),
    "replace": lambda key: ("PUT", f"{PLOTS}/{key}", {"code": "PNEW", "name": "new"}),
    "nested": lambda key: ("PATCH", f"{PLOTS}/{key}", {"beds": [{"plant": "ivy"}]}),
    "status": lambda key: ("PATCH", f"{PLOTS}/{key}/status", {"status": "open"}),
    "no edge": lambda key: ("PATCH", f"{PLOTS}/{key}/status", {"status": "closed"}),
    "delete": lambda key: ("DELETE", f"{PLOTS}/{key}", None),
}


@pytest.mark.parametrize("name", ONE)
def test_anothers_row_is_answered_as_an_absent_one(garden: Garden, name: str) -> None:
    theirs, absent = garden.plot("bob"), str(CLOCK.new_id())
    answers = []
    for key in (theirs["id"], absent):
        method, path, body = ONE[name](key)
        answer = garden.ann.client.request(method, f"/{path}", json=body)
        wrapped = {"operations": [{"method": method, "path": f"/{path}", **({"body": body} if body else {})}]}
        answers.append((said(answer), said(garden.ann.client.post("/hedge/batch", json=wrapped))))
    assert answers[0] == answers[1] and answers[0][0][0] == 404
    assert garden.bob.get(PLOTS, theirs["id"]) == theirs


@pytest.mark.parametrize("name", [name for name in ONE if name not in ("stale", "replace", "no edge")])
@pytest.mark.parametrize("who", ["ann", "boss"])
def test_ones_own_row_and_the_boss_are_as_usual(garden: Garden, name: str, who: str) -> None:
    mine = garden.plot("ann")
    method, path, body = ONE[name](mine["id"])
    answer = getattr(garden, who).client.request(method, f"/{path}", json=body)
    assert answer.status_code == 200, answer.text


def test_tending_is_enough(garden: Garden) -> None:
    plot = garden.plot("boss", tender_id=garden.people["ann"])
    assert garden.ann.change(PLOTS, plot["id"], name="tended")["name"] == "tended"
    garden.bob.expect_refusal("404:not_found", "GET", f"{PLOTS}/{plot['id']}")


def test_sets_leave_others_rows_alone(garden: Garden) -> None:
    mine, theirs = garden.plot("ann"), garden.plot("bob")
    every = f"/{PLOTS}?filter[name][endswith]=plot"
    assert garden.ann.client.patch(every, json={"name": "a plot"}, headers=FEW).json()["data"] == {"count": 1}
    assert garden.ann.client.delete(every, headers=FEW).json()["data"] == {"count": 1}
    assert garden.bob.get(PLOTS, theirs["id"]) == theirs and garden.ann.list(PLOTS) == []
    assert mine["id"] in ids(garden.ann.client.get(f"/{PLOTS}?deleted=only"))
    given = garden.bob.client.patch(every, json={"owner_id": garden.people["ann"]}, headers=FEW)
    assert given.status_code == 403 and garden.bob.get(PLOTS, theirs["id"])["version"] == 1


def test_nobody_makes_or_gives_away_what_is_not_his(garden: Garden) -> None:
    mine, theirs = garden.plot("ann"), garden.plot("bob")
    foreign = {"code": f"X{CLOCK.new_id().hex.upper()[-20:]}", "name": "x", "owner_id": garden.people["bob"]}
    taken = {**foreign, "code": theirs["code"]}
    for body in (foreign, taken, [foreign], {**foreign, "beds": [{"plant": "ivy"}]}):
        garden.ann.expect_refusal("403:permission_denied", "POST", PLOTS, body)
    garden.ann.expect_refusal(
        "403:permission_denied", "PATCH", f"{PLOTS}/{mine['id']}", {"owner_id": garden.people["bob"]}
    )
    garden.ann.expect_refusal("403:permission_denied", "POST", f"{PLOTS}/upsert?on=code", foreign)
    operations = [{"method": "POST", "path": f"/{PLOTS}", "body": foreign}]
    assert garden.ann.client.post("/hedge/batch", json={"operations": operations}).status_code == 403
    lines = "\n".join(json.dumps(row) for row in (foreign, {**foreign, "code": "Y1", "owner_id": garden.people["ann"]}))
    kind = {"Content-Type": "application/x-ndjson"}
    brought = garden.ann.client.post(f"/{PLOTS}/import", content=lines, headers=kind)
    assert brought.status_code == 422 and "permission_denied" in brought.text, brought.text
    some = garden.ann.client.post(f"/{PLOTS}/import", content=lines, headers={**kind, "Prefer": "each"}).json()["data"]
    assert (some["created"], some["failed"]) == (1, 1)
    each = garden.ann.client.post(
        f"/{PLOTS}",
        json=[foreign, {**foreign, "code": "Z1", "owner_id": garden.people["ann"]}],
        headers={"Prefer": "each"},
    )
    assert [item["status"] for item in each.json()["data"]] == [403, 201]
    shared = garden.ann.change(PLOTS, mine["id"], tender_id=garden.people["bob"])
    assert garden.bob.get(PLOTS, mine["id"])["version"] == shared["version"]


def test_an_upsert_does_not_find_anothers_row(garden: Garden) -> None:
    mine, theirs = garden.plot("ann"), garden.plot("bob")
    own = {"name": "again", "owner_id": garden.people["ann"]}
    assert garden.ann.send(200, "POST", f"{PLOTS}/upsert?on=code", {"code": mine["code"], **own})["name"] == "again"
    garden.ann.expect_refusal("409:duplicate", "POST", f"{PLOTS}/upsert?on=code", {"code": theirs["code"], **own})
    assert garden.bob.get(PLOTS, theirs["id"]) == theirs


def test_lines_follow_their_header(garden: Garden) -> None:
    mine, theirs = garden.plot("ann"), garden.plot("bob")
    assert [bed["plant"] for bed in garden.ann.list(BEDS)] == ["anns rose"]
    assert {bed["plant"] for bed in garden.boss.list(BEDS)} == {"anns rose", "bobs rose"}
    bed = theirs["beds"][0]["id"]
    for method, tail, body in (
        *(("GET", "", None), ("GET", "/history", None), ("PATCH", "", {"plant": "x"})),
        *(("DELETE", "", None), ("PATCH", "/status", {"status": "inactive"})),
    ):
        garden.ann.expect_refusal("404:not_found", method, f"{BEDS}/{bed}{tail}", body)
    absent = said(garden.ann.client.post(f"/{BEDS}", json={"plant": "x", "plot_id": str(CLOCK.new_id())}))
    foreign = said(garden.ann.client.post(f"/{BEDS}", json={"plant": "x", "plot_id": theirs["id"]}))
    assert foreign == absent, "another's header is as none at all"
    garden.ann.make(BEDS, plant="y", plot_id=mine["id"])
    garden.ann.expect_refusal(
        "403:permission_denied", "PATCH", f"{BEDS}/{mine['beds'][0]['id']}", {"plot_id": theirs["id"]}
    )


def test_relations_do_not_lead_to_others_rows(garden: Garden) -> None:
    """From a client whom both see, to the plots of one."""
    client = garden.boss.make(CLIENTS, name="Both", region="north")["id"]
    mine, theirs = garden.plot("ann", client_id=client), garden.plot("boss", client_id=client)
    seen = garden.ann.send(200, "GET", f"{CLIENTS}/{client}?expand=plots")["plots"]
    assert [row["id"] for row in seen] == [mine["id"]]
    for match, name, found in (("some", theirs["code"], 0), ("some", mine["code"], 1), ("none", theirs["code"], 1)):
        where = json.dumps({match: "plots", "where": {"field": "code", "value": name}})
        assert len(garden.ann.list(CLIENTS, f"where={quote(where)}")) == found
    every = quote(json.dumps({"every": "plots", "where": {"field": "code", "value": mine["code"]}}))
    assert len(garden.ann.list(CLIENTS, f"where={every}")) == 1
    assert garden.ann.list(CLIENTS, f"filter[plots.code]={theirs['code']}") == []


def test_a_row_that_does_not_exist_for_the_caller_cannot_be_referred_to(garden: Garden) -> None:
    south = garden.boss.make(CLIENTS, name="South", region="south")["id"]
    plot = garden.plot("ann")
    for method, path, body in (
        ("POST", PLOTS, {"code": "REF1", "name": "x", "owner_id": garden.people["ann"]}),
        ("PATCH", f"{PLOTS}/{plot['id']}", {}),
    ):
        answers = [
            said(garden.ann.client.request(method, f"/{path}", json={**body, "client_id": key}))
            for key in (south, str(CLOCK.new_id()))
        ]
        assert answers[0] == answers[1] and answers[0][1]["code"] == "invalid_reference"
    assert garden.ann.get(PLOTS, plot["id"])["client_id"] is None


def test_what_a_row_refers_to_already_stays(garden: Garden) -> None:
    """A reference that others have made does not stand in the way of other changes, deletion and return."""
    south = garden.boss.make(CLIENTS, name="South", region="south")["id"]
    sign = garden.boss.make(TAGS, text="x", client_id=south)["id"]
    assert garden.ann.change(TAGS, sign, text="y")["client_id"] == south
    garden.ann.drop(TAGS, sign)
    assert garden.ann.move(TAGS, sign, "active")["is_active"] is True
    assert garden.ann.send(200, "GET", f"{TAGS}/{sign}?expand=client")["client"] is None


def test_a_claim_says_which_rows_there_are(garden: Garden) -> None:
    north, south = (garden.boss.make(CLIENTS, name=word, region=word)["id"] for word in ("north", "south"))
    assert ids(garden.ann.client.get(f"/{CLIENTS}")) == {north} and ids(garden.bob.client.get(f"/{CLIENTS}")) == {south}
    garden.ann.make(CLIENTS, name="new", region="north")
    garden.ann.expect_refusal("403:permission_denied", "POST", CLIENTS, {"name": "new", "region": "south"})
    garden.ann.expect_refusal("403:permission_denied", "PATCH", f"{CLIENTS}/{north}", {"region": "south"})
    both = garden.caller("both", claims={"regions": ["south", "north"]})
    assert {north, south} <= ids(both.client.get(f"/{CLIENTS}"))


@pytest.mark.parametrize(
    "claims", [{}, {"regions": None}, {"regions": []}, {"regions": {"a": 1}}, {"regions": [["north"]]}]
)
def test_who_lacks_the_claim_has_no_rows(garden: Garden, claims: Body) -> None:
    garden.boss.make(CLIENTS, name="n", region="north")
    stranger = garden.caller("stranger", claims=claims)
    assert stranger.list(CLIENTS) == []
    stranger.expect_refusal("403:permission_denied", "POST", CLIENTS, {"name": "x", "region": "north"})


def test_a_rule_for_some_rights_leaves_the_others(garden: Garden) -> None:
    """Everybody reads a sign; who may not change it is told so."""
    red = garden.boss.make(SIGNS, text="red", crew="red")
    own = garden.bob.make(SIGNS, text="own", crew="red", put_by=garden.people["bob"])
    assert len(garden.bob.list(SIGNS)) == 2
    assert garden.ann.change(SIGNS, red["id"], text="redder")["text"] == "redder"
    assert garden.bob.change(SIGNS, own["id"], text="mine")["text"] == "mine"
    for method, tail, body in (
        ("PATCH", "", {"text": "x"}),
        ("DELETE", "", None),
        ("PATCH", "/status", {"status": "inactive"}),
    ):
        garden.bob.expect_refusal("403:permission_denied", method, f"{SIGNS}/{red['id']}{tail}", body)
    every = f"/{SIGNS}?filter[crew]=red"
    assert garden.bob.client.patch(every, json={"text": "x"}, headers=FEW).status_code == 403
    garden.ann.expect_refusal("403:permission_denied", "PATCH", f"{SIGNS}/{red['id']}", {"fresh": False})
    assert garden.ann.change(SIGNS, red["id"], text="end")["fresh"] is True


def test_a_hidden_column_may_decide(garden: Garden) -> None:
    """Rules see what callers do not."""
    sign = garden.boss.make(SIGNS, text="stone", crew="red")
    assert garden.ann.get(SIGNS, sign["id"])["text"] == "stone"
    put = "update garden.signs set grave = true where id = $1 returning id"
    assert garden.live.run_sql("tenants", put, UUID(sign["id"]), tenant=garden.tenant.id)
    garden.ann.expect_refusal("404:not_found", "GET", f"{SIGNS}/{sign['id']}")
    garden.boss.expect_refusal("404:not_found", "DELETE", f"{SIGNS}/{sign['id']}")


def test_what_a_header_shows_of_its_lines(garden: Garden) -> None:
    """A line with a rule of its own is not in the document, and a replaced set leaves it where it is."""
    plot = garden.plot(
        "boss", owner_id=garden.people["ann"], beds=[{"plant": "rose"}, {"plant": "poppy", "secret": True}]
    )
    assert [bed["plant"] for bed in garden.ann.get(PLOTS, plot["id"])["beds"]] == ["rose"]
    changed = garden.ann.change(PLOTS, plot["id"], name="named")
    assert [bed["plant"] for bed in changed["beds"]] == ["rose"]
    changed = garden.ann.change(PLOTS, plot["id"], beds=[{"plant": "ivy"}])
    assert [bed["plant"] for bed in changed["beds"]] == ["ivy"]
    left = {bed["plant"] for bed in garden.boss.get(PLOTS, plot["id"])["beds"]}
    assert left == {"ivy", "poppy"}


def test_rules_are_published(garden: Garden) -> None:
    told = garden.ann.send(200, "GET", f"{CLIENTS}/_meta")["behaviour"]["rows"]
    where = {"field": "region", "op": "in", "value": "$caller.regions"}
    assert told == [{"where": where, "unless": BOSS, "on": ["read", "create", "update", "delete", "status"]}]
    owner = garden.ann.send(200, "GET", f"{PLOTS}/_meta")["behaviour"]["owner"]
    assert owner == {"columns": ["owner_id", "tender_id"], "unless": BOSS, "reads": True}
    signs = garden.ann.send(200, "GET", f"{SIGNS}/_meta")
    assert signs["behaviour"]["rows"][0] == {"where": None, "unless": None, "on": ["read"]}
    assert "grave" not in json.dumps(signs), "what a hidden column decides is not told"
    document = httpx.get(f"{garden.live.url}/openapi.json").json()
    assert json.dumps(where, separators=(",", ":")) in json.dumps(document, separators=(",", ":"))


def test_one_shape_serves_all_callers(garden: Garden) -> None:
    """Which rules apply is part of the shape, whom they are asked for is not: others' requests compile nothing."""
    dispatcher = garden.live.system.operations.shop
    garden.ann.list(PLOTS)
    before = dispatcher.statement.cache_info().misses
    garden.bob.list(PLOTS)
    assert dispatcher.statement.cache_info().misses == before
