"""The OpenAPI document says what the server does: no operation more, none less, no hidden column, exact schemas."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from engine import conditions, query, query_body
from engine.catalog import Catalog
from engine.errors import CODES
from engine.filters import OPERATORS
from engine.main import load
from engine.openapi import ANSWERS, BODIES, build_document, querying
from engine.openapi.answers import POINTS, WRITES
from engine.openapi.parameters import MAX_CHOICES, VALUES
from engine.openapi.schemas import name_of
from engine.routes import ROUTES
from engine.shapes import LIMITS
from engine.testing.harness import Live
from engine.types import Op

METHODS = {"get", "post", "patch", "put", "delete"}
# codes of the sign-in routes, of rules, and of requests that fit no operation of the document
ELSEWHERE = {"invalid_credentials", "weak_password", "route_not_found", "method_not_allowed"}
# said on the wire, of what never becomes a request
ELSEWHERE |= {"request_timeout", "url_too_long", "headers_too_large"}
# codes that an entity must ask for by its declaration; no entity of the bundled registry needs to
DECLARED = {"version_required", "overlapping_period", "append_only"}
CATALOG: Catalog = load(["registry"])[1]
DOCUMENT = build_document(CATALOG, ROUTES)
TEXT = json.dumps(DOCUMENT)
ENTITY_OPERATIONS = [
    (path, method, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method in METHODS and operation["tags"] != ["engine"]
]


def resolve(part: Any) -> Any:
    """What a reference of the document names."""
    while "$ref" in part:
        target: Any = DOCUMENT
        for step in part["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        part = target
    return part


def validator(pointer: str) -> Draft202012Validator:
    """Validates against a part of the document."""
    document = Resource.from_contents(DOCUMENT, default_specification=DRAFT202012)
    return Draft202012Validator(
        {"$ref": f"urn:document#{pointer}"}, registry=Registry().with_resource("urn:document", document)
    )


def parameter_names(path: str, method: str = "get") -> set[str]:
    """Names of an operation's parameters."""
    return {resolve(p)["name"] for p in DOCUMENT["paths"][path][method]["parameters"]}


def test_is_valid_openapi_31() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert [str(error) for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


def test_entity_operations_are_the_routes_of_the_offered_ops() -> None:
    documented = {(method.upper(), path) for path, method, _ in ENTITY_OPERATIONS}
    said = [r for r in ROUTES if r.method != "QUERY"]  # OpenAPI 3.1 has no place for it
    served = {
        (r.method, f"/{path}{r.tail}") for path, res in CATALOG.resources.items() for r in said if r.op in res.ops
    }
    assert documented - served == set()
    assert served - documented == set()


def test_other_routes_are_those_beside_the_entities(live: Live) -> None:
    documented = {
        path for path, item in DOCUMENT["paths"].items() for op in item.values() if op.get("tags") == ["engine"]
    }
    served = {getattr(route, "path", "") for route in live.system.app().routes}
    pages = {path for path in served if path.startswith(("/docs", "/scalar"))}
    assert documented - served == set()
    assert served - documented - pages == {""}


def test_every_operation_has_a_builder() -> None:
    assert set(ANSWERS) == set(Op) == {route.op for route in ROUTES}
    assert set(BODIES) == WRITES - {Op.DELETE, Op.DELETE_MANY} | {Op.QUERY}
    assert set(POINTS) == WRITES


def test_operation_ids_are_stable_and_unique() -> None:
    ids = [op["operationId"] for item in DOCUMENT["paths"].values() for m, op in item.items() if m in METHODS]
    assert len(ids) == len(set(ids))
    assert (
        DOCUMENT["paths"]["/manager/bill/invoice-lines/{id}"]["patch"]["operationId"]
        == "manager_bill_invoice_lines_update"
    )


def test_tags_carry_the_labels_of_the_scopes() -> None:
    labels = {tag["name"]: tag["description"] for tag in DOCUMENT["tags"]}
    assert labels["manager/idam"] == "Identity and access management"
    assert {op["tags"][0] for _, _, op in ENTITY_OPERATIONS} | {"engine"} == set(labels)


def test_permission_of_each_operation() -> None:
    listed = DOCUMENT["paths"]["/tenants/crm/leads"]["get"]
    assert listed["x-permission"] == "crm.leads.read"
    assert DOCUMENT["paths"]["/tenants/crm/leads/{id}/status"]["patch"]["x-permission"] == "crm.leads.status"


def test_every_generic_code_appears_on_an_operation() -> None:
    said = {code for _, _, op in ENTITY_OPERATIONS for codes in op["x-error-codes"].values() for code in codes}
    assert set(CODES) - said - ELSEWHERE - DECLARED == set()
    assert set(DOCUMENT["x-error-codes"]) == set(CODES)


def test_codes_of_rules_and_constraints_stand_at_their_operations() -> None:
    paths = DOCUMENT["paths"]
    assert "self_action_forbidden" in paths["/manager/idam/users/{id}"]["delete"]["x-error-codes"]["409"]
    assert "self_action_forbidden" not in json.dumps(paths["/manager/idam/users/{id}"]["patch"])
    assert "duplicate" in paths["/manager/bill/plans"]["post"]["x-error-codes"]["409"]
    assert {"code": "duplicate", "fields": ["code"]} in paths["/manager/bill/plans"]["x-entity"]["constraints"]


def test_each_error_status_has_an_answer() -> None:
    for _, _, operation in ENTITY_OPERATIONS:
        assert set(operation["x-error-codes"]) <= set(operation["responses"])
        for status in operation["x-error-codes"]:
            assert resolve(operation["responses"][status])["content"]["application/json"]["schema"] == {
                "$ref": "#/components/schemas/Failure"
            }


def test_a_code_of_a_planted_rule_status_has_a_response_component() -> None:
    """A rule may answer with any status of the six families."""
    known = {
        int(name.removeprefix("error_")) for name in DOCUMENT["components"]["responses"] if name.startswith("error_")
    }
    raised = {
        status
        for r in CATALOG.resources.values()
        for rules in r.hooks.values()
        for rule in rules
        for status, _ in rule.raises
    }
    assert raised <= known


@pytest.mark.parametrize("path", CATALOG.resources)
def test_filters_are_those_of_the_fields(path: str) -> None:
    resource = CATALOG.resources[path]
    if Op.LIST not in resource.ops:
        pytest.skip("the entity has no list")
    documented = {name for name in parameter_names(f"/{path}") if name.startswith("filter[")}
    taken = {f"filter[{f.name}][{op}]" for f in resource.fields.values() if f.shown for op in f.operators}
    taken |= {f"filter[{f.name}]" for f in resource.fields.values() if f.shown and "eq" in f.operators}
    assert documented == taken


def test_list_parameters_are_those_that_the_reader_knows() -> None:
    plain = {name for name in parameter_names("/manager/bill/plans") if not name.startswith("filter[")}
    assert plain == set(query.PARAMETERS)
    assert set(querying.WORDS) == set(query_body.WORDS)
    assert "q" not in parameter_names("/manager/bill/subscriptions")
    assert set(VALUES) == set(conditions.READERS)
    assert LIMITS.choices == MAX_CHOICES


def test_filter_values_are_typed() -> None:
    listed = {resolve(p)["name"]: resolve(p) for p in DOCUMENT["paths"]["/manager/bill/plans"]["get"]["parameters"]}
    assert resolve(listed["filter[interval]"]["schema"])["enum"] == ["month", "year"]
    assert resolve(listed["filter[trial_days][gte]"]["schema"])["type"] == "integer"
    between = listed["filter[created_at][between]"]
    assert between["explode"] is False
    assert resolve(between["schema"])["items"]["format"] == "date-time"
    assert resolve(listed["filter[is_active]"]["schema"])["type"] == "boolean"
    assert resolve(listed["filter[name][contains]"]["schema"])["description"] == OPERATORS["contains"].meaning


def test_hidden_columns_appear_nowhere() -> None:
    """But for those that bodies give, such as the config of a channel."""
    hidden = {f.name for r in CATALOG.resources.values() for f in r.fields.values() if f.hidden and not f.creatable}
    assert {"password_hash", "token_hash", "refresh_hash"} <= hidden
    assert {name for name in hidden if name in TEXT} == set()


def test_bodies_are_those_of_the_readers() -> None:
    created = DOCUMENT["components"]["schemas"]["manager_bill_invoices_create"]
    assert set(created["required"]) == {"tenant_id", "currency"}
    assert created["additionalProperties"] is False
    assert "lines" in created["properties"]
    line = resolve(created["properties"]["lines"]["items"])
    assert "invoice_id" not in line["properties"]
    updated = DOCUMENT["components"]["schemas"]["manager_bill_invoices_update"]
    assert "tenant_id" not in updated["properties"]
    assert "version" in updated["properties"]
    assert created["properties"]["kind"]["default"] == "invoice"


@pytest.mark.parametrize("path", CATALOG.resources)
def test_null_stands_where_the_column_takes_it(path: str) -> None:
    resource = CATALOG.resources[path]
    part = DOCUMENT["components"]["schemas"].get(f"{name_of(resource)}_part")
    if part is None:
        pytest.skip("the entity has no read")
    assert set(part["properties"]) == {field.name for field in resource.shown} | set(resource.relations)
    for field in resource.shown:
        if field.scalar.name != "jsonb":
            accepts = Draft202012Validator(part["properties"][field.name]).is_valid(None)
            assert accepts == field.nullable, field.name


def test_examples_fit_their_schemas() -> None:
    seen = 0
    for name, schema in DOCUMENT["components"]["schemas"].items():
        for example in schema.get("examples", ()):
            seen += 1
            assert [e.message for e in validator(f"/components/schemas/{name}").iter_errors(example)] == [], name
    assert seen > 40


def test_examples_are_read_by_the_server(live: Live) -> None:
    """An example is refused for its references at most."""
    example = DOCUMENT["components"]["schemas"]["manager_bill_plans_create"]["examples"][0]
    answer = live.client("manager").post("/manager/bill/plans", json={**example, "code": "OPENAPI-EXAMPLE"})
    assert answer.status_code == 201, answer.text


def test_answers_fit_their_schemas(live: Live) -> None:
    """Beside the contract run: one row with child rows through every answer that shows it."""
    client = live.client("manager")
    tenant = client.get("/manager/tnnt/tenants").json()["data"]["items"][0]["id"]
    line = {"kind": "one_off", "description": "Setup", "unit_amount": "10"}
    created = client.post("/manager/bill/invoices", json={"tenant_id": tenant, "currency": "USD", "lines": [line]})
    assert created.status_code == 201, created.text
    path = f"/manager/bill/invoices/{created.json()['data']['id']}"
    fits("/manager/bill/invoices", "post", created)
    fits("/manager/bill/invoices", "get", client.get("/manager/bill/invoices?fields=id,total"))
    fits("/manager/bill/invoices/{id}", "get", client.get(path))
    fits("/manager/bill/invoices/{id}", "get", client.get(f"{path}?fields=lines"))
    fits("/manager/bill/invoices/{id}", "patch", client.patch(path, json={"memo": "x"}))
    fits("/manager/bill/invoices/{id}/transitions", "get", client.get(f"{path}/transitions"))
    fits("/manager/bill/invoices/{id}/history", "get", client.get(f"{path}/history"))
    fits("/manager/bill/invoices/{id}", "delete", client.delete(path))
    fits("/manager/bill/invoices/{id}", "get", client.get(path))


def fits(path: str, method: str, answer: httpx.Response) -> None:
    """The answer is inside the document."""
    escaped = path.replace("/", "~1").replace("{", "%7B").replace("}", "%7D")
    response = DOCUMENT["paths"][path][method]["responses"][str(answer.status_code)]
    pointer = response.get("$ref", "#").removeprefix("#") or f"/paths/{escaped}/{method}/responses/{answer.status_code}"
    faults = list(validator(f"{pointer}/content/application~1json/schema").iter_errors(answer.json()))
    assert [f"{fault.json_path}: {fault.message}" for fault in faults] == []


def test_document_is_served_once_and_revalidated(live: Live) -> None:
    first = httpx.get(f"{live.url}/openapi.json")
    assert first.status_code == 200
    assert first.headers["content-type"] == "application/json"
    assert first.json() == DOCUMENT
    tag = first.headers["etag"]
    again = httpx.get(f"{live.url}/openapi.json", headers={"If-None-Match": f'"other", W/{tag}'})
    assert (again.status_code, again.content) == (304, b"")
    assert httpx.get(f"{live.url}/openapi.json", headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_route_beside_the_entities_answers_another_method_with_405(live: Live) -> None:
    answer = httpx.get(f"{live.url}/auth/token")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.json()["error"]["code"] == "method_not_allowed"


def test_size_and_time_stay_small() -> None:
    started = time.process_time()
    build_document(CATALOG, ROUTES)
    assert time.process_time() - started < 0.5
    assert len(json.dumps(DOCUMENT, separators=(",", ":"))) < 70_000 * len(CATALOG.resources)
