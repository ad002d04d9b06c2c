"""`as_of=`: what a request is told of a moment that is over is what it was told then."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

import pytest

from engine.clock import CLOCK
from engine.testing.harness import Live
from tests.calls import Body
from tests.engine.annals.people import GROUPS, PARTS, QUOTES, SELLER, THINGS, People, at, told

START = datetime(2026, 3, 1, 10, 20, 30, 123456, UTC)


# -- a walk through everything that can happen to rows, with every question asked after each step

FULL: Body = {
    "name": "Bolt %_\\ 'x' é",
    "price": "10.5000",
    "big": "9007199254740993",
    "many": -3,
    "ratio": 0.1,
    "ready": True,
    "born": "2026-03-06",
    "seen": "2026-01-31T10:00:00.123456+05:30",
    "wakes": "07:08:09.000001",
    "ref": "00000000-0000-0000-0000-00000000abcd",
    "tags": ["a", "b,c", ""],
    "data": {"deep": [1, None, {"x": 1.50}], "n": None},
    "raw": "AAH/",
    "words": ["one", 'tw"o', ""],
    "phone": "+491234",
    "pin": "first",
    "papers": {"title": "mine"},
    "oath": "on the book",
    "mark": "00000000-0000-0000-0000-00000000beef",
}
OTHER: Body = {
    "name": "Nut",
    "price": "-0.0001",
    "big": "-1",
    "many": 2147483647,
    "ratio": 1e300,
    "ready": False,
    "born": "0001-01-01",
    "seen": "9999-01-01T00:00:00.000001Z",
    "wakes": "00:00:00",
    "ref": "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "tags": [],
    "data": [False, "null"],
    "raw": "",
    "words": [],
    "phone": "0",
    "pin": "second",
    "papers": {},
    "oath": "sworn",
    "mark": "00000000-0000-0000-0000-00000000cafe",
}
NULLED = {name: None for name in FULL if name != "name"}


class Walk:
    """Rows by name, and how they go from step to step, a day and a bit apart."""

    def __init__(self, people: People) -> None:
        self.people, self.chief = people, people.chief
        self.keys: dict[str, str] = {}

    def make(self, label: str, path: str, **values: Any) -> None:
        self.keys[label] = self.chief.make(path, **values)["id"]

    def batch(self, *bodies: Body) -> None:
        """Several changes of one row in one transaction, all of the same moment."""
        path = f"/{THINGS}/{self.key('bolt')}"
        operations = [{"method": "PATCH", "path": path, "body": body} for body in bodies]
        self.chief.send(200, "POST", "annals/batch", {"operations": operations})

    def steps(self) -> list[Callable[[], Any]]:
        key, change, move, drop = self.key, self.chief.change, self.chief.move, self.chief.drop
        return [
            lambda: None,
            lambda: self.make("root", GROUPS, name="Root"),
            lambda: self.make("leaf", GROUPS, name="Leaf", parent_id=key("root")),
            lambda: self.make("bolt", THINGS, **FULL, group_id=key("leaf"), parts=[{"sku": "P1"}, {"sku": "P2"}]),
            lambda: self.make("nut", THINGS, name="Nut", seller_id=str(SELLER), parts=[{"sku": "N1", "grams": 5}]),
            lambda: self.people.deputy.change(THINGS, key("bolt"), **OTHER),
            lambda: change(THINGS, key("bolt"), **NULLED, name="Void"),
            lambda: change(THINGS, key("bolt"), **FULL, seller_id=str(SELLER)),
            lambda: self.people.deputy.change(THINGS, key("nut"), seller_id=None, group_id=key("root"), price="11"),
            lambda: move(THINGS, key("bolt"), "sold"),
            lambda: change(GROUPS, key("leaf"), parent_id=None, name="Leaf alone"),
            lambda: change(THINGS, key("bolt"), parts=[{"sku": "P3", "grams": 40}]),
            lambda: drop(THINGS, key("nut")),
            lambda: change(THINGS, key("bolt"), group_id=key("root")),
            lambda: drop(GROUPS, key("leaf")),
            lambda: self.chief.send(200, "PATCH", f"{GROUPS}/{key('leaf')}/status", {"status": "active"}),
            lambda: move(THINGS, key("bolt"), "void", "new"),
            lambda: self.chief.make(QUOTES, code="EUR", day="2026-01-31", rate="1.1"),
            lambda: change(QUOTES, "EUR,2026-01-31", rate="1.2000"),
            lambda: self.batch({"price": "1"}, {"price": "2", "name": "Twice"}, {"price": None}),
            lambda: drop(QUOTES, "EUR,2026-01-31"),
            lambda: change(THINGS, key("bolt"), name="Last", group_id=key("leaf"), price=None, words=["end"]),
        ]

    def key(self, label: str) -> str:
        return self.keys[label]


SOME = quote(json.dumps({"some": "parts", "where": {"field": "sku", "op": "startswith", "value": "P"}}))
NONE = quote(json.dumps({"none": "parts", "where": {"field": "grams", "op": "gt", "value": 4}}))
EVERY = quote(json.dumps({"not": {"field": "group.parent.name", "op": "isnull", "value": True}}))
PARTS_OF_ALL = (PARTS, "deleted=include&sort=thing.name,sku&expand=thing&fields[thing]=name,price,words")
QUESTIONS = [
    (THINGS, "deleted=include&sort=id"),
    (THINGS, ""),
    (THINGS, "deleted=only"),
    (THINGS, "count=none&sort=-price:nullslast,name"),
    (THINGS, "count=estimated&sort=updated_at&fields=name,version,updated_at,updated_by"),
    (THINGS, "sort=group.name:nullsfirst,-id&page_size=1&page=2&fields=name"),
    (THINGS, "filter[price][gte]=0&filter[ready]=true"),
    (THINGS, "filter[price][isnull]=true&deleted=include"),
    (THINGS, "filter[data][isnull]=true"),
    (THINGS, "filter[status][in]=sold,void"),
    (THINGS, "filter[tags][has]=b,c"),
    (THINGS, "filter[seen][lt]=2026-02-01T00:00:00Z&filter[ref][ne]=00000000-0000-0000-0000-000000000000"),
    (THINGS, "q=bolt"),
    (THINGS, "expand=group.parent,parts&sort=name&deleted=include&expand[parts][sort]=-sku&fields[parts]=sku,version"),
    (THINGS, f"where={SOME}&fields=name,weight,ripe"),
    (THINGS, f"where={NONE}&fields=name"),
    (THINGS, f"where={EVERY}&fields=name"),
    (THINGS, "filter[group.parent.name]=Root"),
    (GROUPS, "expand=children,things,things.parts,parent&sort=name"),
    (GROUPS, "filter[things.status]=sold"),
    PARTS_OF_ALL,
    (QUOTES, "deleted=include"),
    (f"{THINGS}/export", "format=ndjson&sort=id&deleted=include&expand=group"),
    (f"{THINGS}/export", "format=csv&sort=id&filter[ready]=true&fields=name,price,big,seen,tags,raw,words,phone"),
]
# what every caller is asked for, not the chief alone
WHO_SEES_WHAT = [(path, query) for path, query in QUESTIONS if "expand" in query or not query or "sort=id" in query]


@dataclass
class Told:
    """What was answered after each step: (caller, path, query) -> answer, by moment."""

    people: People
    walk: Walk
    answers: dict[datetime, dict[tuple[str, str, str], Any]]


@pytest.fixture(scope="module")
def remembered(annals: Live) -> Iterator[Told]:
    """The whole walk, under a stopped clock; the clock runs again afterwards."""
    people = People(annals)
    walk = Walk(people)
    answers: dict[datetime, dict[tuple[str, str, str], Any]] = {}
    moment = START
    try:
        for step in walk.steps():
            CLOCK.at(moment)
            step()
            answers[moment] = dict(ask_all(people, walk))
            moment += timedelta(days=1, hours=7, microseconds=1)
    finally:
        CLOCK.at(None)
    yield Told(people, walk, answers)


def ask_all(people: People, walk: Walk) -> Iterator[tuple[tuple[str, str, str], Any]]:
    for name, caller in people.callers.items():
        for path, query in [*(QUESTIONS if name == "chief" else WHO_SEES_WHAT), *gets(walk)]:
            yield (name, path, query), told(caller.client, path, query)


def gets(walk: Walk) -> list[tuple[str, str]]:
    """Single rows, those that are not there yet as well."""
    found = [(f"{QUOTES}/EUR,2026-01-31", "deleted=include"), (f"{QUOTES}/EUR,2026-01-31", "fields=rate")]
    if "root" in walk.keys:
        found += [(GROUPS, f"filter[id][under]={walk.key('root')}&sort=name")]
    for label, path in (("bolt", THINGS), ("nut", THINGS), ("leaf", GROUPS)):
        if label in walk.keys:
            one = f"{path}/{walk.key(label)}"
            related = "parts,group.parent" if path == THINGS else "things.parts,parent,children"
            found += [(one, ""), (one, "deleted=include"), (one, f"expand={related}&deleted=include")]
    return found


def test_every_question_is_answered_as_it_was_then(remembered: Told) -> None:
    """Of each caller: rows, totals, ETags, related rows, files; at the moment of the change and just before the next."""
    for moment, answers in remembered.answers.items():
        for later in (timedelta(0), timedelta(days=1)):
            for (name, path, query), then in answers.items():
                # what depends on the day is asked for at the moment itself
                if later and (name != "chief" or THINGS in path or "things" in query):
                    continue
                now = told(remembered.people.callers[name].client, path, f"{query}&{at(moment + later)}")
                assert now == without_secrets(then, now), (name, moment, path, query)


def without_secrets(then: Any, now: Any) -> Any:
    """An answer as it was, but that encrypted values which have been replaced since are not known any more."""
    if isinstance(then, dict) and isinstance(now, dict):
        return {n: now[n] if masked(n, v, now.get(n)) else without_secrets(v, now.get(n)) for n, v in then.items()}
    if isinstance(then, (list, tuple)) and isinstance(now, (list, tuple)) and len(then) == len(now):
        return type(then)(without_secrets(one, other) for one, other in zip(then, now, strict=True))
    return then


def masked(name: str, then: Any, now: Any) -> bool:
    return name in ("pin", "papers") and then is not None and now == "***"


def test_the_walk_goes_somewhere(remembered: Told) -> None:
    """No question has the same answer all the way, so that an engine that forgets the moment is noticed."""
    for path, query in QUESTIONS:
        answers = [json.dumps(answers["chief", path, query]) for answers in remembered.answers.values()]
        assert len(set(answers)) > 1, (path, query)
    strange = [answers["stranger", THINGS, ""][2]["total"] for answers in remembered.answers.values()]
    assert set(strange) == {0}
    own = [answers["seller", THINGS, "deleted=include&sort=id"][2]["total"] for answers in remembered.answers.values()]
    assert {0, 1, 2} <= set(own)
    lines = [len(answers["seller", *PARTS_OF_ALL][2]["items"]) for answers in remembered.answers.values()]
    assert {0, 1, 2} <= set(lines)


def test_hidden_and_masked_values_stay_so(remembered: Told) -> None:
    """Whatever a hidden column held is in no answer; who may not see masked values sees none of the past ones."""
    people, clerk = remembered.people, remembered.people.callers["clerk"]
    for moment in list(remembered.answers)[2::4]:
        for name, caller in people.callers.items():
            for path, query in (*QUESTIONS, *gets(remembered.walk)):
                text = caller.client.get(f"/{path}?{query}&{at(moment)}").text
                secrets = [FULL["mark"], FULL["oath"], OTHER["mark"], OTHER["oath"], "oath", "mark"]
                secrets += [] if name == "chief" else [FULL["phone"], FULL["pin"], "mine"]
                assert not [secret for secret in secrets if secret in text], (name, path, query)
        for row in clerk.list(THINGS, f"deleted=include&{at(moment)}"):
            assert {row[name] for name in ("phone", "pin", "papers")} <= {"***", None}


def test_what_was_encrypted_is_not_known_once_it_is_replaced(remembered: Told) -> None:
    """The log has no secrets: a value that still stands is shown, another one is known to have been there."""
    caller, path = remembered.people.chief, f"{THINGS}/{remembered.walk.key('bolt')}"
    seen = [told(caller.client, path, f"fields=pin,papers&{at(moment)}") for moment in remembered.answers]
    pins = [answer[2] for answer in seen if answer[0] == 200]
    replaced, nothing = {"pin": "***", "papers": "***"}, {"pin": None, "papers": None}
    assert replaced in pins and nothing in pins and pins[-1] == {"pin": "first", "papers": {"title": "mine"}}


def test_cursors_belong_to_their_moment(remembered: Told) -> None:
    caller, [early, *_, late] = remembered.people.chief, list(remembered.answers)[6:]
    whole = caller.list(PARTS, f"deleted=include&sort=-sku&{at(late)}")
    assert len(whole) > 2
    walked: list[Body] = []
    query = f"deleted=include&sort=-sku&page_size=1&{at(late)}"
    page = caller.send(200, "GET", f"{PARTS}?{query}&count=none")
    while True:
        walked += page["items"]
        if page["next_cursor"] is None:
            break
        page = caller.send(200, "GET", f"{PARTS}?{query}&cursor={page['next_cursor']}")
    assert walked == whole
    first = caller.send(200, "GET", f"{PARTS}?{query}")["next_cursor"]
    same = late.astimezone(timezone(timedelta(hours=5)))
    zoned = query.replace(at(late), at(same))
    assert caller.send(200, "GET", f"{PARTS}?{zoned}&cursor={first}")["items"] == whole[1:2]
    for other in (query.replace(at(late), at(early)), query.replace(f"&{at(late)}", "")):
        caller.expect_refusal("422:invalid_cursor", "GET", f"{PARTS}?{other}&cursor={first}")
    plain = caller.send(200, "GET", f"{PARTS}?deleted=include&sort=-sku&page_size=1")["next_cursor"]
    caller.expect_refusal("422:invalid_cursor", "GET", f"{PARTS}?{query}&cursor={plain}")


def test_an_etag_is_that_of_the_version_then(remembered: Told) -> None:
    client, path = remembered.people.chief.client, f"/{THINGS}/{remembered.walk.key('bolt')}"
    moment = [moment for moment, answers in remembered.answers.items() if ("chief", path[1:], "") in answers][2]
    then = client.get(f"{path}?{at(moment)}")
    version = then.json()["data"]["version"]
    tag = then.headers["etag"]
    assert tag.startswith(f'"{version}-') and tag != client.get(path).headers["etag"]
    known = client.get(f"{path}?{at(moment)}", headers={"If-None-Match": tag})
    assert known.status_code == 304 and known.headers["etag"] == tag
    assert client.get(f"{path}?{at(moment)}", headers={"If-None-Match": '"99"'}).status_code == 200
    stale = client.patch(path, json={"name": "x"}, headers={"If-Match": tag})
    assert stale.status_code == 412


def test_bodies_and_batches_take_the_word_too(remembered: Told) -> None:
    chief, moment = remembered.people.chief, list(remembered.answers)[5]
    [row] = chief.list(THINGS, f"filter[name]=Nut&sort=-id&fields=id,version,name&{at(moment)}")[:1]
    body = {"as_of": moment.isoformat(), "filter": {"name": "Nut"}, "sort": "-id", "fields": ["id", "version", "name"]}
    for method, path in (("QUERY", THINGS), ("POST", f"{THINGS}/query")):
        assert chief.send(200, method, path, body)["items"][0] == row
    get = {"method": "GET", "path": f"/{THINGS}/{row['id']}?fields=id,version,name&{at(moment)}"}
    [outcome] = chief.send(200, "POST", "annals/batch", {"operations": [get]})
    assert outcome["body"]["data"] == row


ONE = "00000000-0000-0000-0000-000000000001"


@pytest.mark.parametrize(
    ("expected", "method", "path"),
    [
        ("422:out_of_range", "GET", f"{THINGS}?as_of=2999-01-01T00:00:00Z"),
        ("422:out_of_range", "GET", f"{THINGS}/{ONE}?as_of=2999-01-01T00:00:00Z"),
        ("422:out_of_range", "GET", f"{THINGS}/export?as_of=2999-01-01T00:00:00Z"),
        ("422:invalid_format", "GET", f"{THINGS}?as_of=2026-01-01"),
        ("422:invalid_format", "GET", f"{THINGS}?as_of=2026-01-01T00:00:00"),
        ("422:invalid_format", "GET", f"{THINGS}?as_of=0001-01-01T00:00:00%2B14:00"),
        ("422:invalid_format", "GET", f"{THINGS}?as_of=1700000000"),
        ("422:invalid_format", "GET", f"{THINGS}?as_of="),
        ("400:unknown_parameter", "GET", f"{THINGS}?as_of=2026-01-01T00:00:00Z&as_of=2026-01-01T00:00:00Z"),
        ("400:unknown_parameter", "GET", f"{THINGS}?as-of=2026-01-01T00:00:00Z"),
        ("422:unknown_parameter", "GET", "tenants/sys/audit-logs?as_of=2026-01-01T00:00:00Z"),
        ("400:unknown_parameter", "GET", f"{THINGS}/{ONE}/history?as_of=2026-01-01T00:00:00Z"),
        ("400:unknown_parameter", "GET", f"{THINGS}/{ONE}/transitions?as_of=2026-01-01T00:00:00Z"),
        ("400:unknown_parameter", "PATCH", f"{THINGS}/{ONE}?as_of=2026-01-01T00:00:00Z"),
        ("400:unknown_parameter", "DELETE", f"{THINGS}?filter[name]=x&as_of=2026-01-01T00:00:00Z"),
        ("400:unknown_parameter", "POST", f"{THINGS}?as_of=2026-01-01T00:00:00Z"),
        ("404:not_found", "GET", f"{THINGS}/{ONE}?as_of=1970-01-01T00:00:00Z"),
    ],
)
def test_what_has_no_past_is_refused(annals: Live, expected: str, method: str, path: str) -> None:
    client = annals.client("tenants") if path.startswith("tenants") else People(annals).chief.client
    headers = {"Prefer": "max-affected=9"}
    answer = client.request(
        method, f"/{path}", json={"name": "x"} if method in ("PATCH", "POST") else None, headers=headers
    )
    error = answer.json()["error"]
    codes = {error["code"], *(fault["code"] for fault in error["details"])}
    assert expected in {f"{answer.status_code}:{code}" for code in codes}, answer.text


def test_before_anything_there_was_nothing(remembered: Told) -> None:
    assert told(remembered.people.chief.client, THINGS, "deleted=include&as_of=1970-01-01T00:00:00Z")[2]["total"] == 0


def test_it_is_read_with_the_permission_to_read(remembered: Told) -> None:
    moment = at(list(remembered.answers)[5])
    reader = remembered.people.caller(4, "ann.things.read", "ann.things.manage")
    assert reader.list(THINGS, moment)
    reader.expect_refusal("403:permission_denied", "GET", f"{THINGS}?expand=group&{moment}")
    remembered.people.caller(5, "ann.groups.read").expect_refusal("403:permission_denied", "GET", f"{THINGS}?{moment}")


def test_it_is_one_statement(remembered: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    live, chief, moment = remembered.people.live, remembered.people.chief, at(list(remembered.answers)[9])
    pool, asked = type(live.system.pools["tenants"]), list[str]()
    run = pool.run

    async def counted(self: Any, tenant: Any, text: str, arguments: Any, *rest: Any) -> Any:
        asked.append(text)
        return await run(self, tenant, text, arguments, *rest)

    monkeypatch.setattr(pool, "run", counted)
    for path in (THINGS, f"{THINGS}/{remembered.walk.key('bolt')}"):
        asked.clear()
        chief.send(200, "GET", f"{path}?expand=group.parent,parts,group.things.parts&{moment}")
        assert len([text for text in asked if "ann.things" in text]) == 1
