"""Envelopes: what PostgreSQL rendered is passed on, never decoded."""

from __future__ import annotations

import json
from decimal import Decimal
from uuid import UUID

import pytest

from engine.encode import ESTIMATED, Answer, bare, etag, page, row_text, rows_text, success, success_of
from engine.shapes import Listing


def test_the_envelope_of_a_success() -> None:
    answer = success('{"a":1.10}', 201, (etag(7),))
    assert answer.body == b'{"success":true,"data":{"a":1.10},"error":null}'
    assert answer == Answer(201, ((b"content-type", b"application/json"), (b"etag", b'"7"')), answer.body)


def test_values_are_rendered_as_the_contract_says() -> None:
    value = {"total": Decimal("1.50"), "id": UUID(int=1), "raw": b"abc"}
    assert json.loads(success_of(value).body)["data"] == {"total": "1.50", "id": str(UUID(int=1)), "raw": "YWJj"}


def test_what_is_shown_once_joins_the_row() -> None:
    assert row_text('{"a":1.10}', {}) == '{"a":1.10}'
    assert json.loads(row_text('{"a":1}', {"token": "t"})) == {"a": 1, "token": "t"}
    assert rows_text(["{}", "{}"]) == "[{},{}]" and rows_text([]) == "[]"


@pytest.mark.parametrize(
    ("items", "total", "expected"),
    [
        (b'{"a":1},{"a":2}', 12, {"page": 2, "page_size": 5, "total": 12, "total_pages": 3, "next_cursor": None}),
        (None, 0, {"page": 2, "page_size": 5, "total": 0, "total_pages": 0, "next_cursor": None}),
        (None, None, {"page": 2, "page_size": 5, "total": None, "total_pages": None, "next_cursor": None}),
    ],
)
def test_a_page(items: bytes | None, total: int | None, expected: dict[str, object]) -> None:
    data = json.loads(page(items, Listing(page=2, page_size=5), total).body)["data"]
    assert data == {"items": json.loads(b"[%b]" % (items or b"")), **expected}


def test_an_estimate_is_called_one() -> None:
    assert json.loads(page(None, Listing(), 20_000, more=(ESTIMATED,)).body)["data"]["total_is_estimate"] is True


def test_bare_answers_have_no_envelope() -> None:
    assert bare({"keys": []}, 400, ((b"cache-control", b"no-store"),)).body == b'{"keys":[]}'
