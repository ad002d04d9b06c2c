"""What the rules of configuration and notification ask of a valid row beside its metadata."""

from __future__ import annotations

from typing import Any

from engine.testing.rows import Body, Recipe, RowMaker


def published_template(maker: RowMaker) -> str:
    """A template that messages may be made of."""
    resource = maker.live.resource("manager/noti/templates")
    row = maker.make(resource)
    answer = maker.live.client("manager").patch(f"/{resource.path}/{row['id']}/status", json={"status": "published"})
    assert answer.status_code == 200, answer.text
    return str(row["id"])


def plain_text(body: Body) -> None:
    """A template whose texts hold no placeholder that its variables do not know."""
    for name in ("subject", "body"):
        if name in body:
            body[name] = (body[name] or "plain").replace("{{", "")


MAIL: dict[str, Any] = {"kind": "email", "config": {"host": "mail.example"}, "is_default": False}

NOTICE_RECIPES = {
    "manager/cnfg/settings": Recipe(
        values={"value": "text", "value_type": "string", "schema": None, "is_secret": False}
    ),
    "manager/noti/templates": Recipe(values={"subject": "Subject"}, fix=plain_text),
    "manager/noti/channels": Recipe(values=MAIL),
    "manager/noti/notifications": Recipe(
        values={"template_id": published_template, "address": "ann@people.example", "dedupe_key": None}
    ),
    "manager/noti/preferences": Recipe(values={"category": "product", "enabled": True}),
}
