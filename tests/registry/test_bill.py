"""Behaviour of invoices, credit notes and payments, over HTTP. Subscriptions have their own file."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.calls import Body, World, as_rules_write

INVOICES, LINES, PAYMENTS = "manager/bill/invoices", "manager/bill/invoice-lines", "manager/bill/transactions"
TENANTS, SEQUENCES = "manager/tnnt/tenants", "manager/cnfg/number-sequences"
Freeze = Callable[[datetime | None], None]
YEAR = date.today().year  # the sequences of all tests are those of one year


def line(amount: str, **values: Any) -> Body:
    """A line over one piece."""
    return {"kind": "one_off", "description": "Piece", "unit_amount": amount, **values}


def draft(world: World, *lines: Body, tax: str = "0", **values: Any) -> Body:
    """An invoice not opened yet, to a tenant of its own unless told otherwise."""
    tenant = values.pop("tenant_id", None) or world.tenant(tax_pct=tax)["id"]
    return world.admin.make(INVOICES, **{"tenant_id": tenant, "currency": "USD", "lines": list(lines), **values})


def opened(world: World, amount: str = "100", **values: Any) -> Body:
    """An open invoice over an amount."""
    return world.admin.move(INVOICES, draft(world, line(amount), **values)["id"], "open")


def totals(row: Body) -> tuple[Decimal, ...]:
    """subtotal, tax_total, total, amount_due."""
    return tuple(Decimal(row[name]) for name in ("subtotal", "tax_total", "total", "amount_due"))


def decimals(*amounts: str) -> tuple[Decimal, ...]:
    return tuple(map(Decimal, amounts))


def test_totals_follow_the_lines(world: World) -> None:
    """BILL-I1: subtotal, tax and total; tax_pct is the tenant's; also when lines are written by themselves."""
    invoice = draft(world, line("10.005", quantity="3"), line("-2.5"), tax="19")
    assert invoice["tax_pct"] == "19.0000"
    assert totals(invoice) == decimals("27.52", "5.23", "32.75", "32.75")
    extra = world.admin.make(LINES, invoice_id=invoice["id"], **line("7"))
    assert totals(world.admin.get(INVOICES, invoice["id"])) == decimals("34.52", "6.56", "41.08", "41.08")
    world.admin.change(LINES, extra["id"], quantity="2")
    assert totals(world.admin.get(INVOICES, invoice["id"]))[0] == Decimal("41.52")
    world.admin.drop(LINES, extra["id"])
    assert totals(world.admin.get(INVOICES, invoice["id"]))[0] == Decimal("27.52")
    replaced = world.admin.change(INVOICES, invoice["id"], lines=[line("1")])
    assert totals(replaced) == decimals("1", "0.19", "1.19", "1.19")


def test_a_line_that_comes_back_counts_again(world: World) -> None:
    """BILL-I1: leaving and restoring a line moves the totals."""
    invoice = draft(world, line("5"), line("6"))
    row = world.admin.list(LINES, f"filter[invoice_id]={invoice['id']}&sort=position")[0]
    world.admin.move(LINES, row["id"], "inactive")
    assert totals(world.admin.get(INVOICES, invoice["id"]))[2] == 6
    world.admin.move(LINES, row["id"], "active")
    assert totals(world.admin.get(INVOICES, invoice["id"]))[2] == 11


def test_amounts_are_rounded_to_their_currency(world: World) -> None:
    """BILL-L1: amount = round(quantity x unit_amount), half up; yen have no places."""
    invoice = draft(world, line("0.125"), line("-0.125"), line("1.005", quantity="0.5"))
    rows = world.admin.list(LINES, f"filter[invoice_id]={invoice['id']}&sort=position")
    assert [row["amount"] for row in rows] == ["0.1300", "-0.1300", "0.5000"]
    yen = draft(world, line("10.5"), currency="JPY", tax="8")
    assert totals(yen) == decimals("11", "1", "12", "12")
    world.admin.change(LINES, rows[0]["id"], unit_amount="2")
    assert world.admin.get(LINES, rows[0]["id"])["amount"] == "2.0000"


def test_what_was_paid_is_rounded_whoever_writes_it(world: World) -> None:
    """G10: no caller writes what was paid; rules do, and what they write is rounded as what callers write is."""
    invoice = opened(world)
    world.work(as_rules_write("bill.invoices", invoice, amount_paid=Decimal("10.005")))
    assert world.admin.get(INVOICES, invoice["id"])["amount_paid"] == "10.0100"


def test_a_coupon_is_rounded_to_its_currency(world: World) -> None:
    """G10: half up to the places of the currency."""
    usual = {"name": "Off", "currency": "USD", "duration": "once", "valid_from": "2026-01-01"}
    coupon = world.admin.make("manager/bill/coupons", code=world.name("OFF").upper(), amount_off="7.0051", **usual)
    assert Decimal(coupon["amount_off"]) == Decimal("7.01")


def test_a_discount_takes_no_more_than_there_is(world: World) -> None:
    """BILL-L1: discount lines are negative, and together at most the positive lines."""
    body = {"tenant_id": world.tenant()["id"], "currency": "USD"}
    positive = [line("10"), line("1", kind="discount")]
    error = world.admin.expect_refusal("422:discount_too_high", "POST", INVOICES, {**body, "lines": positive})
    assert error["details"][0]["field"] == "lines[1].unit_amount"
    more = [{**body, "lines": [line("-11", kind="discount")]}, body]
    error = world.admin.expect_refusal("422:discount_too_high", "POST", INVOICES, more)
    assert error["details"][0]["field"] == "[0].lines[0].unit_amount"
    rows = [{"invoice_id": draft(world)["id"], **line("1", kind=kind)} for kind in ("one_off", "discount")]
    error = world.admin.expect_refusal("422:discount_too_high", "POST", LINES, rows)
    assert error["details"][0]["field"] == "[1].unit_amount"
    invoice = draft(world, line("10"), line("-10", kind="discount"))
    row = world.admin.list(LINES, f"filter[invoice_id]={invoice['id']}&filter[kind]=discount")[0]
    world.admin.expect_refusal("422:discount_too_high", "PATCH", f"{LINES}/{row['id']}", {"unit_amount": "-10.01"})


def test_opening_fills_the_invoice(world: World, freeze: Freeze) -> None:
    """BILL-I2: number, issue_date, due_date after setting:bill.payment_terms_days, the tenant as he is named now."""
    address = {"line1": "Street 1", "city": "Berlin", "country": "DE"}
    tenant = world.tenant(legal_name="Acme Inc.", tax_id="DE1", billing_address=address)
    first = draft(world, line("1"), tenant_id=tenant["id"])
    second = draft(world, line("1"), tenant_id=tenant["id"], due_date=f"{YEAR}-12-31")
    assert first["number"] is None
    freeze(datetime(YEAR, 5, 4, 12, tzinfo=UTC))
    done = world.admin.move(INVOICES, first["id"], "open")
    assert done["number"].startswith(f"INV-{YEAR}-")
    assert (done["issue_date"], done["due_date"]) == (f"{YEAR}-05-04", f"{YEAR}-05-18")
    assert world.admin.move(INVOICES, second["id"], "open")["due_date"] == f"{YEAR}-12-31"
    world.admin.change(TENANTS, tenant["id"], name="Renamed")
    kept = world.admin.get(INVOICES, first["id"])["bill_to"]
    assert kept == {"name": "Acme", "legal_name": "Acme Inc.", "tax_id": "DE1", "address": address}


def test_an_invoice_without_lines_stays(world: World) -> None:
    """BILL-I2: at least one line, a total that is not negative; a total of 0 is paid at once."""
    world.admin.stays("409:invoice_empty", INVOICES, draft(world)["id"], "open")
    world.admin.stays("422:negative_total", INVOICES, draft(world, line("-1"))["id"], "open")
    free = world.admin.move(INVOICES, draft(world, line("5"), line("-5", kind="discount"))["id"], "open")
    assert free["status"] == "paid" and free["paid_at"] is not None and free["number"] is not None


def test_an_open_invoice_is_locked(world: World) -> None:
    """BILL-I2: of an open invoice only the memo changes; its lines stay, and it is not deleted."""
    invoice = opened(world)
    row = world.admin.list(LINES, f"filter[invoice_id]={invoice['id']}")[0]
    for method, path, body in (
        ("PATCH", f"{INVOICES}/{invoice['id']}", {"due_date": None}),
        ("PATCH", f"{INVOICES}/{invoice['id']}", {"lines": [line("1")]}),
        ("PATCH", f"{LINES}/{row['id']}", {"quantity": "2"}),
        ("DELETE", f"{LINES}/{row['id']}", None),
        ("POST", LINES, {"invoice_id": invoice["id"], **line("1")}),
    ):
        world.admin.expect_refusal("409:document_locked", method, path, body)
    world.admin.expect_refusal("409:not_draft", "DELETE", f"{INVOICES}/{invoice['id']}")
    assert world.admin.change(INVOICES, invoice["id"], memo="Thanks")["memo"] == "Thanks"


def test_a_voided_invoice_keeps_its_number(world: World) -> None:
    """BILL-I3: only while nothing is paid or credited."""
    invoice = opened(world)
    voided = world.admin.move(INVOICES, invoice["id"], "void")
    assert voided["number"] == invoice["number"] and voided["voided_at"] is not None
    paid, credited = opened(world), opened(world)
    settle(world, paid, "1")
    note = credit(world, credited, "1")
    for row in (paid, credited, note):
        world.admin.stays("409:invoice_has_payments", INVOICES, row["id"], "void")


def credit_draft(world: World, original: Body, amount: str, **values: Any) -> Body:
    """A credit note not opened yet."""
    given = {"kind": "credit_note", "original_invoice_id": original["id"], "tenant_id": original["tenant_id"]}
    return draft(world, line(amount), **{**given, "currency": original["currency"], **values})


def credit(world: World, original: Body, amount: str) -> Body:
    """An open credit note."""
    return world.admin.move(INVOICES, credit_draft(world, original, amount)["id"], "open")


def test_a_credit_note_has_its_own_numbers(world: World) -> None:
    """BILL-I4: it raises amount_credited of the original, and may pay it off."""
    invoice = opened(world)
    assert credit(world, invoice, "30")["number"].startswith(f"CN-{YEAR}-")
    left = world.admin.get(INVOICES, invoice["id"])
    assert (left["amount_credited"], left["amount_due"], left["status"]) == ("30.0000", "70.0000", "open")
    credit(world, invoice, "70")
    assert world.admin.get(INVOICES, invoice["id"])["status"] == "paid"


def test_a_credit_note_takes_no_more_than_is_left(world: World) -> None:
    """BILL-I4: at most the original's total less what is credited, of an open invoice of the same tenant."""
    invoice = opened(world)
    credit(world, invoice, "60")
    for note in (
        credit_draft(world, invoice, "40.01"),
        credit_draft(world, draft(world, line("100")), "1"),
        credit_draft(world, invoice, "1", tenant_id=world.tenant()["id"]),
        credit_draft(world, invoice, "1", currency="EUR"),
        credit_draft(world, credit(world, invoice, "1"), "1"),
    ):
        world.admin.stays("409:credit_exceeds_invoice", INVOICES, note["id"], "open")
    assert world.admin.get(INVOICES, invoice["id"])["amount_credited"] == "61.0000"


def test_numbers_have_no_gap(world: World) -> None:
    """BILL-I2: 20 openings at once among some that fail give each number once, and none is left out."""
    tenant = world.tenant()["id"]
    good = [draft(world, line("1"), tenant_id=tenant)["id"] for _ in range(20)]
    bad = [draft(world, tenant_id=tenant)["id"] for _ in range(6)]

    def attempt(key: str) -> int:
        return world.admin.client.patch(f"/{INVOICES}/{key}/status", json={"status": "open"}).status_code

    mixed = [key for pair in zip(good, bad, strict=False) for key in pair] + good[6:]
    before = int(opened(world)["number"].rsplit("-", 1)[1])
    with ThreadPoolExecutor(8) as pool:
        answers = dict(zip(mixed, pool.map(attempt, mixed), strict=True))
    assert [answers[key] for key in good] == [200] * 20 and {answers[key] for key in bad} == {409}
    numbers = sorted(int(world.admin.get(INVOICES, key)["number"].rsplit("-", 1)[1]) for key in good)
    assert numbers == list(range(before + 1, before + 21))


def payment(invoice: Body, amount: str, **values: Any) -> Body:
    """The body of a payment."""
    given = {"tenant_id": invoice["tenant_id"], "invoice_id": invoice["id"], "currency": invoice["currency"]}
    return {**given, "method": "card", "amount": amount, **values}


def settle(world: World, invoice: Body, amount: str, **values: Any) -> Body:
    """A payment that succeeded."""
    row = world.admin.make(PAYMENTS, **payment(invoice, amount, **values))
    return world.admin.move(PAYMENTS, row["id"], "succeeded")


def test_a_payment_fits_its_invoice(world: World) -> None:
    """BILL-T1: same tenant and currency, an open invoice, at most what is due."""
    invoice = opened(world)
    for body in (payment(invoice, "100.01"), payment(draft(world, line("100")), "1"), payment(voided(world), "1")):
        world.admin.expect_refusal("409:overpayment", "POST", PAYMENTS, body)
    world.admin.expect_refusal("409:overpayment", "POST", PAYMENTS, [payment(invoice, "60"), payment(invoice, "41")])
    world.admin.expect_refusal("422:currency_mismatch", "POST", PAYMENTS, payment(invoice, "1", currency="EUR"))
    foreign = payment(invoice, "1", tenant_id=world.tenant()["id"])
    world.admin.expect_refusal("422:invalid_reference", "POST", PAYMENTS, foreign)
    uncollectible = world.admin.move(INVOICES, opened(world)["id"], "uncollectible")
    settle(world, uncollectible, "100")
    assert world.admin.get(INVOICES, uncollectible["id"])["status"] == "paid"


def voided(world: World) -> Body:
    """An invoice that was voided."""
    return world.admin.move(INVOICES, opened(world)["id"], "void")


def test_a_refund_takes_no_more_than_was_paid(world: World) -> None:
    """BILL-T1: refunds and chargebacks together stay within their payment; failed ones do not count."""
    invoice = opened(world)
    paid = settle(world, invoice, "100")
    back = {"kind": "refund", "parent_id": paid["id"]}
    world.admin.expect_refusal("409:refund_exceeds_payment", "POST", PAYMENTS, payment(invoice, "100.01", **back))
    first = world.admin.make(PAYMENTS, **payment(invoice, "60", **back))
    charge = payment(invoice, "41", kind="chargeback", parent_id=paid["id"])
    world.admin.expect_refusal("409:refund_exceeds_payment", "POST", PAYMENTS, charge)
    world.admin.move(PAYMENTS, first["id"], "failed", reason="card_expired")
    assert world.admin.get(PAYMENTS, first["id"])["failure_code"] == "card_expired"
    second = world.admin.make(PAYMENTS, **charge)
    of_refund = payment(invoice, "1", kind="refund", parent_id=second["id"])
    world.admin.expect_refusal("409:refund_exceeds_payment", "POST", PAYMENTS, of_refund)


def test_a_refund_belongs_to_its_payment(world: World) -> None:
    """BILL-T1: only a payment that succeeded, on the same invoice, is given back; the table wants a parent."""
    invoice, other = opened(world), opened(world)
    pending = world.admin.make(PAYMENTS, **payment(invoice, "10"))
    back = payment(invoice, "1", kind="refund")
    world.admin.expect_refusal("409:refund_exceeds_payment", "POST", PAYMENTS, {**back, "parent_id": pending["id"]})
    paid = settle(world, other, "10")
    world.admin.expect_refusal("422:invalid_reference", "POST", PAYMENTS, {**back, "parent_id": paid["id"]})
    world.admin.expect_refusal("422:check_failed", "POST", PAYMENTS, back)


def test_a_known_key_answers_the_first_row(world: World) -> None:
    """BILL-T2: 200 with the first row instead of a new one, also when both come at once; keys are the tenant's own."""
    invoice = opened(world)
    body = payment(invoice, "40", idempotency_key="k-1")
    first = world.admin.make(PAYMENTS, **body)
    again = world.admin.send(200, "POST", PAYMENTS, body)
    assert again == first
    assert world.admin.send(200, "POST", PAYMENTS, {**body, "amount": "900"})["id"] == first["id"]
    mixed = world.admin.send(201, "POST", PAYMENTS, [body, body, payment(invoice, "5")])
    assert [row["id"] == first["id"] for row in mixed] == [True, True, False]
    other = opened(world)
    assert world.admin.make(PAYMENTS, **payment(other, "1", idempotency_key="k-1"))["id"] != first["id"]
    race = payment(other, "2", idempotency_key="k-2")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: world.admin.client.post(f"/{PAYMENTS}", json=race), range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
    assert len({answer.json()["data"]["id"] for answer in answers}) == 1


def test_a_payment_pays_the_invoice_off(world: World) -> None:
    """BILL-T3: amount_paid moves with each payment; nothing due = paid; a refund takes it back."""
    invoice = opened(world)
    part = settle(world, invoice, "40")
    assert part["processed_at"] is not None
    left = world.admin.get(INVOICES, invoice["id"])
    assert (left["amount_paid"], left["amount_due"], left["status"]) == ("40.0000", "60.0000", "open")
    settle(world, invoice, "60")
    paid = world.admin.get(INVOICES, invoice["id"])
    assert (paid["amount_due"], paid["status"]) == ("0.0000", "paid") and paid["paid_at"] is not None
    settle(world, invoice, "15", kind="refund", parent_id=part["id"])
    assert world.admin.get(INVOICES, invoice["id"])["amount_paid"] == "85.0000"


def test_what_was_due_is_paid_once(world: World) -> None:
    """BILL-T3: of two pending payments over all that is due, the second cannot succeed any more."""
    invoice = opened(world)
    first, second = (world.admin.make(PAYMENTS, **payment(invoice, "100")) for _ in range(2))
    world.admin.move(PAYMENTS, first["id"], "succeeded")
    world.admin.stays("409:overpayment", PAYMENTS, second["id"], "succeeded")
    assert world.admin.get(INVOICES, invoice["id"])["amount_paid"] == "100.0000"
    assert world.admin.move(PAYMENTS, second["id"], "failed")["failure_code"] is None


@pytest.mark.parametrize("gapless", [True, False])
def test_a_platform_sequence_only_counts_up(world: World, gapless: bool) -> None:
    """CNFG-N1: next_value may only grow; on a gapless sequence in use it stays."""
    row = world.admin.make(SEQUENCES, code=world.name("SEQ").upper(), prefix="X", gapless=gapless)
    assert world.admin.change(SEQUENCES, row["id"], next_value="7")["next_value"] == "7"
    world.admin.expect_refusal("409:sequence_in_use", "PATCH", f"{SEQUENCES}/{row['id']}", {"next_value": "6"})


def test_a_gapless_sequence_in_use_stays(world: World) -> None:
    """CNFG-N1: the counter of invoices does not move by hand."""
    opened(world)
    [row] = world.admin.list(SEQUENCES, "filter[code]=INV")
    world.admin.expect_refusal("409:sequence_in_use", "PATCH", f"{SEQUENCES}/{row['id']}", {"next_value": "900000"})
