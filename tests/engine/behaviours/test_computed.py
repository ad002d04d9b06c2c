"""Formulas, roll-ups and money rounding over HTTP: single, bulk, nested, replaced and deleted lines, and two at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.testing.harness import Live
from tests.calls import Body, Caller

DEALS, LINES = "desk/desk/deals", "desk/desk/deal-lines"
FIGURES = ("subtotal", "tax_total", "total", "base_total", "extras")


def line(**values: Any) -> Body:
    return {"quantity": "2", "unit_price": "10", **values}


def figures(row: Body) -> list[Decimal]:
    return [Decimal(row[name]) for name in FIGURES]


def test_a_nested_deal_is_computed_at_once(admin: Caller) -> None:
    lines = [line(rebate_pct="5"), line(kind="extra", unit_price="1.50")]
    deal = admin.make(DEALS, title="Nested", exchange_rate="1.1", lines=lines)
    assert figures(deal) == [Decimal(x) for x in ("22", "1.9", "23.9", "26.29", "3")] and deal["line_count"] == 2
    assert [(row["net"], row["tax"]) for row in deal["lines"]] == [("19.0000", "1.9000"), ("3.0000", "0.0000")]


def test_replaced_changed_and_deleted_lines_reach_the_header(admin: Caller) -> None:
    deal = admin.make(DEALS, title="Moving", lines=[line(), line()])
    assert figures(deal)[2] == 44
    deal = admin.change(DEALS, deal["id"], lines=[line(), line(), line()])
    assert figures(deal)[2] == 66 and deal["line_count"] == 3
    first = deal["lines"][0]["id"]
    admin.change(LINES, first, quantity="5")
    assert figures(admin.get(DEALS, deal["id"]))[2] == 99
    admin.change(LINES, first, kind="extra")
    assert figures(admin.get(DEALS, deal["id"])) == [Decimal(x) for x in ("90", "4", "94", "94", "50")]
    admin.drop(LINES, first)
    assert figures(admin.get(DEALS, deal["id"]))[2] == 44
    admin.move(LINES, first, "active")
    assert figures(admin.get(DEALS, deal["id"]))[2] == 94
    made = admin.send(201, "POST", LINES, [{**line(), "deal_id": deal["id"]} for _ in range(3)])
    assert len(made) == 3 and admin.get(DEALS, deal["id"])["line_count"] == 6


def test_a_change_that_moves_no_sum_moves_the_version_of_the_header_alone(admin: Caller) -> None:
    deal = admin.make(DEALS, title="Still", lines=[line()])
    admin.change(LINES, deal["lines"][0]["id"], note="Call first")
    [record, *_] = admin.send(200, "GET", f"{DEALS}/{deal['id']}/history")["items"]
    assert record["changes"] == {"version": [deal["version"], deal["version"] + 1]}


def test_computed_columns_cannot_be_given(admin: Caller) -> None:
    admin.expect_refusal("422:field_not_allowed", "POST", DEALS, {"title": "x", "total": "5"})
    admin.expect_refusal("422:field_not_allowed", "POST", DEALS, {"title": "x", "lines": [line(net="5")]})


def test_money_is_rounded_half_up_to_its_currency(admin: Caller) -> None:
    given = {"USD": "10.0050", "JPY": "10.5", "EUR": "10.0049"}
    kept = {code: admin.make(DEALS, title="Round", currency=code, ceiling=value) for code, value in given.items()}
    assert {code: row["ceiling"] for code, row in kept.items()} == {
        "USD": "10.0100",
        "JPY": "11.0000",
        "EUR": "10.0000",
    }
    deal = admin.make(DEALS, title="Yen", currency="JPY", lines=[line(quantity="1", unit_price="33.5")])
    assert [Decimal(deal["lines"][0][name]) for name in ("net", "tax")] == [34, 3]


def test_lines_added_at_once_are_all_counted(desk: Live, admin: Caller) -> None:
    deal = admin.make(DEALS, title="Crowd")
    body = {**line(quantity="1", unit_price="1"), "deal_id": deal["id"], "kind": "extra"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: admin.client.post(f"/{LINES}", json=body).status_code, range(24)))
    assert answers == [201] * 24
    found = admin.get(DEALS, deal["id"])
    assert found["line_count"] == 24 and figures(found)[:3] == [24, 0, 24]


amounts = st.decimals(min_value="0.01", max_value="9999", places=3)
rebates = st.decimals(min_value=0, max_value=100, places=2)
deals = st.lists(st.tuples(amounts, amounts, rebates, st.sampled_from(["normal", "extra"])), min_size=1, max_size=5)


@pytest.mark.usefixtures("admin")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=deals)
def test_any_lines_add_up_as_on_paper(admin: Caller, lines: list[tuple[Decimal, Decimal, Decimal, str]]) -> None:
    cent = Decimal("0.01")
    nets = [(q * p * (1 - r / 100)).quantize(cent, ROUND_HALF_UP) for q, p, r, _ in lines]
    taxes = [
        (net * (0 if kind == "extra" else 10) / 100).quantize(cent, ROUND_HALF_UP)
        for net, (*_, kind) in zip(nets, lines, strict=True)
    ]
    bodies = [{"quantity": str(q), "unit_price": str(p), "rebate_pct": str(r), "kind": kind} for q, p, r, kind in lines]
    deal = admin.make(DEALS, title="Paper", lines=bodies)
    assert figures(deal)[:3] == [sum(nets), sum(taxes), sum(nets) + sum(taxes)]
