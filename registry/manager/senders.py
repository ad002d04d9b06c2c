"""How a message goes out, by kind of channel. A sender raises what went wrong; its text tells no secret of the channel."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any
from uuid import UUID

import msgspec

from registry.manager.outgoing import post, resolve

SECONDS = 10.0
TLS_FROM_THE_START = 465


@dataclass(frozen=True)
class Message:
    """A rendered message, and the channel it takes."""

    id: UUID
    kind: str
    to: str | None
    subject: str
    body: str
    sender: str | None
    config: Mapping[str, Any] | None


class Undeliverable(Exception):
    """Why a message cannot go out as things are."""


async def send(message: Message) -> None:
    """Hand a message over. Undeliverable says why that did not work."""
    if message.kind != "in_app" and message.config is None:
        raise Undeliverable(f"there is no channel of kind {message.kind}; make one the default")
    if not message.to:
        raise Undeliverable("the recipient has no address for this channel")
    try:
        await SENDERS[message.kind](message)
    except TimeoutError:
        raise Undeliverable("the channel did not answer in time") from None
    except smtplib.SMTPResponseException as refusal:
        raise Undeliverable(f"the mail server answers {refusal.smtp_code}") from None
    except smtplib.SMTPRecipientsRefused:
        raise Undeliverable("the mail server refuses the recipient") from None
    except (OSError, ValueError, smtplib.SMTPException) as broken:
        raise Undeliverable(f"{type(broken).__name__}: {broken}"[:400]) from None


async def _by_mail(message: Message) -> None:
    await asyncio.to_thread(_mail, message)


def _mail(message: Message) -> None:
    config = message.config or {}
    host, port = config["host"], config.get("port", 587)
    trust = ssl.create_default_context()
    if port == TLS_FROM_THE_START:
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=SECONDS, context=trust)
    else:
        server = smtplib.SMTP(host, port, timeout=SECONDS)
    with server:
        server.ehlo()
        encrypted = port == TLS_FROM_THE_START
        if not encrypted and server.has_extn("starttls"):
            server.starttls(context=trust)
            encrypted = True
        if "user" in config:
            if not encrypted:
                raise Undeliverable("the mail server offers no TLS, and the password is not sent without")
            server.login(config["user"], config.get("secret", ""))
        server.send_message(_letter(message))


def _letter(message: Message) -> EmailMessage:
    letter = EmailMessage()
    letter["From"] = message.sender or f"no-reply@{(message.config or {})['host']}"
    letter["To"] = message.to
    # a line break in a value would begin another header
    letter["Subject"] = " ".join(message.subject.split())
    letter["Date"] = formatdate()
    letter["Message-ID"] = make_msgid(str(message.id), "cxg.invalid")
    letter.set_content(message.body)
    return letter


async def _by_request(message: Message) -> None:
    """POST of `{id, kind, from, to, subject, body}` with the secret as a bearer token. The host is looked up anew."""
    config = message.config or {}
    given = {"id": str(message.id), "kind": message.kind, "from": message.sender, "to": message.to}
    body = msgspec.json.encode({**given, "subject": message.subject, "body": message.body})
    headers = {"Content-Type": "application/json"}
    if "secret" in config:
        headers["Authorization"] = f"Bearer {config['secret']}"
    try:
        place = await resolve(config["url"])
    except ValueError as wrong:
        raise Undeliverable(f"the channel's url {wrong}") from None
    answer = await post(place, body, headers)
    if not 200 <= answer.status < 300:
        raise Undeliverable(f"the receiver answers {answer.status}")


async def _by_showing(_message: Message) -> None:
    """A message inside the application is there as soon as its row says so."""


SENDERS: dict[str, Callable[[Message], Awaitable[None]]] = {
    "email": _by_mail,
    "sms": _by_request,
    "push": _by_request,
    "webhook": _by_request,
    "in_app": _by_showing,
}
