"""Where a database is, as far as that may be told, and what to do when it cannot be reached."""

from __future__ import annotations

import socket
import ssl
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg

from engine.errors import StartupFault

# what a connection fails with, the closest first -> what to do
ADVICE: tuple[tuple[type[BaseException], str], ...] = (
    (socket.gaierror, "nobody knows its host by this name; is it spelled right, and known to this machine?"),
    (ssl.SSLCertVerificationError, "its certificate is not trusted here; say sslrootcert=FILE in the address"),
    (ssl.SSLError, "TLS fails; try sslmode=require or sslmode=disable at the end of the address"),
    (ConnectionRefusedError, "nothing listens there; does the server run, and is the port right?"),
    (TimeoutError, "it does not answer; is the address right, and does a firewall let this machine through?"),
    (ConnectionError, "it ends the connection, as servers without TLS do; try sslmode=disable, or another port"),
    (
        asyncpg.InvalidAuthorizationSpecificationError,
        "it does not let this user in; check name, password and pg_hba.conf",
    ),
    (asyncpg.InvalidCatalogNameError, "the server has no database of this name; make it, or name another"),
    (asyncpg.InsufficientPrivilegeError, "the user may not do this; grant connect on the database to him, and rights"),
    (asyncpg.TooManyConnectionsError, "all its connections are taken; end some, or raise max_connections"),
    (asyncpg.CannotConnectNowError, "it is starting or stopping; try again in a moment"),
    (OSError, "no connection comes about; does the server run, and are host and port right?"),
)
UNREADABLE = (
    "the address of a database cannot be read; it is postgresql://user:password@host:port/database, and in a password"
    " / is written %2F, # %23, @ %40, : %3A"
)
UNREACHABLE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError, ValueError)


def unreachable(url: str, error: BaseException) -> StartupFault:
    """The fault of a database that cannot be used: where it is, why, and the way out; never a password, which drivers repeat
    in their messages."""
    place = place_of(url)
    if isinstance(error, ValueError) or not place:
        return StartupFault(UNREADABLE)
    kinds = [advice for kind, advice in ADVICE if isinstance(error, kind)]
    return StartupFault(f"{place} cannot be used ({type(error).__name__}): {kinds[0] if kinds else 'see its own log'}")


def place_of(url: str) -> str:
    """`database 'erp' at db.example:5432, as 'me'`; empty for an address that may be a torn one, with half a password in the
    place of a host."""
    try:
        parts = urlsplit(url)
        known = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        host, port = parts.hostname or known.get("host", "localhost"), parts.port or known.get("port", 5432)
    except ValueError:
        return ""
    if parts.fragment or parts.scheme not in ("postgres", "postgresql"):
        return ""
    user = unquote(parts.username or known.get("user", ""))
    name = unquote(parts.path.lstrip("/")) or known.get("database") or user
    return f"database {name!r} at {host}:{port}" + (f", as {user!r}" if user else "")
