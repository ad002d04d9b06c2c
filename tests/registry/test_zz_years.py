from datetime import UTC, datetime
from tests.calls import *
def test_years(world, freeze):
    t = world.tenant()["id"]
    for y in (2027, 2026, 2027):
        freeze(datetime(y, 5, 5, tzinfo=UTC))
        for _ in range(2):
            row = world.admin.make("manager/bill/invoices", tenant_id=t, currency="USD", lines=[{"kind":"one_off","description":"x","unit_amount":"1"}])
            a = world.admin.client.patch(f"/manager/bill/invoices/{row['id']}/status", json={"status":"open"})
            print(y, a.status_code, a.text[:120] if a.status_code!=200 else a.json()["data"]["number"])
    # bulk users with passwords
