"""``tierwright license``: which tiers tenants hold, and when."""

from __future__ import annotations

import typer

from tierwright.cli import inputs, options, writing
from tierwright.cli.writing import Work

app = typer.Typer(help="Give tenants tiers, and end that.", no_args_is_help=True, rich_markup_mode=None)


@writing.command(app)
def assign(
    tenant: options.Tenant,
    tier: options.TierKey,
    license_key: options.LicenseKey = "main",
    starts: options.Starts = None,
    expires: options.Expires = None,
    days: options.Days = None,
) -> Work:
    """Give TENANT a tier, in place of what it holds under the same licence key."""
    window = inputs.window(starts, expires, days)
    return lambda registry: registry.licenses.assign(tenant, tier, license_key=license_key, **window)


@writing.command(app)
def end(tenant: options.Tenant, license_key: options.LicenseKey = "main") -> Work:
    """End a licence of TENANT now."""
    return lambda registry: registry.licenses.end(tenant, license_key)
