"""The two sub-ledgers, receivable and payable, as one description each, so that their invoices share totals and postings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import wraps
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import select

from engine.hooks import Change, Hook, Moment, Point, Row, Rules
from registry.tenants import TenantModel
from registry.tenants.apm import PurchaseInvoice, PurchaseInvoiceLine, SalesInvoice, SalesInvoiceLine
from registry.tenants.pim import Category, Product, ProductVariant
from registry.tenants.prices import Wanted, prices_of

NOTHING: Row = {}


@dataclass(frozen=True)
class Side:
    """One sub-ledger. `link` is the lines' reference to their invoice, `party` the invoice's reference to `parties`; tables of
    domains that may be missing are given by name. `sign` is 1 where the control account `role` is debited by an invoice."""

    invoices: str
    lines: str
    model: Any
    line_model: Any
    link: str
    party: str
    parties: str
    order: str
    orders: str
    order_line: str
    order_lines: str
    role: str
    tax_role: str
    kind: str
    sign: int


SALES = Side(
    invoices="apm.sales-invoices",
    lines="apm.sales-invoice-lines",
    model=SalesInvoice,
    line_model=SalesInvoiceLine,
    link="sales_invoice_id",
    party="customer_id",
    parties="crm.customers",
    order="sales_order_id",
    orders="srm.sales_orders",
    order_line="sales_order_line_id",
    order_lines="srm.sales_order_lines",
    role="ar",
    tax_role="tax_output",
    kind="sales",
    sign=1,
)
PURCHASES = Side(
    invoices="apm.purchase-invoices",
    lines="apm.purchase-invoice-lines",
    model=PurchaseInvoice,
    line_model=PurchaseInvoiceLine,
    link="purchase_invoice_id",
    party="supplier_id",
    parties="psm.suppliers",
    order="purchase_order_id",
    orders="psm.purchase_orders",
    order_line="purchase_order_line_id",
    order_lines="psm.purchase_order_lines",
    role="ap",
    tax_role="tax_input",
    kind="purchase",
    sign=-1,
)
SideHook = Callable[[Side, Moment, list[Change]], Awaitable[None]]


def both(
    rules: Rules, id: str, part: Literal["invoices", "lines"], *points: Point, **options: Any
) -> Callable[[SideHook], SideHook]:
    """Bind a hook to the invoices, or the lines, of both sides; it gets the side before moment and changes."""

    def bind(run: SideHook) -> SideHook:
        for side in (SALES, PURCHASES):
            rules.on(id, getattr(side, part).split(".")[1], *points, **options)(_bound(side, run))
        return run

    return bind


def _bound(side: Side, run: SideHook) -> Hook:
    @wraps(run)
    async def run_for_side(moment: Moment, changes: list[Change]) -> None:
        await run(side, moment, changes)

    return run_for_side


async def rows_of(moment: Moment, table: str, keys: Collection[Any], *, lock: bool = False) -> dict[UUID, Row]:
    """Active rows of `schema.table` by id. None for a domain that is not registered (yet): such keys are found nowhere."""
    source, wanted = TenantModel.metadata.tables.get(table), set(keys) - {None}
    if source is None or not wanted:
        return {}
    statement = select(source).where(source.c.id.in_(wanted), source.c.is_active).order_by(source.c.id)
    rows = await moment.fetch(statement.with_for_update(key_share=True) if lock else statement)
    return {row["id"]: row for row in rows}


async def lines_of(side: Side, moment: Moment, changes: Collection[Change]) -> dict[UUID, list[Row]]:
    """Invoice -> its lines in order."""
    lines = side.line_model.__table__
    own = select(lines).where(lines.c[side.link].in_([change.key for change in changes]), lines.c.is_active)
    found: dict[UUID, list[Row]] = {change.key: [] for change in changes}
    for row in await moment.fetch(own.order_by(lines.c.position, lines.c.id)):
        found[row[side.link]].append(row)
    return found


async def heads_of(side: Side, moment: Moment, lines: Iterable[Change]) -> dict[UUID, Row]:
    """The invoices of lines."""
    return await rows_of(moment, str(side.model.__table__.fullname), [line[side.link] for line in lines])


async def line_prices(side: Side, moment: Moment, lines: Sequence[Change]) -> dict[int, Decimal | None]:
    """Index of the change -> price of its variant in the invoice's currency, by the price list of the party."""
    heads = await heads_of(side, moment, lines)
    asked = [(line, heads[line[side.link]]) for line in lines if line[side.link] in heads]
    parties = await rows_of(moment, side.parties, [head[side.party] for _, head in asked])
    wanted = []
    for line, head in asked:
        list_id = parties.get(head[side.party], NOTHING).get("price_list_id")
        wanted.append(Wanted(line["variant_id"], head["currency"], line["qty"], head["invoice_date"], list_id))
    prices = await prices_of(moment, wanted) if wanted else []
    return {line.index: price for (line, _), price in zip(asked, prices, strict=True)}


async def products_of(moment: Moment, variants: Collection[UUID | None]) -> dict[UUID, Row]:
    """Variant -> kind of its product, and the revenue and expense account of its category."""
    variant, product, category = ProductVariant.__table__.c, Product.__table__.c, Category.__table__.c
    wanted = set(variants) - {None}
    if not wanted:
        return {}
    statement = select(variant.id, product.kind, category.revenue_account_id, category.expense_account_id).where(
        variant.id.in_(wanted), product.id == variant.product_id, category.id == product.category_id
    )
    return {row["id"]: row for row in await moment.fetch(statement)}
