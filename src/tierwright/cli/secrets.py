"""``tierwright secrets``: the keys of tenants' secrets."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Annotated, Any

import typer

from tierwright.cli import database, inputs, options, output
from tierwright.errors import InvalidInput
from tierwright.rotation import RotationReport, count_keys, rotate, verify_keys
from tierwright.secrets.key_text import is_key_id, key_line
from tierwright.secrets.keys import KeyProvider, KeyRing, generate_key
from tierwright.services.transactions import run_in_transaction

app = typer.Typer(help="Keys of tenants' secrets: make, count, check, rotate.", no_args_is_help=True)

KeyFile = Annotated[
    str | None,
    typer.Option(
        "--key-file", metavar="FILE", help="The key ring; else TIERWRIGHT_SECRETS_KEYS or TIERWRIGHT_SECRETS_KEY_FILE."
    ),
]
Provider = Annotated[
    str | None,
    typer.Option("--provider", metavar="MODULE:NAME", help="A key provider of yours, or a function that returns one."),
]


def keys_of(key_file: str | None, provider: str | None) -> KeyProvider:
    """Return the keys that a command was given.

    Raises:
        InvalidInput: both options were, or the provider cannot be imported.
        SecretsNotConfigured: there are none.
    """
    if key_file is not None and provider is not None:
        raise InvalidInput("There are two sources of keys.", remedy="Pass --key-file or --provider.")
    if provider is not None:
        found = imported(provider)
        made: KeyProvider = found() if callable(found) and not hasattr(found, "unwrap") else found
        return made
    return KeyRing.from_environment() if key_file is None else KeyRing.from_file(key_file)


def imported(name: str) -> Any:
    """Return an attribute of a module, as ``module:name`` names it.

    Raises:
        InvalidInput: it cannot be imported.
    """
    module, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # an application is imported from where the command is given, as servers do
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidInput(f"{name!a} cannot be imported: {error}.", remedy="Write module:name.") from None


@app.command("generate-key")
def generate(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="What the key is called, such as 2026-11.")],
) -> None:
    """Print a new key as a line of a key ring; put it first to make it the active one."""
    with output.reported_errors():
        if not is_key_id(key_id):
            raise InvalidInput("This is no key id.", remedy="Use up to 255 ASCII letters, digits, or any of ._:/@+-")
        typer.echo(key_line(key_id, generate_key()))


@app.command()
def status(url: options.Url = None, schema: options.Schema = None, as_json: options.AsJson = False) -> None:
    """Count the rows under each key; no key is needed. Exit code 1 if one holds no envelope."""
    with output.reported_errors(as_json=as_json), database.reading(url, schema) as connection:
        found = count_keys(connection)
    if as_json:
        output.print_json({"keys": dict(found.rows), "unreadable": found.unreadable, "total": found.total})
    else:
        for key_id, rows in found.rows.items():
            output.line(f"{rows:>10,}", key_id)
        if found.unreadable:
            output.line(f"{found.unreadable:>10,}", "hold no envelope of secrets")
        if not found.total:
            typer.echo("no row has secrets", err=True)
    raise typer.Exit(output.REFUSED if found.unreadable else 0)


@app.command()
def verify(
    key_file: KeyFile = None,
    provider: Provider = None,
    url: options.Url = None,
    schema: options.Schema = None,
    as_json: options.AsJson = False,
) -> None:
    """Check that the keys are those that the database was written with; remembers a new active key."""
    with output.reported_errors(as_json=as_json):
        keys = keys_of(key_file, provider)
        with database.writing(url, schema) as sessions:
            found = run_in_transaction(sessions, lambda session: verify_keys(session, keys))
    if as_json:
        output.print_json({"active": found.active_key_id, "verified": found.verified, "created": found.created})
        return
    output.line(f"{found.active_key_id} is new here, and remembered now" if found.created else "the keys are right")


@app.command("rotate")
def rotate_command(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Open and seal everything, and write nothing.")] = False,
    rewrap_only: Annotated[bool, typer.Option("--rewrap-only", help="Leave the ciphertexts as they are.")] = False,
    allow_empty: Annotated[bool, typer.Option("--allow-empty", help="No row with secrets is no error.")] = False,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, max=10_000, help="Rows in a transaction.")] = 1000,
    key_file: KeyFile = None,
    provider: Provider = None,
    actor: options.Actor = None,
    url: options.Url = None,
    schema: options.Schema = None,
    as_json: options.AsJson = False,
) -> None:
    """Bring all secrets under the active key, while the application goes on; stop it and begin again as you like.

    Exit code 1 if a row could not be moved, or if no row has secrets where some were expected.
    """
    with output.reported_errors(as_json=as_json):
        keys = keys_of(key_file, provider)
        by = inputs.author(actor, None).actor
        with database.writing(url, schema) as sessions, output.progress() as progress:
            report = rotate(
                sessions.kw["bind"],
                keys,
                rewrap_only=rewrap_only,
                dry_run=dry_run,
                batch_size=batch_size,
                actor=by,
                progress=lambda rows: progress(f"{rows:,} rows"),
            )
    is_empty = not report.found and not allow_empty
    if as_json:
        output.print_json({**_as_dict(report), "ok": report.ok and not is_empty, "dry_run": dry_run})
    else:
        _print(report, dry_run, is_empty)
    raise typer.Exit(0 if report.ok and not is_empty else output.REFUSED)


def _as_dict(report: RotationReport) -> dict[str, Any]:
    return {
        "key_id": report.key_id,
        "found": report.found,
        "rotated": report.rotated,
        "current": report.current,
        "failed": dict(report.failed),
        "remaining": report.remaining,
        "examples": [
            {"integration": integration, "tenant": tenant, "code": code}
            for integration, tenant, code in report.examples
        ],
    }


def _print(report: RotationReport, dry_run: bool, is_empty: bool) -> None:
    did = "could be moved" if dry_run else "moved"
    output.line(f"{report.rotated:,} {did} to {report.key_id}, {report.current:,} were under it already")
    for code, rows in report.failed.items():
        output.line(f"{rows:,} stay as they are: {code}")
    for integration, tenant, code in report.examples:
        output.line(f"  {integration} of {tenant}: {code}")
    if report.remaining:
        output.line(f"{report.remaining:,} were written under another key again: give every process the new key first")
    if is_empty:
        output.line("no row has secrets: is this the right database? (--allow-empty)")
