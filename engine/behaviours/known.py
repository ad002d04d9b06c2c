"""What a behaviour may know of the other declarations."""

from __future__ import annotations

from collections.abc import Mapping

from engine.entity import Entity, Role

# path `scope/domain/entity` -> declaration
Known = Mapping[str, Entity]


def beside(known: Known, path: str, key: str) -> Entity | None:
    """The entity `domain.entity` of the same scope as the one at `path`."""
    return known.get(f"{path.split('/')[0]}/{key.replace('.', '/', 1)}")


def playing(known: Known, path: str, role: Role) -> Entity | None:
    """The entity of the same scope as the one at `path` that plays a role."""
    scope = path.split("/")[0]
    return next((e for other, e in known.items() if e.role == role and other.split("/")[0] == scope), None)
