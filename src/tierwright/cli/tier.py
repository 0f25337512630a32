"""``tierwright tier``: the tiers that tenants hold licences for, and what they grant."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from sqlalchemy.engine import Connection

from tierwright.cli import database, documents, inputs, listing, options, output, tier_features, tier_moving, writing
from tierwright.cli.writing import Work
from tierwright.errors import InvalidInput
from tierwright.services import support
from tierwright.services.registry import Registry, WriteResult
from tierwright.services.registry.live_tiers import find_tier
from tierwright.services.statements import TIERS
from tierwright.tables import LicenseTier, TierInput
from tierwright.types import utc_now

app = typer.Typer(
    help="Look at tiers, and change them and what they grant.", no_args_is_help=True, rich_markup_mode=None
)

Rank = Annotated[int | None, typer.Option("--rank", help="The higher wins among a tenant's licences.")]
Base = Annotated[str | None, typer.Option("--base", metavar="TIER", help="The tier that it inherits from.")]
Default = Annotated[bool | None, typer.Option("--default/--no-default", help="For tenants without a valid licence.")]
TierId = Annotated[str | None, typer.Option("--id", help="Which one, where several deleted tiers had the key.")]
Deleted = Annotated[bool, typer.Option("--deleted", help="The deleted tier that had this key.")]
_FIELDS = {*TierInput.model_fields, "base"} - {"base_tier_id"}


@writing.command(app)
def create(
    tier: options.TierKey,
    name: options.Name = None,
    rank: Rank = None,
    base: Base = None,
    default: Default = None,
    description: options.Description = None,
    from_: options.From = None,
) -> Work:
    """Add TIER."""
    given = _fields(tier, from_, name, rank, base, default, description)
    base_key = given.pop("base", None)
    return lambda registry: registry.tiers.create({"tier_key": tier, **given}, base=base_key)


@writing.command(app)
def change(
    tier: options.TierKey,
    name: options.Name = None,
    rank: Rank = None,
    base: Base = None,
    no_base: Annotated[bool, typer.Option("--no-base", help="It inherits from none.")] = False,
    default: Default = None,
    description: options.Description = None,
    from_: options.From = None,
) -> Work:
    """Change fields of TIER; what is not given stays."""
    if no_base and base is not None:
        raise InvalidInput("The base tier is given twice.", remedy="Give either --base or --no-base.")
    given = _fields(tier, from_, name, rank, base, default, description) | ({"base": None} if no_base else {})

    def work(registry: Registry) -> WriteResult:
        fields = dict(given)
        bases = [registry.tiers.set_base(tier, fields.pop("base"))] if "base" in fields else []
        return writing.both(*bases, registry.tiers.change(tier, **fields))

    return work


@writing.command(app)
def retire(tier: options.TierKey) -> Work:
    """Close TIER to new tenants; those who hold it keep it."""
    return lambda registry: registry.tiers.retire(tier)


@writing.command(app)
def restore(tier: options.TierKey) -> Work:
    """Open TIER again."""
    return lambda registry: registry.tiers.restore(tier)


writing.command(app)(tier_features.grant)
writing.command(app)(tier_features.revoke)


@writing.command(app)
def delete(tier: options.TierKey) -> Work:
    """Delete TIER: nobody gets it any more, and its key is free; those who hold it keep it until they are moved."""
    return lambda registry: registry.tiers.delete(tier)


@writing.command(app)
def undelete(
    tier: options.TierKey,
    new_key: Annotated[str | None, typer.Option("--as", metavar="KEY", help="The key that it shall have.")] = None,
    tier_id: TierId = None,
) -> Work:
    """Bring a deleted TIER back, open to new tenants."""
    wanted = inputs.uuid("--id", tier_id)
    return lambda registry: registry.tiers.undelete(tier, new_key=new_key, tier_id=wanted)


app.command()(tier_moving.move)


@app.command()
def show(
    tier: options.TierKey,
    deleted: Deleted = False,
    tier_id: TierId = None,
    url: options.Url = None,
    schema: options.Schema = None,
    as_json: options.AsJson = False,
) -> None:
    """Show TIER, what it says itself about features, and how many licences for it are valid."""
    with output.reported_errors(as_json=as_json), database.reading(url, schema) as connection:
        known = find_tier(connection, tier, is_deleted=deleted, tier_id=inputs.uuid("--id", tier_id))
        found = listing.where(connection, LicenseTier, TierInput, TIERS.c.id == known.id)
        _name_base(connection, found)
        found |= {"is_deleted": True} if known.is_deleted else {}
        features = support.said_by(connection, known.id)
        licenses = support.licenses_count(connection, known.id, utc_now())
    if as_json:
        output.print_json({**found, "features": features, "licenses": licenses})
        return
    listing.print_fields(found)
    output.line("valid licences", licenses, widths=(20,))
    for feature_key, document in features.items():
        output.line(f"  {feature_key}", output.literal(document), widths=(34,))


@app.command("list")
def list_(
    deleted: Annotated[bool, typer.Option("--deleted", help="The deleted ones, instead of the others.")] = False,
    url: options.Url = None,
    schema: options.Schema = None,
    as_json: options.AsJson = False,
) -> None:
    """List all tiers."""
    listing.list_entries(
        "tiers",
        LicenseTier,
        TierInput,
        ("tier_key", "id") if deleted else ("tier_key",),
        lambda found: (
            found["tier_key"],
            f"rank {found['rank']}",
            listing.state(found),
            "default" if found["is_default"] else "",
            f"from {found['base']}" if found["base"] else "",
            *((f"{found['deleted_at']:%Y-%m-%d %H:%M} UTC", found["id"]) if deleted else ()),
            found["name"],
        ),
        (16, 9, 8, 7, 16, *((20, 36) if deleted else ())),
        database_of=(url, schema),
        as_json=as_json,
        where=(TIERS.c.deleted_at.is_not(None) if deleted else TIERS.c.deleted_at.is_(None),),
        more=("deleted_at", "id") if deleted else (),
        adapt=_name_base,
    )


def _name_base(connection: Connection, found: listing.Fields) -> None:
    found["base"] = support.tier_key_of(connection, found.pop("base_tier_id"))


def _fields(
    tier: str,
    from_: str | None,
    name: str | None,
    rank: int | None,
    base: str | None,
    default: bool | None,
    description: str | None,
) -> dict[str, Any]:
    given = {"name": name, "rank": rank, "base": base, "is_default": default, "description": description}
    return documents.fields(documents.from_file(from_), {"tier_key": tier}, given, _FIELDS)
