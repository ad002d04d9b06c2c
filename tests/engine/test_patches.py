"""`application/merge-patch+json` reaches into fields, `application/json` replaces them; both through each road of a change."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.patches import merge
from engine.testing.harness import Live
from tests.calls import Body, Caller

CUSTOMERS, SETTINGS = "tenants/crm/customers", "tenants/sys/settings"
HOME = {"line1": "Street 1", "city": "Bonn", "country": "DE"}
PATCH = {"Content-Type": "application/merge-patch+json"}


@pytest.fixture(scope="module")
def caller(live: Live) -> Caller:
    return Caller(live.client("tenants"))


@pytest.fixture
def customer(caller: Caller) -> Body:
    return caller.make(CUSTOMERS, name="Patched", billing_address=HOME)


def patch(caller: Caller, path: str, body: Any, **headers: str) -> httpx.Response:
    return caller.client.patch(f"/{path}", content=json.dumps(body), headers={**PATCH, **headers})


@pytest.mark.parametrize(
    ("target", "part", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_the_examples_of_the_rfc(target: Any, part: Any, expected: Any) -> None:
    assert merge(target, part) == expected


VALUES = st.recursive(
    st.none() | st.integers(0, 3) | st.sampled_from("ab"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(target=VALUES, part=VALUES)
def test_a_patch_twice_is_a_patch_once(target: Any, part: Any) -> None:
    once = merge(target, part)
    assert merge(once, part) == once


def test_a_part_of_a_structure_is_changed(caller: Caller, customer: Body) -> None:
    place = f"{CUSTOMERS}/{customer['id']}"
    answer = patch(caller, place, {"billing_address": {"city": "Köln"}}, **{"If-Match": '"1"'})
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"]["billing_address"] == {**HOME, "city": "Köln"}
    record = caller.send(200, "GET", f"{place}/history")["items"][0]["changes"]
    assert record["billing_address"] == [HOME, {**HOME, "city": "Köln"}]
    # in plain JSON it is one value, and a part of it is none
    refused = caller.expect_refusal("422:validation_error", "PATCH", place, {"billing_address": {"city": "Ulm"}})
    assert [fault["field"] for fault in refused["details"]] == ["billing_address"]


def test_what_is_no_value_any_more_is_refused(caller: Caller, customer: Body) -> None:
    place = f"{CUSTOMERS}/{customer['id']}"
    for part in ({"line1": None}, {"city": 7}, {"nothing": "here"}, [1]):
        answer = patch(caller, place, {"billing_address": part})
        assert answer.status_code == 422, answer.text
        assert [fault["field"] for fault in answer.json()["error"]["details"]] == ["billing_address"]
    assert caller.get(CUSTOMERS, customer["id"]) == customer
    # of an empty field it is the whole
    assert patch(caller, place, {"shipping_address": {"city": "Ulm"}}).status_code == 422
    made = patch(caller, place, {"shipping_address": HOME, "billing_address": None, "industry": "pumps"})
    data = made.json()["data"]
    assert (data["shipping_address"], data["billing_address"], data["industry"]) == (HOME, None, "pumps")


def test_every_row_of_a_set_is_merged_with_its_own(caller: Caller) -> None:
    rows = [caller.make(CUSTOMERS, name="Set", industry="merged", billing_address={**HOME, "city": c}) for c in "AB"]
    answer = patch(
        caller,
        f"{CUSTOMERS}?filter[industry]=merged",
        {"billing_address": {"line1": "New"}},
        Prefer="max-affected=2, return=representation",
    )
    found = {row["id"]: row["billing_address"] for row in answer.json()["data"]["items"]}
    assert found == {row["id"]: {**row["billing_address"], "line1": "New"} for row in rows}
    bad = patch(
        caller, f"{CUSTOMERS}?filter[industry]=merged", {"billing_address": {"line1": 1}}, Prefer="max-affected=2"
    )
    fields = {fault["field"] for fault in bad.json()["error"]["details"]}
    assert bad.status_code == 422 and fields == {f"[{row['id']}].billing_address" for row in rows}


def test_numbers_beside_the_patch_stay_as_they_were(caller: Caller) -> None:
    number = "0.1234567890123456789012345678901234567890"
    value = f'{{"kept": {number}, "big": 123456789012345678901234567890, "x": 1.5}}'
    body = f'{{"key": "patched.number", "value_type": "json", "value": {value}}}'
    made = caller.client.post(f"/{SETTINGS}", content=body, headers={"Content-Type": "application/json"})
    assert made.status_code == 201, made.text
    answer = patch(caller, f"{SETTINGS}/{made.json()['data']['id']}", {"value": {"x": 2}})
    assert answer.status_code == 200, answer.text
    value = json.loads(answer.text, parse_float=Decimal)["data"]["value"]
    assert value == {"kept": Decimal(number), "big": 123456789012345678901234567890, "x": 2}
