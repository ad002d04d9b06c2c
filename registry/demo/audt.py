"""Rows of audit and compliance to try things with."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from engine.hooks import Moment, Row


async def demo_audt(moment: Moment, home: Row) -> None:
    """Policies of the platform and one of the demo tenant, a request of a person, and attempts to sign in."""
    own: dict[str, Any] = {"tenant_id": home["id"], "valid_from": moment.today}
    platform: dict[str, Any] = {"valid_from": moment.today}
    policies = [
        {"code": "SESSIONS", "kind": "session", "parameters": {"idle_minutes": 60}, **platform},
        {"code": "TRAIL", "kind": "retention", "parameters": {"days": 3650}, **platform},
        {"code": "DEMO-SESSIONS", "kind": "session", "parameters": {"idle_minutes": 15}, **own},
    ]
    for policy in policies:
        [row] = await moment.create("audt.policies", [policy])
        if row["tenant_id"] is None:
            await moment.status("audt.policies", [row["id"]], "active")
    asked = {"subject_email": "former@demo.example", "kind": "export", "tenant_id": home["id"]}
    await moment.create("audt.data-requests", [{**asked, "received_on": moment.today - timedelta(days=3)}])
    tried: dict[str, Any] = {"email_tried": "clerk@demo.example", "ip": "192.0.2.7", "user_agent": "demo"}
    await moment.create(
        "audt.login-events",
        [{**tried, "occurred_at": moment.now, "result": result} for result in ("bad_password", "success")],
    )
