"""The contract, first half: what becomes of a row from create to restore, and what the change log says of it."""

from __future__ import annotations

from collections import deque
from typing import Any

from engine.catalog import Resource
from engine.testing.bench import Bench, NotApplicable, check, code, contract, data, described, equal_but, refused, ticket
from engine.testing.rows import Body, kept
from engine.testing.values import same
from engine.types import Op

STAMPS = ("version", "updated_at", "updated_by")
CREATE, GET, LIST, UPDATE, DELETE, STATUS, HISTORY = Op.CREATE, Op.GET, Op.LIST, Op.UPDATE, Op.DELETE, Op.STATUS, Op.HISTORY


def shows(bench: Bench, body: Body, row: Body) -> None:
    """The row shows what was given."""
    decided = bench.maker.recipe(bench.resource).decided
    for name, field in bench.resource.fields.items():
        if name in body and field.shown and name not in decided:
            check(same(field, body[name], row[name]), f"{name} was given as {body[name]!r} and is shown as {row[name]!r}")


@contract(GET, LIST)
def create_get_list(bench: Bench) -> None:
    """What was created is shown by create, get and list alike; create says where, in which version."""
    if bench.maker.creates(bench.resource):
        body = bench.maker.body(bench.resource)
        answer = bench.client.post(bench.path(), json=body)
        row = kept(bench.resource, data(answer, 201))
        shows(bench, body, row)
        check(answer.headers.get("location") == bench.path(row), f"Location is {answer.headers.get('location')}, not {bench.path(row)}")
        check(answer.headers.get("etag") == f'"{row["version"]}"', f"ETag is {answer.headers.get('etag')} at version {row['version']}")
    else:
        row = bench.make()
    read = bench.client.get(bench.path(row))
    check(data(read) == row, f"get shows {read.text}, create showed {row}")
    check(read.headers.get("etag") == f'"{row["version"]}"', "get has another ETag than the row's version")
    check(len(bench.filtered(row)) == 1, "a list filtered by the key does not find the row")
    listed = bench.filtered(row)[0]
    equal_but(listed, row)
    _found_by_text(bench, row)


def _found_by_text(bench: Bench, row: Body) -> None:
    keys = {f"filter[{name}]": row[name] for name in bench.resource.keys}
    for field in bench.resource.columns:
        if field.shown and "eq" in field.operators and field.scalar.name == "text" and isinstance(row[field.name], str):
            found = bench.items(**keys, **{f"filter[{field.name}]": row[field.name]})
            check(len(found) == 1, f"a list filtered by {field.name} does not find the row")
            other = bench.items(**keys, **{f"filter[{field.name}][ne]": row[field.name]})
            check(not other, f"a list filtered by {field.name} != its value finds the row")
            return


@contract(CREATE, when=lambda r: True)
def stated_reason_holds(bench: Bench) -> None:
    """An entity whose rows are put into the database because the API cannot make them still has that reason."""
    reason = bench.maker.recipe(bench.resource).plant
    if not reason:
        raise NotApplicable("rows are made through the API")
    answer = bench.client.post(bench.path(), json=bench.maker.body(bench.resource))
    check(answer.status_code == 422, f"{described(answer)}: rows can be made now; take plant={reason!r} out of the recipe")


@contract(GET, UPDATE)
def update_one_field(bench: Bench) -> None:
    """An update changes the given field and no other, and moves version and ETag on by one."""
    row = bench.make()
    tried = bench.updates(row)
    if not tried:
        raise NotApplicable("no field that an update may set")
    done = 0
    own = {f.name for f in bench.resource.fields.values() if f.updatable} - bench.maker.recipe(bench.resource).decided
    for field, value in tried:
        before = bench.read(row)
        answer = bench.client.patch(bench.path(row), json={field.name: value})
        if bench.documented(answer) or code(answer) == "duplicate":
            continue
        done += 1
        after = data(answer)
        check(after == bench.read(row), "update shows another row than get")
        check(field.name not in own or same(field, value, after[field.name]), f"{field.name} was set to {value!r} and is {after[field.name]!r}")
        derived = [name for name in before if name in bench.resource.fields and name not in own]
        equal_but(before, after, field.name, *derived, *bench.resource.nested)
        _moved_on(bench, before, after)
        check(answer.headers.get("etag") == f'"{after["version"]}"', "the ETag is not the new version")
    if not done:
        raise NotApplicable("rules refuse every update of a new row")


def _moved_on(bench: Bench, before: Body, after: Body) -> None:
    check(after["version"] > before["version"], f"the version went from {before['version']} to {after['version']}")
    same_but_stamps = ("created_at", "created_by", *bench.resource.keys, "is_active")
    check(all(before[name] == after[name] for name in same_but_stamps if name in before), "a write changed key, creation stamps or is_active")


@contract(GET, UPDATE)
def null_clears_and_replace_resets(bench: Bench) -> None:
    """PATCH with null clears a field; PUT gives absent fields their default."""
    row = bench.make()
    nullable = [f for f, _ in bench.updates(row) if f.nullable and f.shown]
    for field, value in bench.updates(row):
        if field in nullable and field.name not in bench.maker.recipe(bench.resource).decided:
            if bench.client.patch(bench.path(row), json={field.name: value}).status_code != 200:
                continue
            answer = bench.client.patch(bench.path(row), json={field.name: None})
            if not bench.documented(answer) and code(answer) != "validation_error":
                check(data(answer)[field.name] is None, f"null did not clear {field.name}")
                return
    raise NotApplicable("no field that can be cleared")


@contract(GET, UPDATE)
def stale_version_refused(bench: Bench) -> None:
    """A write based on an old version is refused: 409 when the body names it, 412 by If-Match; the present one is taken."""
    row = bench.make()
    field, value = _first_update(bench, row)
    present, stale = str(row["version"]), row["version"] + 1
    refused(bench.client.patch(bench.path(row), json={field: value, "version": stale}), 409, "version_conflict")
    refused(bench.client.patch(bench.path(row), json={field: value}, headers={"If-Match": f'"{stale}"'}), 412, "version_conflict")
    check(bench.read(row)["version"] == row["version"], "a refused write moved the version")
    after = data(bench.client.patch(bench.path(row), json={field: value}, headers={"If-Match": f'"{present}"'}))
    refused(bench.client.patch(bench.path(row), json={field: value, "version": row["version"]}), 409, "version_conflict")
    check(after["version"] == bench.read(row)["version"], "a refused write moved the version")


def _first_update(bench: Bench, row: Body) -> tuple[str, Any]:
    """A field and a value that a dry attempt on a second row shows to be taken."""
    twin = bench.make()
    for field, value in bench.updates(row):
        if bench.client.patch(bench.path(twin), json={field.name: value}).status_code == 200 and "duplicate" not in _keys(bench, field.name):
            return field.name, value
    raise NotApplicable("no field that an update may set")


def _keys(bench: Bench, name: str) -> list[str]:
    return [kind for kind, names in bench.resource.constraints.values() if name in names]


@contract(GET, LIST, DELETE)
def delete_hides(bench: Bench) -> None:
    """A deleted row is gone from get and lists, `deleted=only` still finds it, and it takes no further write."""
    row = bench.make()
    answer = bench.client.delete(bench.path(row), params={"version": row["version"] + 1})
    refused(answer, 409, "version_conflict")
    gone = data(bench.client.delete(bench.path(row)))
    check(gone["is_active"] is False, "the deleted row is shown as active")
    refused(bench.client.get(bench.path(row)), 404, "not_found")
    check(not bench.filtered(row), "a list still shows the deleted row")
    check(len(bench.filtered(row, deleted="only")) == 1, "deleted=only does not find the row")
    check(len(bench.filtered(row, deleted="include")) == 1, "deleted=include does not find the row")
    refused(bench.client.delete(bench.path(row)), 404, "not_found")
    if Op.UPDATE in bench.resource.ops:
        refused(bench.client.patch(bench.path(row), json={}), 404, "not_found")


@contract(GET, LIST, DELETE, STATUS, when=lambda r: not r.stateful)
def restore_by_status(bench: Bench) -> None:
    """Without a machine of its own, the status route deletes and restores."""
    row = bench.make()
    gone = data(bench.client.delete(bench.path(row)))
    back = data(bench.client.patch(bench.path(row, "/status"), json={"status": "active"}))
    check(back["is_active"] is True and back["version"] == gone["version"] + 1, "the row did not come back one version on")
    equal_but(row, bench.read(row), *STAMPS, *bench.maker.recipe(bench.resource).decided)
    check(len(bench.filtered(row)) == 1, "a list does not show the restored row")
    again = data(bench.client.patch(bench.path(row, "/status"), json={"status": "active"}))
    check(again["version"] == back["version"], "the same state once more moved the version")
    data(bench.client.patch(bench.path(row, "/status"), json={"status": "inactive"}))
    refused(bench.client.get(bench.path(row)), 404, "not_found")


@contract(CREATE, GET, LIST)
def bulk_all_or_nothing(bench: Bench) -> None:
    """An array creates all rows in order, or none when one is wrong."""
    if not bench.maker.creates(bench.resource):
        raise NotApplicable(bench.maker.recipe(bench.resource).plant)
    bodies = [bench.maker.body(bench.resource) for _ in range(3)]
    rows = data(bench.client.post(bench.path(), json=bodies), 201)
    check(len(rows) == 3, f"three bodies made {len(rows)} rows")
    for body, row in zip(bodies, rows, strict=True):
        shows(bench, body, row)
        check(bench.read(row) == kept(bench.resource, row), "get shows another row than the bulk create")
    before = _total(bench)
    wrong = [bench.maker.body(bench.resource), {**bench.maker.body(bench.resource), "no_such_field": 1}]
    total = _total(bench) if before != _total(bench) else before  # bodies may have made parents of the same entity
    refused(bench.client.post(bench.path(), json=wrong), 422, "field_not_allowed", "[1].no_such_field")
    check(_total(bench) == total, "a refused bulk create left rows behind")


def _total(bench: Bench) -> int:
    return int(data(bench.client.get(bench.path(), params={"page_size": 1, "deleted": "include"}))["total"])


@contract(GET, STATUS, when=lambda r: r.stateful)
def status_walk(bench: Bench) -> None:
    """Every edge that callers may take can be taken, or is refused by a rule that says so; every other one is refused."""
    machine = bench.resource.machine
    reached: dict[str, tuple[str, ...]] = {machine.initial: ()}
    start = bench.make()["status"]
    reached.setdefault(start, ())
    waiting = deque(reached)
    taken = 0
    while waiting:
        source = waiting.popleft()
        stays = _walked(bench, reached[source], source)
        if stays is None:
            continue
        _refuses(bench, stays, source)
        for target in machine.targets(source):
            row = _walked(bench, reached[source], source)
            assert row is not None
            landed = _take(bench, row, target)
            taken += landed is not None
            if landed is not None and landed not in reached:
                reached[landed] = (*reached[source], target)
                waiting.append(landed)
    check(taken > 0 or not machine.targets(start), "not one transition could be taken")


def _walked(bench: Bench, steps: tuple[str, ...], state: str) -> Body | None:
    """A new row led along the steps; None when rows do not begin where the machine does."""
    row = bench.make()
    for step in steps:
        row = data(bench.client.patch(bench.path(row, "/status"), json={"status": step}))
    return row if row["status"] == state else None


def _take(bench: Bench, row: Body, target: str) -> str | None:
    """The state after an edge that callers may take; None when a rule refused it."""
    answer = bench.client.patch(bench.path(row, "/status"), json={"status": target, "version": row["version"]})
    if bench.documented(answer):
        check(bench.read(row)["status"] == row["status"], "a refused transition moved the row")
        return None
    moved = data(answer)
    check(moved["status"] in _beyond(bench.resource, target), f"asked for {target}, the row is {moved['status']}")
    check(moved["version"] > row["version"], "a transition did not move the version")
    check(bench.read(row)["status"] == moved["status"], "get shows another state than the transition")
    return str(moved["status"])


def _beyond(resource: Resource, state: str) -> set[str]:
    """The state, and where rules may lead on from it by reserved edges."""
    found, waiting = {state}, [state]
    while waiting:
        here = waiting.pop()
        fresh = {to for source, to in resource.machine.reserved if source == here} - found
        found |= fresh
        waiting += fresh
    return found


def _refuses(bench: Bench, row: Body, source: str) -> None:
    """Staying costs nothing; edges that are not the caller's are refused; the transitions route says the same."""
    machine = bench.resource.machine
    ways = {way["status"]: way for way in data(bench.client.get(bench.path(row, "/transitions")))["transitions"]}
    for target in machine.states:
        if (source, target) in machine.edges:
            check(ways[target]["allowed"] is True, f"transitions says that {source} > {target} may not be taken")
            continue
        answer = bench.client.patch(bench.path(row, "/status"), json={"status": target})
        if target == source:
            check(data(answer)["version"] == row["version"], "the same state once more moved the version")
            continue
        expected = "reserved_transition" if (source, target) in machine.reserved else "invalid_transition"
        refused(answer, 409, expected)
        check((ways[target]["allowed"], ways[target]["reason"]) == (False, expected), f"transitions says {ways[target]}")
    refused(bench.client.patch(bench.path(row, "/status"), json={"status": "no such state"}), 422, "invalid_choice", "status")


@contract(GET, HISTORY, when=lambda r: bool({CREATE, UPDATE, DELETE, STATUS} & r.ops))
def audit_is_complete(bench: Bench) -> None:
    """Each version of a row has exactly one record: who, in which request, which values before and after."""
    seen = 0
    for name in (CREATE, UPDATE, STATUS, DELETE):
        if name in bench.resource.ops and (name is not CREATE or bench.maker.creates(bench.resource)):
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
            unmasked = not (field.encrypted or field.masked) and field.name not in bench.maker.recipe(bench.resource).decided
            check(not unmasked or (pair is not None and same(field, row[field.name], pair[0]) and same(field, value, pair[1])), f"{field.name} went from {row[field.name]!r} to {value!r}, the record says {pair}")
            return 1
    return 0


def _audit_status(bench: Bench) -> int:
    row, request = bench.make(), ticket()
    state = row["status"] if bench.resource.stateful else "active"
    for target in bench.resource.machine.targets(state):
        answer = bench.client.patch(bench.path(row, "/status"), json={"status": target}, headers={"X-Request-Id": request})
        if answer.status_code == 200:
            records = recorded(bench, data(answer), request, row["version"])
            name, old = ("status", state) if bench.resource.stateful else ("is_active", True)
            check(records[0]["changes"].get(name, [None])[0] == old, f"the record of a transition says {records[0]['changes']}")
            return 1
    return 0


def _audit_delete(bench: Bench) -> int:
    row, request = bench.make(), ticket()
    gone = data(bench.client.delete(bench.path(row), headers={"X-Request-Id": request}))
    records = recorded(bench, gone, request, row["version"])
    check(any(record["changes"].get("is_active") == [True, False] for record in records), "no record says that the row was deleted")
    return 1


AUDITED = {CREATE: _audit_create, UPDATE: _audit_update, STATUS: _audit_status, DELETE: _audit_delete}


def recorded(bench: Bench, row: Body, request: str, since: int) -> list[Body]:
    """The records of one request: one for each version after `since`, without gap, by the caller."""
    records = bench.log(row, request)
    steps = [record["changes"].get("version") for record in records]
    expected = [[version or None, version + 1] for version in range(since, row["version"])]
    check(steps == expected, f"versions {since} to {row['version']} have the records {steps} under request {request}")
    actor = bench.client.get("/auth/me").json()["data"]["id"]
    check(all(record["actor_id"] == actor for record in records), f"the records name {[r['actor_id'] for r in records]}, the caller is {actor}")
    return records
