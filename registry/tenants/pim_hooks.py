"""Behaviour of products and their variants: attributes, default variants, bar codes, what stays while it is in use."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import select

from engine.errors import ConflictError, ValidationError
from engine.hooks import Change, Moment, Point, Row, Rules, refuse
from registry.locks import lock_by_id
from registry.tenants.attributes import value_faults
from registry.tenants.barcodes import is_gtin
from registry.tenants.category_paths import lines_above
from registry.tenants.pim import Product, ProductVariant
from registry.tenants.product_use import use_of

rules = Rules("tenants/pim")

SETTLED = ("kind", "tracking", "valuation", "unit_id")
LONGEST_NAME = 160
MANY = 100_000


@rules.on(
    "PIM-P1",
    "products",
    *(Point.BEFORE_CREATE, Point.BEFORE_UPDATE),
    watches="attributes category_id",
    raises="422:attribute_invalid",
)
async def match_attributes(moment: Moment, changes: list[Change]) -> None:
    """Attributes are those that the category and the ones above it define."""
    lines = await lines_above(moment, {change["category_id"] for change in changes})
    faults = []
    for change in changes:
        definitions = [item for row in lines.get(change["category_id"], ()) for item in row["attributes"]]
        faults += [fault.under(change.path) for fault in value_faults(definitions, change["attributes"])]
    if faults:
        first = faults[0]
        raise ValidationError("attribute_invalid", f"{first.field}: {first.message}", details=faults)


@rules.on("PIM-P2", "products", Point.AFTER_CREATE)
async def make_default_variants(moment: Moment, changes: list[Change]) -> None:
    """A product without variants in its body gets one with its own sku."""
    variants = ProductVariant.__table__.c
    given = select(variants.product_id).where(variants.product_id.in_([change.key for change in changes])).distinct()
    settled = {row["product_id"] for row in await moment.fetch(given)}
    bare = [change for change in changes if change.key not in settled]
    if bare:
        rows = [{"product_id": change.key, "sku": change["sku"], "is_default": True} for change in bare]
        await moment.create("pim.product-variants", rows)


@rules.on("PIM-P3", "products", Point.BEFORE_UPDATE, watches=" ".join(SETTLED), raises="409:product_in_use")
async def keep_what_stock_relies_on(moment: Moment, changes: list[Change]) -> None:
    """Once stock has moved, what counts and values it stays."""
    changed = {change.key for change in changes if any(change.changes(name) for name in SETTLED)}
    uses = await use_of(moment, changed) if changed else {}
    if any(use.moved for use in uses.values()):
        raise ConflictError("product_in_use", f"Stock has moved; {', '.join(SETTLED)} stay as they are")


@rules.on("PIM-P4", "products", Point.BEFORE_DELETE, raises="409:stock_remaining")
@rules.on("PIM-P4", "products", Point.BEFORE_STATUS, edges="discontinued>archived", raises="409:stock_remaining")
async def keep_products_with_stock(moment: Moment, changes: list[Change]) -> None:
    """A product leaves when nothing of it is on hand."""
    uses = await use_of(moment, {change.key for change in changes})
    if any(use.held for use in uses.values()):
        raise ConflictError("stock_remaining", "There is stock on hand")


@rules.on("G21", "product-variants", Point.BEFORE_CREATE)
async def name_variants(moment: Moment, changes: list[Change]) -> None:
    """A variant without a name is called like its product, with its options."""
    nameless = [change for change in changes if change["name"] is None]
    products = Product.__table__.c
    keys = {change["product_id"] for change in nameless}
    rows = await moment.fetch(select(products.id, products.name).where(products.id.in_(keys))) if keys else []
    names = {row["id"]: row["name"] for row in rows}
    for change in nameless:
        # a product that is not there is refused as a reference
        words = (names.get(change["product_id"], ""), *map(str, change["options"].values()))
        change.values["name"] = " ".join(filter(None, words))[:LONGEST_NAME]


@rules.on(
    "PIM-V1",
    "product-variants",
    *(Point.BEFORE_CREATE, Point.BEFORE_UPDATE),
    watches="barcode",
    raises="422:barcode_invalid",
)
async def check_barcodes(moment: Moment, changes: list[Change]) -> None:
    """A bar code is a GTIN with a right check digit."""
    for change in changes:
        if change["barcode"] is not None and not is_gtin(change["barcode"]):
            message = "must be a GTIN of 8, 12, 13 or 14 digits, the last of which is right"
            raise refuse(change, "barcode", "barcode_invalid", message)


@rules.on("PIM-V1", "product-variants", Point.BEFORE_CREATE, Point.BEFORE_STATUS, raises="422:options_mismatch")
@rules.on("PIM-V1", "product-variants", Point.BEFORE_UPDATE, watches="options", raises="422:options_mismatch")
async def match_options(moment: Moment, changes: list[Change]) -> None:
    """All variants of a product have options of the same names."""
    staying = [change for change in changes if change["is_active"] is not False]
    products = {change["product_id"] for change in staying}
    await lock_by_id(moment, Product, products)
    names = {row["product_id"]: set(row["options"]) for row in await _others(moment, products, staying)}
    for change in staying:
        expected = names.setdefault(change["product_id"], set(change["options"]))
        if set(change["options"]) != expected:
            known = ", ".join(sorted(expected)) or "none"
            raise refuse(change, "options", "options_mismatch", f"The product's variants have the options: {known}")


async def _others(moment: Moment, products: Collection[UUID], changes: Iterable[Change]) -> list[Row]:
    """The active variants of products that are not among the changes, by id, which is by age."""
    variants = ProductVariant.__table__.c
    mine = [change.key for change in changes if change.old is not None]
    chosen = (variants.product_id.in_(products), variants.id.not_in(mine))
    return await moment.list("pim.product-variants", *chosen, limit=MANY) if products else []


@rules.on("PIM-P2", "product-variants", Point.BEFORE_CREATE, Point.BEFORE_STATUS)
async def choose_default(moment: Moment, changes: list[Change]) -> None:
    """The first variant of a product is its default; a new default takes the place of the old one; one that is restored
    leaves the present one alone."""
    coming = [change for change in changes if change["is_active"] is not False]
    products = {change["product_id"] for change in coming}
    old = {row["product_id"]: row["id"] for row in await _others(moment, products, coming) if row["is_default"]}
    restored = [change for change in coming if change.old is not None]
    for change in restored:
        change.values["is_default"] = change["product_id"] not in old
    fresh = [change for change in coming if change.old is None]
    wanted = {change["product_id"] for change in fresh if change["is_default"]}
    for change in fresh:
        if change["product_id"] not in wanted | old.keys():
            change.values["is_default"] = True
            wanted.add(change["product_id"])
    await _clear(moment, [key for product, key in old.items() if product in wanted])


@rules.on("PIM-P2", "product-variants", Point.BEFORE_UPDATE, watches="is_default")
async def pass_default_on(moment: Moment, changes: list[Change]) -> None:
    """A new default takes the place of the old one; the only default stays."""
    chosen = {change["product_id"] for change in changes if change.changes("is_default") and not change.by_engine}
    others = await _others(moment, chosen, changes)
    gained = {change["product_id"] for change in changes if change["is_default"]} & chosen
    for change in changes:
        if change["product_id"] in chosen - gained:
            change.values["is_default"] = True
    await _clear(moment, [row["id"] for row in others if row["is_default"] and row["product_id"] in gained])


async def _clear(moment: Moment, variants: list[UUID]) -> None:
    if variants:
        await moment.update("pim.product-variants", [{"id": key, "is_default": False} for key in variants])


@rules.on(
    "PIM-V2",
    "product-variants",
    *(Point.BEFORE_DELETE, Point.BEFORE_STATUS),
    raises="409:stock_remaining 409:last_variant",
)
async def keep_variants(moment: Moment, changes: list[Change]) -> None:
    """A variant with stock stays, and so does the only one, unless its product goes as a whole."""
    going = _going(changes)
    if any(change["on_hand"] for change in going):
        raise ConflictError("stock_remaining", "There is stock on hand")
    products = await lock_by_id(moment, Product, {change["product_id"] for change in going})
    left = {row["product_id"] for row in await _others(moment, products, going)}
    if products.keys() - left:
        raise ConflictError("last_variant", "A product keeps at least one variant")


def _going(changes: Iterable[Change]) -> list[Change]:
    """Those that are deleted, by either route."""
    return [change for change in changes if not change.values.get("is_active", False)]


@rules.on("PIM-P2", "product-variants", Point.AFTER_DELETE, Point.AFTER_STATUS)
async def replace_lost_default(moment: Moment, changes: list[Change]) -> None:
    """When the default variant goes, the oldest of the others takes its place."""
    lost = {change["product_id"] for change in _going(changes) if change["is_default"]}
    heirs: dict[UUID, Any] = {}
    for row in await _others(moment, lost, ()):
        heirs.setdefault(row["product_id"], row["id"])
    if heirs:
        await moment.update("pim.product-variants", [{"id": key, "is_default": True} for key in heirs.values()])
