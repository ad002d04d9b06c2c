"""Bodies drawn from metadata: valid ones are taken and shown as given, ones with a fault are refused by its code and
field, hostile bytes are refused as documented."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.catalog import Resource
from engine.errors import CODES
from engine.main import load
from engine.testing.bench import Bench
from engine.testing.harness import Live
from engine.testing.lifecycle import shows
from engine.testing.rows import RowMaker, kept
from engine.testing.strategies import faults_of, hostile_body, nearly_valid_body, valid_body
from engine.types import Op
from tests.contract.recipes import RECIPES

_, CATALOG = load(["registry"])
CREATED = [path for path, resource in CATALOG.resources.items() if Op.CREATE in resource.ops]
UPDATED = [path for path, resource in CATALOG.resources.items() if Op.UPDATE in resource.ops]
# drawn the same at every run; rows are made while drawing, which is slow and depends on the database
FEW = settings(derandomize=True, database=None, deadline=None, max_examples=12, suppress_health_check=list(HealthCheck))
MORE = settings(FEW, max_examples=25)


def bench_of(live: Live, path: str) -> Bench:
    """The entity with its recipe."""
    return Bench(RowMaker(live, RECIPES), live.resource(path))


def body_of(answer: httpx.Response) -> Any:
    """The envelope, which every answer has."""
    envelope = answer.json()
    assert set(envelope) == {"success", "data", "error"}, answer.text
    return envelope


@pytest.mark.parametrize("path", CREATED)
def test_valid_bodies_are_taken_and_shown_as_given(live: Live, path: str) -> None:
    """What the metadata allows is stored without loss."""
    bench = bench_of(live, path)
    recipe = bench.maker.recipe(bench.resource)

    @FEW
    @given(valid_body(bench.resource, lambda: bench.maker.references(bench.resource), recipe))
    def hold(body: dict[str, Any]) -> None:
        answer = bench.client.post(bench.path(), json=body)
        assert answer.status_code == 201, f"{answer.text} for {body}"
        row = body_of(answer)["data"]
        shows(bench, body, row)
        assert bench.read(row) == kept(bench.resource, row)

    hold()


@pytest.mark.parametrize("path", CREATED)
def test_one_fault_is_named_by_code_and_field(live: Live, path: str) -> None:
    """A body with one fault is refused for that fault alone."""
    bench = bench_of(live, path)

    @MORE
    @given(
        nearly_valid_body(
            bench.resource, lambda: bench.maker.references(bench.resource), bench.maker.recipe(bench.resource)
        )
    )
    def hold(faulty: Any) -> None:
        answer = bench.client.post(bench.path(), json=faulty.body)
        details = (body_of(answer)["error"] or {}).get("details", [])
        if faulty.kind == "unknown reference" and bench.documented(answer):
            return  # a rule that looks at the row behind the reference comes before the reference itself
        assert answer.status_code == 422, f"{faulty}: {answer.text}"
        assert [(fault["field"], fault["code"]) for fault in details] == [(faulty.field, faulty.code)], (
            f"{faulty}: {answer.text}"
        )

    hold()


@pytest.mark.parametrize("path", UPDATED)
def test_every_faulty_update_is_named(live: Live, path: str) -> None:
    """The same for updates, every fault once."""
    bench = bench_of(live, path)
    row = bench.make()
    wrong = []
    for fault in faults_of(bench.resource, "update"):
        answer = bench.client.patch(bench.path(row), json=fault.body)
        details = (body_of(answer)["error"] or {}).get("details", [])
        found = (answer.status_code, [(detail["field"], detail["code"]) for detail in details])
        if found != (422, [(fault.field, fault.code)]):
            wrong.append((fault, answer.status_code, answer.text))
    assert not wrong
    assert bench.read(row) == row


@pytest.mark.parametrize("path", sorted({*CREATED, *UPDATED}))
def test_hostile_bytes_are_refused_as_documented(live: Live, path: str) -> None:
    """Whatever comes, the answer is a 4xx of the table of codes, in the envelope."""
    bench = bench_of(live, path)
    creates = path in CREATED
    row = {} if creates else bench.make()
    valid = bench.maker.body(bench.resource) if creates else {}
    method, where = ("POST", bench.path()) if creates else ("PATCH", bench.path(row))

    @MORE
    @given(
        hostile_body(bench.resource, valid, "create" if creates else "update"),
        st.sampled_from(["application/json", "text/plain"]),
    )
    def hold(body: bytes, media_type: str) -> None:
        answer = bench.client.request(method, where, content=body, headers={"Content-Type": media_type})
        check_documented(answer, body)

    hold()


def check_documented(answer: httpx.Response, body: bytes) -> None:
    """A 4xx whose code stands in the table with this number, sent back as valid JSON."""
    assert 400 <= answer.status_code < 500, f"{body[:200]!r}: {answer.status_code} {answer.text}"
    error = body_of(answer)["error"]
    assert CODES[error["code"]][1] == answer.status_code, f"{body[:200]!r}: {answer.text}"
    assert error["request_id"] == answer.headers["x-request-id"]
    json.dumps(error).encode()


def test_every_writable_entity_is_asked() -> None:
    """The cases come from the catalogue, so a new entity is asked by itself."""
    asked: set[str] = {*CREATED, *UPDATED}
    writable: list[Resource] = [r for r in CATALOG.resources.values() if {Op.CREATE, Op.UPDATE} & r.ops]
    assert {resource.path for resource in writable} == asked
    assert len(CATALOG.resources) >= 26
