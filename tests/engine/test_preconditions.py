"""`If-Match`, `If-None-Match` and `version`: each is heeded where it means something, and refused where it does not."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from engine.errors import ApiError
from engine.preconditions import agreed, known, version_asked
from engine.testing.harness import Live
from tests.calls import Body, Caller

CUSTOMERS, CONTACTS, PRODUCTS = "tenants/crm/customers", "tenants/crm/contacts", "tenants/pim/products"
DIGEST = "0123456789abcdef"
ROW = DIGEST * 2


@pytest.fixture(scope="module")
def caller(live: Live) -> Caller:
    return Caller(live.client("tenants"))


def send(caller: Caller, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return caller.client.request(method, f"/{path}", json=body, headers=given)


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def at_version_2(caller: Caller) -> tuple[str, Body]:
    row = caller.make(CUSTOMERS, name="Acme")
    path = f"{CUSTOMERS}/{row['id']}"
    return path, caller.change(CUSTOMERS, row["id"], name="Acme Ltd")


# -- the headers


@pytest.mark.parametrize(
    ("header", "counted", "expected"),
    [
        ("*", True, None),
        (' "7" ', True, 7),
        ("7", True, 7),
        (f'"7-{DIGEST}"', True, 7),
        ('"007"', True, 7),
        ('"7-gzip"', True, 0),
        ('W/"7"', True, 0),
        ('"abc"', True, 0),
        ('"1,2"', True, 0),
        ('"99999999999"', True, 0),
        ('""', True, 0),
        ("abc", True, 0),
        (f'"{ROW}"', False, ROW),
        (f'"{ROW}-{DIGEST}"', False, ROW),
        (f'W/"{ROW}"', False, ""),
        ('"7"', False, ""),
    ],
)
def test_one_tag_names_a_version(header: str, counted: bool, expected: Any) -> None:
    assert version_asked([header.encode()], counted=counted) == expected


@pytest.mark.parametrize("headers", [['"1", "5"'], ['"1"', '"5"'], ['*, "1"'], ['W/"1", "2"'], [""], ['"1'], ["1,2"]])
def test_several_tags_are_refused(headers: list[str]) -> None:
    with pytest.raises(ApiError) as error:
        version_asked([header.encode() for header in headers], counted=True)
    assert (error.value.status, error.value.code) == (400, "bad_request") and "one tag" in error.value.message


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (['"7"'], True),
        (['W/"7"'], True),
        (['"1", "7"'], True),
        (['"1"', 'W/"7" '], True),
        (["*"], True),
        (['"1"'], False),
        (['"17"'], False),
        (["7"], False),
        ([f'"7-{DIGEST}"'], False),
        ([""], False),
    ],
)
def test_a_known_tag_is_found_by_weak_comparison(headers: list[str], expected: bool) -> None:
    assert known([header.encode() for header in headers], b'"7"') is expected


def test_versions_agree_or_are_refused() -> None:
    assert (agreed(None, None), agreed(3, None), agreed(3, 3)) == (None, 3, 3)
    with pytest.raises(ApiError) as error:
        agreed(3, 4)
    assert (error.value.status, error.value.details[0].field) == (422, "version")


# -- writes of one row


def test_a_deletion_reads_its_body(caller: Caller) -> None:
    path, _ = at_version_2(caller)
    stale = send(caller, "DELETE", path, {"version": 1})
    assert refused(stale) == (409, "version_conflict") and caller.client.get(f"/{path}").status_code == 200
    for body in ({"versoin": 2}, {"version": "2"}, {"version": 0}, [2], {"version": 2, "name": "x"}):
        assert refused(send(caller, "DELETE", path, body)) == (422, "validation_error"), body
    assert refused(caller.client.request("DELETE", f"/{path}", content=b"{")) == (400, "invalid_json")
    form = caller.client.request("DELETE", f"/{path}", data={"version": "2"})
    assert refused(form) == (415, "unsupported_media_type")
    assert refused(send(caller, "DELETE", f"{path}?version=1", {"version": 2})) == (422, "validation_error")
    assert send(caller, "DELETE", f"{path}?version=2", {"version": 2}).status_code == 200


def test_a_deletion_in_a_batch_has_its_version(caller: Caller) -> None:
    path, _ = at_version_2(caller)

    def batch(version: int) -> httpx.Response:
        operations = [{"method": "DELETE", "path": f"/{path}", "body": {"version": version}}]
        return send(caller, "POST", "tenants/batch", {"operations": operations})

    assert refused(batch(1)) == (409, "version_conflict")
    assert batch(2).json()["data"][0]["status"] == 200


def test_a_set_is_deleted_without_a_body(caller: Caller) -> None:
    path, row = at_version_2(caller)
    where = f"{CUSTOMERS}?filter[id]={row['id']}"
    answer = send(caller, "DELETE", where, {"version": 1}, Prefer="max-affected=1")
    assert refused(answer) == (400, "bad_request") and caller.client.get(f"/{path}").status_code == 200


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE", "STATUS"])
def test_two_versions_that_differ_are_refused(caller: Caller, method: str) -> None:
    path, row = at_version_2(caller)
    body: Body = {"PATCH": {"name": "x"}, "PUT": {"name": "x"}, "STATUS": {"status": row["status"]}}.get(method, {})
    place, verb = (f"{path}/status", "PATCH") if method == "STATUS" else (path, method)
    answer = send(caller, verb, place, {**body, "version": 1}, If_Match='"2"')
    assert refused(answer) == (422, "validation_error")
    assert answer.json()["error"]["details"][0]["field"] == "version"
    assert send(caller, verb, place, {**body, "version": 2}, If_Match='"2"').status_code == 200


@pytest.mark.parametrize("tag", ['W/"2"', '"abc"', '"0"', '"2-gzip"'])
def test_a_tag_that_is_no_version_of_ours_matches_nothing(caller: Caller, tag: str) -> None:
    path, _ = at_version_2(caller)
    for method, body in (("PATCH", {"name": "x"}), ("DELETE", None)):
        answer = send(caller, method, path, body, If_Match=tag)
        error = answer.json()["error"]
        assert refused(answer) == (412, "version_conflict") and error["details"] == []
        assert error["message"] == "The row is at version 2; read it again"


def test_a_list_of_tags_is_refused_and_any_version_is_any(caller: Caller) -> None:
    path, _ = at_version_2(caller)
    answer = send(caller, "PATCH", path, {"name": "x"}, If_Match='"1", "2", "6"')
    assert refused(answer) == (400, "bad_request") and "one tag" in answer.json()["error"]["message"]
    assert send(caller, "PATCH", path, {"name": "x"}, If_Match="*").status_code == 200


# -- where no condition means anything


def test_a_condition_is_refused_where_it_means_nothing(caller: Caller) -> None:
    path, row = at_version_2(caller)
    new, where = {"name": "New"}, f"{CUSTOMERS}?filter[id]={row['id']}"
    asked: list[tuple[str, str, Any]] = [
        ("POST", CUSTOMERS, new),
        ("POST", f"{CUSTOMERS}/upsert?on=tax_id", {**new, "tax_id": "T"}),
        ("POST", f"{CUSTOMERS}/import", None),
        ("PATCH", where, new),
        ("DELETE", where, None),
        ("POST", "tenants/batch", {"operations": [{"method": "GET", "path": f"/{path}"}]}),
        ("GET", CUSTOMERS, None),
        ("GET", path, None),
        ("GET", f"{path}/history", None),
    ]
    for method, place, body in asked:
        answer = send(caller, method, place, body, If_Match='"2"', Prefer="max-affected=1")
        assert refused(answer) == (400, "bad_request"), (method, place)
        assert "PATCH, PUT or DELETE" in answer.json()["error"]["message"]
    for method, place, body in (*asked[:6], ("PATCH", path, new), ("PUT", path, new), ("DELETE", path, None)):
        answer = send(caller, method, place, body, If_None_Match="*", Prefer="max-affected=1")
        assert refused(answer) == (400, "bad_request"), (method, place)
    assert caller.get(CUSTOMERS, row["id"]) == row


# -- what a reader knows


def test_a_row_is_not_sent_again(caller: Caller) -> None:
    row = caller.make(CONTACTS, customer_id=caller.make(CUSTOMERS, name="Acme")["id"], full_name="Ann")
    path = f"{CONTACTS}/{row['id']}"
    assert caller.client.get(f"/{path}").headers["etag"] == '"1"'
    for tags in ('"1"', 'W/"1"', '"8", "1"', "*"):
        answer = send(caller, "GET", path, If_None_Match=tags)
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", '"1"'), tags
    assert send(caller, "GET", path, If_None_Match='"2", "3"').status_code == 200


def test_what_is_shown_beside_a_row_has_its_part_in_the_tag(caller: Caller) -> None:
    customer = caller.make(CUSTOMERS, name="Acme")
    contact = caller.make(CONTACTS, customer_id=customer["id"], full_name="Ann")
    path = f"{CUSTOMERS}/{customer['id']}?expand=contacts"
    first = send(caller, "GET", path)
    tag = first.headers["etag"]
    assert tag.startswith('"1-') and send(caller, "GET", path, If_None_Match=tag).status_code == 304
    caller.change(CONTACTS, contact["id"], full_name="Bea")
    second = send(caller, "GET", path, If_None_Match=tag)
    assert second.status_code == 200 and second.json()["data"]["contacts"][0]["full_name"] == "Bea"
    assert second.headers["etag"].startswith('"1-') and second.headers["etag"] != tag
    plain = f"{CUSTOMERS}/{customer['id']}"
    # `open_balance` follows from invoices; without it the row shows its own columns only
    assert send(caller, "GET", plain).headers["etag"].startswith('"1-')
    assert send(caller, "GET", f"{plain}?fields=id,open_balance").headers["etag"].startswith('"1-')
    assert send(caller, "GET", f"{plain}?fields=id,name").headers["etag"] == '"1"'
    changed = send(caller, "PATCH", plain, {"name": "Acme Ltd"}, If_Match=second.headers["etag"])
    assert changed.status_code == 200
    assert refused(send(caller, "PATCH", plain, {"name": "x"}, If_Match=tag)) == (412, "version_conflict")
