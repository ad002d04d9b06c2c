"""A million rows: in from a file, out as one, and the page at their end, against what PostgreSQL does by itself."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote
from uuid import UUID

import asyncpg
import msgspec
from uuid_utils.compat import uuid7

from tenancy.binaries import find_programs
from tests.benchmarks.cases import Case, Request, rendered
from tests.benchmarks.contestants import ENGINE, Server, running
from tests.benchmarks.load import measure
from tests.benchmarks.proof import check
from tests.benchmarks.results import Verdict, at_least, at_most
from tests.benchmarks.stage import Stage

ROWS, SHORT_ROWS = 1_000_000, 2_000
NAMES = ("import", "export", "deep-page")
ACTIVITIES = "/tenants/crm/activities"
SET, PART, PAGE = 1000, 1 << 20, 50
HEAD = "kind,subject,body,customer_id,due_at\n"
DUE = datetime(2026, 12, 1, 10, tzinfo=UTC)
BARE = """
insert into crm.activities (tenant_id, id, kind, subject, body, customer_id, due_at, status)
select $1, *, 'planned' from unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::timestamptz[])
"""
COPY = "copy (select row_to_json(t) from crm.activities t) to stdout"
Values = tuple[str, str, str | None, UUID, datetime]
Say = Callable[[str], None]


class Volume(msgspec.Struct):
    """`figure` of the engine beside `floor`, both in `unit`. `growth`: by how many MiB the server grew meanwhile."""

    name: str
    rows: int
    unit: str
    figure: float
    floor: float
    ratio: Verdict
    growth: Verdict | None = None


class Grown:
    """How much a server grows, looked at whenever asked."""

    def __init__(self, server: Server) -> None:
        self.process = server.process
        self.before = self.most = self.now

    @property
    def now(self) -> int:
        """Bytes that it has resident."""
        return int(self.process.memory_info().rss)

    def look(self) -> None:
        """Remember the most."""
        self.most = max(self.most, self.now)

    def verdict(self) -> Verdict:
        """MiB, of which 32 are allowed."""
        return at_most((self.most - self.before) / (1 << 20), 32)


def values_of(stage: Stage, place: int) -> Values:
    """One row."""
    body = "Asked for an offer, wants the answer by mail" if place % 2 else None
    return "call", f"Call number {place}", body, stage.customers[place % len(stage.customers)], DUE


def clear(stage: Stage) -> None:
    """Take all rows away, and their records."""
    stage.ask("truncate crm.activities, sys.audit_logs", database="tenants")
    stage.ask("vacuum analyze crm.activities, sys.audit_logs", database="tenants")


def counted(stage: Stage) -> tuple[int, int]:
    """How many rows there are, and records of them."""
    found = stage.ask(
        "select (select count(*) from crm.activities), (select count(*) from sys.audit_logs where entity = 'activities')",
        database="tenants",
        tenant=stage.place.tenant,
    )
    return int(found[0][0]), int(found[0][1])


# -- in


async def _insert(stage: Stage, rows: int) -> float:
    columns = [list(column) for column in zip(*(values_of(stage, place) for place in range(rows)), strict=True)]
    keys = [uuid7() for _ in range(rows)]
    connection = await asyncpg.connect(stage.place.tenants, ssl=False)
    try:
        await connection.fetchval("select set_config('app.tenant_id', $1, false)", str(stage.place.tenant))
        began = time.perf_counter()
        async with connection.transaction():
            for start in range(0, rows, SET):
                part = (column[start : start + SET] for column in columns)
                await connection.execute(BARE, stage.place.tenant, keys[start : start + SET], *part)
        return rows / (time.perf_counter() - began)
    finally:
        await connection.close()


def write_file(stage: Stage, rows: int, file: BinaryIO) -> None:
    """A CSV file of so many rows."""
    file.write(HEAD.encode())
    for place in range(rows):
        kind, subject, body, customer, due = values_of(stage, place)
        text = f'"{body}"' if body else ""
        file.write(f"{kind},{subject},{text},{customer},{due.isoformat()}\n".encode())
    file.seek(0)


def bring(server: Server, file: BinaryIO, grown: Grown) -> dict[str, int]:
    """Send the file, and wait for its report."""
    with server.client("tenants") as client:
        headers = {"Content-Type": "text/csv", "Prefer": "respond-async"}
        answer = client.post(f"{ACTIVITIES}/import", content=file, headers=headers, timeout=600)
        check(answer.status_code == 202, server, f"{answer.status_code}: {answer.text[:500]}")
        place = answer.headers["location"]
        while (told := client.get(place).json()["data"])["ended_at"] is None:
            grown.look()
            time.sleep(0.05)
    check(told["state"] == "done", server, f"the import is {told['state']}: {told['error']}")
    report: dict[str, int] = told["report"]
    return report


def import_rows(stage: Stage, server: Server, rows: int) -> Volume:
    """Rows a second from the first byte sent to the last row committed, validated and audited."""
    clear(stage)
    floor = asyncio.run(_insert(stage, rows))
    check(counted(stage) == (rows, 0), server, "the bare insert is not what it should be")
    clear(stage)
    with tempfile.TemporaryFile() as file:
        write_file(stage, rows, file)
        grown, began = Grown(server), time.perf_counter()
        report = bring(server, file, grown)
        figure = rows / (time.perf_counter() - began)
    check(report["created"] == rows and counted(stage) == (rows, rows), server, f"{report}, {counted(stage)}")
    stage.ask("vacuum analyze crm.activities", database="tenants")
    return Volume("import", rows, "rows/s", figure, floor, at_least(figure / floor, 0.4), grown.verdict())


# -- out


def psql(stage: Stage) -> Path | None:
    """PostgreSQL's own client, where there is one."""
    beside = find_programs(stage.server.data, None).folder / "psql"
    found = shutil.which("psql")
    return beside if beside.exists() else Path(found) if found else None


async def _copy(stage: Stage) -> None:
    connection = await asyncpg.connect(stage.place.tenants, ssl=False)
    try:
        await connection.fetchval("select set_config('app.tenant_id', $1, false)", str(stage.place.tenant))
        await connection.copy_from_query(COPY[6 : -len(") to stdout")], output=os.devnull)
    finally:
        await connection.close()


def copy_out(stage: Stage, rows: int) -> float:
    """Rows a second of COPY, thrown away."""
    program, began = psql(stage), time.perf_counter()
    if program is None:
        asyncio.run(_copy(stage))
    else:
        options = {**os.environ, "PGOPTIONS": f"-c app.tenant_id={stage.place.tenant}"}
        command = [program, stage.place.tenants, "--no-psqlrc", "--command", COPY]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=options, timeout=600)
    return rows / (time.perf_counter() - began)


def fetch(server: Server, grown: Grown, take: Callable[[bytes], None]) -> None:
    """The export, in parts."""
    path = f"{ACTIVITIES}/export?format=ndjson"
    with server.client("tenants") as client, client.stream("GET", path, timeout=600) as answer:
        check(answer.status_code == 200, server, f"{answer.status_code} instead of an export")
        for part in answer.iter_raw(PART):
            take(part)
            grown.look()


def prove_export(stage: Stage, server: Server, rows: int) -> None:
    """As many lines as rows, each once, and the first says what its row says."""
    lines, first = [0], [b""]

    def take(part: bytes) -> None:
        lines[0] += part.count(b"\n")
        first[0] = first[0] or part[: part.index(b"\n")]

    fetch(server, Grown(server), take)
    check(lines[0] == rows, server, f"{lines[0]} lines of {rows} rows")
    shown = msgspec.json.decode(first[0])
    text = "select subject, version, status from crm.activities where id = $1"
    [row] = stage.ask(text, shown["id"], database="tenants", tenant=stage.place.tenant)
    check(tuple(row) == (shown["subject"], shown["version"], shown["status"]), server, f"{shown} is not {row}")


def export_rows(stage: Stage, server: Server, rows: int) -> Volume:
    """Rows a second of NDJSON over HTTP."""
    prove_export(stage, server, rows)
    floor = max(copy_out(stage, rows) for _ in range(2))
    grown, began = Grown(server), time.perf_counter()
    fetch(server, grown, lambda _part: None)
    figure = rows / (time.perf_counter() - began)
    return Volume("export", rows, "rows/s", figure, floor, at_least(figure / floor, 0.5), grown.verdict())


# -- far down


def cursor_at(server: Server, rows: int) -> str:
    """The cursor of the last page but one."""
    with server.client("tenants") as client:
        path = f"{ACTIVITIES}?page_size={PAGE}&count=none&page={rows // PAGE - 1}&fields=id"
        answer = client.get(path)
        check(answer.status_code == 200, server, f"{answer.status_code}: {answer.text[:300]}")
        cursor: str = answer.json()["data"]["next_cursor"]
    return cursor


def deep_page(stage: Stage, server: Server, rows: int, seconds: float = 2.0) -> Volume:
    """The median answer of the last page against that of the first."""
    query = f"{ACTIVITIES}?page_size={PAGE}&count=none"
    paths = (query, f"{query}&cursor={quote(cursor_at(server, rows))}")
    order = "select id from crm.activities where is_active order by id offset $1 limit $2"
    with server.client("tenants") as client:
        for path, start in zip(paths, (0, rows - PAGE), strict=True):
            shown = [row["id"] for row in client.get(path).json()["data"]["items"]]
            found = stage.ask(order, start, PAGE, database="tenants", tenant=stage.place.tenant)
            check(shown == [str(row[0]) for row in found], server, f"{path} shows other rows")
    case = Case("deep-page", "", lambda _round: [], scope="tenants")
    requests = [[rendered(server, case, Request("GET", path))] * 20 for path in paths]
    costs = [[measure(server, one, seconds, once=False).p50 for one in requests] for _ in range(3)]
    ratios = sorted(deep / first for first, deep in costs)
    first, deep = sorted(costs, key=lambda pair: pair[1] / pair[0])[1]
    return Volume("deep-page", rows, "us, the median answer", deep, first, at_most(ratios[1], 1.1))


MEASURES: dict[str, Callable[[Stage, Server, int], Volume]] = {
    "import": import_rows,
    "export": export_rows,
    "deep-page": deep_page,
}


def measure_volumes(stage: Stage, names: Sequence[str], rows: int, say: Say = lambda _name: None) -> list[Volume]:
    """What is asked for; the import comes first, for the others need its rows."""
    wanted = [name for name in NAMES if name in names]
    if not wanted:
        return []
    found = []
    with running([ENGINE], stage) as [server]:
        for name in dict.fromkeys(("import", *wanted)):
            say(name)
            found.append(MEASURES[name](stage, server, rows))
    return [one for one in found if one.name in wanted]
