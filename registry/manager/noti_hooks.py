"""Behaviour of notification: templates and their revisions, channels, messages, preferences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select

from engine.hooks import Change, Moment, Point, Row, Rules, refuse
from registry.locks import lock_by_id, lock_rows
from registry.manager.noti import Channel, Notification, Template
from registry.manager.outgoing import resolve
from registry.manager.rendering import placeholders

rules = Rules("manager/noti")

CONTENT = ("code", "channel_kind", "locale", "category", "subject", "body", "variables")
# how long a dedupe key answers with the first message
SAME_FOR = timedelta(hours=24)

Fits = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 2048


def _is_port(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65_536


# key of a config -> what its value looks like
KEYS: dict[str, Fits] = {
    "host": _is_text,
    "port": _is_port,
    "user": _is_text,
    "secret": _is_text,
    "url": _is_text,
}
# kind of a channel -> (keys it needs, keys it may have)
CONFIGS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "email": (frozenset({"host"}), frozenset({"port", "user", "secret"})),
    "sms": (frozenset({"url"}), frozenset({"user", "secret"})),
    "push": (frozenset({"url"}), frozenset({"secret"})),
    "webhook": (frozenset({"url"}), frozenset({"secret"})),
    "in_app": (frozenset(), frozenset()),
}


@rules.on(
    "NOTI-T1",
    "templates",
    Point.BEFORE_CREATE,
    Point.BEFORE_UPDATE,
    watches="subject body variables",
    raises="422:undeclared_variable 422:subject_required",
)
@rules.on(
    "NOTI-T1",
    "templates",
    Point.BEFORE_STATUS,
    edges="draft>published",
    raises="422:undeclared_variable 422:subject_required",
)
async def declare_variables(moment: Moment, changes: list[Change]) -> None:
    """Every placeholder is a declared variable, and an e-mail has a subject."""
    for change in changes:
        declared = {variable["name"] for variable in change["variables"] or ()}
        for name in ("subject", "body"):
            if unknown := sorted(placeholders(change[name] or "") - declared):
                message = f"The {name} uses {unknown[0]!r}, which is not among the variables"
                raise refuse(change, name, "undeclared_variable", message)
        if change["channel_kind"] == "email" and not change["subject"]:
            raise refuse(change, "subject", "subject_required", "An e-mail needs a subject")


@rules.on("NOTI-T2", "templates", Point.BEFORE_UPDATE)
async def revise(moment: Moment, changes: list[Change]) -> None:
    """A published template stays as it is: the update makes, and answers, a new draft with the next revision."""
    templates = Template.__table__.c
    for change in changes:
        if change.old is None or change.old["status"] != "published":
            continue
        if not any(change.changes(name) for name in CONTENT):
            change.found = change.old
            continue
        same = [templates[name] == change[name] for name in ("code", "channel_kind", "locale")]
        [newest] = await moment.fetch(select(func.max(templates.revision).label("revision")).where(*same))
        fresh = {name: change[name] for name in CONTENT}
        [change.found] = await moment.create("noti.templates", [{**fresh, "revision": newest["revision"] + 1}])


@rules.on("NOTI-T2", "templates", Point.AFTER_STATUS, edges="draft>published")
async def archive_older(moment: Moment, changes: list[Change]) -> None:
    """Publishing a revision archives the one that was published."""
    templates = Template.__table__.c
    for change in changes:
        same = [templates[name] == change[name] for name in ("code", "channel_kind", "locale")]
        rows = await lock_rows(moment, Template, *same)
        old = [row["id"] for row in rows if row["status"] == "published" and row["id"] != change.key]
        await moment.status("noti.templates", old, "archived", "a newer revision was published")


@rules.on(
    "NOTI-C1",
    "channels",
    Point.BEFORE_CREATE,
    Point.BEFORE_UPDATE,
    watches="config",
    raises="422:channel_config",
)
async def fit_config(moment: Moment, changes: list[Change]) -> None:
    """A config has the keys of its kind; a URL leads to a public host."""
    for change in changes:
        fault = _config_fault(change["kind"], change["config"] or {})
        if fault is None and "url" in change["config"]:
            try:
                await resolve(change["config"]["url"])
            except ValueError as wrong:
                fault = f"url {wrong}"
        if fault is not None:
            raise refuse(
                change, "config", "channel_config", f"The config of a channel of kind {change['kind']}: {fault}"
            )


def _config_fault(kind: str, config: Mapping[str, Any]) -> str | None:
    """What is wrong with the keys; nothing of their values is told."""
    needed, possible = CONFIGS[kind]
    if missing := sorted(needed - config.keys()):
        return f"{missing[0]} is missing"
    if unknown := sorted(config.keys() - needed - possible):
        return f"{unknown[0][:40]!r} is not one of {', '.join(sorted(needed | possible)) or 'none'}"
    wrong = next((key for key, value in config.items() if not KEYS[key](value)), None)
    return f"{wrong} does not fit" if wrong else None


@rules.on("NOTI-C1", "channels", Point.BEFORE_CREATE, Point.BEFORE_UPDATE, watches="is_default")
async def clear_old_default(moment: Moment, changes: list[Change]) -> None:
    """A new default of a kind clears the old one; of several in one request the last one stays."""
    fresh = {change["kind"]: change for change in changes if change["is_default"] and change.changes("is_default")}
    for change in changes:
        if change["is_default"] and fresh.get(change["kind"], change) is not change:
            change.values["is_default"] = False
    channels = Channel.__table__.c
    own = [change.key for change in fresh.values()]
    old = await lock_rows(moment, Channel, channels.kind.in_(fresh), channels.is_default, channels.id.not_in(own))
    if old:
        await moment.update("noti.channels", [{"id": row["id"], "is_default": False} for row in old])


@rules.on("NOTI-N1", "notifications", Point.BEFORE_CREATE, raises="422:missing_variable")
async def fill_template(moment: Moment, changes: list[Change]) -> None:
    """A message is made of a published template, with the variables that it requires."""
    columns = Template.__table__.c
    wanted = columns.id.in_({change["template_id"] for change in changes})
    templates = {row["id"]: row for row in await moment.list("noti.templates", wanted)}
    for change in changes:
        template = templates.get(change["template_id"])
        if template is None or template["status"] != "published":
            raise refuse(change, "template_id", "invalid_reference", "This must be a published template")
        if missing := sorted(_required(template) - _given(change)):
            raise refuse(change, "variables", "missing_variable", f"The template requires the variable {missing[0]}")


def _required(template: Row) -> set[str]:
    return {variable["name"] for variable in template["variables"] if variable.get("required", True)}


def _given(change: Change) -> set[str]:
    return {name for name, value in (change["variables"] or {}).items() if value is not None}


@rules.on("NOTI-N1", "notifications", Point.BEFORE_CREATE, watches="dedupe_key")
async def answer_the_first(moment: Moment, changes: list[Change]) -> None:
    """The same dedupe_key within 24 hours answers the first row. The template's row is locked meanwhile, so that of two
    equal requests at once the second one finds what the first one made."""
    keyed = [change for change in changes if change["dedupe_key"] is not None]
    if not keyed:
        return
    await lock_by_id(moment, Template, {change["template_id"] for change in keyed})
    columns = Notification.__table__.c
    recent = (
        columns.dedupe_key.in_({change["dedupe_key"] for change in keyed}),
        columns.created_at > moment.now - SAME_FOR,
    )
    first: dict[str, Row] = {}
    for row in await moment.list("noti.notifications", *recent, limit=100_000):
        first.setdefault(row["dedupe_key"], row)
    for change in keyed:
        known = first.setdefault(change["dedupe_key"], change.values)
        if known is not change.values:
            change.found = known


@rules.on(
    "NOTI-P1",
    "preferences",
    Point.BEFORE_CREATE,
    Point.BEFORE_UPDATE,
    watches="enabled category",
    raises="422:mandatory_category",
)
async def keep_security_on(moment: Moment, changes: list[Change]) -> None:
    """Messages about security cannot be switched off."""
    for change in changes:
        if change["category"] == "security" and change["enabled"] is False:
            message = "Messages about security cannot be switched off"
            raise refuse(change, "enabled", "mandatory_category", message)
