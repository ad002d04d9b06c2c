"""A small name server on UDP, for tests that ask the DNS."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rrset


@dataclass
class Zone:
    """What the server knows: texts by name. Names in `broken` are answered with SERVFAIL."""

    port: int
    texts: dict[str, list[str]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def answer(self, packet: bytes) -> bytes:
        """The reply to a query."""
        query = dns.message.from_wire(packet)
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.AA
        name = query.question[0].name.to_text().rstrip(".")
        self.asked.append(name)
        if name in self.broken:
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif name in self.texts:
            quoted = [f'"{text}"' for text in self.texts[name]]
            reply.answer.append(dns.rrset.from_text_list(query.question[0].name, 60, "IN", "TXT", quoted))
        else:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        return bytes(reply.to_wire())


@contextmanager
def name_server() -> Iterator[Zone]:
    """A server on a free port of this machine, for the length of a block."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.bind(("127.0.0.1", 0))
        door.settimeout(0.1)
        zone, end = Zone(door.getsockname()[1]), threading.Event()

        def serve() -> None:
            while not end.is_set():
                try:
                    packet, sender = door.recvfrom(4096)
                except TimeoutError:
                    continue
                door.sendto(zone.answer(packet), sender)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield zone
        finally:
            end.set()
            thread.join(timeout=5)
