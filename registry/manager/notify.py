"""Putting a message into the queue, for rules and jobs of other domains.

await notify(moment, "DUNNING_1", Recipient(user_id=owner, tenant_id=tenant), {"number": "INV-2026-00001"}, key)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from engine.hooks import Moment, Row
from registry.manager.noti import Template

LANGUAGE = "en"


@dataclass(frozen=True)
class Recipient:
    """Whom a message is for: a user, or a bare address. `kind`: how it goes out; `tenant_id`: on whose behalf; `locale`:
    of a bare address, a user has his own."""

    user_id: UUID | None = None
    address: str | None = None
    tenant_id: UUID | None = None
    kind: Literal["email", "sms", "push", "in_app", "webhook"] = "email"
    locale: str = LANGUAGE


async def notify(
    moment: Moment, code: str, to: Recipient, variables: Mapping[str, Any], dedupe_key: str | None = None
) -> Row | None:
    """Queue a message of the published template `code`, in the language of the recipient, else of its region, else English.
    None where there is no such template: then nobody wants the message. The same `dedupe_key` within 24 hours gives the
    first message. `moment` is of the Manager scope."""
    template = await _template(moment, code, to)
    if template is None:
        return None
    given = {"user_id": to.user_id, "address": to.address, "tenant_id": to.tenant_id, "dedupe_key": dedupe_key}
    [row] = await moment.create(
        "noti.notifications", [{**given, "template_id": template["id"], "variables": dict(variables)}]
    )
    return row


async def _template(moment: Moment, code: str, to: Recipient) -> Row | None:
    templates = Template.__table__.c
    published = (templates.code == code, templates.channel_kind == to.kind, templates.status == "published")
    by_locale = {row["locale"]: row for row in await moment.list("noti.templates", *published)}
    user = await moment.get("idam.users", to.user_id) if to.user_id else None
    locale = user["locale"] if user else to.locale
    for wanted in (locale, locale.replace("_", "-").partition("-")[0], LANGUAGE):
        if wanted in by_locale:
            return by_locale[wanted]
    return None
