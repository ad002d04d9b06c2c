"""A database of a thousand tables is served soon after the start."""

from __future__ import annotations

import time

import pytest

from engine.main import load
from engine.reflection import Wish, reflect
from tests.engine.reflection.conftest import Database
from tests.engine.reflection.somebody import ask

TABLES, SECONDS = 1000, 5.0
TABLE = """
create table big.t{number} (
    id bigint generated always as identity primary key, code varchar(20) not null unique, name text not null,
    parent_id bigint {parent}, amount numeric(12, 2) check (amount >= 0), state big.state default 'a',
    made timestamptz default now(), tags text[], doc jsonb, active boolean, note text, day date
)"""


@pytest.fixture(scope="module")
def thousand(database: Database) -> str:
    url = database("thousand", "create schema big; create type big.state as enum ('a', 'b')")
    for start in range(0, TABLES, 100):
        numbers = range(start, start + 100)
        parents = [f"references big.t{number - 1}" if number else "" for number in numbers]
        ask(url, ";".join(TABLE.format(number=n, parent=parent) for n, parent in zip(numbers, parents, strict=True)))
    return url


def test_a_thousand_tables_start_within_five_seconds(thousand: str) -> None:
    # of this process and its threads: other work on the machine is not counted
    began = time.process_time()
    found = reflect(Wish(thousand, "shop", write=True))
    _, catalog = load(["registry"], found)
    spent = time.process_time() - began
    assert sum(path.startswith("shop/big/") for path in catalog.resources) == TABLES
    assert spent < SECONDS
    began = time.process_time()
    assert found.fresh() is None
    assert time.process_time() - began < SECONDS / 5
