"""Behaviour of categories, products and variants, over HTTP at /tenants/pim/."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from engine.testing.harness import Live
from tests.calls import Body, Caller
from tests.products import (
    CATEGORIES,
    PRODUCTS,
    VARIANTS,
    defaults,
    make_category,
    make_product,
    make_unit,
    name,
    product_body,
    put_stock,
    variant,
    variants_of,
)

ACCOUNTS = "tenants/fim/accounts"


@pytest.fixture
def owner(live: Live) -> Caller:
    """The owner of the first tenant, who may do everything in it."""
    return Caller(live.client("tenants"))


# -- categories


def test_a_category_knows_its_place(owner: Caller) -> None:
    """PIM-C1: path is the codes from the root, depth counts from 1; several in one body too."""
    root = make_category(owner)
    bodies = [{"code": name("CAT"), "name": "Child", "parent_id": root["id"]} for _ in range(2)]
    rows = owner.send(201, "POST", CATEGORIES, bodies)
    leaf = make_category(owner, parent_id=rows[1]["id"])
    assert (root["path"], root["depth"]) == (root["code"], 1)
    assert [(row["path"], row["depth"]) for row in rows] == [(f"{root['code']}/{row['code']}", 2) for row in rows]
    assert (leaf["path"], leaf["depth"]) == (f"{rows[1]['path']}/{leaf['code']}", 3)


def test_a_subtree_moves_along(owner: Caller) -> None:
    """PIM-C1: path and depth of all below follow a move, in one request and with their own records."""
    old, new = make_category(owner), make_category(owner)
    top = make_category(owner, parent_id=old["id"])
    middle = make_category(owner, parent_id=top["id"])
    leaves = [make_category(owner, parent_id=middle["id"]) for _ in range(2)]
    moved = owner.change(CATEGORIES, top["id"], parent_id=new["id"])
    assert (moved["path"], moved["depth"]) == (f"{new['code']}/{top['code']}", 2)
    for row in leaves:
        path = f"{moved['path']}/{middle['code']}/{row['code']}"
        found = owner.get(CATEGORIES, row["id"])
        assert (found["path"], found["depth"], found["version"]) == (path, 4, 2)
    owner.change(CATEGORIES, top["id"], parent_id=None)
    assert owner.get(CATEGORIES, leaves[0]["id"])["path"] == f"{top['code']}/{middle['code']}/{leaves[0]['code']}"
    assert owner.get(CATEGORIES, leaves[0]["id"])["depth"] == 3


def test_a_restored_category_finds_its_place_anew(owner: Caller) -> None:
    """PIM-C1: what was deleted while its parent moved comes back below the parent's new path."""
    home, other = make_category(owner), make_category(owner)
    leaf = make_category(owner, parent_id=home["id"])
    owner.drop(CATEGORIES, leaf["id"])
    owner.change(CATEGORIES, home["id"], parent_id=other["id"])
    back = owner.move(CATEGORIES, leaf["id"], "active")
    assert (back["path"], back["depth"]) == (f"{other['code']}/{home['code']}/{leaf['code']}", 3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"code": "size", "type": "colour"},
        {"code": "size", "type": "option"},
        {"code": "size", "type": "option", "options": ["S", "S"]},
        {"code": "size", "type": "text", "options": ["S"]},
        {"code": "weight", "type": "number"},
    ],
)
def test_a_definition_has_a_known_type(owner: Caller, wrong: Body) -> None:
    """PIM-C1: type is one of six, an option has options, codes are not repeated."""
    body = {"code": name("CAT"), "name": "Bad", "attributes": [{"code": "weight", "type": "number"}, wrong]}
    error = owner.expect_refusal("422:bad_attribute", "POST", CATEGORIES, body)
    assert error["details"][0]["field"] == "attributes[1]"


def test_attribute_codes_are_unique_along_the_path(owner: Caller) -> None:
    """PIM-C1: against what lies above and below, at create, change and move; side lines do not matter."""
    size = {"code": "size", "type": "text"}
    root = make_category(owner)
    left, right = make_category(owner, size, parent_id=root["id"]), make_category(owner, size, parent_id=root["id"])
    body = {"code": name("CAT"), "name": "Twice", "parent_id": left["id"], "attributes": [size]}
    owner.expect_refusal("422:bad_attribute", "POST", CATEGORIES, body)
    owner.expect_refusal("422:bad_attribute", "PATCH", f"{CATEGORIES}/{root['id']}", {"attributes": [size]})
    middle = make_category(owner)
    owner.change(CATEGORIES, left["id"], parent_id=middle["id"])
    owner.expect_refusal("422:bad_attribute", "PATCH", f"{CATEGORIES}/{middle['id']}", {"parent_id": right["id"]})
    assert owner.get(CATEGORIES, left["id"])["path"] == f"{middle['code']}/{left['code']}"


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ("revenue_account_id", "income"),
        ("cogs_account_id", "expense"),
        ("expense_account_id", "expense"),
        ("inventory_account_id", "asset"),
    ],
)
def test_accounts_fit_their_column(owner: Caller, column: str, kind: str) -> None:
    """PIM-C1: leaves of the type that the column is for."""
    wrong = "liability" if kind == "asset" else "asset"
    fitting, group, other = (
        owner.make(ACCOUNTS, code=name("A"), name="Account", type=type_, is_group=is_group)["id"]
        for type_, is_group in ((kind, False), (kind, True), (wrong, False))
    )
    row = make_category(owner, **{column: fitting})
    assert row[column] == fitting
    for account in (group, other):
        owner.expect_refusal("422:account_type", "PATCH", f"{CATEGORIES}/{row['id']}", {column: account})
        body = {"code": name("CAT"), "name": "Bad", column: account}
        owner.expect_refusal("422:account_type", "POST", CATEGORIES, [body])
    assert owner.change(CATEGORIES, row["id"], **{column: None})[column] is None


# -- attributes of products


@pytest.fixture
def described(owner: Caller) -> Body:
    """A category below another; both define attributes."""
    fabric = {"code": "fabric", "type": "option", "options": ["wool", "silk"], "required": True}
    plain = [{"code": kind, "type": kind} for kind in ("text", "int", "number", "bool", "date")]
    return make_category(owner, *plain, parent_id=make_category(owner, fabric)["id"])


GOOD = {"fabric": "wool", "text": "x", "int": 3, "number": 2.5, "bool": False, "date": "2026-02-28"}


def test_attributes_of_a_product_are_kept(owner: Caller, described: Body) -> None:
    """PIM-P1: what the category and those above it define may be said."""
    row = make_product(owner, category_id=described["id"], attributes=GOOD)
    assert row["attributes"] == GOOD
    assert owner.change(PRODUCTS, row["id"], attributes={"fabric": "silk"})["attributes"] == {"fabric": "silk"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("fabric", "nylon"), ("fabric", None), ("text", 1), ("int", 2.5), ("int", True), ("number", "2")),
        *(("number", False), ("bool", 0), ("date", "2026-02-30"), ("date", "20260228"), ("colour", "red")),
    ],
)
def test_attributes_fit_their_definitions(owner: Caller, described: Body, field: str, value: Any) -> None:
    """PIM-P1: type and option right, none unknown; the fault names the attribute, in a body of several too."""
    good = product_body(owner, category_id=described["id"], attributes=GOOD)
    bad = {**good, "sku": name("SKU"), "attributes": {**GOOD, field: value}}
    error = owner.expect_refusal("422:attribute_invalid", "POST", PRODUCTS, [good, bad])
    assert [fault["field"] for fault in error["details"]] == [f"[1].attributes.{field}"]
    row = owner.make(PRODUCTS, **good)
    change = {"attributes": {**GOOD, field: value}}
    owner.expect_refusal("422:attribute_invalid", "PATCH", f"{PRODUCTS}/{row['id']}", change)


def test_required_attributes_are_asked_for(owner: Caller, described: Body) -> None:
    """PIM-P1: at create without attributes, and when a product comes into another category."""
    body = product_body(owner, category_id=described["id"])
    owner.expect_refusal("422:attribute_invalid", "POST", PRODUCTS, body)
    row = make_product(owner)
    change = {"category_id": described["id"]}
    owner.expect_refusal("422:attribute_invalid", "PATCH", f"{PRODUCTS}/{row['id']}", change)
    moved = owner.change(PRODUCTS, row["id"], **change, attributes={"fabric": "silk"})
    assert moved["category_id"] == described["id"]


# -- default variants


def test_a_product_without_variants_gets_one(owner: Caller) -> None:
    """PIM-P2: a default variant with the product's sku, for each product of a body."""
    bodies = [product_body(owner, name="Bolt"), product_body(owner, variants=[variant("S")])]
    plain, sized = owner.send(201, "POST", PRODUCTS, bodies)
    [made], [given] = variants_of(owner, plain), variants_of(owner, sized)
    assert (made["sku"], made["name"], made["is_default"], made["options"]) == (plain["sku"], "Bolt", True, {})
    assert (given["sku"], given["name"]) == (bodies[1]["variants"][0]["sku"], "Shirt S")
    assert given["is_default"]


def test_exactly_one_variant_is_the_default(owner: Caller) -> None:
    """PIM-P2: the first, unless one is named; a new one takes the old one's place; it cannot be given up."""
    product = make_product(owner, variant("S", sku=name("S")), variant("M"), variant("L", is_default=True))
    small, middle, large = variants_of(owner, product)
    assert defaults(owner, product) == [large["sku"]]
    owner.change(VARIANTS, small["id"], is_default=True)
    assert defaults(owner, product) == [small["sku"]]
    assert owner.change(VARIANTS, small["id"], is_default=False)["is_default"]
    new = owner.make(VARIANTS, product_id=product["id"], **variant("XL", is_default=True))
    assert defaults(owner, product) == [new["sku"]]
    owner.make(VARIANTS, product_id=product["id"], **variant("XXL"))
    assert defaults(owner, product) == [new["sku"]]
    owner.drop(VARIANTS, new["id"])
    assert defaults(owner, product) == [small["sku"]]
    owner.move(VARIANTS, small["id"], "inactive")
    assert defaults(owner, product) == [middle["sku"]]
    assert not owner.move(VARIANTS, small["id"], "active")["is_default"]
    assert defaults(owner, product) == [middle["sku"]]


def test_two_defaults_in_one_body_collide(owner: Caller) -> None:
    """PIM-P2: no product is made with two."""
    both = [variant("S", is_default=True), variant("M", is_default=True)]
    owner.expect_refusal("409:duplicate", "POST", PRODUCTS, product_body(owner, variants=both))


# -- products in use


@pytest.mark.parametrize(
    ("field", "value"), [("tracking", "lot"), ("valuation", "standard"), ("unit_id", None), ("kind", "service")]
)
def test_a_product_with_moves_keeps_what_counts_it(live: Live, owner: Caller, field: str, value: Any) -> None:
    """PIM-P3: frozen while stock is there and after it has gone; the rest changes. kind is write-once anyway."""
    value = value or make_unit(owner)["id"]
    fresh, used, sold = (make_product(owner, standard_cost="1") for _ in range(3))
    put_stock(live, variants_of(owner, used)[0], "5", "2")
    put_stock(live, variants_of(owner, sold)[0], "0", "2")
    if field == "kind":
        owner.expect_refusal("422:write_once", "PATCH", f"{PRODUCTS}/{used['id']}", {field: value})
        return
    assert owner.change(PRODUCTS, fresh["id"], **{field: value})[field] == value
    for row in (used, sold):
        owner.expect_refusal("409:product_in_use", "PATCH", f"{PRODUCTS}/{row['id']}", {field: value})
        same = owner.change(PRODUCTS, row["id"], **{field: row[field], "name": "Renamed"})
        assert same["name"] == "Renamed"


def test_a_product_with_stock_stays(live: Live, owner: Caller) -> None:
    """PIM-P4: neither archived nor deleted while something of it is on hand; discontinuing is free."""
    product = make_product(owner, variant("S"), variant("M"))
    stocked = variants_of(owner, product)[1]
    put_stock(live, stocked, "0.5")
    owner.move(PRODUCTS, product["id"], "active", "discontinued")
    owner.stays("409:stock_remaining", PRODUCTS, product["id"], "archived")
    owner.expect_refusal("409:stock_remaining", "DELETE", f"{PRODUCTS}/{product['id']}")
    put_stock(live, stocked, "0")
    owner.move(PRODUCTS, product["id"], "archived")
    owner.drop(PRODUCTS, product["id"])
    assert variants_of(owner, product) == []


# -- variants


@pytest.mark.parametrize("barcode", ["96385074", "036000291452", "4006381333931", "10012345678902"])
def test_a_barcode_is_a_gtin(owner: Caller, barcode: str) -> None:
    """PIM-V1: GTIN-8, 12, 13 and 14 with a right check digit, nested and by its own route."""
    product = make_product(owner, variant("S", barcode=barcode), variant("M"))
    small, middle = variants_of(owner, product)
    assert small["barcode"] == barcode
    wrong = barcode[:-1] + str((int(barcode[-1]) + 1) % 10)
    for text in (wrong, barcode[:-1], f"{barcode[:-1]}x", ""):
        owner.expect_refusal("422:barcode_invalid", "PATCH", f"{VARIANTS}/{middle['id']}", {"barcode": text})
    body = product_body(owner, variants=[variant("S"), variant("M", barcode=wrong)])
    error = owner.expect_refusal("422:barcode_invalid", "POST", PRODUCTS, body)
    assert error["details"][0]["field"] == "variants[1].barcode"
    owner.expect_refusal("409:duplicate", "PATCH", f"{VARIANTS}/{middle['id']}", {"barcode": barcode})
    assert owner.change(VARIANTS, small["id"], barcode=None)["barcode"] is None


def test_variants_have_the_same_option_names(owner: Caller) -> None:
    """PIM-V1: in one body, beside stored ones, at change and at restore; a lone variant may change its options."""
    colour = {"sku": name("VAR"), "options": {"colour": "red"}}
    owner.expect_refusal("422:options_mismatch", "POST", PRODUCTS, product_body(owner, variants=[variant("S"), colour]))
    product = make_product(owner, variant("S"))
    [small] = variants_of(owner, product)
    owner.expect_refusal("422:options_mismatch", "POST", VARIANTS, {"product_id": product["id"], **colour})
    middle = owner.make(VARIANTS, product_id=product["id"], **variant("M"))
    for options in ({"colour": "red"}, {"size": "S", "colour": "red"}, {}):
        change = {"options": options}
        owner.expect_refusal("422:options_mismatch", "PATCH", f"{VARIANTS}/{middle['id']}", change)
    assert owner.change(VARIANTS, middle["id"], options={"size": 42})["options"] == {"size": 42}
    owner.expect_refusal("409:duplicate", "PATCH", f"{VARIANTS}/{middle['id']}", {"options": {"size": "S"}})
    owner.drop(VARIANTS, middle["id"])
    assert owner.change(VARIANTS, small["id"], options={"colour": "blue"})["options"] == {"colour": "blue"}
    owner.stays("422:options_mismatch", VARIANTS, middle["id"], "active")


def test_a_variant_with_stock_stays(live: Live, owner: Caller) -> None:
    """PIM-V2: by either route, whether the stock is above or below zero."""
    product = make_product(owner, variant("S"), variant("M"), variant("L"))
    for row, on_hand in zip(variants_of(owner, product), ("3", "-1", "0"), strict=True):
        put_stock(live, row, on_hand)
        if on_hand != "0":
            owner.expect_refusal("409:stock_remaining", "DELETE", f"{VARIANTS}/{row['id']}")
            owner.stays("409:stock_remaining", VARIANTS, row["id"], "inactive")
        else:
            owner.drop(VARIANTS, row["id"])


def test_the_only_variant_stays(owner: Caller) -> None:
    """PIM-V2: a product keeps one variant, unless it goes as a whole."""
    product = make_product(owner, variant("S"), variant("M"))
    small, middle = variants_of(owner, product)
    owner.drop(VARIANTS, small["id"])
    owner.expect_refusal("409:last_variant", "DELETE", f"{VARIANTS}/{middle['id']}")
    owner.stays("409:last_variant", VARIANTS, middle["id"], "inactive")
    owner.drop(PRODUCTS, product["id"])
    owner.expect_refusal("404:not_found", "GET", f"{VARIANTS}/{middle['id']}")


def test_two_who_delete_at_once_leave_one_variant(owner: Caller) -> None:
    """PIM-V2: the last two variants deleted at the same time: one of them stays."""
    for _ in range(3):
        rows = variants_of(owner, make_product(owner, variant("S"), variant("M")))
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda row: owner.client.delete(f"/{VARIANTS}/{row['id']}").status_code, rows))
        assert sorted(answers) == [200, 409]


def test_a_child_made_during_a_move_moves_along(owner: Caller) -> None:
    """PIM-C1: whoever comes first, the child's path is its parent's."""
    for _ in range(5):
        top, new = make_category(owner), make_category(owner)
        parent = make_category(owner, parent_id=top["id"])
        with ThreadPoolExecutor(2) as pool:
            moved = pool.submit(owner.change, CATEGORIES, top["id"], parent_id=new["id"])
            made = pool.submit(make_category, owner, parent_id=parent["id"])
            moved.result()
        child = owner.get(CATEGORIES, made.result()["id"])
        assert child["path"] == f"{new['code']}/{top['code']}/{parent['code']}/{child['code']}"
        assert child["depth"] == 4
