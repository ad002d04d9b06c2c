"""Behaviour of notification: templates, channels, the queue and its job, preferences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from engine.moment import UnitOfWork
from engine.operations import Operations
from engine.testing.harness import Live
from engine.types import ENGINE, Principal
from registry.manager.noti_jobs import end_of_quiet
from registry.manager.notify import Recipient, notify
from registry.manager.rendering import placeholders, render
from tests.calls import Body, Caller, World
from tests.mail import MailServer, mail_server

TEMPLATES, CHANNELS = "manager/noti/templates", "manager/noti/channels"
MESSAGES, PREFERENCES = "manager/noti/notifications", "manager/noti/preferences"
NOON = datetime(2031, 3, 3, 12, 0, tzinfo=UTC)
Freeze = Callable[[datetime | None], None]


@pytest.fixture
def admin(world: World) -> Caller:
    """The administrator."""
    return world.admin


@pytest.fixture
def mail() -> Iterator[MailServer]:
    """A mail server."""
    with mail_server() as server:
        yield server


@pytest.fixture
def empty(live: Live) -> None:
    """A queue without messages of other tests."""
    live.run_sql("manager", "update noti.notifications set status = 'canceled' where status = 'queued'")
    live.run_sql("manager", "update noti.channels set is_default = false")


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


def run(world: World, now: datetime) -> Body:
    """What a run of the job tells."""
    return world.live.run_job("send_notifications", now=now)


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
    kept = {"from_address": None, "rate_limit_per_minute": 5, "is_default": False}
    admin.send(200, "PUT", path, kept)
    [after] = world.live.run_sql("manager", "select config::text from noti.channels where id = $1", UUID(channel["id"]))
    assert after[0] in stored[0].replace("\\", "").replace('""', '"')
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


def test_a_message_goes_out_by_mail(world: World, admin: Caller, mail: MailServer, empty: None) -> None:
    """NOTI-N2: rendered, sent once, and a second run for the same time does nothing."""
    make_channel(world, mail, from_address="hello@cxg.example")
    row = make_message(world, published(world), variables={"name": "Ann\r\nBcc: all@people.example", "rest": "bye"})
    now = datetime.now(UTC) + timedelta(minutes=1)
    assert run(world, now) == {"sent": 1, "failed": 0, "retried": 0, "skipped": 0, "postponed": 0}
    assert run(world, now)["sent"] == 0
    [letter] = mail.letters
    assert (letter["From"], letter["To"], letter["Bcc"]) == ("hello@cxg.example", row["address"], None)
    assert letter["Subject"] == "Hello Ann Bcc: all@people.example"
    sent = admin.get(MESSAGES, row["id"])
    assert (sent["status"], sent["attempts"], sent["error"]) == ("sent", 1, None)
    assert sent["sent_at"] is not None and sent["rendered_body"].endswith(", bye")
    assert admin.move(MESSAGES, row["id"], "read")["read_at"] is not None


def test_a_user_is_reached_at_his_address_in_turn(world: World, mail: MailServer, empty: None) -> None:
    """NOTI-N2: not before it is due, nor after it was cancelled."""
    make_channel(world, mail)
    user, template, now = world.user(), published(world), datetime.now(UTC)
    make_message(world, template, user_id=user["id"], scheduled_at=(now + timedelta(hours=2)).isoformat())
    gone = make_message(world, template, user_id=user["id"])
    world.admin.move(MESSAGES, gone["id"], "canceled")
    assert run(world, now + timedelta(hours=1))["sent"] == 0
    assert run(world, now + timedelta(hours=3))["sent"] == 1
    assert [letter["To"] for letter in mail.letters] == [user["email"]]


def test_what_is_shown_inside_is_delivered_at_once(world: World, admin: Caller, empty: None) -> None:
    """NOTI-N2: a message of kind in_app needs no channel."""
    row = make_message(world, published(world, channel_kind="in_app", subject=None), user_id=world.user()["id"])
    assert run(world, datetime.now(UTC) + timedelta(minutes=1))["sent"] == 1
    assert admin.get(MESSAGES, row["id"])["status"] == "delivered"


def test_what_fails_is_tried_again_and_then_given_up(
    world: World, admin: Caller, mail: MailServer, empty: None
) -> None:
    """NOTI-N2: attempts at 0, 1, 6 and 21 minutes, then failed."""
    make_channel(world, mail)
    mail.refusal = "550 no such person"
    row = make_message(world, published(world))
    start = datetime.now(UTC) + timedelta(minutes=1)
    tried = [m for m in range(40) if run(world, start + timedelta(minutes=m)).get("retried")]
    assert tried == [0, 1, 6]
    ended = admin.get(MESSAGES, row["id"])
    assert (ended["status"], ended["attempts"], mail.letters) == ("failed", 4, [])
    assert "refuses" in ended["error"]


def test_a_later_attempt_may_succeed(world: World, admin: Caller, mail: MailServer, empty: None) -> None:
    """NOTI-N2: what was refused first goes out when the server takes it."""
    make_channel(world, mail)
    mail.refusal = "450 later"
    row, start = make_message(world, published(world)), datetime.now(UTC) + timedelta(minutes=1)
    assert run(world, start)["retried"] == 1
    mail.refusal = ""
    assert run(world, start)["sent"] == 0
    assert run(world, start + timedelta(minutes=1))["sent"] == 1
    assert admin.get(MESSAGES, row["id"])["attempts"] == 2


def test_without_a_channel_a_message_waits(world: World, admin: Caller, empty: None) -> None:
    """NOTI-N2: that there is none is a failure like others."""
    row = make_message(world, published(world))
    assert run(world, datetime.now(UTC) + timedelta(minutes=1))["retried"] == 1
    assert "no channel of kind email" in admin.get(MESSAGES, row["id"])["error"]


def test_a_password_is_not_sent_in_clear(world: World, admin: Caller, mail: MailServer, empty: None) -> None:
    """NOTI-N2: a server without TLS gets no credentials, and no error tells them."""
    make_channel(world, mail, config={"host": "127.0.0.1", "port": mail.port, "user": "me", "secret": "CANARY-pw"})
    row = make_message(world, published(world))
    assert run(world, datetime.now(UTC) + timedelta(minutes=1))["retried"] == 1
    error = admin.get(MESSAGES, row["id"])["error"]
    assert "TLS" in error and "CANARY" not in error and mail.passwords == [] and mail.letters == []


def test_who_opted_out_is_skipped_but_for_security(world: World, admin: Caller, mail: MailServer, empty: None) -> None:
    """NOTI-N2, S8: an opted-out user is skipped, category security is sent."""
    make_channel(world, mail)
    user = world.user()
    usual = {"user_id": user["id"], "channel_kind": "email"}
    admin.make(PREFERENCES, **usual, category="billing", enabled=False)
    security = admin.make(PREFERENCES, **usual, category="security")
    world.live.run_sql("manager", "update noti.preferences set enabled = false where id = $1", UUID(security["id"]))
    bill = make_message(world, published(world, category="billing"), user_id=user["id"])
    alarm = make_message(world, published(world, category="security"), user_id=user["id"])
    news = make_message(world, published(world, category="product"), user_id=user["id"])
    told = run(world, datetime.now(UTC) + timedelta(minutes=1))
    assert (told["sent"], told["skipped"]) == (2, 1)
    assert [admin.get(MESSAGES, row["id"])["status"] for row in (bill, alarm, news)] == ["skipped", "sent", "sent"]


def test_quiet_hours_move_a_message_to_their_end(
    world: World, admin: Caller, mail: MailServer, empty: None, freeze: Freeze
) -> None:
    """NOTI-N2: quiet hours over midnight, in the user's time zone."""
    make_channel(world, mail)
    user = world.user(timezone="Europe/Berlin")
    quiet = {"quiet_from": "22:00:00", "quiet_to": "07:00:00"}
    admin.make(PREFERENCES, user_id=user["id"], category="system", channel_kind="email", **quiet)
    template, late = published(world), datetime(2031, 1, 10, 21, 30, tzinfo=UTC)
    freeze(late)
    row = make_message(world, template, user_id=user["id"])
    freeze(None)
    assert run(world, late)["postponed"] == 1 and run(world, late)["postponed"] == 0
    assert datetime.fromisoformat(admin.get(MESSAGES, row["id"])["scheduled_at"]) == datetime(
        2031, 1, 11, 6, tzinfo=UTC
    )
    assert run(world, late + timedelta(hours=8))["sent"] == 0
    assert run(world, datetime(2031, 1, 11, 6, tzinfo=UTC))["sent"] == 1


@pytest.mark.parametrize(
    ("hour", "start", "end", "expected"),
    [
        (12, 9, 17, 17),
        (9, 9, 17, 17),
        (17, 9, 17, None),
        (8, 9, 17, None),
        (23, 22, 7, 31),
        (3, 22, 7, 7),
        (7, 22, 7, None),
    ],
)
def test_the_end_of_quiet_hours(hour: int, start: int, end: int, expected: int | None) -> None:
    """NOTI-N2: the start belongs to the quiet, its end does not."""
    midnight = datetime(2031, 3, 3, tzinfo=UTC)
    found = end_of_quiet(midnight + timedelta(hours=hour), time(start), time(end), "UTC")
    assert found == (None if expected is None else midnight + timedelta(hours=expected))


def test_a_channel_sends_no_more_than_its_rate(world: World, mail: MailServer, empty: None) -> None:
    """NOTI-N2: the rest goes out in the next minutes, and other channels are not held up."""
    make_channel(world, mail, rate_limit_per_minute=2)
    template, now = published(world), datetime.now(UTC) + timedelta(minutes=1)
    for _ in range(5):
        make_message(world, template)
    shown = published(world, channel_kind="in_app", subject=None)
    make_message(world, shown, user_id=world.user()["id"])
    assert run(world, now)["sent"] == 3 and run(world, now)["sent"] == 0
    assert [run(world, now + timedelta(minutes=m))["sent"] for m in (1, 2, 3)] == [2, 1, 0]
    assert len(mail.letters) == 5


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
