"""`as_of` as it is read: which moments are taken, and of which entities."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from engine.clock import CLOCK
from engine.errors import ApiError
from engine.main import load
from engine.past import log_of, read_moment, without_past
from engine.query import read_listing, read_view
from engine.query_body import read_query
from engine.scalars import BadValue
from tests.engine.wares import CATALOG as SHOP
from tests.engine.wares import WARES

_, CATALOG = load(["registry"])
PLANS = CATALOG.find("manager", "bill.plans")
NOW = datetime(2026, 1, 31, 10, 0, 0, 123456, UTC)


@pytest.fixture(autouse=True)
def stopped_clock() -> Iterator[None]:
    CLOCK.at(NOW)
    yield
    CLOCK.at(None)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31T10:00:00.123456Z", NOW),
        ("2026-01-31T12:30:00.123456+02:30", NOW),
        ("2026-01-31t10:00:00z", NOW.replace(microsecond=0)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_moments_that_are_over_are_read_in_utc(text: str, moment: datetime) -> None:
    read = read_moment(CATALOG, PLANS, text)
    assert (read, read.tzinfo) == (moment, UTC)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ((NOW + timedelta(microseconds=1)).isoformat(), "out_of_range"),
        ("9999-12-31T23:59:59.999999Z", "out_of_range"),
        ("2026-01-31T10:00:00", "invalid_format"),
        ("2026-01-31", "invalid_format"),
        ("1700000000", "invalid_format"),
        ("now", "invalid_format"),
        ("", "invalid_format"),
        ("0001-01-01T00:00:00+14:00", "invalid_format"),
        ("9999-12-31T23:59:59-14:00", "invalid_format"),
    ],
)
def test_other_moments_are_refused(text: str, code: str) -> None:
    with pytest.raises(BadValue) as caught:
        read_moment(CATALOG, PLANS, text)
    assert caught.value.code == code


def test_the_query_string_and_the_body_say_it_alike() -> None:
    read = read_query(CATALOG, PLANS, b'{"as_of": "2026-01-31T10:00:00.123456+02:00"}')
    assert read == read_listing(CATALOG, PLANS, b"as_of=2026-01-31T08:00:00.123456Z")
    assert read.as_of == read_view(CATALOG, PLANS, b"as_of=2026-01-31T08:00:00.123456Z").as_of
    assert read.as_of == NOW - timedelta(hours=2)


def test_what_no_log_tells_of_has_no_past() -> None:
    """Without a change log in the scope, and the log itself; the same for what a query looks into."""
    log = CATALOG.roles["manager", "change_log"]
    assert log_of(CATALOG, PLANS) is log and log_of(CATALOG, log) is None and log_of(SHOP, WARES) is None
    for catalog, resource in ((SHOP, WARES), (CATALOG, log)):
        with pytest.raises(ApiError) as caught:
            read_listing(catalog, resource, b"as_of=2026-01-01T00:00:00Z")
        assert [(fault.field, fault.code) for fault in caught.value.details] == [("as_of", "unknown_parameter")]
    assert [(fault.field, fault.code) for fault in without_past(CATALOG, [PLANS.path, log.path])] == [
        ("as_of", "unknown_parameter")
    ]
