"""`Prefer`: rehearsals leave nothing, minimal answers keep their headers, disjoint edits are merged, the rest is ignored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from engine.errors import ApiError
from engine.preferences import NONE, Preferences, read_preferences
from engine.testing.harness import Live, serving, settings_for_tests
from engine.types import Principal
from tenancy.pool import Pool
from tests.engine import tills

SALES, TAGS, DRAWERS = "/till/till/sales", "/till/till/tags", "/till/till/drawers"
Body = dict[str, Any]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with serving(settings_for_tests(tmp_path_factory.mktemp("tills")), ["registry", "tests.engine.tills"]) as live:
        yield live


@pytest.fixture
def client(shop: Live) -> httpx.Client:
    tills.done.clear()
    return shop.client("till")


def prefer(*wishes: str) -> dict[str, str]:
    return {"Prefer": ", ".join(wishes)}


def make(client: httpx.Client, path: str = SALES, **values: Any) -> Body:
    answer = client.post(path, json={"memo": "a row", **values})
    assert answer.status_code == 201, answer.text
    row: Body = answer.json()["data"]
    return row


def counted(live: Live, table: str) -> int:
    return int(live.run_sql("manager", f"select count(*) as n from {table}")[0]["n"])


# -- the header


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", NONE),
        ("dry-run", Preferences(dry_run=True)),
        ("DRY-RUN", Preferences(dry_run=True)),
        ('dry-run=""', Preferences(dry_run=True)),
        ("dry-run; wait=10", Preferences(dry_run=True)),
        ("return=minimal", Preferences(returns="minimal")),
        ('return = "representation"', Preferences(returns="representation")),
        ("return=minimal, return=minimal", Preferences(returns="minimal")),
        ("merge=disjoint,each , max-affected=12", Preferences(merge=True, each=True, max_affected=12)),
        ('respond-async, note="dry-run, each", wait=100', Preferences(later=True)),
        ("wait=100, safe, depth-noroot, odata.maxpagesize=5, count=exact", NONE),
        ("handling=lenient, wait=100", NONE),
        ("handling=strict, each", Preferences(strict=True, each=True)),
        (',;=,"', NONE),
    ],
)
def test_a_header_is_read(header: str, expected: Preferences) -> None:
    assert read_preferences(header.encode()) == expected


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("return=minimal, return=representation", "one of them at most"),
        ("max-affected=1,max-affected=2", "one of them at most"),
        ("handling=strict, handling=lenient", "one of them at most"),
        ("dry-run=true", "takes no value"),
        ("dry-run=0", "takes no value"),
        ("each=2", "takes no value"),
        ("return=less", "takes minimal or representation; not 'less'"),
        ("return", "takes minimal or representation; not ''"),
        ("merge=all", "takes disjoint"),
        ("handling=loose", "takes strict or lenient"),
        ("max-affected=many", "takes a number of rows; not 'many'"),
        ("max-affected=-1", "takes a number of rows"),
        ("max-affected", "takes a number of rows"),
        ("dryrun", "perhaps you meant 'dry-run'"),
        ("dry_run", "perhaps you meant 'dry-run'"),
        ('"dry-run', "perhaps you meant 'dry-run'"),
        ("max_affected=5", "perhaps you meant 'max-affected'"),
        ("retrun=minimal", "perhaps you meant 'return'"),
        ("respond-asinc", "perhaps you meant 'respond-async'"),
        ("wait=5, handling=strict", "'wait' is not known; there are dry-run, return"),
    ],
)
def test_what_cannot_be_meant_is_refused(header: str, told: str) -> None:
    with pytest.raises(ApiError) as refused:
        read_preferences(header.encode())
    assert (refused.value.status, refused.value.code) == (400, "bad_request")
    assert told in refused.value.message


def test_a_misspelt_rehearsal_writes_nothing(shop: Live, client: httpx.Client) -> None:
    before = counted(shop, "till.tags")
    for wish in ("dryrun", "return=foo", "max-affected=abc", "handling=strict, wait=5"):
        answer = client.post(TAGS, json={"memo": "x"}, headers=prefer(wish))
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_request"), wish
    operations = [{"method": "POST", "path": TAGS, "body": {"memo": "x"}, "prefer": "retrun=minimal"}]
    refused = client.post("/till/batch", json={"operations": operations}).json()["error"]
    assert [fault["field"] for fault in refused["details"]] == ["operations[0].prefer"]
    assert "perhaps you meant 'return'" in refused["message"] and counted(shop, "till.tags") == before


def test_strictness_is_told(client: httpx.Client) -> None:
    answer = client.post(TAGS, json={"memo": "x"}, headers=prefer("handling=strict", "return=minimal"))
    assert (answer.status_code, answer.json()["data"]) == (201, None)
    assert set(answer.headers["preference-applied"].split(", ")) == {"handling=strict", "return=minimal"}


def test_items_of_a_minimal_list_have_no_data(client: httpx.Client) -> None:
    answer = client.post(TAGS, json=[{"memo": "x"}, {"memo": "x" * 500}], headers=prefer("each", "return=minimal"))
    assert answer.status_code == 207 and answer.headers["preference-applied"] == "each, return=minimal"
    good, bad = answer.json()["data"]
    assert good == {"status": 201, "data": None, "error": None}
    assert (bad["status"], bad["error"]["details"][0]["field"]) == (422, "memo")
    once = client.post(DRAWERS, json=[{"memo": "x"}], headers=prefer("each", "return=minimal"))
    assert once.json()["data"][0]["data"]["pin"] == "pin-of-x" and once.headers["preference-applied"] == "each"


def test_a_long_header_is_read_at_once() -> None:
    assert read_preferences(b'"' * 30_000 + b"," * 30_000) == NONE


def test_preferences_come_in_several_headers_and_reach_the_write(client: httpx.Client) -> None:
    twice = [("Prefer", "return=minimal"), ("Prefer", "dry-run")]
    answer = client.post(TAGS, json={"memo": "x"}, headers=twice)
    assert answer.headers["preference-applied"] == "dry-run, return=minimal"
    refused = client.post(TAGS, json={"memo": "x"}, headers=prefer("return=minimal", "return=representation"))
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "bad_request")


def test_what_is_not_known_costs_nothing_and_is_not_applied(
    shop: Live, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write without headers, and one with a preference of somebody else's, is one statement and no transaction."""
    seen: list[str] = []
    run, begin = Pool.run, Pool._start

    # the relay has connections of its own
    pool = shop.system.pools["till"]

    async def counted_run(self: Pool, *given: Any) -> Any:
        seen.extend(["statement"] if self is pool else [])
        return await run(self, *given)

    async def counted_begin(self: Pool, *given: Any) -> Any:
        seen.extend(["transaction"] if self is pool else [])
        return await begin(self, *given)

    lent = shop.lend(Principal(user_id=None, everything=True))
    monkeypatch.setattr(Pool, "run", counted_run)
    monkeypatch.setattr(Pool, "_start", counted_begin)
    for headers in ({}, {"Prefer": "respond-async"}, {"Prefer": "wait=5"}):
        seen.clear()
        answer = lent.post(TAGS, json={"memo": "x"}, headers=headers)
        assert answer.status_code == 201 and "preference-applied" not in answer.headers
        assert seen == ["statement"], headers


# -- dry-run


def everything(live: Live) -> list[int]:
    """What a write may leave behind."""
    tables = ("till.sales", "till.tags", "audt.audit_logs", "sys.number_sequences", "bill.plans")
    return [
        counted(live, table)
        for table in tables
        if live.run_sql("manager", "select to_regclass($1) as t", table)[0]["t"]
    ]


@pytest.mark.parametrize("path", [SALES, TAGS])
def test_a_rehearsal_goes_the_whole_road_and_leaves_nothing(shop: Live, client: httpx.Client, path: str) -> None:
    row = make(client, path)
    where = f"{path}/{row['id']}"
    before, shown = everything(shop), client.get(where).json()
    tills.done.clear()
    rehearsed = [
        client.post(path, json={"memo": "new"}, headers=prefer("dry-run")),
        client.post(path, json=[{"memo": "one"}, {"memo": "two"}], headers=prefer("dry-run")),
        client.patch(where, json={"memo": "other", "version": 1}, headers=prefer("dry-run")),
        client.put(where, json={"memo": "third"}, headers=prefer("dry-run")),
        client.delete(where, headers=prefer("dry-run")),
        client.patch(
            f"{where}/status", json={"status": "paid" if path == SALES else "inactive"}, headers=prefer("dry-run")
        ),
    ]
    assert [answer.status_code for answer in rehearsed] == [201, 201, 200, 200, 200, 200]
    assert {answer.headers["preference-applied"] for answer in rehearsed} == {"dry-run"}
    assert rehearsed[0].json()["data"]["memo"] == "new" and rehearsed[0].headers["location"].startswith(path)
    assert client.get(rehearsed[0].headers["location"]).status_code == 404
    assert [row["memo"] for row in rehearsed[1].json()["data"]] == ["one", "two"]
    assert (rehearsed[2].json()["data"]["memo"], rehearsed[2].headers["etag"]) == ("other", '"2"')
    assert rehearsed[4].json()["data"]["is_active"] is False
    assert client.get(where).json() == shown and everything(shop) == before
    assert tills.done == []


def test_a_rehearsal_uses_up_no_number(client: httpx.Client) -> None:
    first = make(client)["number"]
    shown = client.post(SALES, json={"memo": "x"}, headers=prefer("dry-run")).json()["data"]["number"]
    assert shown == make(client)["number"] != first


def test_what_a_rule_does_in_another_scope_is_rehearsed_too(shop: Live, client: httpx.Client) -> None:
    answer = client.post(SALES, json={"memo": "plan DRY"}, headers=prefer("dry-run"))
    assert answer.status_code == 201, answer.text
    assert shop.run_sql("manager", "select 1 from bill.plans where code = 'DRY'") == []
    make(client, memo="plan DRY")
    assert len(shop.run_sql("manager", "select 1 from bill.plans where code = 'DRY'")) == 1
    refused = client.post(SALES, json={"memo": "plan DRY"}, headers=prefer("dry-run"))
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "duplicate")


def test_a_rehearsal_has_the_errors_of_the_real_thing(client: httpx.Client) -> None:
    row = make(client, place=7)
    where = f"{SALES}/{row['id']}"
    asked: list[tuple[str, str, Body]] = [
        ("POST", SALES, {"memo": "x" * 500}),
        ("POST", SALES, {"memo": "x", "place": 7}),  # found by the database when the transaction ends
        ("PATCH", where, {"memo": "x", "version": 9}),
        ("PATCH", f"{where}/status", {"status": "nowhere"}),
        ("PATCH", f"{SALES}/{'0' * 8}-0000-0000-0000-{'0' * 12}", {"memo": "x"}),
    ]
    for method, path, body in asked:
        rehearsed = client.request(method, path, json=body, headers=prefer("dry-run"))
        real = client.request(method, path, json=body)
        assert rehearsed.status_code == real.status_code >= 400, (path, rehearsed.text)
        errors = [answer.json()["error"] | {"request_id": ""} for answer in (rehearsed, real)]
        assert errors[0] == errors[1]


# -- return


def test_a_minimal_answer_keeps_its_headers(client: httpx.Client) -> None:
    created = client.post(TAGS, json={"memo": "x"}, headers=prefer("return=minimal"))
    assert (created.status_code, created.json()) == (201, {"success": True, "data": None, "error": None})
    assert created.headers["etag"] == '"1"' and created.headers["preference-applied"] == "return=minimal"
    where = created.headers["location"]
    changed = client.patch(where, json={"memo": "y"}, headers=prefer("return=minimal"))
    assert (changed.status_code, changed.content, changed.headers["etag"]) == (204, b"", '"2"')
    assert not {"content-length", "content-type", "transfer-encoding"} & set(changed.headers)
    assert client.get(where).json()["data"]["memo"] == "y"
    assert client.delete(where, headers=prefer("return=minimal")).status_code == 204
    refused = client.delete(where, headers=prefer("return=minimal"))
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "not_found")


def test_a_whole_answer_is_told(client: httpx.Client) -> None:
    answer = client.post(TAGS, json={"memo": "x"}, headers=prefer("return=representation"))
    assert answer.headers["preference-applied"] == "return=representation" and answer.json()["data"]["memo"] == "x"


def test_what_is_shown_this_once_is_never_left_out(client: httpx.Client) -> None:
    answer = client.post(DRAWERS, json={"memo": "x"}, headers=prefer("return=minimal"))
    assert answer.json()["data"]["pin"] == "pin-of-x" and "preference-applied" not in answer.headers


# -- merge


@pytest.mark.parametrize("path", [SALES, TAGS])
@pytest.mark.parametrize("header", [True, False])
def test_disjoint_edits_are_merged(client: httpx.Client, path: str, header: bool) -> None:
    row = make(client, path, clerk="ann")
    where = f"{path}/{row['id']}"
    assert client.patch(where, json={"memo": "theirs", "version": 1}).status_code == 200

    def edit(**values: Any) -> httpx.Response:
        given = prefer("merge=disjoint") | ({"If-Match": '"1"'} if header else {})
        return client.patch(where, json=values | ({} if header else {"version": 1}), headers=given)

    stale = edit(memo="mine")
    assert (stale.status_code, stale.json()["error"]["code"]) == (412 if header else 409, "version_conflict")
    assert [fault["field"] for fault in stale.json()["error"]["details"]] == ["memo"]
    merged = edit(clerk="bob")
    assert merged.status_code == 200, merged.text
    assert merged.headers["etag"] == '"3"' and merged.headers["preference-applied"] == "merge=disjoint"
    assert [merged.json()["data"][name] for name in ("memo", "clerk", "version")] == ["theirs", "bob", 3]
    assert edit(clerk="eve").status_code == (412 if header else 409)
    history = client.get(f"{where}/history").json()["data"]["items"]
    assert history[0]["changes"]["clerk"] == ["ann", "bob"]


def test_a_merge_does_not_reach_deletions_replacements_and_other_times(client: httpx.Client) -> None:
    row = make(client)
    where, wish = f"{SALES}/{row['id']}", prefer("merge=disjoint")
    client.patch(where, json={"clerk": "ann"})
    assert client.delete(f"{where}?version=1", headers=wish).status_code == 409
    assert client.put(where, json={"memo": "x", "version": 1}, headers=wish).status_code == 409
    # a version that never was, and one whose time nobody remembers
    assert client.patch(where, json={"memo": "x", "version": 9}, headers=wish).status_code == 409
    assert client.patch(where, json={"memo": "x"}, headers={**wish, "If-Match": '"0"'}).status_code == 412
    moved = client.patch(f"{where}/status", json={"status": "paid", "version": 1}, headers=wish)
    assert (moved.status_code, moved.json()["data"]["clerk"]) == (200, "ann")


def test_more_changes_than_are_looked_at_are_a_conflict(shop: Live, client: httpx.Client) -> None:
    where = f"{TAGS}/{make(client, TAGS)['id']}"
    for number in range(21):
        client.patch(where, json={"clerk": f"clerk {number}"})
    wish = prefer("merge=disjoint")
    assert client.patch(where, json={"memo": "x", "version": 1}, headers=wish).status_code == 409
    assert client.patch(where, json={"memo": "x", "version": 2}, headers=wish).status_code == 200


# -- together with what other operations make of preferences


def test_preferences_of_sets_are_told_in_one_header(shop: Live, client: httpx.Client) -> None:
    memo = f"of a set {counted(shop, 'till.tags')}"
    wanted = prefer("each", "dry-run")
    rehearsed = client.post(TAGS, json=[{"memo": memo}, {"memo": "x" * 500}], headers=wanted)
    assert [item["status"] for item in rehearsed.json()["data"]] == [201, 422]
    assert rehearsed.headers.get_list("preference-applied") == ["each, dry-run"]
    assert client.get(f"{TAGS}?filter[memo]={memo}").json()["data"]["total"] == 0
    client.post(TAGS, json=[{"memo": memo}, {"memo": memo}])
    wanted = prefer("max-affected=5", "dry-run")
    rehearsed = client.patch(f"{TAGS}?filter[memo]={memo}", json={"clerk": "x"}, headers=wanted)
    assert rehearsed.json()["data"] == {"count": 2}
    assert rehearsed.headers["preference-applied"] == "max-affected=5, dry-run"
    assert client.get(f"{TAGS}?filter[memo]={memo}&filter[clerk]=x").json()["data"]["total"] == 0


def test_a_batch_is_rehearsed_and_keeps_what_is_shown_once(client: httpx.Client) -> None:
    operations = [
        {"id": "a", "method": "POST", "path": DRAWERS, "body": {"memo": "of a batch"}},
        {"method": "PATCH", "path": f"{DRAWERS}/{{$a.id}}", "body": {"memo": "changed"}},
    ]
    rehearsed = client.post("/till/batch", json={"operations": operations}, headers=prefer("dry-run"))
    assert [part["status"] for part in rehearsed.json()["data"]] == [201, 200], rehearsed.text
    assert rehearsed.headers["preference-applied"] == "dry-run"
    assert client.get(f"{DRAWERS}?filter[memo]=changed").json()["data"]["total"] == 0
    short = client.post("/till/batch", json={"operations": operations}, headers=prefer("return=minimal"))
    assert short.json()["data"][0]["body"]["data"]["pin"] == "pin-of-of a batch"
    assert "preference-applied" not in short.headers
    assert client.post("/till/batch", json={"operations": operations[:0]}, headers=prefer("dry-run")).status_code == 422
    tags = [{"method": "POST", "path": TAGS, "body": {"memo": "of a batch"}}]
    assert client.post("/till/batch", json={"operations": tags}, headers=prefer("return=minimal")).status_code == 204
