"""An entity's declaration as plain data, for `/_meta` and the OpenAPI document: what the engine enforces, a client can read."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from engine.aggregates import parts_of
from engine.catalog import Resource
from engine.fields import Field

Plain = dict[str, Any]

FLAGS = ("required", "creatable", "updatable", "once", "masked", "encrypted", "nullable")


def described(resource: Resource) -> Plain:
    """Kind, label, machine, keys, constraints, and every declared behaviour that the entity has."""
    return {
        "kind": resource.entity.kind,
        "label": resource.entity.label,
        "description": resource.entity.description,
        "key": [str(name) for name in resource.keys],
        **_machine(resource),
        "constraints": constraints_of(resource),
        "unique_keys": unique_keys_of(resource),
        "behaviour": _seen(
            {name: said for name, tell in TOLD.items() if (said := tell(resource))},
            {field.name for field in resource.fields.values() if field.unseen},
        ),
    }


def _seen(said: Any, unseen: Collection[str]) -> Any:
    """A declaration without what names a field that the caller does not see."""
    if not unseen:
        return said
    if isinstance(said, dict):
        kept = {name: part for name, part in said.items() if name not in unseen}
        return {name: _seen(part, unseen) for name, part in kept.items() if not _names(part, unseen)}
    return [_seen(part, unseen) for part in said if not _names(part, unseen)] if isinstance(said, list) else said


def _names(said: Any, unseen: Collection[str]) -> bool:
    return isinstance(said, str) and bool(set(re.findall(r"[A-Za-z0-9_]+", said)) & set(unseen))


def _machine(resource: Resource) -> Plain:
    machine = resource.machine
    if not resource.soft and not resource.stateful:
        return {"states": [], "initial": None, "transitions": [], "reserved_transitions": []}
    return {
        "states": list(machine.states),
        "initial": machine.initial,
        "transitions": sorted(f"{source}>{target}" for source, target in machine.edges),
        "reserved_transitions": sorted(f"{source}>{target}" for source, target in machine.reserved),
    }


def constraints_of(resource: Resource) -> list[Plain]:
    """What the database itself refuses: code and fields, without the names of the constraints."""
    found = {(code, names): None for code, names in resource.constraints.values() if names}
    return [{"code": code, "fields": [str(name) for name in names]} for code, names in sorted(found)]


def unique_keys_of(resource: Resource) -> list[Plain]:
    """What `upsert?on=` may name. `where`: the rows that the key is about; `nulls_equal`: two nulls are the same."""
    return [
        {"on": name, "where": key.where, "nulls_equal": key.nulls_equal} for name, key in resource.unique_keys.items()
    ]


def field_described(field: Field, *, unmasked: bool = True) -> Plain:
    """Type, flags, filter operators of one field, and what is made of it for a reader who sees masked columns or not."""
    outside = field.column.info.get("outside") if field.column is not None else None
    flags = {name: True for name in FLAGS if getattr(field, name)}
    known: Plain = {"name": str(field.name), "type": field.scalar.name, **flags, "operators": list(field.operators)}
    if field.references or outside:
        known["references"] = str(outside or field.references)
    if getattr(field.type, "enums", None):
        known["choices"] = list(field.type.enums)
    if field.functions and (unmasked or not field.masked):
        parts = list(parts_of(field.scalar.name))
        known |= {
            "functions": list(field.functions),
            "groupable": field.groupable,
            **({"parts": parts} if parts else {}),
        }
    return known | ({"virtual": True} if field.virtual else {})


def _number(resource: Resource) -> Plain | None:
    number = resource.entity.number
    return (
        None
        if number is None
        else {
            "prefix": number.prefix,
            "at": number.at,
            "gapless": number.gapless,
            "column": str(number.column),
        }
    )


def _frozen(resource: Resource) -> list[Plain]:
    return [
        {"states": frozen.states.split(), "fields": list(frozen.fields), "but": list(frozen.but), "code": frozen.code}
        for frozen in resource.entity.frozen
    ]


def _lock(resource: Resource) -> Plain | None:
    if resource.entity.kind != "document" or not resource.stateful:
        return None
    return {"unless": resource.machine.initial, "live": list(resource.entity.live)}


def _needed(resource: Resource) -> list[Plain]:
    return [{"field": n.field, "edges": n.edges.split(), "code": n.code} for n in resource.entity.needed]


def _computed(resource: Resource) -> list[Plain]:
    return [{"column": c.column, "reads": c.reads.split()} for c in resource.entity.computed]


def _rollups(resource: Resource) -> list[Plain]:
    return [
        {"column": r.column, "child": r.child, "sum": r.sum or None, "count": not r.sum, "where": r.where or None}
        for r in resource.entity.rollups
    ]


def _periods(resource: Resource) -> list[Plain]:
    return [{"columns": list(p.columns), "start": p.start, "end": p.end} for p in resource.entity.periods]


def _nested(resource: Resource) -> list[Plain]:
    return [{"key": n.key, "entity": n.entity, "on": n.on} for n in resource.entity.nested]


def _approval(resource: Resource) -> Plain | None:
    approval = resource.entity.approval
    return (
        None
        if approval is None
        else {"edge": approval.edge, "document": approval.document, "waiting": approval.waiting}
    )


def _owner(resource: Resource) -> Plain | None:
    owner = resource.entity.owner
    return None if owner is None else {"columns": list(owner.columns), "unless": owner.unless, "reads": owner.reads}


def _rows(resource: Resource) -> list[Plain]:
    secret = {field.name for field in resource.fields.values() if field.hidden}
    return [
        {
            # what a hidden column decides is not told
            "where": None if _within(rule.tree, secret) else dict(rule.tree),
            "unless": rule.unless or None,
            "on": rule.on.split(),
        }
        for rule in resource.entity.rows
    ]


def _within(tree: Any, names: Collection[str]) -> bool:
    """Whether a condition names one of these columns."""
    if isinstance(tree, Mapping):
        return any(_within(part, names) for word, part in tree.items() if word != "value")
    return any(_within(part, names) for part in tree) if isinstance(tree, list) else _names(tree, names)


# a row for each declaration that clients can see the effect of
TOLD: dict[str, Callable[[Resource], Any]] = {
    "document_lock": _lock,
    "frozen": _frozen,
    "needed": _needed,
    "stamps": lambda resource: {state: dict(stamps) for state, stamps in resource.entity.stamps.items()},
    "guards": lambda resource: dict(resource.entity.guards),
    "four_eyes": lambda resource: dict(resource.entity.four_eyes),
    "number": _number,
    "nested": _nested,
    "tree": lambda resource: resource.entity.tree,
    "periods": _periods,
    "currency": lambda resource: resource.entity.currency,
    "computed": _computed,
    "rollups": _rollups,
    "approval": _approval,
    "owner": _owner,
    "rows": _rows,
    "permissions": lambda resource: list(resource.entity.permissions),
}
