"""Invoices and payments as tests and stories write them, in books of their own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

from tests.books import ACCOUNTS, ENTRIES, RATES, TAXES, Books
from tests.calls import Body, Caller

CUSTOMERS = "tenants/crm/customers"
SALES, SALES_LINES = "tenants/apm/sales-invoices", "tenants/apm/sales-invoice-lines"
PURCHASES, PURCHASE_LINES = "tenants/apm/purchase-invoices", "tenants/apm/purchase-invoice-lines"
PAYMENTS, ALLOCATIONS = "tenants/apm/payments", "tenants/apm/payment-allocations"
TOTALS = ("subtotal", "tax_total", "total", "base_total")
STANDING = ("amount_paid", "amount_credited", "amount_due", "status")


def shown(row: Body, *names: str) -> list[Any]:
    """Some fields of a row; amounts without the places that are zero in all of these tests."""
    return [
        row[name].removesuffix("00") if isinstance(row[name], str) and "." in row[name] else row[name] for name in names
    ]


@dataclass
class Desk:
    """Somebody who writes invoices. Amounts are net of VAT10, a tax code of 10 %."""

    books: Books
    customer: Body = field(init=False)
    vat: Body = field(init=False)
    income: Body = field(init=False)

    def __post_init__(self) -> None:
        self.customer = self.caller.make(CUSTOMERS, name="North Ltd")
        self.vat = self.caller.make(TAXES, code="VAT10", name="VAT", rate="10", valid_from="2026-01-01")
        self.income = self.books.roles["revenue"]

    @property
    def caller(self) -> Caller:
        """Who may do everything."""
        return self.books.caller

    def line(self, price: str, qty: str = "1", **values: Any) -> Body:
        """A line on the revenue account with VAT10."""
        usual = {"account_id": self.income["id"], "tax_code_id": self.vat["id"]}
        return {**usual, "qty": qty, "unit_price": price, **values}

    def draft(self, *lines: Body, **values: Any) -> Body:
        """A draft sales invoice."""
        usual = {"customer_id": self.customer["id"], "invoice_date": "2026-06-10"}
        return self.caller.make(SALES, **{**usual, "lines": list(lines), **values})

    def sale(self, price: str = "100", **values: Any) -> Body:
        """A posted sales invoice over one line."""
        return self.caller.move(SALES, self.draft(self.line(price), **values)["id"], "posted")

    def note(self, original: Body, price: str, **values: Any) -> Body:
        """A draft credit note."""
        return self.draft(self.line(price), kind="credit_note", original_invoice_id=original["id"], **values)

    def bill(self, *lines: Body, **values: Any) -> Body:
        """A draft supplier invoice."""
        usual = {"supplier_id": str(uuid4()), "supplier_invoice_no": "R-1", "invoice_date": "2026-06-10"}
        return self.caller.make(PURCHASES, **{**usual, "lines": list(lines), **values})

    def cost(self, price: str, qty: str = "1", **values: Any) -> Body:
        """A line on the expense account with VAT10."""
        return self.line(price, qty, account_id=self.books.roles["expense"]["id"], **values)

    def purchase(self, price: str = "100", **values: Any) -> Body:
        """A posted supplier invoice over one line."""
        return self.caller.move(PURCHASES, self.bill(self.cost(price), **values)["id"], "posted")

    def payment(self, amount: str, **values: Any) -> Body:
        """A draft payment, from the customer unless said otherwise, on the bank account."""
        party = {} if "supplier_id" in values else {"customer_id": self.customer["id"]}
        usual = {"direction": "in", "payment_date": "2026-06-12", "account_id": self.books.roles["bank"]["id"], **party}
        return self.caller.make(PAYMENTS, **{**usual, "amount": amount, **values})

    def paid(self, amount: str, **values: Any) -> Body:
        """A posted payment."""
        return self.caller.move(PAYMENTS, self.payment(amount, **values)["id"], "posted")

    def allocate(self, payment: Body, invoice: Body, amount: str) -> Body:
        """An allocation."""
        return self.caller.make(ALLOCATIONS, **allocation(payment, invoice, amount))

    def refused(self, expected: str, payment: Body, invoice: Body, amount: str) -> None:
        """An allocation is not made."""
        self.caller.expect_refusal(expected, "POST", ALLOCATIONS, allocation(payment, invoice, amount))

    def standing(self, invoice: Body) -> list[Any]:
        """Paid, credited, due and state of a sales invoice as it stands now."""
        return shown(self.caller.get(SALES, invoice["id"]), *STANDING)

    def entry(self, row: Body) -> dict[str, str]:
        """Code of the account -> debit less credit, of the journal entry of a document."""
        entry = self.caller.get(ENTRIES, row["journal_entry_id"])
        assert entry["status"] in ("posted", "reversed")
        codes = {account["id"]: account["system_role"] or account["code"] for account in self.caller.list(ACCOUNTS)}
        return {
            codes[line["account_id"]]: line["debit"][:-2] if float(line["debit"]) else f"-{line['credit'][:-2]}"
            for line in entry["lines"]
        }

    def rate(self, rate: str, on: str = "2026-01-01") -> None:
        """So many USD for one EUR from this day on."""
        codes = {row["code"] for row in self.caller.list("tenants/fim/currencies")}
        if "EUR" not in codes:
            self.caller.make("tenants/fim/currencies", code="EUR", name="Euro")
        self.caller.make(RATES, from_currency="EUR", to_currency="USD", rate_date=on, rate=rate)


def allocation(payment: Body, invoice: Body, amount: str) -> Body:
    """The body of an allocation."""
    column = "sales_invoice_id" if "customer_id" in invoice else "purchase_invoice_id"
    return {"payment_id": payment["id"], column: invoice["id"], "amount": amount}


@pytest.fixture
def desk(books: Books) -> Desk:
    """A desk in books nobody has written in."""
    return Desk(books)
