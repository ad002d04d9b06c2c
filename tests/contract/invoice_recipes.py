"""Valid rows of the sub-ledgers: invoices that can be posted, payments, and what they settle."""

from __future__ import annotations

from datetime import date
from typing import Any

from engine.testing.rows import Body, Recipe, RowMaker
from tests.contract.ledger_recipes import listed

FAR = "2999-12-31"
# prices and quantities whose product fits its column
PLAIN: Body = {"qty": "2", "unit_price": "10.5", "discount_pct": "0", "tax_code_id": None}


def role(maker: RowMaker, name: str) -> str:
    """The account that plays a role."""
    return str(listed(maker, "tenants/fim/accounts", f"filter[system_role]={name}")[0]["id"])


def bank(maker: RowMaker) -> str:
    """The account that money moves on."""
    return role(maker, "bank")


def revenue(maker: RowMaker) -> str:
    """The account of what is sold."""
    return role(maker, "revenue")


def expense(maker: RowMaker) -> str:
    """The account of what is bought."""
    return role(maker, "expense")


def sold(maker: RowMaker) -> list[Any]:
    """Lines of a sales invoice."""
    return [{**PLAIN, "account_id": revenue(maker)}]


def bought(maker: RowMaker) -> list[Any]:
    """Lines of a supplier invoice."""
    return [{**PLAIN, "account_id": expense(maker)}]


def today(_maker: RowMaker) -> str:
    """A day in an open period."""
    return date.today().isoformat()


def customer(maker: RowMaker) -> str:
    """Somebody who buys."""
    return str(maker.make(maker.live.resource("tenants/crm/customers"))["id"])


NO_ORDER: Body = {"currency": "USD", "invoice_date": today, "due_date": FAR}


def settling(maker: RowMaker) -> Body:
    """A draft payment of a posted invoice to the same customer."""
    invoices = maker.live.resource("tenants/apm/sales-invoices")
    invoice = maker.make(invoices)
    answer = maker.client(invoices).patch(f"/{invoices.path}/{invoice['id']}/status", json={"status": "posted"})
    assert answer.status_code == 200, answer.text
    payments = maker.live.resource("tenants/apm/payments")
    payment = maker.make(payments, customer_id=invoice["customer_id"])
    ids = {"payment_id": payment["id"], "sales_invoice_id": invoice["id"], "purchase_invoice_id": None}
    return {**ids, "amount": "1"}


INVOICE_RECIPES = {
    "tenants/apm/sales-invoices": Recipe(
        values={**NO_ORDER, "sales_order_id": None, "kind": "invoice", "original_invoice_id": None, "lines": sold}
    ),
    "tenants/apm/sales-invoice-lines": Recipe(
        values={**PLAIN, "account_id": revenue, "sales_order_line_id": None, "variant_id": None}
    ),
    "tenants/apm/purchase-invoices": Recipe(values={**NO_ORDER, "purchase_order_id": None, "lines": bought}),
    "tenants/apm/purchase-invoice-lines": Recipe(
        values={**PLAIN, "account_id": expense, "purchase_order_line_id": None, "asset_category_id": None}
    ),
    "tenants/apm/payments": Recipe(
        values={
            **{"direction": "in", "customer_id": customer, "supplier_id": None, "account_id": bank},
            **{"currency": "USD", "payment_date": today, "amount": "10.5"},
        }
    ),
    "tenants/apm/payment-allocations": Recipe(values=settling),
}
