"""``tierwright feature``: the features that can be granted."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tierwright.cli import database, documents, inputs, listing, options, output, writing
from tierwright.cli.writing import Work
from tierwright.services import support
from tierwright.services.json_questions import needing
from tierwright.tables import FeatureInput, FeatureRegistry

app = typer.Typer(help="Look at features, and change them.", no_args_is_help=True, rich_markup_mode=None)

Type = Annotated[
    str | None, typer.Option("--type", help="boolean, integer, number, string or json; boolean for a new one.")
]
Default = Annotated[
    str | None,
    typer.Option("--default", metavar="JSON", help="The value document for everybody; a new boolean one is off."),
]
Premium = Annotated[bool | None, typer.Option("--premium/--no-premium", help="The default never enables it.")]
DependsOn = Annotated[
    list[str] | None, typer.Option("--depends-on", metavar="FEATURE", help="What it needs; repeat it.")
]
ConflictsWith = Annotated[
    list[str] | None, typer.Option("--conflicts-with", metavar="FEATURE", help="What it excludes; repeat it.")
]


@writing.command(app)
def create(
    feature: options.FeatureKey,
    name: options.Name = None,
    category: options.Category = None,
    feature_type: Type = None,
    default: Default = None,
    premium: Premium = None,
    depends_on: DependsOn = None,
    conflicts_with: ConflictsWith = None,
    description: options.Description = None,
    from_: options.From = None,
) -> Work:
    """Add FEATURE to the registry."""
    given = _fields(
        feature, from_, name, category, feature_type, default, premium, depends_on, conflicts_with, description
    )
    made = {"feature_key": feature, "feature_type": "boolean", **given}
    if made["feature_type"] == "boolean":
        made.setdefault("default_value", {"enabled": False, "value": False})
    return lambda registry: registry.features.create(made)


@writing.command(app)
def change(
    feature: options.FeatureKey,
    name: options.Name = None,
    category: options.Category = None,
    feature_type: Type = None,
    default: Default = None,
    premium: Premium = None,
    depends_on: DependsOn = None,
    conflicts_with: ConflictsWith = None,
    description: options.Description = None,
    from_: options.From = None,
) -> Work:
    """Change fields of FEATURE; what is not given stays."""
    given = _fields(
        feature, from_, name, category, feature_type, default, premium, depends_on, conflicts_with, description
    )
    return lambda registry: registry.features.change(feature, **given)


@writing.command(app)
def retire(feature: options.FeatureKey) -> Work:
    """Switch FEATURE off for everybody, at once; what is granted stays written down."""
    return lambda registry: registry.features.retire(feature)


@writing.command(app)
def restore(feature: options.FeatureKey) -> Work:
    """Switch FEATURE on again, for those to whom it is granted."""
    return lambda registry: registry.features.restore(feature)


@app.command()
def show(
    feature: options.FeatureKey,
    url: options.Url = None,
    schema: options.Schema = None,
    as_json: options.AsJson = False,
) -> None:
    """Show FEATURE, what tiers say about it, and how many tenants have an override of it."""
    with output.reported_errors(as_json=as_json), database.reading(url, schema) as connection:
        found = listing.one(connection, FeatureRegistry, FeatureInput, "feature_key", feature)
        tiers = support.said_about(connection, feature)
        overrides = support.overrides_count(connection, feature)
    if as_json:
        output.print_json({**found, "tiers": tiers, "overrides": overrides})
        return
    listing.print_fields(found)
    for tier_key, document in tiers.items():
        output.line(f"tier {tier_key}", output.literal(document), widths=(20,))
    output.line("overrides", overrides, widths=(20,))


@app.command("needed-by")
def needed_by(
    feature: options.FeatureKey,
    url: options.Url = None,
    schema: options.Schema = None,
    as_json: options.AsJson = False,
) -> None:
    """List the components, integrations and models that nobody can use without FEATURE."""
    with output.reported_errors(as_json=as_json), database.reading(url, schema) as connection:
        found = needing(connection, feature)
    if as_json:
        output.print_json({"feature_key": feature, "needed_by": [each._asdict() for each in found]})
        return
    for each in found:
        how = "gated by it" if each.is_gate else "requires it"
        output.line(each.kind, each.key, how, "" if each.is_active else "retired", widths=(12, 36, 11))
    if not found:
        typer.echo("none", err=True)


@app.command("list")
def list_(url: options.Url = None, schema: options.Schema = None, as_json: options.AsJson = False) -> None:
    """List all features."""
    listing.list_entries(
        "features",
        FeatureRegistry,
        FeatureInput,
        ("feature_key",),
        lambda found: (found["feature_key"], found["feature_type"], listing.state(found), found["feature_name"]),
        (32, 7, 10),
        database_of=(url, schema),
        as_json=as_json,
    )


def _fields(
    feature: str,
    from_: str | None,
    name: str | None,
    category: str | None,
    feature_type: str | None,
    default: str | None,
    premium: bool | None,
    depends_on: list[str] | None,
    conflicts_with: list[str] | None,
    description: str | None,
) -> dict[str, Any]:
    given = {
        "feature_name": name,
        "category": category,
        "feature_type": feature_type,
        "default_value": None if default is None else inputs.parsed(default, "--default"),
        "is_premium": premium,
        "depends_on": depends_on or None,
        "conflicts_with": conflicts_with or None,
        "description": description,
    }
    key = {"feature_key": feature}
    return documents.fields(documents.from_file(from_), key, given, FeatureInput.model_fields)
