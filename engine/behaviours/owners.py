"""Rows that belong to somebody: nobody makes one for another, or gives his away, without the permission for it.

Which rows a caller finds is said in the statements themselves (`engine.sql.parts.owned`).
"""

from __future__ import annotations

from engine.behaviours.known import Known
from engine.entity import Entity, Owner
from engine.errors import generic
from engine.hooks import Change, Hook, Moment, Point, Rule

CODES = ((403, "permission_denied"),)


def owner_rules(_known: Known, path: str, entity: Entity) -> list[Rule]:
    """The rule of an entity with owners, unless the engine alone names them."""
    owner = entity.owner
    if owner is None or owner.column in entity.read_only:
        return []
    create = Rule("owner", path, (Point.BEFORE_CREATE,), _keep_to_oneself(owner), raises=CODES)
    watches = frozenset({owner.column})
    return [create, Rule("owner", path, (Point.BEFORE_UPDATE,), _keep_to_oneself(owner), raises=CODES, watches=watches)]


def _keep_to_oneself(owner: Owner) -> Hook:
    async def keep_to_oneself(moment: Moment, changes: list[Change]) -> None:
        me = moment.principal.user_id
        if moment.principal.may(owner.unless):
            return
        for change in changes:
            if not change.by_engine and change[owner.column] != me:
                raise generic("permission_denied", f"Rows of others need the permission {owner.unless}")

    return keep_to_oneself
