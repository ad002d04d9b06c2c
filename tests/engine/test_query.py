"""Query strings: each parameter and operator, and everything that is refused."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from engine.errors import ApiError
from engine.filters import OPERATORS, operators_of
from engine.operands import EXAMPLES, READERS
from engine.query import DEFAULT, PARAMETERS, read_listing, read_paging, read_view
from engine.query_body import read_query
from engine.shapes import Condition, Expansion, Group, Grouping, GroupKey, Listing, Measure, Order
from tests.engine.wares import CATALOG, PARTS, WARES

UUID = "01a20596-0b53-73b5-9429-72e1b74a22f4"
# a value that each column takes, and what the statement is given
SAMPLES = {
    "id": UUID,
    "title": "a",
    "kind": "used",
    "amount": "7",
    "big": "9223372036854775807",
    "price": "1.50",
    "ratio": "0.5",
    "ready": "true",
    "born": "2026-01-31",
    "at": "2026-01-31T10:00:00+00:00",
    "hour": "10:00:00",
    "tags": "x",
    "raw": "YQ==",
    "words": "x",
}


def listing(query: str) -> Listing:
    return read_listing(CATALOG, WARES, query.encode())


def refused(query: str) -> tuple[int, str, list[tuple[str, str]]]:
    """HTTP status, code and faults of a refused query."""
    with pytest.raises(ApiError) as caught:
        listing(query)
    error = caught.value
    return error.status, error.code, [(fault.field, fault.code) for fault in error.details]


def fault(query: str) -> str:
    """The code of the one fault of a refused value."""
    status, code, faults = refused(query)
    assert (status, code, len(faults)) == (422, "validation_error", 1)
    return faults[0][1]


COUNTED = Grouping((Measure("n", "count"),), (GroupKey("kind", "kind"),))
GOOD: dict[str, tuple[str, Any]] = {
    "aggregate": (
        "sort=-sum_price&aggregate=sum(price),n:count()&having[n][gt]=5",
        Listing(
            sort=(Order("sum_price", True),),
            grouping=Grouping(
                (Measure("sum_price", "sum", "price"), Measure("n", "count")), (), (Condition("n", "gt", "5"),)
            ),
        ),
    ),
    "group": (
        "sort=kind&group=kind,month(at),up:parent.born&aggregate=n:count()",
        Listing(
            sort=(Order("kind"),),
            used=("shop/shop/wares",),
            grouping=COUNTED._replace(
                keys=(*COUNTED.keys, GroupKey("month_at", "at", "month"), GroupKey("up", "parent.born"))
            ),
        ),
    ),
    "facets": ("facets=kind,pin", Listing(facets=("kind", "pin"), reveals=("shop.sensitive.read",))),
    "page": ("page=3", Listing(page=3)),
    "page_size": ("page_size=100", Listing(page_size=100)),
    "cursor": ("cursor=abc", Listing(cursor="abc", count="none")),
    "count": ("count=none", Listing(count="none")),
    "sort": (
        "sort=-title,at:nullslast,+amount",
        Listing(sort=(Order("title", True), Order("at", False, "last"), Order("amount"))),
    ),
    "fields": ("fields=title,parts,shout", Listing(fields=("title", "parts", "shout"))),
    "q": ("q=red+%26%20blue", Listing(search="red & blue")),
    "deleted": ("deleted=only", Listing(deleted="only")),
    "where": (
        'where={"or":[{"field":"title","value":"a"},{"not":{"field":"amount","op":"gt","value":7}}]}',
        Listing(
            conditions=(Group("or", (Condition("title", "eq", "a"), Group("not", (Condition("amount", "gt", "7"),)))),)
        ),
    ),
    "expand": (
        "expand=parts&expand[parts][limit]=5&fields[parts]=id",
        Listing(expand=(Expansion("parts", ("id",), limit=5),), used=("shop/shop/parts",)),
    ),
}


def test_no_query_is_the_usual_list() -> None:
    assert listing("") is DEFAULT and listing("&") == DEFAULT == Listing()


def test_every_parameter_is_read() -> None:
    # the shop has no change log: what is read as of a moment is the business of test_past
    assert set(GOOD) | {"as_of"} == set(PARAMETERS)
    for query, expected in GOOD.values():
        assert listing(query) == expected


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("page=0", "out_of_range"),
        ("page=1e3", "out_of_range"),
        ("page=" + "9" * 17, "out_of_range"),
        ("page=%D9%A1", "out_of_range"),
        ("page_size=101", "out_of_range"),
        ("page_size=", "out_of_range"),
        ("cursor=", "invalid_cursor"),
        ("count=all", "invalid_choice"),
        ("deleted=yes", "invalid_choice"),
        ("q=", "out_of_range"),
        ("q=" + "x" * 201, "out_of_range"),
        ("sort=titel", "unknown_field"),
        ("sort=", "unknown_field"),
        ("sort=title,-title", "repeated"),
        ("sort=title:last", "invalid_choice"),
        ("sort=title:", "invalid_choice"),
        ("sort=--title", "unknown_field"),
        ("sort=title,title", "repeated"),
        ("fields=title,title", "repeated"),
        ("expand=parts,parts", "repeated"),
        ("expand=parts&fields[parts]=id,id", "repeated"),
        ("facets=kind,kind", "repeated"),
        ("aggregate=count()&group=kind,kind", "repeated"),
        ("aggregate=count(),count()", "repeated"),
        ("sort=data", "invalid_choice"),
        ("sort=shout", "invalid_choice"),
        ("sort=pin", "invalid_choice"),
        ("fields=title,nothing", "unknown_field"),
        ("filter[title][like]=a", "invalid_choice"),
        ("filter[amount]=many", "invalid_format"),
        ("filter[amount]=5.7", "invalid_format"),
        ("filter[amount]=9223372036854775808", "invalid_format"),
        ("filter[price]=NaN", "out_of_range"),
        ("filter[price]=1e2000", "out_of_range"),
        ("filter[ratio]=inf", "out_of_range"),
        ("filter[ready]=perhaps", "invalid_format"),
        ("filter[kind]=old", "invalid_choice"),
        ("filter[born]=2026-02-30", "invalid_format"),
        ("filter[at]=2026-01-31T10:00:00", "invalid_format"),
        ("filter[at][gt]=2026", "invalid_format"),
        ("filter[hour]=10:00:00Z", "invalid_format"),
        ("filter[id]=1", "invalid_format"),
        ("filter[title][isnull]=1", "invalid_choice"),
        ("filter[amount][between]=1", "invalid_format"),
        ("filter[amount][between]=1,2,3", "invalid_format"),
        ("filter[amount][in]=" + ",".join(["1"] * 501), "out_of_range"),
        ("filter[tags][hasany]=" + ",".join(["1"] * 501), "out_of_range"),
        ("filter[]=1", "unknown_field"),
        ("filter[title][]=a", "invalid_choice"),
    ],
)
def test_a_bad_value_is_422(query: str, code: str) -> None:
    assert fault(query) == code


@pytest.mark.parametrize(
    "query", ["pages=1", "filter=1", "filter[title=1", "filter[title][eq][x]=1", "Page=1", "wher=1"]
)
def test_an_unknown_parameter_is_400(query: str) -> None:
    status, code, faults = refused(query)
    assert (status, code, [kind for _, kind in faults]) == (400, "unknown_parameter", ["unknown_parameter"])


def test_a_misspelt_parameter_gets_a_hint() -> None:
    with pytest.raises(ApiError, match="perhaps you meant 'page_size'"):
        listing("pagesize=5")
    with pytest.raises(ApiError, match="perhaps you meant 'title'"):
        listing("filter[titel]=5")


def test_what_lacks_its_brackets_is_told_how_they_go() -> None:
    for word in ("filter", "having"):
        with pytest.raises(ApiError, match=rf"say {word}\[field\]=value, or {word}\[field\]\[operator\]=value"):
            listing(f"{word}=x")


@pytest.mark.parametrize("word", ["limit", "sort"])
def test_one_row_is_neither_limited_nor_sorted(word: str) -> None:
    value = {"limit": "1", "sort": "title"}[word]
    query = f"expand=parent.children&expand[parent][{word}]={value}"
    assert refused(query) == (400, "unknown_parameter", [(f"expand[parent][{word}]", "unknown_parameter")])
    with pytest.raises(ApiError, match="'parent' leads to one row"):
        listing(query)
    assert listing(f"expand=parent.children&expand[parent.children][{word}]={value}").expand
    body = {"expand": {"parent": {word: value}}}
    with pytest.raises(ApiError, match="'parent' leads to one row") as caught:
        read_query(CATALOG, WARES, json.dumps(body).encode())
    assert caught.value.details[0].field == f"expand.parent.{word}"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("filter[at]=soon", "is not a value of type timestamptz, such as 2026-01-31T10:00:00Z"),
        ("filter[at]=2026-01-31T10:00:00", "needs a time zone, such as 2026-01-31T10:00:00Z"),
        ("filter[born]=soon", "such as 2026-01-31"),
        ("filter[hour]=soon", "such as 10:30:00"),
        ("filter[id]=1", "such as 018f2d5e-7a3c"),
        ("filter[ready]=perhaps", "such as true"),
        ("filter[price]=1,5", "such as 10.50"),
        ("filter[amount]=null", r"\[isnull\]=true asks for what is empty"),
        ("filter[kind]=null", r"\[isnull\]=true asks for what is empty"),
        ("aggregate=m:max(price)&having[m]=null", r"\[isnull\]=true asks for what is empty"),
    ],
)
def test_a_bad_value_is_told_a_good_one(query: str, said: str) -> None:
    with pytest.raises(ApiError, match=said):
        listing(query)


def test_examples_are_values() -> None:
    assert set(EXAMPLES) | {"text"} == set(READERS)
    for name in ("id", "ready", "amount", "big", "ratio", "price", "born", "at", "hour"):
        example = EXAMPLES[WARES.fields[name].scalar.name].split(" ")[0]
        assert listing(f"filter[{name}]={example}").conditions


def test_a_repeated_parameter_is_refused() -> None:
    assert refused("page=1&page=1") == (400, "unknown_parameter", [("page", "repeated")])
    assert fault("filter[amount]=1&filter[amount][eq]=1") == "repeated"
    assert len(listing("filter[amount][gt]=1&filter[amount][lt]=9").conditions) == 2


def test_a_cursor_takes_the_place_of_a_page() -> None:
    assert refused("cursor=abc&page=1") == (400, "unknown_parameter", [("cursor", "exclusive")])
    assert listing("cursor=abc&count=exact").count == "exact"


def test_several_faults_come_at_once() -> None:
    _, _, faults = refused("page=0&filter[kind]=old&sort=nope")
    assert [field for field, _ in faults] == ["page", "filter[kind]", "sort"]


def test_there_are_at_most_twenty_filters() -> None:
    pairs = [
        f"filter[{name}][{op}]=1"
        for name in ("amount", "small", "big")
        for op in ("eq", "ne", "gt", "gte", "lt", "lte", "in", "nin")
    ]
    assert len(listing("&".join(pairs[:20])).conditions) == 20
    assert fault("&".join(pairs[:21])) == "out_of_range"


def test_texts_must_be_utf8_without_nul() -> None:
    for query in ("filter[title]=%FF", "q=a%00"):
        assert refused(query)[:2] == (422, "validation_error")


@pytest.mark.parametrize("hidden", ["secret", "password"])
@pytest.mark.parametrize("form", ["sort={}", "fields={}", "filter[{}]=a", "filter[{}][isnull]=true"])
def test_hidden_fields_do_not_exist(form: str, hidden: str) -> None:
    def words(name: str) -> str:
        with pytest.raises(ApiError) as caught:
            listing(form.format(name))
        fault = caught.value.details[0]
        return f"{fault.code} {fault.message}".replace(name, "?").split(";")[0]

    assert words(hidden) == words("x" * len(hidden))


def test_a_masked_field_is_shown_but_not_compared() -> None:
    assert listing("fields=pin").fields == ("pin",)
    assert fault("filter[pin]=1") == "invalid_choice"


def value_for(name: str, takes: str) -> str:
    sample = SAMPLES[name]
    return {"many": f"{sample},{sample}", "two": f"{sample},{sample}", "bool": "false", "items": "a,b"}.get(
        takes, sample
    )


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("operator", OPERATORS)
def test_a_column_takes_the_operators_of_its_families(name: str, operator: str) -> None:
    row = OPERATORS[operator]
    query = f"filter[{name}][{operator}]={quote(value_for(name, row.takes))}"
    accepted = operator in operators_of(WARES.fields[name].scalar.families, tree=name == "id")
    if not accepted:
        assert fault(query) == "invalid_choice"
        return
    [condition] = listing(query).conditions
    sample = SAMPLES[name]
    expected: Any = {
        "many": [sample, sample],
        "two": [sample, sample],
        "bool": "false",
        "items": ["a", "b"],
        "text": row.prepare(sample),
    }
    assert condition == Condition(name, operator, expected.get(row.takes, sample))


def test_every_operator_and_family_is_met() -> None:
    met = {operator for name in SAMPLES for operator in WARES.fields[name].operators}
    assert set(OPERATORS) - met == set()


def test_search_needs_searched_fields() -> None:
    with pytest.raises(ApiError, match="no field of this entity is searched"):
        read_listing(CATALOG, PARTS, b"q=a")


def test_like_characters_are_text() -> None:
    assert listing("filter[title][contains]=50%25_\\").conditions[0].value == "%50\\%\\_\\\\%"


def test_a_get_takes_fields_and_deleted() -> None:
    assert read_view(CATALOG, WARES, b"") == Listing()
    view = read_view(CATALOG, WARES, b"fields=title&deleted=include")
    assert view == Listing(fields=("title",), deleted="include")
    for query in (b"page=1", b"fields=secret", b"deleted=x"):
        with pytest.raises(ApiError):
            read_view(CATALOG, WARES, query)


def test_a_history_takes_paging_alone() -> None:
    assert read_paging(CATALOG, WARES, b"page=2&page_size=5") == Listing(page=2, page_size=5)
    with pytest.raises(ApiError):
        read_paging(CATALOG, WARES, b"sort=title")
