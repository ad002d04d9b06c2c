"""Behaviour of the category tree: paths, attribute definitions along them, ledger accounts."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from engine.hooks import Change, Moment, Point, Row, Rules, refuse
from registry.tenants.attributes import definition_fault
from registry.tenants.category_paths import hold_lines_above, subtrees
from registry.tenants.fim import Account

rules = Rules("tenants/pim")

# column -> type of the accounts that it takes
ACCOUNTS = {
    "revenue_account_id": "income",
    "cogs_account_id": "expense",
    "expense_account_id": "expense",
    "inventory_account_id": "asset",
}


@rules.on("PIM-C1", "categories", Point.BEFORE_CREATE, Point.BEFORE_STATUS, raises="422:bad_attribute")
@rules.on("PIM-C1", "categories", Point.BEFORE_UPDATE, watches="parent_id attributes", raises="422:bad_attribute")
async def place_categories(moment: Moment, changes: list[Change]) -> None:
    """path and depth (a root has 1) follow from the parent; attribute codes are unique from the root to the leaves. A
    category that is restored finds its place anew."""
    staying = [change for change in changes if change["is_active"] is not False]
    lines = await hold_lines_above(moment, {change["parent_id"] for change in staying} - {None})
    below = await subtrees(moment, {change.key for change in staying if change.old is not None})
    for change in staying:
        line = lines.get(change["parent_id"], [])
        parent = next((row for row in line if row["id"] == change["parent_id"]), None)
        change.values.update(_place(parent, change["code"]))
        _check_definitions(change, line, below.get(change.key, []))


def _place(parent: Row | None, code: str) -> dict[str, str | int]:
    if parent is None:
        return {"path": code, "depth": 1}
    return {"path": f"{parent['path']}/{code}", "depth": parent["depth"] + 1}


def _check_definitions(change: Change, above: Sequence[Row], below: Sequence[Row]) -> None:
    over, under = ({item["code"] for row in rows for item in row["attributes"]} for rows in (above, below))
    met: set[str] = set()
    for index, definition in enumerate(change["attributes"]):
        code, fault = definition["code"], definition_fault(definition)
        if fault is None and code in over | under | met:
            fault = f"{code!r} is defined already in this line of categories"
        if fault is not None:
            raise refuse(change, f"attributes[{index}]", "bad_attribute", fault)
        met.add(code)
    if twice := over & under:
        raise refuse(change, "parent_id", "bad_attribute", f"Both lines define {', '.join(sorted(twice))}")


@rules.on("PIM-C1", "categories", Point.AFTER_UPDATE, watches="parent_id")
async def move_subtrees(moment: Moment, changes: list[Change]) -> None:
    """What lies below a category that moved moves along."""
    places: dict[UUID, Row] = {change.key: change.values for change in changes if change.changes("path")}
    below = [row for rows in (await subtrees(moment, set(places))).values() for row in rows]
    for row in below:  # a parent comes before its children
        places[row["id"]] = {"id": row["id"], **_place(places[row["parent_id"]], row["code"])}
    if below:
        await moment.update("pim.categories", [places[row["id"]] for row in below])


@rules.on(
    "PIM-C1",
    "categories",
    *(Point.BEFORE_CREATE, Point.BEFORE_UPDATE),
    watches=" ".join(ACCOUNTS),
    raises="422:account_type",
)
async def check_accounts(moment: Moment, changes: list[Change]) -> None:
    """Accounts are leaves of the type that their column is for."""
    keys = {change[name] for change in changes for name in ACCOUNTS if change.changes(name)} - {None}
    rows = await moment.list("fim.accounts", Account.__table__.c.id.in_(keys), limit=len(keys)) if keys else []
    known = {row["id"]: row for row in rows}
    for change in changes:
        for name, kind in ACCOUNTS.items():
            account = known.get(change[name])  # one that is not there is refused as a reference
            if account is not None and (account["type"] != kind or account["is_group"]):
                raise refuse(change, name, "account_type", f"This takes an {kind} account that is no group")
