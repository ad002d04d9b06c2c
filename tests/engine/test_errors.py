"""Errors: six families, each code once, one shape."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from engine import errors
from engine.encode import failure
from engine.errors import CODES, FAULT_CODES, ApiError, Fault, generic, invalid

ROOT = Path(errors.__file__).parent.parent
SIX = {"UnauthorizedError", "ForbiddenError", "NotFoundError", "ConflictError", "ValidationError", "UnavailableError"}
BESIDE = {
    "NotFoundError": {405},
    "ConflictError": {412, 423},
    "ValidationError": {400, 406, 408, 413, 414, 415, 428, 431},
    "UnavailableError": {429, 504, 500},
}


def test_there_are_six_families() -> None:
    assert set(ApiError.families) == SIX
    assert len({family.http_status for family in ApiError.families.values()}) == 6


@pytest.mark.parametrize("code", CODES)
def test_a_code_belongs_to_one_family_and_its_numbers(code: str) -> None:
    family, status, message = CODES[code]
    error = generic(code)
    assert type(error) is ApiError.families[family]
    assert status in {error.http_status, *BESIDE.get(family, set())}
    assert (error.code, error.status, error.message, str(error)) == (code, status, message, message)
    assert re.fullmatch(r"[a-z_]+", code) and message[0].isupper() and not message.endswith(".")


def test_no_code_is_written_twice() -> None:
    keys = [
        [key.value for key in node.keys if isinstance(key, ast.Constant)]
        for node in ast.walk(ast.parse((ROOT / "engine/errors.py").read_text()))
        if isinstance(node, ast.Dict)
    ]
    assert all(len(names) == len(set(names)) for names in keys) and max(map(len, keys)) == len(CODES)


@pytest.mark.parametrize("name", sorted(SIX))
def test_a_family_answers_with_its_own_number(name: str) -> None:
    error = ApiError.families[name]("domain_code", "Something of a domain")
    answer = failure(error, "r-1")
    body = json.loads(answer.body)
    assert answer.status == ApiError.families[name].http_status
    assert body == {
        "success": False,
        "data": None,
        "error": {"code": "domain_code", "message": "Something of a domain", "details": [], "request_id": "r-1"},
    }


def test_details_have_one_shape() -> None:
    error = invalid(
        [Fault("lines[2].qty", "out_of_range", "must be positive", {"minimum": 1}), Fault("", "check_failed", "no")]
    )
    body = json.loads(failure(error, "r").body)["error"]
    assert body["message"] == "lines[2].qty: must be positive"
    assert body["details"][0] == {
        "field": "lines[2].qty",
        "code": "out_of_range",
        "message": "must be positive",
        "params": {"minimum": 1},
    }
    assert invalid([Fault("", "check_failed", "no")]).message == "no"


def test_a_fault_is_moved_below_a_path() -> None:
    fault = Fault("sku", "required", "must be given")
    assert [fault.under("lines[0]").field, Fault("", "x", "y").under("lines[0]").field] == ["lines[0].sku", "lines[0]"]


def test_headers_and_status_can_be_given() -> None:
    error = ApiError.families["ConflictError"]("version_conflict", status=412, headers={"Retry-After": "1"})
    answer = failure(error, "r")
    assert answer.status == 412 and (b"retry-after", b"1") in answer.headers


def test_401_always_carries_a_challenge() -> None:
    for headers in ({}, {"WWW-Authenticate": 'Bearer error="invalid_token"'}):
        challenges = [
            value
            for name, value in failure(generic("invalid_token", headers=headers), "r").headers
            if name == b"www-authenticate"
        ]
        assert len(challenges) == 1 and challenges[0].startswith(b"Bearer")


def test_faults_of_the_engine_are_listed() -> None:
    """Each literal code of a Fault or BadValue in the engine stands in one of the tables."""
    found = set()
    for path in (ROOT / "engine").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Fault", "BadValue"):
                place = node.args[1 if ast.unparse(node.func) == "Fault" else 0]
                found |= {place.value} if isinstance(place, ast.Constant) else set()
    assert len(found) > 8 and found - set(FAULT_CODES) == set()
