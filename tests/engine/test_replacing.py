"""PUT takes what GET gave, and nothing that callers may not change."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.clock import CLOCK
from engine.openapi import build_document
from engine.routes import ROUTES
from engine.testing.harness import Live
from engine.types import Principal, TenantRef
from tests.calls import Body, Caller

CUSTOMERS, PLANS = "tenants/crm/customers", "manager/bill/plans"
BUYERS = "market/shop/buyers"


@pytest.fixture(scope="module")
def caller(live: Live) -> Caller:
    return Caller(live.client("tenants"))


@pytest.fixture
def customer(caller: Caller) -> Body:
    return caller.make(CUSTOMERS, name="Replaced", industry="pumps", tags=["a"], credit_limit="10.50")


def test_what_get_gave_can_be_sent_back(caller: Caller, customer: Body) -> None:
    shown = caller.get(CUSTOMERS, customer["id"])
    again = caller.send(200, "PUT", f"{CUSTOMERS}/{customer['id']}", shown)
    assert {n: v for n, v in again.items() if shown[n] != v}.keys() <= {"version", "updated_at"}
    changed = {**again, "name": "Other"}
    assert caller.send(200, "PUT", f"{CUSTOMERS}/{customer['id']}", changed)["name"] == "Other"
    # the version of the body is the version that was read
    caller.expect_refusal("409:version_conflict", "PUT", f"{CUSTOMERS}/{customer['id']}", shown)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("id", "01890000-0000-7000-8000-000000000000", "field_not_allowed"),
        ("created_at", "2001-01-01T00:00:00Z", "field_not_allowed"),
        ("is_active", False, "field_not_allowed"),
        ("status", "blocked", "field_not_allowed"),
        ("status", None, "field_not_allowed"),
        ("number", "C-1", "field_not_allowed"),
    ],
)
def test_what_callers_do_not_set_must_be_as_it_is(
    caller: Caller, customer: Body, name: str, value: Any, code: str
) -> None:
    assert customer[name] != value
    body = {**customer, "name": "Other", name: value}
    refused = caller.expect_refusal("422:validation_error", "PUT", f"{CUSTOMERS}/{customer['id']}", body)
    assert [(fault["field"], fault["code"]) for fault in refused["details"]] == [(name, code)]
    assert caller.get(CUSTOMERS, customer["id"]) == customer


def test_a_field_for_creations_only_may_be_repeated(live: Live) -> None:
    admin = Caller(live.client("manager"))
    plan = admin.make(PLANS, code="PUT1", name="P", interval="month", currency="USD", amount="30.00")
    once = [n for n, f in live.catalog.resources[PLANS].fields.items() if f.once]
    assert once
    plan = admin.send(200, "PUT", f"{PLANS}/{plan['id']}", {**plan, "name": "Q"})
    refused = admin.expect_refusal("422:validation_error", "PUT", f"{PLANS}/{plan['id']}", {**plan, once[0]: "PUT2"})
    assert [(fault["field"], fault["code"]) for fault in refused["details"]] == [(once[0], "write_once")]


def test_what_is_masked_stays_and_what_is_left_out_goes(market: Live) -> None:
    rights = frozenset(f"shop.buyers.{right}" for right in ("create", "read", "update"))
    tenant = TenantRef(market.tenant(market.client("tenants")), "first")
    clerk = Caller(market.lend(Principal(CLOCK.new_id(), permissions=rights, tenant=tenant)))
    buyer = clerk.make(BUYERS, name="Ann", phone="123", nick="A")
    shown = clerk.get(BUYERS, buyer["id"])
    assert shown["phone"] == "***"
    clerk.send(200, "PUT", f"{BUYERS}/{buyer['id']}", {name: value for name, value in shown.items() if name != "nick"})
    assert Caller(market.client("tenants")).get(BUYERS, buyer["id"])["phone"] == "123"
    assert clerk.get(BUYERS, buyer["id"])["nick"] is None


def test_the_document_says_so(live: Live) -> None:
    schema = build_document(live.catalog, ROUTES)["components"]["schemas"]
    [name] = [name for name in schema if name.endswith("crm_customers_replace")]
    assert {"id", "created_at", "status", "name"} <= schema[name]["properties"].keys()
    assert not {"id", "status"} & set(schema[name].get("required", ()))
    assert json.dumps(schema[name])
