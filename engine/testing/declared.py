"""Declared behaviour that can be asked of any entity: money is rounded to its currency, a tree has no circle."""

from __future__ import annotations

from decimal import Decimal

from engine.behaviours.money import is_money
from engine.catalog import Resource
from engine.testing.bench import Bench, NotApplicable, check, contract, data, refused
from engine.types import Op

FINE = "7.0051"
ROUND = {Decimal("7.01"), Decimal(7)}  # with two places, and with none


def amounts(resource: Resource) -> list[str]:
    """The money columns that a creation may give, where a currency is declared. The declaration is asked, not the rule that
    follows from it: a rule that got lost must not take its check along."""
    header = resource.header.entity if resource.header else None
    if not (resource.entity.currency or (header and header.currency)):
        return []
    computed = {column.column for column in resource.entity.computed}
    return sorted(f.name for f in resource.columns if f.creatable and is_money(f.type) and f.name not in computed)


@contract(Op.CREATE, Op.GET, when=lambda resource: bool(amounts(resource)))
def money_is_rounded(bench: Bench) -> None:
    """An amount finer than its currency is stored half up to the currency's places."""
    recipe = bench.maker.recipe(bench.resource)
    for name in amounts(bench.resource):
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
