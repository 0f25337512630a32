"""The options that commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from tierwright.errors import DatabaseUrlMissing
from tierwright.migrations import VERSION_TABLE, MigrationOptions

Url = Annotated[
    str | None,
    typer.Option(
        "--url", envvar="DATABASE_URL", show_envvar=True, help="The database, such as postgresql://user@host/db."
    ),
]
Schema = Annotated[
    str | None,
    typer.Option("--schema", envvar="TIERWRIGHT_SCHEMA", show_envvar=True, help="PostgreSQL schema of the tables."),
]
VersionTable = Annotated[str, typer.Option("--version-table", help="The table that records the revision.")]
LockTimeout = Annotated[
    float, typer.Option("--lock-timeout", min=0.001, help="Seconds that one statement may wait and stall others.")
]
LockWait = Annotated[
    float, typer.Option("--lock-wait", min=0.001, help="Seconds to go on waiting for locks and other migrators.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]

DEFAULT_VERSION_TABLE = VERSION_TABLE
DEFAULT_LOCK_TIMEOUT = MigrationOptions.lock_timeout
DEFAULT_LOCK_WAIT = MigrationOptions.lock_wait


def required(url: str | None) -> str:
    """Return the URL; the command has no default, so that nobody migrates the wrong database by omission.

    Raises:
        DatabaseUrlMissing: neither ``--url`` nor ``DATABASE_URL`` is given.
    """
    if not url:
        raise DatabaseUrlMissing("No database was named.", remedy="Pass --url or set DATABASE_URL.")
    return url
