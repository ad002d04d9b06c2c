"""Whatever tree of expansions, conditions and sort keys a list or a get asks for, or which groups: one statement answers it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import assume, given, settings

from tests.equivalence.asking import query_string, sayable, view_string
from tests.equivalence.conftest import PEOPLE, Stand
from tests.equivalence.drawing import fits, key, queries, rows_of
from tests.equivalence.drawing_groups import facet_string, facets, group_string, grouped
from tests.equivalence.groups import Grouped, Path
from tests.equivalence.model import Market, Query, Rows
from tests.equivalence.test_equivalence import USUAL

TABLES = ("shop.", "vault.")


@contextmanager
def statements(stand: Stand) -> Iterator[list[str]]:
    """What is sent to the tables of the market, in autocommit or in a transaction."""
    pool = type(stand.live.system.pools["tenants"])
    sent: list[str] = []
    run, transaction = pool.run, pool.transaction

    async def counted(self: Any, tenant: Any, text: str, arguments: Any, *rest: Any) -> Any:
        sent.extend([text] if any(table in text for table in TABLES) else [])
        return await run(self, tenant, text, arguments, *rest)

    def refused(self: Any, tenant: Any, *rest: Any) -> Any:
        sent.extend(["begin", "commit"] if tenant == stand.tenants[0] else [])
        return transaction(self, tenant, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "run", counted)
        patch.setattr(pool, "transaction", refused)
        yield sent


@settings(USUAL, max_examples=60)
@given(rows=rows_of(), query=queries())
def test_any_tree_is_one_statement(stand: Stand, rows: Rows, query: Query) -> None:
    """Lists and gets, with everything that a query can hold."""
    assume(fits(query) and sayable(query.expand))
    stand.fill(rows)
    with statements(stand) as sent:
        assert stand.ask(PEOPLE[1], f"{query.entity}?{query_string(query)}").status_code == 200
    assert len(sent) == 1, sent
    with statements(stand) as sent:
        answer = stand.ask(PEOPLE[1], f"{query.entity}/{key(query.entity, 0)}?{view_string(query)}")
    found = Market(rows, PEOPLE[1]).got(query, key(query.entity, 0)) is not None
    assert answer.status_code == (200 if found else 404)
    assert len(sent) == 1, sent


@settings(USUAL, max_examples=60)
@given(rows=rows_of(), asked=grouped())
def test_any_groups_are_one_statement(stand: Stand, rows: Rows, asked: Grouped) -> None:
    """Whatever they are made of, counted or not."""
    assume(fits(asked.rows, len(asked.having)))
    stand.fill(rows)
    with statements(stand) as sent:
        assert stand.ask(PEOPLE[0], f"{asked.rows.entity}?{group_string(asked)}").status_code == 200
    assert len(sent) == 1, sent


@settings(USUAL, max_examples=60)
@given(rows=rows_of(), asked=facets())
def test_all_facets_together_are_one_statement_more(
    stand: Stand, rows: Rows, asked: tuple[Query, tuple[Path, ...]]
) -> None:
    """However many there are."""
    query, paths = asked
    assume(fits(query) and sayable(query.expand))
    stand.fill(rows)
    with statements(stand) as sent:
        assert stand.ask(PEOPLE[0], f"{query.entity}?{facet_string(query, paths)}").status_code == 200
    assert len(sent) == 2, sent
