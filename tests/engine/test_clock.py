"""One clock, one source of ids and secrets."""

from __future__ import annotations

from datetime import UTC, date, datetime

from engine.clock import Clock, random_token


def test_a_stopped_clock_stands_still_and_runs_again() -> None:
    clock = Clock()
    moment = datetime(2026, 1, 31, 23, 59, 59, 999999, tzinfo=UTC)
    clock.at(moment)
    assert clock.now() == clock.now() == moment and clock.today() == date(2026, 1, 31)
    clock.at(None)
    assert clock.now() > moment and clock.now().tzinfo is UTC


def test_ids_are_uuid7_in_the_order_of_time() -> None:
    ids = [Clock().new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000 and ids == sorted(ids)
    assert {key.version for key in ids} == {7}


def test_tokens_are_random_letters_and_digits() -> None:
    tokens = {random_token(24) for _ in range(200)}
    assert len(tokens) == 200 and all(len(token) == 24 and token.isalnum() and token.isascii() for token in tokens)
    assert not set("".join(tokens)) & set("IlO01")
