"""``tierwright component``: the building blocks of the application."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tierwright.cli import documents, listing, options, writing
from tierwright.cli.writing import Work
from tierwright.tables import ComponentInput, ComponentRegistry

app = typer.Typer(help="Look at components, and change them.", no_args_is_help=True, rich_markup_mode=None)

Key = Annotated[str, typer.Argument(metavar="COMPONENT", help="The key of the component.")]
DisplayName = Annotated[str | None, typer.Option("--display-name", help="What people see.")]


@writing.command(app)
def create(
    component: Key,
    name: options.Name = None,
    display_name: DisplayName = None,
    category: options.Category = None,
    feature: options.GatedBy = None,
    requires: options.Needs = None,
    description: options.Description = None,
    from_: options.From = None,
) -> Work:
    """Add COMPONENT; without --feature and --requires it is public."""
    given = _fields(component, from_, name, display_name, category, feature, requires, description)
    return lambda registry: registry.components.create({"component_key": component, **given})


@writing.command(app)
def change(
    component: Key,
    name: options.Name = None,
    display_name: DisplayName = None,
    category: options.Category = None,
    feature: options.GatedBy = None,
    requires: options.Needs = None,
    description: options.Description = None,
    from_: options.From = None,
) -> Work:
    """Change fields of COMPONENT; what is not given stays."""
    given = _fields(component, from_, name, display_name, category, feature, requires, description)
    return lambda registry: registry.components.change(component, **given)


@writing.command(app)
def retire(component: Key) -> Work:
    """Take COMPONENT away from everybody."""
    return lambda registry: registry.components.retire(component)


@writing.command(app)
def restore(component: Key) -> Work:
    """Offer COMPONENT again."""
    return lambda registry: registry.components.restore(component)


@app.command("list")
def list_(url: options.Url = None, schema: options.Schema = None, as_json: options.AsJson = False) -> None:
    """List all components."""
    listing.list_entries(
        "components",
        ComponentRegistry,
        ComponentInput,
        ("component_key",),
        lambda found: (
            found["component_key"],
            ", ".join(filter(None, (found["feature_key"], *found["required_features"]))) or "public",
            listing.state(found),
            found["display_name"],
        ),
        (24, 28, 7),
        database_of=(url, schema),
        as_json=as_json,
    )


def _fields(
    component: str,
    from_: str | None,
    name: str | None,
    display_name: str | None,
    category: str | None,
    feature: str | None,
    requires: list[str] | None,
    description: str | None,
) -> dict[str, Any]:
    given = {
        "component_name": name,
        "display_name": display_name,
        "category": category,
        "feature_key": feature,
        "required_features": requires or None,
        "description": description,
    }
    key = {"component_key": component}
    return documents.fields(documents.from_file(from_), key, given, ComponentInput.model_fields)
