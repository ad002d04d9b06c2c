"""Imports: what is taken, what is refused and how that is said, and which rows stay."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest
import xlsxwriter

from engine.exchange import sheets
from engine.testing.harness import Live
from tests.engine.exchange.conftest import WARES, Trader

CREATE = frozenset({"stall.wares.create", "stall.wares.read"})


def faults(report: dict[str, Any]) -> list[tuple[int, str, str]]:
    """Row, field and code of each error."""
    return [(error["row"], error["field"], error["code"]) for error in report["errors"]]


def titles(trader: Trader) -> list[str]:
    """Titles of the rows that are there."""
    return sorted(row["title"] for row in trader.rows())


BAD = """title,amount,price,kind,email,note
good,1,1.50,new,,
,2,,,,
third,x,1.123456,odd,nobody,
fourth,4,,,,a curse
fifth,5,,,ann@example.com,
"""
FOUND = [
    (3, "title", "required"),
    (4, "amount", "invalid_format"),
    (4, "price", "out_of_range"),
    (4, "kind", "invalid_choice"),
    (4, "email", "invalid_format"),
    (5, "note", "forbidden_word"),
]


def test_all_or_nothing(here: Trader) -> None:
    answer = here.bring(BAD)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "validation_error")
    assert [(d["params"]["row"], d["field"], d["code"]) for d in error["details"]] == FOUND
    assert error["message"].startswith("3 of 5 rows do not fit")
    assert titles(here) == []


def test_each_row_by_itself(here: Trader) -> None:
    report = here.report(BAD, prefer="each")
    assert faults(report) == FOUND
    assert (report["rows"], report["created"], report["failed"], report["faults"]) == (5, 2, 3, 6)
    assert titles(here) == ["fifth", "good"]


@pytest.mark.parametrize("prefer", ["dry-run", "dry-run, each"])
def test_a_rehearsal_reports_and_leaves_nothing(here: Trader, prefer: str) -> None:
    report = here.report(BAD, prefer=prefer)
    assert faults(report) == FOUND and report["created"] == 2
    assert titles(here) == []


def test_every_row_is_audited(stall: Live, here: Trader) -> None:
    here.report("title\na\nb\n")
    log = stall.catalog.roles["stall", "change_log"].table.fullname
    text = f"select count(*) as n from {log} where action = 'create' and actor_id = $1"
    assert stall.run_sql("tenants", text, here.principal.user_id, tenant=here.tenant.id)[0]["n"] == 2


def test_the_database_names_no_row_and_the_report_does(here: Trader) -> None:
    here.make({"title": "there", "code": "C-70"})
    content = "title,code\n" + "".join(f"t{i},C-{i}\n" for i in range(150)) + "twice,C-3\n"
    report = here.report(content, prefer="each")
    assert faults(report) == [(72, "code", "duplicate"), (152, "code", "duplicate")]
    assert (report["created"], report["failed"]) == (149, 2)


def test_references_are_checked(here: Trader, there: Trader) -> None:
    [mine], [theirs] = here.make({"title": "mine"}), there.make({"title": "theirs"})
    report = here.report(f"title,parent_id\na,{mine['id']}\nb,{theirs['id']}\nc,x\nd,\n", prefer="each")
    assert faults(report) == [(4, "parent_id", "invalid_format"), (3, "parent_id", "invalid_reference")]
    assert titles(here) == ["a", "d", "mine"]


@pytest.mark.parametrize("header", ["Title;E-Mail", "TITLE;e_mail", " title ; e mail "])
def test_titles_are_fields_as_people_write_them(here: Trader, header: str) -> None:
    answer = here.bring(f"{header}\na;ann@example.com\n".replace("E-Mail", "email").replace("e_mail", "Email"))
    assert answer.status_code == (422 if "e mail" in header else 200)


def test_a_mapping_says_which_column_is_which(here: Trader) -> None:
    content = "Bezeichnung,Preis (EUR),Rest\nStuhl,12.50,x\n"
    refused = here.bring(content).json()["error"]["details"]
    assert [(d["field"], d["code"]) for d in refused] == [
        (title, "unknown_field") for title in ("Bezeichnung", "Preis (EUR)", "Rest")
    ]
    here.report(content, query="map[Bezeichnung]=title&map[Preis (EUR)]=price&map[Rest]=")
    assert [(row["title"], row["price"]) for row in here.rows()] == [("Stuhl", "12.5000")]
    line = json.dumps({"Bezeichnung": "Tisch", "price": 3})
    here.report(line, "ndjson", "map[Bezeichnung]=title")
    assert titles(here) == ["Stuhl", "Tisch"]


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ("map[title]=id", "title", "unknown_field"),
        ("map[title]=nothing", "title", "unknown_field"),
        ("map[note]=title", "note", "repeated"),
        ("map[absent]=title", "map[absent]", "unknown_field"),
        ("map[title]=&map[note]=", "", "required"),
        ("mode=upsert", "on", "required"),
        ("mode=merge", "mode", "invalid_choice"),
        ("mode=upsert&on=title", "on", "invalid_choice"),
    ],
)
def test_a_mapping_that_is_wrong(here: Trader, query: str, field: str, code: str) -> None:
    answer = here.bring("title,note\na,b\n", query=query)
    assert answer.status_code == 422
    assert (field, code) in [(d["field"], d["code"]) for d in answer.json()["error"]["details"]]


@pytest.mark.parametrize("query", ["mod=create", "mode=create&mode=create", "map[a]=b&map[a]=c", "map=x"])
def test_unknown_parameters(here: Trader, query: str) -> None:
    assert here.bring("title\na\n", query=query).status_code == 400


def test_upsert_by_a_unique_key(here: Trader) -> None:
    here.make({"title": "old", "code": "A", "note": "gone soon", "amount": 5}, {"title": "stays", "code": "B"})
    report = here.report("code,title,note\nA,new,\nC,fresh,n\n", query="mode=upsert&on=code")
    assert (report["created"], report["updated"]) == (1, 1)
    rows = {row["code"]: row for row in here.rows()}
    assert (rows["A"]["title"], rows["A"]["note"], rows["A"]["amount"], rows["A"]["version"]) == ("new", None, 5, 2)
    assert rows["B"]["title"] == "stays" and rows["C"]["title"] == "fresh"


def test_permissions(here: Trader) -> None:
    clerk = here.but(permissions=CREATE)
    assert clerk.bring("title\na\n").status_code == 200
    refused = clerk.bring("title,code\na,A\n", query="mode=upsert&on=code")
    assert (refused.status_code, "stall.wares.update" in refused.text) == (403, True)
    assert here.but(permissions=frozenset({"stall.wares.read"})).bring("title\na\n").status_code == 403


@pytest.mark.parametrize(
    ("content", "form", "code"),
    [
        (b"title\n\xff\xfe\n", "csv", "invalid_format"),
        (b'title\n"open\n', "csv", "invalid_format"),
        (b"", "csv", "required"),
        (b"title,title\na,b\n", "csv", "repeated"),
        (b"no zip at all", "xlsx", "invalid_format"),
        (b"[1]", "ndjson", "invalid_format"),
        (b'{"title": "a", "title": "b"}', "ndjson", "invalid_json"),
        (b'{"title": "\\ud800"}', "ndjson", "invalid_format"),
        (b'{"title": "a"', "ndjson", "invalid_json"),
        (b'{"title": "a", "at": "2026-01-01T00:00:00.1234567Z"}', "ndjson", "invalid_format"),
        (b"title,at\na,2026-01-01T00:00:00.1234567Z\n", "csv", "invalid_format"),
        (b"title,pin\na,***\n", "csv", "invalid_format"),
        (b'title,data\na,"{"\n', "csv", "invalid_format"),
        (b"title\na\x00b\n", "csv", "invalid_format"),
        (b"title,ratio\na,nan\n", "csv", "out_of_range"),
        (b'{"title": "a", "ratio": 1e999}', "ndjson", "out_of_range"),
        (b'{"title": "a", "pin": "***"}', "ndjson", "invalid_format"),
        (b'{"title": "a", "titel": 1}', "ndjson", "unknown_field"),
    ],
)
def test_files_that_are_wrong(here: Trader, content: bytes, form: str, code: str) -> None:
    answer = here.bring(content, form)
    assert answer.status_code == 422, answer.text
    assert [detail["code"] for detail in answer.json()["error"]["details"]] == [code]
    assert titles(here) == []


def test_another_media_type_is_415(here: Trader) -> None:
    for kind in ("application/json", "text/csv; charset=latin-1", ""):
        answer = here.client.post(f"{WARES}/import", content=b"title\na\n", headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")


def test_people_write_files_too(here: Trader) -> None:
    here.report("\ufefftitle\tready\tnote\nf\u00fcr\tYES\t'quoted\n\n kept \tfalse\t\n".encode())
    assert [(row["title"], row["ready"], row["note"]) for row in here.rows(query="sort=ready")] == [
        (" kept ", False, None),
        ("f\u00fcr", True, "'quoted"),
    ]


def test_a_sheet_as_people_make_it(here: Trader) -> None:
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file)
    sheet = book.add_worksheet()
    sheet.write_row(0, 0, ["Title", "amount", "price", "born", "at", "ready", "phone", "ratio"])
    day = book.add_format({"num_format": "yyyy-mm-dd hh:mm"})
    sheet.write_row(1, 0, [12345, 7, 1.1])
    sheet.write_datetime(1, 3, __import__("datetime").datetime(2026, 1, 31), day)
    sheet.write_datetime(1, 4, __import__("datetime").datetime(2026, 1, 31, 10, 30), day)
    sheet.write_boolean(1, 5, True)
    sheet.write_row(1, 6, ["=+49", 2])
    sheet.write_row(3, 0, ["last", 1.5])
    book.close()
    report = here.report(file.getvalue(), "xlsx", prefer="each")
    assert faults(report) == [(2, "phone", "invalid_format"), (4, "amount", "invalid_format")]
    assert report["rows"] == 2


def test_a_workbook_that_swells_is_refused(here: Trader, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("xl/worksheets/sheet1.xml", b" " * 2_000_000)
    monkeypatch.setattr(sheets, "MAX_SHEET", 1_000_000)
    assert here.bring(file.getvalue(), "xlsx").status_code == 413


def test_a_key_makes_an_import_happen_once(here: Trader) -> None:
    headers = {"Content-Type": "text/csv", "Idempotency-Key": "import-1"}
    first, again = (here.client.post(f"{WARES}/import", content=b"title\na\n", headers=headers) for _ in range(2))
    assert first.status_code == again.status_code == 200 and first.json()["data"] == again.json()["data"]
    assert titles(here) == ["a"]


def test_child_rows_come_as_json(here: Trader) -> None:
    here.report(json.dumps({"title": "n", "parts": [{"sku": "1"}, {"sku": "2"}]}), "ndjson")
    here.report('title,parts\nc,"[{""sku"":""3""}]"\n')
    for title, skus in (("n", ["1", "2"]), ("c", ["3"])):
        [row] = here.rows(query=f"filter[title]={title}")
        whole = here.client.get(f"{WARES}/{row['id']}").json()["data"]
        assert [part["sku"] for part in whole["parts"]] == skus


def test_a_thousand_errors_are_listed_and_all_are_counted(here: Trader) -> None:
    report = here.report("title,amount\n" + "a,x\n" * 1500, prefer="each")
    assert (report["failed"], report["faults"], len(report["errors"])) == (1500, 1500, 1000)
