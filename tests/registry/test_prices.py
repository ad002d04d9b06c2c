"""Price lists over HTTP; units, prices and the use of products as other domains ask for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

import pytest

from engine.errors import ApiError
from engine.hooks import Moment
from engine.moment import UnitOfWork
from engine.operations import Operations
from engine.testing.harness import Live
from engine.types import Principal, TenantRef
from registry.tenants.prices import Wanted, price_of, prices_of
from registry.tenants.product_use import require_orderable
from registry.tenants.units import convert
from tests.calls import Body, Caller
from tests.products import PRODUCTS, UNITS, make_product, name, variant, variants_of

LISTS, ITEMS = "tenants/pim/price-lists", "tenants/pim/price-list-items"
APRIL = date(2026, 4, 15)
Answer = TypeVar("Answer")


@pytest.fixture
def owner(live: Live) -> Caller:
    """The owner of the first tenant, who may do everything in it."""
    return Caller(live.client("tenants"))


def ask(live: Live, question: Callable[[Moment], Awaitable[Answer]]) -> Answer:
    """What the engine finds for the first tenant."""
    who = Principal(None, tenant=TenantRef(live.tenant(live.client("tenants")), "first"), everything=True)

    async def work(operations: Operations) -> Answer:
        async with UnitOfWork(operations, "tenants", who) as moment:
            return await question(moment)

    answer: Answer = live.beside.run(work)
    return answer


def make_list(caller: Caller, *items: Body, **values: Any) -> Body:
    """An active price list in US dollars."""
    usual = {"code": name("PL"), "name": "List", "currency": "USD", "valid_from": "2026-01-01", "items": list(items)}
    return caller.move(LISTS, caller.make(LISTS, **{**usual, **values})["id"], "active")


def item(row: Body, unit_price: str, **values: Any) -> Body:
    """An item of a price list."""
    return {"variant_id": row["id"], "unit_price": unit_price, "valid_from": "2026-01-01", **values}


@pytest.fixture
def shirt(owner: Caller) -> Body:
    """A variant without a price of its own, of a product at 25."""
    return variants_of(owner, make_product(owner, list_price="25"))[0]


# -- price lists


def test_one_default_list_a_kind_and_currency(owner: Caller) -> None:
    """u (kind,currency) where is_default: 409 duplicate; other currencies and kinds have theirs."""
    first = make_list(owner, currency="CHF", is_default=True)
    body = {**{key: first[key] for key in ("name", "currency", "valid_from")}, "code": name("PL"), "is_default": True}
    owner.expect_refusal("409:duplicate", "POST", LISTS, body)
    second = owner.make(LISTS, **{**body, "kind": "purchase"})
    owner.expect_refusal("422:write_once", "PATCH", f"{LISTS}/{second['id']}", {"kind": "sale"})
    third = owner.make(LISTS, **{**body, "code": name("PL"), "is_default": False})
    owner.expect_refusal("409:duplicate", "PATCH", f"{LISTS}/{third['id']}", {"is_default": True})
    owner.change(LISTS, first["id"], is_default=False)
    assert owner.change(LISTS, third["id"], is_default=True)["is_default"]


def test_items_of_one_break_do_not_overlap(owner: Caller, shirt: Body) -> None:
    """x (price_list_id,variant_id,min_qty): 409 overlapping_period, nested and by its own route, days included."""
    spring = item(shirt, "20", valid_until="2026-03-31")
    summer = item(shirt, "22", valid_from="2026-04-01")
    row = make_list(owner, spring, summer, item(shirt, "18", min_qty="10"))
    late = {**item(shirt, "19"), "price_list_id": row["id"], "valid_from": "2027-01-01"}
    owner.expect_refusal("409:overlapping_period", "POST", ITEMS, late)
    owner.make(ITEMS, **{**late, "min_qty": "5"})
    body = {"items": [spring, {**summer, "valid_from": "2026-03-31"}]}
    owner.expect_refusal("409:overlapping_period", "PATCH", f"{LISTS}/{row['id']}", body)
    owner.expect_refusal("422:check_failed", "POST", ITEMS, {**late, "min_qty": "7", "valid_until": "2026-12-31"})
    assert len(owner.list(ITEMS, f"filter[price_list_id]={row['id']}")) == 4


def test_only_the_engine_expires_by_itself(owner: Caller) -> None:
    """s: draft>active; active>expired; expired>active."""
    row = make_list(owner)
    owner.stays("409:invalid_transition", LISTS, row["id"], "draft")
    assert owner.move(LISTS, row["id"], "expired", "active")["status"] == "active"


def test_price_lists_expire(live: Live, owner: Caller) -> None:
    """expire_documents: active~>expired the day after valid_until; drafts and open ends stay; a second run finds none."""
    ends = {"valid_from": "2026-01-01", "valid_until": "2026-03-31"}
    ended, later, endless = make_list(owner, **ends), make_list(owner, **ends, kind="purchase"), make_list(owner)
    owner.change(LISTS, later["id"], valid_until="2026-04-01")
    draft = owner.make(LISTS, code=name("PL"), name="Draft", currency="USD", **ends)
    rows = (ended, later, endless, draft)
    for day, states in (
        (datetime(2026, 3, 31, 23, tzinfo=UTC), ["active", "active", "active", "draft"]),
        (datetime(2026, 4, 1, tzinfo=UTC), ["expired", "active", "active", "draft"]),
        (datetime(2026, 4, 2, tzinfo=UTC), ["expired", "expired", "active", "draft"]),
    ):
        live.run_job("expire_documents", now=day)
        assert [owner.get(LISTS, row["id"])["status"] for row in rows] == states
        versions = [owner.get(LISTS, row["id"])["version"] for row in rows]
        live.run_job("expire_documents", now=day)
        assert [owner.get(LISTS, row["id"])["version"] for row in rows] == versions


# -- prices


def priced(live: Live, row: Body, quantity: str, **values: Any) -> Decimal | None:
    """The price of a variant."""
    facts = {"list_id": None, "currency": "USD", "on": APRIL, **values}
    facts["list_id"] = UUID(facts["list_id"]) if facts["list_id"] else None
    return ask(live, lambda moment: price_of(moment, UUID(row["id"]), quantity=Decimal(quantity), **facts))


def test_a_price_is_that_of_the_largest_break_reached(live: Live, owner: Caller, shirt: Body) -> None:
    """price_of: largest min_qty <= quantity, less its discount, rounded half up to six places."""
    breaks = [item(shirt, "20"), item(shirt, "18", min_qty="10"), item(shirt, "10.000001", min_qty="50")]
    breaks[2]["discount_pct"] = "12.5"
    row = make_list(owner, *breaks)
    found = [priced(live, shirt, quantity, list_id=row["id"]) for quantity in ("0.5", "1", "9.9999", "10", "50")]
    assert found == [Decimal(text) for text in ("25", "20", "20", "18", "8.750001")]


def test_a_price_is_valid_on_its_days(live: Live, owner: Caller, shirt: Body) -> None:
    """price_of: item and list are valid on the day, ends included; lists not in use and deleted items do not count."""
    days = {"valid_from": "2026-04-10", "valid_until": "2026-04-20"}
    inner, outer = make_list(owner, item(shirt, "20", **days)), make_list(owner, item(shirt, "20"), **days)
    for row in (inner, outer):
        for day, price in ((9, "25"), (10, "20"), (20, "20"), (21, "25")):
            assert priced(live, shirt, "1", list_id=row["id"], on=date(2026, 4, day)) == Decimal(price)
    owner.move(LISTS, outer["id"], "expired")
    owner.drop(ITEMS, owner.list(ITEMS, f"filter[price_list_id]={inner['id']}")[0]["id"])
    for row in (inner, outer):
        assert priced(live, shirt, "1", list_id=row["id"]) == 25


def test_without_a_list_the_default_sale_list_is_asked(live: Live, owner: Caller, shirt: Body) -> None:
    """price_of: of the currency; a purchase list, a list of another currency and another variant's item do not count."""
    other = variants_of(owner, make_product(owner, list_price="7"))[0]
    sale = make_list(owner, item(shirt, "30"), currency="SEK", is_default=True)
    make_list(owner, item(shirt, "31"), currency="NOK", is_default=True, kind="purchase")
    make_list(owner, item(shirt, "32"), currency="NOK")
    assert priced(live, shirt, "1", currency="SEK") == 30
    assert priced(live, other, "1", currency="SEK") is None
    assert priced(live, shirt, "1", currency="NOK") is None
    assert priced(live, shirt, "1", list_id=sale["id"]) == 25


def test_a_list_price_is_in_base_currency(live: Live, owner: Caller) -> None:
    """prices_of: the variant's own list price, else its product's, for a set at once; none in another currency."""
    product = make_product(owner, variant("S", list_price="26"), variant("M"), list_price="25")
    keys = [UUID(row["id"]) for row in variants_of(owner, product)]
    wanted = [Wanted(key, currency, Decimal(1), APRIL) for key in keys for currency in ("USD", "EUR")]
    assert ask(live, lambda moment: prices_of(moment, wanted)) == [26, None, 25, None]


# -- units


def converting(live: Live, quantity: str, source: Body, target: Body) -> Decimal:
    """A quantity in another unit."""
    keys = UUID(source["id"]), UUID(target["id"])
    return ask(live, lambda moment: convert(moment, Decimal(quantity), *keys))


def test_quantities_are_converted(live: Live, owner: Caller) -> None:
    """PIM-U1: times factor a / factor b, half up to b.decimals, in one dimension only."""
    made = {}
    for code, dimension, factor, decimals in (
        *(("DOZEN", "count", "12", 0), ("HALF", "count", "0.5", 2)),
        *(("GRAM", "mass", "0.001", 0), ("TON", "mass", "1000", 4), ("POUND", "mass", "0.45359237", 2)),
    ):
        about = {"name": code, "dimension": dimension, "factor": factor, "decimals": decimals}
        made[code] = owner.make(UNITS, code=name(code), **about)
    assert converting(live, "2.5", made["DOZEN"], made["HALF"]) == 60
    assert converting(live, "1", made["HALF"], made["DOZEN"]) == 0
    assert converting(live, "12", made["HALF"], made["DOZEN"]) == 1  # 0.5 goes up
    assert converting(live, "450", made["GRAM"], made["TON"]) == Decimal("0.0005")
    assert converting(live, "1", made["TON"], made["POUND"]) == Decimal("2204.62")
    assert converting(live, "99999999999999.9999", made["TON"], made["GRAM"]) == Decimal("99999999999999999900")
    with pytest.raises(ApiError) as error:
        converting(live, "1", made["GRAM"], made["DOZEN"])
    assert (error.value.status, error.value.code) == (422, "unit_mismatch")


def test_a_dimension_has_one_base_unit(owner: Caller) -> None:
    """u (dimension) where is_base; k not is_base or factor = 1."""
    known = owner.list(UNITS, "filter[dimension]=area&filter[is_base]=true")
    about: Body = {"name": "Square metre", "dimension": "area", "is_base": True}
    if not known:
        owner.make(UNITS, code=name("M2"), factor="1", **about)
    owner.expect_refusal("409:duplicate", "POST", UNITS, {"code": name("M2"), "factor": "1", **about})
    owner.expect_refusal("422:check_failed", "POST", UNITS, {"code": name("M2"), "factor": "2", **about})


# -- use


def test_discontinued_products_take_no_new_order_lines(live: Live, owner: Caller) -> None:
    """PIM-P4: order lines ask before they are written; one such product among others is enough."""
    products = [make_product(owner) for _ in range(2)]
    keys = [UUID(variants_of(owner, product)[0]["id"]) for product in products]
    ask(live, lambda moment: require_orderable(moment, keys))
    for states in (("active", "discontinued"), ("archived",)):
        owner.move(PRODUCTS, products[1]["id"], *states)
        with pytest.raises(ApiError) as error:
            ask(live, lambda moment: require_orderable(moment, keys))
        assert (error.value.status, error.value.code) == (409, "product_not_sellable")
        assert products[1]["sku"] in error.value.message and products[0]["sku"] not in error.value.message
    ask(live, lambda moment: require_orderable(moment, keys[:1]))
