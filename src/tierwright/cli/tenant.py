"""``tierwright tenant``: one tenant, for people who support customers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer

from tierwright.cli import database, options, output, writing
from tierwright.cli.writing import Work
from tierwright.resolution.decision import Decision
from tierwright.services import support
from tierwright.services.entitlements import Entitlements
from tierwright.types import canonical_tenant_id, utc_now

app = typer.Typer(help="Look at one tenant, and change what it holds.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def show(
    tenant: options.Tenant,
    url: options.Url = None,
    schema: options.Schema = None,
    as_json: options.AsJson = False,
) -> None:
    """Show what TENANT holds, and what follows from it."""
    with output.reported_errors(as_json=as_json):
        tenant_id = canonical_tenant_id(tenant)
        with database.reading_session(url, schema) as session:
            found = _overview(tenant_id, session)
    if as_json:
        output.print_json(found)
    else:
        _print(found)


@writing.command(app)
def purge(context: typer.Context, tenant: options.Tenant, yes: options.Yes = False) -> Work:
    """Delete all that TENANT holds, but not its history; says how much, and asks first."""
    tenant_id = canonical_tenant_id(tenant)
    if not yes:
        with database.reading(context.params["url"], context.params["schema"]) as connection:
            counts = support.rows_of(connection, tenant_id)
        for table, rows in counts.items():
            typer.echo(f"  {table}: {rows} row(s)", err=True)
        typer.confirm(f"This deletes them, all of {output.plain(tenant_id)}. Go on?", abort=True, err=True)
    return lambda registry: registry.purge(tenant_id)


@writing.command(app)
def trial(
    tenant: options.Tenant,
    tier: options.TierKey,
    days: Annotated[int, typer.Option("--days", min=1, max=3650, help="How long, from now.")] = 14,
    license_key: options.LicenseKey = "trial",
) -> Work:
    """Give TENANT a tier for some days, beside what it holds; a trial under the same key begins anew."""
    return lambda registry: registry.licenses.trial(tenant, tier, days=days, license_key=license_key)


def _overview(tenant_id: str, session: Any) -> dict[str, Any]:
    connection, now, asked = session.connection(), utc_now(), Entitlements(session)
    licenses = [asdict(held) | {"state": _state(held, now)} for held in support.licenses_of(connection, tenant_id)]
    overrides = [asdict(held) | {"state": _state(held, now)} for held in support.overrides_of(connection, tenant_id)]
    return {
        "tenant_id": tenant_id,
        # What counts instead, where no licence is valid.
        "default_tier": None
        if any(held["state"] == "valid" for held in licenses)
        else support.default_tier(connection),
        "licenses": licenses,
        "overrides": overrides,
        "features": _counted(asked.evaluate_all(tenant_id)),
        "integrations": [
            {"integration_key": each.key, "availability": each.availability, "blocked_by": each.blocked_by}
            for each in asked.integrations(tenant_id)
        ],
    }


def _state(held: support.HeldLicense | support.HeldOverride, now: datetime) -> str:
    if isinstance(held, support.HeldLicense) and not held.is_active:
        return "suspended"
    if held.starts_at is not None and held.starts_at > now:
        return "later"
    return "ended" if held.expires_at is not None and held.expires_at <= now else "valid"


def _counted(decisions: Mapping[str, Decision]) -> dict[str, Any]:
    reasons = Counter(decision.reason.value for decision in decisions.values())
    granted = reasons.pop("GRANTED", 0)
    return {"granted": granted, "denied": reasons.total(), "reasons": dict(sorted(reasons.items()))}


def _print(found: Mapping[str, Any]) -> None:
    output.line(f"tenant {found['tenant_id']}")
    typer.echo("licences (times in UTC)" if found["licenses"] else "no licence")
    for held in found["licenses"]:
        deleted = "the tier was deleted; it counts until the tenant is moved" if held["tier_deleted"] else ""
        output.line(f"  {held['license_key']}", held["tier_key"], _when(held), deleted, widths=(18, 14))
    if found["default_tier"] is not None:
        output.line(f"  none is valid now: the default tier {found['default_tier']} counts")
    typer.echo("overrides (times in UTC)" if found["overrides"] else "no override")
    for held in found["overrides"]:
        why = f"  ({held['reason']})" if held["reason"] else ""
        output.line(f"  {held['feature_key']}  {output.literal(held['feature_value'])}  {_when(held)}{why}")
    features = found["features"]
    denied = ", ".join(f"{reason} {count}" for reason, count in features["reasons"].items())
    output.line(
        f"features: {features['granted']} granted, {features['denied']} denied" + (f" ({denied})" * bool(denied))
    )
    typer.echo("integrations" if found["integrations"] else "no integration")
    for each in found["integrations"]:
        output.line(
            f"  {each['integration_key']}", each["availability"], ", ".join(each["blocked_by"]), widths=(24, 20)
        )


def _when(held: Mapping[str, Any]) -> str:
    starts, expires = (None if at is None else f"{at:%Y-%m-%d %H:%M}" for at in (held["starts_at"], held["expires_at"]))
    if starts and expires:
        return f"{held['state']} {starts} to {expires}"
    return f"{held['state']}" + (f" from {starts}" if starts else "") + (f" until {expires}" if expires else "")
