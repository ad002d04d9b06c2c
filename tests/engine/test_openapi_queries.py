"""What the OpenAPI document says of queries: nested conditions, conditions on results, what is beside the listed parameters."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from engine.main import load
from engine.openapi import build_document
from engine.routes import ROUTES
from engine.testing.harness import Live

DOCUMENT = build_document(load(["registry"])[1], ROUTES)
SCHEMAS = "/components/schemas/"
LEAF = {"field": "customer.name", "op": "in", "value": ["a", "b"]}
BRANCH = {"fields": ["sku"], "limit": 5, "sort": "-sku", "filter": {"sku": {"ne": "a"}}, "where": {"not": LEAF}}


def fits(pointer: str, value: Any) -> bool:
    """Whether a value fits a schema of the document."""
    document = Resource.from_contents(DOCUMENT, default_specification=DRAFT202012)
    known = Registry().with_resource("urn:document", document)
    return bool(Draft202012Validator({"$ref": f"urn:document#{pointer}"}, registry=known).is_valid(value))


@pytest.mark.parametrize(
    ("body", "fitting"),
    [
        ({"where": LEAF}, True),
        ({"where": {"field": "is_active", "value": True}}, True),
        ({"where": {"or": [LEAF, {"and": [LEAF, {"not": LEAF}]}]}}, True),
        ({"where": {"every": "lines", "where": {"some": "product", "where": LEAF}}}, True),
        ({"where": {"or": []}}, False),
        ({"where": {"some": "lines"}}, False),
        ({"where": {"field": "name"}}, False),
        ({"where": {"not": {"feld": "name", "value": 1}}}, False),
        ({"where": {}}, False),
        ({"expand": {"lines": {**BRANCH, "expand": {"product": {"limit": 1}, "unit": True}}}}, True),
        ({"expand": {"lines": {**BRANCH, "expand": {"product": {"limit": 0}}}}}, False),
        ({"expand": {"lines": {"page": 1}}}, False),
        ({"filter": {"customer.name": {"icontains": "a"}, "total": 5}}, True),
    ],
)
def test_the_body_of_a_query_is_described(body: dict[str, Any], fitting: bool) -> None:
    assert fits(f"{SCHEMAS}Query", body) is fitting


def test_conditions_on_results_fit_their_parameter() -> None:
    having = "/components/parameters/having/schema"
    assert fits(having, {"n": {"gt": "5"}, "status": "open"})
    assert not fits(having, {"n": {}}) and not fits(having, {"n": {"gt": {"x": "5"}}})


def test_what_a_list_takes_beside_its_parameters_is_said() -> None:
    said = DOCUMENT["paths"]["/manager/bill/plans"]["get"]["description"]
    for words in (
        "filter[relation.field][op]",
        "fields[path]",
        "expand[path][limit]",
        "expand[path][filter][field][op]",
    ):
        assert words in said


@pytest.mark.parametrize("method", ["patch", "delete"])
def test_a_set_to_write_has_no_deleted_rows_and_may_be_too_dear(method: str) -> None:
    operation = DOCUMENT["paths"]["/manager/bill/plans"][method]
    names = {one.get("name") or one["$ref"].rpartition("/")[2] for one in operation["parameters"]}
    assert "deleted" not in names and "where" in names
    assert "too_expensive" in operation["x-error-codes"]["422"]


def test_an_export_may_not_be_acceptable() -> None:
    operation = DOCUMENT["paths"]["/manager/bill/plans/export"]["get"]
    assert operation["x-error-codes"]["406"] == ["not_acceptable"] and "406" in operation["responses"]


def test_meta_fits_its_description(live: Live) -> None:
    for scope in ("manager", "tenants"):
        client = live.client(scope)
        for path in [path for path, one in live.catalog.resources.items() if one.scope.name == scope]:
            assert fits(f"{SCHEMAS}EntityMeta", client.get(f"/{path}/_meta").json()["data"])
