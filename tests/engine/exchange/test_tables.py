"""Tables as people make them: cells that stand under no title, sheets, errors and numbers of a spreadsheet. Nothing gets lost."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC
from typing import Any

import pytest
import xlsxwriter
from python_calamine import CalamineWorkbook

from engine.exchange.cells import sheet_text
from engine.testing.harness import Live
from tests.calls import soon
from tests.engine.exchange.conftest import WARES, Trader
from tests.engine.exchange.test_import import faults, titles

SHEET = "xl/worksheets/sheet1.xml"


def book(**sheets: list[list[Any]]) -> bytes:
    """A workbook; a text that begins with `#` is an error, None no cell."""
    file = io.BytesIO()
    made = xlsxwriter.Workbook(file)
    for name, rows in sheets.items():
        sheet = made.add_worksheet(name)
        for row, values in enumerate(rows):
            for column, value in enumerate(values):
                if str(value).startswith("#"):
                    sheet.write_formula(row, column, "=1/0", None, value)
                elif value is not None:
                    sheet.write(row, column, value)
    made.close()
    return file.getvalue()


def changed(content: bytes, old: str, new: str) -> bytes:
    """The workbook with another text in its first sheet."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as parts, zipfile.ZipFile(file, "w") as others:
        for name in parts.namelist():
            text = parts.read(name)
            if name == SHEET:
                assert old.encode() in text
                text = text.replace(old.encode(), new.encode())
            others.writestr(name, text)
    return file.getvalue()


# -- cells and titles


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("title,code\nA,B,extra\nok,C\n", [(2, "too_many_cells")]),
        ("title,code,note\nx, y,B,Boss\nok,C,\n", [(2, "too_many_cells")]),
        ("title,code\nA\nok,C\n", [(2, "too_few_cells")]),
        ("title,code,,\nA,B,x,\nok,C,,\nok,D\n", [(2, "unknown_column")]),
        ("title,,code\nA,x,B\nok,,C\n", [(2, "unknown_column")]),
    ],
)
def test_no_cell_of_a_line_is_lost(here: Trader, content: str, found: list[tuple[int, str]]) -> None:
    refused = here.bring(content).json()["error"]["details"]
    assert [(d["params"]["row"], d["code"]) for d in refused] == found
    assert any(way in refused[0]["message"] for way in ("double quotes", "has its delimiter", "give it one"))
    report = here.report(content, prefer="each")
    assert [(error["row"], error["code"]) for error in report["errors"]] == found
    assert set(titles(here)) == {"ok"}


def test_no_cell_of_a_sheet_is_lost(here: Trader) -> None:
    rows = [["title", "code", None, None], ["ok", "A"], ["bad", "B", None, 0], ["bad", "C", "x"], [None, None, "y"]]
    report = here.report(book(a=rows), "xlsx", prefer="each")
    assert [(e["row"], e["code"], e["params"]) for e in report["errors"]] == [
        (row, "unknown_column", {"column": column}) for row, column in ((3, 4), (4, 3), (5, 3))
    ]
    assert (report["rows"], titles(here)) == (4, ["ok"])


def test_a_column_without_a_title_can_be_left_out(here: Trader) -> None:
    assert here.report("title,,code,\nok,x,A,y\n", query="map[]=")["created"] == 1
    assert here.report("title,,code\nok,said,B\n", query="map[]=note")["created"] == 1
    assert {row["note"] for row in here.rows()} == {None, "said"}


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_empty_rows_are_no_rows(here: Trader, form: str) -> None:
    table = [["title", "code"], ["a", "A"], [None, None], ["b", "B"]]
    lines = "\n".join(",".join(cell or "" for cell in row) for row in table)
    report = here.report(lines if form == "csv" else book(a=table), form)
    assert (report["rows"], report["created"]) == (2, 2)


def test_a_line_that_says_a_field_twice(here: Trader) -> None:
    report = here.report(json.dumps({"title": "a", "Title": "b"}), "ndjson", prefer="each")
    assert faults(report) == [(1, "title", "repeated")]


def test_a_mapping_to_no_field_names_it(here: Trader) -> None:
    [detail] = here.bring("a\nx\n", query="map[a]=titel").json()["error"]["details"]
    assert detail["message"].startswith("'titel' is no field") and "perhaps you meant 'title'" in detail["message"]


def test_another_encoding_has_a_way_out(here: Trader) -> None:
    answer = here.bring("title\nKöln\n".encode("latin-1"))
    assert answer.status_code == 422 and "CSV UTF-8" in answer.json()["error"]["message"]


# -- sheets


def test_an_error_is_no_empty_cell(here: Trader) -> None:
    here.make({"title": "kept", "code": "A", "price": "5"})
    rows = [["title", "code", "price"], ["new", "A", "#DIV/0!"], [None, None, "#N/A"], ["ok", "C", 1]]
    report = here.report(book(a=rows), "xlsx", "mode=upsert&on=code", prefer="each")
    found = [(2, "price", "invalid_format"), (3, "price", "invalid_format")]
    assert [fault for fault in faults(report) if fault[1] == "price"] == found
    assert (report["rows"], report["failed"], report["created"]) == (3, 2, 1)
    assert "#DIV/0!" in report["errors"][0]["message"]
    assert [row["price"] for row in here.rows(query="filter[code]=A")] == ["5.0000"]


def test_errors_are_found_where_the_cells_are(here: Trader) -> None:
    rows = [[None, "title", "price"], [None, "a", 1], [None, "b", "#NUM!"], [None, "c", "#REF!"], [None, "#VALUE!", 2]]
    content = book(a=rows)
    expected = [(3, "price"), (4, "price"), (5, "title")]
    # some programs leave out where a cell is, or write XML otherwise
    for one in (content, changed(content, ' r="C3"', ""), changed(content, ' t="e"', " t='e'")):
        report = here.report(one, "xlsx", prefer="each, dry-run")
        assert [(row, field) for row, field, _ in faults(report)] == expected


def test_an_error_that_nobody_knows_refuses_the_workbook(here: Trader) -> None:
    answer = here.bring(changed(book(a=[["title"], ["#N/A"]]), "#N/A", "#ERROR!"), "xlsx")
    assert answer.status_code == 422 and "#ERROR!" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<worksheet", "<!DOCTYPE x [<!ENTITY a 'b'>]><worksheet"),
        ('r="2"', 'r="9"'),
        ('r="A2"', 'r="Z2"'),
        ('r="2"', 'r="x"'),
    ],
)
def test_a_sheet_that_is_made_up_is_refused(here: Trader, old: str, new: str) -> None:
    """Whatever the reader of values makes of it: no error may be missed."""
    answer = here.bring(changed(book(a=[["title", "note"], ["#N/A", "x"]]), old, new), "xlsx")
    assert answer.status_code == 422, answer.text
    assert titles(here) == []


def test_a_second_filled_sheet_is_asked_about(here: Trader) -> None:
    content = book(one=[["title"], ["a"]], empty=[], two=[["title"], ["b"], ["c"]])
    refused = here.bring(content, "xlsx")
    [detail] = refused.json()["error"]["details"]
    assert (refused.status_code, detail["field"], detail["code"]) == (422, "sheet", "required")
    assert detail["params"]["choices"] == ["one", "two"] and "one, two" in detail["message"]
    assert here.report(content, "xlsx", "sheet=two")["created"] == 2
    [unknown] = here.bring(content, "xlsx", "sheet=tow").json()["error"]["details"]
    assert (unknown["field"], unknown["code"], unknown["params"]["choices"]) == (
        "sheet",
        "invalid_choice",
        ["one", "empty", "two"],
    )
    assert titles(here) == ["b", "c"]


def test_a_sheet_of_errors_alone_is_filled(here: Trader) -> None:
    assert here.bring(book(one=[["title"], ["a"]], two=[["#N/A"]]), "xlsx").status_code == 422


def test_the_only_filled_sheet_is_meant(here: Trader) -> None:
    assert here.report(book(empty=[], filled=[["title"], ["a"]]), "xlsx")["created"] == 1


@pytest.mark.parametrize(("form", "content"), [("csv", "title\na\n"), ("ndjson", '{"title": "a"}')])
def test_only_workbooks_have_sheets(here: Trader, form: str, content: str) -> None:
    answer = here.bring(content, form, "sheet=one")
    [detail] = answer.json()["error"]["details"]
    assert (answer.status_code, detail["field"], detail["code"]) == (422, "sheet", "exclusive")


def test_the_document_tells_of_sheets(stall: Live) -> None:
    operation = stall.client("stall").get("/openapi.json").json()["paths"][f"{WARES}/import"]["post"]
    assert "sheet" in [parameter.get("name") for parameter in operation["parameters"]]


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("numeric", 0.30000000000000004, "0.3"),
        ("numeric", 434.99999999999994, "435"),
        ("integer", 12.999999999999998, "13"),
        ("text", 1.1, "1.1"),
        ("numeric", 0.1234567890123456, "0.123456789012346"),
        ("float", 0.30000000000000004, "0.30000000000000004"),
    ],
)
def test_numbers_are_what_a_spreadsheet_shows(kind: str, value: float, text: str) -> None:
    assert sheet_text(kind, value, UTC) == text


def test_numbers_as_a_spreadsheet_stores_them(here: Trader) -> None:
    content = book(a=[["title", "price", "amount"], ["a", 0.3, 13]])
    content = changed(content, "<v>0.3</v>", "<v>0.30000000000000004</v>")
    here.report(changed(content, "<v>13</v>", "<v>12.999999999999998</v>"), "xlsx")
    assert [(row["price"], row["amount"]) for row in here.rows()] == [("0.3000", 13)]


# -- what was exported with its related rows


@pytest.mark.parametrize("form", ["csv", "ndjson", "xlsx"])
def test_expanded_rows_come_back(here: Trader, there: Trader, form: str) -> None:
    [head] = here.make({"title": "head", "parts": [{"sku": "1"}, {"sku": "2"}]})
    here.make({"title": "below", "parent_id": head["id"], "parts": []})
    file = here.export(form, "expand=parts,parent&fields=id,title,created_at&sort=-title").content
    report = there.report(file, form)
    assert (report["created"], report["failed"]) == (2, 0)
    assert report["skipped"].count("parts.id") == 1
    assert {"id", "created_at", "parent", "parts.id", "parts.ware_id", "parts.version"} <= set(report["skipped"])
    [row] = there.rows(query="filter[title]=head&expand=parts")
    assert sorted(part["sku"] for part in row["parts"]) == ["1", "2"]


def test_the_mask_of_a_child_row_is_no_value(here: Trader, there: Trader) -> None:
    here.make({"title": "head", "parts": [{"sku": "1", "pin": "1234"}]})
    clerk = here.but(permissions=frozenset({"stall.wares.read", "stall.parts.read"}))
    refused = there.bring(clerk.export("ndjson", "expand=parts&fields=title").content, "ndjson")
    assert refused.status_code == 422 and "parts.pin is the mask" in refused.text
    assert there.report(here.export("ndjson", "expand=parts&fields=title").content, "ndjson")["created"] == 1


def test_what_a_child_row_may_not_give_is_still_refused(here: Trader) -> None:
    line = json.dumps({"title": "a", "parts": [{"sku": "1", "suk": 2}, {"sku": "1", "ware": "x"}, 5]})
    report = here.report(line, "ndjson", prefer="each")
    assert faults(report) == [
        (1, "parts[0].suk", "field_not_allowed"),
        (1, "parts[1].ware", "field_not_allowed"),
        (1, "parts[2]", "invalid_format"),
    ]


@pytest.mark.parametrize(
    ("form", "content"), [("csv", "title,Parent\na,ACME\n"), ("ndjson", '{"title":"a","parent":"x"}')]
)
def test_a_column_called_like_a_relation_is_not_lost(here: Trader, form: str, content: str) -> None:
    report = here.report(content, form, prefer="each")
    assert [(field, code) for _, field, code in faults(report)] == [("parent", "unknown_field")]
    assert "map[" in report["errors"][0]["message"]


# -- keys


@pytest.mark.parametrize("query", ["", "&map[code]="])
def test_a_table_without_the_key_is_refused(here: Trader, query: str) -> None:
    here.make({"title": "there", "code": "A"})
    content = "title,code\na,A\n" if query else "title\na\n"
    answer = here.bring(content, query=f"mode=upsert&on=code{query}")
    [detail] = answer.json()["error"]["details"]
    assert (answer.status_code, detail["field"], detail["code"]) == (422, "code", "required")
    assert here.bring(content, query=f"mode=upsert&on=code{query}", prefer="each").status_code == 422
    assert titles(here) == ["there"]


# -- transfers


def test_what_failed_later_says_that_nothing_stays(here: Trader) -> None:
    answer = here.bring("title,amount\na,1\nb,x\n", prefer="respond-async")
    told = soon(lambda: (now := here.client.get(answer.headers["location"]).json()["data"])["ended_at"] and now)
    assert (told["state"], told["report"]["created"], told["report"]["failed"]) == ("failed", 0, 1)


# -- order of columns


@pytest.mark.parametrize("form", ["csv", "ndjson", "xlsx"])
def test_columns_come_as_they_are_asked_for(here: Trader, form: str) -> None:
    here.make({"title": "a", "code": "A", "note": "n"})
    content = here.export(form, "fields=note,title,code").content
    if form == "ndjson":
        found = list(json.loads(content))
    elif form == "csv":
        assert content.splitlines()[1] == b'"n","a","A"'
        found = content.decode().splitlines()[0].split(",")
    else:
        rows = CalamineWorkbook.from_filelike(io.BytesIO(content)).get_sheet_by_index(0).to_python()
        assert rows[1] == ["n", "a", "A"]
        found = rows[0]
    assert found == ["note", "title", "code"]


def test_a_file_has_all_child_rows_of_a_row(here: Trader, there: Trader) -> None:
    here.make({"title": "long", "parts": [{"sku": f"part {number}"} for number in range(130)]})
    file = here.export("ndjson", "expand=parts&filter[title]=long&fields=title").content
    assert len(json.loads(file)["parts"]) == 130
    assert there.report(file, "ndjson")["created"] == 1
    limited = here.export("ndjson", "expand=parts&expand[parts][limit]=3&filter[title]=long").content
    assert len(json.loads(limited)["parts"]) == 3


@pytest.mark.parametrize("sku", ["\\u0000", "\\ud800"])
def test_what_no_text_can_hold_is_a_fault_in_child_rows_too(here: Trader, sku: str) -> None:
    line = f'{{"title": "odd", "parts": [{{"sku": "{sku}"}}]}}'.encode()
    answer = here.bring(line, "ndjson")
    assert answer.status_code == 422, answer.text
    [fault] = answer.json()["error"]["details"]
    assert (fault["field"], fault["params"]["row"]) == ("parts[0].sku", 1)
