"""Where a registry comes from: an installed package by its name, one that announces itself, or a folder."""

from __future__ import annotations

import importlib
import sys
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from engine.errors import StartupFault
from engine.settings import Settings

# the group of entry points in which an installed package announces its registry: `shop = "acme_shop.registry"`
GROUP = "cxg.registries"
BUNDLED = "registry"


def announced() -> dict[str, EntryPoint]:
    """The registries that installed packages announce, by name."""
    return {point.name: point for point in sorted(entry_points(group=GROUP))}


def find_package(name: str) -> ModuleType:
    """The module of a registry: `shop` is one that an installed package announces, else a package that can be imported from
    here; `./shop` or another path is a folder. StartupFault says what is missing."""
    if not name:
        raise StartupFault("a registry has a name; `--no-registry` serves a --database without any")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    point = announced().get(name)
    module = _module_of_folder(Path(name)) if "/" in name or "\\" in name else point.module if point else name
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        near = get_close_matches(name, announced(), n=1)
        hint = f"; perhaps {near[0]!r}, which is installed" if near else "; is it installed, or in this folder?"
        raise StartupFault(f"registry {name!r} cannot be imported ({missing}){hint}") from missing


def _module_of_folder(folder: Path) -> str:
    """The package that lies in a folder, made importable. What is imported under its name already must be the same."""
    folder = folder.resolve()
    if not (folder / "__init__.py").is_file():
        raise StartupFault(f"{folder} is no package: it has no __init__.py")
    if str(folder.parent) not in sys.path:
        sys.path.insert(0, str(folder.parent))
    known = getattr(sys.modules.get(folder.name), "__file__", None)
    if known and Path(known).resolve().parent != folder:
        raise StartupFault(
            f"{folder}: a package {folder.name!r} is loaded from {Path(known).parent} already; rename one"
        )
    return folder.name


def home_of_migrations(root: ModuleType) -> Path:
    """The folder that holds a package's revisions, a folder a scope: beside its code, so that they are installed with it."""
    file = Path(getattr(root, "__file__", None) or ".").resolve()
    return file.parent / ("migrations" if file.name == "__init__.py" else f"{file.stem}_migrations")


def packages_of(settings: Settings) -> list[str]:
    """The registries to serve, the bundled one first where it is there for its users only."""
    beside = [BUNDLED] if settings.identity == "bundled" and BUNDLED not in settings.registries else []
    return [*beside, *settings.registries]
