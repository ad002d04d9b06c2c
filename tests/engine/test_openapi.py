"""The OpenAPI document says what the server does: no operation more, none less, no hidden column, exact schemas."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from engine import operands, query, query_body
from engine.aggregates import FUNCTIONS
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
# codes of what looks at other rows: a price, the period before, a currency in use
DEPENDING = {"no_price", "period_gap", "overlapping_period", "unknown_currency"}
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
    served = {getattr(route, "path", "").replace(":path", "") for route in live.system.app().routes}
    pages = {path for path in served if path.startswith(("/docs", "/scalar"))}
    assert documented - served == set()
    assert served - documented - pages == {""}


def test_every_operation_has_a_builder() -> None:
    assert set(ANSWERS) == set(Op) == {route.op for route in ROUTES}
    assert set(BODIES) == WRITES - {Op.DELETE_MANY} | {Op.QUERY}
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
    assert plain == {*query.PARAMETERS, "having"}
    assert set(DOCUMENT["x-functions"]) == set(FUNCTIONS)
    assert set(querying.WORDS) == set(query_body.WORDS)
    assert "q" not in parameter_names("/manager/bill/subscriptions")
    assert set(VALUES) == set(operands.READERS)
    assert LIMITS.choices == MAX_CHOICES


def test_filter_values_are_typed() -> None:
    listed = {resolve(p)["name"]: resolve(p) for p in DOCUMENT["paths"]["/manager/bill/plans"]["get"]["parameters"]}
    assert resolve(listed["filter[interval]"]["schema"])["enum"] == ["month", "year"]
    assert resolve(listed["filter[trial_days][gte]"]["schema"])["type"] == "integer"
    between = listed["filter[created_at][between]"]
    assert between["explode"] is False
    array, text = resolve(between["schema"])["anyOf"]
    assert (array["items"]["format"], array["maxItems"], text["type"]) == ("date-time", 2, "string")
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
    assert '`"invoice"` unless given' in created["properties"]["kind"]["description"]


def test_clients_are_not_told_to_send_what_may_be_left_out() -> None:
    """Generated clients send a `default`: a first page beside a cursor would be refused, an upsert would reset fields."""
    shared = DOCUMENT["components"]["parameters"]
    given = [name for name, parameter in shared.items() if "default" in parameter["schema"]]
    for name, schema in DOCUMENT["components"]["schemas"].items():
        members = (
            schema.get("properties", {}) if name.endswith(("_create", "_update", "_replace")) or name == "Query" else {}
        )
        given += [f"{name}.{field}" for field, member in members.items() if "default" in member]
    assert given == []


def test_objects_say_whether_they_are_open() -> None:
    """Some generators take a bare object for one without members, and its values cannot be read."""

    def bare(part: Any, at: str) -> Iterator[str]:
        if isinstance(part, dict):
            if "object" in part.get("type", ()) and not {"properties", "additionalProperties"} & set(part):
                yield at
            for key, inner in part.items():
                yield from bare(inner, f"{at}.{key}")
        elif isinstance(part, list):
            for number, inner in enumerate(part):
                yield from bare(inner, f"{at}[{number}]")

    paths = [{method: op for method, op in item.items() if method in METHODS} for item in DOCUMENT["paths"].values()]
    assert [*bare(paths, "paths"), *bare(DOCUMENT["components"], "components")] == []


def nameless(part: Any, at: str) -> Iterator[str]:
    """Where objects with members, and choices of entities, stand without a name of their own."""
    if isinstance(part, dict) and "$ref" not in part:
        if part.get("properties") or ("enum" in part and "components" not in at):
            yield at
        for key, inner in part.items():
            yield from nameless(inner, f"{at}.{key}")
    elif isinstance(part, list):
        for number, inner in enumerate(part):
            yield from nameless(inner, f"{at}[{number}]")


def test_what_becomes_a_class_of_a_client_has_a_name() -> None:
    """Generators call the rest `Body1`, or a class for each place where the same thing stands."""
    found = []
    for path, item in DOCUMENT["paths"].items():
        for method in METHODS & set(item):
            parts = {key: item[method].get(key) for key in ("parameters", "requestBody", "responses")}
            found += nameless(parts, f"{method} {path}")
    for kind in ("parameters", "responses"):
        found += nameless(DOCUMENT["components"][kind], kind)
    for name, schema in DOCUMENT["components"]["schemas"].items():
        if not name.endswith("_value"):  # what a registry says of a jsonb column
            found += nameless(schema.get("properties", {}), f"components.{name}")
    assert found == []


def test_rows_bodies_and_filters_of_a_field_choose_from_one_schema() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    choice = {"$ref": "#/components/schemas/manager_bill_plans_interval_choice"}
    for name in ("manager_bill_plans", "manager_bill_plans_part", "manager_bill_plans_create"):
        assert schemas[name]["properties"]["interval"] == choice
    listed = {resolve(p)["name"]: resolve(p) for p in DOCUMENT["paths"]["/manager/bill/plans"]["get"]["parameters"]}
    assert listed["filter[interval]"]["schema"] == choice
    assert schemas["manager_bill_plans"]["required"] == list(schemas["manager_bill_plans"]["properties"])


@pytest.mark.parametrize("path", CATALOG.resources)
def test_null_stands_where_the_column_takes_it(path: str) -> None:
    resource = CATALOG.resources[path]
    part = DOCUMENT["components"]["schemas"].get(f"{name_of(resource)}_part")
    if part is None:
        pytest.skip("the entity has no read")
    assert set(part["properties"]) == {field.name for field in resource.shown} | set(resource.relations)
    for field in resource.shown:
        if field.scalar.name != "jsonb":
            accepts = validator(f"/components/schemas/{name_of(resource)}_part/properties/{field.name}").is_valid(None)
            assert accepts == field.nullable, field.name


def test_examples_fit_their_schemas() -> None:
    seen = 0
    for name, schema in DOCUMENT["components"]["schemas"].items():
        for example in schema.get("examples", ()):
            seen += 1
            assert [e.message for e in validator(f"/components/schemas/{name}").iter_errors(example)] == [], name
    assert seen > 40


@pytest.mark.parametrize("path", [path for path, r in CATALOG.resources.items() if Op.CREATE in r.ops])
def test_examples_are_taken_by_the_server(live: Live, path: str) -> None:
    """An example is refused at most for what depends on the rows there are: those it refers to, one that is it already."""
    operation = DOCUMENT["paths"][f"/{path}"]["post"]
    example = DOCUMENT["components"]["schemas"][operation["operationId"]]["examples"][0]
    answer = live.client(path.split("/")[0]).post(f"/{path}", json=example, headers={"Prefer": "dry-run"})
    error = answer.json()["error"] or {"code": ""}
    assert answer.status_code == 201 or error["code"] in ("invalid_reference", "duplicate", *DEPENDING), answer.text


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
    groups = "aggregate=n:count(),sum(total),avg(version)&group=status,is_active,month(created_at)&having[n][gte]=1"
    fits("/manager/bill/invoices", "get", client.get(f"/manager/bill/invoices?{groups}"))
    fits("/manager/bill/invoices", "get", client.get("/manager/bill/invoices?facets=status,total,is_active"))
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


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_document_is_served_once_and_revalidated(live: Live, encoding: str) -> None:
    taking = {"Accept-Encoding": encoding}
    first = httpx.get(f"{live.url}/openapi.json", headers=taking)
    assert first.status_code == 200
    assert first.headers["content-type"] == "application/json"
    assert first.headers.get("content-encoding", "identity") == encoding
    assert first.json() == DOCUMENT
    tag = first.headers["etag"]
    again = httpx.get(f"{live.url}/openapi.json", headers={**taking, "If-None-Match": f'"other", W/{tag}'})
    assert (again.status_code, again.content) == (304, b"")
    assert httpx.get(f"{live.url}/openapi.json", headers={**taking, "If-None-Match": '"other"'}).status_code == 200


def test_the_document_travels_packed(live: Live) -> None:
    sizes = {
        encoding: int(
            httpx.get(f"{live.url}/openapi.json", headers={"Accept-Encoding": encoding}).headers["content-length"]
        )
        for encoding in ("identity", "gzip")
    }
    assert sizes["gzip"] * 10 < sizes["identity"]


def test_a_route_beside_the_entities_answers_another_method_with_405(live: Live) -> None:
    answer = httpx.get(f"{live.url}/auth/token")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.json()["error"]["code"] == "method_not_allowed"


def test_size_and_time_stay_small() -> None:
    started = time.process_time()
    build_document(CATALOG, ROUTES)
    assert time.process_time() - started < 0.5
    assert len(json.dumps(DOCUMENT, separators=(",", ":"))) < 70_000 * len(CATALOG.resources)


def test_there_is_nothing_to_sign_in_with_where_the_host_knows_its_callers() -> None:
    for signs_in in (True, False):
        document = build_document(CATALOG, ROUTES, signs_in=signs_in)
        assert ("/auth/token" in document["paths"]) == signs_in and "/auth/me" in document["paths"]
        assert ("oauth2" in document["components"]["securitySchemes"]) == signs_in
        assert set().union(*document["security"]) == set(document["components"]["securitySchemes"])
