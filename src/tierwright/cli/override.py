"""``tierwright override``: what one tenant gets of one feature, whatever its tiers say."""

from __future__ import annotations

from typing import Annotated

import typer

from tierwright.cli import documents, inputs, options, writing
from tierwright.cli.writing import Work

app = typer.Typer(help="Override single features for single tenants.", no_args_is_help=True, rich_markup_mode=None)


@writing.command(app, "set")
def set_(
    tenant: options.Tenant,
    feature: options.FeatureKey,
    value: options.Value = None,
    unlimited: options.Unlimited = False,
    off: options.Off = False,
    deny: Annotated[
        list[str] | None, typer.Option("--deny", metavar="FEATURE", help="Deny this one too: it excludes FEATURE.")
    ] = None,
    starts: options.Starts = None,
    expires: options.Expires = None,
    days: options.Days = None,
) -> Work:
    """Grant FEATURE to TENANT, or deny it, in place of an earlier override of it."""
    document, window = documents.value(value, unlimited, off), inputs.window(starts, expires, days)
    return lambda registry: registry.overrides.set(tenant, feature, document, deny=deny or (), **window)


@writing.command(app)
def remove(tenant: options.Tenant, feature: options.FeatureKey) -> Work:
    """End the override of FEATURE for TENANT now."""
    return lambda registry: registry.overrides.remove(tenant, feature)
