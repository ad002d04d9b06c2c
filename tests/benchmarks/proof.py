"""Before anything is timed: every contestant answers every case rightly, alike, and with its audit records."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import httpx
import msgspec

from tests.benchmarks.cases import CASES, CONTACTS, UNMAKE, USERS, Case, Request, Round, rendered
from tests.benchmarks.contestants import FLOOR, Server
from tests.benchmarks.stage import Stage

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d.*")
# what differs from one write to the next, whoever writes
OWN = {"id", "email", "created_at", "updated_at", "created_by", "updated_by"}
RECORDS = """
select action, changes, actor_email, request_id is not null as named from audt.audit_logs
where domain = 'idam' and entity = 'users' and entity_id = $1 and action = $2
"""


class Wrong(AssertionError):
    """An answer is not what it must be; nothing is timed."""


def check(right: bool, server: Server, message: str) -> None:
    """Wrong, with the contestant's name, unless it is right."""
    if not right:
        raise Wrong(f"{server.contestant.name}: {message}")


def plain(value: Any) -> Any:
    """A JSON value in which the same moment always looks the same."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, str) and TIME.fullmatch(value):
        with suppress(ValueError):
            return datetime.fromisoformat(value).timestamp()
    return value


def ask(server: Server, case: Case, request: Request) -> httpx.Response:
    """Send one request exactly as the load generator will."""
    head = rendered(server, case, request).split(b"\r\n\r\n", 1)[0].decode().split("\r\n")[1:]
    headers = dict(line.split(": ", 1) for line in head if not line.startswith("Content-Length"))
    return httpx.request(
        request.method, server.url + request.path, headers=headers, content=request.body or None, timeout=30
    )


def data_of(server: Server, answer: httpx.Response, status: int = 200) -> Any:
    """What the answer says, out of its envelope."""
    check(answer.status_code == status, server, f"{answer.status_code} instead of {status}: {answer.text[:500]}")
    said = answer.json()
    if server.contestant.engine:
        check(said["success"] is True and said["error"] is None, server, "the envelope does not say success")
        return plain(said["data"])
    return plain(said)


def requests_for(stage: Stage, server: Server, case: Case, serial: int) -> list[Request]:
    """The requests of a case in the contestant's own words."""
    return case.make(Round(stage, server.contestant.engine, serial))


def prove(stage: Stage, servers: Sequence[Server]) -> list[str]:
    """What was proved, a line each. Raises Wrong at the first answer that is not right."""
    lines = []
    for case in CASES:
        taking = [server for server in servers if takes(server, case)]
        prover = WRITES.get(case.name, prove_read)
        lines.append(f"{case.title}: {prover(stage, taking, case)}")
    for server in servers:
        prove_refusals(stage, server)
    lines.append("without a token 401, an unknown id 404, another tenant's row 404")
    stage.ask(UNMAKE)
    return lines


def takes(server: Server, case: Case) -> bool:
    """Whether the contestant competes in the case."""
    only = server.contestant.only
    return (not only or case.name in only) and (not case.takers or server.contestant.name in case.takers)


def prove_read(stage: Stage, servers: Sequence[Server], case: Case) -> str:
    """The contents are the same, whoever answers; the total is right."""
    shown = 0
    for index in (0, 1, -1):
        said = []
        for server in servers:
            requests = requests_for(stage, server, case, 0)
            answer = ask(server, case, requests[index % len(requests)])
            data = data_of(server, answer)
            if server.contestant.engine and "items" not in data:
                check("etag" in answer.headers, server, "a get without ETag")
            said.append({"items": data["items"], "total": data["total"]} if "items" in data else data)
        for server, other in zip(servers[1:], said[1:], strict=True):
            check(
                other == said[0],
                server,
                f"{case.name}: {msgspec.json.encode(other)[:700]!r} is not {msgspec.json.encode(said[0])[:700]!r}",
            )
        _plausible(stage, servers[0], case, said[0])
        shown = len(said[0].get("items", (0,)))
    return f"the same {'rows' if shown > 1 else 'row'} from all ({shown} each)"


def _plausible(stage: Stage, server: Server, case: Case, data: Any) -> None:
    if "items" not in data:
        check(len(data) > 15 and data["is_active"] is True, server, f"{case.name} shows too little: {data}")
        return
    whole = min(50, len(stage.customers)) if case.name == "expand" else 50
    check(len(data["items"]) == whole, server, f"{case.name} shows {len(data['items'])} rows")
    if case.name == "expand":
        full = [row for row in data["items"] if row["parent"] and len(row["contacts"]) == 5]
        check(len(full) >= whole - 2, server, f"{len(full)} of {whole} customers show a parent and five contacts")
    if case.name == "list":
        count = stage.ask("select count(*) from idam.users where is_active")[0][0]
        check(data["total"] == count, server, f"the total is {data['total']}, the table has {count}")
    if case.name == "list-filter":
        emails = [row["email"] for row in data["items"]]
        check(
            emails == sorted(emails) and {row["user_type"] for row in data["items"]} == {"tenant"},
            server,
            "not filtered and sorted",
        )


def prove_update(stage: Stage, servers: Sequence[Server], case: Case) -> str:
    """Each contestant changes a row of its own; row, version and record say so."""
    for index, server in enumerate(servers):
        request = requests_for(stage, server, case, -1)[index]
        key = stage.users[index]
        old = stage.ask("select full_name, version from idam.users where id = $1", key)[0]
        data = data_of(server, ask(server, case, request))
        name = msgspec.json.decode(request.body)["full_name"]
        check((data["full_name"], data["version"]) == (name, old["version"] + 1), server, f"update answers {data}")
        new = stage.ask("select full_name, version, updated_by from idam.users where id = $1", key)[0]
        check(
            (new["full_name"], new["version"]) == (name, old["version"] + 1) and new["updated_by"] is not None,
            server,
            f"the row is {new}",
        )
        prove_record(
            stage,
            server,
            (key, "update"),
            {"full_name": [old["full_name"], name], "version": [old["version"], new["version"]]},
        )
    return "answer, row, version and audit record"


def prove_create(stage: Stage, servers: Sequence[Server], case: Case) -> str:
    """The new rows are alike, and recorded."""
    said = []
    for index, server in enumerate(servers):
        request = requests_for(stage, server, case, -1)[index]
        data = data_of(server, ask(server, case, request), 201)
        stored = stage.ask(
            "select id, status, version from idam.users where email = $1", msgspec.json.decode(request.body)["email"]
        )
        check(
            [(str(row["id"]), row["status"]) for row in stored] == [(data["id"], "invited")],
            server,
            f"stored are {stored}",
        )
        prove_record(stage, server, (stored[0]["id"], "create"), {})
        said.append({name: value for name, value in data.items() if name not in OWN})
        check(said[-1] == said[0], server, f"{said[-1]} is not {said[0]}")
    return "answer, row and audit record"


def prove_create_many(stage: Stage, servers: Sequence[Server], case: Case) -> str:
    """All rows of a list are there, in its order, alike, each with its record."""
    said = []
    for index, server in enumerate(servers):
        request = requests_for(stage, server, case, -2 - index)[0]
        emails = [row["email"] for row in msgspec.json.decode(request.body)]
        rows = data_of(server, ask(server, case, request), 201)
        check([row["email"] for row in rows] == emails, server, "the answer has other rows, or another order")
        known = "select count(*) from idam.users where email = any($1)"
        logged = "select count(*) from audt.audit_logs where action = 'create' and entity_id = any($1)"
        counts = stage.ask(known, emails)[0][0], stage.ask(logged, [row["id"] for row in rows])[0][0]
        check(counts == (len(emails), len(emails)), server, f"{counts} rows and records of {len(emails)}")
        prove_record(stage, server, (rows[-1]["id"], "create"), {})
        said.append([{name: value for name, value in row.items() if name not in OWN} for row in rows])
        check(said[-1] == said[0], server, f"{said[-1][0]} is not {said[0][0]}")
    return f"{len(said[0]):,} rows in their order, and their audit records"


def prove_status(stage: Stage, servers: Sequence[Server], case: Case) -> str:
    """The rows moved, and the records say from where to where."""
    assert case.before is not None
    stage.ask(case.before)
    for index, server in enumerate(servers):
        request, key = requests_for(stage, server, case, -1)[index], stage.users[index]
        data = data_of(server, ask(server, case, request))
        check(data["status"] == "active", server, f"the status is {data['status']}")
        check(
            stage.ask("select status from idam.users where id = $1", key)[0][0] == "active",
            server,
            "the row did not move",
        )
        prove_record(stage, server, (key, "status"), {"status": ["invited", "active"]})
        ask(server, case, request)  # a second time: refused or idle, but not recorded again
        prove_record(stage, server, (key, "status"), {"status": ["invited", "active"]})
    return "answer, row and audit record"


def prove_record(stage: Stage, server: Server, about: tuple[Any, str], changes: dict[str, Any]) -> None:
    """There is one audit record of the write, and it names actor, request and what changed."""
    found = stage.ask(RECORDS, *about)
    check(len(found) == 1, server, f"{len(found)} audit records of one {about[1]}")
    check(found[0]["actor_email"] is not None and found[0]["named"], server, f"the record does not say who: {found[0]}")
    said = msgspec.json.decode(found[0]["changes"])
    check(
        bool(said) and all(said.get(name) == value for name, value in changes.items()),
        server,
        f"the record says {said}, not {changes}",
    )


def prove_refusals(stage: Stage, server: Server) -> None:
    """Who is not known, what is not there, and what is another tenant's."""
    absent = f"{USERS}/{stage.stranger}"
    if server.contestant is not FLOOR:
        answer = httpx.get(f"{server.url}{USERS}/{stage.users[0]}")
        check(answer.status_code == 401, server, f"{answer.status_code} without a token")
    for scope, path in (("manager", absent), ("tenants", f"{CONTACTS}/{stage.stranger}")):
        with server.client(scope) as client:
            check(client.get(path).status_code == 404, server, f"{path} is not 404")


WRITES = {"update": prove_update, "create": prove_create, "bulk": prove_create_many, "status": prove_status}
