"""Paths: which entity, which operation, which key; 404 and 405 for the rest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.errors import ApiError
from engine.routes import ROUTES, Route, Router
from engine.types import Op
from tests.engine.wares import PARTS, WARES

READ_ONLY = replace(PARTS, ops=frozenset({Op.GET, Op.LIST, Op.HISTORY}))
ROUTER = Router({WARES.path: WARES, "shop/shop/logs": READ_ONLY})


def refused(method: str, path: str) -> ApiError:
    with pytest.raises(ApiError) as caught:
        ROUTER.find(method, path.encode())
    return caught.value


@pytest.mark.parametrize("route", ROUTES, ids=[f"{route.method} {route.tail}" for route in ROUTES])
def test_a_route_leads_to_its_operation(route: Route) -> None:
    method, tail, op, summary = route
    target = ROUTER.find(method, f"/shop/shop/wares{tail.format(id='7')}".encode())
    assert target == (WARES, op, ("7",) if "{id}" in tail else ()) and summary


def test_every_operation_has_one_route() -> None:
    extra = [Op.QUERY]  # by its own method, and by POST for who cannot send that
    assert sorted(route.op for route in ROUTES) == sorted([*Op, *extra])


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/shop",
        "/shop/shop",
        "/shop/shop/ware",
        "/Shop/shop/wares",
        "/shop/shop/wares/",
        "/shop/shop/wares//status",
        "/shop/shop/wares/1/",
        "/shop/shop/wares/1/stat",
        "/shop/shop/wares/1/status/2",
        "/shop//shop/wares",
        "//shop/shop/wares",
        "/shop/shop/wares%2F1",
    ],
)
def test_an_unknown_path_is_404(path: str) -> None:
    error = refused("GET", path)
    assert (error.status, error.code, error.headers) == (404, "route_not_found", {})


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "wares", "POST, GET, QUERY, PATCH, DELETE"),
        ("POST", "wares/1", "GET, PATCH, PUT, DELETE"),
        ("GET", "wares/1/status", "PATCH"),
        ("get", "wares", "POST, GET, QUERY, PATCH, DELETE"),
        ("POST", "logs", "GET"),
        ("DELETE", "logs/1", "GET"),
    ],
)
def test_another_method_is_405_and_says_which(method: str, path: str, allow: str) -> None:
    error = refused(method, f"/shop/shop/{path}")
    assert (error.status, error.code, error.headers) == (405, "method_not_allowed", {"Allow": allow})


def test_a_route_without_any_operation_does_not_exist() -> None:
    assert refused("PATCH", "/shop/shop/logs/1/status").code == "route_not_found"


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ("7", ("7",)),
        ("a%20b", ("a b",)),
        ("a%2Fb", ("a/b",)),
        ("EUR,2026-01-31", ("EUR", "2026-01-31")),
        ("a%2Cb,c", ("a,b", "c")),
        ("%C3%A4", ("ä",)),
        ("a%252Fb", ("a%2Fb",)),
        (",", ("", "")),
    ],
)
def test_keys_are_percent_decoded_part_by_part(raw: str, key: tuple[str, ...]) -> None:
    assert ROUTER.find("GET", f"/shop/shop/wares/{raw}".encode()).key == key


@pytest.mark.parametrize("raw", [b"%FF", b"%ED%A0%80", b"\xff"])
def test_bytes_that_are_no_text_name_no_row(raw: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        ROUTER.find("GET", b"/shop/shop/wares/" + raw)
    assert (caught.value.status, caught.value.code) == (404, "not_found")
