"""What callers of an outside issuer may do, by the roles of their tokens and a policy file: over HTTP, with no identity here."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx
import pytest

from engine.routes import ROUTES
from engine.types import Op
from engine.views import Policy
from tests.isolation.clauses import from_beside, naming, showing
from tests.isolation.foreigners import BUYERS, CRATES, LOG, ORDERS, POLICY, Ann, Orchard, growing
from tests.isolation.test_canaries import SAID, SECRET, send, silent, told

FEW = {"Prefer": "max-affected=50"}


@pytest.fixture(scope="module")
def orchard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orchard]:
    with growing(tmp_path_factory.mktemp("orchard")) as found:
        yield found


@pytest.fixture
def ann(orchard: Orchard) -> Ann:
    me = str(uuid4())
    mine, theirs = orchard.order(owner_id=me), orchard.order(owner_id=str(uuid4()))
    return Ann(orchard.caller("sales", sub=me, regions=["north"]), mine, theirs, me)


# -- entities and operations


def test_who_has_no_role_has_nothing(orchard: Orchard, ann: Ann) -> None:
    for caller in (orchard.caller(), orchard.caller("unknown"), orchard.caller("Sales")):
        for path in (ORDERS, BUYERS, CRATES, LOG):
            caller.expect_refusal("403:permission_denied", "GET", path)
        caller.expect_refusal("403:permission_denied", "GET", f"{ORDERS}/{ann.mine['id']}")
        assert caller.send(200, "GET", "orchard/_meta")["entities"] == []


def test_operations_are_those_of_the_policy(orchard: Orchard, ann: Ann) -> None:
    key = ann.mine["id"]
    assert ann.caller.get(ORDERS, key)["code"] == ann.mine["code"]
    assert ann.caller.change(ORDERS, key, note="seen")["note"] == "seen"
    for method, path, body in (
        ("DELETE", f"{ORDERS}/{key}", None),
        ("POST", ORDERS, {"code": "NEW"}),
        ("GET", LOG, None),
        ("PATCH", f"{BUYERS}/{uuid4()}", {}),
        ("POST", f"{ORDERS}/upsert?on=code", {"code": "NEW"}),
    ):
        ann.caller.expect_refusal("403:permission_denied", method, path, body)
    assert ann.caller.move(ORDERS, key, "sent")["status"] == "sent"
    operations = [{"method": "DELETE", "path": f"/{ORDERS}/{key}"}]
    assert ann.caller.client.post("/orchard/batch", json={"operations": operations}).status_code == 403
    told = {row["path"]: row["operations"] for row in ann.caller.send(200, "GET", "orchard/_meta")["entities"]}
    assert set(told) == {ORDERS, BUYERS, CRATES} and "delete" not in told[ORDERS] and "update" in told[ORDERS]


def asked(path: str, op: Op) -> tuple[str, str, Any]:
    """A request of each operation that changes nothing."""
    route = next(route for route in ROUTES if route.op is op)
    tail = route.tail.replace("{id}", str(uuid4()))
    query = {Op.UPDATE_MANY: "?filter[id]=" + str(uuid4()), Op.DELETE_MANY: "?filter[id]=" + str(uuid4())}.get(op, "")
    query = "?on=code" if op is Op.UPSERT else query
    body = {Op.QUERY: {}, Op.STATUS: {"status": "inactive"}}.get(
        op, {} if route.method not in ("GET", "DELETE") else None
    )
    return route.method, f"/{path}{tail}{query}", body


ROLES = [(), ("sales",), ("north",), ("intake",), ("chief",), ("north", "sales"), ("intake", "sales", "nobody")]


@pytest.mark.parametrize("roles", ROLES, ids="+".join)
def test_the_matrix_of_roles_entities_and_operations(orchard: Orchard, roles: tuple[str, ...]) -> None:
    """403 for exactly what no role of the file grants, by the file itself."""
    grants = tomllib.loads(POLICY.read_text())["roles"]
    caller = orchard.caller(*roles)
    for path, resource in orchard.live.catalog.resources.items():
        rights = set()
        for role in roles:
            said = grants.get(role, {})
            entry = said.get(resource.key, said.get("*", {}))
            words = entry.get("operations", []) if isinstance(entry, dict) else []
            rights |= {*words} if "*" not in words else {"read", "create", "update", "delete", "status"}
        for op in resource.ops:
            method, where, body = asked(path, op)
            answer = caller.client.request(method, where, json=body, headers={"Prefer": "max-affected=1, dry-run"})
            needed = {code.rpartition(".")[2] for code in resource.needed(op)}
            assert (answer.status_code == 403) == (not needed <= rights), f"{roles} {method} {where}: {answer.text}"
            assert answer.status_code < 500, answer.text


def test_who_sees_all_hears_the_canary(orchard: Orchard, ann: Ann) -> None:
    """The sweep over clauses finds what there is to find."""
    resource = orchard.live.resource(ORDERS)
    for name in ("margin", "cost"):
        texts = [send(orchard.chief.client, one).text for one in naming(resource, ann.mine["id"], name, SAID)]
        assert sum(SECRET in text for text in texts) > 5
    shown = showing(orchard.live.catalog.resources, resource, ann.mine["id"], SAID)
    assert sum(SECRET in send(orchard.chief.client, one).text for one in shown) > 8


# -- fields


@pytest.mark.parametrize("name", ["margin", "cost", "broker_id"])
def test_a_field_that_is_kept_from_a_role_does_not_exist(orchard: Orchard, ann: Ann, name: str) -> None:
    resource, key = orchard.live.resource(ORDERS), ann.mine["id"]
    seen = orchard.live.catalog.resources
    for one, none in zip(
        [*naming(resource, key, name, SAID), *from_beside(seen, resource, name, SAID)],
        [*naming(resource, key, "no_such", SAID), *from_beside(seen, resource, "no_such", SAID)],
        strict=True,
    ):
        answer, other = send(ann.caller.client, one), send(ann.caller.client, none)
        silent(answer, SECRET)
        assert answer.status_code >= 400, answer.text
        assert told(answer).replace(name, "no_such") == told(other), (one, answer.text, other.text)
    for asked in showing(seen, resource, key, SAID):
        answer = send(ann.caller.client, asked)
        silent(answer, SECRET)
        assert f'"{name}"' not in answer.text, answer.text


def test_kept_fields_are_in_no_answer_of_a_write(orchard: Orchard, ann: Ann) -> None:
    where = f"/{ORDERS}/{ann.mine['id']}"
    client = ann.caller.client
    answers = [
        client.patch(where, json={"note": "a"}),
        client.put(where, json={"note": "b"}),
        client.patch(where, json={"note": "c", "version": 1}),
        client.patch(where, json={"margin": "d"}),
        client.patch(where, json={"note": "loss"}),
        client.patch(f"{where}/status", json={"status": "sent"}),
        client.patch(
            f"/{ORDERS}?filter[note]=b", json={"note": "e"}, headers={"Prefer": "max-affected=5, return=representation"}
        ),
        client.get(f"{where}/history"),
        client.get(f"{where}/transitions"),
        client.get(where, params={"expand": "crates"}),
        client.get(f"/{CRATES}/export?format=csv"),
        client.get(f"/{CRATES}?filter[fruit]=apple"),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 409, 422, 422, 200, 200, 200, 200, 200, 200, 200]
    for answer in answers:
        silent(answer, SECRET)
        assert '"cost"' not in answer.text and '"price"' not in answer.text
    assert "margin" not in answers[4].text, "a rule's error names no field that the caller does not see"
    batch = {"mode": "each", "operations": [{"method": "PATCH", "path": where, "body": {"note": "loss"}}]}
    refused = client.post("/orchard/batch", json=batch).json()["data"][0]
    assert refused["status"] == 422 and "margin" not in json.dumps(refused)
    stored = orchard.chief.get(ORDERS, ann.mine["id"])
    assert (stored["margin"], stored["cost"]) == (ann.mine["margin"], ann.mine["cost"]), "what is not seen is not lost"


def test_the_trail_is_whole_whoever_writes(orchard: Orchard, ann: Ann) -> None:
    """What the caller does not see is in the log of what others did, for those who read it."""
    ann.caller.change(ORDERS, ann.mine["id"], note="x")
    own = ann.caller.list(f"{ORDERS}/{ann.mine['id']}/history")
    assert len(own) == 2 and "code" in own[1]["changes"] and "margin" not in own[1]["changes"]
    whole = orchard.chief.list(f"{ORDERS}/{ann.mine['id']}/history")
    assert whole[1]["changes"]["margin"][1] == ann.mine["margin"]
    assert whole[0]["actor_id"] == ann.id


def test_what_cannot_be_written_says_so(orchard: Orchard, ann: Ann) -> None:
    where = f"{ORDERS}/{ann.mine['id']}"
    answer = ann.caller.expect_refusal("422:field_not_allowed", "PATCH", where, {"code": "OTHER"})
    assert answer["details"][0]["message"] == "may not be set with your roles"
    fields = {f["name"]: f for f in ann.caller.send(200, "GET", f"{ORDERS}/_meta")["fields"]}
    assert "margin" not in fields and fields["note"]["updatable"] and not fields["code"].get("updatable")
    meta = json.dumps(ann.caller.send(200, "GET", f"{ORDERS}/_meta"))
    assert not any(f'"{name}' in meta for name in ("margin", "broker", "cost")), meta


def test_a_unique_key_over_a_kept_field_is_not_told(orchard: Orchard) -> None:
    me = str(uuid4())
    first = orchard.order(owner_id=me)
    caller = orchard.caller("intake", sub=me)
    made = caller.client.post(f"/{ORDERS}", json={"code": "I1", "owner_id": me, "margin": "own"})
    assert made.status_code == 201 and set(made.json()["data"]) == {"id", "code", "status", "version", "is_active"}
    again = caller.expect_refusal("409:duplicate", "POST", ORDERS, {"code": first["code"], "owner_id": me})
    assert [fault["field"] for fault in again["details"]] == ["code"]
    caller.expect_refusal("403:permission_denied", "POST", ORDERS, {"code": "I2", "owner_id": str(uuid4())})
    caller.expect_refusal("403:permission_denied", "GET", ORDERS)
    nested = caller.expect_refusal(
        "422:field_not_allowed", "POST", ORDERS, {"code": "I3", "owner_id": me, "crates": []}
    )
    assert nested["details"][0]["field"] == "crates"


# -- rows


def test_rows_are_those_of_the_policy(orchard: Orchard, ann: Ann) -> None:
    assert [row["id"] for row in ann.caller.list(ORDERS)] == [ann.mine["id"]]
    for method, tail, body in (("GET", "", None), ("PATCH", "", {"note": "x"}), ("GET", "/history", None)):
        ann.caller.expect_refusal("404:not_found", method, f"{ORDERS}/{ann.theirs['id']}{tail}", body)
    answer = ann.caller.client.patch(f"/{ORDERS}?filter[code]={ann.theirs['code']}", json={"note": "x"}, headers=FEW)
    assert answer.json()["data"] == {"count": 0}
    north = orchard.chief.make(BUYERS, name="North", rating=uuid4().hex)["id"]
    south = orchard.chief.make(BUYERS, name="South", region="south", rating=uuid4().hex)["id"]
    assert {row["id"] for row in ann.caller.list(BUYERS)} >= {north}
    assert south not in {row["id"] for row in ann.caller.list(BUYERS)}
    ann.caller.expect_refusal("422:invalid_reference", "PATCH", f"{ORDERS}/{ann.mine['id']}", {"buyer_id": south})
    assert ann.caller.change(ORDERS, ann.mine["id"], buyer_id=north)["buyer_id"] == north
    assert ann.caller.list(ORDERS, "expand=buyer")[0]["buyer"]["name"] == "North"
    assert "rating" not in ann.caller.list(ORDERS, "expand=buyer")[0]["buyer"]
    where = quote(json.dumps({"some": "buyer", "where": {"field": "name", "value": "North"}}))
    assert len(ann.caller.list(ORDERS, f"where={where}")) == 1


def test_who_lacks_a_claim_has_no_rows_of_that_role(orchard: Orchard, ann: Ann) -> None:
    orchard.chief.make(BUYERS, name="North", rating=uuid4().hex)
    assert orchard.caller("sales", sub=ann.id).list(BUYERS) == []


def test_several_roles_have_what_each_has(orchard: Orchard, ann: Ann) -> None:
    """Rows of one or of the other, fields of both, and writes as the role that may write has them."""
    south = orchard.order(owner_id=ann.id, region="south")
    alone, both = orchard.caller("north"), orchard.caller("north", "sales", sub=ann.id)
    found = {row["id"]: row for row in both.list(ORDERS, "sort=-code")}
    assert {south["id"], ann.mine["id"], ann.theirs["id"]} <= set(found)
    assert south["id"] not in {row["id"] for row in alone.list(ORDERS)}
    assert found[south["id"]]["cost"] == south["cost"] and "margin" not in found[south["id"]]
    assert set(alone.list(ORDERS)[0]) == {"id", "code", "region", "cost", "status", "version", "is_active"}
    assert both.change(ORDERS, south["id"], note="mine")["note"] == "mine"
    both.expect_refusal("403:permission_denied", "PATCH", f"{ORDERS}/{ann.theirs['id']}", {"note": "x"})
    both.expect_refusal("422:field_not_allowed", "PATCH", f"{ORDERS}/{south['id']}", {"cost": "1"})


def test_a_role_without_a_claim_does_not_take_from_another(orchard: Orchard, ann: Ann) -> None:
    """`north` asks nothing of the caller: who is no seller of anything still has its rows."""
    caller = orchard.caller("north", "sales", sub="not-a-uuid")
    assert ann.mine["id"] in {row["id"] for row in caller.list(ORDERS, "sort=-code")}


def test_permissions_beside_those_of_operations(orchard: Orchard, ann: Ann) -> None:
    """A guard asks for one that the file grants by name."""
    assert orchard.chief.change(ORDERS, ann.mine["id"], margin="m")["margin"] == "m"
    caller = orchard.caller("intake", sub=ann.id)
    me = caller.send(200, "GET", "auth/me")
    assert me["permissions"] == ["trade.orders.create"] and me["roles"] == ["intake"] and me["id"] == ann.id


# -- callers


def test_nobody_signs_in_here(orchard: Orchard) -> None:
    url = orchard.live.url
    assert httpx.post(f"{url}/auth/token", data={"grant_type": "password"}).status_code == 404
    assert httpx.get(f"{url}/.well-known/jwks.json").status_code == 404
    document = httpx.get(f"{url}/openapi.json").json()
    assert "/auth/token" not in document["paths"] and "/auth/me" in document["paths"]
    assert list(document["components"]["securitySchemes"]) == ["bearer"]


@pytest.mark.parametrize("token", ["cxg_abc", "x", "a.b.c"])
def test_other_tokens_are_refused(orchard: Orchard, token: str) -> None:
    answer = httpx.get(f"{orchard.live.url}/{ORDERS}", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401 and answer.json()["error"]["code"] == "invalid_token"


def test_a_silent_issuer_is_a_503_for_new_keys_alone(orchard: Orchard) -> None:
    known = orchard.caller("chief")
    known.list(BUYERS)
    orchard.issuer.private["ed-9"] = orchard.issuer.private["ed-1"]
    orchard.issuer.status = 500
    try:
        token = orchard.issuer.token("ed-9", roles=["chief"])
        answer = httpx.get(f"{orchard.live.url}/{BUYERS}", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 503 and answer.json()["error"]["code"] == "issuer_unavailable"
        assert int(answer.headers["retry-after"]) > 0
        known.list(BUYERS)
    finally:
        orchard.issuer.status = 200
    assert httpx.get(f"{orchard.live.url}/{BUYERS}", headers={"Authorization": f"Bearer {token}"}).status_code == 200


# -- reading the file anew


def test_a_new_policy_holds_at_once_and_a_wrong_one_never(orchard: Orchard, ann: Ann) -> None:
    before, system = orchard.policy.read_text(), orchard.live.system
    try:
        orchard.policy.write_text(before + '\n[roles.late."trade.buyers"]\noperations = ["read"]\n')
        late = orchard.caller("late")
        late.expect_refusal("403:permission_denied", "GET", BUYERS)
        assert system.reread_policy()
        late.list(BUYERS)
        orchard.policy.write_text('[roles.sales."trade.odrers"]\noperations = ["read"]\n')
        assert not system.reread_policy()
        late.list(BUYERS)
        orchard.policy.write_text('[roles.late."trade.orders"]\noperations = ["read"]\n')
        assert system.reread_policy()
        ann.caller.expect_refusal("403:permission_denied", "GET", ORDERS)
        late.expect_refusal("403:permission_denied", "GET", BUYERS)
    finally:
        orchard.policy.write_text(before)
        assert system.reread_policy()
    assert ann.caller.get(ORDERS, ann.mine["id"])


def test_a_view_is_made_once(orchard: Orchard, ann: Ann) -> None:
    policy = orchard.live.system.policy
    assert isinstance(policy, Policy)
    views = policy.views
    one, other = views.of(("sales", "north")), views.of(["north", "sales", "nobody"])
    assert one is other and views.of([]) is views.of(["nobody"])
    ann.caller.list(ORDERS)
    shop = views.of(["sales"]).service.shop
    misses = shop.statement.cache_info().misses
    orchard.caller("sales", sub=str(UUID(int=3))).list(ORDERS)
    assert misses > 0 and shop.statement.cache_info().misses == misses
