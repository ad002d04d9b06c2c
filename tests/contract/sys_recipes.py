"""Valid rows of a tenant's foundation."""

from __future__ import annotations

from engine.testing.rows import Body, Recipe, RowMaker
from engine.testing.values import NUMBERS

BILLION = 1_000_000_000


def first_of(maker: RowMaker, path: str, query: str = "") -> str:
    """The id of a row that the tenant started with."""
    rows = maker.client(maker.live.resource(path)).get(f"/{path}?{query}").json()["data"]["items"]
    return str(rows[0]["id"])


def administrators(maker: RowMaker) -> str:
    """A role that the usual caller holds."""
    return first_of(maker, "tenants/sys/roles", "filter[code]=ADMIN")


def narrow_band(_maker: RowMaker) -> Body:
    """Amounts that no other rule holds, and no document of another test reaches."""
    low = BILLION + 10 * next(NUMBERS)
    return {"min_amount": str(low), "max_amount": str(low + 5)}


def own_profile(maker: RowMaker) -> str:
    """A row that files are attached to."""
    return first_of(maker, "tenants/sys/users")


SYS_RECIPES = {
    "tenants/sys/roles": Recipe(values={"permissions": ["crm.customers.read"]}),
    "tenants/sys/settings": Recipe(values={"value": "a word", "value_type": "string"}),
    "tenants/sys/approval-rules": Recipe(values=narrow_band),
    "tenants/sys/approval-requests": Recipe(values={"approver_role_id": administrators}),
    "tenants/sys/attachments": Recipe(
        values={"owner_type": "sys.users", "owner_id": own_profile, "content_type": "text/plain"}
    ),
}
