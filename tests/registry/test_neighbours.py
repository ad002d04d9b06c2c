"""What sales, receivables and payables do with orders, suppliers and assets, over the stand-ins of tests/registry/neighbours
in a server process of their own: /tenants/apm/ and /tenants/crm/."""

from __future__ import annotations

from typing import Any

import pytest

from tests.books import ACCOUNTS, CENTERS
from tests.calls import Body
from tests.receivables import PAYMENTS, PURCHASE_LINES, PURCHASES, SALES, shown
from tests.registry.next_door import (
    ASSETS,
    ORDER_LINES,
    QUOTATIONS,
    SALES_ORDER_LINES,
    SALES_ORDERS,
    SUPPLIERS,
    DeskNextDoor,
    desk,
    neighbours,
)

__all__ = ["desk", "neighbours"]

OPPORTUNITIES = "tenants/crm/opportunities"
AMOUNTS = ("subtotal", "tax_total", "total")


def of(line: Body, qty: str, **values: Any) -> Body:
    """A line of a supplier invoice for an order line."""
    return {"purchase_order_line_id": line["id"], "qty": qty, **values}


# -- sales invoices of orders


def test_an_invoice_is_proposed_from_its_order(desk: DeskNextDoor) -> None:
    """APM-S1, APM-S2: of goods what was delivered, of services what was ordered; terms and currency are the order's. The
    numbers are those of story S1."""
    goods = {"variant_id": desk.goods, "qty": "40", "unit_price": "25", "discount_pct": "5"}
    order, [cases, setup] = desk.sales_order(goods, {"variant_id": desk.service, "qty": "1", "unit_price": "120"})
    desk.deliver(cases, "30")
    first = desk.caller.get(SALES, desk.invoice(order)["id"])
    assert shown(first, *AMOUNTS, "due_date") == ["832.50", "83.25", "915.75", "2026-06-20"]
    assert [shown(line, "qty", "unit_price", "variant_id") for line in first["lines"]] == [
        ["30.00", "25.0000", desk.goods],
        ["1.00", "120.0000", desk.service],
    ]
    desk.caller.move(SALES, first["id"], "posted")
    assert [desk.invoiced(SALES_ORDER_LINES, line) for line in (cases, setup)] == ["30.0000", "1.0000"]
    assert desk.caller.get(SALES, desk.invoice(order)["id"])["lines"] == []
    desk.deliver(cases, "40")
    second = desk.caller.move(SALES, desk.invoice(order)["id"], "posted")
    assert shown(second, *AMOUNTS, "number") == ["237.50", "23.75", "261.25", "SI-2026-00002"]
    assert desk.invoiced(SALES_ORDER_LINES, cases) == "40.0000"


def test_nothing_is_proposed_beside_own_lines(desk: DeskNextDoor) -> None:
    """APM-S1: lines in the body stand; prices, discount and tax that they leave out are the order line's."""
    goods = {"variant_id": desk.goods, "qty": "4", "unit_price": "20", "discount_pct": "5"}
    order, [line] = desk.sales_order(goods)
    draft = desk.invoice(order, lines=[{"sales_order_line_id": line["id"], "qty": "1"}])
    assert [shown(draft, *AMOUNTS), draft["lines"][0]["variant_id"]] == [["19.00", "1.90", "20.90"], desk.goods]


def test_by_policy_what_is_ordered_is_invoiced(desk: DeskNextDoor) -> None:
    """APM-S1, APM-S2: setting:srm.invoice_policy = ordered."""
    goods = {"variant_id": desk.goods, "qty": "4", "unit_price": "10"}
    order, [line] = desk.sales_order(goods)
    assert desk.caller.get(SALES, desk.invoice(order)["id"])["lines"] == []
    desk.caller.make("tenants/sys/settings", key="srm.invoice_policy", value="ordered", value_type="string")
    posted = desk.caller.move(SALES, desk.invoice(order)["id"], "posted")
    assert [posted["subtotal"], desk.invoiced(SALES_ORDER_LINES, line)] == ["40.0000", "4.0000"]


def test_no_more_is_invoiced_than_was_delivered(desk: DeskNextDoor) -> None:
    """APM-S2: invoiced + qty <= delivered, over all invoices of the order line; a credit note is not held to it."""
    order, [line] = desk.sales_order({"variant_id": desk.goods, "qty": "9", "unit_price": "10"})
    desk.deliver(line, "5")
    both = [desk.invoice(order) for _ in range(2)]
    posted = desk.caller.move(SALES, both[0]["id"], "posted")
    desk.caller.stays("409:over_invoiced", SALES, both[1]["id"], "posted")
    assert desk.invoiced(SALES_ORDER_LINES, line) == "5.0000"
    note = desk.note(posted, "1", lines=[{"sales_order_line_id": line["id"], "qty": "1"}])
    assert desk.caller.move(SALES, note["id"], "posted")["number"] == "SCN-2026-00001"
    assert desk.invoiced(SALES_ORDER_LINES, line) == "5.0000"
    desk.deliver(line, "8")
    twice = [{"sales_order_line_id": line["id"], "qty": qty} for qty in ("3", "2")]
    over = desk.invoice(order, lines=twice)
    desk.caller.stays("409:over_invoiced", SALES, over["id"], "posted")


def test_a_variant_has_its_price_and_account(desk: DeskNextDoor) -> None:
    """G11, APM-S3: an omitted price is the variant's; revenue goes to the account of its category."""
    account = desk.caller.make(ACCOUNTS, code="4100", name="Machines sold", type="income")
    category = desk.caller.make("tenants/pim/categories", code="M", name="M", revenue_account_id=account["id"])
    variant = desk.variant("goods", category_id=category["id"])
    draft = desk.draft({"variant_id": variant, "qty": "2"})
    assert desk.entry(desk.caller.move(SALES, draft["id"], "posted")) == {"ar": "50.00", "4100": "-50.00"}


# -- supplier invoices


def test_currency_and_terms_are_the_suppliers(desk: DeskNextDoor) -> None:
    """G21: of a supplier invoice, and of a payment, that does not say; an order's terms go before the supplier's."""
    desk.rate("1.5")
    supplier = desk.caller.make(SUPPLIERS, name="East Ltd", currency="EUR", payment_terms_days=7)
    own = desk.bill(desk.cost("10"), supplier_id=supplier["id"])
    assert shown(own, "currency", "exchange_rate", "due_date") == ["EUR", "1.500000", "2026-06-17"]
    paid = desk.payment("10", direction="out", supplier_id=supplier["id"])
    assert shown(paid, "currency", "base_amount") == ["EUR", "15.00"]
    [line] = desk.purchase_order({"variant_id": desk.service, "qty": "1", "unit_price": "10"})
    ordered = desk.billed("R-2", of(line, "1"))
    assert shown(ordered, "currency", "due_date") == ["USD", "2026-06-24"]


def test_goods_are_matched_against_receipts(desk: DeskNextDoor) -> None:
    """APM-P1: what is invoiced in all <= what came; the unit price within 2 %; a miss leads to match_exception instead."""
    [line] = desk.purchase_order({"variant_id": desk.goods, "qty": "10", "unit_price": "10"})
    desk.receive(line, "8")
    more = desk.billed("R-1", of(line, "9"))
    assert [more[name] for name in ("status", "match_state", "match_note", "number", "journal_entry_id")] == [
        *("match_exception", "exception", "line 1: qty_over", None, None)
    ]
    assert [row["match_state"] for row in desk.caller.list(PURCHASE_LINES)] == ["qty_over"]
    dearer = desk.billed("R-2", of(line, "1", unit_price="10.21"), of(line, "8"))
    assert dearer["match_note"] == "line 1: price_off; line 2: qty_over"
    assert desk.billed("R-3", of(line, "1", unit_price="9.79"))["match_note"] == "line 1: price_off"
    assert desk.invoiced(ORDER_LINES, line) == "0.0000"
    within = desk.billed("R-4", of(line, "5", unit_price="10.20"), of(line, "3", unit_price="9.80"))
    assert shown(within, "status", "match_state", "number") == ["posted", "matched", "PI-2026-00001"]
    assert {row["match_state"] for row in within["lines"]} == {"matched"}
    assert desk.invoiced(ORDER_LINES, line) == "8.0000"


def test_services_are_matched_against_the_order(desk: DeskNextDoor) -> None:
    """APM-P1: service and account lines count against what is ordered, without any receipt."""
    account = desk.books.roles["bad_debt"]["id"]
    [work, rent] = desk.purchase_order(
        {"variant_id": desk.service, "qty": "2", "unit_price": "50"},
        {"account_id": account, "qty": "1", "unit_price": "70"},
    )
    assert desk.billed("R-1", of(work, "3"))["match_note"] == "line 1: qty_over"
    fine = desk.billed("R-2", of(work, "2"), of(rent, "1"), desk.cost("1", tax_code_id=None))
    assert (fine["match_state"], [row["match_state"] for row in fine["lines"]]) == (
        *("matched", ["matched", "matched", "none"]),
    )
    assert desk.entry(fine)["bad_debt"] == "70.00"


def test_the_tolerances_are_settings(desk: DeskNextDoor) -> None:
    """APM-P1: setting:apm.match_qty_tolerance_pct and apm.match_price_tolerance_pct."""
    [line] = desk.purchase_order({"variant_id": desk.goods, "qty": "10", "unit_price": "10"})
    desk.receive(line, "10")
    for what, pct in (("qty", 10), ("price", 50)):
        key = f"apm.match_{what}_tolerance_pct"
        desk.caller.make("tenants/sys/settings", key=key, value=pct, value_type="number")
    assert desk.billed("R-1", of(line, "11", unit_price="15"))["match_state"] == "matched"
    assert desk.billed("R-2", of(line, "0.01"))["match_state"] == "exception"


def test_a_failed_match_is_booked_when_overridden(desk: DeskNextDoor) -> None:
    """APM-P2, APM-P3: the order line counts it, and what was not received clears grni all the same."""
    [line] = desk.purchase_order({"variant_id": desk.goods, "qty": "10", "unit_price": "10"})
    desk.receive(line, "8")
    over = desk.billed("R-1", of(line, "9"))
    desk.caller.change(PURCHASES, over["id"], override_reason="the rest is on its way")
    posted = desk.books.clerk().move(PURCHASES, over["id"], "posted")
    assert shown(posted, "match_state", "number") == ["overridden", "PI-2026-00001"]
    assert desk.entry(posted) == {"ap": "-90.00", "grni": "90.00"}
    assert desk.invoiced(ORDER_LINES, line) == "9.0000"


def test_goods_clear_grni_at_the_orders_price(desk: DeskNextDoor) -> None:
    """APM-P3: Dr grni at the order's net price, the difference on price_variance; a service on the expense account of its
    category, else the role's; the cost centre stays."""
    account = desk.caller.make(ACCOUNTS, code="6050", name="Consulting", type="expense")
    category = desk.caller.make("tenants/pim/categories", code="S", name="S", expense_account_id=account["id"])
    advice = desk.variant("service", category_id=category["id"])
    [cases, setup, talk] = desk.purchase_order(
        {"variant_id": desk.goods, "qty": "10", "unit_price": "10", "discount_pct": "10"},
        {"variant_id": desk.service, "qty": "1", "unit_price": "50"},
        {"variant_id": advice, "qty": "1", "unit_price": "60"},
    )
    desk.receive(cases, "8")
    center = desk.caller.make(CENTERS, code="CC1", name="Shop")["id"]
    lines = of(cases, "5", unit_price="10.20", cost_center_id=center), of(setup, "1"), of(talk, "1")
    posted = desk.billed("R-1", *lines)
    assert desk.entry(posted) == {
        **{"ap": "-155.90", "grni": "45.00", "price_variance": "0.90"},
        **{"expense": "50.00", "6050": "60.00"},
    }
    entry = desk.caller.get("tenants/fim/journal-entries", posted["journal_entry_id"])
    assert [line["debit"] for line in entry["lines"] if line["cost_center_id"] == center] == ["45.0000", "0.9000"]
    assert [desk.invoiced(ORDER_LINES, line) for line in (cases, setup, talk)] == ["5.0000", "1.0000", "1.0000"]


def test_grni_is_cleared_at_the_orders_rate(desk: DeskNextDoor) -> None:
    """APM-P3: grni takes round(qty x order net price x order rate), unrounded until then; what the net is more at the
    invoice's rate is a variance."""
    desk.rate("2")
    goods = {"variant_id": desk.goods, "qty": "10", "unit_price": "3.37", "discount_pct": "3"}
    [line] = desk.purchase_order(goods, currency="EUR")
    desk.receive(line, "8")
    desk.write("psm.purchase-orders", {"id": line["purchase_order_id"]}, exchange_rate="1.23457")
    posted = desk.billed("R-1", of(line, "8", tax_code_id=desk.vat["id"]))
    assert shown(posted, "currency", *AMOUNTS, "base_total") == ["EUR", "26.15", "2.62", "28.77", "57.54"]
    # 8 x 3.37 x 0.97 x 1.23457 = 32.2857; a price or a net rounded before would make it 32.30 or 32.28
    assert desk.entry(posted) == {"ap": "-57.54", "grni": "32.29", "price_variance": "20.01", "tax_input": "5.24"}


def test_a_unit_above_the_threshold_is_an_asset(desk: DeskNextDoor) -> None:
    """APM-P4: one draft asset per whole unit, on the cost account of the category; below it is an expense. The category is
    that of the line or of its order line."""
    dear, cheap = desk.category("1500", "600"), desk.category("1510", "600.01")
    center = desk.caller.make(CENTERS, code="CC1", name="Shop")["id"]
    [ordered] = desk.purchase_order({"asset_category_id": dear["id"], "qty": "2", "unit_price": "600"})
    own = {"asset_category_id": dear["id"], "qty": "1.5", "unit_price": "700", "description": "Press"}
    below = {"asset_category_id": cheap["id"], "qty": "3", "unit_price": "600"}
    posted = desk.billed("R-1", of(ordered, "2", cost_center_id=center), own, below)
    assert desk.entry(posted) == {"ap": "-4050.00", "1500": "1050.00", "expense": "1800.00"}
    bought = [
        ["Machine", "600.00", "2026-06-10", "draft", center],
        ["Machine", "600.00", "2026-06-10", "draft", center],
        ["Press", "700.00", "2026-06-10", "draft", None],
    ]
    found = desk.caller.list(ASSETS, "sort=cost,name")
    assert [shown(row, "name", "cost", "acquisition_date", "status", "cost_center_id") for row in found] == bought
    lines = [row["id"] for row in posted["lines"]]
    assert [row["purchase_invoice_line_id"] for row in found] == [lines[0], lines[0], lines[1]]
    assert desk.invoiced(ORDER_LINES, ordered) == "2.0000"


def test_the_threshold_is_in_base_currency(desk: DeskNextDoor) -> None:
    """APM-P4: 500.00 EUR at 1.5 reach 700.00 USD."""
    desk.rate("1.5")
    category = desk.category("1500", "700")
    line = {"asset_category_id": category["id"], "qty": "1", "unit_price": "500"}
    desk.billed("R-1", line, currency="EUR")
    assert [row["cost"] for row in desk.caller.list(ASSETS)] == ["750.0000"]


def test_part_of_a_unit_is_no_asset(desk: DeskNextDoor) -> None:
    """APM-P4: per whole unit; less than one is an expense, and what is beyond the last one is no asset either."""
    category = desk.category("1500", "500")
    part = {"asset_category_id": category["id"], "qty": "0.5", "unit_price": "1000"}
    assert desk.entry(desk.billed("R-1", part)) == {"ap": "-500.00", "expense": "500.00"}
    assert desk.caller.list(ASSETS) == []
    desk.billed("R-2", {**part, "qty": "2.5"})
    assert [row["cost"] for row in desk.caller.list(ASSETS)] == ["1000.0000"] * 2


# -- payments


def test_a_transfer_needs_an_approved_supplier_and_bank(desk: DeskNextDoor) -> None:
    """APM-M1: both supplier approved and bank_verified; other methods, and money that comes in, go without."""
    party = {"direction": "out", "supplier_id": desk.supplier["id"]}
    transfer = desk.payment("10", **party)
    desk.caller.stays("409:supplier_bank_unverified", PAYMENTS, transfer["id"], "posted")
    desk.paid("10", **party, method="card")
    desk.paid("10", **{**party, "direction": "in"})
    desk.caller.change(SUPPLIERS, desk.supplier["id"], bank_verified=True)
    desk.caller.stays("409:supplier_bank_unverified", PAYMENTS, transfer["id"], "posted")
    desk.caller.move(SUPPLIERS, desk.supplier["id"], "approved")
    desk.caller.change(SUPPLIERS, desk.supplier["id"], bank_verified=False)
    desk.caller.stays("409:supplier_bank_unverified", PAYMENTS, transfer["id"], "posted")
    desk.caller.change(SUPPLIERS, desk.supplier["id"], bank_verified=True)
    assert desk.caller.move(PAYMENTS, transfer["id"], "posted")["number"] == "PMT-2026-00003"


# -- opportunities


@pytest.mark.parametrize(
    ("path", "before", "winning"),
    [(QUOTATIONS, ("sent",), "accepted"), (SALES_ORDERS, (), "confirmed")],
    ids=["quotation", "order"],
)
def test_an_opportunity_is_won_by_what_was_accepted(
    desk: DeskNextDoor, path: str, before: tuple[str, ...], winning: str
) -> None:
    """CRM-O2: an accepted quotation or a confirmed order, of this opportunity; one that is only sent does not win."""
    seller = desk.books.clerk("crm.opportunities.force-win")
    deals = [seller.make(OPPORTUNITIES, title="Deal", customer_id=desk.customer["id"]) for _ in range(2)]
    own, other = (seller.move(OPPORTUNITIES, deal["id"], "proposal") for deal in deals)
    more = {"currency": "USD", "payment_terms_days": 10} if path == SALES_ORDERS else {}
    paper = seller.make(path, customer_id=desk.customer["id"], opportunity_id=own["id"], **more)
    seller.move(path, paper["id"], *before)
    seller.stays("409:no_accepted_quotation", OPPORTUNITIES, own["id"], "won")
    seller.move(path, paper["id"], winning)
    seller.stays("409:no_accepted_quotation", OPPORTUNITIES, other["id"], "won")
    assert seller.move(OPPORTUNITIES, own["id"], "won")["status"] == "won"
