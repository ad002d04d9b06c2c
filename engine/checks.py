"""Start-up rules, numbered. Each is a small function; all faults are reported at once, a line each, with the way out.

The rules read declarations as they were written: registration has not yet added its columns, so a rule that asks for a
column asks `columns_of`. A number is never given twice, for people search for it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey

import engine.checks_behaviour
import engine.checks_jobs  # noqa: F401  its rules enter the list
from engine.declared import CHECKS, COMMON, Declared, columns_of, each, machine_of, near, overall, unknown_columns
from engine.entity import LETTERS, Entity, Machine, Unique
from engine.errors import StartupFault
from engine.hooks import Rules
from engine.jobs import Jobs
from engine.scalars import scalar_of
from engine.types import Scope

SEGMENT = re.compile(r"[a-z][a-z0-9_-]*").fullmatch
FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch
RESERVED = frozenset({"auth", "health", "metrics", "docs", "scalar"})
MAX_STATE = 24
# what the engine itself reads and writes of an entity that plays a role
ROLE_COLUMNS: dict[str, tuple[str, ...]] = {
    "change_log": ("id", "occurred_at", "domain", "entity", "entity_id", "action", "changes"),
    "number_sequences": ("id", "code", "prefix", "padding", "reset", "gapless", "current_year", "next_value"),
    "jobs": ("id", "handler", "payload", "timeout_seconds"),
    "job_runs": ("id", "job_id", "scheduled_for", "started_at", "finished_at", "worker", "output", "error"),
}
# what a writing statement can fill in a change log beside them
LOGGED = frozenset({"scope", "tenant_id", "actor_id", "actor_email", "outcome", "ip", "user_agent", "request_id"})
NAMING = ("search", "once", "read_only", "hidden", "masked", "encrypted", "live", "auto")


def check_declarations(
    scopes: Sequence[Scope], entities: Sequence[Entity], rules: Sequence[Rules], jobs: Sequence[Jobs] = ()
) -> None:
    """Run every rule. StartupFault lists what was found, a line each."""
    declared = Declared(scopes, entities, rules, jobs)
    faults = [f"{number} {fault}" for number, check in sorted(CHECKS.items()) for fault in check(declared)]
    if faults:
        raise StartupFault("The declarations do not fit:\n" + "\n".join(faults))


def check_scope(scope: Scope, others: Sequence[Scope]) -> None:
    """The name of a scope that no package declares. StartupFault when it is taken, or cannot begin a path."""
    taken = {name for other in others for name in (other.name, other.stored_in)}
    if not SEGMENT(scope.name) or scope.name in RESERVED | taken:
        raise StartupFault(
            f"scope {scope.name!r} is taken, or cannot begin a path; choose another of lower-case letters, digits and -"
        )


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _target(key: ForeignKey) -> str:
    return str(key.target_fullname)


def _points_at(column: Column[Any], entity: Entity) -> bool:
    return any(_target(key) == f"{entity.table.fullname}.id" for key in column.foreign_keys)


def _filled(column: Column[Any]) -> bool:
    return bool(column.nullable) or column.default is not None or column.server_default is not None


@each("E001")
def names_are_columns(_declared: Declared, entity: Entity) -> Iterator[str]:
    """Each name in label, search, once, read_only, hidden, masked, encrypted, live and auto is a column."""
    pairs = [(option, name) for option in NAMING for name in getattr(entity, option)]
    yield from unknown_columns(entity, [("label", entity.label), *pairs])


@each("E002")
def keys_are_columns(_declared: Declared, entity: Entity) -> Iterator[str]:
    """Each name in unique, number, tree and parent is a column."""
    pairs = [("unique", name) for key in entity.unique for name in (key.columns if isinstance(key, Unique) else (key,))]
    pairs += [("number", entity.number.column)] if entity.number else []
    pairs += [("tree", entity.tree)] if entity.tree else []
    pairs += [("parent", entity.parent[1])] if entity.parent else []
    yield from unknown_columns(entity, pairs)


@each("E003")
def fields_have_one_meaning(_declared: Declared, entity: Entity) -> Iterator[str]:
    """A virtual field or a nested key has a name of its own."""
    extra = [*(virtual.name for virtual in entity.virtual), *(nested.key for nested in entity.nested)]
    for name in extra:
        if name in columns_of(entity):
            yield f"{name!r} is a column as well as a virtual or nested field; rename one"
    for name in _twice(extra):
        yield f"{name!r} is declared twice among virtual and nested; rename one"


@each("E004")
def field_names_are_plain(_declared: Declared, entity: Entity) -> Iterator[str]:
    """A field can be named in filter[...], and its column has one name."""
    for column in entity.table.c:
        if not FIELD(column.name):
            yield f"column {column.name!r} cannot be written in a filter; use letters, digits and _"
        elif column.key != column.name:
            yield f"column {column.name!r} has the key {column.key!r}; leave key= out"


@each("E005")
def search_reads_text(_declared: Declared, entity: Entity) -> Iterator[str]:
    """Searched columns hold text."""
    for name in entity.search:
        if name in entity.table.c and not isinstance(entity.table.c[name].type, sa.String):
            yield f"search names {name!r}, which is no text; filter[{name}] finds it"


@each("E006")
def letters_are_known(_declared: Declared, entity: Entity) -> Iterator[str]:
    """Operations are letters of the list, each once."""
    known = ", ".join(f"{letter}={word}" for letter, word in LETTERS.items())
    for letter in sorted(set(entity.operations) - set(LETTERS)):
        yield f"operations has {letter!r}; letters are {known}"
    for letter in _twice(entity.operations):
        yield f"operations has {letter!r} twice; keep one"


@each("E007")
def machines_parse(_declared: Declared, entity: Entity) -> Iterator[str]:
    """The machine's text can be read: one initial state, only listed states."""
    try:
        Machine.parse(entity.machine or "one*")
    except ValueError as wrong:
        yield f"machine {wrong}"


@each("E008")
def states_can_be_reached(_declared: Declared, entity: Entity) -> Iterator[str]:
    """Each state is listed once, can be reached and fits its column."""
    machine = machine_of(entity)
    if machine is None:
        return
    reached, edges = {machine.initial}, machine.edges | machine.reserved
    for _ in machine.states:
        reached |= {target for source, target in edges if source in reached}
    for state in (state for state in machine.states if state not in reached):
        yield f"no edge leads to the state {state!r}; add one, or drop the state"
    for state in _twice(machine.states):
        yield f"the state {state!r} is listed twice; keep one"
    for state in (state for state in machine.states if len(state) > MAX_STATE):
        yield f"the state {state!r} is longer than {MAX_STATE} characters; shorten it"


@each("E009")
def headers_are_registered(declared: Declared, entity: Entity) -> Iterator[str]:
    """`parent` and `nested` name entities of the same scope."""
    named = [("nested", nested.entity) for nested in entity.nested]
    named += [("parent", entity.parent[0])] if entity.parent else []
    for option, key in named:
        if declared.find(entity, key) is None:
            known = [other.key for other in declared.entities]
            yield f"{option} names {key!r}, which is no entity of its scope{near(key, known)}"


@each("E010")
def nested_children_point_back(declared: Declared, entity: Entity) -> Iterator[str]:
    """A nested entity declares its header as parent."""
    for nested in entity.nested:
        child = declared.find(entity, nested.entity)
        if child is None:
            continue
        column = child.table.c.get(nested.via)
        if nested.via and (column is None or not _points_at(column, entity)):
            yield f"nests {child.key} via {nested.via!r}, which does not refer to {entity.key}"
        if not nested.via and (child.parent is None or child.parent[0] != entity.key):
            yield f"nests {child.key}, which must say parent=({entity.key!r}, <its reference column>), or give via="


@each("E011")
def parent_columns_refer(declared: Declared, entity: Entity) -> Iterator[str]:
    """A parent's column is a foreign key to that header."""
    header = declared.find(entity, entity.parent[0]) if entity.parent else None
    column = entity.table.c.get(entity.parent[1]) if entity.parent else None
    if header is not None and column is not None and not _points_at(column, header):
        yield f"parent column {column.name!r} does not refer to {header.key}; use reference({header.table.fullname!r})"


@each("E012")
def trees_refer_to_themselves(_declared: Declared, entity: Entity) -> Iterator[str]:
    """A tree's column is a nullable foreign key to the same table."""
    column = entity.table.c.get(entity.tree or "")
    if column is None:
        return
    if not _points_at(column, entity):
        yield f"tree column {entity.tree!r} does not refer to its own table; use reference({entity.table.fullname!r})"
    elif not column.nullable:
        yield f"tree column {entity.tree!r} must be nullable, or there could be no root"


@each("E013")
def columns_have_a_scalar(_declared: Declared, entity: Entity) -> Iterator[str]:
    """Each column and virtual field has a type that can be read and shown."""
    for owner in (*entity.table.c, *entity.virtual):
        try:
            scalar_of(owner.type)
        except KeyError as missing:
            yield f"{owner.name}: {missing.args[0]}"


@overall("E014")
def scope_names_fit_urls(declared: Declared) -> Iterator[str]:
    """A scope's name is a path segment that the server does not use itself."""
    for scope in declared.scopes:
        if not SEGMENT(scope.name):
            yield f"scope {scope.name!r} cannot be a path segment; use lower-case letters, digits and _ or -"
        elif scope.name in RESERVED:
            yield f"scope {scope.name!r}: the server has routes of that name; choose another"


@each("E015")
def entity_names_fit_urls(_declared: Declared, entity: Entity) -> Iterator[str]:
    """Domain and entity are path segments as they stand."""
    for part in (part for part in (entity.domain, entity.name) if not SEGMENT(part)):
        yield f"{part!r} cannot be a path segment; use lower-case letters, digits and _ in names of schemas and tables"


@overall("E016")
def paths_are_unique(declared: Declared) -> Iterator[str]:
    """One entity a path."""
    for path in _twice(declared.path_of(entity) for entity in declared.entities):
        yield f"{path}: two entities have this path; one table has one Entity, and tables a-b and a_b are one name"


@overall("E017")
def scopes_are_unique(declared: Declared) -> Iterator[str]:
    """One scope a name, one a MetaData."""
    for name in _twice(scope.name for scope in declared.scopes):
        yield f"scope {name!r} is declared twice; packages that share a scope import the one Scope"
    for identity in dict.fromkeys(id(scope.metadata) for scope in declared.scopes):
        names = dict.fromkeys(scope.name for scope in declared.scopes if id(scope.metadata) == identity)
        if len(names) > 1:
            yield f"scopes {', '.join(names)} share one MetaData; give each its own"


@each("E018")
def entities_belong_to_a_scope(declared: Declared, entity: Entity) -> Iterator[str]:
    """Each entity's MetaData belongs to a scope."""
    if declared.scope_of(entity) is None:
        yield "its MetaData belongs to no Scope; list it in `scopes = [Scope(name, Base.metadata)]` of the package"


@overall("E019")
def one_entity_plays_a_role(declared: Declared) -> Iterator[str]:
    """A database has one change log, one set of number sequences."""
    played = Counter((declared.place_of(entity), str(entity.role)) for entity in declared.entities if entity.role)
    for ((database, _), role), count in played.items():
        if count > 1:
            yield f"database {database!r} has {count} entities with role={role!r}; keep it on one"


@each("E020")
def roles_have_their_columns(_declared: Declared, entity: Entity) -> Iterator[str]:
    """An entity that plays a role has the columns that the engine uses, and demands no others."""
    wanted = ROLE_COLUMNS.get(entity.role or "", ())
    known = {*wanted, *LOGGED, *COMMON}
    for name in (name for name in wanted if name not in columns_of(entity)):
        yield f"as {entity.role} it needs the column {name!r}"
    for column in entity.table.c if entity.role == "change_log" else ():
        if column.name not in known and not (column.nullable or column.server_default):
            yield f"no write fills {column.name!r} of a change log; make it nullable, or give it a server default"


@each("E021")
def numbers_have_sequences(declared: Declared, entity: Entity) -> Iterator[str]:
    """A numbered entity has sequences in its database, and its moment exists."""
    number, machine = entity.number, machine_of(entity)
    if number is None:
        return
    places = [declared.place_of(other) for other in declared.entities if other.role == "number_sequences"]
    if declared.place_of(entity) not in places:
        yield "is numbered, but no entity of its database has role='number_sequences'; register one"
    if number.at not in ("create", *(machine.states if machine else ())):
        yield f"number at={number.at!r} is neither 'create' nor one of its states"


@overall("E022")
def hooks_have_entities(declared: Declared) -> Iterator[str]:
    """Rules are bound to registered entities."""
    known = [declared.path_of(entity) for entity in declared.entities]
    for rule in (rule for domain in declared.rules for rule in domain.rules):
        if rule.entity not in known:
            yield f"rule {rule.id} is bound to {rule.entity!r}, which is not registered{near(rule.entity, known)}"


@each("E023")
def secrets_are_not_shown(_declared: Declared, entity: Entity) -> Iterator[str]:
    """A hidden, masked or encrypted column is neither searched nor the label, which would tell what it holds."""
    for name in sorted({*entity.hidden, *entity.masked, *entity.encrypted}):
        for option, names in (("search", entity.search), ("label", (entity.label,))):
            if name in names:
                yield f"{name!r} is hidden, masked or encrypted; take it out of {option}"


@each("E024")
def secrets_are_text(_declared: Declared, entity: Entity) -> Iterator[str]:
    """Encrypted columns hold text or jsonb, and reads do not show the cipher."""
    for name in (name for name in entity.encrypted if name in entity.table.c):
        if not isinstance(entity.table.c[name].type, (sa.String, sa.JSON)):
            yield f"encrypted column {name!r} must be a text or jsonb, for the cipher is a text"
        if name not in (*entity.hidden, *entity.masked):
            yield f"encrypted column {name!r} must be hidden or masked too, or reads show its cipher"


@each("E025")
def flags_do_not_contradict(_declared: Declared, entity: Entity) -> Iterator[str]:
    """What the engine sets cannot be given once, and live columns can be changed."""
    for name in sorted(set(entity.once) & set(entity.read_only)):
        yield f"{name!r} is both once and read_only; keep one"
    for name in sorted(set(entity.live) & {*entity.once, *entity.read_only}):
        yield f"{name!r} is live, yet nobody may change it; drop live, once or read_only"


@each("E026")
def primary_keys_are_whole(_declared: Declared, entity: Entity) -> Iterator[str]:
    """The primary key is there or can be added, and is never null."""
    keys = list(entity.table.primary_key.columns)
    if not keys and "id" in entity.table.c:
        yield "has a column id that is no primary key; say primary_key=True"
    for column in (column for column in keys if column.nullable):
        yield f"primary key column {column.name!r} is nullable; say nullable=False"


@each("E027")
def defaults_are_known(_declared: Declared, entity: Entity) -> Iterator[str]:
    """A nullable column with a server default has one in Python too: the insert writes null where a row is silent."""
    for column in (column for column in entity.table.c if column.nullable and column.computed is None):
        if column.server_default is not None and column.default is None:
            yield f"{column.name!r} is nullable with a server default only; add default=, or say nullable=False"


@each("E028")
def hidden_columns_are_filled(_declared: Declared, entity: Entity) -> Iterator[str]:
    """Nobody must give a column that does not exist for callers."""
    for name in (name for name in entity.hidden if name in entity.table.c):
        if not _filled(entity.table.c[name]) and name not in (*entity.read_only, *entity.auto):
            yield f"hidden column {name!r} is required at create; give it a default, or list it in read_only or auto"


@each("E029")
def tenants_are_bound_by_the_engine(declared: Declared, entity: Entity) -> Iterator[str]:
    """In a tenant-bound scope tenant_id comes from registration."""
    own = entity.table.c.get("tenant_id")
    if declared.place_of(entity)[1] and own is not None and not own.info.get("tenant"):
        yield "declares tenant_id, which registration adds in a tenant-bound scope; drop the column"


@each("E030")
def references_stay_inside(_declared: Declared, entity: Entity) -> Iterator[str]:
    """A foreign key ends in a table of the same MetaData: databases cannot refer to each other."""
    for key in sorted(entity.table.foreign_keys, key=_target):
        if _target(key).rpartition(".")[0] not in entity.table.metadata.tables:
            yield f"{key.parent.name!r} refers to {_target(key)!r}, which is no table of its scope; use outside()"


@each("E031")
def common_columns_fit(_declared: Declared, entity: Entity) -> Iterator[str]:
    """A common column that the model declares itself has the type that the engine writes."""
    for name in (name for name in COMMON if name in entity.table.c):
        wanted, found = COMMON[name].type, entity.table.c[name].type
        kind = next(kind for kind in (sa.Boolean, sa.Integer, sa.DateTime, sa.Uuid) if isinstance(wanted, kind))
        if not isinstance(found, kind):
            yield f"{name!r} is {found!r}, but the engine writes {wanted!r} there; change its type or its name"


@each("E032")
def choices_hold_their_default(_declared: Declared, entity: Entity) -> Iterator[str]:
    """A default is one of its column's choices."""
    for column in entity.table.c:
        default: Any = column.default
        choices = column.type.enums if isinstance(column.type, sa.Enum) else None
        if choices and default is not None and default.is_scalar and default.arg not in choices:
            yield f"default {default.arg!r} of {column.name!r} is none of {', '.join(choices)}"


@each("E033")
def identities_can_be_given(_declared: Declared, entity: Entity) -> Iterator[str]:
    """The engine draws numbers itself, to write the row and its record at once."""
    for column in entity.table.c:
        if column.identity is not None and column.identity.always:
            yield f"{column.name!r} is GENERATED ALWAYS, so its number cannot be drawn beforehand; use Identity()"
