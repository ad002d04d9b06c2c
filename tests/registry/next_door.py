"""A desk whose books another process keeps: the one that serves the bundled registry with tests/registry/neighbours."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import httpx
import pytest

from tests.books import ACCOUNTS, Books
from tests.calls import Body, Caller
from tests.products import make_product, variants_of
from tests.receivables import PURCHASES, SALES, Desk

QUOTATIONS = "tenants/srm/quotations"
SALES_ORDERS, SALES_ORDER_LINES = "tenants/srm/sales-orders", "tenants/srm/sales-order-lines"
SUPPLIERS, ORDERS, ORDER_LINES = (
    f"tenants/psm/{name}" for name in ("suppliers", "purchase-orders", "purchase-order-lines")
)
CATEGORIES, ASSETS = "tenants/fam/asset-categories", "tenants/fam/assets"
Process = subprocess.Popen[str]


def ask(process: Process, question: Body) -> Body:
    """What the process answers. AssertionError when it has ended."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"{json.dumps(question)}\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    assert answer, "the server of the neighbours did not start, or has ended"
    told: Body = json.loads(answer)
    return told


class BooksNextDoor(Books):
    """Books that are kept by another process: what they do not do over HTTP cannot be done."""

    def __init__(self, process: Process) -> None:
        self.process, self.home, self.clients = process, ask(process, {}), list[httpx.Client]()

    def ask(self, **question: Any) -> Body:
        """What the process answers about these books."""
        return ask(self.process, {"slug": self.home["slug"], "id": self.home["id"], **question})

    @cached_property
    def caller(self) -> Caller:
        """Who may do everything."""
        return self.clerk()

    def clerk(self, *without: str) -> Caller:
        """Somebody new who may do everything but this."""
        self.clients.append(httpx.Client(base_url=self.home["url"], headers=self.ask(without=without), timeout=30))
        return Caller(self.clients[-1])

    def close(self) -> None:
        """Nobody calls any more."""
        for client in self.clients:
            client.close()


@dataclass
class DeskNextDoor(Desk):
    """A desk with a supplier, and one variant each of goods and of a service."""

    books: BooksNextDoor
    goods: str = field(init=False)
    service: str = field(init=False)
    supplier: Body = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.goods, self.service = (self.variant(kind) for kind in ("goods", "service"))
        self.supplier = self.caller.make(SUPPLIERS, name="South Ltd", currency="USD", payment_terms_days=7)

    def variant(self, kind: str, **values: Any) -> str:
        """The only variant of a new product."""
        product = make_product(self.caller, kind=kind, list_price="25", **values)
        return str(variants_of(self.caller, product)[0]["id"])

    def write(self, entity: str, row: Body, **values: str) -> None:
        """What the rules of a domain that is missing would write."""
        self.books.ask(entity=entity, key=row["id"], values=values)

    def deliver(self, line: Body, qty: str) -> None:
        """So much of a sales order line is delivered."""
        self.write("srm.sales-order-lines", line, qty_delivered=qty)

    def receive(self, line: Body, qty: str) -> None:
        """So much of a purchase order line came."""
        self.write("psm.purchase-order-lines", line, qty_received=qty)

    def sales_order(self, *lines: Body) -> tuple[Body, list[Body]]:
        """A confirmed order to be paid in ten days, and its lines with VAT10."""
        head = {"customer_id": self.customer["id"], "currency": "USD", "payment_terms_days": 10}
        order = self.caller.make(SALES_ORDERS, **head)
        usual = {"sales_order_id": order["id"], "tax_code_id": self.vat["id"]}
        made = [
            self.caller.make(SALES_ORDER_LINES, **{**usual, "position": place, **line})
            for place, line in enumerate(lines, start=1)
        ]
        return self.caller.move(SALES_ORDERS, order["id"], "confirmed"), made

    def invoice(self, order: Body, **values: Any) -> Body:
        """A draft invoice of an order."""
        head = {"customer_id": self.customer["id"], "sales_order_id": order["id"], "invoice_date": "2026-06-10"}
        return self.caller.make(SALES, **{**head, **values})

    def purchase_order(self, *lines: Body, **values: Any) -> list[Body]:
        """The lines of an order that was sent to the supplier."""
        head = {"supplier_id": self.supplier["id"], "currency": "USD", "payment_terms_days": 14}
        order = self.caller.make(ORDERS, **{**head, **values})
        made = [self.caller.make(ORDER_LINES, purchase_order_id=order["id"], **line) for line in lines]
        self.caller.move(ORDERS, order["id"], "approved", "sent")
        return made

    def billed(self, number: str, *lines: Body, **values: Any) -> Body:
        """A supplier invoice after its posting, whatever came of it."""
        ordered = [
            self.caller.get(ORDER_LINES, line[key]) for line in lines if (key := "purchase_order_line_id") in line
        ]
        order = {"purchase_order_id": ordered[0]["purchase_order_id"]} if ordered else {}
        head = {"supplier_id": self.supplier["id"], "supplier_invoice_no": number}
        draft = self.bill(*lines, **{**head, **order, **values})
        return self.caller.move(PURCHASES, draft["id"], "posted")

    def category(self, code: str, threshold: str) -> Body:
        """A category of assets with a cost account of its own."""
        account = self.caller.make(ACCOUNTS, code=code, name="Machines", type="asset")
        return self.caller.make(CATEGORIES, name="Machine", threshold=threshold, cost_account_id=account["id"])

    def invoiced(self, path: str, line: Body) -> str:
        """How much of an order line is invoiced."""
        return str(self.caller.get(path, line["id"])["qty_invoiced"])


@pytest.fixture(scope="module")
def neighbours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The process that serves them."""
    folder = str(tmp_path_factory.mktemp("neighbours"))
    command = [sys.executable, "-m", "tests.registry.neighbours", folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.communicate(timeout=60)  # it stops its database and ends when nothing is asked any more


@pytest.fixture
def desk(neighbours: Process) -> Iterator[DeskNextDoor]:
    """A desk in books nobody has written in."""
    books = BooksNextDoor(neighbours)
    yield DeskNextDoor(books)
    books.close()
