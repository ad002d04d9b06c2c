"""What tests of notification make: templates, channels, messages; and the paths they ask."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from tests.calls import Body, World
from tests.mail import MailServer

TEMPLATES, CHANNELS = "manager/noti/templates", "manager/noti/channels"
MESSAGES, PREFERENCES = "manager/noti/notifications", "manager/noti/preferences"


def empty_queue(world: World) -> None:
    """Take the messages of other tests out of the queue, and their channels out of use."""
    world.live.run_sql("manager", "update noti.notifications set status = 'canceled' where status = 'queued'")
    world.live.run_sql("manager", "update noti.channels set is_default = false")


def make_template(world: World, **values: Any) -> Body:
    """A draft of an e-mail."""
    usual = {"code": world.name("TPL").upper(), "channel_kind": "email", "subject": "Hello {{ name }}"}
    usual |= {"body": "Dear {{name}}, {{ rest }}", "variables": [{"name": "name"}, {"name": "rest", "required": False}]}
    return world.admin.make(TEMPLATES, **{**usual, **values})


def published(world: World, **values: Any) -> Body:
    """A published template."""
    return world.admin.move(TEMPLATES, make_template(world, **values)["id"], "published")


def make_channel(world: World, server: MailServer | None = None, **values: Any) -> Body:
    """A mail channel; default with a server to talk to."""
    config = {"host": "127.0.0.1", "port": server.port if server else 25}
    usual = {"code": world.name("CH").upper(), "kind": "email", "config": config, "is_default": server is not None}
    return world.admin.make(CHANNELS, **{**usual, **values})


def make_message(world: World, template: Body, **values: Any) -> Body:
    """A message to an address."""
    usual = {"template_id": template["id"], "variables": {"name": "Ann"}}
    to = {} if "user_id" in values else {"address": f"{uuid4()}@people.example"}
    return world.admin.make(MESSAGES, **{**usual, **to, **values})
