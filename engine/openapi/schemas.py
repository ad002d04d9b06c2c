"""JSON schemas of an entity: what reads show, what each body takes. Exact about null, closed where readers are."""

from __future__ import annotations

import json
import re
from datetime import date, datetime
from typing import Any

from engine.catalog import Catalog, Resource
from engine.fields import Field

Schema = dict[str, Any]
NULL: Schema = {"type": "null"}
KEPT: Schema = {"description": "As it is stored"}
VERSION: Schema = {
    "type": ["integer", "null"],
    "minimum": 1,
    "maximum": 2**31 - 1,
    "description": "The version that was read",
}
# as many words as `engine.query.MAX_WORDS`
SEARCHED: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": 200,
    "pattern": r"^\s*\S+(\s+\S+){0,9}\s*$",
}
REASONS = ("reserved_transition", "invalid_transition", "permission_denied")
SAMPLES = {
    "uuid": "01890a5d-ac96-774b-bcce-b302099a8057",
    "date": "2026-01-31",
    "date-time": "2026-01-31T10:00:00Z",
    "^[0-9:.]+$": "10:00:00",
}


def ref(name: str) -> Schema:
    """A reference to a component schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def name_of(resource: Resource) -> str:
    """`scope_domain_entity`: the stem of component names and operation ids. Other people's names may end in what ours do
    (`order`, `order_status`), so of theirs `_` becomes `-`."""
    if resource.foreign:
        parts = (re.sub(r"[^A-Za-z0-9.-]", "-", part.replace("%", ".")) for part in resource.path.split("/"))
        return "_".join(parts)
    return re.sub(r"[^A-Za-z0-9]+", "_", resource.path)


def _version(resource: Resource) -> dict[str, Schema]:
    return {"version": VERSION} if resource.versioned else {}


def plain(name: str) -> str:
    """A field's name as part of a component's, which has no other letters."""
    return re.sub(r"[^A-Za-z0-9_.-]", lambda odd: f".{ord(odd[0]):x}", name)


def closed(properties: Schema, required: list[str] | None = None, **extra: Any) -> Schema:
    """An object that has these members and no others."""
    demanded = {"required": required} if required else {}
    return {"type": "object", "properties": properties, **demanded, "additionalProperties": False, **extra}


def opened(text: str, **properties: Schema) -> Schema:
    """An object that may have other members too. That is said, for some generators take a bare object for an empty one."""
    known = {"properties": properties, "required": list(properties)} if properties else {}
    return {"type": "object", "description": text, **known, "additionalProperties": True}


def nullable(schema: Schema) -> Schema:
    """The schema, or null."""
    if not set(schema) & {"type", "anyOf", "enum"}:
        return schema
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], NULL]}
    either = {**schema, "type": [schema["type"], "null"]}
    return {**either, "enum": [*schema["enum"], None]} if "enum" in schema else either


def shown_schema(field: Field) -> Schema:
    """What a read shows of a field."""
    schema = field.scalar.schema(field.type, field.bounds)
    if field.masked:
        schema = {"anyOf": [schema, {"const": "***"}]} if field.scalar.name == "jsonb" else {"type": "string"}
    # values that hooks and the database write need not have the form that a body must have
    dropped = {"examples", "format"} & set(schema) if field.scalar.name == "text" else {"examples"}
    if field.virtual is not None or field.scalar.name == "text":
        dropped = dropped | {"pattern"}
    schema = {key: value for key, value in schema.items() if key not in dropped}
    return nullable(schema) if field.nullable else schema


def body_schema(catalog: Catalog, resource: Resource, field: Field) -> Schema:
    """What a body may give for a field."""
    schema = dict(field.scalar.schema(field.type, field.bounds))
    if field.scalar.name in ("numeric", "bigint"):
        schema |= _limits(field)
    schema = nullable(schema) if field.nullable else schema
    target = target_of(catalog, resource, field)
    return {**schema, "description": f"id of {target}"} if target else schema


def _limits(field: Field) -> Schema:
    type_ = field.type
    found = {name: getattr(type_, name, None) for name in ("minimum", "maximum", "above")}
    words = {"minimum": "at least", "maximum": "at most", "above": "above"}
    limits = {name: getattr(field.bounds, name) if value is None else value for name, value in found.items()}
    said = [f"{words[name]} {limit}" for name, limit in limits.items() if limit is not None]
    return {"description": " and ".join(said)} if said else {}


def target_of(catalog: Catalog, resource: Resource, field: Field) -> str | None:
    """Path of the entity whose id the field holds."""
    if field.column is not None and "outside" in field.column.info:
        return str(field.column.info["outside"])
    if field.name not in resource.reference_columns:
        return None
    return next(
        r.path for r in catalog.resources.values() if r.scope is resource.scope and r.table.fullname == field.references
    )


def choice_of(resource: Resource, field: Field) -> tuple[str, Schema] | None:
    """Name and schema of the values that a field chooses from: one class for rows, bodies and filters."""
    choices = getattr(field.type, "enums", None)
    return (
        (f"{name_of(resource)}_{plain(field.name)}_choice", {"type": "string", "enum": list(choices)})
        if choices
        else None
    )


def structured(schema: Any) -> bool:
    """Whether the schema of a jsonb column holds objects."""
    if isinstance(schema, list):
        return any(map(structured, schema))
    return isinstance(schema, dict) and (schema.get("type") == "object" or any(map(structured, schema.values())))


def spelled_out(schema: Any) -> Any:
    """The schema of a jsonb column, its bare objects said to be open."""
    if isinstance(schema, list):
        return [spelled_out(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    bare = schema.get("type") == "object" and not {"properties", "additionalProperties"} & set(schema)
    return {
        **{key: spelled_out(part) for key, part in schema.items()},
        **({"additionalProperties": True} if bare else {}),
    }


def default_of(field: Field) -> Any:
    """The constant that a field gets when a body leaves it out; None where there is none.

    It is said in words and not as `default`: generated clients would send it, and so reset what an upsert leaves out."""
    default: Any = field.column.default if field.column is not None else None
    if default is None or not default.is_scalar:
        return None
    value = default.arg
    if isinstance(value, (date, datetime)):
        value = value.isoformat()
    if field.scalar.name in ("numeric", "bigint"):
        value = str(value)
    return value if isinstance(value, (str, int, float, bool)) else None


def example_of(schema: Schema) -> Any:
    """A value that fits the schema."""
    if schema.get("examples"):
        return schema["examples"][0]
    if "default" in schema or "enum" in schema:
        return schema.get("default", (schema.get("enum") or [None])[0])
    if "anyOf" in schema:
        return example_of(schema["anyOf"][0])
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    return _example_of_kind(kind, schema)


def _example_of_kind(kind: str, schema: Schema) -> Any:
    if kind == "object":
        return {name: example_of(schema["properties"][name]) for name in schema.get("required", ())}
    if kind in ("integer", "number"):
        return min(max(1, schema.get("minimum", 1)), schema.get("maximum", 1))
    if kind != "string":
        return {"array": [], "boolean": True, "null": None}[kind]
    if "contentEncoding" in schema:
        return "AA=="
    text = (
        SAMPLES.get(schema.get("format", ""))
        or SAMPLES.get(schema.get("pattern", ""))
        or ("1" if "pattern" in schema else "text")
    )
    return text.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength")]


def _unless_given(schema: Schema, default: Any) -> Schema:
    """The schema, with a word on what a field is when it is left out."""
    if default is None:
        return schema
    said = [*([schema["description"]] if "description" in schema else ()), f"`{json.dumps(default)}` unless given"]
    return {**schema, "description": "; ".join(said)}


class Schemas:
    """Makes component schemas on demand; each is made once and kept in `components`."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.components: dict[str, Schema] = {}
        self.awaited: list[Resource] = []

    def _keep(self, name: str, make: Any) -> Schema:
        if name not in self.components:
            self.components[name] = {}  # holds the place while nested children are made
            self.components[name] = make()
        return ref(name)

    # -- fields

    def _shown(self, resource: Resource, field: Field) -> Schema:
        """What a read shows of a field, a structure by its name."""
        return self._named(resource, field, mask=field.masked) or shown_schema(field)

    def _given(self, resource: Resource, field: Field) -> Schema:
        """What a body may give for a field, a structure by its name."""
        return self._named(resource, field, mask=False) or body_schema(self.catalog, resource, field)

    def _named(self, resource: Resource, field: Field, *, mask: bool) -> Schema | None:
        """Generators of clients make a class of each structure and choice: one that stands in several schemas must be one
        of them."""
        shape = field.scalar.schema(field.type, field.bounds)
        if (choice := choice_of(resource, field)) and not mask:
            named = self._keep(choice[0], lambda: choice[1])
        elif field.scalar.name == "jsonb" and structured(shape):
            named = self._keep(f"{name_of(resource)}_{plain(field.name)}_value", lambda: spelled_out(shape))
        else:
            return None
        either = [named, *([{"const": "***"}] if mask else ()), *([NULL] if field.nullable else ())]
        return {"anyOf": either} if len(either) > 1 else named

    # -- rows

    def part(self, resource: Resource) -> Schema:
        """A row of a list: all shown fields, or those that `fields` names."""
        fields = {field.name: self._shown(resource, field) for field in resource.shown}
        return self._keep(f"{name_of(resource)}_part", lambda: closed({**fields, **self._related(resource)}))

    def _related(self, resource: Resource) -> dict[str, Schema]:
        """What `expand` adds: a row or null, or a list of rows."""
        found: dict[str, Schema] = {}
        for relation in resource.relations.values():
            target = self.catalog.resources[relation.target]
            self.awaited.append(target)
            row = ref(f"{name_of(target)}_part")
            found[relation.name] = {"type": "array", "items": row} if relation.many else {"anyOf": [row, NULL]}
        return found

    def finish(self) -> None:
        """Make the rows that others show through a relation. They refer to each other, so not one inside the other."""
        while self.awaited:
            self.part(self.awaited.pop())

    def plain(self, resource: Resource) -> Schema:
        """A whole row without child rows."""
        fields = {field.name: self._shown(resource, field) for field in resource.shown}
        text = resource.entity.description
        return self._keep(name_of(resource), lambda: closed(fields, list(fields), description=text))

    def _children(self, resource: Resource) -> dict[str, Schema]:
        found = {}
        for nested in resource.entity.nested:
            child = self.catalog.find(resource.scope.name, nested.entity)
            found[nested.key] = {"type": "array", "items": self.plain(child)}
        return found

    def _outputs(self, resource: Resource) -> dict[str, Schema]:
        fields = (field for field in resource.fields.values() if field.virtual is not None and field.virtual.output)
        return {f.name: {**shown_schema(f), "description": "shown this once"} for f in fields}

    def viewed(self, resource: Resource) -> Schema:
        """The row of a get: all shown fields and child rows, or those that `fields` names."""
        if not resource.entity.nested:
            return self.part(resource)
        fields = {field.name: self._shown(resource, field) for field in resource.shown}
        related = self._related(resource)
        return self._keep(
            f"{name_of(resource)}_view", lambda: closed({**fields, **related, **self._children(resource)})
        )

    def written(self, resource: Resource) -> Schema:
        """The row that a write answers: whole, with child rows and what is shown this once."""
        children, outputs = self._children(resource), self._outputs(resource)
        if not children and not outputs:
            return self.plain(resource)
        fields = {field.name: self._shown(resource, field) for field in resource.shown}
        required = [*fields, *children]
        return self._keep(f"{name_of(resource)}_written", lambda: closed({**fields, **children, **outputs}, required))

    # -- bodies

    def create(self, resource: Resource, under: str | None = None) -> Schema:
        """The body of a create; `under` is the column that a nested child takes from its header."""
        name = f"{name_of(resource)}_create" if under is None else f"{name_of(resource)}_below_{under}"
        return self._keep(name, lambda: self._create(resource, under))

    def _create(self, resource: Resource, under: str | None) -> Schema:
        fields = [f for f in resource.fields.values() if f.creatable and f.name != under]
        properties = {f.name: _unless_given(self._given(resource, f), default_of(f)) for f in fields}
        made = closed({**properties, **self._nested(resource, "c")}, [f.name for f in fields if f.required])
        declared = resource.entity.info.get("example", {})
        shown = [f for f in fields if f.required or f.name in declared]
        example = {
            f.name: self._example(resource, f) if declared.get(f.name) is None else declared[f.name] for f in shown
        }
        return {**made, "description": resource.entity.description, "examples": [example]}

    def _example(self, resource: Resource, field: Field) -> Any:
        schema = body_schema(self.catalog, resource, field)
        value = example_of(schema)
        return f"Example {field.name.replace('_', ' ')}"[: schema.get("maxLength")] if value == "text" else value

    def update(self, resource: Resource) -> Schema:
        """The body of an update: absent keeps, null clears."""
        return self._keep(f"{name_of(resource)}_update", lambda: self._update(resource))

    def _update(self, resource: Resource, required: list[str] | None = None) -> Schema:
        fields = {f.name: self._given(resource, f) for f in resource.fields.values() if f.updatable}
        return closed({**fields, **self._nested(resource, "u"), **_version(resource)}, required)

    def patch(self, resource: Resource) -> Schema:
        """The same as a merge patch (RFC 7396): of a structure, any part of it."""
        own = (f for f in resource.fields.values() if f.updatable and f.scalar.name == "jsonb")
        parts: dict[str, Schema] = {f.name: {} for f in own if structured(f.scalar.schema(f.type, f.bounds))}
        if not parts:
            return self.update(resource)
        whole = self._update(resource)
        return self._keep(f"{name_of(resource)}_patch", lambda: {**whole, "properties": whole["properties"] | parts})

    def replace(self, resource: Resource) -> Schema:
        """The body of a replace: that of an update with the fields that have no default; what a read shows beside them may
        stand in it as it is stored."""
        required = [f.name for f in resource.fields.values() if f.updatable and f.required]
        whole = self._update(resource, required)
        kept = {f.name: KEPT for f in resource.fields.values() if f.shown and f.name not in whole["properties"]}
        return self._keep(f"{name_of(resource)}_replace", lambda: {**whole, "properties": kept | whole["properties"]})

    def _nested(self, resource: Resource, letter: str) -> dict[str, Schema]:
        found = {}
        for nested in resource.entity.nested:
            child = self.catalog.find(resource.scope.name, nested.entity)
            if letter in nested.on:
                found[nested.key] = {"type": "array", "items": self.create(child, nested.link(child.entity))}
        return found

    def status(self, resource: Resource) -> Schema:
        """The body of the status route."""
        states = list(resource.machine.states)
        members: Schema = {
            "status": self._state(resource),
            **_version(resource),
            "reason": {"type": ["string", "null"], "maxLength": 500, "description": "Printable characters"},
        }
        return self._keep(
            f"{name_of(resource)}_status", lambda: closed(members, ["status"], examples=[{"status": states[-1]}])
        )

    # -- answers that are no row

    def transitions(self, resource: Resource) -> Schema:
        """What may happen now, and why the rest may not."""
        state = self._state(resource)
        reason = self._keep("TransitionReason", lambda: {"type": "string", "enum": list(REASONS)})
        way: Schema = {"status": state, "allowed": {"type": "boolean"}, "reason": {"anyOf": [reason, NULL]}}
        ways = self._keep(f"{name_of(resource)}_transition", lambda: closed(way, list(way)))
        members: Schema = {"status": state, "transitions": {"type": "array", "items": ways}}
        return self._keep(f"{name_of(resource)}_transitions", lambda: closed(members, list(members)))

    def _state(self, resource: Resource) -> Schema:
        """A state of the machine: what the status column chooses from, else active or inactive."""
        field = resource.fields.get("status") if resource.stateful else None
        states: Schema = {"type": "string", "enum": list(resource.machine.states)}
        name, schema = (field and choice_of(resource, field)) or ("Activity", states)
        return self._keep(name, lambda: schema)

    def record(self, resource: Resource, names: tuple[str, ...]) -> Schema:
        """One record of a row's history, as the change log of the scope keeps it."""
        log = self.catalog.roles.get((resource.scope.name, "change_log"))
        fields = {name: self._shown(log, log.fields[name]) for name in names if log is not None and name in log.fields}
        return self._keep(f"{resource.scope.name}_history", lambda: closed(fields, list(fields)))
