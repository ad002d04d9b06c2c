"""Requests to addresses that somebody typed in: only to public hosts (INTG-W1), looked up before each, and without
following where an answer points."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple
from urllib.parse import quote, urlsplit

PORTS = (443, 8443)
SECONDS = 10.0
MOST_READ = 16_384
# IPv6 addresses that carry an IPv4 address on to a translator
TRANSLATED = ip_network("64:ff9b::/96")


class Answer(NamedTuple):
    """What a receiver said: the HTTP status, and the beginning of its body."""

    status: int
    body: bytes


class Place(NamedTuple):
    """Where a URL leads, with the addresses that its host had when they were checked."""

    host: str
    port: int
    target: str
    addresses: tuple[str, ...]


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address belongs to the open internet, also where it carries another one inside."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if address in TRANSLATED:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast and not address.is_reserved


async def resolve(url: str) -> Place:
    """Where a URL leads. ValueError says why a request there is not allowed."""
    if not url.isascii() or any(letter <= " " for letter in url) or "\\" in url:
        raise ValueError("has letters that no URL has")
    parts = urlsplit(url)
    port = parts.port or 443
    if parts.scheme != "https" or not parts.hostname:
        raise ValueError("must begin with https:// and name a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user or password")
    if port not in PORTS:
        raise ValueError("must use port 443 or 8443")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ValueError("names a host that cannot be found") from None
    addresses = tuple(dict.fromkeys(str(info[4][0]).partition("%")[0] for info in found))
    if not addresses or not all(is_public(ip_address(address)) for address in addresses):
        raise ValueError("leads to an address that is not public")
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    return Place(parts.hostname, port, f"{path}?{parts.query}" if parts.query else path, addresses)


async def post(place: Place, body: bytes, headers: Mapping[str, str], seconds: float = SECONDS) -> Answer:
    """POST to the very addresses that were checked. OSError or TimeoutError when nobody answers in time, ValueError when
    the answer is none."""
    async with asyncio.timeout(seconds):
        reader, writer = await _connect(place)
        try:
            host = f"[{place.host}]" if ":" in place.host else place.host
            given = {"Host": f"{host}:{place.port}", "Content-Length": str(len(body)), "Connection": "close", **headers}
            lines = [f"POST {place.target} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
            if any("\r" in line or "\n" in line for line in lines):
                raise ValueError("a header holds a line break")
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            await writer.drain()
            return _read(await _some(reader))
        finally:
            writer.transport.abort()


async def _connect(place: Place) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """To the first address that takes the call."""
    trust = ssl.create_default_context()
    for address in place.addresses[:-1]:
        with suppress(OSError):
            return await asyncio.open_connection(address, place.port, ssl=trust, server_hostname=place.host)
    return await asyncio.open_connection(place.addresses[-1], place.port, ssl=trust, server_hostname=place.host)


async def _some(reader: asyncio.StreamReader) -> bytes:
    found = b""
    while len(found) < MOST_READ and (piece := await reader.read(MOST_READ - len(found))):
        found += piece
    return found


def _read(raw: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    words = head.split(b"\r\n")[0].split(b" ")
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise ValueError("the answer is not HTTP")
    return Answer(int(words[1]), body)
