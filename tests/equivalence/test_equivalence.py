"""Random rows, random questions: the engine over HTTP answers what plain Python makes of the same rows."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.equivalence.asking import query_string, sayable, view_string
from tests.equivalence.conftest import PEOPLE, Stand
from tests.equivalence.drawing import SIZES, fits, key, queries, rows_of
from tests.equivalence.drawing_groups import facet_string, facets, group_string, grouped
from tests.equivalence.groups import Grouped, Groups, Path, counted, forbidden
from tests.equivalence.model import Market, Person, Query, Rows

USUAL = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
MANY = settings(USUAL, max_examples=5000, derandomize=False)
QUESTIONS = st.tuples(*[st.tuples(st.sampled_from(PEOPLE), queries())] * 4)


def difference(found: Any, expected: Any, at: str) -> str:
    """The place of the first difference, and both sides of it; empty where there is none. `next_cursor` is the business of its
    own test."""
    if isinstance(found, dict) and isinstance(expected, dict):
        if found.keys() - {"next_cursor"} != expected.keys():
            return f"{at}: other members"
        parts = [(found[name], value, f"{at}.{name}") for name, value in expected.items()]
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        parts = [(one, other, f"{at}[{n}]") for n, (one, other) in enumerate(zip(found, expected, strict=True))]
    else:
        return "" if found == expected else f"{at}: the engine says {found!r}, the model {expected!r}"
    return next(filter(None, (difference(*part) for part in parts)), "")


def compared(answer: httpx.Response, status: int, expected: Any, at: str) -> str:
    """How an answer differs from what it should be."""
    if answer.status_code != status:
        return f"{at}: {answer.status_code} for {status}: {answer.text}"
    return difference(answer.json()["data"], expected, at)


def ask_both(stand: Stand, rows: Rows, asked: tuple[Person, Query]) -> list[str]:
    """How the answers to one question differ: the list, a row of it, and what is not in it."""
    person, query = asked
    market = Market(rows, person)
    answer = stand.ask(person, f"{query.entity}?{query_string(query)}")
    found = [compared(answer, 200, market.listed(query), "list")]
    for number in range(2):
        one = key(query.entity, number % SIZES[query.entity])
        answer = stand.ask(person, f"{query.entity}/{one}?{view_string(query)}")
        wanted = market.got(query, one)
        found.append(compared(answer, 404 if wanted is None else 200, wanted, "get"))
    return [text for text in found if text]


@settings(USUAL, max_examples=20)
@given(rows=rows_of())
def test_what_differs_is_noticed(stand: Stand, rows: Rows) -> None:
    """The tests below look through these: a model that lacks an entity's rows is another one."""
    person, query = PEOPLE[0], Query(next(iter(rows)))
    stand.fill(rows)
    assume(Market(rows, person).listed(query)["items"])
    assert ask_both(stand, rows, (person, query)) == []
    assert "the engine says" in ask_both(stand, {**rows, query.entity: []}, (person, query))[0]


@USUAL
@given(rows=rows_of(), asked=QUESTIONS)
def test_lists_and_gets_are_what_the_model_says(
    stand: Stand, rows: Rows, asked: tuple[tuple[Person, Query], ...]
) -> None:
    """Filters, nesting, sort, pages, search, expansions; hidden, masked, owned and deleted rows; a second tenant."""
    assume(all(fits(query) and sayable(query.expand) for _, query in asked))
    stand.fill(rows)
    assert [text for one in asked for text in ask_both(stand, rows, one)] == []


@pytest.mark.slow
@MANY
@given(rows=rows_of(), asked=QUESTIONS)
def test_lists_and_gets_many_times(stand: Stand, rows: Rows, asked: tuple[tuple[Person, Query], ...]) -> None:
    """The same, 5,000 times."""
    assume(all(fits(query) and sayable(query.expand) for _, query in asked))
    stand.fill(rows)
    assert [text for one in asked for text in ask_both(stand, rows, one)] == []


GROUPED = st.tuples(*[st.tuples(st.sampled_from(PEOPLE), grouped())] * 4)
FACETED = st.tuples(*[st.tuples(st.sampled_from(PEOPLE), facets())] * 3)


def ask_for_groups(stand: Stand, rows: Rows, person: Person, asked: Grouped) -> str:
    """How the answers to one grouped list differ."""
    answer = stand.ask(person, f"{asked.rows.entity}?{group_string(asked)}")
    paths = [*(key.path for key in asked.keys), *(made.path for made in asked.made)]
    if forbidden(asked.rows.entity, paths, person):
        return compared(answer, 403, None, "groups")
    return compared(answer, 200, Groups(Market(rows, person), asked).listed(), "groups")


def ask_for_facets(stand: Stand, rows: Rows, person: Person, asked: tuple[Query, tuple[Path, ...]]) -> str:
    """How the answers to one list with facets differ."""
    query, paths = asked
    answer = stand.ask(person, f"{query.entity}?{facet_string(query, paths)}")
    if forbidden(query.entity, paths, person):
        return compared(answer, 403, None, "facets")
    market = Market(rows, person)
    return compared(answer, 200, market.listed(query) | {"facets": counted(market, query, paths)}, "facets")


@USUAL
@given(rows=rows_of(), asked=GROUPED)
def test_groups_are_what_the_model_says(stand: Stand, rows: Rows, asked: tuple[tuple[Person, Grouped], ...]) -> None:
    """Functions, periods, conditions on results, their order, pages; of rows that filters, masks and owners leave."""
    assume(all(fits(query.rows, len(query.having)) for _, query in asked))
    stand.fill(rows)
    assert [text for person, one in asked if (text := ask_for_groups(stand, rows, person, one))] == []


@USUAL
@given(rows=rows_of(), asked=FACETED)
def test_facets_are_what_the_model_says(stand: Stand, rows: Rows, asked: tuple[Any, ...]) -> None:
    """Counts of values beside a list, each without its own conditions."""
    assume(all(fits(query) and sayable(query.expand) for _, (query, _) in asked))
    stand.fill(rows)
    assert [text for person, one in asked if (text := ask_for_facets(stand, rows, person, one))] == []


@pytest.mark.slow
@MANY
@given(rows=rows_of(), groups=GROUPED, facets=FACETED)
def test_groups_and_facets_many_times(
    stand: Stand, rows: Rows, groups: tuple[tuple[Person, Grouped], ...], facets: tuple[Any, ...]
) -> None:
    """The same, 5,000 times."""
    assume(all(fits(query.rows, len(query.having)) for _, query in groups))
    assume(all(fits(query) and sayable(query.expand) for _, (query, _) in facets))
    stand.fill(rows)
    assert [text for person, one in groups if (text := ask_for_groups(stand, rows, person, one))] == []
    assert [text for person, one in facets if (text := ask_for_facets(stand, rows, person, one))] == []
