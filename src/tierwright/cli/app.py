"""The root of the command: one thin module per group."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from tierwright.cli import (
    audit,
    audit_maintain,
    catalog,
    component,
    db,
    decisions,
    feature,
    integration,
    integrations,
    isolation,
    license,
    model,
    output,
    override,
    secrets,
    tenant,
    tenant_history,
    tenant_resources,
    tier,
)
from tierwright.cli.doctor import doctor
from tierwright.cli.tenants import tenants

app = typer.Typer(
    name="tierwright",
    help="Which tenant may use what: ask, change it, migrate the database and look after it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
db.app.add_typer(isolation.app, name="isolation")
db.app.command()(isolation.grants)
app.add_typer(db.app, name="db")
app.command()(doctor)
app.command()(decisions.evaluate)
app.command()(decisions.explain)
app.command()(tenants)
tenant.app.command()(tenant_resources.models)
tenant.app.command()(tenant_resources.components)
tenant.app.command()(tenant_resources.integrations)
tenant.app.command()(tenant_history.history)
app.add_typer(tenant.app, name="tenant")
app.add_typer(license.app, name="license")
app.add_typer(override.app, name="override")
app.add_typer(feature.app, name="feature")
app.add_typer(tier.app, name="tier")
app.add_typer(model.app, name="model")
app.add_typer(component.app, name="component")
app.add_typer(integration.app, name="integration")
app.add_typer(integrations.app, name="integrations")
app.add_typer(catalog.app, name="catalog")
app.add_typer(secrets.app, name="secrets")
audit.app.command()(audit_maintain.maintain)
audit.app.command()(audit_maintain.verify)
audit.app.command()(audit_maintain.restore)
app.add_typer(audit.app, name="audit")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tierwright {version('tierwright')}")
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Which tenant may use what: ask, change it, migrate the database and look after it."""
    output.settings.debug = debug
