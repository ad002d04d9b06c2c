"""The change log of a row, as its readers see it."""

from __future__ import annotations

from typing import Any

from engine.clock import CLOCK
from engine.testing.harness import PASSWORD, Live
from engine.types import Principal, TenantRef
from tests.calls import Caller

THINGS = "annals/ann/things"
PHONE, OTHER = "+49 30 123456", "+49 30 654321"


def phones(reader: Caller, key: str) -> list[Any]:
    """What the history says of the phone, oldest first."""
    found = reader.list(f"{THINGS}/{key}/history")
    return [record["changes"]["phone"] for record in reversed(found) if "phone" in record["changes"]]


def test_masked_values_are_masked_in_the_log_of_their_row(annals: Live) -> None:
    """Who may not read them learns that they changed, and whether there was one."""
    scope = annals.catalog.scopes[THINGS.split("/")[0]]
    admin = Caller(annals.client(scope.name))
    rights = annals.catalog.permissions[scope.tenant_bound]
    place = TenantRef(annals.tenant(admin.client), "first") if scope.tenant_bound else None
    clerk = Caller(annals.lend(Principal(CLOCK.new_id(), tenant=place, permissions=rights - {"ann.sensitive.read"})))

    row = admin.make(THINGS, name="Radio", phone=PHONE)
    for value in (OTHER, None):
        admin.change(THINGS, row["id"], phone=value)
    assert phones(admin, row["id"]) == [[None, PHONE], [PHONE, OTHER], [OTHER, None]]
    assert phones(clerk, row["id"]) == [[None, "***"], ["***", "***"], ["***", None]]
    names = [record["changes"].get("name") for record in clerk.list(f"{THINGS}/{row['id']}/history")]
    assert [None, "Radio"] in names


def test_hidden_columns_are_in_no_record(live: Live) -> None:
    """Neither their old nor their new value, and no name: the log of the row, unlike the change log itself."""
    admin = Caller(live.client("manager"))
    email = f"{CLOCK.new_id().hex}@people.example"
    user = admin.make("manager/idam/users", email=email, full_name="Some Body", password=PASSWORD)
    admin.change("manager/idam/users", user["id"], password=f"{PASSWORD}-2", full_name="Any Body")
    hidden = {field.name for field in live.catalog.resources["manager/idam/users"].fields.values() if field.hidden}
    records = admin.list(f"manager/idam/users/{user['id']}/history")
    assert {"password_hash"} <= hidden and len(records) >= 2
    assert [name for record in records for name in hidden & record["changes"].keys()] == []
    assert records[0]["changes"]["full_name"] == ["Some Body", "Any Body"]
    logged = admin.list("manager/audt/audit-logs", f"filter[entity_id]={user['id']}")
    assert any("password_hash" in record["changes"] for record in logged)
