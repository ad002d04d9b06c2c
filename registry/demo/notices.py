"""Demo rows of configuration and notification."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from engine.hooks import Moment, Row
from registry.manager.notify import Recipient, notify

WELCOME: dict[str, Any] = {
    "code": "WELCOME",
    "channel_kind": "in_app",
    "body": "Welcome to {{ company }}, {{ name }}.",
    "variables": [{"name": "company"}, {"name": "name", "required": False}],
}
REMINDER: dict[str, Any] = {
    "code": "REMINDER",
    "channel_kind": "email",
    "category": "billing",
    "subject": "Invoice {{ number }} is due",
    "body": "Invoice {{ number }} over {{ amount }} was due on {{ due_date }}.",
    "variables": [{"name": "number"}, {"name": "amount"}, {"name": "due_date", "type": "date"}],
}
CHANNELS: list[dict[str, Any]] = [
    {"code": "INBOX", "kind": "in_app", "is_default": True},
    {
        "code": "MAIL",
        "kind": "email",
        "config": {"host": "localhost", "port": 1025},
        "from_address": "cxg@demo.example",
    },
]


async def demo_notices(manager: Moment, home: Row) -> None:
    """Rows of cnfg and noti around the demo tenant `home`. They must not be there yet."""
    owner, tenant = home["owner_id"], home["id"]
    flags = {"key": "new-ui", "name": "New user interface", "rollout_pct": Decimal(50)}
    [flag] = await manager.create("cnfg.feature-flags", [flags])
    await manager.create("cnfg.flag-overrides", [{"flag_id": flag["id"], "tenant_id": tenant, "value": True}])
    templates = await manager.create("noti.templates", [WELCOME, REMINDER])
    await manager.status("noti.templates", [row["id"] for row in templates], "published")
    await manager.create("noti.channels", CHANNELS)
    await manager.create("noti.preferences", [{"user_id": owner, "category": "product", "channel_kind": "email"}])
    to = Recipient(user_id=owner, tenant_id=tenant, kind="in_app")
    await notify(manager, "WELCOME", to, {"company": home["name"]})
