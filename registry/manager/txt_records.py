"""What the DNS says about host names that tenants claim (TNNT-D2)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from dns.asyncresolver import Resolver
from dns.exception import DNSException
from dns.resolver import NXDOMAIN, LifetimeTimeout, NoAnswer, NoNameservers

from engine.hooks import Moment

LABEL = "_cxg-verify"
SECONDS = 1.0  # less than a hook may take
AT_ONCE = 20


class NameServer(NamedTuple):
    """Whom to ask; no address = the servers that the operating system knows."""

    address: str
    port: int

    def resolver(self) -> Resolver:
        """A resolver that remembers nothing."""
        resolver = Resolver(configure=not self.address)
        if self.address:
            resolver.nameservers, resolver.port = [self.address], self.port
        return resolver


async def name_server(moment: Moment) -> NameServer:
    """The name server of the settings."""
    return NameServer(await moment.setting("tnnt.dns_server"), await moment.setting("tnnt.dns_port"))


async def carry_tokens(server: NameServer, claims: Sequence[tuple[str, str]]) -> list[bool | None]:
    """For each (host name, token): whether the TXT record `_cxg-verify.<host name>` carries the token; None when no name
    server said so or otherwise."""
    resolver, room = server.resolver(), asyncio.Semaphore(AT_ONCE)

    async def ask(hostname: str, token: str) -> bool | None:
        async with room:
            return await _carries(resolver, f"{LABEL}.{hostname}", token)

    return list(await asyncio.gather(*(ask(*claim) for claim in claims)))


async def _carries(resolver: Resolver, name: str, token: str) -> bool | None:
    try:
        answer = await resolver.resolve(name, "TXT", lifetime=SECONDS, search=False)
    except (NXDOMAIN, NoAnswer):
        return False
    except (NoNameservers, LifetimeTimeout, OSError):
        return None
    except DNSException:  # a name that is too long with the label before it, an answer that cannot be read
        return False
    return any(b"".join(record.strings) == token.encode() for record in answer)
