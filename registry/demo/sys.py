"""Rows of the tenant's foundation to try things with: an approval rule, a payment that waits for it, a file."""

from __future__ import annotations

from hashlib import sha256

from engine.hooks import Moment
from registry.tenants.crm import Customer
from registry.tenants.fim import Account
from registry.tenants.sys import Role

OFFER = b"Turbine service, 2027"


async def demo_sys(tenant: Moment) -> None:
    """Make the rows once; `tenant` is bound to the demo tenant, which has its customers and its chart of accounts."""
    if await tenant.list("sys.approval-rules", limit=1):
        return
    [managers] = await tenant.list("sys.roles", Role.__table__.c.code == "MANAGER")
    rule = {"name": "Large payments", "document_type": "payment", "min_amount": 10_000}
    await tenant.create("sys.approval-rules", [{**rule, "approver_role_id": managers["id"]}])
    customers = Customer.__table__.c
    [customer] = await tenant.list("crm.customers", customers.currency == "USD", customers.kind == "company", limit=1)
    [bank] = await tenant.list("fim.accounts", Account.__table__.c.system_role == "bank", limit=1)
    money = {"direction": "in", "customer_id": customer["id"], "account_id": bank["id"], "currency": "USD"}
    [payment] = await tenant.create("apm.payments", [{**money, "amount": 12_000}])
    await tenant.status("apm.payments", [payment["id"]], "posted")
    file = {"file_name": "offer.txt", "content_type": "text/plain", "size_bytes": len(OFFER), "label": "Offer"}
    owner = {"owner_type": "crm.customers", "owner_id": customer["id"], "checksum": sha256(OFFER).hexdigest()}
    await tenant.create("sys.attachments", [{**owner, **file}])
