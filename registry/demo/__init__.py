"""Rows to try things with: every entity of the demo tenant and of the platform around it has some."""

from __future__ import annotations

from engine.hooks import Moment
from registry.demo.apm import demo_apm
from registry.demo.audt import demo_audt
from registry.demo.auto import demo_auto
from registry.demo.fim import demo_fim
from registry.demo.notices import demo_notices
from registry.demo.pim import demo_pim
from registry.demo.platform import demo_billing, demo_customers, demo_people
from registry.demo.sys import demo_sys
from registry.manager.bill import Plan
from registry.manager.tnnt import Tenant


async def demo_rows(manager: Moment, tenant: Moment) -> None:
    """Make the rows once; `tenant` is bound to the demo tenant, `manager` is the engine itself."""
    if await manager.list("bill.plans", Plan.__table__.c.code == "TEAM", limit=1):
        return
    [home] = await manager.list("tnnt.tenants", Tenant.__table__.c.slug == "demo", limit=1)
    for about_tenant in (demo_people, demo_billing, demo_notices, demo_audt):
        await about_tenant(manager, home)
    await demo_auto(manager)
    # each stands on those before it: invoices need customers, accounts and products
    for inside in (demo_customers, demo_fim, demo_pim, demo_apm, demo_sys):
        await inside(tenant)
