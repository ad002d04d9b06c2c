"""`cxg new`: the first lines of an entity, or of the rules beside it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from engine.errors import StartupFault
from engine.main import load
from engine.scaffold import DEFAULT, read_column, read_target, write_entity, write_hooks

new_app = App(name="new", help="Write the first lines of what a package declares.")


@new_app.command
def entity(
    name: str,
    *,
    column: Annotated[tuple[str, ...], Parameter(help="`name:type`; may be given several times.")] = (),
) -> None:
    """Write model, declaration and test of an entity. The package is made when it is not there, with a scope and a database
    of its own; a domain that is there gets the entity at its end. Nothing is written over.

    A type is a word such as `money`, `text?` (may be null), `new|used` (one of these) or `crm.customers` (a reference).

    Parameters
    ----------
    name
        package.domain.entity

    Examples
    --------
    cxg new entity shop.sales.orders
    cxg new entity shop.sales.orders --column number:code --column customer:sales.customers --column total:money
    """
    target = read_target(name)
    write(write_entity(Path.cwd(), target, [read_column(text) for text in column or DEFAULT]), target.package)
    print(f"serve it: cxg serve --registry {target.package}")


@new_app.command
def hooks(name: str) -> None:
    """Write the file of a domain's rules, with one rule of an entity to begin with.

    Parameters
    ----------
    name
        package.domain.entity, which is there
    """
    target = read_target(name)
    write(write_hooks(Path.cwd(), target), target.package)


def write(files: dict[Path, str], package: str) -> None:
    """Write the files, and take all of it back where the package does not pass the start-up checks with them."""
    before = {path: path.read_bytes() if path.exists() else None for path in files}
    folders = [parent for path in files for parent in path.parents if not parent.exists()]
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        sys.dont_write_bytecode, kept = True, sys.dont_write_bytecode
        try:
            load([package])
        finally:
            sys.dont_write_bytecode = kept
    except Exception as fault:
        for path, content in before.items():
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_bytes(content)
        for folder in sorted(set(folders), reverse=True):
            if folder.exists():
                folder.rmdir()
        said = str(fault) if isinstance(fault, StartupFault) else repr(fault)
        raise StartupFault(f"nothing was written, since it would not start: {said}") from fault
    for path in files:
        print(f"{'changed' if before[path] is not None else 'wrote'} {path.relative_to(Path.cwd())}")
