"""What one tenant exports another imports: the same rows, whatever the column type and the format."""

from __future__ import annotations

from typing import Any

import pytest

from engine.formats import FORMATS
from tests.engine.exchange.conftest import Trader

OWN = {"id", "tenant_id", "created_at", "updated_at", "created_by", "updated_by"}
FULL = {
    "title": 'a "quoted", title\r\nin two lines',
    "code": "A-1",
    "kind": "used",
    "amount": -2147483648,
    "small": 100,
    "big": "-9223372036854775808",
    "price": "123456789012345.6789",
    "share": "12.3400",
    "exact": "5.00",
    "ratio": 0.1 + 0.2,
    "ready": True,
    "born": "2024-02-29",
    "at": "2024-02-29T12:34:56.123456+00:00",
    "hour": "23:59:59.999999",
    "note": "=1+1; ä\u2028€😀\ttab, 'apostrophe",
    "email": "ann@example.com",
    "phone": "+4930123456",
    "tags": ["a,b", 'c"d', "=1", ""],
    "data": {"b": [1, 2.5, None, "x\ny"], "a": {"deep": True}, "big": 12345678901234567890},
    "address": {"line1": "Hauptstraße 1", "city": "Köln", "country": "DE"},
    "raw": "AAECAwT/",
    "words": ["x", "y z", 'q"'],
    "key": "01890a5d-ac96-774b-bcce-b302099a8057",
    "pin": "-123",
}
ROWS: list[dict[str, Any]] = [
    FULL,
    {"title": "nothing else"},
    {"title": "@at", "note": "'=kept", "price": "-5.0000", "ratio": -1.5e-300, "data": "a text", "exact": "1e-20"},
    {"title": "'t Hooft", "note": "''-", "data": [1], "ratio": 1e300, "amount": 7, "born": "1899-12-31", "big": "15"},
    {"title": " spaced ", "note": "\r", "data": False, "hour": "00:00:00", "price": "0.1000", "born": "0001-01-01"},
    {"title": "+49", "note": "_x0041_ <&>", "data": 0, "exact": "100", "at": "0001-01-01T00:00:00+00:00", "tags": []},
]


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what is its own in each tenant."""
    return {name: value for name, value in row.items() if name not in OWN}


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_exported_can_be_imported(here: Trader, there: Trader, form: str) -> None:
    here.make(*ROWS)
    answer = here.export(form, "sort=created_at,id")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith(FORMATS[form].media[0])
    report = there.report(answer.content, form)
    assert (report["rows"], report["created"], report["failed"]) == (len(ROWS), len(ROWS), 0)
    assert {"id", "version", "created_at", "is_active", "shout", "made_by"} <= set(report["skipped"])
    found = {row["title"]: shown(row) for row in there.rows()}
    for row in here.rows():
        assert found[row["title"]] == shown(row)
    assert len(found) == len(ROWS)


@pytest.mark.parametrize("form", FORMATS)
def test_no_rows_are_a_file_as_well(here: Trader, form: str) -> None:
    answer = here.export(form)
    assert answer.status_code == 200
    assert here.bring(answer.content, form).json()["data"]["rows"] == 0
