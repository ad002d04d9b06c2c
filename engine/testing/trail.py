"""The contract, third part: what the change log says of a row."""

from __future__ import annotations

from engine.testing.bench import Bench, check, contract, data, ticket
from engine.testing.rows import Body
from engine.testing.values import same
from engine.types import Op


@contract(Op.GET, Op.HISTORY, when=lambda r: bool({Op.CREATE, Op.UPDATE, Op.DELETE, Op.STATUS} & r.ops))
def audit_is_complete(bench: Bench) -> None:
    """Each version of a row has exactly one record: who, in which request, which values before and after."""
    seen = 0
    for name in (Op.CREATE, Op.UPDATE, Op.STATUS, Op.DELETE):
        if name in bench.resource.ops:
            seen += AUDITED[name](bench)
    check(seen > 0, "no write could be made to look at")


def _audit_create(bench: Bench) -> int:
    bodies, request = [bench.maker.body(bench.resource), bench.maker.body(bench.resource)], ticket()
    rows = data(bench.client.post(bench.path(), json=bodies, headers={"X-Request-Id": request}), 201)
    for row in rows:
        recorded(bench, row, request, 0)
    body, request = bench.maker.body(bench.resource), ticket()
    row = data(bench.client.post(bench.path(), json=body, headers={"X-Request-Id": request}), 201)
    recorded(bench, row, request, 0)
    return 1


def _audit_update(bench: Bench) -> int:
    row, request = bench.make(), ticket()
    for field, value in bench.updates(row):
        answer = bench.client.patch(bench.path(row), json={field.name: value}, headers={"X-Request-Id": request})
        if answer.status_code == 200:
            records = recorded(bench, data(answer), request, row["version"])
            pair = records[0]["changes"].get(field.name)
            unmasked = (
                not (field.encrypted or field.masked) and field.name not in bench.maker.recipe(bench.resource).decided
            )
            check(
                not unmasked
                or (pair is not None and same(field, row[field.name], pair[0]) and same(field, value, pair[1])),
                f"{field.name} went from {row[field.name]!r} to {value!r}, the record says {pair}",
            )
            return 1
    return 0


def _audit_status(bench: Bench) -> int:
    row, request = bench.make(), ticket()
    state = row["status"] if bench.resource.stateful else "active"
    for target in bench.resource.machine.targets(state):
        answer = bench.client.patch(
            bench.path(row, "/status"), json={"status": target}, headers={"X-Request-Id": request}
        )
        if answer.status_code == 200:
            records = recorded(bench, data(answer), request, row["version"])
            name, old = ("status", state) if bench.resource.stateful else ("is_active", True)
            check(
                records[0]["changes"].get(name, [None])[0] == old,
                f"the record of a transition says {records[0]['changes']}",
            )
            return 1
    return 0


def _audit_delete(bench: Bench) -> int:
    row, request = bench.make(), ticket()
    gone = data(bench.client.delete(bench.path(row), headers={"X-Request-Id": request}))
    records = recorded(bench, gone, request, row["version"])
    check(
        any(record["changes"].get("is_active") == [True, False] for record in records),
        "no record says that the row was deleted",
    )
    return 1


AUDITED = {Op.CREATE: _audit_create, Op.UPDATE: _audit_update, Op.STATUS: _audit_status, Op.DELETE: _audit_delete}


def recorded(bench: Bench, row: Body, request: str, since: int) -> list[Body]:
    """The records of one request: one for each version after `since`, without gap, by the caller."""
    records = bench.log(row, request)
    steps = [record["changes"].get("version") for record in records]
    expected = [[version or None, version + 1] for version in range(since, row["version"])]
    check(steps == expected, f"versions {since} to {row['version']} have the records {steps} under request {request}")
    actor = bench.client.get("/auth/me").json()["data"]["id"]
    check(
        all(record["actor_id"] == actor for record in records),
        f"the records name {[r['actor_id'] for r in records]}, the caller is {actor}",
    )
    return records
