"""What operators see: counts of answers, and health."""

from __future__ import annotations

import re

import httpx

from engine.testing.harness import Live


def counted(live: Live) -> float:
    text = httpx.get(f"{live.url}/metrics").text
    line = re.search(
        r'^cxg_requests_total\{entity="manager/bill/plans",op="list",status="200"\} (\S+)$', text, re.MULTILINE
    )
    return float(line.group(1)) if line else 0.0


def test_answers_are_counted_by_entity_operation_and_status(live: Live) -> None:
    client = live.client("manager")
    before = counted(live)
    for _ in range(3):
        assert client.get("/manager/bill/plans").status_code == 200
    assert counted(live) == before + 3


def test_health_says_which_databases_answer(live: Live) -> None:
    assert httpx.get(f"{live.url}/health/live").json()["data"] == {"status": "live"}
    ready = httpx.get(f"{live.url}/health/ready")
    assert ready.status_code == 200 and ready.json()["data"]["databases"] == {"manager": True, "tenants": True}
