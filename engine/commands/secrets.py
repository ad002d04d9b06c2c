"""`cxg secrets rotate`: encrypt everything with the current key, so that a former one can be given up."""

from __future__ import annotations

from cyclopts import App
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table

from engine.console import Data, Progress, Registries, configure, err, located, out, run_and_close, tenants_of
from engine.errors import StartupFault
from engine.main import System
from engine.relay import renew_signatures
from engine.rotation import Rotated, entities_with_secrets, rotate

COLUMNS = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())

secrets_app = App(name="secrets", help="Encrypted columns and the keys they are encrypted with.")


@secrets_app.command(name="rotate")
def rotate_command(*, registry: Registries = None, data: Data = None) -> None:
    """Encrypt every encrypted column of every tenant and of the platform with the current key. It may run while servers
    serve, and again: what has the current key already is left alone.

    To change the key: give servers the new one as CXG_SECRET_KEY and the old one in CXG_SECRET_KEYS_BEFORE, restart them,
    run this command with the same variables, then take the old key out. The key that was made up for you is in secret.key
    of the data folder.
    """
    with located(configure(registries=registry, data=data), Progress()) as system:
        done = run_and_close(system, rotate_secrets(system))
    tell(done, out())


async def rotate_secrets(system: System) -> dict[str, Rotated]:
    """Re-encrypt all there is; counts by entity path."""
    tenants = await tenants_of(system.operations)
    entities = entities_with_secrets(system.operations)
    total = sum(len(tenants) if resource.scope.tenant_bound else 1 for resource in entities)
    with Bar(*COLUMNS, console=err, transient=True) as bar:
        task = bar.add_task("re-encrypting", total=total)
        prefix = system.vault.ring.prefix
        done = await rotate(
            system.operations, prefix, tenants, lambda label: bar.update(task, advance=1, description=label)
        )
    # an unreadable head is a matter for `cxg audit verify`, not for the keys of values
    done["heads of change logs"] = Rotated((await renew_signatures(system.operations, prefix))[0])
    return done


def tell(done: dict[str, Rotated], console: Console) -> None:
    """Print the counts. StartupFault when values stayed unreadable: the key that belongs to them is still needed."""
    table = Table("entity", "re-encrypted", "unreadable")
    for path, counts in sorted(done.items()):
        table.add_row(path, str(counts.renewed), str(counts.unreadable))
    console.print(table)
    if lost := sum(counts.unreadable for counts in done.values()):
        raise StartupFault(
            f"{lost} values can be read with none of the known keys and stayed as they are; "
            "put their key into CXG_SECRET_KEYS_BEFORE and run this again"
        )
