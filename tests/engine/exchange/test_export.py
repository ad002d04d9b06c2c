"""Exports: the rows of a list, for whom they are, as which file; and what the change log says of it."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from engine.clock import CLOCK
from engine.exchange.cells import escaped, unescaped
from engine.formats import FORMATS
from engine.handlers.exchange import EXPORTING
from engine.query import PARAMETERS
from engine.testing.harness import Live
from engine.types import Principal
from tests.engine.exchange.conftest import WARES, Trader

LETTERS = "/stall/stall/letters"
READ = frozenset({"stall.wares.read", "stall.letters.read"})


def lines(text: str) -> list[list[str]]:
    """Cells of a CSV text."""
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("begin", "=+-@\t\r\n")
def test_no_cell_begins_as_a_formula_does(here: Trader, begin: str) -> None:
    text = f"{begin}cmd|' /C calc'!A0"
    here.make({"title": text, "note": f"'{text}", "pin": text[:8]}, {"title": "-"})
    answer = here.export("csv", "fields=title,note,pin,shout,price")
    cells = [cell for line in lines(answer.text)[1:] for cell in line if cell]
    assert len(cells) == 6 and all(cell[0] not in "=+-@\t\r\n" for cell in cells)
    assert {unescaped(cell) for cell in cells} == {text, f"'{text}", text[:8], text.upper(), "-"}


@pytest.mark.parametrize("text", ["=", "'=", "''+1", "'", "", "'t", "''", "a=b", "\t", "'\n"])
def test_escaping_is_undone(text: str) -> None:
    assert unescaped(escaped(text)) == text


def test_numbers_are_no_formulas(here: Trader) -> None:
    here.make({"title": "a", "price": "-5", "amount": -3, "ratio": -0.5})
    assert lines(here.export("csv", "fields=price,amount,ratio").text)[1:] == [["-5.0000", "-3", "-0.5"]]


def test_it_is_the_list_without_pages(here: Trader) -> None:
    rows = here.make(*({"title": f"w{i:03}", "amount": i} for i in range(150)))
    here.client.delete(f"{WARES}/{rows[3]['id']}")
    query = "filter[amount][gte]=2&sort=-amount&fields=title,amount"
    answer = here.export("ndjson", query)
    found = [json.loads(line) for line in answer.text.splitlines()]
    assert [row["amount"] for row in found] == [i for i in range(149, 1, -1) if i != 3]
    assert all(set(row) == {"title", "amount"} for row in found)
    assert found[:100] == here.rows(query=query)
    assert here.export("csv", f"{query}&deleted=only").text == 'title,amount\r\n"w003",3\r\n'
    assert len(here.export("ndjson", "q=w01").text.splitlines()) == 10


@pytest.mark.parametrize("word", [*sorted(set(PARAMETERS) - set(EXPORTING)), "pge"])
def test_what_makes_pages_is_no_parameter(here: Trader, word: str) -> None:
    answer = here.client.get(f"{WARES}/export?{word}=1")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unknown_parameter")


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("*/*", "text/csv; charset=utf-8"),
        ("application/x-ndjson", "application/x-ndjson"),
        ("text/csv;q=0.5, application/ndjson", "application/x-ndjson"),
        (FORMATS["xlsx"].media[0], FORMATS["xlsx"].media[0]),
    ],
)
def test_accept_chooses(here: Trader, accept: str, media: str) -> None:
    answer = here.client.get(f"{WARES}/export", headers={"Accept": accept})
    assert answer.headers["content-type"] == media
    assert 'filename="wares.' in answer.headers["content-disposition"]


def test_a_format_that_is_none(here: Trader) -> None:
    answer = here.client.get(f"{WARES}/export", headers={"Accept": "application/pdf"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (406, "not_acceptable")
    assert "text/csv" in answer.json()["error"]["message"]
    assert here.export("pdf").json()["error"]["details"][0]["code"] == "invalid_choice"


def test_related_rows_stand_in_one_cell(here: Trader) -> None:
    [head] = here.make({"title": "head"})
    here.make({"title": "below", "parent_id": head["id"]})
    text = here.export("csv", "fields=title&expand=parent&fields[parent]=title&sort=-title").text
    assert lines(text) == [["title", "parent"], ["head", ""], ["below", '{"title":"head"}']]


def test_another_tenants_rows_are_not_there(here: Trader, there: Trader) -> None:
    here.make({"title": "mine"})
    assert lines(there.export("csv").text)[1:] == []
    assert there.export("ndjson", "deleted=include").text == ""


def test_masks_and_hidden_columns_hold(here: Trader) -> None:
    here.make({"title": "a", "pin": "1234", "secret": "canary"})
    clerk = here.but(permissions=READ)
    for form in ("csv", "ndjson"):
        text = clerk.export(form).text
        assert "***" in text and "1234" not in text and "canary" not in text and "secret" not in text
        assert "1234" in here.export(form).text
    assert clerk.export("csv", "fields=secret").status_code == 422
    assert clerk.export("csv", "filter[pin]=1234").status_code == 422


def test_owner_rows_and_ciphers(here: Trader) -> None:
    own, other = str(here.principal.user_id), str(CLOCK.new_id())
    here.make({"user_id": own, "text": '=mine, "q"'}, {"user_id": other, "text": "yours"}, path=LETTERS)
    for form in ("csv", "ndjson"):
        assert here.export(form, path=LETTERS).text.count("yours") == 1
    assert lines(here.export("csv", f"fields=text&filter[user_id]={own}", LETTERS).text) == [["text"], ['\'=mine, "q"']]
    live, tenant = here.live, here.tenant
    self = live.lend(Principal(here.principal.user_id, tenant=tenant, permissions=READ | {"stall.sensitive.read"}))
    found = [json.loads(line) for line in self.get(f"{LETTERS}/export?format=ndjson").text.splitlines()]
    assert [row["text"] for row in found] == ['=mine, "q"']


def test_read_is_what_it_needs(here: Trader) -> None:
    assert here.but(permissions=READ).export("csv").status_code == 200
    refused = here.but(permissions=frozenset({"stall.wares.create"})).export("csv")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "permission_denied")


def test_the_change_log_says_who_took_what(stall: Live, here: Trader) -> None:
    log = next(r for (scope, role), r in stall.catalog.roles.items() if (scope, role) == ("stall", "change_log"))
    here.make({"title": "a"})
    here.export("csv", "filter[title]=a")
    assert here.export("csv", "sort=nothing").status_code == 422
    text = f"select actor_id, entity, changes::text from {log.table.fullname} where action = 'export'"
    [record] = stall.run_sql("tenants", text, tenant=here.tenant.id)
    assert (record["actor_id"], record["entity"]) == (here.principal.user_id, "wares")
    changes: dict[str, Any] = json.loads(record["changes"])
    assert changes == {"format": [None, "csv"], "query": [None, "format=csv&filter[title]=a"]}


def test_a_sheet_says_what_it_cannot_hold(here: Trader) -> None:
    here.make({"title": "long", "note": "x" * 32_768})
    answer = here.export("xlsx")
    assert answer.status_code == 422 and "note: A cell holds at most 32767 characters" in answer.text
    assert here.export("xlsx", "fields=title").status_code == 200
