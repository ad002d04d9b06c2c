"""README's ten-line entity: served, documented, permissioned, audited and contract-tested without another line."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.testing.contract import broken, contract_cases
from engine.testing.harness import Live, serving, settings_for_tests

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The README's code as the package `shop`, served beside the bundled registry."""
    chapter = README.read_text().split("## An entity in ten lines", 1)[1]
    code = re.findall(r"```python\n(.*?)```", chapter, re.DOTALL)[0]
    assert len([line for line in code.splitlines() if line and not line.startswith(("#", "from"))]) <= 10
    folder = tmp_path_factory.mktemp("package")
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").write_text(code)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        with serving(settings_for_tests(tmp_path_factory.mktemp("shop")), ["registry", "shop"]) as live:
            yield live
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("shop", None)


def test_it_passes_the_contract(shop: Live) -> None:
    cases = contract_cases(shop.catalog, ("own",))
    assert len(cases) >= 15
    assert list(broken(shop, cases)) == []


def test_it_is_documented_and_permissioned(shop: Live) -> None:
    client = shop.client("own")
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths["/own/shop/articles"]) >= {"get", "post"}
    codes = client.get("/manager/idam/permissions", params={"filter[entity]": "articles", "fields": "code"}).json()[
        "data"
    ]["items"]
    assert {row["code"] for row in codes} == {
        f"shop.articles.{right}" for right in ("create", "read", "update", "delete", "status")
    }


def test_it_is_audited(shop: Live) -> None:
    client = shop.client("own")
    row = client.post("/own/shop/articles", json={"sku": "AUDITED", "name": "seen", "price": "1.50"}).json()["data"]
    [entry] = client.get("/manager/audt/audit-logs", params={"filter[entity_id]": row["id"]}).json()["data"]["items"]
    assert (entry["action"], entry["changes"]["price"]) == ("create", [None, "1.5000"])
