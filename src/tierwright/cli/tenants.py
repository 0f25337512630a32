"""``tierwright tenants``: which tenants have a feature, are on a tier, or are about to lose something."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from itertools import islice
from typing import Annotated, Any
from uuid import UUID

import typer
from sqlalchemy.engine import Connection

from tierwright.cli import database, inputs, options, output
from tierwright.cli.decisions import amount, as_dict, source, until
from tierwright.errors import ConfigurationError
from tierwright.services import json_questions, tenant_search
from tierwright.services.support import HeldLicense
from tierwright.services.tenant_search import Ending, FeatureSearch
from tierwright.types import utc_now

_WIDTHS = (36, 24)
#: An item for JSON, and the cells of its line for people.
Found = Iterator[tuple[dict[str, Any], tuple[str, ...]]]


def tenants(
    with_feature: Annotated[
        str | None, typer.Option("--with", metavar="FEATURE", help="Those that may use a feature now.")
    ] = None,
    on_tier: Annotated[
        str | None, typer.Option("--on-tier", metavar="TIER", help="Those with a valid licence for a tier.")
    ] = None,
    expiring: Annotated[
        str | None, typer.Option("--expiring", metavar="SPAN", help="What ends within 12h, 14d or 2w, the next first.")
    ] = None,
    setting: Annotated[
        str | None, typer.Option("--setting", metavar="NAME=VALUE", help="Those with a setting, such as region=eu.")
    ] = None,
    integration: Annotated[
        str | None, typer.Option("--integration", metavar="KEY", help="With --setting: of this integration only.")
    ] = None,
    deleted: Annotated[
        bool, typer.Option("--deleted", help="With --on-tier: the deleted tier that had this key.")
    ] = False,
    tier_id: Annotated[str | None, typer.Option("--tier-id", help="Which of several deleted tiers.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many; all, unless given.")] = None,
    url: options.Url = None,
    schema: options.Schema = None,
    as_json: options.AsJson = False,
) -> None:
    """List tenants: exactly one of --with, --on-tier, --expiring and --setting."""
    with output.reported_errors(as_json=as_json):
        if sum(given is not None for given in (with_feature, on_tier, expiring, setting)) != 1:
            raise ConfigurationError(
                "Exactly one question can be asked.", remedy="Give one of --with, --on-tier, --expiring and --setting."
            )
        with database.reading(url, schema) as connection:
            if with_feature is not None:
                head, found = _with(connection, with_feature)
            elif on_tier is not None:
                head, found = _on_tier(connection, on_tier, deleted, inputs.uuid("--tier-id", tier_id))
            elif setting is not None:
                head, found = _with_setting(connection, setting, integration)
            else:
                head, found = _expiring(connection, str(expiring))
            (_print_json if as_json else _print)(head, found, limit)


def _with(connection: Connection, feature_key: str) -> tuple[dict[str, Any], Found]:
    search = FeatureSearch(connection, feature_key, utc_now())
    found = (
        ({"tenant_id": tenant_id, **as_dict(decision)}, (tenant_id, source(decision), _details(decision)))
        for tenant_id, decision in search.tenants()
    )
    return {"feature_key": feature_key, "without_licence": as_dict(search.elsewhere), "note": _note(search)}, found


def _details(decision: Any) -> str:
    return "  ".join(filter(None, (amount(decision), until(decision))))


def _note(search: FeatureSearch) -> str | None:
    """Say what a list of tenants cannot show: the tenants that the database has never heard of."""
    decision = search.elsewhere
    if not decision.enabled:
        return None
    return (
        f"Tenants without any licence or override have {decision.feature_key} too ({source(decision)}): it is on for "
        "everybody by default. Only the application knows them all; these are the ones with a licence or override."
    )


def _on_tier(
    connection: Connection, tier_key: str, is_deleted: bool, tier_id: UUID | None
) -> tuple[dict[str, Any], Found]:
    found = (
        (
            {"tenant_id": tenant_id, "licenses": [_without(asdict(held), "tenant_id") for held in licenses]},
            (tenant_id, ", ".join(map(_license, licenses))),
        )
        for tenant_id, licenses in tenant_search.on_tier(
            connection, tier_key, utc_now(), is_deleted=is_deleted, tier_id=tier_id
        )
    )
    return {"tier_key": tier_key}, found


def _with_setting(connection: Connection, setting: str, integration: str | None) -> tuple[dict[str, Any], Found]:
    path, is_given, text = setting.partition("=")
    if not is_given:
        raise ConfigurationError("The setting has no value.", remedy="Write it like region=eu.")
    try:
        value = json.loads(text)
    except ValueError:
        value = text  # as people write it
    rows = json_questions.tenants_with_setting(connection, path, value, integration_key=integration)
    found = (
        (each._asdict(), (each.tenant_id, each.integration_key, "" if each.is_enabled else "off")) for each in rows
    )
    return {"setting": path, "value": value, "integration_key": integration}, found


def _license(held: HeldLicense) -> str:
    return held.license_key + ("" if held.expires_at is None else f" until {held.expires_at:%Y-%m-%d %H:%M} UTC")


def _expiring(connection: Connection, span: str) -> tuple[dict[str, Any], Found]:
    now = utc_now()
    end = inputs.later(now, span)
    found = ((asdict(each), _ending(each)) for each in tenant_search.ending(connection, now, end))
    return {"from": now, "until": end}, found


def _ending(each: Ending) -> tuple[str, ...]:
    what = f"licence {each.key} ({each.tier_key})" if each.kind == "license" else f"override {each.key}"
    return each.tenant_id, f"{each.expires_at:%Y-%m-%d %H:%M} UTC", what


def _without(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != name}


def _print(head: Mapping[str, Any], found: Found, limit: int | None) -> None:
    if head.get("note"):
        output.line(head["note"])
    count = 0
    for _, cells in islice(found, limit):
        output.line(*cells, widths=_WIDTHS[: len(cells) - 1])
        count += 1
    if count == limit and next(found, None) is not None:
        typer.echo(f"the first {count}; there are more", err=True)
    elif count == 0:
        typer.echo("no tenant with a licence or override" if head.get("note") else "none", err=True)


def _print_json(head: Mapping[str, Any], found: Found, limit: int | None) -> None:
    """Print one JSON document, item by item: it may be too long for memory."""
    encode = json.JSONEncoder(default=output.json_text).encode
    typer.echo("{")
    for name, value in head.items():
        typer.echo(f"  {encode(name)}: {encode(value)},")
    typer.echo('  "tenants": [', nl=False)
    for separator, item in zip(_separators(), (encode(item) for item, _ in islice(found, limit)), strict=False):
        typer.echo(f"{separator}    {item}", nl=False)
    typer.echo(f'\n  ],\n  "complete": {encode(next(found, None) is None)}\n}}')


def _separators() -> Iterable[str]:
    yield "\n"
    while True:
        yield ",\n"
