"""The order of rules: as declared, unless one reads what another writes."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import StartupFault
from engine.hooks import Change, Moment, Point, Rule
from engine.ordering import in_order


async def nothing(_moment: Moment, _changes: list[Change]) -> None: ...


def rule(name: str, reads: str = "", writes: str = "") -> Rule:
    sets = {"reads": frozenset(reads.split()), "writes": frozenset(writes.split())}
    return Rule(name, "shop/bill/plans", (Point.BEFORE_CREATE,), nothing, **sets)


def names(rules: list[Rule]) -> str:
    return " ".join(one.id for one in in_order(rules))


def test_rules_that_share_nothing_keep_their_order() -> None:
    assert names([rule("c"), rule("a"), rule("b")]) == "c a b"


def test_who_reads_comes_after_who_writes() -> None:
    total, tax, lines = rule("total", "net tax", "total"), rule("tax", "net", "tax"), rule("lines", writes="net")
    assert names([total, tax, lines, rule("other")]) == "lines tax total other"


def test_a_rule_that_reads_what_it_writes_waits_for_nobody() -> None:
    assert names([rule("a", "x", "x"), rule("b")]) == "a b"


def test_a_circle_is_named() -> None:
    with pytest.raises(StartupFault, match=r"shop/bill/plans: rules wait .*: [ab] \(nothing\) -> [ab] \(nothing\)"):
        in_order([rule("a", "x", "y"), rule("b", "y", "x")])


columns = st.sets(st.sampled_from("uvwxyz"), max_size=3)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(columns, columns), max_size=7))
def test_any_order_holds_what_it_promises(pairs: list[tuple[set[str], set[str]]]) -> None:
    rules = [rule(str(i), " ".join(reads), " ".join(writes)) for i, (reads, writes) in enumerate(pairs)]
    try:
        ordered = in_order(rules)
    except StartupFault:
        return
    assert sorted(one.id for one in ordered) == sorted(one.id for one in rules)
    for place, one in enumerate(ordered):
        assert not any(later.writes & one.reads for later in ordered[place + 1 :])
