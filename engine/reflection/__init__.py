"""A live PostgreSQL database as entities, without a line of code: read its catalogue, build from that what a registry says.

`reflect` asks and builds; `Reflected.fingerprint` is the same as long as the schema is, so that whoever serves it already need not
build again (`fresh`).
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from engine.addresses import place_of
from engine.entity import Entity
from engine.observe import LOG
from engine.reflection.building import build, unserved
from engine.reflection.parts import check_parts
from engine.reflection.reading import Reading, read_now
from engine.reflection.trail import check_own, log_of, make_schema
from engine.settings import Settings
from engine.types import Scope


@dataclass(frozen=True)
class Wish:
    """Which database, and how it is served. `parts`: columns that play the engine's own; `audit_schema`: where the engine may
    keep a change log, "" = nowhere."""

    url: str = field(repr=False)
    scope: str
    write: bool = False
    schemas: Sequence[str] = ()
    audit_schema: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reflected:
    """What a registry would say of the database."""

    wish: Wish
    scope: Scope
    entities: list[Entity]
    fingerprint: str
    log: sa.Table | None = None

    async def make_schema(self) -> None:
        """Make the engine's own schema, if there is to be one."""
        if self.log is not None:
            await make_schema(self.wish.url, self.log, self.scope.name)

    @property
    def empty(self) -> str:
        """Why nothing of the database is served, where that is so; else nothing."""
        if any(entity.role != "change_log" for entity in self.entities):
            return ""
        return (
            f"0 tables of {place_of(self.wish.url)} are served: it is empty, or the role may read none; then its owner says"
            " grant usage on schema S and grant select on all tables in schema S to the role"
        )

    def fresh(self) -> Reflected | None:
        """The database as it is now; None while it is as it was."""
        reading = _read(self.wish)
        return None if reading.fingerprint == self.fingerprint else made_of(reading, self.wish)


# a program that prepares a database and then serves it builds once
LAST: list[Reflected] = []


def reflected_of(settings: Settings) -> Reflected | None:
    """The database that the settings name, as its catalogue describes it now."""
    url = settings.database
    if url is None:
        return None
    told = (settings.scope, settings.write, tuple(settings.schemas), settings.audit_schema or "", settings.columns)
    return reflect(Wish(url.get_secret_value(), *told))


def wishes_of(wish: Wish) -> dict[str, str]:
    """What the server is told of each connection: intervals as JSON has them, and that nothing is written unless asked for."""
    only = {} if wish.write or wish.audit_schema else {"default_transaction_read_only": "on"}
    return {"IntervalStyle": "iso_8601", **only}


def reflect(wish: Wish) -> Reflected:
    """Read a database and build its entities, unless they are what this process built last. StartupFault when it cannot be
    read, or a part does not fit its column."""
    check_parts(wish.parts)
    reading = _read(wish)
    if LAST and (LAST[0].wish, LAST[0].fingerprint) == (wish, reading.fingerprint):
        return LAST[0]
    # many long-lived objects come now: collecting while they are made costs much and finds nothing
    collecting = gc.isenabled()
    gc.disable()
    try:
        LAST[:] = [made_of(reading, wish)]
        return LAST[0]
    finally:
        if collecting:
            gc.enable()


def _read(wish: Wish) -> Reading:
    reading = read_now(wish.url, wish.schemas, wish.audit_schema)
    if wish.audit_schema:
        check_own(wish.audit_schema, reading.beside)
    return reading


def made_of(reading: Reading, wish: Wish) -> Reflected:
    """The entities of a reading. The log names the tables that there are none for."""
    for table, why in unserved(reading):
        LOG.warning("table is not served", table=table, reason=why)
    scope, entities = build(reading, wish.scope, write=wish.write, parts=wish.parts)
    if not wish.audit_schema:
        return Reflected(wish, scope, entities, reading.fingerprint)
    log = log_of(scope.metadata, wish.audit_schema)
    known = Scope(scope.name, scope.metadata, False, scope.description, {}, scope.database, True, wish.audit_schema)
    return Reflected(wish, known, [*entities, log], reading.fingerprint, log.table)
