"""NOTI-N2: the queue goes out, to a real mail server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time, timedelta
from uuid import UUID

import pytest

from registry.manager.noti_jobs import end_of_quiet
from tests.calls import Body, Caller, World
from tests.mail import MailServer, mail_server
from tests.registry.notices import (
    MESSAGES,
    PREFERENCES,
    empty_queue,
    make_channel,
    make_message,
    published,
)

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
def empty(world: World) -> None:
    """A queue without messages of other tests."""
    empty_queue(world)


def run(world: World, now: datetime) -> Body:
    """What a run of the job tells."""
    return world.live.run_job("send_notifications", now=now)


def test_a_message_goes_out_by_mail(world: World, admin: Caller, mail: MailServer, empty: None) -> None:
    """NOTI-N2, send_notifications: rendered, sent once, and a second run for the same time does nothing."""
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
