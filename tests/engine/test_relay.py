"""Events after commit, and the seals of both change logs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest

from engine import delivery
from engine.main import System
from engine.testing.harness import Live, served, serving, settings_for_tests
from engine.types import Principal
from tests.calls import Caller, soon
from tests.engine import post

PARCELS, SLIPS = "post/post/parcels", "post/post/slips"
CUSTOMERS = "tenants/crm/customers"


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server of its own with the post office's subscribers."""
    with serving(settings_for_tests(tmp_path_factory.mktemp("office")), ["registry", "tests.engine.post"]) as running:
        yield running


@pytest.fixture(scope="module")
def clerk(office: Live) -> Caller:
    """Somebody who may everything at the post office."""
    return Caller(office.lend(Principal(None, everything=True)))


def told(subscriber: str, key: str) -> list[str]:
    """What a subscriber was told of a row, as `name` of the event."""
    return [event.name for event in post.HEARD[subscriber] if str(event.key) == key]


def versions(subscriber: str, key: str) -> list[int]:
    """The versions of a row in the order in which a subscriber was told of them."""
    return [event.changes["version"][1] for event in post.HEARD[subscriber] if str(event.key) == key]


def test_each_write_is_told_once_it_is_done(office: Live, clerk: Caller) -> None:
    """G18: created, updated, deleted, and the state that a change led to, within a second."""
    parcel = clerk.make(PARCELS, code="A-1")
    began = time.monotonic()
    soon(lambda: told("steady", parcel["id"]))
    assert time.monotonic() - began < 1.0
    clerk.change(PARCELS, parcel["id"], weight=2)
    clerk.move(PARCELS, parcel["id"], "sent")
    clerk.drop(PARCELS, parcel["id"])
    wanted = [f"post.parcels.{word}" for word in ("created", "updated", "updated", "sent", "deleted")]
    soon(lambda: told("steady", parcel["id"])[4:])
    assert told("steady", parcel["id"]) == wanted
    event = next(event for event in post.HEARD["steady"] if str(event.key) == parcel["id"])
    assert (event.scope, event.entity, event.tenant_id, event.depth) == ("post", "post.parcels", None, 0)
    assert event.changes["weight"] == [None, 1]
    ids = [event.id for event in post.HEARD["steady"]]
    assert len(ids) == len(set(ids))
    [record] = office.run_sql("manager", "select id from audt.audit_logs where id = $1", event.id)
    assert record["id"] == event.id


def test_what_is_rolled_back_is_not_told(clerk: Caller) -> None:
    """G18: after commit only. The second of two rows is refused, so the first never was."""
    before = len(post.HEARD["steady"])
    clerk.expect_refusal("422:too_long", "POST", PARCELS, [{"code": "B-1"}, {"code": "B" * 99}])
    last = clerk.make(PARCELS, code="B-2")
    soon(lambda: told("steady", last["id"]))
    assert [str(event.key) for event in post.HEARD["steady"][before:]] == [last["id"]]


def test_who_failed_twice_is_told_again_in_order(clerk: Caller) -> None:
    """What he wrote is undone, the other subscriber and other rows go on, later events of the row wait."""
    post.FAIL["twice"] = 2
    bad = clerk.make(PARCELS, code="C-1", note="twice")
    clerk.change(PARCELS, bad["id"], weight=5)
    good = clerk.make(PARCELS, code="C-2")
    soon(lambda: told("shaky", good["id"]))
    soon(lambda: versions("shaky", bad["id"])[1:])
    assert versions("shaky", bad["id"]) == [1, 2]
    assert post.FAIL["twice"] == 0
    assert versions("steady", bad["id"]) == [1, 2]  # once each: he is not told again because another failed
    events = {str(event.id) for event in post.HEARD["shaky"] if str(event.key) == bad["id"]}
    soon(lambda: len(slips(clerk, events)) == 2)
    assert Counter(slip["event_id"] for slip in slips(clerk, events)).most_common(1)[0][1] == 1


def slips(clerk: Caller, events: set[str]) -> list[dict[str, Any]]:
    """The slips of these events."""
    return [slip for slip in clerk.list(SLIPS, "sort=-created_at") if slip["event_id"] in events]


def test_an_event_that_always_fails_is_given_up_alone(office: Live, clerk: Caller) -> None:
    """After five tries it is skipped for that subscriber; the row's next events come, and the log is sealed."""
    post.FAIL["never"] = 10**6
    bad = clerk.make(PARCELS, code="D-1", note="never")
    clerk.change(PARCELS, bad["id"], note="again")
    soon(lambda: told("shaky", bad["id"]), 20)
    assert 10**6 - post.FAIL["never"] in (5, 6)  # five times alone, and once before that when others came along
    assert told("shaky", bad["id"]) == ["post.parcels.updated"]
    assert told("steady", bad["id"]) == ["post.parcels.created", "post.parcels.updated"]
    soon(lambda: not unsealed(office))


def test_a_handler_that_hangs_is_cut_off(clerk: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time, in the middle of a statement; then it is asked again, and its transaction is none the worse."""
    monkeypatch.setattr(delivery, "PATIENCE", 0.4)
    post.HANG["hang"] = 2
    parcel = clerk.make(PARCELS, code="H-1", note="hang")
    other = clerk.make(PARCELS, code="H-2")
    soon(lambda: told("shaky", other["id"]))
    soon(lambda: told("shaky", parcel["id"]), 10)
    assert post.HANG["hang"] == 0
    [event] = [event for event in post.HEARD["shaky"] if str(event.key) == parcel["id"]]
    soon(lambda: slips(clerk, {str(event.id)}))
    assert len(slips(clerk, {str(event.id)})) == 1


def unsealed(office: Live) -> int:
    """How many records of the platform's log have no seal."""
    return int(office.run_sql("manager", "select count(*) as n from audt.audit_logs where seq is null")[0]["n"])


def test_the_order_of_a_row_with_twenty_writers(clerk: Caller) -> None:
    """Versions ascend without a gap, though log ids are made before the row is locked."""
    parcel = clerk.make(PARCELS, code="E-1")
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda n: clerk.change(PARCELS, parcel["id"], weight=n + 2), range(200)))
    for subscriber in ("steady", "shaky"):
        soon(lambda who=subscriber: len(versions(who, parcel["id"])) >= 201, 20)
        assert versions(subscriber, parcel["id"]) == list(range(1, 202))


def test_what_subscribers_write_is_deeper(office: Live, clerk: Caller) -> None:
    """The request id of what a handler wrote leads back to its event, and counts the handlers in between."""
    parcel = clerk.make(PARCELS, code="F-1")
    [event] = soon(lambda: [e for e in post.HEARD["shaky"] if str(e.key) == parcel["id"]])
    soon(lambda: slips(clerk, {str(event.id)}))
    [record] = office.run_sql(
        "manager",
        "select request_id, actor_id from audt.audit_logs where entity = 'slips' and changes -> 'event_id' ->> 1 = $1",
        str(event.id),
    )
    assert record["actor_id"] is None
    assert record["request_id"].startswith("~1~")


def test_events_of_tenants(office: Live) -> None:
    """Each tenant's log is relayed and sealed, with the tenant in the event."""
    for client in (office.client("tenants"), office.other_tenant()):
        key, tenant = Caller(client).make(CUSTOMERS, name="Relayed")["id"], office.tenant(client)
        [event] = soon(lambda key=key: [event for event in post.HEARD["tenants"] if str(event.key) == key])
        assert (event.name, event.scope, event.tenant_id) == ("crm.customers.created", "tenants", tenant)
        soon(lambda key=key, tenant=tenant: seal_of(office, key, tenant))


def seal_of(office: Live, key: str, tenant: UUID) -> str | None:
    """The seal of a row's only record."""
    [row] = office.run_sql("tenants", "select seal from sys.audit_logs where entity_id = $1", UUID(key), tenant=tenant)
    return row["seal"]  # type: ignore[no-any-return]


def test_what_another_process_writes_is_heard(office: Live) -> None:
    """One relays; the others tell it, well before it would look for itself."""
    system = System(office.system.settings)
    system.server = office.system.server
    system.locate()
    with served(system) as beside:
        time.sleep(0.5)  # the newcomer's first look at every tenant is over
        for number in range(3):
            key = Caller(beside.client("tenants")).make(CUSTOMERS, name=f"Elsewhere {number}")["id"]
            began = time.monotonic()
            soon(lambda key=key: [event for event in post.HEARD["tenants"] if str(event.key) == key])
            assert time.monotonic() - began < 2.0
            time.sleep(0.3)
