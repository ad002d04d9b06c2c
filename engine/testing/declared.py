"""Declared behaviour that can be asked of any entity: money is rounded to its currency, a tree has no circle."""

from __future__ import annotations

from decimal import Decimal

from engine.catalog import Resource
from engine.hooks import Point, Rule
from engine.testing.bench import Bench, NotApplicable, check, contract, data, refused
from engine.types import Op

FINE = "7.0051"
ROUND = {Decimal("7.01"), Decimal(7)}  # with two places, and with none


def rounding(resource: Resource) -> Rule | None:
    """The rule that rounds an entity's money."""
    rules = resource.hooks.get(Point.BEFORE_CREATE, ())
    return next((rule for rule in rules if rule.id == "G10"), None)


@contract(Op.CREATE, Op.GET, when=lambda resource: rounding(resource) is not None)
def money_is_rounded(bench: Bench) -> None:
    """An amount finer than its currency is stored half up to the currency's places."""
    rule = rounding(bench.resource)
    assert rule is not None
    recipe = bench.maker.recipe(bench.resource)
    open_ones = [name for name in sorted(rule.writes) if bench.resource.fields[name].creatable]
    for name in open_ones:
        if name in recipe.decided:
            continue
        body = {**bench.maker.body(bench.resource), name: FINE}
        answer = bench.client.post(bench.path(), json=body)
        if answer.status_code == 201:
            check(Decimal(data(answer, 201)[name]) in ROUND, f"{name} {FINE} is stored as {data(answer, 201)[name]}")
            return
    raise NotApplicable("no amount can be given on its own")


@contract(Op.CREATE, Op.UPDATE, when=lambda resource: resource.entity.tree is not None)
def tree_has_no_circle(bench: Bench) -> None:
    """A node cannot be put below its own child."""
    link = str(bench.resource.entity.tree)
    top = bench.maker.make(bench.resource, **{link: None})
    below = bench.maker.make(bench.resource, **{link: top["id"]})
    answer = bench.client.patch(bench.path(top), json={link: below["id"]})
    if answer.status_code == 422 and bench.documented(answer) and "tree_cycle" not in answer.text:
        raise NotApplicable("a rule of the domain comes first")
    refused(answer, 422, "tree_cycle")
