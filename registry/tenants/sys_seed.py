"""What a new tenant starts with: roles, number sequences, settings, and its ledger. What is there already stays."""

from __future__ import annotations

from uuid import UUID

from engine.hooks import Moment, Row
from registry.tenants.fim_seed import seed_ledger
from registry.tenants.roles import ADMINISTRATOR, SYSTEM_ROLES, system_permissions
from registry.tenants.sys import NumberSequence, Role, Setting, User, UserRole

# numbers of sales credit notes, which are counted beside those of the invoices
CREDIT_NOTES = "SCN"
GAPLESS = ("JE", "SI", CREDIT_NOTES, "PI", "PMT")
PREFIXES = (
    *("CUS", "OPP", "QT", "SO", "DN", "SUP", "PR", "PO", "GR", "SC", "TR", "EMP", "CTR", "LR", "PAY", "PS"),
    *GAPLESS,
    *("FA", "AT", "AD", "SVC", "ST", "RMA"),
)


async def seed_tenant(moment: Moment, currency: str) -> None:
    """Everything that a tenant needs before the first person comes. `moment` is bound to it."""
    await seed_roles(moment)
    await _seed_sequences(moment)
    if not await moment.list("sys.settings", Setting.__table__.c.key == "base_currency", limit=1):
        row = {"key": "base_currency", "value": currency, "value_type": "string"}
        await moment.create("sys.settings", [row])
    await seed_ledger(moment, currency)


async def seed_roles(moment: Moment) -> None:
    """The system roles that the tenant does not have yet."""
    known = moment.permissions(of_tenants=True)
    stored = await moment.list("sys.roles", Role.__table__.c.code.in_(SYSTEM_ROLES))
    missing = SYSTEM_ROLES.keys() - {row["code"] for row in stored}
    made = [
        {"code": code, "name": name, "permissions": sorted(system_permissions(code, known)), "is_system": True}
        for code, (name, _) in SYSTEM_ROLES.items()
        if code in missing
    ]
    await moment.create("sys.roles", made)


async def _seed_sequences(moment: Moment) -> None:
    stored = await moment.list("sys.number-sequences", NumberSequence.__table__.c.code.in_(PREFIXES))
    known = {row["code"] for row in stored}
    missing = [prefix for prefix in PREFIXES if prefix not in known]
    rows = [{"code": prefix, "prefix": prefix, "gapless": prefix in GAPLESS} for prefix in missing]
    await moment.create("sys.number-sequences", rows)


async def make_administrator(moment: Moment, identity_id: UUID) -> None:
    """Give a local user the role ADMIN, unless he has it."""
    users, roles = User.__table__.c, Role.__table__.c
    [user] = await moment.list("sys.users", users.identity_id == identity_id, limit=1)
    [role] = await moment.list("sys.roles", roles.code == ADMINISTRATOR, limit=1)
    grant: Row = {"user_id": user["id"], "role_id": role["id"]}
    grants = UserRole.__table__.c
    if not await moment.list("sys.user-roles", *(grants[name] == value for name, value in grant.items()), limit=1):
        await moment.create("sys.user-roles", [{**grant, "valid_from": moment.today}])
