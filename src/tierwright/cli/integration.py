"""``tierwright integration``: the integrations that tenants can configure."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tierwright.cli import documents, listing, options, writing
from tierwright.cli.writing import Work
from tierwright.tables import IntegrationInput, IntegrationRegistry

app = typer.Typer(
    help="The registry of integrations (`integrations`, with s, is what tenants have configured).",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Key = Annotated[str, typer.Argument(metavar="INTEGRATION", help="The key of the integration.")]


@writing.command(app)
def create(
    integration: Key,
    name: options.Name = None,
    category: options.Category = None,
    feature: options.GatedBy = None,
    requires: options.Needs = None,
    description: options.Description = None,
    from_: options.From = None,
) -> Work:
    """Add INTEGRATION."""
    given = _fields(integration, from_, name, category, feature, requires, description)
    return lambda registry: registry.integrations.create({"integration_key": integration, **given})


@writing.command(app)
def change(
    integration: Key,
    name: options.Name = None,
    category: options.Category = None,
    feature: options.GatedBy = None,
    requires: options.Needs = None,
    description: options.Description = None,
    from_: options.From = None,
) -> Work:
    """Change fields of INTEGRATION; what is not given stays."""
    given = _fields(integration, from_, name, category, feature, requires, description)
    return lambda registry: registry.integrations.change(integration, **given)


@writing.command(app)
def retire(integration: Key) -> Work:
    """Take INTEGRATION away from everybody; what tenants configured stays."""
    return lambda registry: registry.integrations.retire(integration)


@writing.command(app)
def restore(integration: Key) -> Work:
    """Offer INTEGRATION again."""
    return lambda registry: registry.integrations.restore(integration)


@app.command("list")
def list_(url: options.Url = None, schema: options.Schema = None, as_json: options.AsJson = False) -> None:
    """List all integrations."""
    listing.list_entries(
        "integrations",
        IntegrationRegistry,
        IntegrationInput,
        ("integration_key",),
        lambda found: (
            found["integration_key"],
            ", ".join((found["feature_key"], *found["required_features"])),
            listing.state(found),
            found["integration_name"],
        ),
        (20, 30, 7),
        database_of=(url, schema),
        as_json=as_json,
    )


def _fields(
    integration: str,
    from_: str | None,
    name: str | None,
    category: str | None,
    feature: str | None,
    requires: list[str] | None,
    description: str | None,
) -> dict[str, Any]:
    given = {
        "integration_name": name,
        "category": category,
        "feature_key": feature,
        "required_features": requires or None,
        "description": description,
    }
    key = {"integration_key": integration}
    return documents.fields(documents.from_file(from_), key, given, IntegrationInput.model_fields)
