"""The first lines of an entity: in order, typed, served, and never over what is there."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import StartupFault
from engine.scaffold import (
    DEFAULT,
    TYPES,
    Target,
    find_base,
    read_column,
    read_target,
    singular,
    write_entity,
    write_hooks,
)

ROOT = Path(__file__).parents[2]


def write(folder: Path, name: str, *columns: str) -> dict[str, str]:
    """What was written, by name."""
    made = write_entity(folder, read_target(name), [read_column(text) for text in columns or DEFAULT])
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return {str(path.relative_to(folder)): text for path, text in made.items()}


def cxg(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a folder."""
    command = [sys.executable, "-m", "engine", *arguments]
    path = ":".join([str(ROOT), *sys.path])
    return subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": path, "PATH": ""}, capture_output=True, text=True, timeout=60
    )


def test_a_package_is_made_with_its_scope_and_a_test(tmp_path: Path) -> None:
    made = write(
        tmp_path, "shop.sales.order-lines", "code:code", "kind:new|used", "total:money?", "customer:sales.customers"
    )
    assert list(made) == ["shop/__init__.py", "shop/sales.py", "tests/test_shop_sales_order_lines.py"]
    assert 'Scope("shop", ShopModel.metadata, database="shop")' in made["shop/__init__.py"]
    assert (
        made["shop/sales.py"]
        == '''"""Sales."""

from typing import Literal
from uuid import UUID

from engine import Code, Entity, Money, reference
from sqlalchemy.orm import Mapped

from shop import ShopModel


class OrderLine(ShopModel, table="sales.order_lines"):
    """Order line."""

    code: Mapped[Code]
    kind: Mapped[Literal["new", "used"]]
    total: Mapped[Money | None]
    customer_id: Mapped[UUID] = reference("sales.customers")


order_lines = Entity(OrderLine, label="code", unique=["code"], search=["code"])
'''
    )
    assert 'PATH = "shop/sales/order-lines"' in made["tests/test_shop_sales_order_lines.py"]


PRESENT = '''"""Sales, by hand."""

import re
from datetime import date
from engine.entity import Entity
from engine.types import (
    Name,
    column,
)
from sqlalchemy.orm import Mapped
from shop import ShopModel

WORD = re.compile("x")  # a comment stays


class Order(ShopModel, table="sales.orders"):
    """An order."""

    name: Mapped[Name] = column()
    day: Mapped[date]


orders = Entity(Order)
'''


def test_a_domain_that_is_there_gets_the_entity_at_its_end(tmp_path: Path) -> None:
    write(tmp_path, "shop.stock.places")
    (tmp_path / "shop" / "sales.py").write_text(PRESENT)
    made = write(tmp_path, "shop.sales.refunds", "amount:money", "on:date")["shop/sales.py"]
    body = PRESENT[PRESENT.index("WORD =") :]
    assert body in made and made.endswith("refunds = Entity(Refund)\n") and '"""Sales, by hand."""' in made
    names = {alias.name for node in ast.parse(made).body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert names == {"date", "Entity", "Name", "column", "Mapped", "ShopModel", "Money"}
    assert made.count("import date") == 1 and "import re\n" in made


def test_imports_with_comments_are_left_and_added_to(tmp_path: Path) -> None:
    write(tmp_path, "shop.stock.places")
    commented = PRESENT.replace("import re\n", "import re  # for words\n")
    (tmp_path / "shop" / "sales.py").write_text(commented)
    made = write(tmp_path, "shop.sales.refunds", "amount:money")["shop/sales.py"]
    assert commented[: commented.index("\nWORD")] in made and "from engine import Money\n" in made
    compile(made, "sales.py", "exec")


def test_a_name_that_is_taken_in_the_file_is_not_taken_again(tmp_path: Path) -> None:
    made = write(tmp_path, "shop.sales.names", "name:name")["shop/sales.py"]
    assert "class NameRow(ShopModel" in made and "names = Entity(NameRow" in made


@pytest.mark.parametrize(
    ("word", "one"),
    [("orders", "order"), ("categories", "category"), ("boxes", "box"), ("addresses", "address"), ("is", "is")],
)
def test_one_of_them(word: str, one: str) -> None:
    assert singular(word) == one


@pytest.mark.parametrize(
    "text", ["shop", "shop.sales", "Shop.sales.orders", "shop.sales.2", "shop.class.orders", "a.b.c.d"]
)
def test_a_name_that_does_not_fit_is_refused(text: str) -> None:
    with pytest.raises(StartupFault):
        read_target(text)


@pytest.mark.parametrize(
    ("text", "way_out"),
    [
        ("id:uuid", "cannot be a column"),
        ("class:text", "cannot be"),
        ("x:monney", "a type is"),
        ("date:date", "date_on"),
        ("x", "type"),
    ],
)
def test_a_column_that_does_not_fit_is_refused(text: str, way_out: str) -> None:
    with pytest.raises(StartupFault, match=way_out):
        read_column(text)


def test_nothing_is_written_over(tmp_path: Path) -> None:
    write(tmp_path, "shop.sales.orders")
    with pytest.raises(StartupFault, match=r"sales.py has the table sales.orders already"):
        write(tmp_path, "shop.sales.orders")
    (tmp_path / "tests" / "test_shop_sales_refunds.py").write_text("mine")
    with pytest.raises(StartupFault, match=r"test_shop_sales_refunds\.py is there already"):
        write(tmp_path, "shop.sales.refunds")
    (tmp_path / "shop" / "sales_hooks.py").write_text("mine")
    with pytest.raises(StartupFault, match=r"sales_hooks\.py is there already"):
        write_hooks(tmp_path, Target("shop", "sales", "orders"))
    with pytest.raises(StartupFault, match="cxg new entity kiosk"):
        write_hooks(tmp_path, Target("kiosk", "sales", "orders"))
    (tmp_path / "bare").mkdir()
    with pytest.raises(StartupFault, match="begin it with"):
        find_base(tmp_path / "bare")


def test_every_type_starts_and_is_served(tmp_path: Path) -> None:
    """One entity with a column of each type, rules beside, through the command itself."""
    columns = [f"--column=c_{name}:{name}" for name in TYPES]
    assert cxg(tmp_path, "new", "entity", "shop.sales.samples", *columns).returncode == 0
    assert cxg(tmp_path, "new", "hooks", "shop.sales.samples").returncode == 0
    done = cxg(tmp_path, "check", "--registry", "shop")
    assert (done.returncode, "2 entities" in done.stdout) == (0, True), done.stderr
    listed = cxg(tmp_path, "registries", "--registry", "shop").stdout
    assert "shop (shop)" in listed and "yes" in listed


def test_what_would_not_start_is_taken_back(tmp_path: Path) -> None:
    refused = cxg(tmp_path, "new", "entity", "shop.sales.orders", "--column", "customer:sales.customers")
    assert refused.returncode == 1 and "nothing was written" in refused.stderr and "sales.customers" in refused.stderr
    assert list(tmp_path.iterdir()) == []
    assert cxg(tmp_path, "new", "entity", "shop.sales.customers").returncode == 0
    before = (tmp_path / "shop" / "sales.py").read_text()
    assert cxg(tmp_path, "new", "entity", "shop.sales.orders", "--column", "x:sales.nothing").returncode == 1
    assert (tmp_path / "shop" / "sales.py").read_text() == before
    assert not (tmp_path / "tests" / "test_shop_sales_orders.py").exists()


@pytest.mark.parametrize("name", ["engine", "json", "sqlalchemy"])
def test_a_package_does_not_hide_one_that_is_installed(tmp_path: Path, name: str) -> None:
    refused = cxg(tmp_path, "new", "entity", f"{name}.sales.orders")
    assert refused.returncode == 1 and "is installed already" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_imported_is_taken_back_too(tmp_path: Path) -> None:
    assert cxg(tmp_path, "new", "entity", "shop.sales.customers").returncode == 0
    (tmp_path / "shop" / "broken.py").write_text("1 / 0")
    refused = cxg(tmp_path, "new", "entity", "shop.stock.items")
    assert refused.returncode == 1 and "nothing was written" in refused.stderr and "ZeroDivision" in refused.stderr
    assert not (tmp_path / "shop" / "stock.py").exists()
