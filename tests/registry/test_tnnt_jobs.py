"""Tenants that close, and host names that are looked up in a real (small) DNS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.calls import Body, World
from tests.registry.name_server import Zone, name_server

TENANTS, DOMAINS, SETTINGS = "manager/tnnt/tenants", "manager/tnnt/domains", "manager/cnfg/settings"
CLOSE, VERIFY = "close_tenants", "verify_domains"
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
DAY = timedelta(days=1)
Freeze = Callable[[datetime | None], None]


def run_twice(world: World, freeze: Freeze, name: str, at: datetime) -> Body:
    """The output of a job; run once more for the same time it writes nothing."""
    freeze(at)
    output = world.live.run_job(name, now=at)
    written = _trail(world)
    again = world.live.run_job(name, now=at)
    assert not any(count for key, count in again.items() if key not in ("steps", "failed", "failures")), again
    assert _trail(world) == written
    return output


def _trail(world: World) -> int:
    """How many writes there were so far."""
    return int(world.live.run_sql("manager", "select count(*) from audt.audit_logs")[0]["count"])


def test_a_tenant_closes_on_its_day(world: World, freeze: Freeze) -> None:
    """TNNT-T5: closed on closing_on, not before; from then on nobody gets in (TNNT-T3)."""
    owner = world.user()
    tenant = world.tenant(owner)
    freeze(NOW)
    world.admin.move(TENANTS, tenant["id"], "closing")
    run_twice(world, freeze, CLOSE, NOW + 29 * DAY)
    assert world.admin.get(TENANTS, tenant["id"])["status"] == "closing"
    assert run_twice(world, freeze, CLOSE, NOW + 30 * DAY)["closed"] >= 1
    row = world.admin.get(TENANTS, tenant["id"])
    assert row["status"] == "closed" and datetime.fromisoformat(row["closed_at"]) == NOW + 30 * DAY
    freeze(None)
    with pytest.raises(AssertionError, match="tenant_closed"):
        world.sign_in(owner, tenant)
    world.admin.stays("409:invalid_transition", TENANTS, tenant["id"], "active")


def test_a_legal_hold_keeps_a_tenant(world: World, freeze: Freeze) -> None:
    """TNNT-T5: 409:legal_hold is noted by the job, the others close, and lifting it lets the next run close it."""
    held, other = world.tenant(), world.tenant()
    freeze(NOW)
    for tenant in (held, other):
        world.admin.move(TENANTS, tenant["id"], "closing")
    world.admin.change(TENANTS, held["id"], legal_hold=True)
    output = run_twice(world, freeze, CLOSE, NOW + 31 * DAY)
    codes = {failure["step"]: failure["code"] for failure in output["failures"]}
    assert codes == {f"tenant {held['slug']}": "legal_hold"}
    assert [world.admin.get(TENANTS, row["id"])["status"] for row in (held, other)] == ["closing", "closed"]
    world.admin.change(TENANTS, held["id"], legal_hold=False)
    run_twice(world, freeze, CLOSE, NOW + 32 * DAY)
    assert world.admin.get(TENANTS, held["id"])["status"] == "closed"


def test_who_stays_does_not_close(world: World, freeze: Freeze) -> None:
    """TNNT-T5: closing>active clears the day."""
    tenant = world.tenant()
    freeze(NOW)
    world.admin.move(TENANTS, tenant["id"], "closing", "active")
    run_twice(world, freeze, CLOSE, NOW + 60 * DAY)
    row = world.admin.get(TENANTS, tenant["id"])
    assert (row["status"], row["closing_on"], row["closed_at"]) == ("active", None, None)


@contextmanager
def setting(world: World, key: str, value: Any) -> Iterator[None]:
    """A platform setting for the length of a block."""
    [stored] = world.admin.list(SETTINGS, f"filter[key]={key}&filter[tenant_id][isnull]=true")
    world.admin.change(SETTINGS, stored["id"], value=value)
    yield
    world.admin.change(SETTINGS, stored["id"], value=stored["value"])


@pytest.fixture
def zone(world: World) -> Iterator[Zone]:
    """A name server that the platform asks."""
    with (
        name_server() as zone,
        setting(world, "tnnt.dns_server", "127.0.0.1"),
        setting(world, "tnnt.dns_port", zone.port),
    ):
        yield zone


def make_domain(world: World) -> tuple[Body, str]:
    """A host name, and the name of its TXT record."""
    hostname = f"{world.name('shop')}.example.com"
    row = world.admin.make(DOMAINS, tenant_id=world.tenant()["id"], hostname=hostname)
    return row, f"_cxg-verify.{hostname}"


def test_a_hostname_is_verified_by_its_record(world: World, freeze: Freeze, zone: Zone) -> None:
    """TNNT-D2: the TXT record `_cxg-verify.<hostname>` carries the token, among others and in pieces; then it may be
    primary."""
    freeze(NOW)
    (row, record), (wrong, other) = make_domain(world), make_domain(world)
    world.admin.expect_refusal("409:domain_not_verified", "PATCH", f"{DOMAINS}/{row['id']}", {"is_primary": True})
    token = row["verification_token"]
    zone.texts[record] = ["v=spf1 -all", f'{token[:9]}" "{token[9:]}']
    zone.texts[other] = [f"{wrong['verification_token']}x", token]
    assert run_twice(world, freeze, VERIFY, NOW + timedelta(minutes=10))["verified"] == 1
    row = world.admin.get(DOMAINS, row["id"])
    assert row["status"] == "verified"
    assert datetime.fromisoformat(row["verified_at"]) == NOW + timedelta(minutes=10)
    assert world.admin.change(DOMAINS, row["id"], is_primary=True)["is_primary"]
    wrong = world.admin.get(DOMAINS, wrong["id"])
    assert (wrong["status"], wrong["verified_at"]) == ("pending", None) and other in zone.asked


def test_patience_ends(world: World, freeze: Freeze, zone: Zone) -> None:
    """TNNT-D2: without the record it fails after setting:tnnt.verification_hours; where the name server is out of order it
    waits on."""
    freeze(NOW)
    (gone, _), (unknown, record) = make_domain(world), make_domain(world)
    zone.broken.add(record)
    run_twice(world, freeze, VERIFY, NOW + 3 * DAY - timedelta(seconds=1))
    assert world.admin.get(DOMAINS, gone["id"])["status"] == "pending"
    run_twice(world, freeze, VERIFY, NOW + 3 * DAY)
    assert [world.admin.get(DOMAINS, row["id"])["status"] for row in (gone, unknown)] == ["failed", "pending"]
    world.admin.drop(DOMAINS, unknown["id"])


def test_another_try_looks_at_once(world: World, freeze: Freeze, zone: Zone) -> None:
    """TNNT-D2: failed>pending asks the DNS in the same request; without the record it waits for the job again."""
    freeze(NOW)
    row, record = make_domain(world)
    run_twice(world, freeze, VERIFY, NOW + 4 * DAY)
    assert world.admin.move(DOMAINS, row["id"], "pending")["status"] == "pending"
    run_twice(world, freeze, VERIFY, NOW + 6 * DAY)
    assert world.admin.get(DOMAINS, row["id"])["status"] == "pending"
    run_twice(world, freeze, VERIFY, NOW + 8 * DAY)
    assert world.admin.get(DOMAINS, row["id"])["status"] == "failed"
    zone.texts[record] = [row["verification_token"]]
    again = world.admin.move(DOMAINS, row["id"], "pending")
    assert again["status"] == "verified" and datetime.fromisoformat(again["verified_at"]) == NOW + 8 * DAY
