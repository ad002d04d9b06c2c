"""Invoices and payments to try things with."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

from engine.hooks import Moment, Row
from registry.tenants.apm import SalesInvoice
from registry.tenants.crm import Customer
from registry.tenants.fim import Account, TaxCode
from registry.tenants.rates import base_currency

# the domain of suppliers is not registered yet: their rows are named by keys of this space
SUPPLIERS = UUID("7d1f5f3e-6f0c-4c55-9a2e-3b8f0d6f4a10")


async def demo_apm(tenant: Moment) -> None:
    """A sale that is half paid, a draft, and a supplier's bill with its payment; needs customers and a ledger."""
    if await tenant.list("apm.sales-invoices", SalesInvoice.__table__.c.is_active, limit=1):
        return
    own = Customer.__table__.c.currency == await base_currency(tenant)
    [customer] = await tenant.list("crm.customers", own, limit=1)
    accounts = await tenant.list("fim.accounts", Account.__table__.c.system_role.is_not(None))
    roles = {row["system_role"]: row["id"] for row in accounts}
    taxes = await tenant.list("fim.tax-codes", TaxCode.__table__.c.valid_from <= tenant.today, limit=1)
    tax = taxes[0]["id"] if taxes else None
    await _sales(tenant, customer, roles, tax)
    await _purchase(tenant, roles, tax)


async def _sales(tenant: Moment, customer: Row, roles: dict[str, UUID], tax: UUID | None) -> None:
    heads = await tenant.create("apm.sales-invoices", [{"customer_id": customer["id"]} for _ in range(2)])
    line = {"account_id": roles["revenue"], "tax_code_id": tax, "qty": 2}
    texts: list[dict[str, Any]] = [
        {"description": "Turbine inspection", "unit_price": 450},
        {"description": "Spare parts", "unit_price": 125},
    ]
    lines = [{**line, **text, "sales_invoice_id": head["id"]} for head, text in zip(heads, texts, strict=True)]
    await tenant.create("apm.sales-invoice-lines", lines)
    await tenant.status("apm.sales-invoices", [heads[0]["id"]], "posted")
    money = {"direction": "in", "customer_id": customer["id"], "account_id": roles["bank"], "amount": Decimal(400)}
    await _pay(tenant, money, {"sales_invoice_id": heads[0]["id"]})


async def _purchase(tenant: Moment, roles: dict[str, UUID], tax: UUID | None) -> None:
    supplier = uuid5(SUPPLIERS, "office")
    bill = {"supplier_id": supplier, "supplier_invoice_no": "R-1042", "invoice_date": tenant.today}
    [head] = await tenant.create("apm.purchase-invoices", [bill])
    line = {"purchase_invoice_id": head["id"], "account_id": roles["expense"], "tax_code_id": tax}
    await tenant.create("apm.purchase-invoice-lines", [{**line, "description": "Paper", "qty": 10, "unit_price": 4}])
    await tenant.status("apm.purchase-invoices", [head["id"]], "posted")
    money = {"direction": "out", "supplier_id": supplier, "account_id": roles["bank"], "amount": Decimal(40)}
    await _pay(tenant, {**money, "method": "card"}, {"purchase_invoice_id": head["id"]})


async def _pay(tenant: Moment, money: dict[str, Any], invoice: dict[str, UUID]) -> None:
    """A posted payment that settles part of an invoice."""
    [payment] = await tenant.create("apm.payments", [money])
    part = {"payment_id": payment["id"], "amount": money["amount"], **invoice}
    await tenant.create("apm.payment-allocations", [part])
    await tenant.status("apm.payments", [payment["id"]], "posted")
