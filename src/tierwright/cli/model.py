"""``tierwright model``: the AI models, each named by its provider and its id there."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tierwright.cli import documents, listing, options, writing
from tierwright.cli.writing import Work
from tierwright.tables import ModelInput, ModelRegistry

app = typer.Typer(help="Look at AI models, and change them.", no_args_is_help=True, rich_markup_mode=None)

Provider = Annotated[str, typer.Argument(metavar="PROVIDER", help="Who offers the model.")]
ModelId = Annotated[str, typer.Argument(metavar="MODEL", help="Its id there.")]
Type = Annotated[str | None, typer.Option("--type", help="Such as chat, embedding or image_generation.")]
InputPrice = Annotated[
    str | None, typer.Option("--input-price", metavar="DECIMAL", help="For 1,000 tokens; kept to the last digit.")
]
OutputPrice = Annotated[
    str | None, typer.Option("--output-price", metavar="DECIMAL", help="For 1,000 tokens; kept to the last digit.")
]


@writing.command(app)
def create(
    provider: Provider,
    model: ModelId,
    name: options.Name = None,
    model_type: Type = None,
    feature: options.GatedBy = None,
    input_price: InputPrice = None,
    output_price: OutputPrice = None,
    from_: options.From = None,
) -> Work:
    """Add MODEL of PROVIDER."""
    given = _fields(provider, model, from_, name, model_type, feature, input_price, output_price)
    return lambda registry: registry.models.create({"provider": provider, "model_id": model, **given})


@writing.command(app)
def change(
    provider: Provider,
    model: ModelId,
    name: options.Name = None,
    model_type: Type = None,
    feature: options.GatedBy = None,
    input_price: InputPrice = None,
    output_price: OutputPrice = None,
    from_: options.From = None,
) -> Work:
    """Change fields of MODEL; what is not given stays."""
    given = _fields(provider, model, from_, name, model_type, feature, input_price, output_price)
    return lambda registry: registry.models.change(provider, model, **given)


@writing.command(app)
def retire(provider: Provider, model: ModelId) -> Work:
    """Take MODEL away from everybody."""
    return lambda registry: registry.models.retire(provider, model)


@writing.command(app)
def restore(provider: Provider, model: ModelId) -> Work:
    """Offer MODEL again."""
    return lambda registry: registry.models.restore(provider, model)


@app.command("list")
def list_(
    provider: Annotated[str | None, typer.Option("--provider", help="Only this one's.")] = None,
    url: options.Url = None,
    schema: options.Schema = None,
    as_json: options.AsJson = False,
) -> None:
    """List all models, or those of one provider."""
    listing.list_entries(
        "models",
        ModelRegistry,
        ModelInput,
        ("provider", "model_id"),
        lambda found: (
            f"{found['provider']}/{found['model_id']}",
            found["model_type"],
            listing.state(found),
            found["feature_key"],
        ),
        (40, 10, 10),
        database_of=(url, schema),
        as_json=as_json,
        only={} if provider is None else {"provider": provider},
    )


def _fields(
    provider: str,
    model: str,
    from_: str | None,
    name: str | None,
    model_type: str | None,
    feature: str | None,
    input_price: str | None,
    output_price: str | None,
) -> dict[str, Any]:
    given = {
        "model_name": name,
        "model_type": model_type,
        "feature_key": feature,
        "input_price_per_1k": input_price,
        "output_price_per_1k": output_price,
    }
    exact = ("input_price_per_1k", "output_price_per_1k")
    key = {"provider": provider, "model_id": model}
    return documents.fields(documents.from_file(from_, exact), key, given, ModelInput.model_fields)
