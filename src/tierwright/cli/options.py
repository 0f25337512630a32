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

Tenant = Annotated[str, typer.Argument(metavar="TENANT", help="The tenant, as the application names it.")]
FeatureKey = Annotated[str, typer.Argument(metavar="FEATURE", help="The key of the feature.")]
TierKey = Annotated[str, typer.Argument(metavar="TIER", help="The key of the tier.")]
At = Annotated[
    str | None,
    typer.Option("--at", metavar="ISO", help="Another moment than now, such as 2026-01-31T12:00Z."),
]
Starts = Annotated[str | None, typer.Option("--starts", metavar="ISO", help="From when; always, unless given.")]
Expires = Annotated[str | None, typer.Option("--expires", metavar="ISO", help="Until when; for ever, unless given.")]
Days = Annotated[
    int | None, typer.Option("--days", min=1, max=36500, help="For how many days from now, instead of --expires.")
]
LicenseKey = Annotated[str, typer.Option("--license-key", help="Tells the licences of one tenant apart.")]
Value = Annotated[str | None, typer.Option("--value", metavar="JSON", help="The value, such as 25, true or '\"eu\"'.")]
Unlimited = Annotated[bool, typer.Option("--unlimited", help="No limit, instead of a value.")]
Off = Annotated[bool, typer.Option("--off", help="Deny it.")]
Actor = Annotated[
    str | None,
    typer.Option("--actor", help="Who writes, for the history.", show_default="your user name in the system"),
]
Reason = Annotated[str | None, typer.Option("--reason", help="Why, for the history.")]
From = Annotated[
    str | None, typer.Option("--from", metavar="FILE|-", help="A JSON object with the fields; - is standard input.")
]
Name = Annotated[str | None, typer.Option("--name", help="What people call it.")]
Category = Annotated[str | None, typer.Option("--category", help="Where it belongs.")]
Description = Annotated[str | None, typer.Option("--description", help="What it is for.")]
GatedBy = Annotated[str | None, typer.Option("--feature", metavar="FEATURE", help="The feature that gates it.")]
Needs = Annotated[
    list[str] | None, typer.Option("--requires", metavar="FEATURE", help="A feature that it needs too; repeat it.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]

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
