"""Behaviour of notification over HTTP: templates, channels, messages, preferences."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from engine.moment import UnitOfWork
from engine.operations import Operations
from engine.types import ENGINE, Principal
from registry.manager.notify import Recipient, notify
from registry.manager.rendering import placeholders, render
from tests.calls import Body, Caller, World
from tests.registry.notices import (
    CHANNELS,
    MESSAGES,
    PREFERENCES,
    TEMPLATES,
    empty_queue,
    make_channel,
    make_message,
    make_template,
    published,
)

NOON = datetime(2031, 3, 3, 12, 0, tzinfo=UTC)
Freeze = Callable[[datetime | None], None]


@pytest.fixture
def admin(world: World) -> Caller:
    """The administrator."""
    return world.admin


@pytest.fixture
def empty(world: World) -> None:
    """A queue without messages of other tests."""
    empty_queue(world)


def test_rendering_knows_names_alone() -> None:
    """NOTI-T1: a template computes and reaches nothing; a value is not rendered again."""
    text = "{{ a }} {{b}} {{ a.__class__ }} {{ 1 + 1 }} {% for x in y %} {{ c }}"
    assert placeholders(text) == {"a", "b", "c", "a.__class__", "1 + 1"}
    assert render("{{ a }}|{{b}}|{{ a.__class__ }}|{{ 7*7 }}|{{ c }}", {"a": "{{ b }}", "b": 5}) == "{{ b }}|5|||"


@pytest.mark.parametrize(
    "values",
    [
        {"body": "{{ other }}"},
        {"subject": "{{ other }}"},
        {"body": "{{ name.__class__ }}"},
        {"body": "{{ 7 * 7 }}"},
        {"variables": []},
    ],
)
def test_every_placeholder_is_declared(world: World, admin: Caller, values: Body) -> None:
    """NOTI-T1: at create and at update."""
    body = {"code": "X", "channel_kind": "email", "subject": "s", "body": "{{ name }}", "variables": [{"name": "name"}]}
    admin.expect_refusal("422:undeclared_variable", "POST", TEMPLATES, {**body, **values})
    template = make_template(world)
    admin.expect_refusal("422:undeclared_variable", "PATCH", f"{TEMPLATES}/{template['id']}", values)


def test_an_email_needs_a_subject(world: World, admin: Caller) -> None:
    """NOTI-T1: other kinds do not."""
    body = {"code": "X", "channel_kind": "email", "body": "b"}
    admin.expect_refusal("422:subject_required", "POST", TEMPLATES, body)
    template = make_template(world)
    admin.expect_refusal("422:subject_required", "PATCH", f"{TEMPLATES}/{template['id']}", {"subject": None})
    assert make_template(world, channel_kind="in_app", subject=None)["subject"] is None


def test_publishing_looks_again(world: World, admin: Caller) -> None:
    """NOTI-T1: a draft that was spoiled beside the API is not published."""
    template = make_template(world)
    world.live.run_sql("manager", "update noti.templates set body = '{{ gone }}' where id = $1", UUID(template["id"]))
    admin.stays("422:undeclared_variable", TEMPLATES, template["id"], "published")
    assert admin.get(TEMPLATES, template["id"])["status"] == "draft"


def test_a_published_template_is_revised_by_a_new_draft(world: World, admin: Caller) -> None:
    """NOTI-T2: the update answers the new draft; publishing it archives the older one; a draft just changes."""
    first = published(world)
    draft = admin.change(TEMPLATES, first["id"], body="New {{ name }}", version=first["version"])
    assert (draft["revision"], draft["status"], draft["body"]) == (2, "draft", "New {{ name }}")
    assert draft["id"] != first["id"] and draft["code"] == first["code"] and draft["version"] == 1
    kept = admin.get(TEMPLATES, first["id"])
    assert (kept["status"], kept["body"], kept["version"]) == ("published", first["body"], first["version"])
    assert admin.change(TEMPLATES, draft["id"], body="Newer {{ name }}")["id"] == draft["id"]
    another = admin.change(TEMPLATES, first["id"], subject="Other")
    assert another["revision"] == 3
    assert admin.change(TEMPLATES, first["id"], body=first["body"])["id"] == first["id"]
    admin.expect_refusal("422:undeclared_variable", "PATCH", f"{TEMPLATES}/{first['id']}", {"body": "{{ x }}"})
    admin.expect_refusal("409:version_conflict", "PATCH", f"{TEMPLATES}/{first['id']}", {"body": "b", "version": 99})
    admin.move(TEMPLATES, draft["id"], "published")
    assert admin.get(TEMPLATES, first["id"])["status"] == "archived"
    other_language = published(world, code=first["code"], locale="de")
    assert admin.get(TEMPLATES, draft["id"])["status"] == admin.get(TEMPLATES, other_language["id"])["status"]


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("email", {}),
        ("email", {"host": "mail.example", "url": "https://1.1.1.1/"}),
        ("email", {"host": "mail.example", "port": "25"}),
        ("email", {"host": "mail.example", "port": 70000}),
        ("email", {"host": 5}),
        ("sms", {"secret": "x"}),
        ("in_app", {"url": "https://1.1.1.1/"}),
        ("webhook", {"url": "http://1.1.1.1/"}),
        ("webhook", {"url": "https://10.0.0.5/"}),
        ("webhook", {"url": "https://127.0.0.1/"}),
        ("webhook", {"url": "https://[::ffff:10.0.0.1]/"}),
        ("webhook", {"url": "https://[64:ff9b::10.0.0.1]/"}),
        ("webhook", {"url": "https://[fe80::1]/"}),
        ("webhook", {"url": "https://224.0.0.1/"}),
        ("webhook", {"url": "https://100.64.0.1/"}),
        ("webhook", {"url": "https://1.1.1.1:8080/"}),
        ("webhook", {"url": "https://me:pw@1.1.1.1/"}),
        ("webhook", {"url": "https://localhost/"}),
        ("push", {"url": "https://1.1.1.1/\r\nX: y"}),
    ],
)
def test_a_config_has_the_keys_of_its_kind(world: World, admin: Caller, kind: str, config: Body) -> None:
    """NOTI-C1: needed and known keys; a url leads to a public host as INTG-W1 says."""
    body = {"code": "CHX", "kind": kind, "config": config}
    admin.expect_refusal("422:channel_config", "POST", CHANNELS, body)


def test_a_config_is_checked_when_it_changes_and_never_shown(world: World, admin: Caller) -> None:
    """NOTI-C1, and G15: the config is stored encrypted and no answer holds it."""
    secret = {"host": "mail.example", "user": "me", "secret": "CANARY-config"}
    channel = make_channel(world, config=secret)
    path = f"{CHANNELS}/{channel['id']}"
    admin.expect_refusal("422:channel_config", "PATCH", path, {"config": {"host": ""}})
    admin.change(CHANNELS, channel["id"], from_address="noreply@cxg.example")
    history = admin.client.get(f"/{path}/history").text
    [stored] = world.live.run_sql("manager", "select t::text from noti.channels t where id = $1", UUID(channel["id"]))
    assert "config" not in admin.get(CHANNELS, channel["id"]) and "CANARY" not in history + stored[0]
    cipher = "select config::text from noti.channels where id = $1"
    before = world.live.run_sql("manager", cipher, UUID(channel["id"]))
    kept = {"from_address": None, "rate_limit_per_minute": 5, "is_default": False}
    admin.send(200, "PUT", path, kept)
    assert world.live.run_sql("manager", cipher, UUID(channel["id"])) == before
    public = make_channel(world, kind="webhook", config={"url": "https://1.1.1.1:8443/hook?a=b", "secret": "x"})
    assert public["kind"] == "webhook"


def test_a_new_default_clears_the_old_one(world: World, admin: Caller, empty: None) -> None:
    """NOTI-C1: one default a kind; other kinds keep theirs."""
    hook = {"kind": "in_app", "config": {}, "is_default": True}
    one, other = make_channel(world, is_default=True), make_channel(world, **hook)
    two = make_channel(world, is_default=True)
    assert not admin.get(CHANNELS, one["id"])["is_default"] and admin.get(CHANNELS, two["id"])["is_default"]
    admin.change(CHANNELS, one["id"], is_default=True)
    assert [admin.get(CHANNELS, row["id"])["is_default"] for row in (one, two, other)] == [True, False, True]
    config = {"host": "mail.example"}
    both = [{"code": world.name("CH").upper(), "kind": "email", "config": config, "is_default": True} for _ in "ab"]
    assert [row["is_default"] for row in admin.send(201, "POST", CHANNELS, both)] == [False, True]


def test_a_message_needs_its_variables_and_a_published_template(world: World, admin: Caller) -> None:
    """NOTI-N1: required variables are present, those that are not required may be missing."""
    template = published(world)
    body = {"template_id": template["id"], "address": "a@people.example"}
    for variables in ({}, {"name": None}, {"rest": "x"}):
        admin.expect_refusal("422:missing_variable", "POST", MESSAGES, {**body, "variables": variables})
    draft = make_template(world)
    wrong = {**body, "template_id": draft["id"], "variables": {"name": "Ann"}}
    admin.expect_refusal("422:invalid_reference", "POST", MESSAGES, wrong)
    assert make_message(world, template)["status"] == "queued"


def test_the_same_dedupe_key_answers_the_first_message(world: World, admin: Caller, freeze: Freeze) -> None:
    """NOTI-N1: within 24 hours, with 200; also in one body, and not for another key."""
    template, key = published(world), str(uuid4())
    freeze(NOON)
    first = make_message(world, template, dedupe_key=key)
    body = {
        "template_id": template["id"],
        "address": "b@people.example",
        "variables": {"name": "Bob"},
        "dedupe_key": key,
    }
    assert admin.send(200, "POST", MESSAGES, body)["id"] == first["id"]
    assert admin.send(201, "POST", MESSAGES, {**body, "dedupe_key": key + "2"})["id"] != first["id"]
    twins = admin.send(201, "POST", MESSAGES, [{**body, "dedupe_key": key + "3"}] * 2)
    assert twins[0]["id"] == twins[1]["id"]
    freeze(NOON + timedelta(hours=23, minutes=59))
    assert admin.send(200, "POST", MESSAGES, body)["id"] == first["id"]
    freeze(NOON + timedelta(hours=24, minutes=1))
    assert admin.send(201, "POST", MESSAGES, body)["id"] != first["id"]


def test_security_cannot_be_switched_off(world: World, admin: Caller) -> None:
    """NOTI-P1: at create and at update."""
    user = world.user()
    body = {"user_id": user["id"], "category": "security", "channel_kind": "email", "enabled": False}
    admin.expect_refusal("422:mandatory_category", "POST", PREFERENCES, body)
    row = admin.make(PREFERENCES, **{**body, "enabled": True})
    admin.expect_refusal("422:mandatory_category", "PATCH", f"{PREFERENCES}/{row['id']}", {"enabled": False})
    assert admin.change(PREFERENCES, row["id"], quiet_from="22:00:00", quiet_to="06:00:00")["enabled"]


def test_preferences_are_ones_own(world: World, admin: Caller) -> None:
    """NOTI-P1: nobody makes, sees or changes another's without perm:noti.preferences.manage."""
    user, other = world.user(), world.user()
    rights = {f"noti.preferences.{right}" for right in ("read", "create", "update", "delete")}
    own = Caller(world.live.lend(Principal(UUID(user["id"]), permissions=frozenset(rights))))
    manager = Caller(world.live.lend(Principal(uuid4(), permissions=frozenset(rights | {"noti.preferences.manage"}))))
    body = {"category": "product", "channel_kind": "sms", "enabled": False}
    mine = own.make(PREFERENCES, user_id=user["id"], **body)
    own.expect_refusal("403:permission_denied", "POST", PREFERENCES, {"user_id": other["id"], **body})
    theirs = manager.make(PREFERENCES, user_id=other["id"], **body)
    assert [row["id"] for row in own.list(PREFERENCES)] == [mine["id"]]
    own.expect_refusal("404:not_found", "PATCH", f"{PREFERENCES}/{theirs['id']}", {"enabled": True})
    assert manager.change(PREFERENCES, theirs["id"], enabled=True)["enabled"]


def test_rules_queue_messages_in_the_language_of_the_recipient(world: World) -> None:
    """What other domains call: a user's language, else its region's, else English; nothing where nothing is published."""
    code = published(world)["code"]
    german = published(world, code=code, locale="de")
    user, key = world.user(locale="de-AT"), str(uuid4())

    async def work(operations: Operations) -> list[Any]:
        async with UnitOfWork(operations, "manager", ENGINE) as moment:
            to = Recipient(user_id=UUID(user["id"]))
            rows = [await notify(moment, code, to, {"name": "Ann"}, key) for _ in "ab"]
            bare = await notify(moment, code, Recipient(address="x@people.example", locale="fr"), {"name": "Bob"})
            return [*rows, bare, await notify(moment, "NO_SUCH", to, {})]

    first, again, bare, none = world.live.beside.run(work)
    assert (str(first["template_id"]), first["id"]) == (german["id"], again["id"])
    assert bare["template_id"] != first["template_id"] and none is None
