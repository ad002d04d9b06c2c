"""Every registered entity passes every check of the contract, over HTTP."""

from __future__ import annotations

import pytest

from engine.main import load
from engine.testing.contract import NotApplicable, contract_cases, run_check
from engine.testing.harness import Live
from tests.contract.recipes import RECIPES

_, CATALOG = load(["registry"])


@pytest.mark.parametrize(("path", "name"), contract_cases(CATALOG))
def test_contract(live: Live, path: str, name: str) -> None:
    """One entity, one check."""
    try:
        run_check(live, live.resource(path), name, RECIPES)
    except NotApplicable as reason:
        pytest.skip(str(reason))
