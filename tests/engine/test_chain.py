"""What the chain of a change log hashes: PostgreSQL renders it, and it is what its definition says."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from engine.chain import Log, canonical, logs_of
from engine.delivery import Record
from engine.testing.harness import Live

LOGS = ("manager/audt/audit-logs", "tenants/sys/audit-logs")
STRANGE = [chr(code) for code in range(1, 0x100)] + ["\u2028", "\u2029", "\ud7ff", "\ue000", "\U0001f600"]
EMPTY = {"version": 1, "is_active": True, "action": "create", "outcome": "ok", "scope": "manager"}


def log_of(live: Live, path: str) -> Log:
    return next(log for log in logs_of(live.catalog) if log.name == path)


def rendered(live: Live, log: Log, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows as the relay reads them, without being stored."""
    source = f"json_populate_recordset(null::{log.table}, $1::json) t"
    return live.run_sql(log.resource.scope.name, f"select {log.columns} from {source}", json.dumps(rows))


def defined(row: dict[str, Any], **more: Any) -> bytes:
    """The definition: what is not null, names sorted, no spaces; jsonb as PostgreSQL prints it, given here in that form."""
    known = {name: value for name, value in ({**row, **more}).items() if value is not None}
    changes = known.pop("changes", None)
    parts = [(name, json.dumps(value, ensure_ascii=False)) for name, value in known.items()]
    parts += [("changes", changes)] if changes is not None else []
    return ("{" + ",".join(f'"{name}":{value}' for name, value in sorted(parts)) + "}").encode()


def written(dice: random.Random, names: set[str]) -> dict[str, Any]:
    """A row of a log with values that are hard to write as JSON."""

    def text(most: int) -> str:
        return "".join(dice.choice(STRANGE) for _ in range(dice.randrange(most)))

    moment = datetime(dice.choice([1, 2026, 9999]), 1, 31, tzinfo=UTC) + timedelta(
        hours=5, microseconds=dice.choice([0, 1, 120_000, 999_999])
    )
    row = {**EMPTY, "id": str(UUID(int=dice.getrandbits(128))), "domain": text(8), "entity": text(60)}
    row |= {name: moment.isoformat().replace("+00:00", "Z") for name in ("occurred_at", "created_at", "updated_at")}
    row |= {"user_agent": text(99) if dice.random() < 0.5 else None, "request_id": text(60)}
    row |= {"entity_id": str(UUID(int=dice.getrandbits(128))) if dice.random() < 0.5 else None}
    return {name: value for name, value in row.items() if name in names}


@pytest.mark.parametrize("path", LOGS)
def test_what_is_hashed_is_what_the_definition_says(live: Live, path: str) -> None:
    log, dice = log_of(live, path), random.Random(7)
    rows = [written(dice, {column.name for column in log.resource.table.c}) for _ in range(300)]
    given = [{**row, "changes": {"name": [None, row["entity"]], "price": [1.5, {"at": None}]}} for row in rows]
    name = [json.dumps(row["entity"], ensure_ascii=False) for row in rows]
    shown = [f'{{"name": [null, {text}], "price": [1.5, {{"at": null}}]}}' for text in name]
    more = {"seq": 41} if log.chained else {}
    expected = [defined({**row, "changes": text}, **more) for row, text in zip(rows, shown, strict=True)]
    assert [canonical(row, more.get("seq")) for row in rendered(live, log, given)] == expected


def test_different_moments_are_different_texts(live: Live) -> None:
    """Also those that nobody but a forger would write."""
    log = log_of(live, LOGS[0])
    moments = [
        "2026-01-31T10:00:00Z",
        "2026-01-31T10:00:00Z BC",
        "infinity",
        "-infinity",
        "2026-01-31T10:00:00.000001Z",
    ]
    rows = [{**EMPTY, "id": str(UUID(int=1)), "occurred_at": moment} for moment in moments]
    assert len({canonical(row, 1) for row in rendered(live, log, rows)}) == len(moments)


def test_a_record_that_cannot_be_read_tells_nothing(live: Live) -> None:
    """Whoever wrote it by hand does not stop the relay."""
    log, known = log_of(live, LOGS[0]), {**EMPTY, "domain": "idam", "entity": "users", "entity_id": str(UUID(int=2))}
    rows = [{**known, "id": str(UUID(int=1)), "occurred_at": at} for at in ("2026-01-31T10:00:00Z", "infinity")]
    usual, odd = (Record(row, "manager") for row in rendered(live, log, rows))
    assert [event.name for event in usual.events] == ["idam.users.created"]
    assert odd.events == [] and odd.version == 0
