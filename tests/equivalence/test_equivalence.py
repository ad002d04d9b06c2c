"""Random rows, random questions: the engine over HTTP answers what plain Python makes of the same rows."""

from __future__ import annotations

from typing import Any

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


def same(found: Any, expected: Any, at: str) -> None:
    """Fails with the place of the first difference. `next_cursor` is the business of its own test."""
    if isinstance(found, dict) and isinstance(expected, dict):
        assert found.keys() - {"next_cursor"} == expected.keys(), f"{at}: other members"
        for name, value in expected.items():
            same(found[name], value, f"{at}.{name}")
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for place, (one, other) in enumerate(zip(found, expected, strict=True)):
            same(one, other, f"{at}[{place}]")
    else:
        assert found == expected, f"{at}: the engine says {found!r}, the model {expected!r}"


def ask_both(stand: Stand, rows: Rows, asked: tuple[Person, Query]) -> None:
    """One question to both."""
    person, query = asked
    answer = stand.ask(person, f"{query.entity}?{query_string(query)}")
    assert answer.status_code == 200, answer.text
    same(answer.json()["data"], Market(rows, person).listed(query), "list")
    # one row of the list, or of what is not in it
    for number in range(2):
        one = key(query.entity, number % SIZES[query.entity])
        answer = stand.ask(person, f"{query.entity}/{one}?{view_string(query)}")
        wanted = Market(rows, person).got(query, one)
        assert answer.status_code == (404 if wanted is None else 200), answer.text
        same(answer.json()["data"], wanted, "get")


@settings(USUAL, max_examples=20)
@given(rows=rows_of())
def test_what_differs_is_noticed(stand: Stand, rows: Rows) -> None:
    """The tests below look through these: a model that lacks an entity's rows is another one."""
    person, query = PEOPLE[0], Query(next(iter(rows)))
    stand.fill(rows)
    assume(Market(rows, person).listed(query)["items"])
    ask_both(stand, rows, (person, query))
    with pytest.raises(AssertionError, match="the engine says"):
        ask_both(stand, {**rows, query.entity: []}, (person, query))


@USUAL
@given(rows=rows_of(), asked=QUESTIONS)
def test_lists_and_gets_are_what_the_model_says(
    stand: Stand, rows: Rows, asked: tuple[tuple[Person, Query], ...]
) -> None:
    """Filters, nesting, sort, pages, search, expansions; hidden, masked, owned and deleted rows; a second tenant."""
    assume(all(fits(query) and sayable(query.expand) for _, query in asked))
    stand.fill(rows)
    for one in asked:
        ask_both(stand, rows, one)


@pytest.mark.slow
@MANY
@given(rows=rows_of(), asked=QUESTIONS)
def test_lists_and_gets_many_times(stand: Stand, rows: Rows, asked: tuple[tuple[Person, Query], ...]) -> None:
    """The same, 5,000 times."""
    assume(all(fits(query) and sayable(query.expand) for _, query in asked))
    stand.fill(rows)
    for one in asked:
        ask_both(stand, rows, one)


GROUPED = st.tuples(*[st.tuples(st.sampled_from(PEOPLE), grouped())] * 4)
FACETED = st.tuples(*[st.tuples(st.sampled_from(PEOPLE), facets())] * 3)


def ask_for_groups(stand: Stand, rows: Rows, person: Person, asked: Grouped) -> None:
    """One grouped list to both."""
    answer = stand.ask(person, f"{asked.rows.entity}?{group_string(asked)}")
    paths = [*(key.path for key in asked.keys), *(made.path for made in asked.made)]
    if forbidden(asked.rows.entity, paths, person):
        assert answer.status_code == 403, answer.text
        return
    assert answer.status_code == 200, answer.text
    same(answer.json()["data"], Groups(Market(rows, person), asked).listed(), "groups")


def ask_for_facets(stand: Stand, rows: Rows, person: Person, asked: tuple[Query, tuple[Path, ...]]) -> None:
    """One list with facets to both."""
    query, paths = asked
    answer = stand.ask(person, f"{query.entity}?{facet_string(query, paths)}")
    if forbidden(query.entity, paths, person):
        assert answer.status_code == 403, answer.text
        return
    assert answer.status_code == 200, answer.text
    market = Market(rows, person)
    same(answer.json()["data"], market.listed(query) | {"facets": counted(market, query, paths)}, "facets")


@USUAL
@given(rows=rows_of(), asked=GROUPED)
def test_groups_are_what_the_model_says(stand: Stand, rows: Rows, asked: tuple[tuple[Person, Grouped], ...]) -> None:
    """Functions, periods, conditions on results, their order, pages; of rows that filters, masks and owners leave."""
    assume(all(fits(query.rows, len(query.having)) for _, query in asked))
    stand.fill(rows)
    for person, one in asked:
        ask_for_groups(stand, rows, person, one)


@USUAL
@given(rows=rows_of(), asked=FACETED)
def test_facets_are_what_the_model_says(stand: Stand, rows: Rows, asked: tuple[Any, ...]) -> None:
    """Counts of values beside a list, each without its own conditions."""
    assume(all(fits(query) and sayable(query.expand) for _, (query, _) in asked))
    stand.fill(rows)
    for person, one in asked:
        ask_for_facets(stand, rows, person, one)


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
    for person, asked in groups:
        ask_for_groups(stand, rows, person, asked)
    for person, listed in facets:
        ask_for_facets(stand, rows, person, listed)
