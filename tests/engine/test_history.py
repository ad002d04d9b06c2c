"""The change log of a row, as its readers see it."""

from __future__ import annotations

from typing import Any

from engine.clock import CLOCK
from engine.testing.harness import Live
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
