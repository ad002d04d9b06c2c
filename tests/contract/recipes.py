"""What rules of the bundled registry ask of a valid row beside its metadata."""

from __future__ import annotations

from typing import Any

from engine.testing.rows import Body, Recipe, RowMaker
from engine.testing.values import NUMBERS
from tests.contract.audt_recipes import AUDT_RECIPES
from tests.contract.invoice_recipes import INVOICE_RECIPES
from tests.contract.ledger_recipes import LEDGER_RECIPES
from tests.contract.notice_recipes import NOTICE_RECIPES
from tests.contract.sys_recipes import SYS_RECIPES


def moved(maker: RowMaker, path: str, status: str) -> Body:
    """A new row of an entity, led to a state."""
    resource = maker.live.resource(path)
    row = maker.make(resource)
    answer = maker.client(resource).patch(f"/{path}/{row['id']}/status", json={"status": status})
    assert answer.status_code == 200, answer.text
    led: Body = answer.json()["data"]
    return led


def on_offer(maker: RowMaker) -> Body:
    """A plan that tenants may subscribe to, for few enough seats that a price fits its column."""
    return {"plan_id": moved(maker, "manager/bill/plans", "active")["id"], "coupon_id": None, "seats": 3}


def payment(maker: RowMaker) -> Body:
    """A payment of what is due on an open invoice."""
    invoice = moved(maker, "manager/bill/invoices", "open")
    own = {name: invoice[name] for name in ("tenant_id", "currency")}
    return {**own, "invoice_id": invoice["id"], "kind": "payment", "parent_id": None, "amount": "10"}


def plain_line(body: Body) -> None:
    """A line whose amount fits its column and the discounts of its invoice."""
    body.update(kind="one_off", quantity="1", unit_amount="10.5")


def own_key(maker: RowMaker) -> Body:
    """A key of a user who has no other; he holds nothing to pass on."""
    user = maker.make(maker.live.resource("manager/idam/users"))["id"]
    return {"user_id": user, "tenant_id": None, "scopes": [], "allowed_ips": [], "expires_at": None}


def open_tenant(maker: RowMaker) -> str:
    """A tenant in use."""
    return str(moved(maker, "manager/tnnt/tenants", "provisioning")["id"])


def host_name(_maker: RowMaker) -> str:
    """A full host name that no other row has."""
    return f"h{next(NUMBERS)}.example.org"


def sized(maker: RowMaker) -> Body:
    """A second variant of a product of its own, so that it may go."""
    first, second = (str(next(NUMBERS)) for _ in range(2))
    options = [{"size": size} for size in (first, second)]
    products = maker.live.resource("tenants/pim/products")
    product = maker.make(products, variants=[{"sku": f"V{first}", "options": options[0]}])
    return {"product_id": product["id"], "options": options[1], "barcode": None}


def own_list(maker: RowMaker) -> str:
    """A price list without other items."""
    return str(maker.make(maker.live.resource("tenants/pim/price-lists"))["id"])


def own_job(maker: RowMaker) -> str:
    """A schedule without runs."""
    return str(maker.make(maker.live.resource("manager/auto/jobs"))["id"])


NIGHTLY = {"handler": "expire_credentials", "schedule_kind": "cron", "cron": "0 3 * * *"}
START: list[Any] = [{"type": "start_job", "params": {"job": "RUN_DUNNING"}}]
LINES: list[Any] = [{"kind": "one_off", "description": "Setup", "unit_amount": "100"}]

RECIPES = {
    **AUDT_RECIPES,
    **INVOICE_RECIPES,
    **LEDGER_RECIPES,
    **NOTICE_RECIPES,
    **SYS_RECIPES,
    "manager/auto/jobs": Recipe(values={**NIGHTLY, "interval_seconds": None, "run_at": None}),
    "manager/auto/job-runs": Recipe(values={"job_id": own_job}),
    "manager/auto/workflows": Recipe(values={"conditions": [], "actions": START}),
    "manager/bill/subscriptions": Recipe(values=on_offer, decided=frozenset({"plan_id", "seats"})),
    "manager/bill/invoices": Recipe(
        values={"lines": LINES, "kind": "invoice", "original_invoice_id": None, "subscription_id": None}
    ),
    "manager/bill/invoice-lines": Recipe(fix=plain_line),
    "manager/bill/transactions": Recipe(values=payment),
    "manager/idam/roles": Recipe(values={"permissions": ["bill.plans.read"], "max_assignees": None}),
    "manager/idam/api-keys": Recipe(values=own_key),
    "manager/tnnt/invitations": Recipe(values={"tenant_id": open_tenant}),
    "manager/tnnt/domains": Recipe(values={"hostname": host_name, "is_primary": False}),
    "tenants/pim/categories": Recipe(
        values={
            "attributes": [],
            **dict.fromkeys(f"{kind}_account_id" for kind in ("revenue", "cogs", "inventory", "expense")),
        }
    ),
    "tenants/pim/units": Recipe(values={"is_base": False}),
    "tenants/pim/price-lists": Recipe(values={"is_default": False}),
    "tenants/pim/price-list-items": Recipe(values={"price_list_id": own_list}),
    "tenants/pim/products": Recipe(values={"attributes": {}}),
    "tenants/pim/product-variants": Recipe(values=sized, decided=frozenset({"is_default"})),
    "tenants/crm/contacts": Recipe(decided=frozenset({"is_primary"})),
    "tenants/crm/leads": Recipe(values={"disqualify_reason": "no need"}),
    "tenants/crm/opportunities": Recipe(values={"lost_reason": "price", "contact_id": None}),
}
