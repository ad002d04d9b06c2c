"""One small document over HTTP: bounded in time and size, without redirects, and over TLS unless the server is this machine."""

from __future__ import annotations

import asyncio
import ssl
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

import h11

MAX_BYTES = 1_048_576


class Unfetched(Exception):
    """The document did not come; the message says why."""


def address_of(url: str) -> SplitResult:
    """The parts of an address that may be asked. ValueError says what is wrong with it."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None or parts.fragment:
        raise ValueError(f"{url!r} is no https address")
    if parts.scheme == "http" and not _is_here(parts.hostname):
        raise ValueError(f"{url!r} goes over the network in clear text; say https")
    _ = parts.port  # raises ValueError
    return parts


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def fetch(url: str, seconds: float) -> bytes:
    """The body of a 200 answer. Unfetched for anything else."""
    try:
        async with asyncio.timeout(seconds):
            return await _exchange(address_of(url))
    except (OSError, TimeoutError, h11.ProtocolError, ssl.SSLError, ValueError) as wrong:
        raise Unfetched(f"{type(wrong).__name__}: {wrong}") from wrong


async def _exchange(parts: SplitResult) -> bytes:
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    context = ssl.create_default_context() if secure else None
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context)
    try:
        connection = h11.Connection(h11.CLIENT)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = [("Host", parts.netloc), ("Accept", "application/json"), ("Connection", "close")]
        request = h11.Request(method="GET", target=target, headers=headers)
        writer.write(connection.send(request) + connection.send(h11.EndOfMessage()))
        await writer.drain()
        return await _answer(connection, reader)
    finally:
        writer.close()


async def _answer(connection: h11.Connection, reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(65_536))
        elif isinstance(event, h11.Response) and event.status_code != 200:
            raise ValueError(f"answered {event.status_code}")
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_BYTES:
                raise ValueError(f"answered more than {MAX_BYTES} bytes")
        elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
            return body
