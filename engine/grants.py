"""The policy file: roles x entities x operations x fields x rows, in TOML, compiled against the catalogue. Pure.

[roles.sales."shop.orders"]
operations = ["read", "update"]
fields = { read = ["*"], write = ["status", "note"] }
hidden = ["margin"]
rows = { field = "owner_id", op = "eq", value = "$caller.id" }

What no role grants is denied. Of the patterns of a role that fit an entity the closest alone counts. A pattern may begin with the
scope: "shop/orders.*".
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from engine.catalog import Catalog, Resource, sensitive
from engine.declared import near
from engine.errors import StartupFault
from engine.row_rules import RIGHTS, Compiler
from engine.scalars import BadValue

Table = Mapping[str, Any]
ALL = "*"
WORDS = ("operations", "fields", "hidden", "rows")
PURPOSES = ("read", "write", "create", "update")


@dataclass(frozen=True)
class Share:
    """What one role may do with one entity: rights, the fields of each purpose, and for each right the rows (absent = all)."""

    rights: frozenset[str]
    read: frozenset[str]
    create: frozenset[str]
    update: frozenset[str]
    rows: Mapping[str, Any]


@dataclass(frozen=True)
class Role:
    """A role: its shares by the path of the entity, and permissions beside those of operations."""

    shares: Mapping[str, Share]
    permissions: frozenset[str] = frozenset()


@dataclass
class Grants:
    """A policy: every role that it knows."""

    roles: dict[str, Role] = field(default_factory=dict)


def read_grants(path: Path, catalog: Catalog) -> Grants:
    """The policy of a file. StartupFault lists everything that does not fit."""
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, ValueError) as wrong:
        raise StartupFault(f"P001 the policy {path} cannot be read: {wrong}") from wrong
    return compile_grants(document, catalog)


def compile_grants(document: Table, catalog: Catalog) -> Grants:
    """The policy that a document says."""
    faults: list[str] = []
    for word in document.keys() - {"roles"}:
        faults.append(f"P002 the file has {word!r}; it has roles alone")
    grants = Grants()
    roles = document.get("roles", {})
    for name, said in roles.items() if isinstance(roles, dict) else ():
        if isinstance(said, dict):
            grants.roles[name] = _Reader(catalog, name, faults).read(said)
        else:
            faults.append(f"P002 roles.{name} must be a table")
    if not grants.roles:
        faults.append('P002 the file grants nothing; it begins [roles.<role>."<domain>.<entity>"]')
    if faults:
        raise StartupFault("The policy does not fit:\n" + "\n".join(sorted(faults)))
    return grants


def check_apart(catalog: Catalog) -> None:
    """StartupFault where one permission would open the entities of two scopes to the same callers."""
    faults = []
    places: dict[tuple[bool, str], list[str]] = {}
    for resource in catalog.resources.values():
        # whoever may read logs reads those of all databases
        if resource.entity.role != "change_log":
            places.setdefault((resource.scope.tenant_bound, resource.key), []).append(resource.scope.name)
    for (_, key), scopes in places.items():
        if len(scopes) > 1:
            faults.append(
                f"{key} stands in the scopes {' and '.join(sorted(scopes))}: {key}.read would open both; put one of them into "
                "another schema, leave it out (schemas), or serve it by another program"
            )
    if faults:
        raise StartupFault("Permissions do not tell apart:\n" + "\n".join(faults))


def _plain(resource: Resource) -> set[str]:
    """What every reader of a row needs beside its key, whatever a policy says."""
    marks = resource.marks
    named = {marks.version, marks.active, *(() if resource.foreign else ("status",))}
    return named & resource.fields.keys()


class _Reader:
    """Reads one role; `faults` gathers what is wrong."""

    def __init__(self, catalog: Catalog, role: str, faults: list[str]) -> None:
        self.catalog, self.role, self.faults = catalog, role, faults

    def fault(self, number: str, pattern: str, text: str) -> None:
        self.faults.append(f"{number} roles.{self.role}.{pattern}: {text}")

    def read(self, said: Table) -> Role:
        """The role, as far as it can be read."""
        patterns = [word for word in said if word != "permissions"]
        found: dict[str, tuple[str, Share]] = {}
        for pattern in sorted(patterns, key=_closeness):
            for resource in self._meant(pattern):
                share = self._share(resource, pattern, said[pattern])
                if share is not None:
                    found[resource.path] = (pattern, share)
        for path, (pattern, share) in found.items():
            self._sufficient(self.catalog.resources[path], pattern, share)
        shares = {path: share for path, (_, share) in found.items()}
        self._log_is_discreet(shares)
        return Role(shares, frozenset(self._permissions(said.get("permissions", []))))

    def _meant(self, pattern: str) -> list[Resource]:
        names = {r: f"{r.scope.name}/{r.key}" if "/" in pattern else r.key for r in self.catalog.resources.values()}
        found = [resource for resource, name in names.items() if fnmatchcase(name, pattern)]
        if not found:
            self.fault("P003", pattern, f"fits no entity{near(pattern, set(names.values()))}")
        elif len(found) > 1 and pattern in names.values():
            said = " or ".join(f"{resource.scope.name}/{pattern}" for resource in found)
            self.fault("P003", pattern, f"stands in several scopes; say {said}")
        return found

    def _permissions(self, said: Any) -> Iterator[str]:
        known = {code for r in self.catalog.resources.values() for code in r.entity.permissions}
        known |= {limit.unless for r in self.catalog.resources.values() for limit in r.row_limits or () if limit.unless}
        known |= {sensitive(r.entity.domain) for r in self.catalog.resources.values()}
        for code in _texts(said) if isinstance(said, list) else (said,):
            if code in known:
                yield code
            else:
                self.fault(
                    "P009",
                    "permissions",
                    f"{code!r} is no permission beside those of operations{near(str(code), known)}",
                )

    # -- one entity

    def _share(self, resource: Resource, pattern: str, said: Any) -> Share | None:
        if not isinstance(said, dict) or set(said) - set(WORDS):
            strangers = sorted(set(said) - set(WORDS)) if isinstance(said, dict) else [said]
            self.fault(
                "P002", pattern, f"has {strangers[0]!r}; it has {', '.join(WORDS)}{near(str(strangers[0]), WORDS)}"
            )
            return None
        rights = self._rights(pattern, said.get("operations", []))
        hidden = self._named(resource, pattern, ("hidden", said.get("hidden", [])))
        needed = {*resource.keys, *_plain(resource)}
        for name in hidden & needed:
            self.fault("P007", pattern, f"hidden names {name!r}, by which rows are known; it is always shown")
        fields = self._fields(resource, pattern, said.get("fields", {}))
        read = frozenset((fields["read"] - hidden) | needed)
        return Share(
            rights,
            read,
            fields["create"] - hidden,
            fields["update"] - hidden,
            self._rows(resource, pattern, (rights, said.get("rows"))),
        )

    def _rights(self, pattern: str, said: Any) -> frozenset[str]:
        words = _texts(said)
        for word in words:
            if word not in (*RIGHTS, ALL):
                self.fault(
                    "P004", pattern, f"{word!r} is no operation; they are {', '.join(RIGHTS)}, or *{near(word, RIGHTS)}"
                )
        if not words:
            self.fault("P004", pattern, "operations must be a list, such as ['read', 'update']")
        return frozenset(RIGHTS if ALL in words else words)

    def _fields(self, resource: Resource, pattern: str, said: Any) -> dict[str, frozenset[str]]:
        if not isinstance(said, dict) or set(said) - set(PURPOSES):
            self.fault("P002", pattern, f"fields has {', '.join(PURPOSES)}, each a list")
            said = {}
        write = said.get("write", [ALL])
        found = {"read": self._named(resource, pattern, ("fields.read", said.get("read", [ALL])))}
        for purpose in ("create", "update"):
            names = self._named(resource, pattern, (f"fields.{purpose}", said.get(purpose, write)))
            given = said.get(purpose, write)
            able = {name for name, one in resource.fields.items() if one.creatable or one.updatable}
            for name in sorted(names - able) if ALL not in given else ():
                self.fault("P005", pattern, f"nobody writes {name!r}; the engine sets it")
            found[purpose] = names
        return found

    def _named(self, resource: Resource, pattern: str, said: tuple[str, Any]) -> frozenset[str]:
        """The fields of a list. A pattern of several entities may name fields of some."""
        word, given = said
        names = _texts(given)
        if not isinstance(given, list) or len(names) != len(given):
            self.fault("P002", pattern, f"{word} must be a list of fields")
        shown = {one.name for one in resource.fields.values() if one.shown or one.creatable or one.updatable}
        known = shown if pattern == resource.key else self._anywhere(pattern)
        for name in (name for name in names if name != ALL and name not in known):
            self.fault("P005", pattern, f"{word} names {name!r}, which is no field{near(name, known)}")
        return frozenset(shown if ALL in names else shown & set(names))

    def _anywhere(self, pattern: str) -> set[str]:
        return {name for r in self.catalog.resources.values() if fnmatchcase(r.key, pattern) for name in r.fields}

    def _rows(self, resource: Resource, pattern: str, said: tuple[frozenset[str], Any]) -> dict[str, Any]:
        """Right -> condition. One condition holds for all rights; a table of rights has one for each."""
        rights, given = said
        if given is None:
            return {}
        several = isinstance(given, dict) and bool(given) and set(given) <= set(RIGHTS)
        trees = given if several else dict.fromkeys(rights, given)
        for tree in trees.values() if several else [given]:
            try:
                # as deep as it is going to lie
                Compiler(self.catalog, "p").rule(resource, tree)
            except BadValue as bad:
                self.fault("P006", pattern, f"rows of {resource.key}: {bad}")
        return trees

    # -- what belongs together

    def _sufficient(self, resource: Resource, pattern: str, share: Share) -> None:
        if "create" in share.rights:
            lacking = [one.name for one in resource.fields.values() if one.required and one.name not in share.create]
            for name in lacking:
                self.fault("P008", pattern, f"may create {resource.key}, but not give {name!r}, which must be given")

    def _log_of(self, resource: Resource) -> Resource | None:
        return self.catalog.roles.get((resource.scope.name, "change_log"))

    def _log_is_discreet(self, shares: Mapping[str, Share]) -> None:
        """A change log tells of every field of every row: who does not see some may not read it there."""
        for path, share in shares.items():
            log = self.catalog.resources[path]
            if log.entity.role != "change_log" or "read" not in share.rights or "changes" not in share.read:
                continue
            told = [r for p, r in self.catalog.resources.items() if p in shares and self._log_of(r) is log]
            secrets = [r.key for r in told if _is_partial(r, shares[r.path])]
            if secrets:
                self.fault(
                    "P010", log.key, f"shows what is kept from the role in {secrets[0]}; say hidden = ['changes']"
                )


def _is_partial(resource: Resource, share: Share) -> bool:
    return bool(share.rows) or not {one.name for one in resource.shown} <= share.read


def _texts(given: Any) -> list[str]:
    return [word for word in given if isinstance(word, str)] if isinstance(given, list) else []


def _closeness(pattern: str) -> tuple[bool, int]:
    """Sorts the closest pattern last: a plain name, else the one that says more."""
    wild = any(mark in pattern for mark in "*?[")
    return (not wild, len(pattern.replace(ALL, "")))


# -- several roles


def merged(shares: Sequence[Share]) -> tuple[Share, dict[str, tuple[Any, ...]]]:
    """What the roles together have, and for each right that is limited its conditions, of which one must hold. A field counts
    for a purpose where a role has the right for it."""
    rights: frozenset[str] = frozenset().union(*(share.rights for share in shares))
    rows = {}
    for right in rights:
        holders = [share for share in shares if right in share.rights]
        if all(right in share.rows for share in holders):
            rows[right] = tuple(share.rows[right] for share in holders)
    readers = [share for share in shares if "read" in share.rights] or shares
    read = _union(share.read for share in readers)
    create = _union(share.create for share in shares if "create" in share.rights)
    update = _union(share.update for share in shares if "update" in share.rights)
    return Share(rights, read, create, update, {}), rows


def _union(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset().union(*sets)
