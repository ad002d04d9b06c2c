"""The contract, first part: what becomes of a row from create to restore."""

from __future__ import annotations

from typing import Any

import httpx

from engine.testing.bench import (
    Bench,
    NotApplicable,
    check,
    code,
    contract,
    data,
    described,
    equal_but,
    refused,
)
from engine.testing.rows import Body, kept
from engine.testing.values import patterns, same
from engine.types import Op

STAMPS = ("version", "updated_at", "updated_by")
CREATE, GET, LIST, UPDATE, DELETE, STATUS, HISTORY = (
    Op.CREATE,
    Op.GET,
    Op.LIST,
    Op.UPDATE,
    Op.DELETE,
    Op.STATUS,
    Op.HISTORY,
)


def shows(bench: Bench, body: Body, row: Body) -> None:
    """The row shows what was given."""
    decided = bench.maker.recipe(bench.resource).decided
    for name, field in bench.resource.fields.items():
        if name in body and field.shown and name not in decided:
            check(
                same(field, body[name], row[name]), f"{name} was given as {body[name]!r} and is shown as {row[name]!r}"
            )


@contract(GET, LIST)
def create_get_list(bench: Bench) -> None:
    """What was created is shown by create, get and list alike; create says where, in which version."""
    if CREATE in bench.resource.ops:
        body = bench.maker.body(bench.resource)
        answer = bench.client.post(bench.path(), json=body)
        row = kept(bench.resource, data(answer, 201))
        shows(bench, body, row)
        check(
            answer.headers.get("location") == bench.path(row),
            f"Location is {answer.headers.get('location')}, not {bench.path(row)}",
        )
        check(
            answer.headers.get("etag") == f'"{row["version"]}"',
            f"ETag is {answer.headers.get('etag')} at version {row['version']}",
        )
    else:
        row = bench.make()
    read = bench.client.get(bench.path(row))
    check(data(read) == row, f"get shows {read.text}, create showed {row}")
    check(_version(read) == str(row["version"]), "get has another ETag than the row's version")
    check(len(bench.filtered(row)) == 1, "a list filtered by the key does not find the row")
    listed = bench.filtered(row)[0]
    equal_but(listed, row)
    _found_by_text(bench, row)


def _version(answer: httpx.Response) -> str:
    """Of an ETag the part that says the version."""
    return str(answer.headers.get("etag", "")).strip('"').partition("-")[0]


def _found_by_text(bench: Bench, row: Body) -> None:
    keys = {f"filter[{name}]": row[name] for name in bench.resource.keys}
    for field in bench.resource.columns:
        if field.shown and "eq" in field.operators and field.scalar.name == "text" and isinstance(row[field.name], str):
            found = bench.items(**keys, **{f"filter[{field.name}]": row[field.name]})
            check(len(found) == 1, f"a list filtered by {field.name} does not find the row")
            other = bench.items(**keys, **{f"filter[{field.name}][ne]": row[field.name]})
            check(not other, f"a list filtered by {field.name} != its value finds the row")
            return


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
        check(
            field.name not in own or same(field, value, after[field.name]),
            f"{field.name} was set to {value!r} and is {after[field.name]!r}",
        )
        derived = [name for name in before if name in bench.resource.fields and name not in own]
        equal_but(before, after, field.name, *derived, *bench.resource.nested)
        _moved_on(bench, before, after)
        check(answer.headers.get("etag") == f'"{after["version"]}"', "the ETag is not the new version")
    if not done:
        raise NotApplicable("rules refuse every update of a new row")


def _moved_on(bench: Bench, before: Body, after: Body) -> None:
    check(after["version"] > before["version"], f"the version went from {before['version']} to {after['version']}")
    same_but_stamps = ("created_at", "created_by", *bench.resource.keys, "is_active")
    check(
        all(before[name] == after[name] for name in same_but_stamps if name in before),
        "a write changed key, creation stamps or is_active",
    )


@contract(GET, UPDATE)
def null_clears(bench: Bench) -> None:
    """PATCH with null clears a field."""
    row, field = _filled(bench)
    answer = bench.client.patch(bench.path(row), json={field: None})
    check(data(answer)[field] is None and bench.read(row)[field] is None, f"null did not clear {field}")


@contract(GET, UPDATE)
def replace_resets(bench: Bench) -> None:
    """PUT gives absent fields their default, and keeps what only a creation may set."""
    row, field = _filled(bench)
    kept_names = {*bench.maker.fixed_names(bench.resource), *patterns(bench.resource)[0]}
    body = {
        f.name: row[f.name]
        for f in bench.resource.columns
        if f.updatable and f.shown and (f.required or f.name in kept_names)
    }
    after = data(bench.client.put(bench.path(row), json=body))
    check(after[field] is None, f"PUT left {field} at {after[field]!r}")
    shows(bench, body, after)
    equal_but({f.name: row[f.name] for f in bench.resource.columns if f.once and f.shown}, after)


def _filled(bench: Bench) -> tuple[Body, str]:
    """A new row, and a field of it that an update filled and that may be empty again."""
    row, recipe = bench.make(), bench.maker.recipe(bench.resource)
    taken = {*recipe.decided, *patterns(bench.resource)[0]}
    for field, value in bench.updates(row):
        if field.nullable and field.shown and field.name not in taken:
            answer = bench.client.patch(bench.path(row), json={field.name: value})
            if answer.status_code == 200:
                return data(answer), field.name
            check(bench.documented(answer), described(answer))
    raise NotApplicable("no field that can be cleared")


@contract(GET, UPDATE)
def stale_version_refused(bench: Bench) -> None:
    """A write based on an old version is refused: 409 when the body names it, 412 by If-Match."""
    row = bench.make()
    field, value = _first_update(bench, row)
    present, stale = str(row["version"]), row["version"] + 1
    refused(bench.client.patch(bench.path(row), json={field: value, "version": stale}), 409, "version_conflict")
    refused(
        bench.client.patch(bench.path(row), json={field: value}, headers={"If-Match": f'"{stale}"'}),
        412,
        "version_conflict",
    )
    check(bench.read(row)["version"] == row["version"], "a refused write moved the version")
    after = data(bench.client.patch(bench.path(row), json={field: value}, headers={"If-Match": f'"{present}"'}))
    refused(
        bench.client.patch(bench.path(row), json={field: value, "version": row["version"]}), 409, "version_conflict"
    )
    check(after["version"] == bench.read(row)["version"], "a refused write moved the version")


def _first_update(bench: Bench, row: Body) -> tuple[str, Any]:
    """A field and a value that a dry attempt on a second row shows to be taken."""
    twin = bench.make()
    for field, value in bench.updates(row):
        if bench.client.patch(
            bench.path(twin), json={field.name: value}
        ).status_code == 200 and "duplicate" not in _keys(bench, field.name):
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
    check(
        back["is_active"] is True and back["version"] == gone["version"] + 1, "the row did not come back one version on"
    )
    equal_but(row, bench.read(row), *STAMPS, *bench.maker.recipe(bench.resource).decided)
    check(len(bench.filtered(row)) == 1, "a list does not show the restored row")
    again = data(bench.client.patch(bench.path(row, "/status"), json={"status": "active"}))
    check(again["version"] == back["version"], "the same state once more moved the version")
    data(bench.client.patch(bench.path(row, "/status"), json={"status": "inactive"}))
    refused(bench.client.get(bench.path(row)), 404, "not_found")


@contract(CREATE, GET, LIST)
def bulk_all_or_nothing(bench: Bench) -> None:
    """An array creates all rows in order, or none when one is wrong."""
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
