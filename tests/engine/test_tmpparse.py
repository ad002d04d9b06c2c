"""Bodies: two roads with one verdict, and every fault named at once."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ApiError
from engine.parse import BodyReader, read_members, read_status
from tests.engine.wares import CATALOG, WARES

CREATE = BodyReader(CATALOG, WARES, "create")
UPDATE = BodyReader(CATALOG, WARES, "update")
REPLACE = BodyReader(CATALOG, WARES, "replace")
READERS = [CREATE, UPDATE, REPLACE]

texts = st.text(max_size=8) | st.sampled_from(
    ["new", "A-1", "a@b.de", "2026-01-31", "2026-01-31T10:00:00Z", "10:00:00", "1.50", "-7", "YQ=="]
)
numbers = st.integers() | st.floats() | st.integers(-5, 200) | st.sampled_from([2**31, 2**63, 10**40])
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from([*WARES.fields, "version", "parts", "titel"])
parts = st.lists(st.fixed_dictionaries({"sku": texts}, optional={"weight": scalars, "id": scalars}), max_size=2)
some = st.dictionaries(names, values, max_size=5)
usual = st.fixed_dictionaries({"title": texts}, optional={"parts": parts})
bodies = some | st.tuples(some, usual).map(lambda pair: {**pair[0], **pair[1]})
drawn = settings(max_examples=15000, deadline=None, database=None)


def outcome(reader: BodyReader, body: bytes) -> Any:
    """What the thorough road says: rows, or the error's status and faults."""
    try:
        return reader._thorough(body)
    except ApiError as error:
        return (error.status, error.code, [(fault.field, fault.code) for fault in error.details])


def shown(rows: Any) -> Any:
    """Rows with their types, whatever the order of their members."""
    if not isinstance(rows, list):
        return rows
    return [
        (
            repr(sorted(row.values.items())),
            repr(row.inputs),
            row.version,
            {key: shown(below) for key, below in row.nested.items()},
        )
        for row in rows
    ]


def faults(reader: BodyReader, body: Any) -> dict[str, str]:
    """Field -> code of a refused body."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(ApiError) as caught:
        reader.read(raw)
    return {fault.field: fault.code for fault in caught.value.details} or {"": caught.value.code}


def one(reader: BodyReader, **body: Any) -> Any:
    [row], many = reader.read(json.dumps(body).encode())
    assert not many
    return row


@drawn
@given(body=bodies, reader=st.sampled_from(READERS), plain=st.booleans())
def test_the_quick_road_never_disagrees_with_the_thorough_one(
    body: dict[str, Any], reader: BodyReader, plain: bool
) -> None:
    raw = json.dumps(body, ensure_ascii=plain).encode("utf-8", "surrogatepass")
    quick = reader._quick(raw, many=False)
    assert quick is None or shown(quick) == shown(outcome(reader, raw))


@drawn
@given(rows=st.lists(bodies, max_size=3))
def test_they_agree_over_lists(rows: list[Any]) -> None:
    raw = json.dumps(rows).encode()
    quick = CREATE._quick(raw, many=True)
    assert quick is None or shown(quick) == shown(outcome(CREATE, raw))


def test_an_ordinary_body_takes_the_quick_road() -> None:
    body = {
        "title": "a",
        "price": "1.50",
        "tags": ["x"],
        "data": [{"k": 1}],
        "parts": [{"sku": "s", "weight": 1.5}],
        "at": "2026-01-31T10:00:00+01:00",
    }
    raw = json.dumps(body).encode()
    assert CREATE._quick(raw, many=False) == CREATE._thorough(raw)
    assert CREATE._thorough(raw)[0].values["at"] == datetime(2026, 1, 31, 9, tzinfo=UTC)


def test_values_are_exact() -> None:
    row = one(CREATE, title="a", price=19.99, big="9223372036854775807", data={"n": 0.1})
    assert row.values["price"] == Decimal("19.99") and row.values["big"] == 2**63 - 1
    assert CREATE.read(b'{"title":"a","data":{"n":0.10}}')[0][0].values["data"] == {"n": Decimal("0.10")}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"title":"a","title":"b"}', "invalid_json"),
        (b'{"title":"a","data":{"k":1,"k":2}}', "invalid_json"),
        (b'{"title":"a","data":{"k":1,"\\u006b":2}}', "invalid_json"),
        (b'{"title":"a","ratio":NaN}', "invalid_json"),
        (b'{"title":"a","data":[Infinity]}', "invalid_json"),
        (b'{"title":"a"', "invalid_json"),
        (b'{"title":"\xff"}', "invalid_json"),
        (b'\xef\xbb\xbf{"title":"a"}', "invalid_json"),
        (b'{"title":"a"} x', "invalid_json"),
        (b'{"title":"a","data":' + b"[" * 40 + b"]" * 40 + b"}", "too_complex"),
        (b'{"title":"a","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "invalid_json"),
        (b'{"title":"a","amount":' + b"9" * 5000 + b"}", "invalid_json"),
    ],
)
def test_what_is_no_strict_json_is_400_or_422(body: bytes, code: str) -> None:
    assert faults(CREATE, body) == {"": code}


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("title", "a\x00b", "invalid_format"),
        ("title", "\ud800", "invalid_format"),
        ("title", "x" * 161, "too_long"),
        ("title", None, "required"),
        ("title", 5, "invalid_format"),
        ("data", {"k\x00": 1}, "invalid_format"),
        ("data", ["\udfff"], "invalid_format"),
        ("data", {"a": [1] * 10_001}, "invalid_format"),
        ("tags", ["ok", 5], "invalid_format"),
        ("address", {"line1": "a"}, "required"),
        ("address", {"line1": "a", "city": "b", "country": "de"}, "invalid_format"),
        ("address", {"line1": "a", "city": "b", "country": "DE", "x": 1}, "field_not_allowed"),
        ("kind", "old", "invalid_choice"),
        ("amount", 5.7, "invalid_format"),
        ("amount", True, "invalid_format"),
        ("amount", 2**31, "out_of_range"),
        ("small", 101, "out_of_range"),
        ("big", "9223372036854775808", "out_of_range"),
        ("big", 5.5, "invalid_format"),
        ("price", "1e131072", "out_of_range"),
        ("price", "NaN", "invalid_format"),
        ("price", "0.00001", "out_of_range"),
        ("share", "-1", "out_of_range"),
        ("at", "2026-01-31T10:00:00", "invalid_format"),
        ("at", "2026-01-31T10:00:00.1234567Z", "invalid_format"),
        ("at", "0001-01-01T00:00:00+14:00", "out_of_range"),
        ("born", "2026-02-30", "invalid_format"),
        ("hour", "25:00:00", "invalid_format"),
        ("email", "nobody", "invalid_format"),
        ("parent_id", "x", "invalid_format"),
        ("raw", "%%", "invalid_format"),
        ("words", "one", "invalid_format"),
        ("id", "01a20596-0b53-73b5-9429-72e1b74a22f4", "field_not_allowed"),
        ("version", 1, "field_not_allowed"),
        ("made_by", "me", "field_not_allowed"),
        ("shout", "X", "field_not_allowed"),
    ],
)
def test_a_bad_value_is_named(field: str, value: Any, code: str) -> None:
    assert faults(CREATE, {"title": "a", field: value}) == {field: code}


def test_several_faults_come_at_once_with_paths_and_hints() -> None:
    body = [{"title": "ok"}, {"titel": "a", "amount": "x", "parts": [{"sku": "s"}, {"weight": -1, "ware_id": "x"}, 5]}]
    with pytest.raises(ApiError) as caught:
        CREATE.read(json.dumps(body).encode())
    found = {fault.field: (fault.code, fault.message) for fault in caught.value.details}
    assert {field: code for field, (code, _) in found.items()} == {
        "[1].titel": "field_not_allowed",
        "[1].title": "required",
        "[1].amount": "invalid_format",
        "[1].parts[0].weight": "required",
        "[1].parts[1].sku": "required",
        "[1].parts[1].weight": "out_of_range",
        "[1].parts[1].ware_id": "field_not_allowed",
        "[1].parts[2]": "invalid_format",
    }
    assert "perhaps you meant 'title'" in found["[1].titel"][1]


def test_hidden_fields_are_not_betrayed() -> None:
    with pytest.raises(ApiError) as caught:
        UPDATE.read(b'{"made_by":"x","secre":"y","code":"NEW"}')
    found = {fault.field: (fault.code, fault.message) for fault in caught.value.details}
    assert found["code"][0] == "write_once" and found["made_by"] == ("field_not_allowed", "is set by the engine")


def test_absent_and_null_stay_apart() -> None:
    assert one(UPDATE, note=None).values == {"note": None}
    assert one(UPDATE).values == {}
    assert one(CREATE, title="a", password="p").inputs == {"password": "p"}


def test_version_is_taken_by_changes_only() -> None:
    assert one(UPDATE, note="n", version=7).version == 7
    assert one(UPDATE, version=None).version is None
    assert faults(UPDATE, {"version": "7"}) == faults(UPDATE, {"version": 0}) == {"version": "invalid_format"}
    assert faults(UPDATE, {"version": True}) == faults(UPDATE, {"version": 2**31}) == {"version": "invalid_format"}


def test_a_list_is_taken_by_create_only() -> None:
    assert CREATE.read(b"[]") == ([], True)
    assert faults(UPDATE, [{"note": "a"}]) == {"": "validation_error"}
    assert faults(CREATE, b'"text"') == {"": "invalid_format"}


def test_status_bodies() -> None:
    assert read_status(b'{"status":"paid","version":3,"reason":"ok"}', ("open", "paid")) == ("paid", 3, "ok")
    for body, field in (
        (b'{"status":"gone"}', "status"),
        (b"{}", "status"),
        (b'{"status":"open","because":"x"}', "because"),
        (b'{"status":"open","reason":"a\\u0007"}', "reason"),
        (b'{"status":"open","version":"1"}', "version"),
        (b'{"status":["open"]}', "status"),
        (b"[]", ""),
    ):
        with pytest.raises(ApiError) as caught:
            read_status(body, ("open", "paid"))
        assert [fault.field for fault in caught.value.details] == [field], body


def test_fixed_bodies_name_what_is_missing_and_unknown() -> None:
    assert read_members(b'{"a":1}', {"a": True, "b": False}) == {"a": 1}
    with pytest.raises(ApiError) as caught:
        read_members(b'{"stap":1}', {"step": True})
    assert [(fault.field, fault.code) for fault in caught.value.details] == [
        ("stap", "field_not_allowed"),
        ("step", "required"),
    ]
