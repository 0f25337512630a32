"""``tierwright db``: running the chain."""

from __future__ import annotations

from typing import Annotated

import typer

from tierwright import migrations
from tierwright.cli import options, output
from tierwright.cli.rows import row_counts

app = typer.Typer(help="Run the migration chain.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def upgrade(
    revision: Annotated[str, typer.Argument(help="A revision, or FROM:TO with --sql.")] = "head",
    url: options.Url = None,
    schema: options.Schema = None,
    version_table: options.VersionTable = options.DEFAULT_VERSION_TABLE,
    lock_timeout: options.LockTimeout = options.DEFAULT_LOCK_TIMEOUT,
    lock_wait: options.LockWait = options.DEFAULT_LOCK_WAIT,
    sql: Annotated[bool, typer.Option("--sql", help="Print the script instead of running it.")] = False,
) -> None:
    """Bring the database to REVISION; safe to run again, and by many at once."""
    with output.reported_errors():
        if sql:
            typer.echo(migrations.script(options.required(url), revision, schema=schema, version_table=version_table))
            return
        with output.progress() as progress:
            migrations.upgrade(
                options.required(url),
                revision,
                schema=schema,
                version_table=version_table,
                lock_timeout=lock_timeout,
                lock_wait=lock_wait,
                progress=progress,
            )
        typer.echo(f"at {migrations.current(options.required(url), schema=schema, version_table=version_table)}")


# "-1" is a revision here, not an option.
@app.command(context_settings={"ignore_unknown_options": True})
def downgrade(
    revision: Annotated[str, typer.Argument(help="A revision, -1, or base.")],
    url: options.Url = None,
    schema: options.Schema = None,
    version_table: options.VersionTable = options.DEFAULT_VERSION_TABLE,
    lock_timeout: options.LockTimeout = options.DEFAULT_LOCK_TIMEOUT,
    lock_wait: options.LockWait = options.DEFAULT_LOCK_WAIT,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before rows are deleted.")] = False,
) -> None:
    """Bring the database back to REVISION; base drops all tables, and asks first."""
    with output.reported_errors():
        database = options.required(url)
        if not yes and migrations.drops_tables(database, revision, schema=schema, version_table=version_table):
            _confirm_loss(database, schema)
        with output.progress() as progress:
            migrations.downgrade(
                database,
                revision,
                schema=schema,
                version_table=version_table,
                lock_timeout=lock_timeout,
                lock_wait=lock_wait,
                progress=progress,
            )
        typer.echo(f"at {migrations.current(database, schema=schema, version_table=version_table) or 'base'}")


@app.command()
def status(
    url: options.Url = None,
    schema: options.Schema = None,
    version_table: options.VersionTable = options.DEFAULT_VERSION_TABLE,
    as_json: options.AsJson = False,
) -> None:
    """Say where the database stands; exit code 1 if the application should not run on it."""
    with output.reported_errors(as_json=as_json):
        found = migrations.status(options.required(url), schema=schema, version_table=version_table)
    drift = [] if found.pending else [str(difference) for difference in found.drift]
    if as_json:
        output.print_json(
            {
                "ok": found.ok,
                "dialect": found.dialect,
                "current": found.current,
                "head": found.head,
                "pending": found.pending,
                "is_known": found.is_known,
                "drift": drift,
            }
        )
    else:
        typer.echo(f"{found.dialect}: at {found.current or 'no revision'}, head is {found.head}")
        for line in [*(f"pending: {revision}" for revision in found.pending), *(f"drift: {item}" for item in drift)]:
            typer.echo(f"  {line}")
    raise typer.Exit(0 if found.ok else output.REFUSED)


@app.command()
def adopt(
    url: options.Url = None,
    schema: options.Schema = None,
    version_table: options.VersionTable = options.DEFAULT_VERSION_TABLE,
) -> None:
    """Record head for tables that something else made, if they equal head; changes no table."""
    with output.reported_errors():
        revision = migrations.adopt(options.required(url), schema=schema, version_table=version_table)
    typer.echo(f"adopted at {revision}")


@app.command()
def repair(
    url: options.Url = None,
    schema: options.Schema = None,
    version_table: options.VersionTable = options.DEFAULT_VERSION_TABLE,
    lock_timeout: options.LockTimeout = options.DEFAULT_LOCK_TIMEOUT,
    lock_wait: options.LockWait = options.DEFAULT_LOCK_WAIT,
) -> None:
    """Put right indexes, foreign keys and CHECKs that somebody changed after the chain ran."""
    with output.reported_errors(), output.progress() as progress:
        repaired = migrations.repair(
            options.required(url),
            schema=schema,
            version_table=version_table,
            lock_timeout=lock_timeout,
            lock_wait=lock_wait,
            progress=progress,
        )
    typer.echo(f"repaired: {', '.join(repaired)}" if repaired else "nothing to repair")


def _confirm_loss(database: str, schema: str | None) -> None:
    counts = row_counts(database, schema)
    for table, rows in counts.items():
        typer.echo(f"  {table}: {rows} row(s)", err=True)
    typer.confirm(f"This drops {len(counts)} tables with all their rows. Go on?", abort=True, err=True)
