"""Table + Entity -> frozen Resource: what start-up knows of an entity, so that no request has to look it up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from sqlalchemy import Table

from engine.behaviours import with_implied
from engine.constraints import constraint_codes
from engine.entity import LETTERS, OWN, Entity, Machine, Marks, Unique
from engine.errors import StartupFault
from engine.fields import Field, engine_set, stored_field, virtual_field
from engine.hooks import Identity, Point, Rule, Rules
from engine.ordering import in_order
from engine.relations import Relation, relations_of
from engine.shapes import NO_RULES, RowRule
from engine.types import RIGHTS, Op, Principal, Scope

MANY = {Op.UPDATE: Op.UPDATE_MANY, Op.DELETE: Op.DELETE_MANY}


@dataclass(frozen=True)
class Reference:
    """A foreign key from a child's column to this resource's column `target`, and what soft delete does to it. `more`: the
    other (column, target) pairs of a key of several columns."""

    child: str
    column: str
    on_delete: str
    target: str = "id"
    more: tuple[tuple[str, str], ...] = ()

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """(column, target) of each column."""
        return ((self.column, self.target), *self.more)


@dataclass(frozen=True)
class RowLimit:
    """A rule about which rows belong to a caller, for these rights, unless he has a permission."""

    rule: RowRule
    rights: frozenset[str]
    unless: str = ""

    def holds(self, principal: Principal) -> bool:
        """Whether the caller is bound by it. The engine itself is not."""
        engine = principal.everything and principal.user_id is None
        return not engine and not (self.unless and principal.may(self.unless))


def sensitive(domain: str) -> str:
    """The permission that lifts the masks of a domain's columns."""
    return f"{domain}.sensitive.read"


@dataclass(frozen=True, eq=False)
class Resource:
    """One entity, compiled. Identity is the path `scope/domain/entity`."""

    path: str
    scope: Scope
    entity: Entity
    table: Table
    fields: Mapping[str, Field]
    keys: tuple[str, ...]
    ops: frozenset[Op]
    machine: Machine
    hooks: Mapping[Point, tuple[Rule, ...]]
    constraints: Mapping[str, tuple[str, tuple[str, ...]]]
    reference_columns: tuple[str, ...] = ()
    header: Resource | None = None
    relations: Mapping[str, Relation] = field(default_factory=dict)
    # by their columns joined with commas: what `upsert?on=` may name
    unique_keys: Mapping[str, Unique] = field(default_factory=dict)
    # None: `engine.row_rules` has not seen the entity yet
    row_limits: tuple[RowLimit, ...] | None = None
    # of the entities that a write refers to (by the columns that do) or shows beside (by none)
    beside: tuple[tuple[frozenset[str], Resource], ...] = ()

    @property
    def key(self) -> str:
        """`domain.entity`."""
        return self.entity.key

    @cached_property
    def permissions(self) -> dict[Op, str]:
        """The permission that each operation needs."""
        return {op: f"{self.key}.{RIGHTS[op]}" for op in Op}

    def needed(self, op: Op) -> tuple[str, ...]:
        """All that an operation needs: an upsert updates too, and whoever chooses rows by a filter looks into them."""
        more = {Op.UPSERT: Op.UPDATE, Op.UPDATE_MANY: Op.LIST, Op.DELETE_MANY: Op.LIST}.get(op, op)
        return tuple(dict.fromkeys((self.permissions[op], self.permissions[more])))

    @cached_property
    def sensitive(self) -> str:
        """The permission that lifts the mask of masked columns."""
        return sensitive(self.entity.domain)

    @cached_property
    def shown(self) -> tuple[Field, ...]:
        """Fields of a read, in order."""
        return tuple(field for field in self.fields.values() if field.shown)

    @cached_property
    def columns(self) -> tuple[Field, ...]:
        """Fields that are stored."""
        return tuple(field for field in self.fields.values() if field.column is not None)

    @cached_property
    def by_uuid(self) -> bool:
        """Whether one uuid `id` is the key, as it usually is; else keys travel as a record set."""
        return self.keys == ("id",) and self.fields["id"].scalar.name == "uuid"

    @cached_property
    def numbered(self) -> bool:
        """Whether the database makes the key."""
        return any(self.fields[name].generated for name in self.keys)

    @cached_property
    def stateful(self) -> bool:
        """Whether there is a status column (else is_active plays that part)."""
        return self.entity.machine is not None

    @cached_property
    def marks(self) -> Marks:
        """The columns that play the engine's parts."""
        return self.entity.marks

    @cached_property
    def foreign(self) -> bool:
        """Whether the table is somebody else's: its database gives keys and defaults, and registration adds nothing."""
        return self.marks is not OWN

    @cached_property
    def triggered(self) -> bool:
        """Whether triggers carry out writes, as of some views: rows that cannot be locked, and are read again afterwards."""
        return bool(self.table.info.get("triggered"))

    @cached_property
    def soft(self) -> bool:
        """Whether a deleted row stays, and can come back."""
        return bool(self.marks.active)

    @cached_property
    def versioned(self) -> bool:
        """Whether rows count their versions; else a digest of the row tells one state from another."""
        return bool(self.marks.version)

    @cached_property
    def defaults(self) -> tuple[tuple[str, Callable[[], Any]], ...]:
        """Values of columns that a body may leave out."""
        return tuple((field.name, field.default) for field in self.columns if field.default is not None)

    @cached_property
    def settable(self) -> frozenset[str]:
        """Columns that an insert always names, so that an entity has one insert statement whatever the body gives."""
        if self.foreign:
            return frozenset(f.name for f in self.columns if f.creatable and f.name not in self.silent)
        given = ((f.name, f.column) for f in self.columns if not f.generated)
        return frozenset(name for name, column in given if column is not None and not engine_set(self.entity, column))

    @cached_property
    def silent(self) -> frozenset[str]:
        """Columns of somebody else's table that have a default there, for rows that do not give them."""
        has = (f.name for f in self.columns if f.column is not None and f.column.server_default is not None)
        return frozenset(has) if self.foreign else frozenset()

    @cached_property
    def nested(self) -> dict[str, Any]:
        """Child sets accepted inside the body, by key."""
        return {nested.key: nested for nested in self.entity.nested}

    @cached_property
    def json_columns(self) -> tuple[str, ...]:
        """Columns that the wire brings as JSON text."""
        return tuple(field.name for field in self.columns if field.scalar.name == "jsonb")

    def limits(self, principal: Principal, right: str, names: Collection[str] | None = None) -> frozenset[RowRule]:
        """The rules that say which rows the caller has for a right; those that look at one of `names` (None = any)."""
        if self.row_limits is None:
            # nobody may forget a rule: without the road over `engine.row_rules` there are none
            assert not self.entity.rows and self.entity.owner is None, f"the row rules of {self.path} are not compiled"
            return NO_RULES
        if not self.row_limits:
            return NO_RULES
        return frozenset(
            limit.rule
            for limit in self.row_limits
            if right in limit.rights
            and (names is None or set(limit.rule.columns) & set(names))
            and limit.holds(principal)
        )

    def seen_beside(self, principal: Principal, names: Collection[str] = ()) -> frozenset[RowRule]:
        """The rules of rows that a write of these columns refers to, and of child rows that are shown in the row."""
        if not self.beside:
            return NO_RULES
        rows = (other for columns, other in self.beside if not columns or columns & set(names))
        return frozenset(rule for other in rows for rule in other.limits(principal, "read"))

    def hooked(self, *points: Point, names: Collection[str] | None = None) -> bool:
        """Whether any hook runs at one of the points, for a create or update that gives `names` (None = any)."""
        return self._hooked(points, None if names is None else frozenset(names))

    @cached_property
    def _hooked(self) -> Callable[[tuple[Point, ...], frozenset[str] | None], bool]:
        def hooked(points: tuple[Point, ...], names: frozenset[str] | None) -> bool:
            return any(names is None or rule.listens(names) for point in points for rule in self.hooks.get(point, ()))

        return lru_cache(maxsize=256)(hooked)

    @cached_property
    def ruleless_sources(self) -> dict[str, tuple[str, ...]]:
        """State -> the states from which a caller enters it without any rule looking on."""
        points = (Point.BEFORE_STATUS, Point.AFTER_STATUS, Point.DONE)
        rules = [rule for point in points for rule in self.hooks.get(point, ())]
        if any(not rule.edges for rule in rules):
            return {}
        ruled = {edge for rule in rules for edge in rule.edges}
        return {
            to: tuple(s for s in self.machine.sources(to) if f"{s}>{to}" not in ruled) for to in self.machine.states
        }


@dataclass(frozen=True, eq=False)
class Catalog:
    """All resources. `incoming` maps a path to the foreign keys that point at it."""

    scopes: Mapping[str, Scope]
    resources: Mapping[str, Resource]
    incoming: Mapping[str, tuple[Reference, ...]]
    identity: Identity | None = None
    # what the parameters of row rules are for a caller, by name
    row_values: Mapping[str, Callable[[Principal], Any]] = field(default_factory=dict)
    # of a caller's view: the catalogue of which it shows a part
    origin: Catalog | None = None

    @property
    def whole(self) -> Catalog:
        """Everything there is, whoever asks."""
        return self.origin or self

    def find(self, scope: str, key: str) -> Resource:
        """The resource `domain.entity` of a scope. KeyError when there is none."""
        return self.resources[f"{scope}/{key.replace('.', '/', 1)}"]

    @cached_property
    def roles(self) -> dict[tuple[str, str], Resource]:
        """(scope, role) -> the entity that plays it, such as the change log. Scopes of one database share theirs."""
        played = [r for r in self.resources.values() if r.entity.role]
        shared = {
            (scope.name, str(r.entity.role)): r
            for scope in self.scopes.values()
            for r in played
            if (r.scope.stored_in, r.scope.tenant_bound) == (scope.stored_in, scope.tenant_bound)
        }
        return shared | {(r.scope.name, str(r.entity.role)): r for r in played}

    @cached_property
    def unlockable(self) -> frozenset[str]:
        """Scopes with rows that cannot be locked."""
        return frozenset(resource.scope.name for resource in self.resources.values() if resource.triggered)

    @cached_property
    def permissions(self) -> dict[bool, frozenset[str]]:
        """All permission codes: of the scopes whose rows belong to tenants (True), and of the others (False)."""
        return {
            of_tenants: frozenset(
                code
                for resource in self.resources.values()
                if resource.scope.tenant_bound == of_tenants
                for code in (*(resource.permissions[op] for op in resource.ops), *resource.entity.permissions)
            )
            for of_tenants in (True, False)
        }


def compile_catalog(
    scopes: Iterable[Scope], entities: Iterable[Entity], rules: Iterable[Rules], identity: Identity | None = None
) -> Catalog:
    """Compile every declaration. Raises StartupFault with all faults at once."""
    by_metadata = {id(scope.metadata): scope for scope in scopes}
    known: dict[str, Entity] = {}
    for entity in entities:
        scope = by_metadata.get(id(entity.table.metadata))
        if scope is None:
            raise StartupFault(
                f"{entity.key}: its MetaData belongs to no Scope; list it in `scopes = [Scope(...)]` of the package"
            )
        known[f"{scope.name}/{entity.domain}/{entity.name}"] = entity
    by_entity = _rules_by_entity(with_implied(known, (rule for domain in rules for rule in domain.rules)))
    if unknown := by_entity.keys() - known.keys():
        raise StartupFault(f"hooks for entities that are not registered: {sorted(unknown)}")
    resources = {
        path: _resource(by_metadata[id(entity.table.metadata)], entity, by_entity.get(path, ()))
        for path, entity in known.items()
    }
    _connect(resources)
    incoming = _incoming(resources)
    for path, relations in relations_of(incoming, resources).items():
        object.__setattr__(resources[path], "relations", relations)
    return Catalog({scope.name: scope for scope in by_metadata.values()}, resources, incoming, identity)


def _connect(resources: Mapping[str, Resource]) -> None:
    """Say of each resource which of its references name registered entities, and which document it is a line of."""
    # where rows are really deleted the database itself looks after references
    tables = {(r.scope.name, r.table.fullname): r.soft for r in resources.values()}
    for resource in resources.values():
        known = tuple(
            f.name for f in resource.columns if f.references and tables.get((resource.scope.name, f.references))
        )
        object.__setattr__(resource, "reference_columns", known)
        if resource.entity.parent:
            header = resources.get(f"{resource.scope.name}/{resource.entity.parent[0].replace('.', '/', 1)}")
            document = header is not None and header.entity.kind == "document" and header.stateful
            object.__setattr__(resource, "header", header if document else None)


def _rules_by_entity(rules: Iterable[Rule]) -> dict[str, tuple[Rule, ...]]:
    found: dict[str, tuple[Rule, ...]] = {}
    for rule in rules:
        found[rule.entity] = (*found.get(rule.entity, ()), rule)
    return found


def _resource(scope: Scope, entity: Entity, rules: tuple[Rule, ...]) -> Resource:
    table = entity.table
    own = entity.marks is OWN
    ordered = sorted(table.c, key=lambda c: (c.key != "id", engine_set(entity, c))) if own else [*table.c]
    names = [str(c.key) for c in ordered]
    fields = {name: stored_field(entity, table.c[name]) for name in names}
    fields |= {virtual.name: virtual_field(virtual) for virtual in entity.virtual}
    keys = tuple(str(c.key) for c in table.primary_key.columns if not c.info.get("tenant"))
    unique_keys = unique_keys_of(entity, fields, keys)
    return Resource(
        path=f"{scope.name}/{entity.domain}/{entity.name}",
        scope=scope,
        entity=entity,
        table=table,
        fields=fields,
        keys=keys,
        ops=_operations(entity, upserts=bool(unique_keys)),
        machine=entity.life,
        hooks={point: in_order(rule for rule in rules if point in rule.points) for point in Point},
        constraints=constraint_codes(table, entity),
        unique_keys=unique_keys,
    )


def unique_keys_of(entity: Entity, fields: Mapping[str, Field], keys: tuple[str, ...]) -> dict[str, Unique]:
    """The unique keys whose columns a creation may give and everybody may see; the key of the rows, where callers give it."""
    declared = [key if isinstance(key, Unique) else Unique((key,)) for key in entity.unique]
    found = {",".join(key.columns): key for key in (*declared, Unique(keys)) if key.columns}
    return {name: key for name, key in found.items() if all(_open(fields[column]) for column in key.columns)}


def _open(field: Field) -> bool:
    return field.creatable and field.shown and not field.masked and not field.encrypted


def _operations(entity: Entity, *, upserts: bool) -> frozenset[Op]:
    ops = {Op(LETTERS[letter]) for letter in entity.operations}
    if Op.UPDATE in ops:
        ops.add(Op.REPLACE)
    if Op.STATUS in ops:
        ops.add(Op.TRANSITIONS)
    if Op.GET in ops:
        ops.add(Op.HISTORY)
    if Op.LIST in ops:
        ops |= {Op.QUERY, Op.EXPORT}
    if Op.CREATE in ops:
        ops.add(Op.IMPORT)
    # many rows have many versions: where one must be named, they are written one by one
    if not entity.require_version:
        ops |= {many for one, many in MANY.items() if {one, Op.LIST} <= ops}
        ops |= {Op.UPSERT} if upserts and {Op.CREATE, Op.UPDATE} <= ops else set()
    return frozenset(ops)


def _incoming(resources: Mapping[str, Resource]) -> dict[str, tuple[Reference, ...]]:
    paths = {(r.scope.name, r.table.fullname): path for path, r in resources.items()}
    found: dict[str, tuple[Reference, ...]] = {}
    for path, resource in resources.items():
        for rule in resource.table.foreign_key_constraints:
            target = paths.get((resource.scope.name, rule.referred_table.fullname))
            pairs = [(e.parent.key, e.column.key) for e in rule.elements if not e.parent.info.get("tenant")]
            if target and pairs:
                kind = (rule.ondelete or "RESTRICT").split("(")[0].strip().upper()
                (column, named), *more = pairs
                found[target] = (*found.get(target, ()), Reference(path, column, kind, named, tuple(more)))
    return found
