"""Trees over HTTP (G17)."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from engine.testing.harness import Live

PATH = "/tenants/crm/customers"


@pytest.fixture
def client(live: Live) -> httpx.Client:
    return live.client("tenants")


def make(client: httpx.Client, parent: str | None = None) -> str:
    answer = client.post(PATH, json={"name": "node", "parent_id": parent})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["data"]["id"])


def code(answer: httpx.Response) -> tuple[int, Any]:
    error = answer.json()["error"]
    return answer.status_code, error and error["code"]


def chain(client: httpx.Client, length: int) -> list[str]:
    nodes = [make(client)]
    for _ in range(length - 1):
        nodes.append(make(client, nodes[-1]))
    return nodes


def test_a_node_cannot_lie_below_itself(client: httpx.Client) -> None:
    top, middle, leaf = chain(client, 3)
    for node, parent in ((top, leaf), (top, top), (middle, leaf)):
        assert code(client.patch(f"{PATH}/{node}", json={"parent_id": parent})) == (422, "tree_cycle")
    assert client.patch(f"{PATH}/{leaf}", json={"parent_id": top}).status_code == 200


def test_a_tree_has_ten_levels(client: httpx.Client) -> None:
    nodes = chain(client, 10)
    assert code(client.post(PATH, json={"name": "deeper", "parent_id": nodes[-1]})) == (422, "tree_too_deep")
    short = chain(client, 2)
    assert code(client.patch(f"{PATH}/{short[0]}", json={"parent_id": nodes[8]})) == (422, "tree_too_deep")
    assert client.patch(f"{PATH}/{short[0]}", json={"parent_id": nodes[7]}).status_code == 200


def test_a_node_with_active_children_stays(client: httpx.Client) -> None:
    top, leaf = chain(client, 2)
    assert code(client.delete(f"{PATH}/{top}")) == (409, "in_use")
    assert client.delete(f"{PATH}/{leaf}").status_code == 200
    assert client.delete(f"{PATH}/{top}").status_code == 200


def test_under_finds_the_node_and_all_below(client: httpx.Client) -> None:
    nodes = chain(client, 4)
    found = client.get(PATH, params={"filter[id][under]": nodes[1], "fields": "id"}).json()["data"]["items"]
    assert {row["id"] for row in found} == set(nodes[1:])
