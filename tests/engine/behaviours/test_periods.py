"""Exclusion periods and null-equal unique keys, over HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from engine.testing.harness import Live
from tests.calls import Body, Caller

PRICES, NOTES = "desk/desk/prices", "desk/desk/notes"


def price(code: str, start: str, end: str | None, region: str | None = None) -> Body:
    return {"code": code, "amount": "1", "valid_from": start, "valid_until": end, "region": region}


def test_days_of_equal_rows_do_not_overlap(admin: Caller) -> None:
    admin.make(PRICES, **price("A", "2026-01-01", "2026-01-31"))
    error = admin.expect_refusal("409:overlapping_period", "POST", PRICES, price("A", "2026-01-31", None))
    assert {fault["field"] for fault in error["details"]} == {"code", "region", "valid_from", "valid_until"}
    admin.make(PRICES, **price("A", "2026-02-01", None))
    # an open end reaches to all later days; another code, or a region, is another row
    admin.expect_refusal("409:overlapping_period", "POST", PRICES, price("A", "2030-01-01", "2030-01-02"))
    admin.make(PRICES, **price("B", "2026-01-01", None))
    eastern = admin.make(PRICES, **price("A", "2026-01-01", None, "east"))
    both = [price("C", "2026-01-01", "2026-01-05"), price("C", "2026-01-05", "2026-01-09")]
    admin.expect_refusal("409:overlapping_period", "POST", PRICES, both)
    admin.expect_refusal("409:overlapping_period", "PATCH", f"{PRICES}/{eastern['id']}", {"region": None})


def test_a_deleted_row_frees_its_days_and_takes_them_back(admin: Caller) -> None:
    first = admin.make(PRICES, **price("D", "2026-01-01", None))
    admin.drop(PRICES, first["id"])
    second = admin.make(PRICES, **price("D", "2026-06-01", None))
    admin.stays("409:overlapping_period", PRICES, first["id"], "active")
    admin.drop(PRICES, second["id"])
    assert admin.move(PRICES, first["id"], "active")["is_active"] is True


def test_of_many_at_once_one_gets_the_days(desk: Live, admin: Caller) -> None:
    body = price("RACE", "2026-01-01", None)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: admin.client.post(f"/{PRICES}", json=body).status_code, range(16)))
    assert sorted(answers) == [201, *[409] * 15]


def test_two_nulls_are_equal_where_the_key_says_so(admin: Caller) -> None:
    admin.make(NOTES, text="one")
    admin.expect_refusal("409:duplicate", "POST", NOTES, {"text": "two"})
    admin.make(NOTES, text="three", tag="x")
