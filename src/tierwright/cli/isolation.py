"""``tierwright db isolation`` and ``tierwright db grants``: row-level security, and the privileges that go with it."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from sqlalchemy.engine import Connection

from tierwright import isolation
from tierwright.cli import options, output
from tierwright.isolation.state import IsolationState, quoted, require_postgresql
from tierwright.isolation.switching import ADMIN_ROLE
from tierwright.migrations.reading import reading_connection

app = typer.Typer(
    help="Row-level security on PostgreSQL: one tenant at a time for the application's roles.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

App = Annotated[
    list[str], typer.Option("--app", metavar="ROLE", help="A role that the application connects as; repeat it.")
]
Admin = Annotated[str, typer.Option("--admin", metavar="ROLE", help="The role that sees all tenants.")]
Print = Annotated[bool, typer.Option("--print", help="Print the statements instead of running them.")]


@app.command()
def enable(
    app: App,
    admin: Admin = ADMIN_ROLE,
    print_: Print = False,
    url: options.Url = None,
    schema: options.Schema = None,
    lock_timeout: options.LockTimeout = options.DEFAULT_LOCK_TIMEOUT,
    lock_wait: options.LockWait = options.DEFAULT_LOCK_WAIT,
) -> None:
    """Switch row-level security on, for exactly these roles; safe to run again, as with one role more."""
    with output.reported_errors():
        if print_:
            with reading_connection(options.required(url), schema) as connection:
                _print_sql(connection, isolation.enable_sql(connection, app, admin=admin))
            return
        isolation.enable(
            options.required(url), app, admin=admin, schema=schema, lock_timeout=lock_timeout, lock_wait=lock_wait
        )
        typer.echo(f"on, for {', '.join(app)}; {admin} sees all tenants")


@app.command()
def disable(
    print_: Print = False,
    url: options.Url = None,
    schema: options.Schema = None,
    lock_timeout: options.LockTimeout = options.DEFAULT_LOCK_TIMEOUT,
    lock_wait: options.LockWait = options.DEFAULT_LOCK_WAIT,
) -> None:
    """Switch row-level security off; the admin role stays."""
    with output.reported_errors():
        if print_:
            with reading_connection(options.required(url), schema) as connection:
                _print_sql(connection, isolation.disable_sql(connection))
            return
        isolation.disable(options.required(url), schema=schema, lock_timeout=lock_timeout, lock_wait=lock_wait)
        typer.echo("off")


@app.command()
def status(url: options.Url = None, schema: options.Schema = None, as_json: options.AsJson = False) -> None:
    """Say what is on, and for whom; exit code 1 if tenants are not apart though it is on."""
    with output.reported_errors(as_json=as_json), reading_connection(options.required(url), schema) as connection:
        require_postgresql(connection.dialect.name)
        state, found = isolation.read_isolation(connection), isolation.isolation_findings(connection)
    if as_json:
        findings = [
            {"code": each.code, "object": each.object, "message": each.message, "remedy": each.remedy} for each in found
        ]
        output.print_json({"on": state.is_on, "tables": _as_dict(state), "findings": findings})
    else:
        _print(state)
        for each in found:
            output.line(each.code, each.object, each.message, widths=(24,))
    raise typer.Exit(output.REFUSED if found else 0)


def grants(
    app: App,
    admin: Admin = ADMIN_ROLE,
    schema: Annotated[
        str, typer.Option("--schema", envvar="TIERWRIGHT_SCHEMA", help="PostgreSQL schema of the tables.")
    ] = "public",
    version_table: options.VersionTable = options.DEFAULT_VERSION_TABLE,
) -> None:
    """Print the SQL that gives the roles the privileges they need, and no more; needs no database."""
    with output.reported_errors():
        typer.echo(isolation.grants(app, admin=admin, schema=schema, version_table=version_table))


def _print_sql(connection: Connection, statements: list[str]) -> None:
    if statements:
        schema = connection.exec_driver_sql("SELECT current_schema()").scalar_one()
        # For whoever runs it: in this schema, and without a queue behind a table for longer.
        settings = (f"SET LOCAL search_path = {quoted(schema)}", "SET LOCAL lock_timeout = '2s'")
        typer.echo("\n".join(f"{statement};" for statement in ("BEGIN", *settings, *statements, "COMMIT")))


def _print(state: IsolationState) -> None:
    for table in state.tables.values():
        said = "off" if not table.is_on else ("on" if table.is_forced else "on, not for its owner")
        output.line(table.name, said, f"owned by {table.owner}", widths=(28, 22))
        for policy in table.policies:
            output.line(f"  {policy.name}", f"for {', '.join(policy.roles)}", widths=(28,))


def _as_dict(state: IsolationState) -> dict[str, Any]:
    return {
        table.name: {
            "on": table.is_on,
            "forced": table.is_forced,
            "owner": table.owner,
            "policies": {policy.name: list(policy.roles) for policy in table.policies},
        }
        for table in state.tables.values()
    }
