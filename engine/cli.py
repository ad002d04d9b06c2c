"""The `cxg` command."""

from __future__ import annotations

import asyncio
import inspect
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import asyncpg
import uvicorn
from cyclopts import App, Parameter
from rich.table import Table
from rich.text import Text
from uvicorn.supervisors import ChangeReload

from engine import install
from engine.catalog import Catalog
from engine.commands.audit import audit_app
from engine.commands.exchange import export_file, import_file
from engine.commands.jobs import jobs_app
from engine.commands.new import new_app
from engine.commands.reload import Workers, findable
from engine.commands.reload import reload as reload_servers
from engine.commands.rollups import rollups_app
from engine.commands.secrets import secrets_app
from engine.commands.worker import worker_app
from engine.console import Data, Progress, Registries, configure, err, located, out, run_and_close
from engine.entrance import check_entrance
from engine.errors import ApiError, StartupFault
from engine.grants import read_grants
from engine.main import System, fresh_system, load
from engine.packages import announced, packages_of
from engine.reflection import reflected_of
from engine.reloading import Reloading
from engine.wire import GRACEFUL_SECONDS, GuardedProtocol

app = App(
    name="cxg",
    help="Serve registered SQLAlchemy models as uniform endpoints. `cxg serve` is all that is needed to begin.",
)
migrate_app = App(name="migrate", help="Bring the databases to the models by reviewed migrations.")
user_app = App(name="user", help="People who may sign in.")
tenant_app = App(name="tenant", help="Customers, each with rows of its own.")
for part in (migrate_app, user_app, tenant_app, audit_app, rollups_app, secrets_app, jobs_app, worker_app, new_app):
    app.command(part)
app.command(reload_servers, name="reload")
for command, name in ((export_file, "export"), (import_file, "import")):
    examples = inspect.cleandoc(command.__doc__ or "").partition("Examples\n--------\n")[2]
    app.command(command, name=name, help_epilogue=f"Examples:\n```\n{examples}\n```")


async def _prepare(system: System, say: Progress) -> list[str]:
    with say.step("tables"):
        await system.prepare_databases()
    with say.step("first rows"):
        told = await install.install(system)
    if system.settings.demo and system.catalog.identity and system.settings.environment == "development":
        with say.step("demo rows"):
            told += await install.demo(system)
    if system.settings.environment == "development":
        await install.gather_statistics(system)
    await system.close()
    return told


@app.command
def serve(  # budget: an argument is an option of the command line
    *,
    host: Annotated[str | None, Parameter(help="Address to listen on.")] = None,
    port: Annotated[int | None, Parameter(help="Port to listen on.")] = None,
    workers: Annotated[int | None, Parameter(help="Server processes.")] = None,
    registry: Registries = None,
    database: Annotated[str | None, Parameter(help="PostgreSQL database of somebody else's to serve as it is.")] = None,
    scope: Annotated[str | None, Parameter(help="First part of the paths of its tables.")] = None,
    schemas: Annotated[
        list[str] | None, Parameter(help="Schema of it to serve, all unless given; may be repeated.")
    ] = None,
    write: Annotated[bool | None, Parameter(negative="", help="Let its rows be changed.")] = None,
    audit_schema: Annotated[str | None, Parameter(help="Schema in it for a change log, made if need be.")] = None,
    map: Annotated[
        list[str] | None,
        Parameter(help="soft_delete=deleted_at: a column that plays a part; sales.totals.key=a,b: the key of a view."),
    ] = None,
    data: Data = None,
    demo: Annotated[bool | None, Parameter(negative="--no-demo", help="Rows to try things with.")] = None,
    issuer: Annotated[str | None, Parameter(help="Outside issuer of access tokens, as their iss says.")] = None,
    jwks_url: Annotated[str | None, Parameter(help="Address of its public keys.")] = None,
    audience: Annotated[str | None, Parameter(help="What aud of its tokens must hold.")] = None,
    policy: Annotated[Path | None, Parameter(help="TOML file: what the roles of its tokens may do.")] = None,
    reload: Annotated[bool, Parameter(negative="", help="Restart when a source file changes.")] = False,
) -> None:  # budget: one argument a flag of the command line
    """Start the databases (unless CXG_MANAGER_URL and CXG_TENANTS_URL name some), bring them up to date, and serve.

    Examples
    --------
    cxg serve                                  everything embedded, at http://127.0.0.1:8000
    cxg serve --port 9000 --workers 2          another port, two processes
    cxg serve --registry registry --registry shop   your package beside the bundled one
    cxg serve --database postgresql://me:secret@host/shop --scope shop   every table of a database, at /shop/<schema>/<table>
    cxg serve --database postgresql://me:secret@host/shop --no-registry   the same alone, for who sends the access key
    """
    say = Progress()
    outside = {"issuer": issuer, "jwks_url": jwks_url, "audience": audience, "policy": policy}
    theirs = {"database": database, "scope": scope, "schemas": schemas, "write": write, "audit_schema": audit_schema}
    settings = configure(
        **{"host": host, "port": port, "workers": workers, "registries": registry, "data": data, "demo": demo},
        **outside,
        **theirs,
        columns=_pairs(map) if map else None,
    )
    signal.signal(signal.SIGTERM, _terminate)
    system = System(settings, say)
    try:
        check_entrance(settings, system.catalog)
        system.locate()
        for line in asyncio.run(_prepare(system, say)):
            err.print(line, style="bold", soft_wrap=True)
        address = f"http://{settings.host}:{settings.port}"
        serving = f"serving {len(system.catalog.resources)} entities at {address}"
        say(Text.assemble((serving, "bold green"), f"  docs: {address}/docs"))
        if system.reflected is not None and system.reflected.empty:
            say(Text(system.reflected.empty, "bold yellow"))
        with findable(settings.data):
            _listen(system, reload)
    finally:
        if system.server is not None:
            system.server.stop()
            say("stopped")


def _pairs(given: list[str]) -> dict[str, str]:
    """`part=column` of each."""
    if wrong := [text for text in given if "=" not in text]:
        raise StartupFault(f"--map {wrong[0]!r}: say which column plays a part, such as soft_delete=deleted_at")
    return dict(text.split("=", 1) for text in given)


def _terminate(_signal: int, _frame: Any) -> None:
    raise SystemExit(0)


def _listen(system: System, reload: bool) -> None:
    settings = system.settings
    # a process of its own makes the application anew; this one has all that it takes
    alone = settings.workers == 1 and not reload
    config = uvicorn.Config(
        Reloading(system.again(), fresh_system) if alone else "engine.main:create_app",
        factory=not alone,
        host=settings.host,
        port=settings.port,
        workers=None if settings.workers == 1 else settings.workers,
        reload=reload,
        http=GuardedProtocol,
        ws="none",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
        timeout_worker_healthcheck=30,
        server_header=False,
        proxy_headers=False,
    )
    if config.should_reload:
        ChangeReload(config, target=uvicorn.Server(config).run, sockets=[config.bind_socket()]).run()
    elif config.workers > 1:
        Workers(config, [config.bind_socket()], system.roots).run()
    else:
        server = uvicorn.Server(config)
        server.run()
        if not server.started:
            raise StartupFault(f"the server cannot listen at {config.host}:{config.port}, see above")


def _catalog(registry: list[str] | None) -> Catalog:
    """What would be served."""
    settings = configure(registries=registry)
    return load(packages_of(settings), reflected_of(settings))[1]


@app.command
def entities(*, registry: Registries = None) -> None:
    """Print the catalogue: every entity with its operations, states and size."""
    catalog = _catalog(registry)
    table = Table("path", "kind", "operations", "fields", "states", "label", title=f"{len(catalog.resources)} entities")
    for path, resource in sorted(catalog.resources.items()):
        states = " ".join(resource.machine.states) if resource.stateful else ""
        names = " ".join(
            op.value for op in sorted(resource.ops) if op.value not in ("transitions", "history", "replace")
        )
        table.add_row(path, resource.entity.kind, names, str(len(resource.fields)), states, resource.entity.label)
    out().print(table)


@app.command
def registries(*, registry: Registries = None) -> None:
    """Print the registries: those chosen by flags and settings, and those that installed packages announce."""
    chosen = packages_of(configure(registries=registry))
    installed = announced()
    table = Table("registry", "package", "served", "scopes (database)")
    for name in dict.fromkeys([*chosen, *installed]):
        scopes = [f"{s.name} ({s.stored_in})" for s in load([name])[1].scopes.values()] if name in chosen else []
        module = installed[name].module if name in installed else name
        table.add_row(name, module, "yes" if name in chosen else "no", ", ".join(scopes))
    out().print(table)


@app.command
def check(*, registry: Registries = None) -> None:
    """Run the numbered start-up checks alone, those of a policy included, without a database but one to be served as it is."""
    settings = configure(registries=registry)
    reflected = reflected_of(settings)
    catalog = load(packages_of(settings), reflected)[1]
    if settings.policy is not None:
        read_grants(settings.policy, catalog)
    if reflected is not None and reflected.empty:
        print(reflected.empty)
    print(f"{len(catalog.resources)} entities in {len(catalog.scopes)} scopes: no faults")


@app.command
def openapi(*, registry: Registries = None) -> None:
    """Print the OpenAPI document as JSON."""
    from engine.docs import document_of

    catalog = _catalog(registry)
    sys.stdout.write(document_of(catalog).decode())


@migrate_app.default
def migrate(
    *,
    stamp: Annotated[bool, Parameter(negative="", help="Take them for done: development has made the tables.")] = False,
    registry: Registries = None,
    data: Data = None,
) -> None:
    """Run the pending migrations of every database."""
    say = Progress()
    with located(configure(registries=registry, data=data), say) as system:
        asyncio.run(_upgrade(system, stamp))


async def _upgrade(system: System, stamp: bool) -> None:
    await system.prepare_roles()
    for scope, done in (await system.upgrade(stamped=stamp)).items():
        print(f"{scope}: {', '.join(done) if done else 'nothing to do'}")


@migrate_app.command
def make(name: str, *, registry: Registries = None, data: Data = None) -> None:
    """Write the next migration of every scope whose models changed.

    Parameters
    ----------
    name
        what the migration is about, in snake case: add_rooms
    """
    say = Progress()
    with located(configure(registries=registry, data=data), say) as system:
        for path in asyncio.run(system.make_migrations(name)):
            print(path)


@user_app.command
def create(email: str, *, password: str | None = None, administrator: bool = False, data: Data = None) -> None:
    """Create a person who may sign in on the Manager side.

    Parameters
    ----------
    email
        the address to sign in with
    password
        unset = made up and printed
    administrator
        hold every Manager permission
    """
    secret = password or install.made_up_password()
    with located(configure(data=data), Progress()) as system:
        run_and_close(system, install.create_user(system, email, secret, administrator=administrator))
    print(f"{email} may sign in" + ("" if password else f" with the password {secret}"))


@tenant_app.command(name="create")
def create_tenant(
    slug: str, *, owner: str, password: str | None = None, name: str | None = None, data: Data = None
) -> None:
    """Create a pooled tenant with its first owner.

    Parameters
    ----------
    slug
        short name for sign-in: acme
    owner
        e-mail address of the first owner; an existing user keeps his password
    password
        of a new owner; unset = made up and printed
    name
        display name; unset = the slug
    """
    secret = password or install.made_up_password()
    values = {"slug": slug, "name": name or slug, "owner_email": owner, "owner_password": secret}
    with located(configure(data=data), Progress()) as system:
        run_and_close(system, install.create_tenant(system, values))
    print(
        f"tenant {slug}: {owner} may sign in with tenant={slug}"
        + ("" if password else f"; a new owner's password is {secret}")
    )


def main() -> None:
    """Entry point. Faults a person must act on are printed without a traceback."""
    try:
        app()
    except StartupFault as fault:
        _end("cannot go on", str(fault))
    except ApiError as error:
        details = "".join(f"\n  {fault.field}: {fault.message}" for fault in error.details)
        _end(error.code, f"{error.message}{details}")
    except (OSError, asyncpg.PostgresError) as error:
        file = getattr(error, "filename", None)
        if file is not None and isinstance(error, OSError):
            _end("cannot go on", f"{file}: {error.strerror}")
        _end("the database refuses", str(error))


def _end(what: str, text: str) -> NoReturn:
    err.print(Text.assemble((f"{what}:", "bold red"), " ", text))
    sys.exit(1)


if __name__ == "__main__":
    main()
