"""Cases that schemathesis draws from the OpenAPI document, sent to the live server: whatever comes back must be what
the document says. Good and bad requests, at rows that exist and rows that do not, as administrator and as tenant owner.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema

from engine.catalog import Resource
from engine.docs import document_of
from engine.main import load
from engine.openapi.answers import WRITES
from engine.routes import ROUTES, Route
from engine.testing.harness import Live, serving, settings_for_tests
from engine.testing.rows import RowMaker, key_of
from engine.types import Op
from tests.contract.recipes import RECIPES

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
# as drawn: mostly no such row; at a row with a drawn version: mostly stale; at a row, whatever its version
AIMS = ("drawn", "versioned", "row", "row")
FILTERS = 6  # a list takes 20 filters at most, and offers ten times as many
MAX_URL = 65_000
GOOD, BAD = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
_, CATALOG = load(["registry"])
DOCUMENT = json.loads(document_of(CATALOG))
BESIDE = [
    (method, path)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if operation.get("tags") == ["engine"]
]


def with_few_filters(number: int) -> dict[str, Any]:
    """The document, each list with a draw of its filters: a request with all of them would be refused as a whole."""
    draw = random.Random(number)
    shared = DOCUMENT["components"]["parameters"]
    paths: dict[str, Any] = {}
    for path, item in DOCUMENT["paths"].items():
        get = item.get("get", {})
        named = [(shared.get(p.get("$ref", "").rpartition("/")[2], p)["name"], p) for p in get.get("parameters", ())]
        plain = [p for name, p in named if not name.startswith("filter[")]
        filters = [p for name, p in named if name.startswith("filter[")]
        chosen = [*plain, *draw.sample(filters, min(FILTERS, len(filters)))]
        paths[path] = {**item, "get": {**get, "parameters": chosen}} if filters else item
    # of conditions that hold themselves it draws no bad ones ("a `not` whose complement is not spelled out"), in one of ten runs
    components = {
        **DOCUMENT["components"],
        "schemas": {**DOCUMENT["components"]["schemas"], "QueryWhere": {"type": "object"}},
    }
    return {**DOCUMENT, "paths": paths, "components": components}


@cache
def schema_of(number: int) -> OpenApiSchema:
    """The document as schemathesis reads it."""
    config = SchemathesisConfig.from_dict({"generation": {"with-security-parameters": False}})
    return schemathesis.openapi.from_dict(with_few_filters(number), config=config)


@dataclass
class Round:
    """One run over the document: its cases, the rows they aim at, and what came back by operation and HTTP status."""

    live: Live
    number: int
    maker: RowMaker
    answers: Counter[tuple[Op, int]] = field(default_factory=Counter)
    rows: dict[str, str] = field(default_factory=dict)

    def draw(self, method: str, path: str, mode: GenerationMode, examples: int, send: Any) -> None:
        """Send `examples` cases of an operation; the same ones each time."""
        strategy = schema_of(self.number)[path][method.upper()].as_strategy(generation_mode=mode)
        quiet = settings(
            max_examples=examples,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )

        @seed(self.number)
        @quiet
        @given(case=strategy, aim=st.sampled_from(AIMS))
        def run(case: Case[Any], aim: str) -> None:
            send(case, aim)

        # some operations take nothing that could be bad
        with suppress(Unsatisfiable) if mode is BAD else nullcontext():
            run()

    def send(self, case: Case[Any], caller: str) -> int:
        """Send a case and check the answer. Its HTTP status."""
        header = {"Authorization": self.live.client(caller).headers["Authorization"]}
        # longer ones are refused on the wire, before the engine sees them
        assume(len(quote(json.dumps(case.query, ensure_ascii=False, default=str))) < MAX_URL)
        answer = case.call(base_url=self.live.url, headers=header)
        case.validate_response(answer, checks=CHECKS, headers=header)
        return int(answer.status_code)

    def entity(self, resource: Resource, examples: int) -> None:
        """Every operation of an entity: good and bad requests of its own caller, and one of the other scope's."""
        other = next(scope for scope in CATALOG.scopes if scope != resource.scope.name)
        # the document has no place for the method QUERY
        for route in (route for route in ROUTES if route.op in resource.ops and route.method != "QUERY"):
            path = f"/{resource.path}{route.tail}"

            def send(case: Case[Any], aim: str, route: Route = route) -> None:
                if aim != "drawn":
                    self.aim(case, resource, route.op, versioned=aim == "versioned")
                status = self.send(case, resource.scope.name)
                self.answers[route.op, status] += 1
                if status < 300 and route.op in (Op.DELETE, Op.STATUS):
                    self.rows.pop(resource.path, None)

            def wander(case: Case[Any], _aim: str) -> None:
                assert self.send(case, other) == 403

            self.draw(route.method, path, GOOD, examples, send)
            self.draw(route.method, path, BAD, max(1, examples // 3), send)
            self.draw(route.method, path, GOOD, 1, wander)

    def aim(self, case: Case[Any], resource: Resource, op: Op, *, versioned: bool) -> None:
        """Bring a case to rows that exist: in the path, and in the references of the body."""
        if "id" in (case.path_parameters or {}):
            case.path_parameters["id"] = self.row(resource)
        if not versioned:
            case.headers.pop("If-Match", None)
            case.query.pop("version", None)
        # keys are drawn short, so that most belong to another request already
        case.headers.pop("Idempotency-Key", None)
        # a drawn cursor was never given out, and the body of a query names fields of no entity
        case.query.pop("cursor", None)
        if op is Op.LIST:
            alone(case.query)
        if op is Op.QUERY and isinstance(case.body, dict):
            case.body = {name: value for name, value in case.body.items() if name in ("page_size", "count", "deleted")}
        bodies = case.body if isinstance(case.body, list) else [case.body]
        for body in (body for body in bodies if isinstance(body, dict)):
            if not versioned:
                body.pop("version", None)
            if op is Op.CREATE:
                body.update(self.maker.references(resource))
            elif op in (Op.UPDATE, Op.REPLACE):
                body.update({k: v for k, v in self.maker.references(resource).items() if k in body})

    def row(self, resource: Resource) -> str:
        """The key of a row that was made here."""
        if resource.path not in self.rows:
            self.rows[resource.path] = key_of(resource, self.maker.make(resource))
        return self.rows[resource.path]

    def idle(self, resource: Resource) -> frozenset[Op]:
        """Reads that never succeeded, and the writes when none of them did."""
        done = {op for (op, status) in self.answers if status < 400}
        writes = resource.ops & WRITES
        return (resource.ops - WRITES - done) | (writes if not writes & done else frozenset())


def alone(query: dict[str, Any]) -> None:
    """Groups stand in the place of rows: what does not go with them is left out, and with rows what goes with groups."""
    grouped = "aggregate" in query
    others = ("fields", "expand", "facets", "sort") if grouped else ("group",)
    if grouped and "(" not in str(query["aggregate"]):  # a text that is drawn is hardly ever a function
        query["aggregate"], others = "n:count()", (*others, "group")
    for name in [name for name in query if name in others or name.startswith("having")]:
        query.pop(name)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server that no other test uses: what is drawn here changes whatever it can."""
    with serving(settings_for_tests(tmp_path_factory.mktemp("schemathesis"))) as running:
        yield running


@pytest.mark.parametrize("path", CATALOG.resources)
def test_entities_answer_as_documented(own: Live, path: str) -> None:
    resource = CATALOG.resources[path]
    run = Round(own, 1, RowMaker(own, RECIPES))
    for examples in (3, 12, 48):  # what was drawn first may ask for deleted rows, or for states that only rules enter
        run.entity(resource, examples)
        if not run.idle(resource):
            break
    assert run.idle(resource) == set(), run.answers


@pytest.mark.parametrize("caller", CATALOG.scopes)
@pytest.mark.parametrize(("method", "path"), BESIDE)
def test_other_routes_answer_as_documented(own: Live, caller: str, method: str, path: str) -> None:
    run, seen = Round(own, 1, RowMaker(own, RECIPES)), set[int]()
    for mode in (GOOD, BAD):
        run.draw(method, path, mode, 5, lambda case, _aim: seen.add(run.send(case, caller)))
    assert all(status < 500 for status in seen)


@pytest.mark.slow
@pytest.mark.parametrize("number", (2, 3))
def test_thousands_of_cases_answer_as_documented(own: Live, number: int) -> None:
    """Two rounds, each with other filters and other cases: more than 2,000 cases a round."""
    run = Round(own, number, RowMaker(own, RECIPES))
    for resource in CATALOG.resources.values():
        run.entity(resource, 9)
    assert run.answers.total() >= 2_000
